//! What can go wrong in a store. Every text names the object and the act; causes are in the source chain.

use std::io;
use std::path::{Path, PathBuf};

use kiln_model::Digest;

use crate::{LayerError, TarError};

/// Why an operation of the store failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
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
    /// The disk is full; nothing half-written stays.
    #[error(
        "cannot {act} {}: no space left ({free} bytes free there); free some, or point KILN_HOME at a larger disk",
        path.display()
    )]
    Full {
        /// What was being done.
        act: &'static str,
        /// To which file.
        path: PathBuf,
        /// Bytes that an ordinary user could still write there.
        free: u64,
    },
    /// The folder is something else than a store.
    #[error("{} is not an image store: {reason}", path.display())]
    NotAStore {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of the store does not hold what it must.
    #[error("{} is damaged: {reason}; {remedy}", path.display())]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A blob is not in the store.
    #[error("the store holds no blob {digest}; bake the image again, or `kiln image import` it")]
    Missing {
        /// The blob's digest.
        digest: Digest,
    },
    /// Bytes that were to become a blob have another digest or length than promised.
    #[error("{what} is not what it should be: expected {expected}, got {actual}")]
    Mismatch {
        /// Which bytes.
        what: String,
        /// Digest or length that was promised.
        expected: String,
        /// Digest or length found.
        actual: String,
    },
    /// No image of this name.
    #[error("no image {reference:?} in the store{}; `kiln image list` shows what there is", near(.nearest.as_deref()))]
    NoSuchImage {
        /// Tag, digest or prefix asked for.
        reference: String,
        /// The most similar tag.
        nearest: Option<String>,
    },
    /// An index has no image for this machine.
    #[error("the index {index} has no image for {wanted}, only for {known}")]
    NoPlatform {
        /// The index.
        index: Digest,
        /// This machine's platform.
        wanted: String,
        /// What there is.
        known: String,
    },
    /// A digest prefix fits several images.
    #[error("{prefix:?} fits {count} images; write more of the digest")]
    Ambiguous {
        /// The prefix.
        prefix: String,
        /// How many images it fits.
        count: usize,
    },
    /// A tag that cannot be one.
    #[error(
        "{tag:?} cannot be a tag: use 1 to 128 letters, digits and `_ . - / :`, beginning with a letter or digit; \
         `sha256-` and a digest's digits is kept for lists of evidence"
    )]
    BadTag {
        /// The text.
        tag: String,
    },
    /// Too much evidence about one image.
    #[error("there are {limit} pieces of evidence about {subject}, and no more are kept; remove some first")]
    TooManyReferrers {
        /// The image.
        subject: Digest,
        /// The most there may be.
        limit: usize,
    },
    /// A blob is not the JSON document it should be.
    #[error("{what} cannot be understood")]
    Document {
        /// Which document.
        what: String,
        /// The parser's answer.
        #[source]
        source: serde_json::Error,
    },
    /// A layer is refused or unreadable.
    #[error("layer {digest} is refused")]
    Layer {
        /// The layer's blob.
        digest: Digest,
        /// Why.
        #[source]
        source: LayerError,
    },
    /// A file cannot be imported.
    #[error("cannot import {}: {reason}", path.display())]
    Import {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An archive to be imported is not a good tar file.
    #[error("cannot import {}", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: TarError,
    },
}

fn near(nearest: Option<&str>) -> String {
    nearest.map(|name| format!(" (did you mean {name:?}?)")).unwrap_or_default()
}

/// Makes an error mapper for one act on one file: `.map_err(at("read", &path))`. A full disk becomes
/// [`StoreError::Full`].
pub fn at(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| {
        if source.kind() == io::ErrorKind::StorageFull {
            return StoreError::Full { act, free: free_bytes(&path), path };
        }
        StoreError::Io { act, path, source }
    }
}

fn free_bytes(path: &Path) -> u64 {
    path.ancestors()
        .find_map(|folder| rustix::fs::statvfs(folder).ok())
        .map_or(0, |fs| fs.f_bavail.saturating_mul(fs.f_frsize))
}
