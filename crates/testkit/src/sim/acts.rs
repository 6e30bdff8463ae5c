//! Every action of a rollout goes wrong in turn, and every way back is gone twice.

use kiln_model::RolloutSpec;
use kiln_rollout::{State, abort};

use super::check::{self, Judged};
use super::control::Control;
use super::people::People;
use super::{Deploy, Scenario, Simulator};

/// How an action goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interruption {
    /// It fails and has done nothing.
    Fails,
    /// It fails though it has done all that was asked.
    FailsDone,
    /// The control plane is killed before it.
    Killed,
    /// The control plane is killed after it.
    KilledDone,
    /// A person aborts the rollout before it.
    Aborted,
    /// A person aborts the rollout after it.
    AbortedDone,
}

const ALL: [Interruption; 6] = [
    Interruption::Fails,
    Interruption::FailsDone,
    Interruption::Killed,
    Interruption::KilledDone,
    Interruption::Aborted,
    Interruption::AbortedDone,
];

impl Interruption {
    fn aborts(self) -> bool {
        matches!(self, Self::Aborted | Self::AbortedDone)
    }

    /// Whether the action is done all the same.
    pub(super) fn is_done(self) -> bool {
        matches!(self, Self::FailsDone | Self::KilledDone | Self::AbortedDone)
    }

    pub(super) fn kills(self) -> bool {
        matches!(self, Self::Killed | Self::KilledDone)
    }
}

/// Rolls a good release out once for each action of the rollout and each way in which that action can go wrong. It
/// must succeed all the same, or be back with nothing left over when it is aborted; whatever undoes it is then repeated
/// twice and must change nothing. Returns the number of actions.
///
/// # Errors
/// The first action that breaks a promise, and how.
pub fn fail_every_action(spec: &RolloutSpec, replicas: u32, old: Option<u32>) -> Result<u32, String> {
    let scenario = Scenario::calm(spec, replicas, old);
    let acts = trial(&scenario, None)?;
    for act in 0..acts {
        for how in ALL {
            trial(&scenario, Some((act, how))).map_err(|what| format!("action {act} {how:?}: {what}"))?;
        }
    }
    Ok(acts)
}

/// Enough for the slowest rollout of a calm world.
const TURNS: u32 = 5_000;

fn trial(scenario: &Scenario, plan: Option<(u32, Interruption)>) -> Result<u32, String> {
    let mut sim = Simulator::new(scenario);
    sim.settle();
    let deploy = &scenario.deploys[0];
    let rollout = sim.begin(2, deploy).ok_or("it cannot be planned")?;
    let judged = Judged::new(scenario, deploy, &rollout, (sim.stable, false));
    sim.disk.save(&rollout);
    let mut control = Control::new(scenario, deploy, rollout.started_ms);
    control.plan = plan;
    let mut people = People::default();
    for _ in 0..TURNS {
        let over = sim.trial_turn(deploy, &mut control, &mut people)?;
        judged.always(&sim.provider.peek(), &sim.traffic, sim.disk.load())?;
        if over {
            let acts = control.acts;
            sim.ended(deploy, &judged, &people, plan.map(|(_, how)| how))?;
            sim.undone_twice(deploy, &mut control, &mut people)?;
            return Ok(acts);
        }
    }
    Err(format!("it did not end: {:?}", sim.disk.load().state))
}

impl Simulator<'_> {
    /// One turn; whether it is over.
    fn trial_turn(
        &mut self,
        deploy: &Deploy,
        control: &mut Control<'_>,
        people: &mut People,
    ) -> Result<bool, String> {
        self.clock.advance(100);
        self.look_at_requests(deploy)?;
        let now = self.clock.now_ms();
        let done =
            control.turn(&self.provider, &mut self.traffic, &mut self.meter, &mut self.disk, &mut self.rng);
        check::done(&self.provider, control.unsafe_act())?;
        if control.plan.take_if(|(act, how)| how.aborts() && control.acts > *act).is_some() {
            people.aborted = true;
            self.disk.save(&abort(self.disk.load(), "a person asked", now));
            // Asking again changes nothing.
            self.disk.save(&abort(self.disk.load(), "a person asked again", now));
        }
        if done.is_err() {
            control.killed();
            return Ok(false);
        }
        people.help(&mut self.disk, &control.last_view, now, &mut self.rng);
        let rollout = self.disk.load();
        Ok(rollout.is_over() && check::at_rest(&self.provider.peek(), rollout))
    }

    fn ended(
        &self,
        _deploy: &Deploy,
        judged: &Judged<'_>,
        people: &People,
        how: Option<Interruption>,
    ) -> Result<(), String> {
        let rollout = self.disk.load();
        judged.end(&self.provider.peek(), &self.traffic, rollout, people)?;
        // The last action may be one after which nothing can be aborted any more.
        let back = matches!(rollout.state, State::RolledBack { .. });
        let aborted = how.is_some_and(Interruption::aborts);
        if back == aborted || aborted && matches!(rollout.state, State::Succeeded { .. }) {
            return Ok(());
        }
        Err(format!("it ended as {:?}", rollout.state))
    }

    /// The way back once more, twice: the rollout, the fleets and the traffic stay as they are, and all can be removed.
    fn undone_twice(
        &mut self,
        deploy: &Deploy,
        control: &mut Control<'_>,
        people: &mut People,
    ) -> Result<(), String> {
        let world = |sim: &Self| {
            let weights = sim.traffic.in_force().1.weights.clone();
            let sizes: Vec<_> =
                sim.provider.peek().fleets.into_iter().map(|(id, it)| (id, it.size)).collect();
            (sim.disk.load().clone(), weights, sizes, check::census(&sim.provider.peek()))
        };
        let before = world(self);
        for _ in 0..2 {
            let now = self.clock.now_ms();
            self.disk.save(&abort(self.disk.load(), "once more", now));
            for _ in 0..20 {
                self.trial_turn(deploy, control, people)?;
            }
            if world(self) != before {
                return Err(format!("undoing it again changed {before:?} to {:?}", world(self)));
            }
        }
        let (state, stable) = (self.disk.load().state.clone(), self.stable);
        for _ in 0..2 {
            self.stable = stable;
            self.close(2, deploy, &state)?;
        }
        let kept = self.provider.peek().fleets.len();
        if kept == usize::from(self.stable.is_some()) {
            Ok(())
        } else {
            Err(format!("{kept} fleets are left"))
        }
    }
}
