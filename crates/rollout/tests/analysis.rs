//! What the analysis says, in words, and that it says the same when asked twice. How often it is wrong and how soon
//! it is right is measured in `analysis_measured.rs`.

use std::collections::BTreeMap;

use kiln_model::{Against, AnalysisSpec, Metric, MetricSource, Span};
use kiln_rollout::analysis::{
    AnalysisState, Judgement, Measured, Reading, Sample, Window, judge, log_evidence, mann_whitney,
};

/// The data plane's buckets: four to each power of two from 64 µs to 67 s.
fn bounds() -> Vec<u64> {
    let quarters = (6..26).flat_map(|octave| (1..=4).map(move |q| (1_u64 << octave) + q * (1 << octave) / 4));
    std::iter::once(64).chain(quarters).chain([u64::MAX]).collect()
}

/// A fleet that answered: `failed` of `requests`, and so many latencies of so many microseconds.
fn fleet(requests: u64, failed: u64, micros: &[(u64, u64)]) -> Sample {
    let mut latency: Vec<(u64, u64)> = bounds().into_iter().map(|bound| (bound, 0)).collect();
    for &(value, count) in micros {
        let index = latency.iter().position(|bucket| value < bucket.0).expect("the last bucket has no end");
        latency[index].1 += count;
    }
    Sample { requests, failed, latency }
}

fn errors_only() -> AnalysisSpec {
    AnalysisSpec { max_error_rate: Some(0.01), ..AnalysisSpec::default() }
}

fn against(against: Against) -> AnalysisSpec {
    AnalysisSpec { against, ..AnalysisSpec::default() }
}

/// Judges one window, twice, and requires the same answer and the same memory.
fn once(spec: &AnalysisSpec, new: &Sample, base: Option<&Sample>, over: bool) -> Judgement {
    let mut state = AnalysisState::default();
    let window = Window { new: new.clone(), base: base.cloned() };
    twice(spec, &mut state, &window, &BTreeMap::new(), over)
}

fn twice(
    spec: &AnalysisSpec,
    state: &mut AnalysisState,
    window: &Window,
    readings: &BTreeMap<String, Reading>,
    over: bool,
) -> Judgement {
    let first = judge(spec, state, window, readings, over);
    let text = serde_json::to_string(state).expect("it can be written");
    let mut again: AnalysisState = serde_json::from_str(&text).expect("and read");
    assert_eq!(again, *state, "the memory survives being written down");
    assert_eq!(judge(spec, &mut again, window, readings, over), first);
    assert_eq!(again, *state, "asking again spends nothing");
    first
}

fn fail(text: &str) -> Judgement {
    Judgement::Fail(text.into())
}

fn no_data(text: &str) -> Judgement {
    Judgement::NoData(text.into())
}

fn inconclusive(text: &str) -> Judgement {
    Judgement::Inconclusive(text.into())
}

mod vectors {
    //! Figures that other programs computed. scipy 1.17.1: `mannwhitneyu(x, y, alternative="greater",
    //! use_continuity=True, method="asymptotic")`, and `binom.logpmf` for the likelihood ratios.

    use super::*;

    #[test]
    fn mann_whitney_u_agrees_with_scipy() {
        let cases: [(&[u64], &[u64], f64, f64); 7] = [
            (&[10, 20, 30], &[30, 20, 10], 2600.0, 4.279947422544548e-06),
            (&[0, 5, 5, 40], &[5, 10, 20, 15], 1875.0, 9.207913751597029e-07),
            (&[1, 0, 0, 49], &[50, 150, 200, 50], 20850.0, 8.215214215745459e-26),
            (&[25, 25], &[25, 25], 1250.0, 0.5015877660368169),
            (&[3, 7, 12, 20, 9, 2, 0, 1], &[14, 30, 41, 33, 10, 3, 1, 0], 4526.0, 0.0014928180374128663),
            (&[0, 0, 0, 500], &[100, 200, 300, 400], 400_000.0, 1.7719001515585805e-103),
            (&[200, 10, 5], &[900, 30, 2], 103_805.0, 0.00810649259293952),
        ];
        for (new, base, u, p) in cases {
            let test = mann_whitney(new.iter().copied().zip(base.iter().copied()));
            assert!((test.u - u).abs() < 1e-9, "U of {new:?} and {base:?} is {}, not {u}", test.u);
            assert!((test.p / p - 1.0).abs() < 1e-6, "p of {new:?} and {base:?} is {:e}, not {p:e}", test.p);
        }
    }

