//! Policies: what passes them, and how that is told.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod facts;
mod judge;
mod kit;
mod report;
mod unjudged;
