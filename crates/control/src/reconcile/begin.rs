//! Beginning rollouts that wait: when what comes before them has succeeded.

use std::collections::BTreeMap;

use kiln_model::{Against, FleetId, Release, ReleaseNumber, RolloutSpec, Span, Strategy};
use kiln_provider::Phase;
use kiln_rollout::{Retried, Setup};
use rusqlite::Connection;

use super::round::Seen;
use super::world::{World, tell};
use crate::event::{KILN, Purpose, What};
use crate::state::{Entry, RolloutState, StateError, Stored, releases, rollouts};

/// What a waiting rollout's predecessors say.
enum Turn {
    Wait,
    Begin,
    Never(String),
}

impl World {
    /// Begins every waiting rollout whose turn it is, and gives up those whose turn will never come.
    pub(super) fn begin(&mut self, db: &Connection, seen: &Seen) -> Result<(), StateError> {
        let now_ms = seen.now_ms;
        for index in 0..self.rollouts.len() {
            if self.rollouts[index].status != RolloutState::Waiting {
                continue;
            }
            let mut entry = self.rollouts[index].clone();
            match self.turn(db, &entry)? {
                Turn::Wait => continue,
                Turn::Never(reason) => cancel(db, &mut entry, reason, now_ms)?,
                Turn::Begin => {
                    self.start(db, &mut entry, seen)?;
                    forgive(db, &mut entry, seen)?;
                }
            }
            self.rollouts[index] = entry;
        }
        Ok(())
    }

    fn turn(&self, db: &Connection, entry: &Entry) -> Result<Turn, StateError> {
        let same = |other: &&Entry| {
            other.fleet.environment == entry.fleet.environment && other.fleet.service == entry.fleet.service
        };
        let active = |it: &&Entry| matches!(it.status, RolloutState::Running | RolloutState::Failed);
        if self.rollouts.iter().filter(same).any(|it| active(&it)) {
            return Ok(Turn::Wait);
        }
        let mut turn = Turn::Begin;
        for id in &entry.after {
            let Some(before) = rollouts::get(db, *id)? else { continue };
            match before.status {
                RolloutState::Succeeded => {}
                RolloutState::Waiting | RolloutState::Running => turn = Turn::Wait,
                RolloutState::Failed | RolloutState::RolledBack | RolloutState::Cancelled => {
                    let (service, release) = (&before.fleet.service, before.fleet.release);
                    return Ok(Turn::Never(format!(
                        "{service}, which it depends on, did not come to release {release}"
                    )));
                }
            }
        }
        Ok(turn)
    }

    /// Records the release that the new one is compared with: the content of the old one under the number that was
    /// kept free for it. `None` where nothing is compared, or the number is taken by something else.
    fn baseline(
        &mut self,
        db: &Connection,
        entry: &Entry,
        old: Option<&FleetId>,
        spec: &RolloutSpec,
        now_ms: i64,
    ) -> Result<Option<FleetId>, StateError> {
        let Some(old) = old.filter(|_| compares(spec)) else { return Ok(None) };
        let Some(stored) = releases::get(db, old)? else { return Ok(None) };
        let number = ReleaseNumber(entry.fleet.release.0.saturating_sub(1));
        let fleet = FleetId { release: number, ..old.clone() };
        if number <= old.release {
            return Ok(None);
        }
        let known = releases::get(db, &fleet)?;
        if known.as_ref().is_some_and(|it| it.release.digest != stored.release.digest) {
            return Ok(None);
        }
        if known.is_none() {
            let (from, to) = (old.release, entry.fleet.release);
            let reason = format!("release {from} again, as the baseline that release {to} is compared with");
            let release = Release {
                number,
                author: KILN.into(),
                reason: Some(reason),
                created_ms: now_ms,
                ..stored.release.clone()
            };
            let baseline = Stored { release, ..stored };
            releases::add(db, &baseline)?;
            self.releases.insert(fleet.clone(), baseline);
        }
        Ok(Some(fleet))
    }

