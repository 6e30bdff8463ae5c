//! The promises, checked against the world as it is and not as the control plane sees it.

use std::collections::{BTreeMap, BTreeSet};

use kiln_model::{Against, FleetId, InstanceId, Strategy};
use kiln_provider::{FleetObservation, Observation, Phase};
use kiln_rollout::{Gate, Rollout, State, max_surge, max_unavailable};

use super::people::People;
use super::{Deploy, Quality, Scenario, fleet};
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

fn is_leaving(phase: Phase) -> bool {
    matches!(phase, Phase::Draining | Phase::Stopping)
}

/// The instances of a release by failure domain, in the order of the domains' names.
pub(super) fn zones(seen: &Observation, number: u64) -> Vec<u32> {
    let mut zones: BTreeMap<&str, u32> = BTreeMap::new();
    let instances = seen.fleets.get(&fleet(number)).map_or(&[][..], |it| &it.instances);
    for instance in instances.iter().filter(|it| it.phase <= Phase::Unready) {
        *zones.entry(instance.zone.as_deref().unwrap_or_default()).or_default() += 1;
    }
    zones.into_values().collect()
}

/// Fleets in a few characters: ready of all that exist.
pub(super) fn census(seen: &Observation) -> String {
    let text = |(id, fleet): (&FleetId, &FleetObservation)| {
        let ready = count(Some(fleet), |phase| phase == Phase::Ready);
        let leaving = count(Some(fleet), is_leaving);
        format!("{}: {ready}/{} ({leaving} leaving)", id.release, count(Some(fleet), exists))
    };
    seen.fleets.iter().map(text).collect::<Vec<_>>().join(" ")
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

/// Nothing is on its way any more.
pub(super) fn at_rest(seen: &Observation, rollout: &Rollout) -> bool {
    let calm = seen.fleets.values().all(|fleet| count(Some(fleet), is_leaving) == 0);
    calm || matches!(rollout.state, State::Failed { .. })
}

/// One rollout and what it may do.
pub(super) struct Judged<'a> {
    scenario: &'a Scenario,
    deploy: &'a Deploy,
    /// Instances fail by themselves: of either release, of the old one.
    harms: bool,
    ill: bool,
    new: FleetId,
    old: Option<(FleetId, u32)>,
    /// Instances that the baseline may have.
    baseline: u32,
    analysed: bool,
}

impl<'a> Judged<'a> {
    pub(super) fn new(
        scenario: &'a Scenario,
        deploy: &'a Deploy,
        rollout: &Rollout,
        (stable, ill): (Option<(u64, u32)>, bool),
    ) -> Self {
        let gates = || rollout.stages.iter().flat_map(|stage| &stage.gates);
        Self {
            scenario,
            deploy,
            harms: ill || deploy.quality.harms(),
            ill,
            new: rollout.new.clone(),
            old: stable.map(|(number, size)| (fleet(number), size)),
            baseline: rollout.stages.iter().map(|stage| stage.baseline).max().unwrap_or(0),
            analysed: gates().any(|gate| matches!(gate, Gate::Analysed { .. })),
        }
    }

    fn old_size(&self) -> u32 {
        self.old.as_ref().map_or(0, |(_, size)| *size)
    }

    /// What must be so at every moment.
    pub(super) fn always(
        &self,
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
            matches!(self.deploy.quality, Quality::ExitsAtStart | Quality::NeverReady | Quality::FailsChecks);
        if unproven && table.weights.contains_key(&self.new) {
            return Err("a release that never passed has traffic".into());
        }
        self.never_more(rollout, seen)?;
        self.old_intact(rollout, seen)?;
        self.never_less(traffic, seen)
    }

    /// The total stays within the surge, except on the way back.
    fn never_more(&self, rollout: &Rollout, seen: &Observation) -> Result<(), String> {
        let total: u32 = seen.fleets.values().map(|fleet| fleet.size).sum();
        let (old, strategy) = (self.old_size(), &self.deploy.spec.strategy);
        let surge = match strategy {
            Strategy::BlueGreen { .. } | Strategy::Canary { .. } => {
                old.min(self.deploy.replicas) + self.baseline
            }
            Strategy::Rolling { .. } | Strategy::Recreate => max_surge(strategy, self.deploy.replicas),
        };
        let limit = self.deploy.replicas.max(old) + surge;
        if total > limit && matches!(rollout.state, State::Running { .. } | State::Succeeded { .. }) {
            return Err(format!("{total} instances are wanted, more than {limit}"));
        }
        let both = [Some(&self.new), self.old.as_ref().map(|(old, _)| old)];
        let both = both.map(|id| id.map_or(0, |id| count(seen.fleets.get(id), exists)));
        if matches!(strategy, Strategy::Recreate) && both[0] > 0 && both[1] > 0 {
            return Err(format!("recreate runs two releases at once: {both:?}"));
        }
        Ok(())
    }

