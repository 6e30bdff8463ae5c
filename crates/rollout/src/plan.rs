//! Strategy -> stages.
//!
//! Names and rounding are the ones users know: surge rounds up, unavailable rounds down, and where percentages leave
//! both at zero one instance may be unavailable (Kubernetes' `ResolveFenceposts`), while two literal zeros are
//! refused. Every list verifies the new release before its first request and ends at (replicas, 0, 100).

use kiln_model::{Against, Amount, RolloutSpec, Span, Strategy};

use crate::rests::Rests;
use crate::{Gate, Stage};

/// Most instances of one service. A list of stages is kept and printed as a whole, so it must stay small.
pub const MAX_REPLICAS: u32 = 10_000;

/// Why a strategy cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// Nothing is wanted.
    #[error("a rollout needs at least one instance: set replicas to 1 or more")]
    NoReplicas,
    /// More than [`MAX_REPLICAS`].
    #[error("{replicas} instances of one service are more than Kiln plans for: use at most {MAX_REPLICAS}")]
    TooManyReplicas {
        /// What was asked for.
        replicas: u32,
    },
    /// A share above the whole.
    #[error("{field} is {percent}%: a share of the wanted instances is at most 100%")]
    Percent {
        /// Field of the strategy.
        field: &'static str,
        /// What was asked for.
        percent: u32,
    },
    /// A rolling update without room to move.
    #[error(
        "max_surge and max_unavailable are both 0, so no instance could ever be replaced: set one of them to 1 or more"
    )]
    BothZero,
    /// A rolling update that may take the last instance away first.
    #[error(
        "max_unavailable lets all {replicas} instances go before a new one is there: set max_surge to 1 or more, or use rollout \"recreate\" where two releases may not run at once"
    )]
    NothingServes {
        /// Instances wanted.
        replicas: u32,
    },
    /// Weights that are no way up.
    #[error(
        "canary steps {steps:?} are not a way up: write ascending percentages from 1 to 100, such as [5, 25, 75, 100]"
    )]
    Steps {
        /// As written.
        steps: Vec<u8>,
    },
    /// A batch of nothing.
    #[error("batch is 0, so no instance would ever be replaced: set it to 1 or more")]
    EmptyBatch,
    /// A comparison that the strategy cannot make.
    #[error(
        "the analysis compares with the {what}, but {strategy} never gives both releases traffic at once: use rollout \"canary\", or against = \"limits\""
    )]
    Comparison {
        /// Baseline or old fleet.
        what: &'static str,
        /// Name of the strategy.
        strategy: &'static str,
    },
    /// Stages with a baseline and no fleet for it.
    #[error("the stages compare with a baseline and no fleet was named for it")]
    NoBaseline,
    /// Shares at which no stage begins.
    #[error("{field} {at}% is not a share that the rollout comes by: it is at most 100 and at least 1")]
    Share {
        /// Field of the rules.
        field: &'static str,
        /// What was written.
        at: u8,
    },
    /// No instance could count as healthy before the rollout is given up.
    #[error(
        "progress_deadline {progress} is not above min_healthy {healthy}, so every rollout would run out of time: raise progress_deadline"
    )]
    Deadlines {
        /// The progress deadline.
        progress: Span,
        /// The minimum healthy time.
        healthy: Span,
    },
}

/// Compiles a strategy for `replicas` wanted instances that replace a fleet of `old` (`None` or 0: a first deploy,
/// which has one stage whatever the strategy). Scaling a fleet of the same release is no rollout.
///
/// # Errors
/// See [`PlanError`].
pub fn plan(spec: &RolloutSpec, replicas: u32, old: Option<u32>) -> Result<Vec<Stage>, PlanError> {
    plan_in(spec, replicas, old, &[])
}

/// The same for an old fleet that stands in several failure domains: `zones` are its instances by domain, in the order in
/// which a provider takes them away (the domains' names). A batch of a rolling update stays within one.
///
/// # Errors
/// See [`PlanError`].
pub fn plan_in(
    spec: &RolloutSpec,
    replicas: u32,
    old: Option<u32>,
    zones: &[u32],
) -> Result<Vec<Stage>, PlanError> {
    validate(spec, replicas)?;
    let old = old.unwrap_or(0);
    let rests = Rests::new(spec);
    match &spec.strategy {
        // What is written must make sense on a first deploy too: an error that waits for the second one comes late.
        Strategy::Rolling { max_surge, max_unavailable, batch, .. } => {
            let room = Room::new(*max_surge, *max_unavailable, *batch, replicas)?;
            Ok(if old == 0 { first(replicas) } else { rolling(replicas, old, room, zones, &rests) })
        }
        Strategy::Canary { steps, .. } => {
            let steps = ways_up(steps)?;
            Ok(if old == 0 { first(replicas) } else { canary(replicas, old, &steps, &rests) })
        }
        Strategy::Recreate if old > 0 => Ok(recreate(replicas)),
        Strategy::BlueGreen { .. } if old > 0 => Ok(blue_green(replicas, old, &rests)),
        Strategy::Recreate | Strategy::BlueGreen { .. } => Ok(first(replicas)),
    }
}

