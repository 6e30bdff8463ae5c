//! Baking real folders into a real store, with real commands and real peers.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up shall fail")]

mod base;
mod cache;
mod copy;
mod debian;
mod kit;
mod lock;
mod run;
mod same;
mod stop;
mod used;
mod words;
