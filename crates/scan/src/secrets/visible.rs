//! Whether a file of a layer is still in the image that all layers amount to.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use kiln_store::{Entry, EntryKind, Marker, clean_path, marker};

const HERE: u8 = 1;
/// Here, and no folder, so that nothing below it is left.
const LEAF: u8 = 2;
const GONE: u8 = 4;
const OPAQUE: u8 = 8;

/// What a layer does to those below it. Paths are kept as 64-bit hashes: 2 million of them, the most that a layer may
/// have, are 34 MB.
#[derive(Debug, Default)]
pub(crate) struct Cover(HashMap<u64, u8>);

fn hash(path: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}

impl Cover {
    /// Notes an entry, and tells its clean path when it is a regular file.
    pub(crate) fn note(&mut self, entry: &Entry) -> Option<String> {
        let path = clean_path(&entry.path).ok()?;
        let (key, mark) = match marker(&path) {
            Ok(Some(Marker::Gone(target))) => (hash(&target), GONE),
            Ok(Some(Marker::Opaque(folder))) => (hash(&folder), OPAQUE),
            Ok(Some(Marker::Ignored)) | Err(_) => return None,
            Ok(None) if entry.kind == EntryKind::Folder => (hash(&path), HERE),
            Ok(None) => (hash(&path), HERE | LEAF),
        };
        *self.0.entry(key).or_default() |= mark;
        let file = entry.kind == EntryKind::File && mark & LEAF != 0;
        file.then(|| String::from_utf8_lossy(&path).into_owned())
    }

    /// Whether a file of a lower layer cannot be seen any more.
    pub(crate) fn hides(&self, path: &str) -> bool {
        let marks = |path: &[u8]| self.0.get(&hash(path)).copied().unwrap_or(0);
        let path = path.as_bytes();
        if marks(path) & (HERE | GONE) != 0 {
            return true;
        }
        let folders = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| &path[..at]);
        folders.chain([&[][..]]).any(|folder| marks(folder) & (LEAF | GONE | OPAQUE) != 0)
    }
}
