//! The promises, checked against the world as it is and not as the control plane sees it.

use std::collections::{BTreeMap, BTreeSet};

use kiln_model::{FleetId, InstanceId, Strategy};
use kiln_provider::{FleetObservation, Observation, Phase};
use kiln_rollout::{Rollout, State, max_surge, max_unavailable};

use super::{Quality, Scenario, fleet};
use crate::{FakeProvider, FakeTraffic};

/// Instances that can answer a request.
pub(super) fn living(seen: &Observation) -> BTreeSet<InstanceId> {
    let answers = |phase| matches!(phase, Phase::Ready | Phase::Unready | Phase::Draining);
    seen.fleets
        .values()
        .flat_map(|fleet| &fleet.instances)
        .filter(|instance| answers(instance.phase))
        .map(|instance| instance.id.clone())
        .collect()
}

fn count(fleet: Option<&FleetObservation>, wanted: impl Fn(Phase) -> bool) -> u32 {
    let count = fleet.map_or(0, |fleet| fleet.instances.iter().filter(|it| wanted(it.phase)).count());
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn exists(phase: Phase) -> bool {
    phase != Phase::Exited
}

/// Fleets in a few characters: ready of all that exist.
pub(super) fn census(seen: &Observation) -> String {
    let text = |number: u64| {
        let fleet = seen.fleets.get(&fleet(number));
        let ready = count(fleet, |phase| phase == Phase::Ready);
        let leaving = count(fleet, |phase| matches!(phase, Phase::Draining | Phase::Stopping));
        format!("{ready}/{} ({leaving} leaving)", count(fleet, exists))
    };
    format!("old {} new {}", text(1), text(2))
}

/// Weights by release number.
pub(super) fn short(weights: &BTreeMap<FleetId, u8>) -> Vec<(u64, u8)> {
    weights.iter().map(|(id, weight)| (id.release.0, *weight)).collect()
}

/// What the control plane must never have done.
pub(super) fn done(provider: &FakeProvider, unsafe_act: Option<&str>) -> Result<(), String> {
    if let Some(what) = unsafe_act {
        return Err(what.into());
    }
    provider.misuses().first().map_or(Ok(()), |misuse| Err(misuse.to_string()))
}

/// What must be so at every moment.
pub(super) fn always(
    scenario: &Scenario,
    seen: &Observation,
    traffic: &FakeTraffic,
    rollout: &Rollout,
) -> Result<(), String> {
    let (_, table) = traffic.in_force();
    let sum: u32 = table.weights.values().map(|weight| u32::from(*weight)).sum();
    if sum != 0 && sum != 100 {
        return Err(format!("the weights sum to {sum}"));
    }
    let unproven =
        matches!(scenario.quality, Quality::ExitsAtStart | Quality::NeverReady | Quality::FailsChecks);
    if unproven && table.weights.contains_key(&fleet(2)) {
        return Err("a release that never passed has traffic".into());
    }
    never_more(scenario, rollout, seen)?;
    never_less(scenario, traffic, seen)
}

/// The total stays within the surge, except on the way back.
fn never_more(scenario: &Scenario, rollout: &Rollout, seen: &Observation) -> Result<(), String> {
    let standing = |number| seen.fleets.get(&fleet(number)).map_or(0, |fleet| fleet.size);
    let total = standing(1) + standing(2);
    let old = scenario.old.unwrap_or(0);
    let limit = scenario.replicas.max(old)
        + match scenario.spec.strategy {
            Strategy::BlueGreen { .. } | Strategy::Canary { .. } => old.min(scenario.replicas),
            Strategy::Rolling { .. } | Strategy::Recreate => {
                max_surge(&scenario.spec.strategy, scenario.replicas)
            }
        };
    if total > limit && matches!(rollout.state, State::Running { .. } | State::Succeeded { .. }) {
        return Err(format!("{total} instances are wanted, more than {limit}"));
    }
    let both = [1, 2].map(|number| count(seen.fleets.get(&fleet(number)), exists));
    if matches!(scenario.spec.strategy, Strategy::Recreate) && both[0] > 0 && both[1] > 0 {
        return Err(format!("recreate runs two releases at once: {both:?}"));
    }
    Ok(())
}

/// A good release, or one that never gets traffic, leaves as many instances serving as the strategy promises.
fn never_less(scenario: &Scenario, traffic: &FakeTraffic, seen: &Observation) -> Result<(), String> {
    let Some(old) = scenario.old else { return Ok(()) };
    let harmless = !matches!(scenario.quality, Quality::Dies | Quality::Flaky);
    if !harmless || matches!(scenario.spec.strategy, Strategy::Recreate) {
        return Ok(());
    }
    let (_, table) = traffic.in_force();
    let living = living(seen);
    let serving = u32::try_from(table.routed().filter(|id| living.contains(*id)).count()).unwrap_or(0);
    let wanted = scenario.replicas.min(old);
    let away = max_unavailable(&scenario.spec.strategy, scenario.replicas);
    // Weights are whole percents, so one percent of the instances may stand ready without any.
    let least = wanted.saturating_sub(away).saturating_sub(scenario.replicas.max(old).div_ceil(100)).max(1);
    let least = if scenario.replicas.max(old) < 100 { wanted.saturating_sub(away).max(1) } else { least };
    if serving < least {
        return Err(format!("only {serving} instances serve and {least} must"));
    }
    Ok(())
}

/// Nothing is on its way any more.
pub(super) fn at_rest(seen: &Observation, rollout: &Rollout) -> bool {
    let leaving = |phase| matches!(phase, Phase::Draining | Phase::Stopping);
    let calm = seen.fleets.values().all(|fleet| count(Some(fleet), leaving) == 0);
    calm || matches!(rollout.state, State::Failed { .. })
}

/// What must be so when it is over.
pub(super) fn end(
    scenario: &Scenario,
    seen: &Observation,
    traffic: &FakeTraffic,
    rollout: &Rollout,
) -> Result<(), String> {
    let ends = |number: u64| count(seen.fleets.get(&fleet(number)), exists);
    let weights = short(&traffic.in_force().1.weights);
    let aborted = scenario.abort_after.is_some();
    let expected = match scenario.quality {
        Quality::Good if !aborted => matches!(rollout.state, State::Succeeded { .. }),
        Quality::ExitsAtStart | Quality::NeverReady | Quality::FailsChecks => match rollout.state {
            State::RolledBack { .. } => true,
            State::Failed { .. } => !scenario.spec.auto_rollback,
            State::Running { .. } | State::RollingBack { .. } | State::Succeeded { .. } => false,
        },
        Quality::Good | Quality::Dies | Quality::Flaky => true,
    };
    if !expected {
        return Err(format!("a release that is {:?} ended as {:?}", scenario.quality, rollout.state));
    }
    let back = scenario.old.map_or(vec![], |_| vec![(1, 100)]);
    let settled = match rollout.state {
        State::Succeeded { .. } => ends(1) == 0 && weights == [(2, 100)],
        State::RolledBack { .. } => ends(2) == 0 && ends(1) >= scenario.old.unwrap_or(0) && weights == back,
        State::Failed { .. } => true,
        State::Running { .. } | State::RollingBack { .. } => false,
    };
    if settled {
        Ok(())
    } else {
        Err(format!("it ended as {:?} with {weights:?} and {}", rollout.state, census(seen)))
    }
}