    #[test]
    fn no_spread_and_no_values_are_no_evidence() {
        for buckets in [vec![], vec![(5, 0)], vec![(0, 5)], vec![(100, 100)], vec![(1, 1)]] {
            assert!(mann_whitney(buckets.into_iter()).p > 0.99);
        }
    }

    #[test]
    fn evidence_over_a_limit_agrees_with_scipy() {
        let cases = [
            (12, 200, 0.01, 9.352991244324594),
            (1, 1, 0.01, 2.791902638209525),
            (0, 1000, 0.01, -2.8857715160640964),
            (30, 1000, 0.02, 0.9609315072632385),
            (700, 1000, 0.5, 79.24053476936841),
            (5, 50, 0.1, -0.9022731711373937),
            (1200, 100_000, 0.01, 16.53023216647095),
        ];
        for (bad, all, limit, expected) in cases {
            let log = log_evidence(bad, all, limit);
            assert!((log - expected).abs() < 1e-9, "{bad} of {all} over {limit}: {log}, not {expected}");
        }
    }

    #[test]
    fn limits_at_the_edges() {
        assert_eq!(log_evidence(1, 1_000_000, 0.0), f64::INFINITY, "none may fail, and one did");
        assert!(log_evidence(0, 1_000_000, 0.0) <= 0.0);
        assert!(log_evidence(1000, 1000, 1.0) <= 0.0, "all may fail");
        assert!(log_evidence(1000, 1000, 0.99) <= 0.0);
        assert!(log_evidence(u64::MAX, u64::MAX, 0.01).is_finite());
    }
}

mod samples {
    use super::*;

    #[test]
    fn differences_of_counters() {
        let then = fleet(100, 3, &[(1000, 90), (9000, 10)]);
        let now = fleet(150, 4, &[(1000, 130), (9000, 20)]);
        assert_eq!(now.since(&then), fleet(50, 1, &[(1000, 40), (9000, 10)]));
        assert_eq!(now.since(&Sample::default()), now);
        assert_eq!(now.since(&now), fleet(0, 0, &[]));
        assert_eq!(then.plus(&now.since(&then)), now);
        assert_eq!(Sample::default().plus(&now), now);
    }

    #[test]
    fn counters_that_began_anew_count_whole() {
        let then = fleet(100, 3, &[(1000, 100)]);
        for now in [
            fleet(99, 3, &[(1000, 99)]),
            fleet(200, 2, &[(1000, 200)]),
            fleet(200, 3, &[(1000, 50), (9000, 150)]),
            Sample { requests: 200, failed: 3, latency: vec![(500, 0), (u64::MAX, 200)] },
            Sample { requests: 200, failed: 3, latency: Vec::new() },
        ] {
            assert_eq!(now.since(&then), now);
        }
    }

    #[test]
    fn two_lives_with_other_buckets_keep_every_request() {
        let a = Sample { requests: 3, failed: 0, latency: vec![(10, 1), (100, 2), (u64::MAX, 0)] };
        let b = Sample { requests: 4, failed: 1, latency: vec![(50, 3), (u64::MAX, 1)] };
        let both =
            Sample { requests: 7, failed: 1, latency: vec![(10, 1), (50, 3), (100, 2), (u64::MAX, 1)] };
        assert_eq!(a.plus(&b), both);
        assert_eq!(b.plus(&a), both);
    }
}

mod limits {
    use super::*;

