//! One rollout's decision: view, engine, and what the engine wants written down.

use std::collections::BTreeMap;

use kiln_model::FleetId;
use kiln_rollout::{Action, Gate, Rollout, State, View};
use rusqlite::Connection;

use super::group;
use super::round::{Plan, Seen};
use super::world::{World, tell};
use crate::event::{Purpose, What};
use crate::state::{Entry, Quarantine, RolloutState, StateError, quarantines, rollouts, services};
use crate::view;

/// A decision changes what a service without ports reports as acknowledged, so it is repeated until it stands. Each
/// turn passes a gate or a stage, or is the last; what is not finished goes on in the next round.
const TURNS: usize = 16;

impl World {
    /// Decides every running rollout.
    pub(super) fn decide(&mut self, db: &Connection, seen: &Seen, plan: &mut Plan) -> Result<(), StateError> {
        for index in 0..self.rollouts.len() {
            let mut entry = self.rollouts[index].clone();
            if entry.status != RolloutState::Running {
                continue;
            }
            let Some(engine) = entry.engine.take() else { continue };
            let (engine, view) = self.advance(db, &entry, engine, seen, plan)?;
            let progress = view::progress(&engine, &seen.observation.fleets, &view);
            let changed = self.rollouts[index].engine.as_ref() != Some(&engine);
            if entry.progress.as_ref() != Some(&progress) {
                entry.progress = Some(progress.clone());
                entry.engine = Some(engine);
                rollouts::update(db, &entry)?;
                tell(db, &entry, seen.now_ms, &What::Progress(progress))?;
            } else {
                entry.engine = Some(engine);
                if changed {
                    rollouts::update(db, &entry)?;
                }
            }
            self.close(db, &mut entry, seen.now_ms)?;
            self.rollouts[index] = entry;
        }
        Ok(())
    }

    fn advance(
        &mut self,
        db: &Connection,
        entry: &Entry,
        mut engine: Rollout,
        seen: &Seen,
        plan: &mut Plan,
    ) -> Result<(Rollout, View), StateError> {
        let mut view = self.view(entry, &engine, seen);
        for _ in 0..TURNS {
            let decision = kiln_rollout::decide(&engine, &view, seen.now_ms);
            tell_steps(db, entry, &engine, &decision.rollout, seen.now_ms)?;
            tell_note(db, entry, &engine, &decision.rollout, seen.now_ms)?;
            let stands = decision.rollout == engine;
            engine = decision.rollout;
            self.ensure(db, entry, &engine, &decision.actions, plan)?;
            plan.wake(decision.wake_ms);
            if stands || engine.is_over() {
                break;
            }
            view = self.view(entry, &engine, seen);
        }
        if entering_rollback(self.rollouts.iter().find(|it| it.id == entry.id), &engine) {
            self.quarantine(db, entry, &engine, seen.now_ms)?;
        }
        Ok((engine, view))
    }

    fn ensure(
        &mut self,
        db: &Connection,
        entry: &Entry,
        engine: &Rollout,
        actions: &[Action],
        plan: &mut Plan,
    ) -> Result<(), StateError> {
        plan.measuring |= matches!(engine.gate(), Some(Gate::Analysed { .. }));
        for action in actions {
            match action {
                Action::Size { fleet, size } => self.set_size(db, fleet, *size)?,
                Action::Weights { weights } => {
                    self.set_weights(db, &entry.fleet.environment, &entry.fleet.service, weights)?;
                }
                Action::Verify { fleet } => plan.verify(fleet, entry.id),
                Action::Measure { fleet } => plan.measure(entry.id, fleet, engine),
                Action::Probe { fleet } => plan.probe(fleet, engine),
            }
        }
        Ok(())
    }

