//! Why there is no inventory.

use std::io;
use std::path::PathBuf;

use kiln_model::Digest;
use kiln_store::{LayerError, StoreError};

/// Why an image or folder could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScanError {
    /// The store does not hold the image, or what it holds is damaged.
    #[error("cannot read the image")]
    Store(#[from] StoreError),
    /// A layer is no good archive.
    #[error("cannot read layer {digest}")]
    Layer {
        /// The layer's blob.
        digest: Digest,
        /// Why.
        #[source]
        source: LayerError,
    },
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
    /// A thread ended in a way it must not.
    #[error("a thread that read {what} died; this is a defect of Kiln")]
    Died {
        /// What it was reading.
        what: String,
    },
    /// More packages or files than any real image has.
    #[error("{what} holds more than {limit} {things}; it is refused")]
    TooMany {
        /// Which layer or folder.
        what: String,
        /// What there are too many of.
        things: &'static str,
        /// The limit.
        limit: u64,
    },
}
