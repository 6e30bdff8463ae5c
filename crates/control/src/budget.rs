//! The disruption budget: how many instances of a service may be away at once, over all causes.
//!
//! A quarter of the wanted instances, and at least one, so that a service of one instance can be healed at all.
//! What is dead or unhealthy is away already; taking it out makes room for its replacement and only waits for
//! earlier replacements, so that a probe that fails everywhere does not restart everything at once.

use std::collections::BTreeSet;

use kiln_model::InstanceId;
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

/// How many instances of `wanted` may be away at once.
pub(crate) fn allowance(wanted: u32) -> u32 {
    (wanted / 4).max(1)
}

/// Which instances to take out now.
pub(crate) fn retire(fleets: &[Covered<'_>], touched: &Touched) -> Vec<(InstanceId, RetireReason)> {
    let wanted: u32 = fleets.iter().map(|fleet| fleet.size).sum();
    let allowed = allowance(wanted);
    let mut here: Vec<&InstanceObservation> = fleets.iter().flat_map(|fleet| fleet.instances).collect();
    here.sort_by(|left, right| left.id.cmp(&right.id));
    let mut out = Vec::new();
    let mut replacing: u32 = fleets.iter().map(|fleet| fleet.size.saturating_sub(up(fleet.instances))).sum();

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
        }
    }
    let tainted = |it: &&&InstanceObservation| it.tainted || touched.tainted.contains(&it.id);
    for instance in here.iter().filter(|it| it.phase == Phase::Ready).filter(left).filter(tainted) {
        if replacing + failing < allowed {
            out.push((instance.id.clone(), RetireReason::Tainted));
            replacing += 1;
        }
    }
    out
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
        let out = retire(&[Covered { size, instances: &instances }], &touched);
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
}
