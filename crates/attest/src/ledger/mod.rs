//! The ledger: the append-only, hash-chained record of every act.
//!
//! ```text
//! ledger-0000000000000001.jsonl   records 1 … as lines of JSON; the name is the first record's number
//! ledger-0000000000004711.jsonl   the next file, begun when the former would have outgrown its limit
//! checkpoints.jsonl               signed heads, one DSSE envelope a line
//! torn-…                          what a crash left of a line that was never acknowledged
//! damaged-…                       what a repair set aside
//! sources.json                    a cache: the last event taken from each source; may be deleted
//! lock                            held while somebody appends
//! ```
//!
//! A record is one line. It ends with `,"hash":"sha256:<64 hex digits>"}` and a newline; the hash is the SHA-256 of
//! all bytes of the line before that ending. Among these bytes are `seq`, which counts from 1, and
//! `prev`, the hash of the record before (of the first: zeros). So the canonical bytes are those that are there: no
//! reader has to write JSON the way Kiln does in order to verify.
//!
//! The chain shows what was altered, removed, inserted or reordered, unless everything after it was computed anew.
//! That, and a tail cut off, only shows against something that the forger cannot sign: a [`Checkpoint`], or a
//! [`Head`] that was kept elsewhere.
//!
//! After a damage the chain goes on when a person says so ([`Ledger::repair`]): one record tells who, when, why and what
//! was set aside, and it alone may leave numbers out.
//!
//! An append is acknowledged when it is on the disk. What a crash leaves of an append that was not is a line without
//! its end; the next append keeps that in a file of its own and says so. Appending reads the end of the last file
//! and nothing else. The lock is the kernel's (`flock`): it is free when its holder dies.

mod append;
mod checkpoint;
mod line;
mod lines;
mod problem;
mod read;
mod repair;
mod source;
mod tail;
mod verify;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use kiln_model::Digest;
use serde::{Deserialize, Serialize};

use crate::keys::SignError;

pub use append::Appended;
pub use checkpoint::{CHECKPOINT_PAYLOAD, Checkpoint};
pub use line::{Entry, Record, Source};
pub use problem::{Place, Problem};
pub use read::{Filter, Records};
pub use repair::{Aside, Gap, Repair};
pub use verify::{Report, Torn};

/// A record is no longer than this, with all that it tells.
pub const LINE_MAX: usize = 1 << 20;

/// A ledger's folder. Opening is cheap; several processes and threads may have it open and append at once.
#[derive(Clone, Debug)]
pub struct Ledger {
    folder: PathBuf,
    segment_bytes: u64,
}

/// Where a ledger ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Number of the last record.
    pub seq: u64,
    /// Its hash.
    pub hash: Digest,
}

/// Why the ledger cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The operating system refused.
    #[error("cannot {act} {}", path.display())]
    Io {
        /// What was being done.
        act: &'static str,
        /// To which file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A record is not as it was written.
    #[error(
        "{place} is damaged: {reason}; nothing was changed: `kiln ledger verify` says more, and `kiln ledger repair` goes on after it"
    )]
    Damaged {
        /// Which.
        place: Place,
        /// What is wrong with it.
        reason: String,
    },
    /// Too much to tell in one record.
    #[error("a record {what:?} of {bytes} bytes is too long: the limit is {LINE_MAX} bytes")]
    TooLong {
        /// What it tells of.
        what: String,
        /// Its length.
        bytes: usize,
    },
    /// It cannot be written as JSON.
    #[error("cannot write a record {what:?} as JSON")]
    Json {
        /// What it tells of.
        what: String,
        /// The writer's answer.
        #[source]
        source: serde_json::Error,
    },
    /// The key failed.
    #[error("cannot sign the ledger's head")]
    Sign(#[source] SignError),
    /// What was exported could not be passed on.
    #[error("cannot write the exported records")]
    Export(#[source] io::Error),
}

impl Ledger {
    /// Files are closed when they reach this size: a record of 400 bytes has room 20,000 times.
    pub const SEGMENT_BYTES: u64 = 8 << 20;

    /// Opens the ledger in a folder, and makes the folder when there is none.
    pub fn open(folder: &Path) -> Result<Self, LedgerError> {
        Self::open_with(folder, Self::SEGMENT_BYTES)
    }

    /// Opens a ledger whose files are closed at another size.
    pub fn open_with(folder: &Path, segment_bytes: u64) -> Result<Self, LedgerError> {
        fs::create_dir_all(folder).map_err(at("make folder", folder))?;
        Ok(Self { folder: folder.into(), segment_bytes })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the ledger ends; none when it is empty.
    pub fn head(&self) -> Result<Option<Head>, LedgerError> {
        let _lock = self.lock()?;
        Ok(self.tail()?.head)
    }

    /// Waits for the ledger's lock, and finishes a repair that was interrupted.
    fn lock(&self) -> Result<File, LedgerError> {
        let path = self.folder.join("lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(at("open the lock", &path))?;
        file.lock().map_err(at("lock", &path))?;
        self.finish_repair()?;
        Ok(file)
    }

    /// Makes a name that was made or changed in the folder survive a power cut.
    fn flush_folder(&self) -> Result<(), LedgerError> {
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(at("flush", &self.folder))
    }
}

fn at(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LedgerError {
    let path = path.to_owned();
    move |source| LedgerError::Io { act, path, source }
}