    #[test]
    fn failures_over_the_limit_are_turned_back_at_once() {
        let reason = "12 of 200 requests failed (6.0 %), more than the 1 % allowed (chance of a false alarm below 1 %)";
        for over in [false, true] {
            assert_eq!(once(&errors_only(), &fleet(200, 12, &[]), None, over), fail(reason));
        }
        let few =
            "3 of 3 requests failed (100 %), more than the 1 % allowed (chance of a false alarm below 1 %)";
        assert_eq!(
            once(&errors_only(), &fleet(3, 3, &[]), None, false),
            fail(few),
            "before min_requests too"
        );
    }

    #[test]
    fn the_level_is_the_one_that_scipy_computes() {
        assert_eq!(once(&errors_only(), &fleet(100, 6, &[]), None, false), Judgement::GoesOn);
        assert!(matches!(once(&errors_only(), &fleet(100, 7, &[]), None, false), Judgement::Fail(_)));
    }

    #[test]
    fn at_the_end_it_takes_enough_requests_and_an_estimate_within_the_limit() {
        let spec = errors_only();
        let at_end = |requests, failed| once(&spec, &fleet(requests, failed, &[]), None, true);
        assert_eq!(
            at_end(0, 0),
            no_data("0 requests on the new fleet in this stage, and a judgement takes 50")
        );
        assert_eq!(
            at_end(1, 1),
            no_data("1 request on the new fleet in this stage, and a judgement takes 50")
        );
        assert_eq!(at_end(50, 0), Judgement::Pass);
        assert_eq!(at_end(100, 1), Judgement::Pass);
        assert_eq!(
            at_end(100, 2),
            inconclusive(
                "2 of 100 requests failed (2.0 %), more than the 1 % allowed, but too few to rule out chance"
            )
        );
        assert_eq!(at_end(6_000_000, 30_000), Judgement::Pass, "10,000 a second for ten minutes");
        for requests in [0, 1, 100] {
            assert_eq!(once(&spec, &fleet(requests, 0, &[]), None, false), Judgement::GoesOn);
        }
        let unheard_of = AnalysisSpec { min_requests: 0, ..spec.clone() };
        assert!(matches!(once(&unheard_of, &fleet(0, 0, &[]), None, true), Judgement::NoData(_)));
    }

    #[test]
    fn none_may_fail() {
        let spec = AnalysisSpec { max_error_rate: Some(0.0), ..AnalysisSpec::default() };
        let reason = "1 of 900 requests failed (0.11 %), more than the 0 % allowed (chance of a false alarm below 1 %)";
        assert_eq!(once(&spec, &fleet(900, 1, &[]), None, false), fail(reason));
        assert_eq!(once(&spec, &fleet(900, 0, &[]), None, true), Judgement::Pass);
    }

    #[test]
    fn slow_requests() {
        let spec = AnalysisSpec { max_p99: Some(Span::from_millis(300)), ..AnalysisSpec::default() };
        let reason = "20 of 200 requests took 300ms or longer (10 %), more than the 1 % that max_p99 allows (chance \
                      of a false alarm below 1 %)";
        assert_eq!(once(&spec, &fleet(200, 0, &[(1000, 180), (900_000, 20)]), None, false), fail(reason));
        assert_eq!(once(&spec, &fleet(200, 0, &[(200_000, 200)]), None, true), Judgement::Pass);
        let median = AnalysisSpec { max_p50: Some(Span::from_millis(10)), ..AnalysisSpec::default() };
        let reason = "150 of 200 requests took 10ms or longer (75 %), more than the 50 % that max_p50 allows (chance \
                      of a false alarm below 1 %)";
        assert_eq!(once(&median, &fleet(200, 0, &[(1000, 50), (20_000, 150)]), None, false), fail(reason));
        assert_eq!(
            once(&spec, &fleet(200, 200, &[]), None, true),
            no_data("0 requests with a latency on the new fleet in this stage, and a judgement takes 50")
        );
    }

