//! The disruption budget: how many instances of a service may be away at once, over all causes: a rollout that
//! leaves fewer than are wanted, ill health, what a person touched, drift, expiry, scaling.
//!
//! `max_disrupted` of the wanted instances, and at least one, so that a service of one instance can be healed at all.
//! What is dead or unhealthy is away already; taking it out makes room for its replacement and only waits for
//! earlier replacements, so that a probe that fails everywhere does not restart everything at once.

use std::collections::BTreeSet;

use kiln_model::{Amount, InstanceId};
use kiln_provider::{InstanceObservation, Phase, RetireReason};

/// The fleets of one service that the budget covers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Covered<'a> {
    /// Instances wanted.
    pub(crate) size: u32,
    /// Instances that are there.
    pub(crate) instances: &'a [InstanceObservation],
}

/// Instances that a person touched.
#[derive(Clone, Debug, Default)]
pub(crate) struct Touched {
    /// To be replaced when the budget allows it.
    pub(crate) tainted: BTreeSet<InstanceId>,
    /// To be replaced now: a person's wish is not put off.
    pub(crate) asked: BTreeSet<InstanceId>,
}

/// How many instances of one service may be away, and how many a rollout keeps away.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Instances wanted of the service.
    pub(crate) wanted: u32,
    /// `max_disrupted`.
    pub(crate) most: Amount,
    /// Instances that are fewer than wanted because a rollout takes batches away.
    pub(crate) rollout: u32,
}

impl Budget {
    /// How many instances may be away at once; rounds down, at least one.
    fn allowance(self) -> u32 {
        let most = match self.most {
            Amount::Count(count) => count,
            Amount::Percent(percent) => {
                u32::try_from(u64::from(self.wanted) * u64::from(percent) / 100).unwrap_or(u32::MAX)
            }
        };
        most.max(1)
    }
}

/// What the budget lets happen now.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Allowed {
    /// To be taken out.
    pub(crate) out: Vec<(InstanceId, RetireReason)>,
    /// Would be taken out, and waits, with why.
    pub(crate) waiting: Vec<(InstanceId, String)>,
}

