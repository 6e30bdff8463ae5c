//! What an image holds, read from its layers without extracting them: for differences between images, and to
//! take files from one with the owners that an ordinary user's extracted tree cannot have.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use kiln_model::Digest;
use sha2::{Digest as _, Sha256};

use crate::layer_show as show;
use crate::{
    Content, Entry, EntryKind, Kind, LayerError, LayerRef, Marker, Node, Store, StoreError, TarError,
    TarReader, Tree, clean_link, clean_path, marker,
};

/// As many links as Linux follows in one path.
const LINK_LIMIT: usize = 40;

/// One file, folder or link of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its header, with clean path and link target.
    pub entry: Entry,
    /// Digest of a file's content, when asked for.
    pub content: Option<Digest>,
}

/// All that the layers of an image amount to, by path.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// Items by clean path; the root itself is not among them.
    pub items: BTreeMap<Vec<u8>, Item>,
}

impl Store {
    /// Reads layers and puts one over the other. With `digests`, files are hashed.
    pub fn contents(&self, layers: &[LayerRef], digests: bool) -> Result<Contents, StoreError> {
        let mut contents = Contents::default();
        for layer in layers {
            let mut tar = TarReader::new(self.open_layer(layer)?);
            let result = read_layer(&mut tar, digests, self.limits().layer_entries);
            let mut stream = tar.into_inner();
            let entries = result.map_err(|error| {
                let source = stream.tripped().unwrap_or(error);
                StoreError::Layer { digest: layer.blob.digest, source }
            })?;
            stream.finish(self, layer)?;
            contents
                .apply(entries)
                .map_err(|source| StoreError::Layer { digest: layer.blob.digest, source })?;
        }
        Ok(contents)
    }

    /// An image as a tree whose files are those of its extracted root file system.
    pub fn image_tree(&self, manifest: &Digest) -> Result<Tree, StoreError> {
        let root = self.tree(manifest)?;
        self.tree_at(&root, &self.image(manifest)?.layers)
    }

    /// Some layers as a tree whose files are those of their extracted tree.
    pub fn layers_tree(&self, layers: &[LayerRef]) -> Result<Tree, StoreError> {
        let root = self.chain_tree(layers)?;
        self.tree_at(&root, layers)
    }

    fn tree_at(&self, root: &Path, layers: &[LayerRef]) -> Result<Tree, StoreError> {
        let contents = self.contents(layers, false)?;
        let nodes = contents.items.into_iter().map(|(path, item)| {
            let node = node(root, &path, item.entry);
            (path, node)
        });
        Ok(Tree { nodes: nodes.collect() })
    }
}

fn node(root: &Path, path: &[u8], entry: Entry) -> Node {
    let kind = match entry.kind {
        EntryKind::Folder | EntryKind::Device | EntryKind::Fifo => Kind::Folder,
        EntryKind::Symlink => Kind::Symlink(entry.link),
        EntryKind::Hardlink => Kind::Hardlink(entry.link),
        EntryKind::File => Kind::File(Content::Slice {
            path: Arc::new(root.join(std::ffi::OsStr::from_bytes(path))),
            offset: 0,
            len: entry.size,
        }),
    };
    Node { kind, mode: entry.mode, uid: entry.uid, gid: entry.gid, mtime: entry.mtime, xattrs: entry.xattrs }
}

fn read_layer<R: Read>(tar: &mut TarReader<R>, digests: bool, limit: u64) -> Result<Vec<Item>, LayerError> {
    let mut items = Vec::new();
    while let Some(entry) = tar.next_entry()? {
        if items.len() as u64 >= limit {
            return Err(LayerError::TooManyEntries { limit });
        }
        match entry.kind {
            EntryKind::Device => return Err(LayerError::Device { path: show(&entry.path) }),
            EntryKind::Fifo => return Err(LayerError::Fifo { path: show(&entry.path) }),
            _ => {}
        }
        let content = if digests && entry.kind == EntryKind::File {
            Some(hash(tar).map_err(TarError::Read)?)
        } else {
            None
        };
        items.push(Item { entry, content });
    }
    Ok(items)
}