    #[test]
    fn a_bucket_that_hides_the_limit_neither_fails_nor_passes_a_release() {
        // 300 ms lies between 262.144 and 327.680 ms: how many of these are above it nobody knows.
        let spec = AnalysisSpec { max_p99: Some(Span::from_millis(300)), ..AnalysisSpec::default() };
        assert_eq!(
            once(&spec, &fleet(200, 0, &[(290_000, 200)]), None, true),
            inconclusive(
                "84 of 200 requests took 300ms or longer (42 %), more than the 1 % that max_p99 allows, but too \
                 few to rule out chance"
            )
        );
        let endless = AnalysisSpec { max_p90: Some(Span::from_secs(120)), ..AnalysisSpec::default() };
        let slow = fleet(200, 0, &[(200_000_000, 200)]);
        assert!(matches!(once(&endless, &slow, None, true), Judgement::Inconclusive(_)));
    }

    #[test]
    fn a_failure_stays_one() {
        let mut state = AnalysisState::default();
        let bad = Window { new: fleet(200, 12, &[]), base: None };
        let failed = judge(&errors_only(), &mut state, &bad, &BTreeMap::new(), false);
        let good = Window { new: fleet(100_000, 12, &[]), base: None };
        assert_eq!(judge(&errors_only(), &mut state, &good, &BTreeMap::new(), true), failed);
    }

    #[test]
    fn nothing_asked_is_nothing_judged() {
        assert_eq!(once(&AnalysisSpec::default(), &Sample::default(), None, false), Judgement::GoesOn);
        assert_eq!(once(&AnalysisSpec::default(), &Sample::default(), None, true), Judgement::Pass);
    }
}

mod comparison {
    use super::*;

    const QUICK: &[(u64, u64)] = &[(20_000, 100), (30_000, 100), (40_000, 100)];
    const SLOW: &[(u64, u64)] = &[(40_000, 100), (60_000, 100), (80_000, 100)];

    /// Failures on the new fleet alone that do not suffice yet, when it had half of the traffic, and a tenth.
    const LAST_GOOD_EQUAL: u64 = 9;
    const LAST_GOOD_TENTH: u64 = 3;

    #[test]
    fn more_failures_than_the_other_fleet() {
        let reason = "20 of 300 requests failed (6.7 %), on the old fleet 1 of 300 requests failed (0.33 %): more \
                      than chance explains (chance of a false alarm below 1 %)";
        let (new, base) = (fleet(300, 20, QUICK), fleet(300, 1, QUICK));
        assert_eq!(once(&against(Against::Old), &new, Some(&base), false), fail(reason));
        assert_eq!(
            once(&against(Against::Old), &base, Some(&new), true),
            Judgement::Pass,
            "fewer are welcome"
        );
    }

    #[test]
    fn the_level_is_the_one_that_scipy_computes() {
        let spec = against(Against::Baseline);
        let judged = |failed, share: u64, over| {
            let base = fleet(300 * share, 0, &[(20_000, 300 * share)]);
            once(&spec, &fleet(300, failed, &[(20_000, 300)]), Some(&base), over)
        };
        assert_eq!(judged(LAST_GOOD_EQUAL, 1, false), Judgement::GoesOn);
        assert!(matches!(judged(LAST_GOOD_EQUAL + 1, 1, false), Judgement::Fail(_)));
        assert_eq!(judged(LAST_GOOD_TENTH, 9, false), Judgement::GoesOn);
        assert!(matches!(judged(LAST_GOOD_TENTH + 1, 9, false), Judgement::Fail(_)));
        assert_eq!(judged(3, 1, true), Judgement::Pass, "three failures and none there are chance");
        assert_eq!(
            judged(LAST_GOOD_EQUAL, 1, true),
            inconclusive(&format!(
                "{LAST_GOOD_EQUAL} of 300 requests failed (3.0 %), on the baseline fleet 0 of 300 requests failed \
                 (0 %): more, but too few to rule out chance"
            ))
        );
    }

    #[test]
    fn slower_than_the_other_fleet() {
        let reason = "half of the requests take longer than about 61 ms, on the baseline fleet longer than about \
                      31 ms: slower by more than a quarter (Mann-Whitney U: 78 % of 300 x 300 pairs) (chance of a \
                      false alarm below 1 %)";
        let (new, base) = (fleet(300, 0, SLOW), fleet(300, 0, QUICK));
        assert_eq!(once(&against(Against::Baseline), &new, Some(&base), false), fail(reason));
        assert_eq!(once(&against(Against::Baseline), &base, Some(&new), true), Judgement::Pass);
    }

