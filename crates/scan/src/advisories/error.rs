//! What can go wrong with the local store of advisories and its sources.

use std::path::PathBuf;

/// A fault of the store or of a source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdvisoryError {
    /// There is no store yet.
    #[error("no advisories in {}: fetch some first with `kiln advisories update`", .dir.display())]
    Empty {
        /// The store's folder.
        dir: PathBuf,
    },
    /// The store was written in another format.
    #[error("the advisories in {} have format {found}, this Kiln reads {expected}: run `kiln advisories update`", .dir.display())]
    Format {
        /// The store's folder.
        dir: PathBuf,
        /// What it says.
        found: u32,
        /// What this version reads.
        expected: u32,
    },
    /// Another process updates the same store.
    #[error("another update of {} is running", .dir.display())]
    Busy {
        /// The store's folder.
        dir: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("cannot {act} {}", .path.display())]
    File {
        /// What was tried, such as `read`.
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The pointer to the current data is no JSON of its shape.
    #[error("the store's list of sources, {}, is damaged: run `kiln advisories update`", .path.display())]
    Pointer {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// A data file cannot be read or written.
    #[error("cannot {act} the advisories in {}", .path.display())]
    Data {
        /// What was tried.
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: rusqlite::Error,
    },
    /// A stored entry cannot be read back.
    #[error("an entry about {name} in {} is damaged: run `kiln advisories update`", .path.display())]
    Entry {
        /// The data file.
        path: PathBuf,
        /// The package, or the advisory's id.
        name: String,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// A data file does not hold what the pointer says of it.
    #[error("the advisories of {name} have digest {found}, not {expected}: run `kiln advisories update`")]
    Digest {
        /// The source's name.
        name: String,
        /// What was counted now.
        found: kiln_model::Digest,
        /// What was counted when it was built.
        expected: kiln_model::Digest,
    },
    /// A source is no archive that can be read.
    #[error("cannot read the archive {}", .path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: zip::result::ZipError,
    },
    /// A source is larger than the limits allow.
    #[error("{what} of {from} is larger than {limit}")]
    TooLarge {
        /// Which measure.
        what: &'static str,
        /// The source.
        from: String,
        /// The bound.
        limit: u64,
    },
    /// A source has nothing in it that is an advisory.
    #[error("{from} holds no advisory{hint}")]
    NoAdvisories {
        /// The source.
        from: String,
        /// The first thing that was wrong with what it holds, if it holds anything.
        hint: String,
    },
    /// A source is no JSON of the shape that was promised.
    #[error("{from} is not {expected}")]
    Shape {
        /// The source.
        from: String,
        /// What it should be.
        expected: &'static str,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// A download had no good end.
    #[error("cannot download {url}: {reason}")]
    Download {
        /// The address.
        url: String,
        /// Why not.
        reason: String,
    },
    /// The HTTP client cannot be made.
    #[error("cannot prepare downloads: {reason}")]
    Client {
        /// Why not.
        reason: String,
    },
}

impl AdvisoryError {
    /// For `map_err` on file operations.
    pub(crate) fn file(
        act: &'static str,
        path: &std::path::Path,
    ) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::File { act, path, source }
    }

    /// For `map_err` on operations of a data file.
    pub(crate) fn data(
        act: &'static str,
        path: &std::path::Path,
    ) -> impl FnOnce(rusqlite::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Data { act, path, source }
    }
}