fn hash(source: &mut impl Read) -> io::Result<Digest> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match source.read(&mut buffer)? {
            0 => return Ok(Digest::from_bytes(hash.finalize().into())),
            read => hash.update(&buffer[..read]),
        }
    }
}

impl Contents {
    /// Whiteouts hide what is below the layer, wherever they stand in it: they come first.
    fn apply(&mut self, items: Vec<Item>) -> Result<(), LayerError> {
        let mut rest = Vec::with_capacity(items.len());
        for mut item in items {
            let path = clean_path(&item.entry.path)?;
            match marker(&path)? {
                Some(Marker::Gone(target)) => self.remove(&target),
                Some(Marker::Opaque(folder)) => self.clear(&folder),
                Some(Marker::Ignored) => {}
                None if path.is_empty() => {}
                None => {
                    item.entry.path = path;
                    rest.push(item);
                }
            }
        }
        rest.into_iter().try_for_each(|item| self.insert(item))
    }

    fn insert(&mut self, mut item: Item) -> Result<(), LayerError> {
        let path = self.resolve_parent(&item.entry.path)?;
        if item.entry.kind == EntryKind::Hardlink {
            let target = clean_link(&item.entry.path, &item.entry.link)?;
            item.entry.link = self.resolve_parent(&target)?;
        }
        let folder = item.entry.kind == EntryKind::Folder;
        if !folder || self.items.get(&path).is_some_and(|old| old.entry.kind != EntryKind::Folder) {
            self.clear(&path);
        }
        item.entry.path.clone_from(&path);
        self.items.insert(path, item);
        Ok(())
    }

    fn remove(&mut self, path: &[u8]) {
        // A path below a link of a lower layer is where the link leads.
        let path = self.resolve_parent(path).unwrap_or_else(|_| path.to_vec());
        self.clear(&path);
        self.items.remove(&path);
    }

    fn clear(&mut self, folder: &[u8]) {
        let prefix = if folder.is_empty() { Vec::new() } else { [folder, b"/"].concat() };
        let below = self.items.range(prefix.clone()..).map(|(path, _)| path.clone());
        let gone: Vec<Vec<u8>> = below.take_while(|path| path.starts_with(&prefix)).collect();
        for path in gone {
            self.items.remove(&path);
        }
    }

    fn resolve_parent(&self, path: &[u8]) -> Result<Vec<u8>, LayerError> {
        let Some(slash) = path.iter().rposition(|b| *b == b'/') else { return Ok(path.to_vec()) };
        let mut todo: Vec<Vec<u8>> = parts(&path[..slash]).rev().collect();
        let mut done: Vec<u8> = Vec::new();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            if part == b".." {
                let parent = done.iter().rposition(|b| *b == b'/').unwrap_or(0);
                done.truncate(parent);
                continue;
            }
            let here = if done.is_empty() { part } else { [&done, &b"/"[..], &part].concat() };
            match self.items.get(&here).map(|item| &item.entry) {
                Some(entry) if entry.kind == EntryKind::Symlink => {
                    links += 1;
                    if links > LINK_LIMIT {
                        let reason = "lies below a loop of symbolic links";
                        return Err(LayerError::Name { path: show(path), reason });
                    }
                    if entry.link.starts_with(b"/") {
                        done.clear();
                    }
                    todo.extend(parts(&entry.link).rev());
                }
                _ => done = here,
            }
        }
        let name = &path[slash + 1..];
        Ok(if done.is_empty() { name.to_vec() } else { [&done, &b"/"[..], name].concat() })
    }
}

fn parts(path: &[u8]) -> impl DoubleEndedIterator<Item = Vec<u8>> {
    path.split(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b".").map(<[u8]>::to_vec)
}