/// Which instances to take out now.
pub(crate) fn retire(fleets: &[Covered<'_>], budget: Budget, touched: &Touched) -> Allowed {
    let allowed = budget.allowance();
    let mut waiting = Vec::new();
    let mut here: Vec<&InstanceObservation> = fleets.iter().flat_map(|fleet| fleet.instances).collect();
    here.sort_by(|left, right| left.id.cmp(&right.id));
    let mut out = Vec::new();
    let missing: u32 = fleets.iter().map(|fleet| fleet.size.saturating_sub(up(fleet.instances))).sum();
    let mut replacing = missing.saturating_add(budget.rollout);

    let leavable = |instance: &&&InstanceObservation| instance.phase < Phase::Draining;
    for instance in here.iter().filter(leavable).filter(|it| touched.asked.contains(&it.id)) {
        out.push((instance.id.clone(), RetireReason::Requested));
        replacing += 1;
    }
    let left = |instance: &&&InstanceObservation| !touched.asked.contains(&instance.id);
    let mut failing = 0;
    for instance in here.iter().filter(|it| it.phase == Phase::Unready).filter(left) {
        if replacing < allowed {
            out.push((instance.id.clone(), RetireReason::Unhealthy));
            replacing += 1;
        } else {
            failing += 1;
            waiting.push((instance.id.clone(), told("unhealthy", replacing, allowed, budget)));
        }
    }
    let tainted = |it: &&&InstanceObservation| it.tainted || touched.tainted.contains(&it.id);
    for instance in here.iter().filter(|it| it.phase == Phase::Ready).filter(left).filter(tainted) {
        if replacing + failing < allowed {
            out.push((instance.id.clone(), RetireReason::Tainted));
            replacing += 1;
        } else {
            waiting.push((instance.id.clone(), told("tainted", replacing + failing, allowed, budget)));
        }
    }
    Allowed { out, waiting }
}

fn told(what: &str, away: u32, allowed: u32, budget: Budget) -> String {
    let rollout = match budget.rollout {
        0 => String::new(),
        some => format!(" ({some} of them for the rollout)"),
    };
    let wanted = budget.wanted;
    format!(
        "it is {what} and waits for the disruption budget: {away} of {wanted} instances are away{rollout}, and {allowed} may be"
    )
}

fn up(instances: &[InstanceObservation]) -> u32 {
    let up = instances.iter().filter(|it| matches!(it.phase, Phase::Ready | Phase::Unready)).count();
    u32::try_from(up).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn fleet(phases: &[Phase]) -> Vec<InstanceObservation> {
        let one = |(index, phase): (usize, &Phase)| InstanceObservation {
            id: InstanceId(format!("web-1-{index}")),
            phase: *phase,
            zone: None,
            started_ms: 0,
            ready_since_ms: None,
            endpoints: BTreeMap::new(),
            supervisor: None,
            pid: None,
            retiring: None,
            tainted: false,
            failure: None,
        };
        phases.iter().enumerate().map(one).collect()
    }

    fn retired(
        size: u32,
        phases: &[Phase],
        tainted: &[usize],
        asked: &[usize],
    ) -> Vec<(usize, RetireReason)> {
        let instances = fleet(phases);
        let ids = |indices: &[usize]| indices.iter().map(|index| instances[*index].id.clone()).collect();
        let touched = Touched { tainted: ids(tainted), asked: ids(asked) };
        let budget = Budget { wanted: size, most: Amount::Percent(25), rollout: 0 };
        let out = retire(&[Covered { size, instances: &instances }], budget, &touched).out;
        let index = |id: &InstanceId| instances.iter().position(|it| it.id == *id).unwrap();
        out.iter().map(|(id, reason)| (index(id), *reason)).collect()
    }

    use Phase::{Draining, Ready, Starting, Unready};
    use RetireReason::{Requested, Tainted, Unhealthy};

    #[test]
    fn a_probe_that_fails_everywhere_restarts_one_at_a_time() {
        assert_eq!(retired(3, &[Unready, Unready, Unready], &[], &[]), [(0, Unhealthy)]);
        assert_eq!(retired(3, &[Draining, Unready, Unready, Starting], &[], &[]), []);
        assert_eq!(retired(8, &[Unready; 8], &[], &[]), [(0, Unhealthy), (1, Unhealthy)]);
    }

    #[test]
    fn healthy_instances_wait_for_unhealthy_ones() {
        assert_eq!(retired(3, &[Ready, Ready, Ready], &[0, 1], &[]), [(0, Tainted)]);
        assert_eq!(retired(3, &[Ready, Ready, Starting], &[0], &[]), []);
        assert_eq!(retired(3, &[Ready, Ready, Unready], &[0], &[]), [(2, Unhealthy)]);
    }

    #[test]
    fn a_persons_wish_does_not_wait() {
        assert_eq!(retired(2, &[Ready, Starting], &[], &[0, 1]), [(0, Requested), (1, Requested)]);
        assert_eq!(retired(1, &[Draining], &[], &[0]), []);
    }

    #[test]
    fn a_service_of_one_is_healed_too() {
        assert_eq!(retired(1, &[Unready], &[], &[]), [(0, Unhealthy)]);
        assert_eq!(retired(1, &[Ready], &[0], &[]), [(0, Tainted)]);
    }

    #[test]
    fn a_rollout_draws_on_the_same_budget_and_what_waits_says_why() {
        let instances = fleet(&[Ready, Ready, Unready, Unready]);
        let covered = [Covered { size: 4, instances: &instances }];
        let budget = |most, rollout| Budget { wanted: 6, most, rollout };
        let free = retire(&covered, budget(Amount::Percent(50), 0), &Touched::default());
        assert_eq!((free.out.len(), free.waiting.len()), (2, 0));
        let busy = retire(&covered, budget(Amount::Count(2), 2), &Touched::default());
        assert_eq!(busy.out, []);
        assert_eq!(
            busy.waiting[0].1,
            "it is unhealthy and waits for the disruption budget: 2 of 6 instances are away (2 of them for the rollout), and 2 may be"
        );
    }
}
