//! What must hold whatever is observed.

#![allow(clippy::unwrap_used, reason = "helpers of tests stand outside the test functions")]

use std::collections::BTreeMap;

use kiln_model::{Amount, FleetId, RolloutSpec, Span, Strategy as Kind};
use kiln_rollout::{Action, Decision, FleetView, Rollout, Setup, State, View, abort, decide, start};
use proptest::prelude::*;

const T0: i64 = 1_000_000;

fn fleet(number: u64) -> FleetId {
    format!("dev/web/{number}").parse().unwrap()
}

fn spans(most: u64) -> impl Strategy<Value = Span> {
    (0..=most).prop_map(Span::from_millis)
}

fn kinds() -> impl Strategy<Value = Kind> {
    let amount = || prop_oneof![(0_u32..4).prop_map(Amount::Count), (0_u32..=100).prop_map(Amount::Percent)];
    let steps = prop::collection::btree_set(1_u8..=100, 1..4).prop_map(|set| set.into_iter().collect());
    prop_oneof![
        Just(Kind::Recreate),
        spans(3_000).prop_map(|hold| Kind::BlueGreen { hold }),
        (steps, spans(3_000)).prop_map(|(steps, hold)| Kind::Canary { steps, hold }),
        (amount(), amount(), spans(3_000)).prop_map(|(max_surge, max_unavailable, pause)| Kind::Rolling {
            max_surge,
            max_unavailable,
            batch: None,
            pause
        }),
    ]
}

prop_compose! {
    fn rollouts()(
        strategy in kinds(), replicas in 1_u32..9, old in prop::option::of(1_u32..9), min_healthy in spans(2_000),
        auto_rollback in prop::bool::weighted(0.9),
    ) -> Option<Rollout> {
        let spec = RolloutSpec { strategy, min_healthy, auto_rollback, ..RolloutSpec::default() };
        start(Setup::new(fleet(2), old.map(|size| (fleet(1), size)), replicas, spec), T0).ok()
    }
}

prop_compose! {
    fn fleets()(
        ready in prop::collection::vec(-5_000_i64..60_000, 0..9), starting in prop::collection::vec(-5_000_i64..60_000, 0..3),
        unannounced in 0_u32..2, unready in 0_u32..3, leaving in 0_u32..3, failed_starts in 0_u32..5,
    ) -> FleetView {
        let times = |offsets: Vec<i64>| offsets.into_iter().map(|offset| T0 + offset).collect();
        FleetView {
            ready_since_ms: times(ready), starting_since_ms: times(starting), unannounced, unready, leaving, failed_starts,
            in_flight: 0, last_failure: None,
        }
    }
}

/// Mostly views in which the rollout gets on, or no rollout would ever get far.
fn steps() -> impl Strategy<Value = (u64, bool, FleetView, FleetView, u8, Option<bool>, bool, bool)> {
    let checks = prop_oneof![2 => Just(None), 20 => Just(Some(true)), 1 => Just(Some(false))];
    (
        0_u64..4_000,
        prop::bool::weighted(0.8),
        fleets(),
        fleets(),
        0_u8..=100,
        checks,
        prop::bool::weighted(0.05),
        prop::bool::weighted(0.02),
    )
}

fn ready(view: &View, id: &FleetId) -> bool {
    view.fleets.get(id).is_some_and(|fleet| !fleet.ready_since_ms.is_empty())
}

/// The world that does what it is told: what was wished is so.
fn obedient(rollout: &Rollout, now: i64) -> View {
    let wish = &rollout.memory.wish;
    let fleet_of =
        |size: u32| FleetView { ready_since_ms: vec![now - 10_000; size as usize], ..FleetView::default() };
    let fleets = BTreeMap::from([(fleet(1), fleet_of(wish.old)), (fleet(2), fleet_of(wish.new))]);
    View { fleets, acked_weights: wish.weights.clone(), checks: Some(Ok(())), ..View::default() }
}

