//! From a tree to a layer: tar and gzip, with both digests taken on the way.
//!
//! What decides the bytes: the tree, the epoch, and this code. Times are never later than the epoch, entries
//! are in the order of their paths, parents that the tree leaves out are added.

mod gzip;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use kiln_model::Digest;
use kiln_store::{
    Content, Descriptor, Entry, EntryKind, Kind, LayerRef, Node, Staged, Store, StoreError, TarWriter, Tree,
    at, oci,
};
use sha2::{Digest as _, Sha256};

use gzip::BlockGzip;

/// Changes whenever equal trees may become other bytes, so that the cache does not mix the two.
pub(crate) const FORMAT: &str = "kiln layer 1";

/// A layer that is written but not yet in the store.
#[derive(Debug)]
pub struct Layer {
    /// Its bytes; see [`Store::commit`].
    pub staged: Staged,
    /// How images refer to it.
    pub reference: LayerRef,
    /// Bytes before compression.
    pub unpacked: u64,
}

/// Why a layer could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file of the tree could not be read.
    #[error("cannot read {path:?} for the layer")]
    Source {
        /// Its path in the image.
        path: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A file changed between hashing and reading.
    #[error("{path:?} changed while it was copied; bake again when it is at rest")]
    Changed {
        /// Its path in the image.
        path: String,
    },
}

struct Counting<W> {
    sink: W,
    hash: Sha256,
    count: u64,
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.sink.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.count += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a tree as a layer. `expected` holds digests that files must have when they are read here; it may be
/// empty.
pub fn write_layer(
    store: &Store,
    tree: &Tree,
    epoch: i64,
    threads: usize,
    expected: &BTreeMap<Vec<u8>, Digest>,
) -> Result<Layer, WriteError> {
    let writer = store.writer()?;
    let path = writer.path().to_owned();
    let full = |source| WriteError::Store(at("write", &path)(source));
    let zip = BlockGzip::new(writer, threads);
    let mut tar = TarWriter::new(Counting { sink: zip, hash: Sha256::new(), count: 0 });
    let mut files = Files { open: None, expected };
    let mut parents = Parents::default();
    for (name, node) in &tree.nodes {
        for parent in parents.missing(tree, name) {
            tar.append(&folder(parent), &mut io::empty()).map_err(full)?;
        }
        if name.is_empty() {
            continue;
        }
        files.append(&mut tar, name, node, epoch, &full)?;
    }
    let counting = tar.finish().map_err(full)?;
    let diff_id = Digest::from_bytes(counting.hash.finalize().into());
    let staged = counting.sink.finish().map_err(full)?.finish();
    let blob = Descriptor::new(oci::LAYER_GZIP, staged.digest(), staged.size());
    Ok(Layer { staged, reference: LayerRef { blob, diff_id }, unpacked: counting.count })
}

/// Folders that the tree implies but does not have.
#[derive(Default)]
struct Parents {
    last: Vec<u8>,
}

impl Parents {
    fn missing(&mut self, tree: &Tree, path: &[u8]) -> Vec<Vec<u8>> {
        let mut missing = Vec::new();
        for (at, _) in path.iter().enumerate().filter(|(_, b)| **b == b'/') {
            let parent = &path[..at];
            let below_last = self.last.len() > at && self.last[at] == b'/' && &self.last[..at] == parent;
            if !below_last && !tree.nodes.contains_key(parent) {
                missing.push(parent.to_vec());
            }
        }
        self.last = path.to_vec();
        missing
    }
}

fn folder(path: Vec<u8>) -> Entry {
    Entry { path, kind: EntryKind::Folder, mode: 0o755, ..Entry::default() }
}

type Sink = TarWriter<Counting<BlockGzip<kiln_store::BlobWriter>>>;

struct Files<'a> {
    open: Option<(std::sync::Arc<std::path::PathBuf>, File)>,
    expected: &'a BTreeMap<Vec<u8>, Digest>,
}

impl Files<'_> {
    fn append(
        &mut self,
        tar: &mut Sink,
        path: &[u8],
        node: &Node,
        epoch: i64,
        full: &dyn Fn(io::Error) -> WriteError,
    ) -> Result<(), WriteError> {
        let entry = entry(path, node, epoch);
        let expected = self.expected.get(path);
        let Kind::File(content) = &node.kind else {
            return tar.append(&entry, &mut io::empty()).map_err(full);
        };
        let show = || String::from_utf8_lossy(path).into_owned();
        let fault = |source| WriteError::Source { path: show(), source };
        let inner: Box<dyn Read + '_> = match content {
            Content::Bytes(bytes) => Box::new(&bytes[..]),
            Content::Slice { path, offset, len } => {
                Box::new(self.slice(path, *offset).map_err(fault)?.take(*len))
            }
        };
        let mut source = Checked { inner, hash: Sha256::new(), fault: None };
        if let Err(error) = tar.append(&entry, &mut source) {
            return Err(match source.fault {
                Some(fault) => WriteError::Source { path: show(), source: fault },
                None if error.kind() == io::ErrorKind::UnexpectedEof => WriteError::Changed { path: show() },
                None => full(error),
            });
        }
        let digest = Digest::from_bytes(source.hash.finalize().into());
        if expected.is_some_and(|expected| *expected != digest) {
            return Err(WriteError::Changed { path: show() });
        }
        Ok(())
    }

    /// The file at an offset; the last file is kept open, since packages hold many in one.
    fn slice(&mut self, path: &std::sync::Arc<std::path::PathBuf>, offset: u64) -> io::Result<&mut File> {
        if self.open.as_ref().is_none_or(|(known, _)| known != path) {
            self.open = None;
        }
        let (_, file) = match self.open.take() {
            Some(open) => self.open.insert(open),
            None => {
                let file = File::open(path.as_path())?;
                self.open.insert((path.clone(), file))
            }
        };
        file.seek(SeekFrom::Start(offset))?;
        Ok(file)
    }
}

/// Tells faults of the source from faults of the sink, and hashes.
struct Checked<'a> {
    inner: Box<dyn Read + 'a>,
    hash: Sha256,
    fault: Option<io::Error>,
}

impl Read for Checked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(read) => {
                self.hash.update(&buffer[..read]);
                Ok(read)
            }
            Err(error) => {
                let kind = error.kind();
                self.fault = Some(error);
                Err(kind.into())
            }
        }
    }
}

fn entry(path: &[u8], node: &Node, epoch: i64) -> Entry {
    let (kind, link, size) = match &node.kind {
        Kind::Folder => (EntryKind::Folder, Vec::new(), 0),
        Kind::File(content) => (EntryKind::File, Vec::new(), content.len()),
        Kind::Symlink(target) => (EntryKind::Symlink, target.clone(), 0),
        Kind::Hardlink(target) => (EntryKind::Hardlink, target.clone(), 0),
    };
    Entry {
        path: path.to_vec(),
        kind,
        mode: if kind == EntryKind::Symlink { 0o777 } else { node.mode },
        uid: node.uid,
        gid: node.gid,
        mtime: node.mtime.min(epoch),
        size,
        link,
        xattrs: node.xattrs.clone(),
    }
}
