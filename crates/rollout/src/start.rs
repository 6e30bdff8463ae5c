//! Beginning a rollout.

use kiln_model::{FleetId, RolloutSpec};

use crate::{Memory, PlanError, Rollout, State, Wish, plan::plan_in, wish};

/// What a rollout begins with.
#[derive(Clone, Debug, PartialEq)]
pub struct Setup {
    /// The fleet that is to serve.
    pub new: FleetId,
    /// The fleet that serves and its size; `None` (or size 0) on a first deploy.
    pub old: Option<(FleetId, u32)>,
    /// An empty fleet of the old release for stages that compare with a baseline.
    pub baseline: Option<FleetId>,
    /// Instances wanted of the new fleet.
    pub replicas: u32,
    /// Instances of the old fleet by failure domain (zone or host), in the order of the domains' names; a batch of a
    /// rolling update takes from one domain alone. Empty: one domain.
    pub zones: Vec<u32>,
    /// The rules.
    pub spec: RolloutSpec,
}

impl Setup {
    /// A rollout to `replicas` instances of `new`, without baseline and zones.
    pub fn new(new: FleetId, old: Option<(FleetId, u32)>, replicas: u32, spec: RolloutSpec) -> Self {
        Self { new, old, baseline: None, replicas, zones: Vec::new(), spec }
    }
}

/// Begins a rollout. Nothing is done yet: [`decide`](crate::decide()) tells what.
///
/// # Errors
/// When the strategy cannot be compiled; see [`PlanError`].
pub fn start(setup: Setup, now_ms: i64) -> Result<Rollout, PlanError> {
    let Setup { new, old, baseline, replicas, zones, spec } = setup;
    let old_size = old.as_ref().map(|(_, size)| *size);
    let stages = plan_in(&spec, replicas, old_size, &zones)?;
    let compares = stages.iter().any(|stage| stage.baseline > 0);
    if compares && baseline.is_none() {
        return Err(PlanError::NoBaseline);
    }
    let old_size = old_size.unwrap_or(0);
    let mut rollout = Rollout {
        new,
        old: old.map(|(fleet, _)| fleet),
        baseline: baseline.filter(|_| compares),
        replicas,
        old_size,
        spec,
        stages,
        state: State::Running { stage: 0, gate: 0, since_ms: now_ms },
        started_ms: now_ms,
        progress_ms: now_ms,
        paused: None,
        memory: Memory::default(),
    };
    let weights = wish::weights(&rollout, 0, 0, old_size);
    rollout.memory.wish = Wish { new: 0, old: old_size, baseline: 0, weights };
    Ok(rollout)
}
