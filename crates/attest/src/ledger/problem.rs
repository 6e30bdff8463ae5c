//! What is wrong with a ledger, and where.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; 0 for the last one.
    pub line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "the end of {}", self.file.display()),
            line => write!(f, "{}:{line}", self.file.display()),
        }
    }
}

/// Why a ledger does not verify.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Problem {
    /// The bytes of a record are not those that were written.
    Altered {
        /// Which record.
        seq: u64,
        /// Where it is.
        place: Place,
        /// What was seen.
        reason: String,
    },
    /// A record was exchanged for another: the one after it continues something else.
    Replaced {
        /// Which record.
        seq: u64,
        /// Where the one after it is.
        place: Place,
    },
    /// Records are gone.
    Removed {
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
        /// Where they should be.
        place: Place,
    },
    /// A record that does not belong here: there is one of its number before it.
    Inserted {
        /// The number it gives itself.
        seq: u64,
        /// Where it is.
        place: Place,
    },
    /// A record comes later than it should.
    Reordered {
        /// Which record.
        seq: u64,
        /// Where it should be.
        place: Place,
        /// Where it is.
        found: Place,
    },
    /// A file's name does not fit what it holds.
    Misnamed {
        /// The number of the first record, by the name.
        named: u64,
        /// What the first record's number is.
        seq: u64,
        /// Where.
        place: Place,
    },
    /// A checkpoint cannot be relied on.
    BadCheckpoint {
        /// Where it is.
        place: Place,
        /// Why.
        reason: String,
    },
    /// The record of this number is another than the one that was signed or witnessed: everything up to it may have
    /// been written anew.
    Rewritten {
        /// Which record.
        seq: u64,
        /// Who says so: `a checkpoint of …`, `the witness`.
        by: String,
    },
    /// What a repair set aside is not as it was.
    NotKept {
        /// The repair's record.
        seq: u64,
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The ledger once went further than it does.
    TailMissing {
        /// The first record that is missing.
        from: u64,
        /// The last that is known to be.
        to: u64,
        /// Who says so.
        by: String,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Altered { seq, place, reason } => {
                write!(f, "record {seq} was altered ({place}): {reason}")
            }
            Self::Replaced { seq, place } => {
                write!(f, "record {seq} was exchanged: the record after it ({place}) continues another")
            }
            Self::Removed { from, to, place } if from == to => {
                write!(f, "record {from} was removed (before {place})")
            }
            Self::Removed { from, to, place } => {
                write!(f, "records {from} to {to} were removed (before {place})")
            }
            Self::Inserted { seq, place } => {
                write!(
                    f,
                    "a record was inserted ({place}): it calls itself {seq}, and there is one before it"
                )
            }
            Self::Reordered { seq, place, found } => {
                write!(f, "record {seq} was moved: it should be at {place} and is at {found}")
            }
            Self::Misnamed { named, seq, place } => {
                write!(f, "{place} should begin with record {named} by its name, and begins with {seq}")
            }
            Self::BadCheckpoint { place, reason } => write!(f, "the checkpoint at {place} is bad: {reason}"),
            Self::Rewritten { seq, by } => {
                write!(
                    f,
                    "record {seq} is not the one that {by} tells of: the ledger was written anew up to it"
                )
            }
            Self::NotKept { seq, file, reason } => {
                write!(f, "what record {seq} set aside is not kept as it was ({}): {reason}", file.display())
            }
            Self::TailMissing { from, to, by } => {
                write!(f, "records {from} to {to} are missing at the end: {by} tells of them")
            }
        }
    }
}
