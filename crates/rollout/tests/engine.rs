//! The engine, one situation at a time.

#![allow(clippy::unwrap_used, reason = "helpers of tests stand outside the test functions")]

use std::collections::BTreeMap;

use kiln_model::{Amount, FleetId, RolloutSpec, Span, Strategy};
use kiln_rollout::{
    Act, Action, Decision, FleetView, Gate, HandError, Rollout, Setup, State, View, abort, decide, promote,
    retry, start,
};

const T0: i64 = 1_000_000;

fn new() -> FleetId {
    "dev/web/2".parse().unwrap()
}

fn old() -> FleetId {
    "dev/web/1".parse().unwrap()
}

fn ready(count: usize) -> FleetView {
    FleetView { ready_since_ms: vec![T0; count], ..FleetView::default() }
}

fn weights(new_share: u8) -> BTreeMap<FleetId, u8> {
    [(new(), new_share), (old(), 100 - new_share)].into_iter().filter(|(_, weight)| *weight > 0).collect()
}

fn view(old_fleet: FleetView, new_fleet: FleetView, acked: u8) -> View {
    let fleets = BTreeMap::from([(old(), old_fleet), (new(), new_fleet)]);
    View { fleets, acked_weights: weights(acked), checks: Some(Ok(())), ..View::default() }
}

fn rollout(strategy: Strategy) -> Rollout {
    let spec = RolloutSpec { strategy, ..RolloutSpec::default() };
    start(Setup::new(new(), Some((old(), 3)), 3, spec), T0).unwrap()
}

fn blue_green(hold_secs: u64) -> Rollout {
    rollout(Strategy::BlueGreen { hold: Span::from_secs(hold_secs) })
}

fn size(decision: &Decision, wanted: &FleetId) -> u32 {
    let found = decision.actions.iter().find_map(|action| match action {
        Action::Size { fleet, size } if fleet == wanted => Some(*size),
        _ => None,
    });
    found.expect("every decision names the size of both fleets")
}

fn wished(decision: &Decision) -> BTreeMap<FleetId, u8> {
    let found = decision.actions.iter().find_map(|action| match action {
        Action::Weights { weights } => Some(weights.clone()),
        _ => None,
    });
    found.expect("every decision names the weights")
}

fn at(decision: &Decision) -> (usize, usize) {
    match decision.rollout.state {
        State::Running { stage, gate, .. } => (stage, gate),
        ref other => panic!("expected it to run: {other:?}"),
    }
}

fn reason(decision: &Decision) -> String {
    match &decision.rollout.state {
        State::RollingBack { reason, .. } | State::Failed { reason, .. } => reason.clone(),
        other => panic!("expected it to have failed: {other:?}"),
    }
}

fn verifies(decision: &Decision) -> bool {
    decision.actions.contains(&Action::Verify { fleet: new() })
}

#[test]
fn blue_green_goes_gate_by_gate() {
    let first = decide(&blue_green(60), &view(ready(3), FleetView::default(), 0), T0);
    assert_eq!((size(&first, &new()), size(&first, &old()), wished(&first)), (3, 3, weights(0)));
    assert!(!verifies(&first));

    let unchecked = View { checks: None, ..view(ready(3), ready(3), 0) };
    let healthy = decide(&first.rollout, &unchecked, T0 + 10);
    assert!(verifies(&healthy) && wished(&healthy) == weights(0));

    let verified = decide(&healthy.rollout, &view(ready(3), ready(3), 0), T0 + 20);
    assert_eq!((at(&verified), wished(&verified), size(&verified, &old())), ((1, 0), weights(100), 3));

    let held = decide(&verified.rollout, &view(ready(3), ready(3), 100), T0 + 30);
    assert_eq!((at(&held), size(&held, &old()), held.wake_ms), ((1, 1), 3, Some(T0 + 60_030)));

    let draining = decide(&held.rollout, &view(ready(3), ready(3), 100), T0 + 60_030);
    assert_eq!((at(&draining), size(&draining, &old())), ((2, 0), 0));

    let leaving = FleetView { leaving: 1, ..FleetView::default() };
    let waiting = decide(&draining.rollout, &view(leaving, ready(3), 100), T0 + 61_000);
    assert_eq!(at(&waiting), (2, 0));

    let done = decide(&waiting.rollout, &view(FleetView::default(), ready(3), 100), T0 + 62_000);
    assert_eq!(done.rollout.state, State::Succeeded { at_ms: T0 + 62_000 });
    assert_eq!((size(&done, &new()), size(&done, &old()), wished(&done)), (3, 0, weights(100)));
    assert!(done.rollout.is_over());
}