    #[test]
    fn a_slow_down_that_is_certain_but_small_passes() {
        let spec = against(Against::Baseline);
        let judged = |new, base| {
            once(
                &spec,
                &fleet(900_000, 0, &[(new, 900_000)]),
                Some(&fleet(900_000, 0, &[(base, 900_000)])),
                true,
            )
        };
        assert_eq!(judged(24_000, 20_000), Judgement::Pass, "a fifth");
        assert_eq!(judged(900, 200), Judgement::Pass, "under a millisecond");
        assert!(matches!(judged(40_000, 20_000), Judgement::Fail(_)), "twice");
        assert!(matches!(judged(3_000, 200), Judgement::Fail(_)), "nearly three milliseconds");
    }

    #[test]
    fn too_few_on_either_side_are_no_data() {
        let spec = against(Against::Old);
        let many = fleet(300, 0, QUICK);
        let few = fleet(20, 0, &[(20_000, 20)]);
        assert_eq!(
            once(&spec, &few, Some(&many), true),
            no_data(
                "20 requests on the new fleet and 300 requests on the old fleet in this stage, and comparing them \
                 takes 50 on each"
            )
        );
        assert!(matches!(once(&spec, &many, Some(&few), true), Judgement::NoData(_)));
        assert!(matches!(once(&spec, &many, Some(&Sample::default()), true), Judgement::NoData(_)));
        assert_eq!(once(&spec, &many, Some(&few), false), Judgement::GoesOn);
        let silent = fleet(300, 0, &[]);
        assert_eq!(
            once(&spec, &silent, Some(&many), true),
            no_data(
                "0 requests with a latency on the new fleet and 300 requests on the old fleet in this stage, and \
                 comparing them takes 50 on each"
            )
        );
        assert_eq!(once(&spec, &many, None, true), Judgement::Pass, "no such fleet in this stage");
    }

    #[test]
    fn slower_in_too_few_requests_is_inconclusive() {
        let spec = AnalysisSpec { min_requests: 20, ..against(Against::Baseline) };
        let new = fleet(20, 0, &[(20_000, 8), (40_000, 12)]);
        let base = fleet(20, 0, &[(20_000, 18), (40_000, 2)]);
        assert_eq!(
            once(&spec, &new, Some(&base), true),
            inconclusive(
                "half of the requests take longer than about 37 ms, on the baseline fleet longer than about 18 ms: \
                 slower by more than a quarter, but too few to rule out chance"
            )
        );
        assert_eq!(once(&spec, &new, Some(&base), false), Judgement::GoesOn);
    }

    #[test]
    fn latencies_are_looked_at_when_they_have_doubled_and_once_at_the_end() {
        let mut state = AnalysisState::default();
        let mut spent_after = |requests, over| {
            let fleet = fleet(requests, 0, &[(20_000, requests)]);
            let window = Window { new: fleet.clone(), base: Some(fleet) };
            twice(&against(Against::Old), &mut state, &window, &BTreeMap::new(), over);
            serde_json::to_value(&state).unwrap()["looks"]["spent"].as_u64()
        };
        let looks: Vec<_> = [49, 50, 60, 99, 100, 150, 900, 1000].map(|n| spent_after(n, false)).into();
        assert_eq!(looks, [0, 1, 1, 1, 2, 2, 3, 3].map(Some), "six doublings in one step are one look");
        let looks: Vec<_> = [1000, 1100, 1999, 2000].map(|n| spent_after(n, true)).into();
        assert_eq!(looks, [4, 4, 4, 5].map(Some));
    }