    fn start(&mut self, db: &Connection, entry: &mut Entry, seen: &Seen) -> Result<(), StateError> {
        let now_ms = seen.now_ms;
        let Some(stored) = self.releases.get(&entry.fleet).cloned() else {
            return cancel(db, entry, format!("release {} is not on record", entry.fleet.release), now_ms);
        };
        let pointer = self.pointer(&entry.fleet.environment, &entry.fleet.service);
        let old = pointer.and_then(|it| it.current.map(|release| it.fleet(release)));
        if old.as_ref() == Some(&entry.fleet) {
            return cancel(db, entry, format!("release {} serves already", entry.fleet.release), now_ms);
        }
        let old_size = old.as_ref().map_or(0, |old| self.size(old));
        let mut spec = spec(&stored.release.content.service.rollout, entry.purpose);
        let baseline = self.baseline(db, entry, old.as_ref(), &spec, now_ms)?;
        if let (Some(analysis), None, true) = (&mut spec.analysis, &baseline, old.is_some())
            && analysis.against == Against::Baseline
        {
            analysis.against = Against::Old;
        }
        let setup = Setup {
            new: entry.fleet.clone(),
            old: old.clone().map(|old| (old, old_size)),
            baseline,
            replicas: stored.replicas,
            zones: old.as_ref().map(|old| zones(seen, old)).unwrap_or_default(),
            spec,
        };
        match kiln_rollout::start(setup, now_ms) {
            Err(error) => cancel(db, entry, error.to_string(), now_ms),
            Ok(engine) => {
                let what = What::Started {
                    purpose: entry.purpose,
                    old: old.as_ref().map(|old| old.release),
                    replicas: engine.replicas,
                    stages: engine.stages.clone(),
                };
                entry.old = old.map(|old| old.release);
                entry.status = RolloutState::Running;
                entry.engine = Some(engine);
                rollouts::update(db, entry)?;
                tell(db, entry, now_ms, &what)
            }
        }
    }
}

/// Instances of a fleet by failure domain, in the order of the domains' names; empty where there is only one.
fn zones(seen: &Seen, fleet: &FleetId) -> Vec<u32> {
    let mut zones: BTreeMap<Option<&str>, u32> = BTreeMap::new();
    let instances = seen.observation.fleets.get(fleet).map_or(&[][..], |it| &it.instances);
    for instance in instances.iter().filter(|it| it.phase < Phase::Draining) {
        *zones.entry(instance.zone.as_deref()).or_default() += 1;
    }
    if zones.len() > 1 { zones.into_values().collect() } else { Vec::new() }
}

/// What failed before a release is tried again is not held against it.
fn forgive(db: &Connection, entry: &mut Entry, seen: &Seen) -> Result<(), StateError> {
    let left = seen.observation.fleets.get(&entry.fleet).map_or(0, |fleet| fleet.failed_starts);
    let Some(engine) = entry.engine.as_mut().filter(|_| left > 0) else { return Ok(()) };
    engine.memory.retried = Some(Retried { at_ms: seen.now_ms, failed_starts: left });
    rollouts::update(db, entry)
}

/// Whether a rollout by these rules has a baseline fleet.
pub(crate) fn compares(spec: &RolloutSpec) -> bool {
    spec.analysis.as_ref().is_some_and(|it| it.against == Against::Baseline)
}

/// Gives up a rollout that has not begun.
pub(crate) fn cancel(
    db: &Connection,
    entry: &mut Entry,
    reason: String,
    now_ms: i64,
) -> Result<(), StateError> {
    entry.status = RolloutState::Cancelled;
    entry.reason = Some(reason.clone());
    entry.ended_ms = Some(now_ms);
    rollouts::update(db, entry)?;
    tell(db, entry, now_ms, &What::Cancelled { reason })
}

/// The rules of a rollout. A rollback goes straight: no hold, no steps, no batches; only where two releases may not
/// run at once does it keep to that.
fn spec(own: &RolloutSpec, purpose: Purpose) -> RolloutSpec {
    let strategy = match (purpose, &own.strategy) {
        (Purpose::Deploy, strategy) => strategy.clone(),
        (Purpose::Rollback, Strategy::Recreate) => Strategy::Recreate,
        (
            Purpose::Rollback,
            Strategy::Rolling { .. } | Strategy::BlueGreen { .. } | Strategy::Canary { .. },
        ) => Strategy::BlueGreen { hold: Span::from_secs(0) },
    };
    let min_healthy = match purpose {
        Purpose::Deploy => own.min_healthy,
        Purpose::Rollback => Span::from_secs(0),
    };
    let own = own.clone();
    match purpose {
        Purpose::Deploy => RolloutSpec { strategy, min_healthy, ..own },
        // Nothing is asked, measured or waited for: what is brought back has been through all that.
        Purpose::Rollback => RolloutSpec {
            strategy,
            min_healthy,
            checkpoints: Vec::new(),
            approval: None,
            analysis: None,
            scale_down_delay: Span::default(),
            ..own
        },
    }
}
