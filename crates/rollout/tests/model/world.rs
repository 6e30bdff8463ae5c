//! One small world: what is rolled out in it, and what can happen to it.

use kiln_model::{FleetId, RolloutSpec, Span, Strategy};
use kiln_rollout::{Rollout, Setup, Stage, max_surge, max_unavailable, start};

use crate::saved::{LONG, NOW, SHORT, Saved, Weights, small};

pub(crate) const NEW: usize = 0;
pub(crate) const OLD: usize = 1;
pub(crate) const BASE: usize = 2;

/// The table in force routes to it.
pub(crate) const FORCE: u8 = 1;
/// The control plane knows so.
pub(crate) const ACKED: u8 = 2;
/// The table that is on its way routes to it.
pub(crate) const LATE: u8 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Phase {
    Starting,
    Ready,
    Unready,
    Leaving,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct One {
    pub(crate) phase: Phase,
    pub(crate) age: u8,
    pub(crate) routed: u8,
}

impl One {
    pub(crate) fn starting() -> Self {
        Self { phase: Phase::Starting, age: 0, routed: 0 }
    }

    pub(crate) fn has(&self, bit: u8) -> bool {
        self.routed & bit != 0
    }

    pub(crate) fn put(&mut self, bit: u8, on: bool) {
        self.routed = if on { self.routed | bit } else { self.routed & !bit };
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Fleet {
    pub(crate) wanted: u8,
    /// Starts in a row that failed; more than three are three.
    pub(crate) failed_starts: u8,
    /// Kept sorted: instances in the same state are the same.
    pub(crate) all: Vec<One>,
}

impl Fleet {
    pub(crate) fn count(&self, wanted: impl Fn(&One) -> bool) -> u8 {
        small(self.all.iter().filter(|one| wanted(one)).count())
    }

    pub(crate) fn ready(&self) -> u8 {
        self.count(|one| one.phase == Phase::Ready)
    }

    fn staying(&self) -> u8 {
        self.count(|one| one.phase != Phase::Leaving)
    }

    /// What the provider does about the wanted size: starts what is missing; of what is too much, what is not ready
    /// leaves first and then what is youngest.
    pub(crate) fn follow(&mut self) {
        while self.staying() < self.wanted {
            self.all.push(One::starting());
        }
        while self.staying() > self.wanted {
            let worst = |one: &One| (one.phase == Phase::Ready, one.has(FORCE | ACKED | LATE), one.age);
            let stays = self.all.iter_mut().filter(|one| one.phase != Phase::Leaving);
            if let Some(one) = stays.min_by_key(|one| worst(one)) {
                *one = One { phase: Phase::Leaving, age: 0, routed: one.routed };
            }
        }
        self.all.sort_unstable();
    }
}

/// What the release is worth; the old one is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Quality {
    Good,
    NeverReady,
    FailsChecks,
}

/// What the data plane has counted since the stage's analysis began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Measured {
    Nothing,
    Good,
    Bad,
    /// An analysis that cannot be answered: a reading says so.
    Unclear,
    Unreadable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Act {
    Size(u8, u8),
    Weights(Weights),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// What is on the disk.
    pub(crate) saved: Saved,
    pub(crate) fleets: [Fleet; 3],
    /// The weights in force.
    pub(crate) force: Weights,
    /// Those that the control plane knows to be in force; `None` after it or the data plane was restarted.
    pub(crate) acked: Option<Weights>,
    /// Those of a table that is on its way.
    pub(crate) late: Option<Weights>,
    /// A table newer than the acknowledged one was sent.
    pub(crate) sent: bool,
    /// Decided, saved and not yet done.
    pub(crate) pending: Vec<Act>,
    pub(crate) checks: Option<bool>,
    pub(crate) quality: Quality,
    /// Misfortunes that may still happen.
    pub(crate) faults: u8,
    pub(crate) frozen: bool,
    pub(crate) measured: Measured,
    /// A newer release waits for the way back.
    pub(crate) superseded: bool,
    /// History, for the promises: the checks have passed, a person has approved, an instance has failed by itself, the way
    /// back has run out of patience.
    pub(crate) verified: bool,
    pub(crate) approved: bool,
    pub(crate) hurt: bool,
    pub(crate) impatient: bool,
    /// The promise that the last step broke.
    pub(crate) broken: Option<&'static str>,
}

impl State {
    pub(crate) fn serving(&self) -> u8 {
        let serves = |fleet: &Fleet| fleet.count(|one| one.phase == Phase::Ready && one.has(FORCE));
        [NEW, OLD, BASE].into_iter().filter(|it| self.force[*it] > 0).map(|it| serves(&self.fleets[it])).sum()
    }

    pub(crate) fn instances(&self, mut change: impl FnMut(&mut One)) -> Self {
        let mut next = self.clone();
        for fleet in &mut next.fleets {
            fleet.all.iter_mut().for_each(&mut change);
            fleet.all.sort_unstable();
        }
        next
    }
}

/// What can happen beside good luck.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Trouble {
    /// Instance failures, unanswered and late tables: so many in a run.
    pub(crate) faults: u8,
    /// Instances fail by themselves.
    pub(crate) instances: bool,
    /// Acknowledgements are lost, tables come late.
    pub(crate) network: bool,
    /// The control plane crashes and the data plane restarts, at any time and as often as they like.
    pub(crate) crashes: bool,
    /// People abort, pause, resume, promote; a newer release supersedes; at any time.
    pub(crate) people: bool,
    /// A freeze window opens and closes at any time.
    pub(crate) freezes: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) name: String,
    pub(crate) fleets: [FleetId; 3],
    pub(crate) template: Rollout,
    pub(crate) replicas: u8,
    pub(crate) old: u8,
    pub(crate) trouble: Trouble,
    pub(crate) qualities: Vec<Quality>,
}

