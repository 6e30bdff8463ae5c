//! Keys, evidence and the ledger against real files, real processes and the programs of others.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up shall fail")]

mod evidence;
mod judge;
mod keys;
mod kit;
mod ledger;
mod mutations;
mod peers;
mod processes;
mod registry;
mod repair;
