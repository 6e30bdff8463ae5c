//! Strategies compile to the stages that users of other tools expect, and every list passes the linter.

use kiln_model::{Amount, RolloutSpec, Span, Strategy};
use kiln_rollout::{Gate, PlanError, Rule, Stage, draw, lint, plan};
use proptest::prelude::*;

fn spec(strategy: Strategy) -> RolloutSpec {
    RolloutSpec { strategy, ..RolloutSpec::default() }
}

fn rolling(max_surge: Amount, max_unavailable: Amount) -> RolloutSpec {
    spec(Strategy::Rolling { max_surge, max_unavailable, batch: None, pause: Span::default() })
}

fn sizes(stages: &[Stage]) -> Vec<(u32, u32, u8)> {
    stages.iter().map(|stage| (stage.new, stage.old, stage.weight)).collect()
}

#[test]
fn a_first_deploy_has_one_stage_whatever_the_strategy() {
    let strategies = [
        Strategy::Recreate,
        Strategy::BlueGreen { hold: Span::from_secs(9) },
        Strategy::Canary { steps: vec![5], hold: Span::from_secs(9) },
        Strategy::Rolling {
            max_surge: Amount::Count(1),
            max_unavailable: Amount::Count(0),
            batch: None,
            pause: Span::default(),
        },
    ];
    for strategy in strategies {
        for old in [None, Some(0)] {
            let stages = plan(&spec(strategy.clone()), 3, old).unwrap();
            assert_eq!(sizes(&stages), [(3, 0, 100)]);
            assert_eq!(stages[0].gates, [Gate::Healthy, Gate::Verified, Gate::Acknowledged]);
        }
    }
}

#[test]
fn recreate_empties_the_old_fleet_first() {
    let stages = plan(&spec(Strategy::Recreate), 2, Some(3)).unwrap();
    assert_eq!(sizes(&stages), [(0, 0, 0), (2, 0, 100)]);
    assert_eq!(stages[0].gates, [Gate::Acknowledged, Gate::Drained]);
}

#[test]
fn blue_green_shifts_once_and_holds_with_the_old_fleet_whole() {
    let stages = plan(&spec(Strategy::BlueGreen { hold: Span::from_secs(60) }), 3, Some(3)).unwrap();
    assert_eq!(sizes(&stages), [(3, 3, 0), (3, 3, 100), (3, 0, 100)]);
    assert_eq!(stages[0].gates, [Gate::Healthy, Gate::Verified]);
    assert_eq!(stages[1].gates, [Gate::Acknowledged, Gate::Held { millis: 60_000 }]);
    assert_eq!(stages[2].gates, [Gate::Drained]);
    let stages = plan(&RolloutSpec::default(), 3, Some(3)).unwrap();
    assert_eq!(stages[1].gates, [Gate::Acknowledged], "no hold, no gate");
}

#[test]
fn canary_sizes_follow_the_weights_rounded_up_and_100_is_added() {
    let strategy = Strategy::Canary { steps: vec![5, 25, 75], hold: Span::from_secs(1) };
    let stages = plan(&spec(strategy), 10, Some(10)).unwrap();
    assert_eq!(sizes(&stages), [(1, 10, 5), (3, 10, 25), (8, 10, 75), (10, 10, 100), (10, 0, 100)]);
    assert!(stages[0].gates.contains(&Gate::Verified) && !stages[1].gates.contains(&Gate::Verified));
}

#[test]
fn rolling_rounds_surge_up_and_unavailable_down() {
    // 25 % of 10: surge 3, unavailable 2, as Kubernetes computes them.
    let stages = plan(&rolling(Amount::Percent(25), Amount::Percent(25)), 10, Some(10)).unwrap();
    assert_eq!(sizes(&stages), [(3, 5, 37), (8, 0, 100), (10, 0, 100)]);
    let stages = plan(&rolling(Amount::Count(1), Amount::Count(0)), 3, Some(3)).unwrap();
    assert_eq!(sizes(&stages), [(1, 2, 33), (2, 1, 67), (3, 0, 100)]);
}

#[test]
fn rolling_without_surge_makes_room_first() {
    let stages = plan(&rolling(Amount::Count(0), Amount::Count(1)), 3, Some(3)).unwrap();
    assert_eq!(sizes(&stages), [(0, 2, 0), (1, 1, 50), (2, 0, 100), (3, 0, 100)]);
    assert_eq!(stages[0].gates, [Gate::Acknowledged, Gate::Drained]);
    // 25 % of 2 rounds down to nothing, and one may be unavailable all the same.
    let stages = plan(&rolling(Amount::Count(0), Amount::Percent(25)), 2, Some(2)).unwrap();
    assert_eq!(sizes(&stages), [(0, 1, 0), (1, 0, 100), (2, 0, 100)]);
}

