//! Tar as layers use it: ustar with PAX records. The reader is for bytes that nobody vouches for: it holds a
//! bounded amount in memory, never seeks, and says what it refuses. The writer makes equal bytes from equal
//! trees.

mod read;
mod write;

pub use read::{Entry, EntryKind, TarError, TarReader};
pub use write::TarWriter;

/// The unit of a tar file in bytes.
pub(crate) const BLOCK: usize = 512;