impl World {
    pub(crate) fn with(name: &str, spec: RolloutSpec, replicas: u8, old: u8, trouble: Trouble) -> Self {
        let fleets = ["dev/web/3", "dev/web/1", "dev/web/2"].map(|id| id.parse().expect("a fleet"));
        let [new, last, base]: [FleetId; 3] = fleets.clone();
        let before = (old > 0).then(|| (last, old.into()));
        let setup = Setup { baseline: Some(base), ..Setup::new(new, before, replicas.into(), spec) };
        let template = start(setup, NOW).unwrap_or_else(|error| panic!("{name}: {error}"));
        let name = format!("{name}, {old} to {replicas}");
        let qualities = vec![Quality::Good, Quality::NeverReady, Quality::FailsChecks];
        Self { name, fleets, template, replicas, old, trouble, qualities }
    }

    /// Only releases that are worth this.
    pub(crate) fn only(mut self, quality: Quality) -> Self {
        self.qualities = vec![quality];
        self
    }

    pub(crate) fn stages(&self) -> &[Stage] {
        &self.template.stages
    }

    pub(crate) fn spec(&self) -> &RolloutSpec {
        &self.template.spec
    }

    pub(crate) fn recreates(&self) -> bool {
        matches!(self.spec().strategy, Strategy::Recreate)
    }

    /// Instances that must serve at least.
    pub(crate) fn least(&self) -> u8 {
        let away = max_unavailable(&self.spec().strategy, self.replicas.into());
        self.replicas.min(self.old).saturating_sub(small(away.min(100)))
    }

    /// Instances that may be wanted at most, on the way forward.
    pub(crate) fn most(&self) -> u8 {
        let whole = self.replicas.max(self.old);
        let surge = small(max_surge(&self.spec().strategy, self.replicas.into()).min(100));
        let baseline = self.stages().iter().map(|stage| small(stage.baseline)).max().unwrap_or(0);
        whole + surge + baseline
    }

    /// The beginning: the old fleet serves, and the rollout was just saved.
    pub(crate) fn begin(&self, quality: Quality) -> State {
        let one = One { phase: Phase::Ready, age: 0, routed: FORCE | ACKED };
        let old = Fleet { wanted: self.old, failed_starts: 0, all: vec![one; self.old.into()] };
        let force = if self.old > 0 { [0, 100, 0] } else { [0; 3] };
        State {
            saved: Saved::of(&self.template, &self.fleets),
            fleets: [Fleet::default(), old, Fleet::default()],
            force,
            acked: Some(force),
            late: None,
            sent: false,
            pending: Vec::new(),
            checks: None,
            quality,
            faults: self.trouble.faults,
            frozen: false,
            measured: Measured::Nothing,
            superseded: false,
            verified: false,
            approved: false,
            hurt: false,
            impatient: false,
            broken: None,
        }
    }
}

/// The rules of every world but for the strategy: deadlines of the lengths that ages are kept in.
pub(crate) fn rules(strategy: Strategy) -> RolloutSpec {
    let span = |ticks: u8| Span::from_millis(ticks.into());
    RolloutSpec {
        strategy,
        min_healthy: Span::default(),
        healthy_deadline: span(LONG),
        progress_deadline: span(2 * LONG),
        drain_deadline: span(LONG),
        ..RolloutSpec::default()
    }
}

pub(crate) fn short() -> Span {
    Span::from_millis(SHORT.into())
}
