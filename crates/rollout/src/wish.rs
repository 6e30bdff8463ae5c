//! What is wanted at one moment: sizes, weights, and the actions that ensure them.

use std::collections::BTreeMap;

use kiln_model::FleetId;

use crate::{Action, Gate, Rollout, Stage, View, Wish};

/// Weights for a stage's share; fleets at 0 are left out, and no weight at all when the old fleet goes first.
pub(crate) fn weights(rollout: &Rollout, new: u8, old_size: u32) -> BTreeMap<FleetId, u8> {
    let mut map = BTreeMap::new();
    if new > 0 {
        map.insert(rollout.new.clone(), new.min(100));
    }
    if let Some(old) = rollout.old.as_ref().filter(|_| new < 100 && (new > 0 || old_size > 0)) {
        map.insert(old.clone(), 100 - new);
    }
    map
}

/// What stage `index` wants while its gate number `gate` is waited for.
pub(crate) fn running(rollout: &Rollout, index: usize, gate: usize, view: &View) -> Wish {
    let stage = &rollout.stages[index];
    let before = before(rollout, index);
    let old = if matches!(stage.gates.get(gate), Some(Gate::Drained)) { stage.old } else { before.old };
    let shifted = position(stage, &Gate::Acknowledged).is_some_and(|at| gate >= at);
    let weights = if shifted {
        weights(rollout, stage.weight, stage.old)
    } else {
        weights(rollout, before.weight, before.old)
    };
    Wish { new: stage.new, old, weights: servable(weights, view) }
}

/// The stage before `index`, or how the world was when the rollout began.
pub(crate) fn before(rollout: &Rollout, index: usize) -> Stage {
    match index.checked_sub(1).and_then(|index| rollout.stages.get(index)) {
        Some(stage) => stage.clone(),
        None => Stage { new: 0, old: rollout.old_size, weight: 0, gates: Vec::new() },
    }
}

pub(crate) fn position(stage: &Stage, wanted: &Gate) -> Option<usize> {
    stage.gates.iter().position(|gate| gate == wanted)
}

/// Moves the share of fleets without a ready instance to those that have one. Where none of them has, the weights
/// stay as they are: nothing can be served now, and what comes back first serves at once.
pub(crate) fn servable(weights: BTreeMap<FleetId, u8>, view: &View) -> BTreeMap<FleetId, u8> {
    let ready =
        |fleet: &FleetId| view.fleets.get(fleet).is_some_and(|fleet| !fleet.ready_since_ms.is_empty());
    let alive: Vec<FleetId> = weights.keys().filter(|fleet| ready(fleet)).cloned().collect();
    match <[FleetId; 1]>::try_from(alive) {
        Ok([only]) => BTreeMap::from([(only, 100)]),
        Err(_) => weights,
    }
}

/// Whether the data plane confirmed exactly these weights.
pub(crate) fn acknowledged(weights: &BTreeMap<FleetId, u8>, view: &View) -> bool {
    let acked = view.acked_weights.iter().filter(|(_, weight)| **weight > 0);
    weights.iter().eq(acked)
}

/// Growth first, then traffic, then shrinking: performed in order and cut off anywhere, the list leaves no fleet
/// with more traffic than instances.
pub(crate) fn actions(rollout: &Rollout, verify: bool) -> Vec<Action> {
    let wish = &rollout.memory.wish;
    let new = Action::Size { fleet: rollout.new.clone(), size: wish.new };
    let old = rollout.old.iter().map(|fleet| Action::Size { fleet: fleet.clone(), size: wish.old });
    let weights = Action::Weights { weights: wish.weights.clone() };
    let mut actions: Vec<Action> = if wish.new == 0 {
        old.chain([weights, new]).collect()
    } else {
        [new, weights].into_iter().chain(old).collect()
    };
    if verify {
        actions.push(Action::Verify { fleet: rollout.new.clone() });
    }
    actions
}
