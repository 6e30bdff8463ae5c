//! What people do to a rollout, and what it waits for beside its gates.

#![allow(clippy::unwrap_used, reason = "helpers of tests stand outside the test functions")]

use std::collections::BTreeMap;

use kiln_model::{Against, AnalysisSpec, Approval, Checkpoint, FleetId, RolloutSpec, Span, Strategy};
use kiln_rollout::analysis::Sample;
use kiln_rollout::{
    Act, Action, Decision, FleetView, Gate, HandError, NoteKind, Rollout, Setup, State, View, decide, lint,
    pause, plan, promote, resume, retry, start,
};

const T0: i64 = 1_000_000;

fn id(release: u64) -> FleetId {
    format!("dev/web/{release}").parse().unwrap()
}

fn act(by: &str, at_ms: i64) -> Act {
    Act { by: by.into(), reason: None, at_ms }
}

fn ready(count: usize) -> FleetView {
    FleetView { ready_since_ms: vec![T0; count], ..FleetView::default() }
}

fn begun(spec: RolloutSpec) -> Rollout {
    let setup = Setup { baseline: Some(id(2)), ..Setup::new(id(3), Some((id(1), 4)), 4, spec) };
    start(setup, T0).unwrap()
}

/// A world that follows every wish: all are ready, and the data plane has confirmed.
fn obedient(rollout: &Rollout) -> View {
    let wish = &rollout.memory.wish;
    let sizes = [(id(1), wish.old), (id(2), wish.baseline), (id(3), wish.new)];
    View {
        fleets: sizes.map(|(id, size)| (id, ready(size as usize))).into(),
        acked_weights: wish.weights.clone(),
        checks: Some(Ok(())),
        ..View::default()
    }
}

/// Decides in an obedient world until nothing changes any more.
fn settle(mut rollout: Rollout, now: i64, change: impl Fn(&mut View)) -> Decision {
    for _ in 0..50 {
        let mut view = obedient(&rollout);
        change(&mut view);
        let decision = decide(&rollout, &view, now);
        if decision.rollout == rollout {
            return decision;
        }
        rollout = decision.rollout;
    }
    panic!("it never settles: {rollout:?}");
}

fn waits_for(decision: &Decision) -> &Gate {
    decision.rollout.gate().unwrap_or_else(|| panic!("it does not run: {:?}", decision.rollout.state))
}

fn canary(steps: &[u8], hold_secs: u64) -> RolloutSpec {
    let strategy = Strategy::Canary { steps: steps.to_vec(), hold: Span::from_secs(hold_secs) };
    RolloutSpec { strategy, ..RolloutSpec::default() }
}

fn approved() -> RolloutSpec {
    let approval = Approval { before: vec![50], by: vec!["alice".into()] };
    RolloutSpec { approval: Some(approval), ..canary(&[10, 50], 0) }
}

#[test]
fn a_share_that_needs_approval_waits_for_the_right_person_and_no_deadline() {
    let asked = settle(begun(approved()), T0 + 10, |_| {});
    assert_eq!(waits_for(&asked), &Gate::Approved);
    assert_eq!(asked.rollout.memory.wish.weights, BTreeMap::from([(id(1), 90), (id(3), 10)]));
    let much_later = settle(asked.rollout.clone(), T0 + 90_000_000, |_| {});
    assert_eq!(waits_for(&much_later), &Gate::Approved);

    let refused = promote(&asked.rollout, act("bob", T0 + 20), false).unwrap_err();
    assert_eq!(refused.to_string(), "bob may not approve the rollout to dev/web/3: it asks for alice");
    let all = promote(&asked.rollout, act("bob", T0 + 20), true).unwrap_err();
    assert_eq!(all, refused, "no way around it");
    let promoted = promote(&asked.rollout, act("alice", T0 + 20), false).unwrap();
    let done = settle(promoted, T0 + 30, |_| {});
    assert!(matches!(done.rollout.state, State::Succeeded { .. }), "{:?}", done.rollout.state);
    assert_eq!(done.rollout.memory.promotions[0].act.by, "alice");
}

