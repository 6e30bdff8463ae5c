//! What happens during a transfer, as plain data for whoever watches.

use std::sync::Arc;
use std::time::Duration;

use kiln_model::Digest;
use serde::Serialize;

/// How a blob came to where it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// Its bytes were moved.
    Moved,
    /// It was there already.
    Present,
    /// The registry took it from another of its repositories.
    Mounted,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// What there is to do is known.
    Planned {
        /// Blobs of the image, whether or not they are there already.
        blobs: usize,
        /// Their bytes.
        bytes: u64,
    },
    /// Bytes came or went.
    Bytes {
        /// How many since the last such event.
        count: u64,
    },
    /// Bytes that were told of must be moved once more.
    Lost {
        /// How many.
        count: u64,
    },
    /// A blob is where it should be.
    Blob {
        /// Which.
        digest: Digest,
        /// Its length in bytes.
        size: u64,
        /// How it came there.
        how: How,
    },
    /// A manifest is where it should be.
    Manifest {
        /// Which.
        digest: Digest,
    },
    /// A signature, attestation or other document about the image goes along.
    Evidence {
        /// Its manifest.
        digest: Digest,
    },
    /// Something is tried again.
    Retry {
        /// What went wrong.
        why: String,
        /// How long is waited.
        pause: Duration,
    },
}

/// Who is told. Cloning is cheap.
#[derive(Clone)]
pub struct Progress(Option<Arc<dyn Fn(Event) + Send + Sync>>);

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Progress" } else { "Progress::none()" })
    }
}

impl Progress {
    /// Calls this with every event, from whatever thread it happens on; it must not block.
    pub fn new(tell: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(tell)))
    }

    /// Nobody watches.
    pub const fn none() -> Self {
        Self(None)
    }

    pub(super) fn tell(&self, event: Event) {
        if let Some(tell) = &self.0 {
            tell(event);
        }
    }
}

/// What was moved in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Blobs whose bytes were moved.
    pub moved: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs that were there already.
    pub present: usize,
    /// Blobs that the registry took from another of its repositories.
    pub mounted: usize,
}

impl Totals {
    pub(super) fn add(&mut self, how: How, size: u64) {
        match how {
            How::Moved => {
                self.moved += 1;
                self.bytes += size;
            }
            How::Present => self.present += 1,
            How::Mounted => self.mounted += 1,
        }
    }
}