    fn view(&self, entry: &Entry, engine: &Rollout, seen: &Seen) -> View {
        let (environment, service) = (&entry.fleet.environment, &entry.fleet.service);
        let routed = self.routed(environment, service);
        let acked: BTreeMap<FleetId, u8> = match &seen.plane {
            Some(plane) if routed => plane.weights(environment, service),
            Some(_) | None => self.weights(environment, service),
        };
        let unchecked = entry.purpose == Purpose::Rollback
            || self.releases.get(&entry.fleet).is_none_or(|it| it.release.content.checks.is_empty());
        let checks = if unchecked { Some(Ok(())) } else { seen.checks.get(&entry.id).cloned() };
        let plane = seen.plane.as_ref().filter(|_| routed);
        let readings = seen.readings.get(&entry.id).cloned().unwrap_or_default();
        // What was read before this stage was analysed says nothing about it.
        let begun = match engine.state {
            State::Running { since_ms, .. } => since_ms,
            _ => i64::MAX,
        };
        View {
            unsure: routed && plane.is_none(),
            samples: view::samples(plane, &seen.probed),
            epoch_ms: plane.map_or(0, |plane| plane.status.started_ms.cast_signed()),
            readings: readings.into_iter().filter(|(_, it)| it.at_ms >= begun).collect(),
            frozen: frozen(entry, seen.now_ms),
            ..view::build(engine, &seen.observation.fleets, plane, acked, checks)
        }
    }

    /// A content that is turned back from by itself is not to be deployed again.
    fn quarantine(
        &self,
        db: &Connection,
        entry: &Entry,
        engine: &Rollout,
        now_ms: i64,
    ) -> Result<(), StateError> {
        let (State::RollingBack { reason, .. } | State::RolledBack { reason, .. }) = &engine.state else {
            return Ok(());
        };
        let Some(stored) = self.releases.get(&entry.fleet) else { return Ok(()) };
        if entry.blameless || engine.memory.blameless || entry.purpose == Purpose::Rollback {
            return Ok(());
        }
        let digest = stored.release.digest;
        let quarantine = Quarantine {
            environment: entry.fleet.environment.clone(),
            service: entry.fleet.service.clone(),
            digest,
            release: entry.fleet.release,
            reason: reason.clone(),
            at_ms: now_ms,
        };
        quarantines::add(db, &quarantine)?;
        tell(db, entry, now_ms, &What::Quarantined { digest, reason: reason.clone() })
    }

    /// Writes down how a rollout ended.
    fn close(&mut self, db: &Connection, entry: &mut Entry, now_ms: i64) -> Result<(), StateError> {
        let Some(engine) = entry.engine.clone() else { return Ok(()) };
        let millis = now_ms - engine.started_ms;
        match &engine.state {
            State::Running { .. } => return Ok(()),
            State::RollingBack { reason, .. } => {
                if entry.reason.as_ref() != Some(reason) {
                    entry.reason = Some(reason.clone());
                    rollouts::update(db, entry)?;
                }
                return Ok(());
            }
            State::Succeeded { .. } => {
                self.promote(db, entry)?;
                entry.status = RolloutState::Succeeded;
                tell(db, entry, now_ms, &What::Succeeded { millis })?;
            }
            State::RolledBack { reason, .. } => {
                self.restore(db, entry)?;
                entry.status = RolloutState::RolledBack;
                entry.reason = Some(reason.clone());
                let what = What::RolledBack { reason: reason.clone(), to: entry.old, millis };
                tell(db, entry, now_ms, &what)?;
                group::take_back(db, entry, now_ms)?;
            }
            State::Failed { reason, .. } => {
                entry.status = RolloutState::Failed;
                entry.reason = Some(reason.clone());
                tell(db, entry, now_ms, &What::Failed { reason: reason.clone(), millis })?;
            }
        }
        entry.ended_ms = Some(now_ms);
        rollouts::update(db, entry)
    }

    /// The new release is the current one.
    fn promote(&mut self, db: &Connection, entry: &Entry) -> Result<(), StateError> {
        let fleet = &entry.fleet;
        let replicas = self.releases.get(fleet).map_or(0, |stored| stored.replicas);
        self.settle(db, &fleet.environment, &fleet.service, Some((fleet.release, replicas)))?;
        let own = |it: &&mut crate::state::Pointer| {
            it.environment == fleet.environment && it.service == fleet.service
        };
        if let Some(pointer) = self.pointers.iter_mut().find(own) {
            if pointer.current != Some(fleet.release) {
                pointer.previous = pointer.current.or(pointer.previous);
            }
            pointer.current = Some(fleet.release);
            services::put(db, pointer)?;
        }
        Ok(())
    }