#[test]
fn deciding_twice_changes_nothing() {
    let mut rollout = blue_green(1);
    for (now, seen) in [
        (T0, view(ready(3), FleetView::default(), 0)),
        (T0 + 10, view(ready(3), ready(3), 0)),
        (T0 + 20, view(ready(3), ready(3), 100)),
        (T0 + 2_000, view(FleetView { leaving: 3, ..FleetView::default() }, ready(3), 100)),
    ] {
        let once = decide(&rollout, &seen, now);
        let twice = decide(&once.rollout, &seen, now);
        assert_eq!(once, twice);
        let text = serde_json::to_string(&once.rollout).unwrap();
        assert_eq!(serde_json::from_str::<Rollout>(&text).unwrap(), once.rollout);
        rollout = once.rollout;
    }
}

#[test]
fn healthy_means_ready_for_long_enough() {
    let spec = RolloutSpec { min_healthy: Span::from_secs(5), ..RolloutSpec::default() };
    let rollout = start(Setup::new(new(), Some((old(), 3)), 3, spec), T0).unwrap();
    let mut seen = view(ready(3), ready(3), 0);
    seen.fleets.get_mut(&new()).unwrap().ready_since_ms[1] = T0 + 700;
    let early = decide(&rollout, &seen, T0 + 5_000);
    assert_eq!((at(&early), early.wake_ms), ((0, 0), Some(T0 + 5_700)));
    assert_eq!(at(&decide(&early.rollout, &seen, T0 + 5_700)), (1, 0));
}

#[test]
fn three_failed_starts_end_a_release_that_was_never_ready() {
    let failed = |starts| FleetView {
        failed_starts: starts,
        starting_since_ms: vec![T0],
        last_failure: Some("exited with status 1".into()),
        ..FleetView::default()
    };
    let patient = decide(&blue_green(0), &view(ready(3), failed(2), 0), T0 + 10);
    assert_eq!(at(&patient), (0, 0));
    let over = decide(&patient.rollout, &view(ready(3), failed(3), 0), T0 + 20);
    assert_eq!(
        reason(&over),
        "3 starts in a row failed and no instance was ever ready: exited with status 1"
    );
    assert_eq!((wished(&over), size(&over, &old())), (weights(0), 3));
    let known = FleetView { ready_since_ms: vec![T0], ..failed(9) };
    assert_eq!(
        at(&decide(&patient.rollout, &view(ready(3), known, 0), T0 + 20)),
        (0, 0),
        "one of it is ready"
    );
}

#[test]
fn each_instance_has_a_deadline_to_be_healthy() {
    let starting = FleetView { starting_since_ms: vec![T0 + 50, T0 + 100], ..ready(1) };
    let waiting = decide(&blue_green(0), &view(ready(3), starting.clone(), 0), T0 + 120_000);
    assert_eq!(waiting.wake_ms, Some(T0 + 120_050));
    let over = decide(&waiting.rollout, &view(ready(3), starting, 0), T0 + 120_050);
    assert!(reason(&over).starts_with("an instance was not healthy within 2m"), "{}", reason(&over));
}

#[test]
fn the_progress_deadline_restarts_with_progress_and_stands_still_while_holding() {
    let ten = 600_000;
    let one = decide(&blue_green(3_600), &view(ready(3), ready(1), 0), T0 + ten - 1);
    assert_eq!((at(&one), one.rollout.progress_ms), ((0, 0), T0 + ten - 1), "one more ready is progress");
    let again = decide(&one.rollout, &view(ready(3), ready(1), 0), T0 + ten + 500);
    assert_eq!((at(&again), again.wake_ms), ((0, 0), Some(T0 + 2 * ten - 1)));
    let over = decide(&again.rollout, &view(ready(3), ready(1), 0), T0 + 2 * ten - 1);
    assert!(reason(&over).contains("no progress for 10m while waiting for the new instances to be healthy"));
    let held = decide(&one.rollout, &view(ready(3), ready(3), 0), T0 + ten);
    let held = decide(&held.rollout, &view(ready(3), ready(3), 100), T0 + ten + 1);
    let later = decide(&held.rollout, &view(ready(3), ready(3), 100), T0 + 5 * ten);
    assert_eq!(at(&later), (1, 1), "an hour of holding is no standstill");
    // And once the hold is over the clock has not been running either.
    assert_eq!(at(&decide(&later.rollout, &view(ready(3), ready(3), 100), T0 + ten + 1 + 3_600_000)), (2, 0));
}

