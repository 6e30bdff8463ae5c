//! The registry's server, from outside: over real sockets, and with the real tools of other projects.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up shall fail")]

mod access;
mod collect;
mod conformance;
mod faults;
mod kit;
mod mirror;
mod peers;
mod rules;
