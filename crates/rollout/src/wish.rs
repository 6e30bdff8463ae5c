//! What is wanted at one moment: sizes, weights, and the actions that ensure them.

use std::collections::BTreeMap;

use kiln_model::{FleetId, Strategy};

use crate::{Action, Gate, Rollout, Stage, View, Wish, gates, plan};

/// Weights of the shares `new` and `baseline`, the old fleet having the rest; fleets at 0 are left out, and no weight
/// at all when the old fleet goes first.
pub(crate) fn weights(rollout: &Rollout, new: u8, baseline: u8, old_size: u32) -> BTreeMap<FleetId, u8> {
    let mut map = BTreeMap::new();
    let new = new.min(100);
    let compared = rollout.baseline.as_ref().filter(|_| baseline > 0);
    let baseline = if compared.is_some() { baseline.min(100 - new) } else { 0 };
    if new > 0 {
        map.insert(rollout.new.clone(), new);
    }
    if let Some(fleet) = compared {
        map.insert(fleet.clone(), baseline);
    }
    let rest = 100 - new - baseline;
    if let Some(old) = rollout.old.as_ref().filter(|_| rest > 0 && (new > 0 || old_size > 0)) {
        map.insert(old.clone(), rest);
    }
    map
}

/// What stage `index` wants while its gate number `gate` is waited for.
pub(crate) fn running(rollout: &Rollout, index: usize, gate: usize, view: &View) -> Wish {
    let stage = &rollout.stages[index];
    let before = before(rollout, index);
    let leaving = matches!(stage.gates.get(gate), Some(Gate::Drained));
    let old = if leaving { shrunk(rollout, stage, &before, view) } else { before.old };
    let shifted = position(stage, &Gate::Acknowledged).is_some_and(|at| gate >= at);
    let acknowledged = position(stage, &Gate::Acknowledged).is_none_or(|at| gate > at);
    let share = if shifted { stage } else { &before };
    let weights = weights(rollout, share.weight, share.baseline_weight(), share.old);
    // A baseline that is done with keeps its instances until its traffic has gone elsewhere.
    let baseline = if acknowledged { stage.baseline } else { stage.baseline.max(before.baseline) };
    Wish { new: stage.new, old, baseline, weights: servable(weights, rollout, view) }
}

/// The size of the old fleet while a batch takes from it: not below what must be ready, over all causes. An instance
/// that is ill is taken first and costs nothing.
fn shrunk(rollout: &Rollout, stage: &Stage, before: &Stage, view: &View) -> u32 {
    if !matches!(rollout.spec.strategy, Strategy::Rolling { .. }) || stage.weight == 100 {
        return stage.old;
    }
    let Some(old) = &rollout.old else { return stage.old };
    let ready_old = gates::ready(gates::fleet(view, old));
    let ready = ready_old.saturating_add(gates::ready(gates::fleet(view, &rollout.new)));
    let spare = ready.saturating_sub(must_be_ready(rollout));
    let before = before.old.min(rollout.memory.wish.old);
    stage.old.max(ready_old.saturating_sub(spare)).min(before)
}

/// Ready instances that a rolling update leaves at least.
pub(crate) fn must_be_ready(rollout: &Rollout) -> u32 {
    let unavailable = plan::max_unavailable(&rollout.spec.strategy, rollout.replicas);
    rollout.replicas.min(rollout.old_size).saturating_sub(unavailable)
}

/// The stage before `index`, or how the world was when the rollout began.
pub(crate) fn before(rollout: &Rollout, index: usize) -> Stage {
    match index.checked_sub(1).and_then(|index| rollout.stages.get(index)) {
        Some(stage) => stage.clone(),
        None => Stage { new: 0, old: rollout.old_size, weight: 0, baseline: 0, gates: Vec::new() },
    }
}

pub(crate) fn position(stage: &Stage, wanted: &Gate) -> Option<usize> {
    stage.gates.iter().position(|gate| gate == wanted)
}

/// Moves the share of fleets without a ready instance to those that have one: to the old fleet if it can, so that
/// nobody else gets more than was planned. Where none of them has, the weights stay as they are: nothing can be served
/// now, and what comes back first serves at once.
pub(crate) fn servable(
    weights: BTreeMap<FleetId, u8>,
    rollout: &Rollout,
    view: &View,
) -> BTreeMap<FleetId, u8> {
    let ready = |fleet: &FleetId| gates::ready(gates::fleet(view, fleet)) > 0;
    let alive: Vec<FleetId> = weights.keys().filter(|fleet| ready(fleet)).cloned().collect();
    let heir = [rollout.old.as_ref(), rollout.baseline.as_ref(), Some(&rollout.new)]
        .into_iter()
        .flatten()
        .find(|fleet| alive.contains(fleet));
    let Some(heir) = heir else { return weights };
    let lost: u8 = weights.iter().filter(|(fleet, _)| !alive.contains(fleet)).map(|(_, weight)| weight).sum();
    let mut weights = weights.clone();
    weights.retain(|fleet, _| alive.contains(fleet));
    weights.entry(heir.clone()).and_modify(|weight| *weight = weight.saturating_add(lost));
    weights
}

/// Whether the data plane confirmed exactly these weights.
pub(crate) fn acknowledged(weights: &BTreeMap<FleetId, u8>, view: &View) -> bool {
    let acked = view.acked_weights.iter().filter(|(_, weight)| **weight > 0);
    weights.iter().eq(acked)
}

/// Growth first, then traffic, then shrinking: performed in order and cut off anywhere, the list leaves no fleet
/// with more traffic than instances.
pub(crate) fn actions(rollout: &Rollout, asked: impl IntoIterator<Item = Action>) -> Vec<Action> {
    let wish = &rollout.memory.wish;
    let new = Action::Size { fleet: rollout.new.clone(), size: wish.new };
    let old = rollout.old.iter().map(|fleet| Action::Size { fleet: fleet.clone(), size: wish.old });
    let baseline =
        rollout.baseline.iter().map(|fleet| Action::Size { fleet: fleet.clone(), size: wish.baseline });
    let (growing, leaving): (Vec<Action>, Vec<Action>) =
        baseline.partition(|_| wish.baseline > 0 && wish.new > 0);
    let weights = Action::Weights { weights: wish.weights.clone() };
    let actions: Vec<Action> = if wish.new == 0 {
        old.chain([weights, new]).collect()
    } else {
        [new].into_iter().chain(growing).chain([weights]).chain(old).collect()
    };
    actions.into_iter().chain(leaving).chain(asked).collect()
}
