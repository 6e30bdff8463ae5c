//! Final metadata of folders. While a tree is built every folder is the owner's to write; modes, owners and
//! times come last, the deepest folders first.

use std::collections::BTreeMap;

/// What a folder or file gets besides its content.
#[derive(Clone, Debug, Default)]
pub(super) struct Meta {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: i64,
    pub(super) xattrs: BTreeMap<String, Vec<u8>>,
}

/// The folders of a tree in the making.
#[derive(Debug, Default)]
pub(super) struct Folders {
    metas: BTreeMap<Vec<u8>, Meta>,
}

impl Folders {
    pub(super) fn set(&mut self, path: &[u8], meta: Meta) {
        self.metas.insert(path.to_vec(), meta);
    }

    /// Forgets a folder that was removed, and all below it.
    pub(super) fn forget(&mut self, path: &[u8]) {
        self.metas.remove(path);
        let below = [path, b"/"].concat();
        let gone: Vec<Vec<u8>> = self
            .metas
            .range(below.clone()..)
            .map(|(key, _)| key)
            .take_while(|key| key.starts_with(&below))
            .cloned()
            .collect();
        for key in gone {
            self.metas.remove(&key);
        }
    }

    /// Deepest first.
    pub(super) fn finish(self) -> impl Iterator<Item = (Vec<u8>, Meta)> {
        self.metas.into_iter().rev()
    }
}
