//! The engine's one step.

use kiln_model::{FleetId, RolloutSpec, Span};

use crate::gates::{self, Regression, Verdict};
use crate::{Decision, Gate, Memory, PlanError, Rollout, State, View, Wish, back, plan::plan, wish};

/// Begins a rollout from `old` at `old_size` instances to `new` at `replicas`. `old` is `None` (or of size 0) on a
/// first deploy. Nothing is done yet: [`decide`] tells what.
///
/// # Errors
/// When the strategy cannot be compiled; see [`PlanError`].
pub fn start(
    new: FleetId,
    old: Option<FleetId>,
    replicas: u32,
    old_size: u32,
    spec: RolloutSpec,
    now_ms: i64,
) -> Result<Rollout, PlanError> {
    let old_size = if old.is_some() { old_size } else { 0 };
    let stages = plan(&spec, replicas, old.as_ref().map(|_| old_size))?;
    let state = State::Running { stage: 0, gate: 0, since_ms: now_ms };
    let memory = Memory::default();
    let mut rollout = Rollout {
        new,
        old,
        replicas,
        old_size,
        spec,
        stages,
        state,
        started_ms: now_ms,
        progress_ms: now_ms,
        memory,
    };
    rollout.memory.wish = Wish { new: 0, old: old_size, weights: wish::weights(&rollout, 0, old_size) };
    Ok(rollout)
}

/// Decides what is to be so now. Persist the decision's rollout, then ensure its actions, then observe and decide
/// again; deciding twice on the same view changes nothing.
///
/// The view must be whole: a fleet that it does not name counts as having no instance. A service without any port
/// in the data plane reports its wished weights as acknowledged, and an image without checks reports `Some(Ok(()))`.
pub fn decide(rollout: &Rollout, view: &View, now_ms: i64) -> Decision {
    let mut next = rollout.clone();
    // A gate that holds leads to the next one within the same decision. No view leads through more gates than there
    // are, back once, and to the end of the way back; what is not settled by then is for the next decision.
    let passes = next.stages.iter().map(|stage| stage.gates.len() + 1).sum::<usize>() + 4;
    for _ in 0..passes {
        let (state, wake_ms) = (next.state.clone(), pass_once(&mut next, view, now_ms));
        if next.state == state {
            return decision(next, wake_ms);
        }
    }
    decision(next, Some(now_ms))
}

fn decision(rollout: Rollout, wake_ms: Option<i64>) -> Decision {
    let verify = rollout.gate() == Some(&Gate::Verified);
    Decision { actions: wish::actions(&rollout, verify), rollout, wake_ms }
}

fn pass_once(next: &mut Rollout, view: &View, now: i64) -> Option<i64> {
    match next.state.clone() {
        State::Running { stage, gate, since_ms } => step(next, (stage, gate), since_ms, view, now),
        State::RollingBack { reason, .. } => back::step(next, &reason, view, now),
        State::Succeeded { .. } => settled(next, view),
        State::RolledBack { .. } => back::settled(next, view),
        State::Failed { .. } => None,
    }
}

impl Rollout {
    /// The gate that is waited for, while the rollout runs.
    pub fn gate(&self) -> Option<&Gate> {
        match self.state {
            State::Running { stage, gate, .. } => self.stages.get(stage)?.gates.get(gate),
            State::RollingBack { .. }
            | State::Succeeded { .. }
            | State::RolledBack { .. }
            | State::Failed { .. } => None,
        }
    }

    /// Whether the engine has nothing more to do: it succeeded, is rolled back, or failed for a person to decide.
    pub fn is_over(&self) -> bool {
        match self.state {
            State::Running { .. } | State::RollingBack { .. } => false,
            State::Succeeded { .. } | State::RolledBack { .. } | State::Failed { .. } => true,
        }
    }
}

