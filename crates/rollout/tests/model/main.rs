//! Exhaustive model checking of the real engine in small worlds. `docs/model-checking.md` says what this proves.
//!
//! `KILN_MODEL=large cargo test -p kiln-rollout --test model` checks larger worlds.

#![allow(clippy::unwrap_used, reason = "helpers of tests stand outside the test functions")]

mod checker;
mod control;
mod live;
mod promises;
mod saved;
mod world;
mod worlds;

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use stateright::{Checker, Model};

use checker::Checked;
use live::Edges;
use world::World;

/// Goes through every state of every world.
fn check(worlds: Vec<World>) {
    let mut all = 0;
    for world in worlds {
        all += check_one(world);
    }
    println!("{all} states in all");
}

fn check_one(world: World) -> usize {
    let begun = Instant::now();
    // The checker wants a model that lives as long as its threads may.
    let world: &'static World = Box::leak(Box::new(world));
    let checked = Checked { world, edges: Mutex::new(Edges::of(world)) };
    let done = checked.checker().spawn_bfs().join();
    let (states, depth) = (done.unique_state_count(), done.max_depth());
    if let Some((promise, path)) = done.discoveries().into_iter().next() {
        let last = path.last_state();
        let steps: Vec<String> = path.clone().into_actions().iter().map(|step| format!("{step:?}")).collect();
        panic!("{}: {promise} ({:?})\n{}\n{last:?}", world.name, last.broken, steps.join("\n"));
    }
    let edges = done.model().edges.lock().unwrap_or_else(PoisonError::into_inner);
    let count = edges.len();
    println!(
        "{:>9} states {count:>9} steps {depth:>4} deep {:>6} ms  {}",
        states,
        begun.elapsed().as_millis(),
        world.name
    );
    if let Err(what) = edges.judge() {
        panic!("{}: {what}", world.name);
    }
    states
}

#[test]
fn every_state_of_recreate() {
    check(worlds::recreate());
}

#[test]
fn every_state_of_rolling_with_surge() {
    check(worlds::rolling_with_surge());
}

#[test]
fn every_state_of_rolling_with_gaps() {
    check(worlds::rolling_with_gaps());
}

#[test]
fn every_state_of_blue_green() {
    check(worlds::blue_green());
}

#[test]
fn every_state_of_canary() {
    check(worlds::canary());
}

#[test]
fn every_state_of_rests() {
    check(worlds::rests());
}