/// Instances above the wanted number that a rolling update may run; rounds up. Other strategies: `replicas` for
/// blue-green and canary (two whole fleets), 0 for recreate.
pub fn max_surge(strategy: &Strategy, replicas: u32) -> u32 {
    match strategy {
        Strategy::Rolling { max_surge, .. } => rounded_up(*max_surge, replicas),
        Strategy::BlueGreen { .. } | Strategy::Canary { .. } => replicas,
        Strategy::Recreate => 0,
    }
}

/// Instances below the wanted number that a strategy may leave ready; rounds down. 0 for blue-green and canary, all
/// for recreate.
pub fn max_unavailable(strategy: &Strategy, replicas: u32) -> u32 {
    match strategy {
        Strategy::Rolling { max_surge, max_unavailable, .. } => {
            let down = rounded_down(*max_unavailable, replicas);
            if down == 0 && rounded_up(*max_surge, replicas) == 0 { 1.min(replicas) } else { down }
        }
        Strategy::BlueGreen { .. } | Strategy::Canary { .. } => 0,
        Strategy::Recreate => replicas,
    }
}

fn validate(spec: &RolloutSpec, replicas: u32) -> Result<(), PlanError> {
    if replicas == 0 {
        return Err(PlanError::NoReplicas);
    }
    if replicas > MAX_REPLICAS {
        return Err(PlanError::TooManyReplicas { replicas });
    }
    let shares = spec.checkpoints.iter().map(|it| ("checkpoint", it.at));
    let approvals = spec.approval.iter().flat_map(|it| &it.before).map(|at| ("approval", *at));
    if let Some((field, at)) = shares.chain(approvals).find(|(_, at)| !(1..=100).contains(at)) {
        return Err(PlanError::Share { field, at });
    }
    comparison(spec)?;
    if spec.progress_deadline <= spec.min_healthy {
        return Err(PlanError::Deadlines { progress: spec.progress_deadline, healthy: spec.min_healthy });
    }
    Ok(())
}

/// What is compared must be there at the same time.
fn comparison(spec: &RolloutSpec) -> Result<(), PlanError> {
    let against = spec.analysis.as_ref().map_or(Against::Limits, |it| it.against);
    let what = match against {
        Against::Limits => return Ok(()),
        Against::Baseline => "baseline",
        Against::Old => "old fleet",
    };
    let strategy = match (&spec.strategy, against) {
        (Strategy::Canary { .. }, _) | (Strategy::Rolling { .. }, Against::Old) => return Ok(()),
        (Strategy::Rolling { .. }, _) => "rolling",
        (Strategy::BlueGreen { .. }, _) => "blue-green",
        (Strategy::Recreate, _) => "recreate",
    };
    Err(PlanError::Comparison { what, strategy })
}

fn rounded_up(amount: Amount, replicas: u32) -> u32 {
    match amount {
        Amount::Count(count) => count,
        Amount::Percent(percent) => share(replicas, percent).div_ceil(100).try_into().unwrap_or(u32::MAX),
    }
}

fn rounded_down(amount: Amount, replicas: u32) -> u32 {
    let down = match amount {
        Amount::Count(count) => count,
        Amount::Percent(percent) => (share(replicas, percent) / 100).try_into().unwrap_or(u32::MAX),
    };
    down.min(replicas)
}

fn share(replicas: u32, percent: u32) -> u64 {
    u64::from(replicas) * u64::from(percent)
}

fn first(replicas: u32) -> Vec<Stage> {
    vec![Stage {
        new: replicas,
        old: 0,
        weight: 100,
        baseline: 0,
        gates: vec![Gate::Healthy, Gate::Verified, Gate::Acknowledged],
    }]
}

fn recreate(replicas: u32) -> Vec<Stage> {
    let gates = vec![Gate::Acknowledged, Gate::Drained];
    let away = Stage { new: 0, old: 0, weight: 0, baseline: 0, gates };
    [vec![away], first(replicas)].concat()
}

fn blue_green(replicas: u32, old: u32, rests: &Rests<'_>) -> Vec<Stage> {
    let ready = vec![Gate::Healthy, Gate::Verified];
    vec![
        Stage { new: replicas, old, weight: 0, baseline: 0, gates: ready },
        Stage { new: replicas, old, weight: 100, baseline: 0, gates: rests.around(0, 100) },
        Stage { new: replicas, old: 0, weight: 100, baseline: 0, gates: rests.farewell() },
    ]
}

fn canary(replicas: u32, old: u32, steps: &[u8], rests: &Rests<'_>) -> Vec<Stage> {
    let size = |weight: u8| (share(replicas, weight.into()).div_ceil(100) as u32).clamp(1, replicas);
    let mut before = 0;
    let mut stages = Vec::new();
    for (index, &weight) in steps.iter().enumerate() {
        let mut gates = vec![Gate::Healthy];
        if index == 0 {
            gates.push(Gate::Verified);
        }
        gates.extend(rests.around(before, weight));
        // The baseline takes its traffic from the old fleet, which must keep some.
        let baseline = if rests.baseline() && u32::from(weight) * 2 < 100 { size(weight) } else { 0 };
        stages.push(Stage { new: size(weight), old, weight, baseline, gates });
        before = weight;
    }
    stages.push(Stage { new: replicas, old: 0, weight: 100, baseline: 0, gates: rests.farewell() });
    stages
}