/// One look at one gate. Returns when to look again.
fn step(next: &mut Rollout, at: (usize, usize), since: i64, view: &View, now: i64) -> Option<i64> {
    let (index, gate) = at;
    let Some(stage) = next.stages.get(index) else {
        fail(next, format!("its record names stage {} of {}", index + 1, next.stages.len()), view, now);
        return None;
    };
    let Some(kind) = stage.gates.get(gate).cloned() else {
        pass(next, at, view, now);
        return None;
    };
    if !view.unsure {
        next.memory.wish = wish::running(next, index, gate, view);
    }
    // Once the old fleet leaves for good the release has shown all it had to; what fails later is for self-healing.
    let proven = kind == Gate::Drained && index + 1 == next.stages.len();
    if !proven {
        if let Some(reason) = gates::bad_start(next, view, now) {
            fail(next, reason, view, now);
            return None;
        }
        if !view.unsure && fell_back(next, at, &kind, view, now) {
            return None;
        }
    }
    note_progress(next, at, view, now);
    let verdict = if view.unsure { Verdict::Wait(None) } else { gates::judge(next, at, since, view, now) };
    match verdict {
        Verdict::Holds => pass(next, at, view, now),
        Verdict::Fails(reason) => fail(next, reason, view, now),
        Verdict::Wait(_) if proven && now >= deadline(next, &kind) => {
            next.state = State::Succeeded { at_ms: now }
        }
        Verdict::Wait(_) if now >= deadline(next, &kind) => {
            let reason = format!("no progress for {} while waiting {}", stalled(next, &kind), kind.wanted());
            fail(next, gates::with_failure(reason, gates::fleet(view, &next.new)), view, now);
        }
        Verdict::Wait(ripe) => {
            let starts = if proven { None } else { gates::next_healthy_deadline(next, view) };
            let limit = Some(deadline(next, &kind)).filter(|at| *at < i64::MAX);
            return [ripe, starts, limit].into_iter().flatten().min();
        }
    }
    None
}

/// Turns back by gates, or altogether, when what had held does no longer. Returns whether it did.
fn fell_back(next: &mut Rollout, (index, gate): (usize, usize), kind: &Gate, view: &View, now: i64) -> bool {
    let stage = &next.stages[index];
    let acked = wish::position(stage, &Gate::Acknowledged);
    match gates::regression(next, index, gate, view) {
        Some(Regression::Shifted(reason)) => {
            fail(next, reason, view, now);
            return true;
        }
        Some(Regression::Unshifted) => {
            let healthy = wish::position(stage, &Gate::Healthy).unwrap_or(0);
            next.state = State::Running { stage: index, gate: healthy, since_ms: now };
            return true;
        }
        None => {}
    }
    match (kind, acked) {
        (Gate::Held { .. }, Some(acked)) if !wish::acknowledged(&next.memory.wish.weights, view) => {
            next.state = State::Running { stage: index, gate: acked, since_ms: now };
            // Time in a hold is no standstill, so the clock of the deadline begins here.
            next.progress_ms = now;
            true
        }
        _ => false,
    }
}

fn pass(next: &mut Rollout, (index, gate): (usize, usize), view: &View, now: i64) {
    let gates = next.stages[index].gates.len();
    let at = if gate + 1 < gates { (index, gate + 1) } else { (index + 1, 0) };
    if at.0 >= next.stages.len() {
        next.progress_ms = now;
        next.state = State::Succeeded { at_ms: now };
        return;
    }
    next.state = State::Running { stage: at.0, gate: at.1, since_ms: now };
    note_progress(next, at, view, now);
}

/// Restarts the progress clock when a gate was reached for the first time, or one more instance is ready than ever
/// while waiting for it. Reaching again what was lost is no progress, or a flapping instance could stand still for ever.
fn note_progress(next: &mut Rollout, at: (usize, usize), view: &View, now: i64) {
    let ready = gates::ready(gates::fleet(view, &next.new));
    let memory = &mut next.memory;
    if at > memory.furthest {
        memory.furthest = at;
        memory.ready = ready;
        next.progress_ms = now;
    } else if ready > memory.ready {
        memory.ready = ready;
        next.progress_ms = now;
    }
}

/// How long this gate may stand still. Requests of the old fleet have their own time to finish.
fn stalled(rollout: &Rollout, kind: &Gate) -> Span {
    let spec = &rollout.spec;
    let extra = if *kind == Gate::Drained { spec.drain_deadline.millis() } else { 0 };
    Span::from_millis(spec.progress_deadline.millis().saturating_add(extra))
}

/// When standing still ends the rollout: never while it holds on purpose.
fn deadline(rollout: &Rollout, kind: &Gate) -> i64 {
    match kind {
        Gate::Held { .. } => i64::MAX,
        Gate::Healthy | Gate::Verified | Gate::Acknowledged | Gate::Drained => {
            gates::later(rollout.progress_ms, stalled(rollout, kind))
        }
    }
}

fn fail(next: &mut Rollout, reason: String, view: &View, now: i64) {
    if next.spec.auto_rollback {
        back::begin(next, reason, view, now);
    } else {
        next.state = State::Failed { reason, at_ms: now };
    }
}

fn settled(next: &mut Rollout, view: &View) -> Option<i64> {
    let weights = wish::servable(wish::weights(next, 100, 0), view);
    next.memory.wish = Wish { new: next.replicas, old: 0, weights };
    None
}
