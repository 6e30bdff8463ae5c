//! Known vulnerabilities from outside: the store, its sources, matching, orders of versions, scores and statements.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up shall fail")]

mod download;
mod ecosystems;
mod findings;
mod hostile;
mod kill;
mod kit;
mod orders;
mod peers;
mod real;
mod scores;
mod server;
mod store;
mod vex;
