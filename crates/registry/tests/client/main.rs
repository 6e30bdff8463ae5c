//! The client against a hostile server, and against real registries and their tools.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up shall fail")]

mod credentials;
mod downloads;
mod kit;
mod ours;
mod peers;
mod uploads;
mod wire;
