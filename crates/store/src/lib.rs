//! Images on disk: content-addressed blobs in a valid OCI image layout, tags, and extracted root file systems.
//!
//! The store knows nothing about recipes or services. Everything in it that has a name is whole: bytes are
//! written under a temporary name, checked, and renamed. Several processes may use a store at once.

mod blob;
mod collect;
mod contents;
mod error;
mod index;
mod layer;
pub mod oci;
mod referrers;
mod report;
mod session;
mod store;
pub mod tar;
mod transfer;
mod tree;
mod trees;

pub use blob::{BlobWriter, Staged};
pub use collect::{Collected, Released};
pub use contents::{Contents, Item};
pub use error::{StoreError, at};
pub use layer::{LayerError, LayerRef, LayerStream, Limits, Marker, clean_link, clean_path, marker};
pub use oci::Descriptor;
pub use referrers::REFERRERS_MAX;
pub use report::{Change, Difference, HistoryLine, ImageInfo, Inspection, Side};
pub use session::remove_tree;
pub use store::{Lock, Store};
pub use tar::{Entry, EntryKind, TarError, TarReader, TarWriter};
pub use transfer::{Exported, Format};
pub use tree::{Content, Kind, Node, Tree};
pub use trees::Image;

pub(crate) use layer::show as layer_show;
