//! Known vulnerabilities: advisories from many databases in one local store, and the packages of an image matched
//! against them, offline and repeatably.
//!
//! The shape of an advisory is OSV's ([`osv`]). [`update`] fills the store from files and addresses, [`AdvisoryDb`]
//! opens it, [`match_packages`] judges packages. The same packages and the same digest of the store always give the
//! same findings, byte for byte: nothing here asks for the time or the network while it matches.

mod error;
mod matching;
mod names;
pub mod osv;
mod source;
mod store;

pub use error::AdvisoryError;
pub use matching::{
    Findings, MatchOptions, PackageRef, Suppression, Suppressor, Unjudged, Vulnerability, match_packages,
};
pub use source::{Limits, Report, Skipped, Source, Step, UpdateOptions, update};
pub use store::{AdvisoryDb, Dataset, Info};
