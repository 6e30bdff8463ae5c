//! The files a spec may read: those inside of its own folder.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// Bytes of one file that `file(…)` reads.
const LARGEST: u64 = 1 << 20;

/// Reads files below one folder and remembers what it read.
#[derive(Debug)]
pub(crate) struct Files {
    root: PathBuf,
    read: RefCell<BTreeMap<PathBuf, Vec<u8>>>,
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("{path:?} leads out of the spec's folder")]
    Outside { path: String },
    #[error("cannot read {path:?}: {error}")]
    Io { path: String, error: std::io::Error },
    #[error("{path:?} is not a file")]
    NotAFile { path: String },
    #[error("{path:?} is larger than {} KiB", LARGEST >> 10)]
    TooLarge { path: String },
    #[error("{path:?} is not text in UTF-8")]
    NotText { path: String },
}

impl Files {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, read: RefCell::default() }
    }

    /// The text of a file, which then is an input of the spec.
    pub(crate) fn text(&self, path: &str) -> Result<String, FileError> {
        let name = || path.to_owned();
        let io = |error| FileError::Io { path: name(), error };
        let full = self.resolve(path)?;
        let metadata = full.metadata().map_err(io)?;
        if !metadata.is_file() {
            return Err(FileError::NotAFile { path: name() });
        }
        if metadata.len() > LARGEST {
            return Err(FileError::TooLarge { path: name() });
        }
        let bytes = std::fs::read(&full).map_err(io)?;
        let text = String::from_utf8(bytes.clone()).map_err(|_| FileError::NotText { path: name() })?;
        self.read.borrow_mut().insert(full, bytes);
        Ok(text)
    }

    /// Whether a path inside of the folder is a file.
    pub(crate) fn exists(&self, path: &str) -> Result<bool, FileError> {
        match self.resolve(path) {
            Ok(full) => Ok(full.is_file()),
            Err(FileError::Io { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The path without symbolic links, if it stays inside of the folder.
    fn resolve(&self, path: &str) -> Result<PathBuf, FileError> {
        let outside = || FileError::Outside { path: path.to_owned() };
        if !stays_inside(path) {
            return Err(outside());
        }
        let io = |error| FileError::Io { path: path.to_owned(), error };
        let root = self.root.canonicalize().map_err(io)?;
        let full = root.join(path).canonicalize().map_err(io)?;
        if full.starts_with(&root) { Ok(full) } else { Err(outside()) }
    }

    /// Every file that was read, with its path below the folder.
    pub(crate) fn into_read(self) -> BTreeMap<PathBuf, Vec<u8>> {
        let root = self.root.canonicalize().unwrap_or(self.root);
        let below = |path: PathBuf| path.strip_prefix(&root).map_or_else(|_| path.clone(), Path::to_path_buf);
        self.read.into_inner().into_iter().map(|(path, bytes)| (below(path), bytes)).collect()
    }
}

/// Whether a relative path has no way to climb out of its folder by its own text.
pub(crate) fn stays_inside(path: &str) -> bool {
    let mut depth = 0_i32;
    for part in Path::new(path).components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir => depth -= 1,
            Component::RootDir | Component::Prefix(_) => return false,
        }
        if depth < 0 {
            return false;
        }
    }
    !path.contains('\0')
}

impl Files {
    /// Whether a path, absolute or relative to the folder, is a file of this machine.
    pub(crate) fn is_local_file(&self, path: &str) -> bool {
        self.root.join(path).is_file()
    }
}
