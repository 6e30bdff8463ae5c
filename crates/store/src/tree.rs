//! A file tree in memory: what packages, `copy` steps and layers are made of before they are bytes.
//!
//! Paths are relative to the root, without leading or trailing slash, without empty, `.` or `..` components; the
//! root itself is the empty path. They are bytes, as Linux has them. The map's order is the order of the layer.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// A tree: paths to nodes. Parents need not be present; writers add missing ones as root-owned 0755 folders.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// Nodes by path.
    pub nodes: BTreeMap<Vec<u8>, Node>,
}

/// One node of a tree.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky (0 to 0o7777).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since the Unix epoch; layer writers may clamp it.
    pub mtime: i64,
    /// Extended attributes, such as `security.capability`.
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

/// What a node is. Device nodes, sockets and pipes do not exist here: images do not carry them.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A folder.
    Folder,
    /// A regular file.
    File(Content),
    /// A symbolic link with its target as it stands.
    Symlink(Vec<u8>),
    /// Another name of the file at this path of the same tree.
    Hardlink(Vec<u8>),
}

/// Where a file's bytes are.
#[derive(Clone, Debug)]
pub enum Content {
    /// Here.
    Bytes(Arc<[u8]>),
    /// In a file on disk (such as an unpacked package), at this offset.
    Slice {
        /// The file.
        path: Arc<PathBuf>,
        /// First byte.
        offset: u64,
        /// Number of bytes.
        len: u64,
    },
}

impl Content {
    /// Number of bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Slice { len, .. } => *len,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All the bytes in memory.
    pub fn read(&self) -> std::io::Result<Arc<[u8]>> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.clone()),
            Self::Slice { path, offset, len } => {
                use std::os::unix::fs::FileExt;
                let size = usize::try_from(*len).map_err(std::io::Error::other)?;
                let mut buffer = vec![0; size];
                std::fs::File::open(path.as_path())?.read_exact_at(&mut buffer, *offset)?;
                Ok(buffer.into())
            }
        }
    }
}