    #[test]
    fn a_dependency_that_fails_both_while_the_shares_shift_is_no_difference() {
        // Simpson's paradox: all failures fall into a minute in which the new fleet had most of the traffic.
        let mut state = AnalysisState::default();
        let spec = against(Against::Old);
        let (mut new, mut base) = (fleet(0, 0, &[]), fleet(0, 0, &[]));
        for (requests, failed, here) in [(10_000, 0, 100), (10_000, 5_000, 9_000), (10_000, 0, 100)] {
            let share = |n: u64| fleet(n, failed * n / requests, &[(20_000, n)]);
            new = new.plus(&share(here));
            base = base.plus(&share(requests - here));
            let window = Window { new: new.clone(), base: Some(base.clone()) };
            let judged = twice(&spec, &mut state, &window, &BTreeMap::new(), false);
            assert_eq!(judged, Judgement::GoesOn);
        }
        assert_eq!((new.failed, new.requests), (4_500, 9_200));
        assert_eq!((base.failed, base.requests), (500, 20_800));
    }

    #[test]
    fn counters_of_a_window_that_shrinks_go_on_from_there() {
        let mut state = AnalysisState::default();
        let spec = against(Against::Old);
        for (new, base) in
            [(fleet(300, 3, QUICK), fleet(300, 3, QUICK)), (fleet(40, 9, &[]), fleet(40, 0, &[]))]
        {
            let window = Window { new, base: Some(base) };
            assert_eq!(twice(&spec, &mut state, &window, &BTreeMap::new(), false), Judgement::GoesOn);
        }
        let window = Window { new: fleet(80, 20, &[]), base: Some(fleet(80, 0, &[])) };
        let judged = twice(&spec, &mut state, &window, &BTreeMap::new(), false);
        assert!(matches!(judged, Judgement::Fail(_)), "{judged:?}");
    }
}

mod metrics {
    use super::*;

    /// A stage with one metric, read again and again.
    struct Stage {
        spec: AnalysisSpec,
        state: AnalysisState,
        at_ms: i64,
    }

    impl Stage {
        fn new(failure_limit: u32) -> Self {
            let metric = Metric {
                name: "errors".into(),
                source: MetricSource::Webhook { url: "http://metrics.test/".into() },
                max: Some(0.5),
                min: Some(0.1),
                failure_limit,
                error_limit: 2,
            };
            let spec = AnalysisSpec { metrics: vec![metric], ..AnalysisSpec::default() };
            Self { spec, state: AnalysisState::default(), at_ms: 0 }
        }

        fn read(&mut self, outcome: Result<Measured, String>) -> [Judgement; 2] {
            self.at_ms += 10_000;
            let readings = BTreeMap::from([("errors".to_owned(), Reading { at_ms: self.at_ms, outcome })]);
            [false, true].map(|over| twice(&self.spec, &mut self.state, &Window::default(), &readings, over))
        }
    }

    fn before_and_at_the_end(judged: Judgement) -> [Judgement; 2] {
        [Judgement::GoesOn, judged]
    }

    fn value(value: f64) -> Result<Measured, String> {
        Ok(Measured::Value(value))
    }

    #[test]
    fn good_ones_pass() {
        for good in [0.1, 0.3, 0.5] {
            assert_eq!(Stage::new(0).read(value(good)), before_and_at_the_end(Judgement::Pass));
        }
        assert_eq!(Stage::new(0).read(Ok(Measured::Pass)), before_and_at_the_end(Judgement::Pass));
    }

    #[test]
    fn bad_ones_fail() {
        let failed = |outcome| Stage::new(0).read(outcome)[0].clone();
        let reason =
            |what: &str| fail(&format!("metric \"errors\" {what}; bad once, more than the 0 allowed"));
        assert_eq!(failed(value(0.75)), reason("is 0.75, above its max of 0.5"));
        assert_eq!(failed(value(f64::INFINITY)), reason("is inf, above its max of 0.5"));
        assert_eq!(failed(value(0.0)), reason("is 0, below its min of 0.1"));
        assert_eq!(failed(Ok(Measured::Fail("cart is empty".into()))), reason("failed: cart is empty"));
    }

