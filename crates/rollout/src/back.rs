//! The way back: the old fleet at full size and weight first, then the new one drains and goes.
//!
//! No stage is repeated. While the old fleet stands whole, its weight is 100 in the very first decision; where some
//! of it has left already, its weight grows with its ready instances. Going back may run two whole fleets at once,
//! above `max_surge`: getting the good release back comes first. Only recreate, whose releases may not
//! run at the same time, empties the new fleet before the old one starts.

use std::collections::BTreeMap;

use kiln_model::{FleetId, Strategy};

use crate::{FleetView, Rollout, State, View, Wish, gates, wish};

/// Turns a rollout back because a person asked for it, whatever `auto_rollback` says. One that has succeeded, is rolled
/// back or is on its way back stays as it is; one that failed goes back too.
pub fn abort(rollout: &Rollout, reason: &str, now_ms: i64) -> Rollout {
    let mut next = rollout.clone();
    match rollout.state {
        State::Running { .. } | State::Failed { .. } => {
            next.memory.blameless = true;
            begin(&mut next, format!("aborted: {reason}"), &View::default(), now_ms);
        }
        State::RollingBack { .. } | State::Succeeded { .. } | State::RolledBack { .. } => {}
    }
    next
}

pub(crate) fn begin(next: &mut Rollout, reason: String, view: &View, now: i64) {
    next.state = State::RollingBack { reason, since_ms: now };
    next.progress_ms = now;
    next.memory.turned_back = true;
    next.memory.shifted_back = false;
    next.memory.note = None;
    next.paused = None;
    next.memory.ready = home(next).map_or(0, |(old, _)| gates::ready(gates::fleet(view, old)));
}

/// The fleet to go back to and its size.
fn home(rollout: &Rollout) -> Option<(&FleetId, u32)> {
    rollout.old.as_ref().map(|old| (old, rollout.old_size)).filter(|(_, size)| *size > 0)
}

pub(crate) fn settled(next: &mut Rollout, view: &View) -> Option<i64> {
    let weights = wish::servable(wish::weights(next, 0, 0, next.old_size), next, view);
    next.memory.wish = Wish { new: 0, old: next.old_size, baseline: 0, weights };
    None
}

pub(crate) fn step(next: &mut Rollout, reason: &str, view: &View, now: i64) -> Option<i64> {
    let goal = wish::weights(next, 0, 0, next.old_size);
    let new = gates::fleet(view, &next.new);
    let old = home(next).map(|(old, _)| gates::fleet(view, old));
    let old_ready = old.map_or(0, gates::ready);
    if old_ready > next.memory.ready {
        next.memory.ready = old_ready;
        next.progress_ms = now;
    }
    let served = old.is_none() || old_ready > 0;
    let since = if let State::RollingBack { since_ms, .. } = next.state { since_ms } else { now };
    // An old fleet that does not become whole again must not leave a part of the traffic with the bad release.
    let impatient = gates::later(since, next.spec.healthy_deadline);
    if !next.memory.shifted_back && !view.unsure {
        next.memory.wish = if now >= impatient && old_ready > 0 && !recreates(next) {
            Wish { weights: goal.clone(), old: next.old_size, ..next.memory.wish.clone() }
        } else {
            towards(next, new, old_ready, &goal, view)
        };
        let shifted = next.memory.wish.weights == goal && wish::acknowledged(&goal, view);
        if shifted && (served || gates::ready(new) == 0) {
            next.memory.shifted_back = true;
            next.progress_ms = now;
        }
    }
    if next.memory.shifted_back {
        next.memory.wish = Wish { new: 0, old: old_wish(next, new), baseline: 0, weights: goal.clone() };
    }
    let compared = next.baseline.as_ref().is_none_or(|base| gates::drained(gates::fleet(view, base), 0));
    let gone = gates::drained(new, 0) && compared;
    let whole = old_ready >= home(next).map_or(0, |(_, size)| size);
    if !view.unsure && next.memory.shifted_back && gone && whole && wish::acknowledged(&goal, view) {
        next.state = State::RolledBack { reason: reason.into(), at_ms: now };
        return None;
    }
    let patience = next.spec.progress_deadline.millis().saturating_add(next.spec.drain_deadline.millis());
    let deadline = next.progress_ms.saturating_add_unsigned(patience);
    if now >= deadline {
        give_up(next, reason, served, old, now);
        return None;
    }
    Some(if now < impatient { deadline.min(impatient) } else { deadline })
}

/// The way back got stuck. When the old fleet serves, what is left over is for self-healing; when it does not, only a
/// person can decide.
fn give_up(next: &mut Rollout, reason: &str, served: bool, old: Option<&FleetView>, now: i64) {
    next.state = if next.memory.shifted_back && served {
        State::RolledBack { reason: reason.into(), at_ms: now }
    } else {
        let why = if served {
            "the data plane did not confirm the old fleet's weight".into()
        } else {
            let what = "no instance of the old fleet became ready".to_owned();
            old.map_or(what.clone(), |old| gates::with_failure(what, old))
        };
        State::Failed { reason: format!("{reason}; and the way back failed: {why}"), at_ms: now }
    };
}

fn recreates(rollout: &Rollout) -> bool {
    matches!(rollout.spec.strategy, Strategy::Recreate)
}

fn old_wish(rollout: &Rollout, new: &FleetView) -> u32 {
    let blocked = recreates(rollout) && !gates::drained(new, 0);
    if blocked { rollout.memory.wish.old } else { rollout.old_size }
}

/// What is wanted before the old fleet has all the traffic.
fn towards(
    rollout: &Rollout,
    new: &FleetView,
    old_ready: u32,
    goal: &BTreeMap<FleetId, u8>,
    view: &View,
) -> Wish {
    let served = view.acked_weights.get(&rollout.new).is_some_and(|weight| *weight > 0);
    let size = if recreates(rollout) && !served { 0 } else { rollout.memory.wish.new };
    let weights = weights_towards(rollout, gates::ready(new), old_ready, goal, view);
    Wish { new: size, old: old_wish(rollout, new), baseline: rollout.memory.wish.baseline, weights }
}

fn weights_towards(
    rollout: &Rollout,
    new_ready: u32,
    old_ready: u32,
    goal: &BTreeMap<FleetId, u8>,
    view: &View,
) -> BTreeMap<FleetId, u8> {
    let acked = |fleet: &FleetId| view.acked_weights.get(fleet).copied().unwrap_or(0).min(100);
    let Some((old, size)) = home(rollout) else { return BTreeMap::new() };
    if new_ready == 0 || acked(&rollout.new) == 0 && !recreates(rollout) {
        return goal.clone();
    }
    if recreates(rollout) {
        return if old_ready > 0 { goal.clone() } else { BTreeMap::new() };
    }
    let share = u8::try_from(u64::from(old_ready) * 100 / u64::from(size)).unwrap_or(100).min(100);
    let back = if old_ready == 0 { 0 } else { share.max(acked(old)) };
    wish::weights(rollout, 100 - back, 0, size)
}