#[test]
fn flapping_is_no_progress() {
    let mut rollout = decide(&blue_green(0), &view(ready(3), ready(2), 0), T0).rollout;
    for step in 1..=60 {
        let seen = view(ready(3), ready(1 + step as usize % 2), 0);
        rollout = decide(&rollout, &seen, T0 + step * 10_001).rollout;
    }
    assert!(matches!(rollout.state, State::RollingBack { .. }), "{:?}", rollout.state);
}

#[test]
fn no_weight_is_asked_for_before_the_checks_passed() {
    let canary = rollout(Strategy::Canary { steps: vec![10], hold: Span::default() });
    let unchecked = View { checks: None, ..view(ready(3), ready(1), 0) };
    let verifying = decide(&canary, &unchecked, T0);
    assert!(verifies(&verifying) && wished(&verifying) == weights(0), "{:?}", verifying.actions);
    let shifting = decide(&verifying.rollout, &view(ready(3), ready(1), 0), T0 + 10);
    assert_eq!(wished(&shifting), weights(10));
}

#[test]
fn failed_checks_turn_back_before_any_traffic() {
    let seen = View { checks: Some(Err("home page: got 500".into())), ..view(ready(3), ready(3), 0) };
    let decision = decide(&blue_green(0), &seen, T0);
    assert_eq!(reason(&decision), "the checks failed: home page: got 500");
    assert_eq!(wished(&decision), weights(0));
}

fn holding() -> Rollout {
    let shifted = decide(&blue_green(60), &view(ready(3), ready(3), 0), T0);
    let held = decide(&shifted.rollout, &view(ready(3), ready(3), 100), T0 + 10);
    assert_eq!(at(&held), (1, 1));
    held.rollout
}

#[test]
fn a_loss_after_the_shift_turns_back_in_one_decision() {
    let over = decide(&holding(), &view(ready(3), ready(2), 100), T0 + 500);
    assert_eq!(reason(&over), "only 2 of 3 instances with traffic are ready");
    assert_eq!(wished(&over), weights(0), "the old fleet stands whole, so the traffic goes back at once");
    assert_eq!(
        (size(&over, &new()), size(&over, &old())),
        (3, 3),
        "nothing leaves before the data plane confirms"
    );
    let confirmed = decide(&over.rollout, &view(ready(3), ready(2), 0), T0 + 510);
    assert_eq!((size(&confirmed, &new()), size(&confirmed, &old())), (0, 3));
    let gone = decide(&confirmed.rollout, &view(ready(3), FleetView::default(), 0), T0 + 900);
    assert!(matches!(gone.rollout.state, State::RolledBack { .. }), "{:?}", gone.rollout.state);
    assert_eq!((size(&gone, &new()), wished(&gone)), (0, weights(0)));
}

#[test]
fn one_of_five_may_be_missing() {
    let rollout = start(Setup::new(new(), Some((old(), 5)), 5, blue_green(60).spec), T0).unwrap();
    let shifted = decide(&rollout, &view(ready(5), ready(5), 0), T0).rollout;
    let held = decide(&shifted, &view(ready(5), ready(5), 100), T0 + 1).rollout;
    assert_eq!(at(&decide(&held, &view(ready(5), ready(4), 100), T0 + 2)), (1, 1));
    assert!(reason(&decide(&held, &view(ready(5), ready(3), 100), T0 + 2)).contains("only 3 of 5"));
}

#[test]
fn a_loss_before_the_shift_waits_to_be_healthy_again() {
    let unchecked = View { checks: None, ..view(ready(3), ready(3), 0) };
    let verifying = decide(&blue_green(0), &unchecked, T0).rollout;
    let back = decide(&verifying, &view(ready(3), ready(1), 0), T0 + 10);
    assert_eq!(at(&back), (0, 0));
    assert_eq!(at(&decide(&back.rollout, &view(ready(3), ready(3), 0), T0 + 20)), (1, 0));
}

#[test]
fn a_hold_begins_anew_when_the_weights_are_not_in_force() {
    let lost = decide(&holding(), &view(ready(3), ready(3), 0), T0 + 30_000);
    assert_eq!((at(&lost), wished(&lost)), ((1, 0), weights(100)));
    let held = decide(&lost.rollout, &view(ready(3), ready(3), 100), T0 + 31_000);
    assert_eq!((at(&held), held.wake_ms), ((1, 1), Some(T0 + 91_000)));
}