fn ways_up(steps: &[u8]) -> Result<Vec<u8>, PlanError> {
    let ascending = steps.windows(2).all(|pair| pair[0] < pair[1]);
    let in_range = steps.iter().all(|step| (1..=100).contains(step));
    if steps.is_empty() || !ascending || !in_range {
        return Err(PlanError::Steps { steps: steps.to_vec() });
    }
    let mut steps = steps.to_vec();
    if steps.last() != Some(&100) {
        steps.push(100);
    }
    Ok(steps)
}

/// How far a rolling update may leave the wanted size.
#[derive(Clone, Copy)]
struct Room {
    surge: u32,
    unavailable: u32,
    /// Most new instances of a batch.
    batch: u32,
    /// Most old instances of a batch, where one was asked for; else all that may be unavailable.
    leaving: u32,
}

impl Room {
    fn new(
        surge: Amount,
        unavailable: Amount,
        batch: Option<Amount>,
        replicas: u32,
    ) -> Result<Self, PlanError> {
        let batched = batch.map(|amount| ("batch", amount));
        for (field, amount) in
            [("max_surge", surge), ("max_unavailable", unavailable)].into_iter().chain(batched)
        {
            if let Amount::Percent(percent @ 101..) = amount {
                return Err(PlanError::Percent { field, percent });
            }
        }
        let zero = |amount| matches!(amount, Amount::Count(0) | Amount::Percent(0));
        if zero(surge) && zero(unavailable) {
            return Err(PlanError::BothZero);
        }
        if batch.is_some_and(zero) {
            return Err(PlanError::EmptyBatch);
        }
        let strategy = Strategy::Rolling {
            max_surge: surge,
            max_unavailable: unavailable,
            batch: None,
            pause: Span::default(),
        };
        let (surge, unavailable) = (max_surge(&strategy, replicas), max_unavailable(&strategy, replicas));
        if surge == 0 && unavailable >= replicas {
            return Err(PlanError::NothingServes { replicas });
        }
        let most = surge.saturating_add(unavailable);
        let asked = batch.is_some();
        let batch = batch.map_or(most, |amount| rounded_up(amount, replicas).max(1).min(most));
        let leaving = if asked { batch } else { u32::MAX };
        Ok(Self { surge, unavailable, batch, leaving })
    }
}

/// Batches of at most `room.batch` instances. A batch first grows the new fleet into the room above, moves the
/// weight, and then takes from the old fleet what the room below allows, from one failure domain alone.
fn rolling(replicas: u32, old: u32, room: Room, zones: &[u32], rests: &Rests<'_>) -> Vec<Stage> {
    let most = replicas.max(old).saturating_add(room.surge);
    let least = replicas - room.unavailable;
    let (mut new, mut left) = (0, old);
    let mut stages: Vec<Stage> = Vec::new();
    while new < replicas || left > 0 {
        let grown = new + (replicas - new).min(most.saturating_sub(new + left)).min(room.batch);
        let within = floor_of_zone(old, left, zones);
        let shrunk = least.saturating_sub(grown).max(within).max(left.saturating_sub(room.leaving)).min(left);
        let mut gates = Vec::new();
        if grown > new {
            gates.push(Gate::Healthy);
        }
        if new == 0 && grown > 0 {
            gates.push(Gate::Verified);
        }
        let last = grown == replicas && shrunk == 0;
        gates.extend(rests.batch(percent(new, replicas), percent(grown, replicas), last));
        if shrunk < left {
            gates.push(Gate::Drained);
        }
        stages.push(Stage {
            new: grown,
            old: shrunk,
            weight: weight_by_size(grown, shrunk),
            baseline: 0,
            gates,
        });
        (new, left) = (grown, shrunk);
    }
    stages
}

/// How many old instances are left when the domain that is being emptied is empty. Providers take the domains in
/// order, so the instances left are those of the last ones.
fn floor_of_zone(old: u32, left: u32, zones: &[u32]) -> u32 {
    if zones.iter().sum::<u32>() != old {
        return 0;
    }
    let mut after = old;
    for zone in zones {
        after -= zone;
        if after < left {
            return after;
        }
    }
    0
}

fn percent(part: u32, whole: u32) -> u8 {
    u8::try_from(share(part, 100) / u64::from(whole.max(1))).unwrap_or(100)
}

/// The new fleet's share of the traffic is its share of the instances; whole percents round in favour of the smaller
/// fleet, so that a fleet of 1 beside 999 is not given ten times what it is due.
fn weight_by_size(new: u32, old: u32) -> u8 {
    let (part, whole) = (u64::from(new) * 100, u64::from(new) + u64::from(old));
    let weight = if new < old { part / whole } else { part.div_ceil(whole) };
    u8::try_from(weight).unwrap_or(100)
}
