//! The control plane against a strict provider in memory, a data plane in memory, and real sockets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod analysed;
mod api;
mod back;
mod crash;
mod depends;
mod deploy;
mod freeze;
mod hand;
mod keep;
mod plane;
mod promote;
mod world;