#[test]
fn missing_word_from_the_data_plane_is_no_loss() {
    let unsure = View { unsure: true, ..View::default() };
    let decision = decide(&holding(), &unsure, T0 + 500);
    assert_eq!((at(&decision), wished(&decision), size(&decision, &old())), ((1, 1), weights(100), 3));
}

#[test]
fn a_proven_release_is_not_turned_back_while_the_old_one_leaves() {
    let draining = decide(&holding(), &view(ready(3), ready(3), 100), T0 + 60_010).rollout;
    let leaving = FleetView { leaving: 3, ..FleetView::default() };
    assert_eq!(at(&decide(&draining, &view(leaving.clone(), ready(1), 100), T0 + 60_020)), (2, 0));
    // An old instance that does not go must not hold the rollout for ever, nor bring the old release back.
    let stuck = decide(&draining, &view(leaving, ready(3), 100), T0 + 60_010 + 630_000);
    assert!(matches!(stuck.rollout.state, State::Succeeded { .. }), "{:?}", stuck.rollout.state);
}

#[test]
fn recreate_never_runs_both() {
    let begun = rollout(Strategy::Recreate);
    let nothing = View { acked_weights: BTreeMap::new(), ..view(ready(3), FleetView::default(), 0) };
    let first = decide(&begun, &view(ready(3), FleetView::default(), 0), T0);
    assert_eq!((size(&first, &new()), size(&first, &old()), wished(&first)), (0, 3, BTreeMap::new()));
    let drains = decide(&first.rollout, &nothing, T0 + 1);
    assert_eq!((size(&drains, &new()), size(&drains, &old())), (0, 0));
    let empty = View { fleets: BTreeMap::new(), ..nothing.clone() };
    let starts = decide(&drains.rollout, &empty, T0 + 2);
    assert_eq!((size(&starts, &new()), size(&starts, &old()), wished(&starts)), (3, 0, BTreeMap::new()));
    // It fails: the new fleet goes before the old one comes back.
    let failed = FleetView { failed_starts: 3, starting_since_ms: vec![T0], ..FleetView::default() };
    let failing = View { fleets: BTreeMap::from([(new(), failed)]), ..nothing.clone() };
    let back = decide(&starts.rollout, &failing, T0 + 3);
    assert_eq!((size(&back, &new()), size(&back, &old())), (0, 0));
    let returns = decide(&back.rollout, &empty, T0 + 4);
    assert_eq!((size(&returns, &new()), size(&returns, &old()), wished(&returns)), (0, 3, weights(0)));
    let served = decide(&returns.rollout, &view(ready(3), FleetView::default(), 0), T0 + 5);
    assert!(matches!(served.rollout.state, State::RolledBack { .. }));
    // And where the old one does not come back either, it ends and says so.
    let starting = FleetView { starting_since_ms: vec![T0], ..FleetView::default() };
    let seen = view(starting, FleetView::default(), 0);
    let still = decide(&returns.rollout, &seen, T0 + 10).rollout;
    let never = decide(&still, &seen, T0 + 10 + 630_000);
    assert!(reason(&never).ends_with("and the way back failed: no instance of the old fleet became ready"));
}

#[test]
fn rolling_back_half_way_brings_the_traffic_back_with_the_instances() {
    let strategy = Strategy::Rolling {
        max_surge: Amount::Count(1),
        max_unavailable: Amount::Count(0),
        batch: None,
        pause: Span::default(),
    };
    let mut rollout = rollout(strategy);
    for (old_size, new_size, acked) in
        [(3, 0, 0), (3, 1, 0), (3, 1, 33), (2, 1, 33), (2, 2, 33), (2, 2, 67), (1, 2, 67)]
    {
        rollout = decide(&rollout, &view(ready(old_size), ready(new_size), acked), T0 + 10).rollout;
    }
    let aborted = abort(&rollout, "wrong colour", T0 + 20);
    let first = decide(&aborted, &view(ready(1), ready(2), 67), T0 + 20);
    assert_eq!(reason(&first), "aborted: wrong colour");
    assert_eq!((size(&first, &old()), size(&first, &new()) >= 2, wished(&first)), (3, true, weights(67)));
    let more = decide(&first.rollout, &view(ready(2), ready(2), 67), T0 + 30);
    assert_eq!(wished(&more), weights(34));
    let whole = decide(&more.rollout, &view(ready(3), ready(2), 34), T0 + 40);
    assert_eq!((wished(&whole), size(&whole, &new()) >= 2), (weights(0), true));
    let leaves = decide(&whole.rollout, &view(ready(3), ready(2), 0), T0 + 50);
    assert_eq!(size(&leaves, &new()), 0);
    // An old fleet that never becomes whole gets all the traffic in the end.
    let thin = decide(&more.rollout, &view(ready(2), ready(2), 34), T0 + 20 + 120_000);
    assert_eq!(wished(&thin), weights(0));
}