    #[test]
    fn as_many_bad_ones_as_are_allowed() {
        let mut stage = Stage::new(1);
        assert_eq!(
            stage.read(value(0.75)),
            before_and_at_the_end(inconclusive(
                "metric \"errors\" is 0.75, above its max of 0.5, and was never good in this stage"
            ))
        );
        assert_eq!(stage.read(value(0.3)), before_and_at_the_end(Judgement::Pass));
        let failed =
            fail("metric \"errors\" is 0.8, above its max of 0.5; bad 2 times, more than the 1 allowed");
        assert_eq!(stage.read(value(0.8)), [failed.clone(), failed.clone()]);
        assert_eq!(stage.read(value(0.3)), [failed.clone(), failed], "a failure stays one");
    }

    #[test]
    fn an_unreadable_source_stops_after_its_limit() {
        let mut stage = Stage::new(0);
        let refused = || Err("connection refused".to_owned());
        let unread = no_data("metric \"errors\" has not been read yet: connection refused");
        assert_eq!(stage.read(refused()), before_and_at_the_end(unread.clone()));
        assert_eq!(stage.read(refused()), before_and_at_the_end(unread));
        let error = Judgement::Error(
            "metric \"errors\" could not be read 3 times in a row: connection refused".into(),
        );
        assert_eq!(stage.read(refused()), [error.clone(), error]);
        assert_eq!(stage.read(value(0.3)), before_and_at_the_end(Judgement::Pass));
        assert_eq!(stage.read(refused()), before_and_at_the_end(Judgement::Pass), "the row was broken");
    }

    #[test]
    fn neither_good_nor_bad() {
        let nothing = no_data("metric \"errors\" has no data");
        assert_eq!(Stage::new(0).read(Ok(Measured::NoData)), before_and_at_the_end(nothing.clone()));
        assert_eq!(Stage::new(0).read(value(f64::NAN)), before_and_at_the_end(nothing));
        assert_eq!(
            Stage::new(0).read(Ok(Measured::Inconclusive("only one shop is open".into()))),
            before_and_at_the_end(inconclusive("metric \"errors\" is inconclusive: only one shop is open"))
        );
        let mut state = AnalysisState::default();
        let judged = twice(&Stage::new(0).spec, &mut state, &Window::default(), &BTreeMap::new(), true);
        assert_eq!(judged, no_data("metric \"errors\" has not been read yet"));
    }

    #[test]
    fn failure_before_error_before_no_data_before_inconclusive() {
        let mut spec = errors_only();
        let outcomes = [
            ("unclear", Ok(Measured::Inconclusive("why".into()))),
            ("nothing", Ok(Measured::NoData)),
            ("unreadable", Err("timed out".into())),
            ("bad", Ok(Measured::Fail("no".into()))),
        ];
        let source = MetricSource::Command { argv: vec!["true".into()] };
        let metric = |name: &str| Metric {
            name: name.into(),
            source: source.clone(),
            max: None,
            min: None,
            failure_limit: 0,
            error_limit: 0,
        };
        let mut readings = BTreeMap::new();
        let good = Window { new: fleet(500, 0, &[]), base: None };
        for (index, (name, outcome)) in outcomes.into_iter().enumerate() {
            spec.metrics.push(metric(name));
            readings.insert(name.to_owned(), Reading { at_ms: 1, outcome });
            let judged = twice(&spec, &mut AnalysisState::default(), &good, &readings, true);
            let expected = [
                inconclusive("metric \"unclear\" is inconclusive: why"),
                no_data("metric \"nothing\" has no data"),
                Judgement::Error("metric \"unreadable\" could not be read: timed out".into()),
                fail("metric \"bad\" failed: no; bad once, more than the 0 allowed"),
            ];
            assert_eq!(judged, expected[index]);
        }
        let bad = Window { new: fleet(200, 100, &[]), base: None };
        let judged = twice(&spec, &mut AnalysisState::default(), &bad, &readings, true);
        assert_eq!(judged, fail("metric \"bad\" failed: no; bad once, more than the 0 allowed"));
    }
}

#[test]
fn the_sources_of_the_analysis_name_no_clock_file_system_or_network() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/analysis");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for banned in
            ["SystemTime", "Instant", "std::fs", "std::net", "std::process", "std::thread", "std::env"]
        {
            assert!(!text.contains(banned), "{} uses {banned}", path.display());
        }
        seen += 1;
    }
    assert!(seen > 5, "the sources moved");
}