    /// The old release goes on, at the size that is wanted of it now.
    fn restore(&mut self, db: &Connection, entry: &Entry) -> Result<(), StateError> {
        let fleet = &entry.fleet;
        let only = entry.old.map(|release| {
            let old = FleetId { release, ..fleet.clone() };
            (release, self.releases.get(&old).map_or_else(|| self.size(&old), |stored| stored.replicas))
        });
        self.settle(db, &fleet.environment, &fleet.service, only)
    }
}

/// Why no stage may begin now. A freeze that cannot be read is one: nobody knows when it ends.
fn frozen(entry: &Entry, now_ms: i64) -> Option<String> {
    if entry.purpose == Purpose::Rollback || entry.rules.emergency.is_some() {
        return None;
    }
    entry.rules.freezes.iter().find_map(|freeze| {
        match kiln_calendar::active(freeze, now_ms.cast_unsigned()) {
            Ok(until) => until.map(|_| format!("the freeze {:?} is on", freeze.name)),
            Err(error) => Some(format!("the freeze {:?} cannot be read: {error}", freeze.name)),
        }
    })
}

fn entering_rollback(before: Option<&Entry>, engine: &Rollout) -> bool {
    let back =
        |engine: &Rollout| matches!(engine.state, State::RollingBack { .. } | State::RolledBack { .. });
    let was = before.and_then(|entry| entry.engine.as_ref()).is_some_and(back);
    back(engine) && !was
}

/// Tells of each stage and gate that was reached between two states of the engine.
fn tell_steps(
    db: &Connection,
    entry: &Entry,
    before: &Rollout,
    after: &Rollout,
    now_ms: i64,
) -> Result<(), StateError> {
    let stages = after.stages.len();
    let place = |rollout: &Rollout| match rollout.state {
        State::Running { stage, gate, .. } => Some((stage, gate)),
        State::RollingBack { .. }
        | State::Succeeded { .. }
        | State::RolledBack { .. }
        | State::Failed { .. } => None,
    };
    // The stage that a rollout begins in is told with its first decision.
    let first = entry.progress.is_none() && place(before) == Some((0, 0));
    let from = if first { Some(0) } else { place(before).map(|(stage, _)| stage + 1) };
    let to = match (&after.state, place(after)) {
        (_, Some((stage, _))) => Some(stage),
        (State::Succeeded { .. }, None) => stages.checked_sub(1),
        _ => None,
    };
    if let (Some(from), Some(to)) = (from, to) {
        for (index, stage) in after.stages.iter().enumerate().take(to + 1).skip(from) {
            let (new, old, weight) = (stage.new, stage.old, stage.weight);
            tell(db, entry, now_ms, &What::Stage { stage: index + 1, stages, new, old, weight })?;
        }
    }
    match (&after.state, after.gate()) {
        (State::Running { stage, .. }, Some(gate)) if first || place(before) != place(after) => {
            tell(db, entry, now_ms, &What::Gate { stage: stage + 1, stages, gate: gate.clone() })?;
        }
        (State::RollingBack { reason, .. }, _) if !matches!(before.state, State::RollingBack { .. }) => {
            tell(db, entry, now_ms, &What::RollingBack { reason: reason.clone() })?;
        }
        _ => {}
    }
    Ok(())
}

/// Tells what holds a rollout up, whenever that is something else; its numbers may change with every look.
fn tell_note(
    db: &Connection,
    entry: &Entry,
    before: &Rollout,
    after: &Rollout,
    now_ms: i64,
) -> Result<(), StateError> {
    let kind = |rollout: &Rollout| rollout.memory.note.as_ref().map(|note| note.kind);
    if kind(before) == kind(after) || !matches!(after.state, State::Running { .. }) {
        return Ok(());
    }
    tell(db, entry, now_ms, &What::Noted { note: after.memory.note.clone() })
}
