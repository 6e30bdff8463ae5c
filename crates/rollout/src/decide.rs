//! The engine's one step.

use kiln_model::Span;

use crate::analysis::AnalysisState;
use crate::gates::{self, Regression, Verdict};
use crate::{Action, Decision, Gate, Note, NoteKind, Rollout, State, View, Wish, back, border, wish};

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
    Decision { actions: wish::actions(&rollout, asked(&rollout)), rollout, wake_ms }
}

/// What is to be found out beside sizes and weights.
fn asked(rollout: &Rollout) -> Vec<Action> {
    let fleet = rollout.new.clone();
    match rollout.gate() {
        Some(Gate::Verified) => vec![Action::Verify { fleet }],
        Some(Gate::Analysed { .. }) => {
            let metrics = rollout.spec.analysis.as_ref().is_some_and(|it| !it.metrics.is_empty());
            let silent = rollout.memory.note.as_ref().is_some_and(|it| it.kind == NoteKind::NoData);
            let measure = metrics.then(|| Action::Measure { fleet: fleet.clone() });
            measure.into_iter().chain(silent.then_some(Action::Probe { fleet })).collect()
        }
        _ => Vec::new(),
    }
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
        border::remember(next, view);
        next.memory.wish = wish::running(next, index, gate, view);
    }
    // Once the old fleet leaves for good the release has shown all it had to; what fails later is for self-healing.
    let proven = matches!(kind, Gate::Delayed { .. } | Gate::Drained) && index + 1 == next.stages.len();
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
    match verdict(next, at, since, view, now) {
        Verdict::Holds => pass(next, at, view, now),
        Verdict::Fails(reason) => fail(next, reason, view, now),
        Verdict::Wait(_) if proven && now >= deadline(next, &kind, since) => {
            next.state = State::Succeeded { at_ms: now }
        }
        Verdict::Wait(_) if now >= deadline(next, &kind, since) => out_of_time(next, &kind, view, now),
        Verdict::Wait(ripe) => {
            let starts = if proven { None } else { gates::next_healthy_deadline(next, view) };
            let limit = Some(deadline(next, &kind, since)).filter(|at| *at < i64::MAX);
            return [ripe, starts, limit].into_iter().flatten().min();
        }
    }
    None
}

/// What the gate says, and whether a person, the rest of the fleet or a freeze lets the rollout go on.
fn verdict(next: &mut Rollout, at: (usize, usize), since: i64, view: &View, now: i64) -> Verdict {
    // A freeze is no standstill: the clock of the deadline begins anew when it ends.
    let frozen = |note: &Option<Note>| note.as_ref().is_some_and(|it| it.kind == NoteKind::Frozen);
    if view.unsure {
        if frozen(&next.memory.note) && view.frozen.is_none() {
            next.memory.note = None;
            next.progress_ms = now;
        }
        return Verdict::Wait(None);
    }
    let before = next.memory.note.take();
    let verdict = match gates::judge(next, at, since, view, now) {
        Verdict::Wait(_) if next.is_promoted(at.0, at.1) => Verdict::Holds,
        verdict => verdict,
    };
    if next.paused.is_some() && matches!(verdict, Verdict::Holds) {
        return Verdict::Wait(None);
    }
    if matches!(verdict, Verdict::Holds) {
        next.memory.note = None;
        if let Some(note) = border::hindrance(next, at, view) {
            next.memory.note = Some(note);
            return Verdict::Wait(None);
        }
    }
    if next.memory.note.is_none() {
        next.memory.note = border::short_of_budget(next, at);
    }
    if frozen(&before) && !frozen(&next.memory.note) {
        next.progress_ms = now;
    }
    verdict
}

fn out_of_time(next: &mut Rollout, kind: &Gate, view: &View, now: i64) {
    let why = next.memory.note.as_ref().map(|note| format!(": {}", note.text)).unwrap_or_default();
    let reason = format!("no progress for {} while waiting {}{why}", stalled(next, kind), kind.wanted());
    // What holds a rollout up from outside says nothing about its content.
    next.memory.blameless |= next.memory.note.is_some();
    fail(next, gates::with_failure(reason, gates::fleet(view, &next.new)), view, now);
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
        (Gate::Held { .. } | Gate::Analysed { .. }, Some(acked))
            if !wish::acknowledged(&next.memory.wish.weights, view) =>
        {
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
    next.memory.window = None;
    next.memory.analysis = AnalysisState::default();
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

/// When standing still ends the rollout: not before a rest is over, and never while it is paused or waits for a person.
fn deadline(rollout: &Rollout, kind: &Gate, since: i64) -> i64 {
    let note = rollout.memory.note.as_ref().map(|it| it.kind);
    let asks = note == Some(NoteKind::Inconclusive) && !is_let_pass(rollout);
    if rollout.paused.is_some() || note == Some(NoteKind::Frozen) || asks {
        return i64::MAX;
    }
    match kind {
        Gate::Approved if !is_let_pass(rollout) => i64::MAX,
        // A rest that is over and is not left: something stands in the way, or the data plane is silent.
        Gate::Held { millis } | Gate::Delayed { millis } | Gate::Analysed { millis } => {
            let ripe = since.saturating_add_unsigned(*millis);
            gates::later(ripe.max(rollout.progress_ms), stalled(rollout, kind))
        }
        Gate::Healthy | Gate::Verified | Gate::Approved | Gate::Acknowledged | Gate::Drained => {
            gates::later(rollout.progress_ms, stalled(rollout, kind))
        }
    }
}

/// A person let it pass the gate that it waits for.
fn is_let_pass(rollout: &Rollout) -> bool {
    matches!(rollout.state, State::Running { stage, gate, .. } if rollout.is_promoted(stage, gate))
}

fn fail(next: &mut Rollout, reason: String, view: &View, now: i64) {
    if next.spec.auto_rollback {
        back::begin(next, reason, view, now);
    } else {
        next.state = State::Failed { reason, at_ms: now };
    }
}

fn settled(next: &mut Rollout, view: &View) -> Option<i64> {
    let weights = wish::servable(wish::weights(next, 100, 0, 0), next, view);
    next.memory.wish = Wish { new: next.replicas, old: 0, baseline: 0, weights };
    None
}
