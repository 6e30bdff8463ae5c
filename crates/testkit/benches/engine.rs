//! How fast the engine decides, by size of the fleet, and how many rollouts the simulator goes through.
//!
//! Prints one JSON object: `decisions` by number of instances, and `simulated` rollouts, both per second and the median
//! of some rounds. An argument is how many seconds each of the measurements takes, default 2.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use kiln_model::{Against, Amount, AnalysisSpec, FleetId, RolloutSpec, Span, Strategy};
use kiln_rollout::analysis::Sample;
use kiln_rollout::{FleetView, Rollout, Setup, View, decide, start};
use kiln_testkit::{fleet_spec, simulate};

const SIZES: [u32; 3] = [10, 100, 1_000];
const ROUNDS: usize = 5;
/// Between two observations of the world that the rollouts go through.
const TURN: i64 = 500;

/// What the engine is asked once.
type Question = (Rollout, View, i64);

fn main() {
    // `cargo bench` adds flags of its own.
    let seconds = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(2.0);
    let round = Duration::from_secs_f64(seconds / ROUNDS as f64);
    let decisions: BTreeMap<String, f64> =
        SIZES.iter().map(|size| (size.to_string(), decisions(*size, round))).collect();
    let simulated = simulated(round);
    println!("{}", serde_json::json!({ "decisions": decisions, "simulated": simulated }));
}

/// Decisions per second over whole rollouts: a rolling update, and a canary that is measured against the old fleet.
fn decisions(size: u32, round: Duration) -> f64 {
    let questions: Vec<Question> = specs().into_iter().flat_map(|spec| whole(spec, size)).collect();
    median((0..ROUNDS).map(|_| {
        per_second(round, || {
            for (rollout, view, now) in &questions {
                black_box(decide(black_box(rollout), black_box(view), *now));
            }
            questions.len()
        })
    }))
}

/// Whole simulated rollouts per second: engine, fake provider, fake data plane, faults and crashes.
fn simulated(round: Duration) -> f64 {
    let mut seed = 0;
    median((0..ROUNDS).map(|_| {
        per_second(round, || {
            seed += 1;
            simulate(seed).unwrap_or_else(|broken| panic!("{broken}"));
            1
        })
    }))
}

/// Repeats something that says how much it has done.
fn per_second(time: Duration, mut act: impl FnMut() -> usize) -> f64 {
    let begun = Instant::now();
    let mut done = act();
    while begun.elapsed() < time {
        done += act();
    }
    done as f64 / begun.elapsed().as_secs_f64()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn specs() -> [RolloutSpec; 2] {
    let hold = Span::from_secs(5);
    let rolling = Strategy::Rolling {
        max_surge: Amount::Percent(25),
        max_unavailable: Amount::Percent(0),
        batch: None,
        pause: hold,
    };
    let analysis = AnalysisSpec {
        against: Against::Old,
        max_error_rate: Some(0.01),
        max_p50: None,
        max_p90: None,
        max_p99: Some(Span::from_millis(300)),
        false_alarm: 0.01,
        min_requests: 50,
        interval: Span::from_secs(10),
        probes: Vec::new(),
        metrics: Vec::new(),
    };
    [
        RolloutSpec { strategy: rolling, ..RolloutSpec::default() },
        RolloutSpec {
            strategy: Strategy::Canary { steps: vec![5, 25, 75, 100], hold },
            analysis: Some(analysis),
            ..RolloutSpec::default()
        },
    ]
}

/// Everything the engine is asked in one rollout through a world that does what it is told.
fn whole(spec: RolloutSpec, size: u32) -> Vec<Question> {
    let (old, new) = (fleet_spec(1).release.fleet(), fleet_spec(2).release.fleet());
    let setup = Setup::new(new, Some((old, size)), size, spec);
    let mut rollout = start(setup, 0).expect("a spec that can be planned");
    let (mut now, mut questions) = (0, Vec::new());
    while !rollout.is_over() {
        now += TURN;
        let view = view(&rollout, now);
        let next = decide(&rollout, &view, now).rollout;
        questions.push((rollout, view, now));
        rollout = next;
        assert!(questions.len() < 10_000, "the rollout does not end: {:?}", rollout.state);
    }
    assert!(matches!(rollout.state, kiln_rollout::State::Succeeded { .. }), "{:?}", rollout.state);
    questions
}

/// All that was wished for is there, and nothing fails.
fn view(rollout: &Rollout, now: i64) -> View {
    let wish = &rollout.memory.wish;
    let fleet = |size: u32| FleetView {
        ready_since_ms: (0..i64::from(size)).map(|index| now - 100_000 + index).collect(),
        ..FleetView::default()
    };
    let mut fleets = BTreeMap::from([(rollout.new.clone(), fleet(wish.new))]);
    fleets.extend(rollout.old.clone().map(|old| (old, fleet(wish.old))));
    let samples: BTreeMap<FleetId, Sample> =
        fleets.keys().map(|id| (id.clone(), sample(now.unsigned_abs()))).collect();
    View {
        fleets,
        acked_weights: wish.weights.clone(),
        checks: Some(Ok(())),
        samples,
        epoch_ms: 1,
        ..View::default()
    }
}

/// Latencies around 10 ms in as many buckets as the data plane has, one request each millisecond.
fn sample(requests: u64) -> Sample {
    let mut latency: Vec<(u64, u64)> = (0..80).map(|index| (100 + 250 * index, 0)).collect();
    latency.push((u64::MAX, 0));
    for (count, bucket) in latency[20..60].iter_mut().enumerate() {
        bucket.1 = (requests + count as u64) / 40;
    }
    let requests = latency.iter().map(|bucket| bucket.1).sum();
    Sample { requests, failed: requests / 10_000, latency }
}
