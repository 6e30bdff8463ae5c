//! Whether a gate holds, and when a rollout is past saving.

use kiln_model::{FleetId, Span, Strategy};

use crate::{FleetView, Gate, Rollout, View, measure, plan, wish};

/// Starts in a row that may fail before a release without any ready instance is given up. Three tell a program that
/// cannot start from one that lost a race, at the price of two back-offs.
const FAILED_STARTS: u32 = 3;

static NOTHING: FleetView = FleetView {
    ready_since_ms: Vec::new(),
    starting_since_ms: Vec::new(),
    unannounced: 0,
    unready: 0,
    leaving: 0,
    failed_starts: 0,
    in_flight: 0,
    last_failure: None,
};

impl Gate {
    /// What is waited for, as the end of a sentence that begins "waiting".
    pub fn wanted(&self) -> String {
        match self {
            Self::Healthy => "for the new instances to be healthy".into(),
            Self::Verified => "for the checks of the image to pass".into(),
            Self::Approved => "for a person to approve (`kiln promote`)".into(),
            Self::Acknowledged => "for the data plane to confirm the weights".into(),
            Self::Held { millis } => format!("for {} to pass", Span::from_millis(*millis)),
            Self::Analysed { millis: 0 } => "for enough to be measured".into(),
            Self::Analysed { millis } => {
                format!("for {} of analysis to pass", Span::from_millis(*millis))
            }
            Self::Delayed { millis } => {
                format!("for {} to pass before the old instances go", Span::from_millis(*millis))
            }
            Self::Drained => "for the old instances to finish their requests and stop".into(),
        }
    }
}

/// What a gate says now.
pub(crate) enum Verdict {
    /// Go on.
    Holds,
    /// Not yet; perhaps at this time.
    Wait(Option<i64>),
    /// Never.
    Fails(String),
}

impl Verdict {
    pub(crate) fn when(holds: bool) -> Self {
        if holds { Self::Holds } else { Self::Wait(None) }
    }
}

pub(crate) fn fleet<'a>(view: &'a View, id: &FleetId) -> &'a FleetView {
    view.fleets.get(id).unwrap_or(&NOTHING)
}

pub(crate) fn later(at: i64, span: Span) -> i64 {
    later_millis(at, span.millis())
}

fn later_millis(at: i64, millis: u64) -> i64 {
    at.saturating_add_unsigned(millis)
}

pub(crate) fn ready(fleet: &FleetView) -> u32 {
    u32::try_from(fleet.ready_since_ms.len()).unwrap_or(u32::MAX)
}

/// Instances that are not leaving.
pub(crate) fn staying(fleet: &FleetView) -> u32 {
    let starting = u32::try_from(fleet.starting_since_ms.len()).unwrap_or(u32::MAX);
    ready(fleet).saturating_add(starting).saturating_add(fleet.unannounced).saturating_add(fleet.unready)
}

/// Nothing leaves any more and nothing is left above `size`.
pub(crate) fn drained(fleet: &FleetView, size: u32) -> bool {
    fleet.leaving == 0 && staying(fleet) <= size
}

/// The verdict on gate number `gate` of stage `index`, waited for since `since`.
pub(crate) fn judge(
    rollout: &mut Rollout,
    (index, gate): (usize, usize),
    since: i64,
    view: &View,
    now: i64,
) -> Verdict {
    if let Gate::Analysed { millis } = rollout.stages[index].gates[gate] {
        return measure::judge(rollout, index, later_millis(since, millis), view, now);
    }
    let stage = &rollout.stages[index];
    match &stage.gates[gate] {
        Gate::Healthy => {
            let min_healthy = rollout.spec.min_healthy;
            let new = healthy(fleet(view, &rollout.new), stage.new, min_healthy, now);
            match (&rollout.baseline, new) {
                (Some(base), Verdict::Holds) => healthy(fleet(view, base), stage.baseline, min_healthy, now),
                (_, new) => new,
            }
        }
        // Whoever promotes lets it pass before anybody looks here.
        Gate::Approved => Verdict::Wait(None),
        Gate::Verified => match &view.checks {
            Some(Ok(())) => Verdict::Holds,
            Some(Err(why)) => Verdict::Fails(format!("the checks failed: {why}")),
            None => Verdict::Wait(None),
        },
        Gate::Acknowledged => {
            let weights = wish::running(rollout, index, gate, view).weights;
            Verdict::when(wish::acknowledged(&weights, view))
        }
        Gate::Held { millis } | Gate::Analysed { millis } | Gate::Delayed { millis } => {
            let end = later_millis(since, *millis);
            if now >= end { Verdict::Holds } else { Verdict::Wait(Some(end)) }
        }
        Gate::Drained => {
            let gone =
                |id: &Option<FleetId>, size| id.as_ref().is_none_or(|id| drained(fleet(view, id), size));
            let compared = stage.weight < 100 || gone(&rollout.baseline, 0);
            Verdict::when(gone(&rollout.old, stage.old) && compared)
        }
    }
}

