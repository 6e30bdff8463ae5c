//! Which instances of a fleet take requests and which ones drain.

use std::collections::BTreeSet;

use kiln_model::InstanceId;
use kiln_provider::{InstanceObservation, Phase, RetireReason};

use super::FleetInput;

/// The instances of one fleet as the data plane is to see them.
pub(super) struct Selection<'a> {
    pub(super) serving: Vec<&'a InstanceObservation>,
    pub(super) draining: Vec<&'a InstanceObservation>,
}

/// Sorts a fleet's instances, in the order of their identities; `served` are those that the last table had serve.
pub(super) fn select<'a>(fleet: &FleetInput<'a>, served: &BTreeSet<&InstanceId>) -> Selection<'a> {
    let of = |phase: Phase| fleet.instances.iter().filter(move |instance| instance.phase == phase);
    let mut serving: Vec<_> = of(Phase::Ready).collect();
    let (mut stand_ins, mut draining): (Vec<_>, Vec<_>) =
        of(Phase::Draining).partition(|it| stands_in(it, served));
    stand_ins.sort_by(|left, right| left.id.cmp(&right.id));
    let missing = (fleet.desired.size as usize).saturating_sub(serving.len());
    draining.extend(stand_ins.split_off(missing.min(stand_ins.len())));
    serving.extend(stand_ins);
    if serving.is_empty() {
        serving.extend(of(Phase::Unready));
    }
    serving.sort_by(|left, right| left.id.cmp(&right.id));
    draining.sort_by(|left, right| left.id.cmp(&right.id));
    Selection { serving, draining }
}

/// It works and leaves only because a person touched it: it may go on serving until its replacement does.
fn stands_in(instance: &InstanceObservation, served: &BTreeSet<&InstanceId>) -> bool {
    let touched = matches!(instance.retiring, Some(RetireReason::Tainted | RetireReason::Requested));
    touched && instance.failure.is_none() && served.contains(&instance.id)
}
