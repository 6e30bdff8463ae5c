//! Why a layer is refused.

use std::io;

use kiln_model::Digest;

use crate::TarError;

/// Why a layer is refused. Every variant that is about an entry names it as the archive does.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// It is not a good archive.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// A name that no image needs.
    #[error("entry {path:?} {reason}")]
    Name {
        /// The entry.
        path: String,
        /// What is wrong with the name.
        reason: &'static str,
    },
    /// A symbolic link in the path leads out of the image.
    #[error("entry {path:?} leads out of the image through the symbolic link {link:?}")]
    Escape {
        /// The entry.
        path: String,
        /// The link.
        link: String,
    },
    /// The layer puts an entry below a symbolic link that it made itself.
    #[error("entry {path:?} lies below the symbolic link {link:?} of the same layer")]
    BelowLink {
        /// The entry.
        path: String,
        /// The link.
        link: String,
    },
    /// A parent is something else than a folder.
    #[error("entry {path:?} lies below a file")]
    BelowFile {
        /// The entry.
        path: String,
    },
    /// A device node.
    #[error("entry {path:?} is a device node; images do not carry those")]
    Device {
        /// The entry.
        path: String,
    },
    /// A named pipe.
    #[error("entry {path:?} is a named pipe; images do not carry those")]
    Fifo {
        /// The entry.
        path: String,
    },
    /// A hard link to nothing, to a folder, or out of the image.
    #[error("entry {path:?} is a hard link to {target:?}, which is no file of the image")]
    Hardlink {
        /// The entry.
        path: String,
        /// What it should be another name of.
        target: String,
    },
    /// The same name twice.
    #[error("entry {path:?} appears twice")]
    Duplicate {
        /// The entry.
        path: String,
    },
    /// More entries than the limit.
    #[error("it has more than {limit} entries")]
    TooManyEntries {
        /// The limit.
        limit: u64,
    },
    /// More bytes than the limit.
    #[error("it unpacks to more than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// A decompression bomb.
    #[error("it unpacks to more than {ratio} times its size, as decompression bombs do")]
    Bomb {
        /// The limit.
        ratio: u64,
    },
    /// The image's configuration promised other bytes.
    #[error(
        "its uncompressed content has the digest {actual}, but the image's configuration says {expected}"
    )]
    DiffId {
        /// What the configuration says.
        expected: Digest,
        /// What was found.
        actual: Digest,
    },
    /// The file system refused.
    #[error("cannot {act} {path:?} in the tree")]
    Io {
        /// What was being done.
        act: &'static str,
        /// The entry.
        path: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

pub(crate) fn show(path: &[u8]) -> String {
    String::from_utf8_lossy(path).chars().take(300).collect()
}
