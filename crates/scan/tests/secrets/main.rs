//! Secrets: each rule on secrets made here, whole images, and what must never be told.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod images;
mod kit;
mod quiet;
mod rules;
mod samples;
