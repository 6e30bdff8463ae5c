//! What a person does to a rollout: pause, resume, promote, retry. ([`abort`](crate::abort) is with the way back.)

use kiln_model::FleetId;

use crate::{Act, Gate, Promotion, Retried, Rollout, State, View, gates, wish};

/// Why a person's wish cannot be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandError {
    /// It runs no more.
    #[error("{fleet} is not being rolled out any more: it {state}")]
    Over {
        /// The fleet.
        fleet: FleetId,
        /// How it ended.
        state: &'static str,
    },
    /// It is paused.
    #[error("the rollout to {fleet} was paused by {by} already")]
    Paused {
        /// The fleet.
        fleet: FleetId,
        /// Who did it.
        by: String,
    },
    /// It is not paused.
    #[error("the rollout to {fleet} is not paused")]
    NotPaused {
        /// The fleet.
        fleet: FleetId,
    },
    /// It waits for something that a person cannot decide.
    #[error("the rollout to {fleet} is waiting {wanted}, which no promotion can replace")]
    NotPromotable {
        /// The fleet.
        fleet: FleetId,
        /// What it waits for.
        wanted: String,
    },
    /// Somebody else must approve.
    #[error("{by} may not approve the rollout to {fleet}: it asks for {}", allowed.join(" or "))]
    NotAllowed {
        /// The fleet.
        fleet: FleetId,
        /// Who tried.
        by: String,
        /// Who may.
        allowed: Vec<String>,
    },
    /// Only what failed can be tried again.
    #[error("the rollout to {fleet} has not failed: it {state}")]
    NotFailed {
        /// The fleet.
        fleet: FleetId,
        /// Where it stands.
        state: &'static str,
    },
    /// It failed on its way back, where no stage can be begun again.
    #[error(
        "the rollout to {fleet} failed on its way back and cannot go forward from there: `kiln abort` tries the way back again"
    )]
    TurnedBack {
        /// The fleet.
        fleet: FleetId,
    },
}

fn told(state: &State) -> &'static str {
    match state {
        State::Running { .. } => "is under way",
        State::RollingBack { .. } => "is on its way back",
        State::Succeeded { .. } => "succeeded",
        State::RolledBack { .. } => "was rolled back",
        State::Failed { .. } => "failed",
    }
}

fn running(rollout: &Rollout) -> Result<(usize, usize), HandError> {
    match rollout.state {
        State::Running { stage, gate, .. } => Ok((stage, gate)),
        ref state => Err(HandError::Over { fleet: rollout.new.clone(), state: told(state) }),
    }
}

/// Stops a rollout where it is. Its deadline stops too; failures still bring the old fleet back.
///
/// # Errors
/// When it runs no more or is paused already.
pub fn pause(rollout: &Rollout, act: Act) -> Result<Rollout, HandError> {
    running(rollout)?;
    if let Some(before) = &rollout.paused {
        return Err(HandError::Paused { fleet: rollout.new.clone(), by: before.by.clone() });
    }
    Ok(Rollout { paused: Some(act), ..rollout.clone() })
}

/// Lets a paused rollout go on; the time it was paused counts for no deadline.
///
/// # Errors
/// When it is not paused.
pub fn resume(rollout: &Rollout, now_ms: i64) -> Result<Rollout, HandError> {
    let Some(pause) = &rollout.paused else {
        return Err(HandError::NotPaused { fleet: rollout.new.clone() });
    };
    let mut next = Rollout { paused: None, ..rollout.clone() };
    let standing = now_ms.saturating_sub(pause.at_ms).max(0);
    next.progress_ms = next.progress_ms.saturating_add(standing).min(now_ms);
    Ok(next)
}

/// Lets a rollout pass the gate it waits for: an approval, a hold, an analysis that cannot decide, a delay. With `all`,
/// every such gate that comes later too. A paused rollout goes on.
///
/// # Errors
/// When it runs no more, waits for what no person can decide (without `all`), or somebody else must approve.
pub fn promote(rollout: &Rollout, act: Act, all: bool) -> Result<Rollout, HandError> {
    let (stage, gate) = running(rollout)?;
    let allowed = rollout.spec.approval.as_ref().map_or(&[][..], |it| &it.by);
    let kind = rollout.gate();
    let passes = kind.is_some_and(Gate::is_promotable);
    let approves = all || kind == Some(&Gate::Approved);
    if approves && !allowed.is_empty() && !allowed.contains(&act.by) {
        let (fleet, by) = (rollout.new.clone(), act.by);
        return Err(HandError::NotAllowed { fleet, by, allowed: allowed.to_vec() });
    }
    if !passes && !all {
        let wanted = kind.map_or_else(|| "for the next stage".into(), Gate::wanted);
        return Err(HandError::NotPromotable { fleet: rollout.new.clone(), wanted });
    }
    let mut next = if rollout.paused.is_some() { resume(rollout, act.at_ms)? } else { rollout.clone() };
    next.memory.promoted |= all;
    next.progress_ms = act.at_ms;
    next.memory.promotions.push(Promotion { stage, gate, act });
    Ok(next)
}

/// Tries a rollout again that failed while `auto_rollback` is off, from the stage that it had come to,
/// with the weights that it had reached there.
///
/// # Errors
/// When it has not failed, or failed on its way back: traffic and sizes fit no stage then.
pub fn retry(rollout: &Rollout, view: &View, now_ms: i64) -> Result<Rollout, HandError> {
    let State::Failed { .. } = rollout.state else {
        return Err(HandError::NotFailed { fleet: rollout.new.clone(), state: told(&rollout.state) });
    };
    if rollout.memory.turned_back {
        return Err(HandError::TurnedBack { fleet: rollout.new.clone() });
    }
    let mut next = rollout.clone();
    let stage = next.memory.furthest.0.min(next.stages.len().saturating_sub(1));
    // What is being started now may still fail for the reason from before.
    let fleet = gates::fleet(view, &next.new);
    let starting = u32::try_from(fleet.starting_since_ms.len()).unwrap_or(u32::MAX);
    let failed_starts = fleet.failed_starts.saturating_add(starting);
    // Not before what the data plane confirmed: moving the weight back could leave it to instances that have gone.
    let shifted = next.stages.get(stage).and_then(|it| wish::position(it, &Gate::Acknowledged));
    let gate = shifted.filter(|at| next.memory.furthest.1 >= *at).unwrap_or(0);
    next.state = State::Running { stage, gate, since_ms: now_ms };
    next.progress_ms = now_ms;
    next.paused = None;
    next.memory.retried = Some(Retried { at_ms: now_ms, failed_starts });
    next.memory.furthest = (stage, gate);
    next.memory.ready = 0;
    next.memory.window = None;
    next.memory.analysis = crate::analysis::AnalysisState::default();
    Ok(next)
}

impl Gate {
    /// Whether a person can let a rollout pass it.
    pub fn is_promotable(&self) -> bool {
        match self {
            Self::Approved | Self::Held { .. } | Self::Analysed { .. } | Self::Delayed { .. } => true,
            Self::Healthy | Self::Verified | Self::Acknowledged | Self::Drained => false,
        }
    }
}

impl Rollout {
    /// Whether a person let it pass this gate.
    pub(crate) fn is_promoted(&self, stage: usize, gate: usize) -> bool {
        let kind = self.stages.get(stage).and_then(|it| it.gates.get(gate));
        let promotable = kind.is_some_and(Gate::is_promotable);
        let named = self.memory.promotions.iter().any(|it| (it.stage, it.gate) == (stage, gate));
        promotable && (self.memory.promoted || named)
    }
}
