//! Specs as people write them: what is read from good ones, and what is told about bad ones.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod environments;
mod errors;
mod evaluation;
mod formatting;
mod good;
mod language;
mod policies;
mod robustness;
mod rollouts;
mod scaffold;
mod secrets;
mod support;