#[test]
fn a_first_deploy_has_nothing_to_go_back_to() {
    let rollout = start(Setup::new(new(), None, 2, RolloutSpec::default()), T0).unwrap();
    let failed = FleetView { failed_starts: 3, starting_since_ms: vec![T0], ..FleetView::default() };
    let seen = View { fleets: BTreeMap::from([(new(), failed)]), checks: Some(Ok(())), ..View::default() };
    let back = decide(&rollout, &seen, T0 + 1);
    assert_eq!((size(&back, &new()), wished(&back)), (0, BTreeMap::new()));
    let gone = decide(&back.rollout, &View::default(), T0 + 2);
    assert!(matches!(gone.rollout.state, State::RolledBack { .. }));
    assert!(gone.rollout.summary().sentence.contains("nothing (it was the first release)"));
}

#[test]
fn without_auto_rollback_everything_stays_for_a_person() {
    let mut held = holding();
    held.spec.auto_rollback = false;
    let failed = decide(&held, &view(ready(3), ready(0), 100), T0 + 500);
    assert!(matches!(failed.rollout.state, State::Failed { .. }) && failed.rollout.is_over());
    assert_eq!((size(&failed, &new()), size(&failed, &old())), (3, 3));
    let back = decide(&abort(&failed.rollout, "enough", T0 + 600), &view(ready(3), ready(0), 100), T0 + 600);
    assert_eq!(wished(&back), weights(0));
    let over = State::Succeeded { at_ms: 1 };
    let done = Rollout { state: over.clone(), ..held };
    assert_eq!(abort(&done, "too late", T0).state, over);
}

#[test]
fn a_record_that_makes_no_sense_turns_back_instead_of_panicking() {
    let mut rollout = blue_green(0);
    rollout.state = State::Running { stage: 99, gate: 7, since_ms: T0 };
    assert_eq!(rollout.gate(), None);
    let decision = decide(&rollout, &view(ready(3), ready(3), 0), T0);
    assert!(reason(&decision).contains("names stage 100 of 3"));
    assert_eq!(rollout.summary().stage, 100);
}

#[test]
fn a_summary_says_where_it_stands() {
    let decision = decide(&blue_green(0), &view(ready(3), ready(1), 0), T0 + 5);
    let summary = decision.rollout.summary_with(&view(ready(3), ready(1), 0));
    assert_eq!((summary.stage, summary.stages, summary.waiting), (1, 3, Some(Gate::Healthy)));
    let sentence = "dev/web/2: stage 1 of 3, waiting for the new instances to be healthy (1 of 3 ready)";
    assert_eq!(summary.sentence, sentence);
}

fn silent() -> View {
    View { unsure: true, ..View::default() }
}

#[test]
fn a_silent_data_plane_does_not_hold_a_rest_for_ever() {
    // The hold of a minute is over after 60 s, and then the progress deadline begins.
    let later = decide(&holding(), &silent(), T0 + 10 + 60_000 + 599_999);
    assert_eq!((at(&later), later.wake_ms), ((1, 1), Some(T0 + 10 + 60_000 + 600_000)));
    let over = decide(&later.rollout, &silent(), T0 + 10 + 60_000 + 600_000);
    assert!(
        reason(&over).starts_with("no progress for 10m while waiting for 1m to pass"),
        "{}",
        reason(&over)
    );
}

#[test]
fn a_freeze_that_ends_while_the_data_plane_is_silent_ends_the_standstill() {
    let frozen = View { frozen: Some("the weekend".into()), ..view(ready(3), ready(3), 0) };
    let rests = decide(&blue_green(60), &frozen, T0 + 10);
    assert_eq!(at(&rests), (0, 1));
    let day = 86_400_000;
    let ends = decide(&rests.rollout, &silent(), T0 + day);
    assert_eq!((at(&ends), ends.wake_ms), ((0, 1), Some(T0 + day + 600_000)));
    assert!(reason(&decide(&ends.rollout, &silent(), T0 + day + 600_000)).starts_with("no progress for 10m"));
}

