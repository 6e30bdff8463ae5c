//! The store against real disks, real tar writers and hostile bytes.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up shall fail")]

mod blobs;
mod hostile;
mod kit;
mod layers;
mod referrers;
mod roundtrip;
mod streams;
mod transfer;