fn check(before: &Rollout, view: &View, decision: &Decision) -> Result<(), TestCaseError> {
    let after = &decision.rollout;
    let (mut sizes, mut weights) = (BTreeMap::new(), None);
    for action in &decision.actions {
        match action {
            Action::Size { fleet, size } => {
                sizes.insert(fleet.clone(), *size);
            }
            Action::Weights { weights: wished } => weights = Some(wished.clone()),
            Action::Measure { fleet: asked } | Action::Probe { fleet: asked } => {
                prop_assert_eq!(asked, &fleet(2));
            }
            Action::Verify { fleet: verified } => prop_assert_eq!(verified, &fleet(2)),
        }
    }
    let weights = weights.expect("the weights are always a part of the wish");
    let sum: u32 = weights.values().map(|weight| u32::from(*weight)).sum();
    prop_assert!(sum == 100 || weights.is_empty(), "weights {weights:?}");
    prop_assert!(sizes.contains_key(&fleet(2)) && sizes.contains_key(&fleet(1)) == before.old.is_some());
    if !view.unsure && !matches!(after.state, State::Failed { .. }) {
        // A fleet may have weight without a ready instance only when no fleet with weight has any.
        let (alive, dead): (Vec<_>, Vec<_>) = weights.keys().partition(|id| ready(view, id));
        prop_assert!(alive.is_empty() || dead.is_empty(), "weights {weights:?} with {view:?}");
    }
    let shrunk = |size: u32| before.old.is_some() && size < before.memory.wish.old;
    if let (State::Running { .. } | State::Succeeded { .. }, Some(size)) =
        (&after.state, sizes.get(&fleet(1)))
        && shrunk(*size)
        && !weights.is_empty()
    {
        let stage_weight = weights.get(&fleet(2)).copied().unwrap_or(0);
        let acked = view.acked_weights.get(&fleet(2)).copied().unwrap_or(0);
        prop_assert_eq!(acked, stage_weight, "the old fleet shrinks before the weights are in force");
    }
    if sizes[&fleet(2)] < before.memory.wish.new && before.old.is_some() {
        let recreate = matches!(before.spec.strategy, Kind::Recreate);
        let acked = view.acked_weights.get(&fleet(2)).copied().unwrap_or(0);
        prop_assert!(recreate || acked == 0, "the new fleet shrinks while it has traffic");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn random_observations_break_no_promise(rollout in rollouts(), steps in prop::collection::vec(steps(), 1..60)) {
        let Some(mut rollout) = rollout else { return Ok(()) };
        let mut now = T0;
        for (millis, calm, old, new, acked, checks, unsure, aborts) in steps {
            now += i64::try_from(millis).unwrap();
            if aborts {
                rollout = abort(&rollout, "a person asked", now);
            }
            let mut view = obedient(&rollout, now);
            if !calm {
                let acked = BTreeMap::from([(fleet(1), 100 - acked), (fleet(2), acked)]);
                let fleets = BTreeMap::from([(fleet(1), old), (fleet(2), new)]);
                let checks = checks.map(|good| if good { Ok(()) } else { Err("no".into()) });
                view = View { fleets, acked_weights: acked, checks, unsure, ..View::default() };
            }
            let decision = decide(&rollout, &view, now);
            check(&rollout, &view, &decision)?;
            let again = decide(&decision.rollout, &view, now);
            prop_assert_eq!(&again.rollout, &decision.rollout, "a decision that is repeated changes nothing");
            prop_assert_eq!(&again.actions, &decision.actions);
            if !decision.rollout.is_over() {
                let wake = decision.wake_ms;
                prop_assert!(wake.is_some_and(|wake| wake > now) || view.unsure, "no wake-up: {:?}", decision.rollout.state);
            }
            rollout = decision.rollout;
        }
        // From here on the world cooperates, and it ends.
        for _ in 0..200 {
            now += 5_000;
            rollout = decide(&rollout, &obedient(&rollout, now), now).rollout;
        }
        prop_assert!(rollout.is_over(), "{:?}", rollout.state);
    }

    #[test]
    fn a_world_that_does_nothing_ends_it_too(rollout in rollouts(), progress in 0_u32..6) {
        let Some(mut rollout) = rollout else { return Ok(()) };
        let mut now = T0;
        for _ in 0..progress {
            now += 1_000;
            rollout = decide(&rollout, &obedient(&rollout, now), now).rollout;
        }
        // Nothing is ever ready again, nothing answers; only the wake-ups move the clock.
        for _ in 0..20 {
            let decision = decide(&rollout, &View::default(), now);
            rollout = decision.rollout;
            match decision.wake_ms {
                Some(wake) => now = wake,
                None => break,
            }
        }
        prop_assert!(rollout.is_over(), "{:?}", rollout.state);
    }
}