    /// Blue-green and canary leave the old fleet alone until the last stage.
    fn old_intact(&self, rollout: &Rollout, seen: &Observation) -> Result<(), String> {
        let Some((id, size)) = &self.old else { return Ok(()) };
        let keeps = matches!(self.deploy.spec.strategy, Strategy::BlueGreen { .. } | Strategy::Canary { .. });
        let last = rollout.memory.furthest.0 + 1 >= rollout.stages.len();
        let wanted = seen.fleets.get(id).map_or(0, |fleet| fleet.size);
        if keeps && !last && wanted < *size {
            return Err(format!(
                "{wanted} of {size} old instances are wanted before the new ones are proven"
            ));
        }
        Ok(())
    }

    /// A release whose instances live, or that never gets traffic, leaves as many instances serving as the strategy
    /// promises.
    fn never_less(&self, traffic: &FakeTraffic, seen: &Observation) -> Result<(), String> {
        let Some((_, old)) = self.old else { return Ok(()) };
        let strategy = &self.deploy.spec.strategy;
        if self.harms || matches!(strategy, Strategy::Recreate) {
            return Ok(());
        }
        let (_, table) = traffic.in_force();
        let living = living(seen);
        let serving = u32::try_from(table.routed().filter(|id| living.contains(*id)).count()).unwrap_or(0);
        let (replicas, wanted) = (self.deploy.replicas, self.deploy.replicas.min(old));
        let away = max_unavailable(strategy, replicas);
        // Weights are whole percents, so one percent of the instances may stand ready without any.
        let slack = if replicas.max(old) < 100 { 0 } else { replicas.max(old).div_ceil(100) };
        let least = wanted.saturating_sub(away).saturating_sub(slack).max(1);
        if serving < least {
            return Err(format!("only {serving} instances serve and {least} must"));
        }
        Ok(())
    }

    /// What must be so when it is over.
    pub(super) fn end(
        &self,
        seen: &Observation,
        traffic: &FakeTraffic,
        rollout: &Rollout,
        people: &People,
    ) -> Result<(), String> {
        if !self.is_expected(&rollout.state, people) {
            let (quality, state) = (self.deploy.quality, &rollout.state);
            return Err(format!("a release that is {quality:?} ended as {state:?}"));
        }
        let ends = |id: &FleetId| count(seen.fleets.get(id), exists);
        let weights = &traffic.in_force().1.weights;
        let only = |id: &FleetId| *weights == BTreeMap::from([(id.clone(), 100)]);
        let old = self.old.as_ref();
        let compared = rollout.baseline.as_ref().map_or(0, ends);
        let settled = match rollout.state {
            State::Succeeded { .. } => {
                old.is_none_or(|(old, _)| ends(old) == 0) && only(&self.new) && compared == 0
            }
            State::RolledBack { .. } => {
                let back = old.map_or(weights.is_empty(), |(old, size)| ends(old) >= *size && only(old));
                ends(&self.new) == 0 && back && compared == 0
            }
            State::Failed { .. } => true,
            State::Running { .. } | State::RollingBack { .. } => false,
        };
        if settled {
            return Ok(());
        }
        Err(format!("it ended as {:?} with {:?} and {}", rollout.state, short(weights), census(seen)))
    }

    fn is_expected(&self, state: &State, people: &People) -> bool {
        let succeeded = matches!(state, State::Succeeded { .. });
        // Compared with another fleet a good release may look bad by chance, and with nobody's requests nothing is known
        // of what it is compared with.
        let limits = self.deploy.spec.analysis.as_ref().is_none_or(|it| it.against == Against::Limits);
        let certain = !self.analysed || limits && self.scenario.requests > 0;
        match self.deploy.quality {
            Quality::Good => {
                succeeded || self.ill || people.aborted || people.aborts_of_failed > 0 || !certain
            }
            Quality::ExitsAtStart | Quality::NeverReady | Quality::FailsChecks => !succeeded,
            Quality::FailsRequests => !succeeded || !self.analysed || people.promoted,
            Quality::Dies | Quality::Flaky => true,
        }
    }
}