#[test]
fn a_paused_rollout_stands_and_its_deadline_with_it() {
    let held = settle(begun(canary(&[10], 60)), T0, |_| {});
    assert_eq!(waits_for(&held), &Gate::Held { millis: 60_000 });
    let paused = pause(&held.rollout, act("alice", T0 + 10)).unwrap();
    let again = pause(&paused, act("bob", T0 + 11)).unwrap_err();
    assert_eq!(again, HandError::Paused { fleet: id(3), by: "alice".into() });

    let stands = settle(paused, T0 + 50_000_000, |_| {});
    assert_eq!(waits_for(&stands), &Gate::Held { millis: 60_000 }, "the hold has passed, the pause has not");
    let resumed = resume(&stands.rollout, T0 + 50_000_001).unwrap();
    assert_eq!(resume(&resumed, T0).unwrap_err(), HandError::NotPaused { fleet: id(3) });
    let next = settle(resumed, T0 + 50_000_002, |_| {});
    assert_eq!(next.rollout.memory.wish.weights, BTreeMap::from([(id(3), 100)]));
}

#[test]
fn a_paused_rollout_still_goes_back_when_its_instances_die() {
    let held = settle(begun(canary(&[50], 60)), T0, |_| {});
    let paused = pause(&held.rollout, act("alice", T0 + 10)).unwrap();
    let mut view = obedient(&paused);
    view.fleets.insert(id(3), FleetView::default());
    let decision = decide(&paused, &view, T0 + 20);
    assert!(matches!(decision.rollout.state, State::RollingBack { .. }), "{:?}", decision.rollout.state);
    assert_eq!(decision.rollout.paused, None);
}

#[test]
fn promotion_skips_a_hold_once_or_all_that_come() {
    let held = settle(begun(canary(&[10, 50], 60)), T0, |_| {});
    let once = settle(promote(&held.rollout, act("alice", T0), false).unwrap(), T0 + 1, |_| {});
    assert_eq!(waits_for(&once), &Gate::Held { millis: 60_000 });
    assert_eq!(once.rollout.memory.wish.weights[&id(3)], 50);
    let all = settle(promote(&once.rollout, act("alice", T0 + 1), true).unwrap(), T0 + 2, |_| {});
    assert!(matches!(all.rollout.state, State::Succeeded { .. }), "{:?}", all.rollout.state);
}

#[test]
fn no_promotion_replaces_health() {
    let waiting = decide(&begun(canary(&[10], 0)), &View::default(), T0).rollout;
    let error = promote(&waiting, act("alice", T0), false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the rollout to dev/web/3 is waiting for the new instances to be healthy, which no promotion can replace"
    );
    let pushed = promote(&waiting, act("alice", T0), true).unwrap();
    let still = decide(&pushed, &View::default(), T0 + 1);
    assert_eq!(waits_for(&still), &Gate::Healthy);
}

#[test]
fn what_failed_for_a_person_to_decide_can_be_tried_again() {
    let spec = RolloutSpec { auto_rollback: false, ..canary(&[10], 0) };
    let rollout = begun(spec);
    let failing = FleetView { failed_starts: 3, starting_since_ms: vec![T0], ..FleetView::default() };
    let view = View { fleets: BTreeMap::from([(id(1), ready(4)), (id(3), failing)]), ..obedient(&rollout) };
    let failed = decide(&rollout, &view, T0 + 1).rollout;
    assert!(matches!(failed.state, State::Failed { .. }));
    assert!(retry(&rollout, &view, T0).is_err(), "what runs has not failed");

    let again = retry(&failed, &view, T0 + 2).unwrap();
    let same = decide(&again, &view, T0 + 3);
    assert_eq!(waits_for(&same), &Gate::Healthy, "failures from before do not count");
    let worse = FleetView { failed_starts: 7, ..view.fleets[&id(3)].clone() };
    let view = View { fleets: BTreeMap::from([(id(1), ready(4)), (id(3), worse)]), ..view };
    assert!(matches!(decide(&same.rollout, &view, T0 + 4).rollout.state, State::Failed { .. }));
}

