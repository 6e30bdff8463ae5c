//! Debian packages: signed indices, solver, lock, unpacking.
//!
//! Turns "these packages of this suite" into a file tree, in three steps that can be taken on different machines:
//!
//! 1. [`lock`] reads the signed indices of a suite and decides on exact packages (the only step that chooses).
//! 2. [`fetch`] downloads and unpacks exactly what the [`Lock`] says, or fails.
//! 3. [`tree`] lays the unpacked packages out as a file system, in memory.
//!
//! It neither runs maintainer scripts ([`configure_command`] says how the build sandbox does) nor writes layers,
//! and it never takes another version than the locked one.
//!
//! A suite without [`essential`](kiln_model::DebianBase::essential) packages is treated as distroless images do:
//! `base-files`, `base-passwd` and the dependencies of what was asked for, and nothing else. There is no shell
//! unless a package that was asked for needs one.

#![forbid(unsafe_code)]

mod cache;
mod configure;

mod deb;
mod download;
mod error;
mod fetch;
mod index;
mod keyring;
mod lock;
mod mirrors;
mod relation;
mod release;
mod request;
mod solve;
mod suite;
mod transport;
mod tree;

pub use configure::configure_command;
pub use error::Error;
pub use fetch::{Fetched, fetch};
pub use lock::{Archive, Lock, LockedPackage, LockedSuite, Mismatch, epoch, lock};
pub use mirrors::{Mirrors, MirrorsError};
pub use request::{Event, Progress, Request, Timeouts};
pub use tree::tree;