fn alice(at_ms: i64) -> Act {
    Act { by: "alice".into(), reason: None, at_ms }
}

#[test]
fn a_silent_data_plane_does_not_hold_what_was_approved() {
    let strategy = Strategy::BlueGreen { hold: Span::default() };
    let approval = Some(kiln_model::Approval { before: vec![100], by: Vec::new() });
    let spec = RolloutSpec { strategy, approval, ..RolloutSpec::default() };
    let rollout = start(Setup::new(new(), Some((old(), 3)), 3, spec), T0).unwrap();
    let asks = decide(&rollout, &view(ready(3), ready(3), 0), T0 + 10);
    let day = 86_400_000;
    let waits = decide(&asks.rollout, &silent(), T0 + day);
    assert_eq!((at(&asks), at(&waits), waits.wake_ms), ((1, 0), (1, 0), None), "a person may take a day");
    let approved = promote(&waits.rollout, alice(T0 + day), false).unwrap();
    let waits = decide(&approved, &silent(), T0 + day + 1);
    assert_eq!((at(&waits), waits.wake_ms), ((1, 0), Some(T0 + day + 600_000)));
    assert!(
        reason(&decide(&waits.rollout, &silent(), T0 + day + 600_000)).starts_with("no progress for 10m")
    );
}

fn batches() -> Rollout {
    let count = Amount::Count;
    let (max_surge, max_unavailable) = (count(1), count(0));
    rollout(Strategy::Rolling { max_surge, max_unavailable, batch: None, pause: Span::default() })
}

#[test]
fn trying_again_leaves_the_traffic_where_the_instances_are() {
    let mut rolling = batches();
    rolling.spec.auto_rollback = false;
    let shifted = decide(&rolling, &view(ready(3), ready(1), 33), T0 + 10);
    let drains = decide(&shifted.rollout, &view(ready(3), ready(1), 33), T0 + 20);
    assert_eq!(size(&drains, &old()), 2);
    let stuck = FleetView { leaving: 1, ..ready(2) };
    let failed = decide(&drains.rollout, &view(stuck, ready(1), 33), T0 + 700_000);
    assert!(matches!(failed.rollout.state, State::Failed { .. }), "{:?}", failed.rollout.state);
    let seen = view(ready(2), ready(1), 33);
    let again = decide(&retry(&failed.rollout, &seen, T0 + 700_010).unwrap(), &seen, T0 + 700_010);
    assert_eq!(wished(&again), weights(33), "two old instances would have to carry what three are there for");
}

#[test]
fn what_failed_on_its_way_back_does_not_go_forward() {
    let half = decide(&batches(), &view(ready(3), ready(1), 33), T0 + 10).rollout;
    let back = abort(&half, "enough", T0 + 20);
    let lost = FleetView { unready: 1, ..FleetView::default() };
    let mut rollout = decide(&back, &view(lost.clone(), ready(1), 33), T0 + 30).rollout;
    rollout = decide(&rollout, &view(lost.clone(), ready(1), 33), T0 + 800_000).rollout;
    assert!(matches!(rollout.state, State::Failed { .. }), "{:?}", rollout.state);
    let refused = retry(&rollout, &view(lost, ready(1), 33), T0 + 800_010);
    assert_eq!(refused, Err(HandError::TurnedBack { fleet: new() }));
}

#[test]
fn recreate_turns_back_without_taking_instances_that_have_traffic() {
    let strategy = Strategy::Recreate;
    let served = View { acked_weights: weights(100), ..view(FleetView::default(), ready(3), 100) };
    let mut rollout = rollout(strategy);
    rollout.state = State::Running { stage: 1, gate: 2, since_ms: T0 };
    (rollout.memory.wish.new, rollout.memory.wish.old) = (3, 0);
    let back = decide(&abort(&rollout, "enough", T0 + 10), &served, T0 + 10);
    assert_eq!((size(&back, &new()), size(&back, &old()), wished(&back)), (3, 0, BTreeMap::new()));
    let confirmed = View { acked_weights: BTreeMap::new(), ..served };
    let goes = decide(&back.rollout, &confirmed, T0 + 20);
    assert_eq!((size(&goes, &new()), size(&goes, &old())), (0, 0));
}