#[test]
fn a_freeze_lets_no_stage_begin_and_stops_the_deadline() {
    let frozen = |view: &mut View| view.frozen = Some("the freeze \"sale\" is on".into());
    let stands = settle(begun(canary(&[10, 50], 0)), T0 + 10, frozen);
    let stands = settle(stands.rollout, T0 + 90_000_000, frozen);
    assert_eq!(stands.rollout.memory.note.as_ref().unwrap().kind, NoteKind::Frozen);
    assert_eq!(stands.rollout.memory.wish.weights[&id(3)], 10);
    assert!(stands.rollout.summary().sentence.ends_with("; the freeze \"sale\" is on"));
    let pushed = promote(&stands.rollout, act("alice", T0 + 90_000_000), true).unwrap();
    let pushed = settle(pushed, T0 + 90_000_001, frozen);
    assert_eq!(pushed.rollout.memory.note.as_ref().unwrap().kind, NoteKind::Frozen, "no promotion thaws it");
    let thawed = settle(stands.rollout, T0 + 90_000_001, |_| {});
    assert!(matches!(thawed.rollout.state, State::Succeeded { .. }), "{:?}", thawed.rollout.state);
}

#[test]
fn a_fleet_that_falls_ill_on_the_way_holds_the_next_stage_up() {
    let held = settle(begun(canary(&[50], 60)), T0, |_| {});
    let ill = |view: &mut View| {
        view.fleets.insert(id(1), ready(2));
    };
    let stands = settle(held.rollout.clone(), T0 + 60_000, ill);
    let note = stands.rollout.memory.note.clone().unwrap();
    assert_eq!(note.kind, NoteKind::Unhealthy);
    assert_eq!(note.text, "2 of all 6 instances are not healthy, more than the 20 % allowed");
    let late = settle(stands.rollout, T0 + 1_300_000, ill);
    assert!(late.rollout.memory.blameless, "the old fleet's illness is not the release's fault");
    assert!(matches!(late.rollout.state, State::RollingBack { .. }), "{:?}", late.rollout.state);
    let well = settle(held.rollout, T0 + 60_001, |_| {});
    assert_eq!(well.rollout.memory.wish.weights, BTreeMap::from([(id(3), 100)]));
}

#[test]
fn a_fleet_that_was_ill_before_does_not_keep_its_cure_away() {
    let ill = |view: &mut View| {
        view.fleets.insert(id(1), ready(1));
    };
    let done = settle(begun(canary(&[50], 0)), T0, ill);
    assert_eq!(done.rollout.memory.ill_before, Some(3));
    assert_eq!(done.rollout.memory.wish.weights, BTreeMap::from([(id(3), 100)]));
}

#[test]
fn a_batch_takes_no_more_than_what_must_be_ready_leaves() {
    let strategy = Strategy::Rolling {
        max_surge: kiln_model::Amount::Count(1),
        max_unavailable: kiln_model::Amount::Count(0),
        batch: None,
        pause: Span::default(),
    };
    let rollout = begun(RolloutSpec { strategy, ..RolloutSpec::default() });
    // One old instance dies by itself: the batch must not take another healthy one.
    let mut view = obedient(&rollout);
    view.fleets.insert(id(3), ready(1));
    let drain = decide(&rollout, &view, T0).rollout;
    let mut view = obedient(&drain);
    view.fleets.insert(id(3), ready(1));
    view.fleets.insert(id(1), FleetView { unready: 1, ..ready(3) });
    let careful = decide(&drain, &view, T0 + 1);
    assert_eq!(waits_for(&careful), &Gate::Drained);
    assert_eq!(careful.rollout.memory.wish.old, 3, "the ill one goes, the healthy ones stay");
    view.fleets.insert(id(1), ready(2));
    let short = decide(&drain, &view, T0 + 2);
    assert_eq!(waits_for(&short), &Gate::Drained);
}

