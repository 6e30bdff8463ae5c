//! What must be so, judged by the world as it is and not as the control plane sees it.

use kiln_model::Strategy;
use kiln_rollout::{Decision, Gate, View, decide};
use stateright::Property;

use crate::checker::Checked;
use crate::control::Fate;
use crate::saved::{LONG, NOW, Place, Weights};
use crate::world::{ACKED, Act, BASE, FORCE, NEW, OLD, One, Phase, State, World};

/// Promises about states. Those about steps leave their name in [`State::broken`].
pub(crate) fn properties() -> Vec<Property<Checked<'static>>> {
    vec![
        Property::always("no step breaks a promise", |_, state: &State| state.broken.is_none()),
        Property::always("weights sum to 100, or nothing may serve", |it, state: &State| {
            [state.force, state.saved.weights].iter().all(|weights| is_whole(it.world, weights))
        }),
        Property::always("as many instances serve as the strategy promises", |it, state: &State| {
            state.hurt || state.serving() >= least(it.world, state)
        }),
        Property::always("no traffic before the checks have passed", |_, state: &State| {
            state.force[NEW] == 0 || state.verified
        }),
        Property::always("no share of the traffic without its approval", |it, state: &State| {
            let marks = it.world.spec().approval.iter().flat_map(|it| &it.before);
            let mark = marks.min().copied().unwrap_or(101);
            state.force[NEW] < mark || state.approved
        }),
        Property::always("the old fleet is whole until the new one is proven", |it, state: &State| {
            !keeps_old(it.world) || is_proven(it.world, state) || state.fleets[OLD].wanted == it.world.old
        }),
        Property::always("never more instances than the surge allows", |it, state: &State| {
            let forward = matches!(state.saved.place, Place::Running { .. } | Place::Succeeded);
            let wanted: u8 = state.fleets.iter().map(|fleet| fleet.wanted).sum();
            !forward || wanted <= it.world.most()
        }),
        Property::always("recreate never runs two releases", |it, state: &State| {
            let [new, old, _] = &state.fleets;
            !it.world.recreates() || new.all.is_empty() || old.all.is_empty()
        }),
    ]
}

fn is_whole(world: &World, weights: &Weights) -> bool {
    let sum: u32 = weights.iter().map(|weight| u32::from(*weight)).sum();
    sum == 100 || sum == 0 && (world.recreates() || world.old == 0)
}

/// Instances that must serve: what the strategy says, and one at least once the way back has run out of patience with
/// an old fleet that does not become whole.
fn least(world: &World, state: &State) -> u8 {
    if state.impatient { world.least().min(1) } else { world.least() }
}

fn keeps_old(world: &World) -> bool {
    matches!(world.spec().strategy, Strategy::BlueGreen { .. } | Strategy::Canary { .. })
}

fn is_proven(world: &World, state: &State) -> bool {
    let last = world.stages().len() - 1;
    state.saved.place == Place::Succeeded || usize::from(state.saved.furthest.0) == last
}

pub(crate) fn lost_patience(state: &State) -> bool {
    matches!(state.saved.place, Place::Back { since } if since >= LONG)
}

/// What an action may not do.
pub(crate) fn on_action(world: &World, before: &State, act: Act, after: &State) -> Option<&'static str> {
    match act {
        Act::Size(fleet, size) => {
            let fleet = usize::from(fleet);
            if before.saved.sizes[fleet] != size {
                return Some("a size that was not written down");
            }
            let shrinks = size < before.fleets[fleet].wanted;
            let all = size == 0 || keeps_old(world) || fleet == BASE;
            if shrinks && all && before.force[fleet] > 0 && before.serving() > 0 {
                return Some("instances with traffic are taken away");
            }
        }
        Act::Weights(weights) if before.saved.weights != weights => {
            return Some("weights that were not written down");
        }
        Act::Weights(_) => {}
    }
    let total = after.fleets[BASE].wanted;
    (total > 0 && !world.stages().iter().any(|it| it.baseline >= u32::from(total)))
        .then_some("a larger baseline than was planned")
}