#[test]
fn a_pause_stands_between_batches_and_not_after_the_last() {
    let pause = Span::from_secs(5);
    let strategy = Strategy::Rolling {
        max_surge: Amount::Count(1),
        max_unavailable: Amount::Count(0),
        batch: None,
        pause,
    };
    let stages = plan(&spec(strategy), 2, Some(2)).unwrap();
    let held = |stage: &Stage| stage.gates.contains(&Gate::Held { millis: 5_000 });
    assert_eq!(stages.iter().map(held).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn a_change_of_size_rides_along() {
    let grow = plan(&rolling(Amount::Count(2), Amount::Count(0)), 5, Some(2)).unwrap();
    assert_eq!(sizes(&grow), [(2, 2, 50), (4, 1, 80), (5, 0, 100)]);
    let shrink = plan(&rolling(Amount::Count(1), Amount::Count(0)), 2, Some(5)).unwrap();
    assert_eq!(sizes(&shrink), [(1, 1, 50), (2, 0, 100)]);
}

#[test]
fn what_cannot_work_is_refused_with_the_reason() {
    let texts: Vec<String> = [
        plan(&RolloutSpec::default(), 0, None),
        plan(&RolloutSpec::default(), 1_000_000_000, None),
        plan(&rolling(Amount::Count(0), Amount::Percent(0)), 3, None),
        plan(&rolling(Amount::Percent(101), Amount::Count(0)), 3, None),
        plan(&rolling(Amount::Count(0), Amount::Count(3)), 3, Some(3)),
        plan(&spec(Strategy::Canary { steps: vec![25, 25], hold: Span::default() }), 3, None),
        plan(&spec(Strategy::Canary { steps: vec![0], hold: Span::default() }), 3, None),
        plan(&spec(Strategy::Canary { steps: vec![], hold: Span::default() }), 3, None),
        plan(&RolloutSpec { min_healthy: Span::from_secs(600), ..RolloutSpec::default() }, 3, None),
    ]
    .into_iter()
    .map(|result: Result<Vec<Stage>, PlanError>| result.unwrap_err().to_string())
    .collect();
    let expected = [
        "a rollout needs at least one instance: set replicas to 1 or more",
        "1000000000 instances of one service are more than Kiln plans for: use at most 10000",
        "max_surge and max_unavailable are both 0, so no instance could ever be replaced: set one of them to 1 or more",
        "max_surge is 101%: a share of the wanted instances is at most 100%",
        "max_unavailable lets all 3 instances go before a new one is there: set max_surge to 1 or more, or use rollout \"recreate\" where two releases may not run at once",
        "canary steps [25, 25] are not a way up: write ascending percentages from 1 to 100, such as [5, 25, 75, 100]",
        "canary steps [0] are not a way up: write ascending percentages from 1 to 100, such as [5, 25, 75, 100]",
        "canary steps [] are not a way up: write ascending percentages from 1 to 100, such as [5, 25, 75, 100]",
        "progress_deadline 10m is not above min_healthy 10m, so every rollout would run out of time: raise progress_deadline",
    ];
    assert_eq!(texts, expected);
}

#[test]
fn the_linter_sees_each_broken_promise() {
    let spec = RolloutSpec::default();
    let stage =
        |new, old, weight, gates: &[Gate]| Stage { new, old, weight, baseline: 0, gates: gates.to_vec() };
    let healthy = [Gate::Healthy, Gate::Verified, Gate::Acknowledged];
    let last = stage(4, 0, 100, &[Gate::Healthy, Gate::Verified, Gate::Acknowledged, Gate::Drained]);
    let rules = |stages: &[Stage], spec: &RolloutSpec| {
        lint(stages, spec, 4, Some(4)).into_iter().map(|violation| violation.rule).collect::<Vec<_>>()
    };
    let up_down =
        [stage(4, 4, 60, &healthy), stage(4, 4, 50, &healthy), stage(4, 4, 100, &healthy), last.clone()];
    assert_eq!(rules(&up_down, &spec), [Rule::Monotone]);
    assert!(rules(&[], &spec).contains(&Rule::End));
    assert!(rules(&[stage(0, 4, 10, &healthy), last.clone()], &spec).contains(&Rule::EmptyFleet));
    assert!(rules(&[stage(1, 0, 10, &healthy), last.clone()], &spec).contains(&Rule::EmptyFleet));
    let tight = rolling(Amount::Count(1), Amount::Count(0));
    assert!(rules(&[stage(1, 2, 33, &healthy), last.clone()], &tight).contains(&Rule::Capacity));
    assert!(rules(&[stage(2, 3, 40, &healthy), last.clone()], &tight).contains(&Rule::Surge));
    // The trap of other tools: 90 % of the traffic on one instance of four.
    assert!(rules(&[stage(1, 4, 90, &healthy), last.clone()], &spec).contains(&Rule::Overload));
    assert!(rules(&[stage(4, 3, 50, &healthy), last.clone()], &spec).contains(&Rule::OldIntact));
    for gates in [
        &[Gate::Verified, Gate::Acknowledged][..],
        &[Gate::Healthy, Gate::Acknowledged],
        &[Gate::Healthy, Gate::Verified],
    ] {
        assert!(rules(&[stage(4, 4, 100, gates), last.clone()], &spec).contains(&Rule::Gates), "{gates:?}");
    }
    let late = [Gate::Acknowledged, Gate::Verified, Gate::Healthy];
    assert!(rules(&[stage(4, 4, 100, &late), last], &spec).contains(&Rule::Gates));
}

#[test]
fn the_drawing_shows_sizes_shares_and_gates() {
    let stages = plan(&spec(Strategy::BlueGreen { hold: Span::from_secs(60) }), 3, Some(3)).unwrap();
    let expected = "\
stage  new  old  traffic                 new  then wait until
    1  ●●●  ○○○  ░░░░░░░░░░░░░░░░░░░░    0 %  healthy, verified
    2  ●●●  ○○○  ████████████████████  100 %  acknowledged, held 1m
    3  ●●●  -    ████████████████████  100 %  old drained
";
    assert_eq!(draw(&stages), expected);
    let large = plan(&spec(Strategy::Recreate), 40, Some(30)).unwrap();
    assert!(draw(&large).contains("●×40"), "{}", draw(&large));
}

fn amounts() -> impl Strategy_<Value = Amount> {
    prop_oneof![(0_u32..15).prop_map(Amount::Count), (0_u32..=100).prop_map(Amount::Percent)]
}

use proptest::strategy::Strategy as Strategy_;

fn strategies() -> impl Strategy_<Value = Strategy> {
    let hold = || (0_u64..3).prop_map(Span::from_secs);
    let steps = prop::collection::btree_set(1_u8..=100, 1..6).prop_map(|set| set.into_iter().collect());
    prop_oneof![
        Just(Strategy::Recreate),
        hold().prop_map(|hold| Strategy::BlueGreen { hold }),
        (steps, hold()).prop_map(|(steps, hold)| Strategy::Canary { steps, hold }),
        (amounts(), amounts(), hold()).prop_map(|(max_surge, max_unavailable, pause)| Strategy::Rolling {
            max_surge,
            max_unavailable,
            batch: None,
            pause
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn every_plan_keeps_the_promises(strategy in strategies(), replicas in 1_u32..300, old in prop::option::of(0_u32..300)) {
        let spec = spec(strategy);
        if let Ok(stages) = plan(&spec, replicas, old) {
            let violations = lint(&stages, &spec, replicas, old);
            prop_assert!(violations.is_empty(), "{violations:?}\n{}", draw(&stages));
        }
    }
}

#[test]
fn a_batch_has_a_size_of_its_own_and_stays_within_a_zone() {
    let rolling = |batch| {
        spec(Strategy::Rolling {
            max_surge: Amount::Count(0),
            max_unavailable: Amount::Count(4),
            batch,
            pause: Span::default(),
        })
    };
    let sizes = |spec: &RolloutSpec, zones: &[u32]| -> Vec<(u32, u32)> {
        let stages = kiln_rollout::plan_in(spec, 6, Some(6), zones).unwrap();
        assert_eq!(lint(&stages, spec, 6, Some(6)), []);
        stages.iter().map(|stage| (stage.new, stage.old)).collect()
    };
    assert_eq!(sizes(&rolling(None), &[]), [(0, 2), (4, 0), (6, 0)]);
    let pairs = rolling(Some(Amount::Count(2)));
    assert_eq!(sizes(&pairs, &[]), [(0, 4), (2, 2), (4, 0), (6, 0)]);
    // Zones of 3, 1 and 2: no batch takes from two of them.
    assert_eq!(sizes(&rolling(None), &[3, 1, 2]), [(0, 3), (3, 2), (4, 0), (6, 0)]);
    assert_eq!(sizes(&pairs, &[3, 1, 2]), [(0, 4), (2, 3), (3, 2), (4, 0), (6, 0)]);
    let percent = rolling(Some(Amount::Percent(20)));
    assert_eq!(sizes(&percent, &[])[0], (0, 4), "a fifth of six rounds up to two");
}