fn healthy(fleet: &FleetView, wanted: u32, min_healthy: Span, now: i64) -> Verdict {
    let mut ripe: Vec<i64> = fleet.ready_since_ms.iter().map(|since| later(*since, min_healthy)).collect();
    ripe.sort_unstable();
    let Some(last) = (wanted as usize).checked_sub(1) else { return Verdict::Holds };
    match ripe.get(last) {
        Some(at) if *at <= now => Verdict::Holds,
        at => Verdict::Wait(at.copied()),
    }
}

/// Why the new fleet's instances say that the release is bad, whatever gate is waited for.
pub(crate) fn bad_start(rollout: &Rollout, view: &View, now: i64) -> Option<String> {
    let new = fleet(view, &rollout.new);
    let ever_ready = ready(new) + new.unannounced + new.unready > 0;
    let retried = rollout.memory.retried;
    let failed_starts = new.failed_starts.saturating_sub(retried.map_or(0, |it| it.failed_starts));
    if failed_starts >= FAILED_STARTS && !ever_ready {
        let what = format!("{failed_starts} starts in a row failed and no instance was ever ready");
        return Some(with_failure(what, new));
    }
    let deadline = rollout.spec.healthy_deadline;
    let counts_from = retried.map_or(i64::MIN, |it| it.at_ms);
    if new.starting_since_ms.iter().any(|since| now >= later((*since).max(counts_from), deadline)) {
        return Some(with_failure(format!("an instance was not healthy within {deadline}"), new));
    }
    None
}

/// When the next instance that starts runs out of time.
pub(crate) fn next_healthy_deadline(rollout: &Rollout, view: &View) -> Option<i64> {
    let counts_from = rollout.memory.retried.map_or(i64::MIN, |it| it.at_ms);
    let starting = fleet(view, &rollout.new).starting_since_ms.iter().min();
    starting.map(|since| later((*since).max(counts_from), rollout.spec.healthy_deadline))
}

/// Adds what the last failure said.
pub(crate) fn with_failure(what: String, fleet: &FleetView) -> String {
    match &fleet.last_failure {
        Some(failure) => format!("{what}: {failure}"),
        None => what,
    }
}

/// How the new fleet fell behind what it had already reached.
pub(crate) enum Regression {
    /// Instances that carry traffic are missing.
    Shifted(String),
    /// Instances that had been healthy are missing, but they carry nothing yet.
    Unshifted,
}

/// Compares the new fleet with what the gates before this one have shown.
pub(crate) fn regression(rollout: &Rollout, index: usize, gate: usize, view: &View) -> Option<Regression> {
    let stage = &rollout.stages[index];
    let before = wish::before(rollout, index);
    let passed = |kind: &Gate| wish::position(stage, kind).is_some_and(|at| gate > at);
    let asked = wish::position(stage, &Gate::Acknowledged).is_some_and(|at| gate >= at);
    let carrying = if asked && stage.weight > 0 { stage.new } else { before.new };
    let carries = before.weight > 0 || (asked && stage.weight > 0);
    let new = fleet(view, &rollout.new);
    if carries && missing(rollout, carrying, new) {
        let what = format!("only {} of {carrying} instances with traffic are ready", ready(new));
        return Some(Regression::Shifted(with_failure(what, new)));
    }
    (passed(&Gate::Healthy) && missing(rollout, stage.new, new)).then_some(Regression::Unshifted)
}

/// More of `size` instances are not ready than may be.
fn missing(rollout: &Rollout, size: u32, new: &FleetView) -> bool {
    let share =
        u32::try_from(u64::from(size) * u64::from(rollout.spec.max_unhealthy_new) / 100).unwrap_or(u32::MAX);
    let allowed = match rollout.spec.strategy {
        Strategy::Rolling { .. } => {
            share.max(plan::max_unavailable(&rollout.spec.strategy, rollout.replicas))
        }
        Strategy::Recreate | Strategy::BlueGreen { .. } | Strategy::Canary { .. } => share,
    };
    // However much may be missing, a fleet with traffic and no ready instance is lost.
    size > 0 && (ready(new) == 0 || size.saturating_sub(ready(new)) > allowed)
}
