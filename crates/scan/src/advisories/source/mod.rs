//! Where advisories come from, and the update of the store from there.

mod alpine;
mod archive;
mod debian;
mod download;
mod local;
mod run;

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use kiln_model::Digest;

pub use run::{Report, update};

use super::AdvisoryError;
use super::osv::Advisory;

/// Something that advisories are read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A folder, an archive or a document in the layout of OSV's exports: `<ecosystem>/all.zip`, `<ecosystem>.zip`,
    /// `<ecosystem>/**/<id>.json` or `<id>.json`.
    Osv(PathBuf),
    /// An HTTP server that has `<base>/<ecosystem>/all.zip`.
    Mirror {
        /// The address without the ecosystem; [`Source::OSV`] is OSV's own.
        base: String,
        /// The ecosystems to fetch, as OSV names them.
        ecosystems: Vec<String>,
    },
    /// The JSON export of Debian's security tracker: a file, or an address such as [`Source::DEBIAN`].
    Debian(String),
    /// Alpine's security database for one branch and repository: a file, a folder of such, or an address like
    /// `https://secdb.alpinelinux.org/v3.20/main.json`.
    Alpine(String),
}

impl Source {
    /// OSV's public export.
    pub const OSV: &'static str = "https://osv-vulnerabilities.storage.googleapis.com";
    /// Debian's public export.
    pub const DEBIAN: &'static str = "https://security-tracker.debian.org/tracker/data/json";
}

/// Bounds of what is read; whatever exceeds them is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one file or download. OSV's largest export has about 1.5 GB.
    pub file: u64,
    /// Bytes of one unpacked document. The largest real ones have about 5 MB.
    pub document: u64,
    /// Documents of one source. OSV's largest export has about 1.3 million.
    pub documents: u64,
    /// Bytes of all unpacked documents of one source.
    pub unpacked: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { file: 4 << 30, document: 16 << 20, documents: 4_000_000, unpacked: 64 << 30 }
    }
}

/// A point that an update passes, for progress and for tests that stop there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// The store is locked.
    Locked,
    /// Bytes of a download arrived: how many there are now.
    Downloaded(&'a str, u64),
    /// A source's files are there.
    Fetched(&'a str),
    /// A source's data file is finished.
    Built(&'a str),
    /// The data file has its final name.
    Placed(&'a str),
    /// A moment of the replacement of the pointer.
    Pointer(&'a str),
    /// What is no longer needed is removed.
    Swept,
}

/// How an update goes about.
#[derive(Clone)]
pub struct UpdateOptions {
    /// Bounds of what is read.
    pub limits: Limits,
    /// How often an address is asked in all when it fails in a way that may pass.
    pub attempts: u32,
    /// How long a connection may take, and how long a server may be silent.
    pub timeout: std::time::Duration,
    /// Told of every step.
    pub step: Arc<dyn Fn(Step<'_>) + Send + Sync>,
}

impl Default for UpdateOptions {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            attempts: 4,
            timeout: std::time::Duration::from_secs(30),
            step: Arc::new(|_| {}),
        }
    }
}

impl std::fmt::Debug for UpdateOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpdateOptions")
            .field("limits", &self.limits)
            .field("attempts", &self.attempts)
            .finish()
    }
}

/// A document that was passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The file, with the archive that it is in.
    pub file: String,
    /// Why.
    pub reason: String,
}

/// The files of one source, ready to be read.
#[derive(Debug)]
struct Input {
    name: String,
    origin: String,
    raw: Digest,
    etag: Option<String>,
    served: Option<Timestamp>,
    parts: Vec<Part>,
}

/// A file of a source, in one of the shapes that can be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Zip(PathBuf),
    Json(PathBuf),
    Debian(PathBuf),
    Alpine(PathBuf),
}

/// What takes the advisories of a conversion.
type Sink<'a> = dyn FnMut(Advisory) -> Result<(), AdvisoryError> + 'a;