#[test]
fn the_baseline_grows_with_the_canary_and_is_done_with_before_it_is_too_large() {
    let analysis =
        AnalysisSpec { max_error_rate: Some(0.1), against: Against::Baseline, ..AnalysisSpec::default() };
    let spec = RolloutSpec { analysis: Some(analysis), ..canary(&[10, 40, 60], 10) };
    let stages = plan(&spec, 4, Some(4)).unwrap();
    assert_eq!(lint(&stages, &spec, 4, Some(4)), []);
    let shares: Vec<_> = stages.iter().map(|it| (it.new, it.baseline, it.weight, it.old_weight())).collect();
    assert_eq!(shares, [(1, 1, 10, 80), (2, 2, 40, 20), (3, 0, 60, 40), (4, 0, 100, 0), (4, 0, 100, 0)]);

    let counted = |view: &mut View, requests: u64| {
        let sample = Sample { requests, failed: 0, latency: vec![(1_000, requests), (u64::MAX, 0)] };
        view.samples = [1, 2, 3].map(|release| (id(release), sample.clone())).into();
    };
    let measured = settle(begun(spec), T0, |view| counted(view, 0));
    assert_eq!(waits_for(&measured), &Gate::Analysed { millis: 10_000 });
    assert_eq!(measured.rollout.memory.wish.weights, BTreeMap::from([(id(1), 80), (id(2), 10), (id(3), 10)]));
    let silent = settle(measured.rollout.clone(), T0 + 10_000, |view| counted(view, 3));
    assert_eq!(silent.rollout.memory.note.as_ref().unwrap().kind, NoteKind::NoData);
    assert!(silent.actions.contains(&Action::Probe { fleet: id(3) }), "{:?}", silent.actions);
    let late = settle(silent.rollout.clone(), T0 + 700_000, |view| counted(view, 3));
    assert!(late.rollout.memory.blameless, "silence says nothing about the content");
    let heard = settle(silent.rollout, T0 + 11_000, |view| counted(view, 100));
    assert_eq!(heard.rollout.memory.wish.weights[&id(3)], 40);
}

#[test]
fn every_rest_has_its_gate_and_none_is_forgotten() {
    let spec = RolloutSpec {
        checkpoints: vec![Checkpoint { at: 50, hold: Span::from_secs(3600) }],
        scale_down_delay: Span::from_secs(30),
        approval: Some(Approval { before: vec![100], by: Vec::new() }),
        ..canary(&[10, 50], 60)
    };
    let stages = plan(&spec, 4, Some(4)).unwrap();
    let gates: Vec<String> = stages.iter().map(|it| format!("{:?}", it.gates)).collect();
    assert_eq!(
        gates,
        [
            "[Healthy, Verified, Acknowledged, Held { millis: 60000 }]",
            "[Healthy, Acknowledged, Held { millis: 3600000 }]",
            "[Healthy, Approved, Acknowledged, Held { millis: 60000 }]",
            "[Delayed { millis: 30000 }, Drained]",
        ]
    );
    assert_eq!(lint(&stages, &spec, 4, Some(4)), []);
    let mut unasked = stages.clone();
    unasked[2].gates.retain(|gate| *gate != Gate::Approved);
    let found: Vec<String> = lint(&unasked, &spec, 4, Some(4)).iter().map(ToString::to_string).collect();
    assert_eq!(found, ["stage 3: the new fleet comes from 50 to 100 % and nobody is asked"]);
}

#[test]
fn after_the_delay_began_nothing_turns_it_back_by_itself_and_a_person_still_can() {
    let spec = RolloutSpec { scale_down_delay: Span::from_secs(30), ..canary(&[50], 0) };
    let delayed = settle(begun(spec), T0, |_| {});
    assert_eq!(waits_for(&delayed), &Gate::Delayed { millis: 30_000 });
    assert_eq!(delayed.rollout.memory.wish.old, 4, "the old fleet stands whole");
    let mut view = obedient(&delayed.rollout);
    view.fleets.insert(id(3), ready(1));
    assert!(matches!(decide(&delayed.rollout, &view, T0 + 1).rollout.state, State::Running { .. }));
    let back = kiln_rollout::abort(&delayed.rollout, "a person", T0 + 2);
    let first = decide(&back, &obedient(&back), T0 + 3);
    assert_eq!(first.rollout.memory.wish.weights, BTreeMap::from([(id(1), 100)]));
}
