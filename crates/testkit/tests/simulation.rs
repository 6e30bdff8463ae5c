//! The engine in the whole loop, under faults and crashes. `KILN_SEED=… cargo test -p kiln-testkit --test simulation`
//! replays one seed.

use kiln_rollout::State;
use kiln_testkit::{simulate, simulate_all};

/// Enough for every strategy, quality and kind of fault to meet many times.
const SEEDS: u64 = 4_000;

#[test]
fn no_seed_breaks_a_promise() {
    let outcomes = simulate_all(0..SEEDS);
    let states = || outcomes.iter().flat_map(|outcome| &outcome.states);
    let count = |wanted: fn(&State) -> bool| states().filter(|state| wanted(state)).count();
    let succeeded = count(|state| matches!(state, State::Succeeded { .. }));
    let back = count(|state| matches!(state, State::RolledBack { .. }));
    let failed = count(|state| matches!(state, State::Failed { .. }));
    let crashes: u32 = outcomes.iter().map(|outcome| outcome.crashes).sum();
    let turns: u32 = outcomes.iter().map(|outcome| outcome.turns).sum();
    let hands: u32 = outcomes.iter().map(|outcome| outcome.hands).sum();
    println!("{succeeded} succeeded, {back} rolled back, {failed} failed");
    println!("{turns} turns, {crashes} crashes, {hands} acts of people");
    if outcomes.len() as u64 == SEEDS {
        let busy = crashes > 10_000 && hands > 1_000;
        assert!(succeeded > 2_000 && back > 2_000 && busy, "the seeds are too tame");
    }
}

#[test]
fn a_seed_replays_exactly() {
    for seed in [1, 77, 4_242] {
        assert_eq!(
            simulate(seed).map_err(|broken| broken.what),
            simulate(seed).map_err(|broken| broken.what)
        );
    }
}
