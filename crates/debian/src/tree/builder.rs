//! A tree while it is made.

use std::collections::BTreeMap;
use std::sync::Arc;

use kiln_store::{Content, Kind, Node, Tree};

use crate::Error;

/// How many links a name may lead through, as in Linux.
const LINKS: usize = 40;

/// A tree with ways to find one's way in it.
pub(super) struct Builder {
    pub(super) tree: Tree,
    /// The time of what we add, seconds since the Unix epoch.
    pub(super) epoch: i64,
}

impl Builder {
    pub(super) fn new(epoch: i64) -> Self {
        Self { tree: Tree::default(), epoch }
    }

    fn node(&self, kind: Kind, mode: u32) -> Node {
        Node { kind, mode, uid: 0, gid: 0, mtime: self.epoch, xattrs: BTreeMap::new() }
    }

    /// Adds a root-owned file, in place of what is there. Links on the way are followed.
    pub(super) fn file(&mut self, path: &str, mode: u32, bytes: impl Into<Arc<[u8]>>) {
        let path = self.place(path.as_bytes());
        let node = self.node(Kind::File(Content::Bytes(bytes.into())), mode);
        self.tree.nodes.insert(path, node);
    }

    /// Adds a symbolic link unless the name is taken; a folder in its place is taken too.
    pub(super) fn link(&mut self, path: &str, target: impl Into<Vec<u8>>) {
        let path = self.place(path.as_bytes());
        let node = self.node(Kind::Symlink(target.into()), 0o777);
        self.tree.nodes.entry(path).or_insert(node);
    }

    /// Adds a folder, or sets the mode of one.
    pub(super) fn folder(&mut self, path: &str, mode: u32) {
        let path = self.place(path.as_bytes());
        let fresh = self.node(Kind::Folder, mode);
        let node = self.tree.nodes.entry(path).or_insert(fresh);
        if matches!(node.kind, Kind::Folder) {
            node.mode = mode;
        }
    }

    /// The name with every link on the way followed, but not the last part. Names that lead nowhere stay.
    fn place(&self, path: &[u8]) -> Vec<u8> {
        match path.iter().rposition(|b| *b == b'/') {
            None => path.to_vec(),
            Some(at) => {
                let mut place = self.resolve(&path[..at]);
                place.extend_from_slice(&path[at..]);
                place
            }
        }
    }

    /// The name with every link followed; a name that leads nowhere is resolved as far as it goes.
    pub(super) fn resolve(&self, path: &[u8]) -> Vec<u8> {
        let mut rest: Vec<Vec<u8>> = parts(path).rev().map(<[u8]>::to_vec).collect();
        let mut place: Vec<Vec<u8>> = Vec::new();
        let mut links = 0;
        while let Some(part) = rest.pop() {
            match part.as_slice() {
                b"." => continue,
                b".." => {
                    place.pop();
                    continue;
                }
                _ => place.push(part),
            }
            let name = place.join(&b'/');
            if let Some(Node { kind: Kind::Symlink(target), .. }) = self.tree.nodes.get(&name) {
                links += 1;
                if links > LINKS {
                    return name;
                }
                place.pop();
                if target.first() == Some(&b'/') {
                    place.clear();
                }
                rest.extend(parts(target).rev().map(<[u8]>::to_vec));
            }
        }
        place.join(&b'/')
    }

    /// The content of a file, with links followed.
    pub(super) fn content(&self, path: &[u8]) -> Option<&Content> {
        match &self.tree.nodes.get(&self.resolve(path))?.kind {
            Kind::File(content) => Some(content),
            Kind::Hardlink(target) => match &self.tree.nodes.get(target)?.kind {
                Kind::File(content) => Some(content),
                _ => None,
            },
            _ => None,
        }
    }

    /// The bytes of a file, with links followed.
    pub(super) fn read(&self, path: &str) -> Result<Option<Arc<[u8]>>, Error> {
        self.content(path.as_bytes()).map(read).transpose()
    }

    /// The bytes of a file as text.
    pub(super) fn text(&self, path: &str) -> Result<Option<String>, Error> {
        Ok(self.read(path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Whether a name leads to something.
    pub(super) fn exists(&self, path: &str) -> bool {
        self.tree.nodes.contains_key(&self.resolve(path.as_bytes()))
    }

    /// Names directly in a folder (which must not be below a link), as text; other names are left out.
    pub(super) fn list(&self, folder: &str) -> Vec<String> {
        self.below(folder).into_iter().filter(|name| !name.contains('/')).collect()
    }

    /// Names anywhere below a folder, relative to it.
    pub(super) fn below(&self, folder: &str) -> Vec<String> {
        let prefix = format!("{folder}/").into_bytes();
        self.tree
            .nodes
            .range(prefix.clone()..)
            .take_while(|(path, _)| path.starts_with(&prefix))
            .filter_map(|(path, _)| std::str::from_utf8(&path[prefix.len()..]).ok())
            .map(str::to_owned)
            .collect()
    }
}

/// The bytes of a file of the tree.
pub(super) fn read(content: &Content) -> Result<Arc<[u8]>, Error> {
    content.read().map_err(|source| match content {
        Content::Slice { path, .. } => Error::file("read", path, source),
        Content::Bytes(_) => Error::file("read", std::path::Path::new("memory"), source),
    })
}

fn parts(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|b| *b == b'/').filter(|part| !part.is_empty())
}