/// The next promise breaks when an instance is stopped that the data plane sends requests to.
pub(crate) fn on_stop(state: &State, fleet: usize, one: One) -> Option<&'static str> {
    (one.has(FORCE) && state.force[fleet] > 0).then_some("stopped while requests are sent to it")
}

/// A decision that changes nothing must still know when to look again.
pub(crate) fn on_standing(
    world: &World,
    state: &State,
    view: &View,
    decision: &Decision,
) -> Option<&'static str> {
    let saved = &state.saved;
    let somebody = saved.paused
        || matches!(world.gate(saved), Some(Gate::Approved))
        || matches!(&decision.rollout.memory.note, Some(note) if is_for_somebody(note.kind));
    let waits = decision.wake_ms.is_some_and(|at| at > NOW) || decision.rollout.is_over();
    (!waits && !view.unsure && !somebody).then_some("it sleeps for ever")
}

fn is_for_somebody(kind: kiln_rollout::NoteKind) -> bool {
    matches!(kind, kiln_rollout::NoteKind::Frozen | kiln_rollout::NoteKind::Inconclusive)
}

/// What a decision may not want.
pub(crate) fn on_decision(
    world: &World,
    before: &State,
    view: &View,
    decision: &Decision,
    after: &State,
) -> Option<&'static str> {
    let again = decide(&decision.rollout, view, NOW);
    if again.rollout != decision.rollout || again.actions != decision.actions {
        return Some("deciding again on the same view changes something");
    }
    if skips(before, after) {
        return Some("it goes on while it is paused or frozen");
    }
    if !view.unsure && after.saved.place != Place::Failed {
        if loses_requests(before, after.saved.weights) {
            return Some("weight for a fleet without a ready instance");
        }
        return takes_too_many(world, before, after);
    }
    None
}

fn skips(before: &State, after: &State) -> bool {
    let at = |state: &State| match state.saved.place {
        Place::Running { stage, gate, .. } => Some((stage, gate)),
        Place::Back { .. } | Place::RolledBack | Place::Failed => None,
        Place::Succeeded => Some((u8::MAX, 0)),
    };
    let (Some(from), Some(to)) = (at(before), at(after)) else { return false };
    let frozen = before.frozen && !before.saved.promoted && to.0 > from.0 && to.0 < u8::MAX;
    before.saved.paused && to > from || frozen
}

fn loses_requests(state: &State, weights: Weights) -> bool {
    let known = |one: &One| one.phase == Phase::Ready && one.has(ACKED);
    let alive = [NEW, OLD, BASE].map(|fleet| state.fleets[fleet].all.iter().any(known));
    let named = || (0..3).filter(|fleet| weights[*fleet] > 0);
    named().any(|fleet| alive[fleet]) && !named().all(|fleet| alive[fleet])
}

/// The decision, done at once by a world that obeys, leaves fewer than must be, and fewer than there were.
fn takes_too_many(world: &World, before: &State, after: &State) -> Option<&'static str> {
    let mut done = after.clone();
    while !done.pending.is_empty() {
        done = World::carried_out(&done, Fate::Acknowledged)?;
    }
    let least = if lost_patience(before) { least(world, before).min(1) } else { least(world, before) };
    if done.serving() < before.serving().min(least) {
        return Some("fewer instances serve than must");
    }
    // Instances that have traffic now, whether the data plane knows each of them or not.
    let serve = |fleet: &usize| before.saved.weights[*fleet] > 0 && after.saved.weights[*fleet] > 0;
    let ready = |state: &State| -> u8 {
        [NEW, OLD].iter().filter(|it| serve(it)).map(|it| state.fleets[*it].ready()).sum()
    };
    let forward = matches!(after.saved.place, Place::Running { .. } | Place::Succeeded);
    (forward && ready(&done) < ready(before).min(least))
        .then_some("fewer instances are ready than the budget says")
}
