//! Strategies, stages, gates: the pure rollout engine. (rollout, observation, now) -> (rollout, actions).
//!
//! [`plan()`] compiles a strategy to a list of [`Stage`]s, [`lint()`] checks such a list against the promises without
//! knowing how it was made, [`start`] begins a rollout and [`decide`] moves it on. The caller persists the
//! rollout that a [`Decision`] carries, then ensures its actions, then observes and decides again: the crash path is
//! the everyday path, because every decision repeats the whole wish.
//!
//! Nothing in here reads a clock, takes a random number or touches the world; the manifest links nothing that
//! could, and `tests/purity.rs` says so.

pub mod analysis;
mod back;
mod decide;
mod draw;
mod gates;
mod lint;
mod plan;
mod summary;
mod types;
mod wish;

pub use back::abort;
pub use decide::{decide, start};
pub use draw::draw;
pub use lint::{Rule, Violation, lint};
pub use plan::{MAX_REPLICAS, PlanError, max_surge, max_unavailable, plan};
pub use summary::Summary;
pub use types::*;
