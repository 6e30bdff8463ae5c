//! Layers: reading them as bytes that nobody vouches for.

mod decode;
mod error;
mod members;
mod names;
mod reader;
mod source;
mod stream;

pub use error::LayerError;
pub(crate) use error::show;
pub use names::{Marker, clean_link, clean_path, marker};
pub use stream::LayerStream;

use kiln_model::Digest;

use crate::oci::Descriptor;

/// A layer of an image: its blob, and the digest of its uncompressed bytes.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LayerRef {
    /// The blob.
    pub blob: Descriptor,
    /// Digest of the uncompressed tar.
    pub diff_id: Digest,
}

/// What the layers of one image may hold at most.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Uncompressed bytes of one layer. Default 32 GiB.
    pub layer_bytes: u64,
    /// Entries of one layer. Default 2 million; a full desktop has half a million files.
    pub layer_entries: u64,
    /// Uncompressed bytes per compressed byte, looked at beyond [`Limits::ratio_after`]. Default 400: deflate
    /// cannot pass 1032, and real root file systems stay below 10.
    pub ratio: u64,
    /// Uncompressed bytes from which the ratio counts. Default 64 MiB.
    pub ratio_after: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { layer_bytes: 32 << 30, layer_entries: 2_000_000, ratio: 400, ratio_after: 64 << 20 }
    }
}
