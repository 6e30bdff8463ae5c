//! The store's folder.
//!
//! ```text
//! oci-layout, index.json, blobs/sha256/…   a valid OCI image layout, readable by any tool
//! trees/<hex>/                             extracted root file systems, read-only once there
//! trees/<hex>.json                         what is in the tree of the same name
//! cache/                                   what may be deleted at any time
//! tmp/, locks/                             temporary files of running processes, and their locks
//! ```

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::at;
use crate::session::{Session, clean};
use crate::{Limits, StoreError};

const LAYOUT: &str = "{\"imageLayoutVersion\":\"1.0.0\"}";

/// An open store. Cloning is cheap; all clones share one temporary folder.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    limits: Limits,
    session: Mutex<Option<Session>>,
}

/// A lock shared by all processes; free when dropped or when the process dies.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Store {
    /// Opens the store in a folder, makes it when there is none, and removes what dead processes left behind.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        Self::open_with(root, Limits::default())
    }

    /// Opens a store with other limits for layers.
    pub fn open_with(root: &Path, limits: Limits) -> Result<Self, StoreError> {
        let root = std::path::absolute(root).map_err(at("find", root))?;
        let marker = root.join("oci-layout");
        match fs::read(&marker) {
            Ok(bytes) => check_marker(&root, &bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => create(&root)?,
            Err(error) => return Err(at("read", &marker)(error)),
        }
        clean(&root.join("tmp"))?;
        Ok(Self { inner: Arc::new(Inner { root, limits, session: Mutex::new(None) }) })
    }

    /// The store's folder, absolute.
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// What layers may hold at most.
    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    /// The folder for caches; whatever is in it may vanish at any time.
    pub fn cache(&self) -> PathBuf {
        self.root().join("cache")
    }

    /// A path inside the store (so that a rename out of it is atomic) where nothing is yet. It and what is
    /// below vanishes with this process.
    pub fn scratch(&self) -> Result<PathBuf, StoreError> {
        let mut session = self.inner.session.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = session.as_ref() {
            return Ok(session.fresh());
        }
        let begun = Session::begin(&self.root().join("tmp"))?;
        let path = begun.fresh();
        *session = Some(begun);
        Ok(path)
    }

    /// Waits for the lock of this name. Names are short and hold no slash.
    pub fn lock(&self, name: &str) -> Result<Lock, StoreError> {
        let path = self.root().join("locks").join(name);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(at("open the lock", &path))?;
        file.lock().map_err(at("lock", &path))?;
        Ok(Lock { _file: file })
    }

    /// Replaces a file in the store atomically. With `durable` it survives a power cut once this returns;
    /// without, a power cut may bring back the former content or leave an empty file.
    pub fn replace(&self, path: &Path, bytes: &[u8], durable: bool) -> Result<(), StoreError> {
        let temporary = self.scratch()?;
        let mut file = File::create_new(&temporary).map_err(at("make", &temporary))?;
        file.write_all(bytes).map_err(at("write", &temporary))?;
        if durable {
            file.sync_data().map_err(at("flush", &temporary))?;
        }
        fs::rename(&temporary, path).map_err(at("write", path))?;
        match path.parent().filter(|_| durable) {
            Some(folder) => {
                File::open(folder).and_then(|folder| folder.sync_all()).map_err(at("flush", folder))
            }
            None => Ok(()),
        }
    }
}

fn check_marker(root: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let version = serde_json::from_slice::<serde_json::Value>(bytes)
        .ok()
        .and_then(|value| value.get("imageLayoutVersion")?.as_str().map(str::to_owned));
    if version.as_deref() != Some("1.0.0") {
        let reason = "its oci-layout file does not say version 1.0.0".to_owned();
        return Err(StoreError::NotAStore { path: root.into(), reason });
    }
    make_folders(root)
}

fn create(root: &Path) -> Result<(), StoreError> {
    fs::create_dir_all(root).map_err(at("make folder", root))?;
    let foreign = fs::read_dir(root).map_err(at("list", root))?.filter_map(Result::ok).find(|entry| {
        let ours = ["blobs", "trees", "cache", "tmp", "locks", "index.json", "oci-layout"];
        let name = entry.file_name();
        !ours.iter().any(|own| name == *own) && !name.as_encoded_bytes().starts_with(b".oci-layout")
    });
    if let Some(entry) = foreign {
        let reason = format!("it holds {:?} and no oci-layout file; name an empty folder", entry.file_name());
        return Err(StoreError::NotAStore { path: root.into(), reason });
    }
    make_folders(root)?;
    // The marker comes last: a store with a marker is whole.
    let marker = root.join("oci-layout");
    let temporary = root.join(format!(".oci-layout-{}", std::process::id()));
    fs::write(&temporary, LAYOUT).map_err(at("write", &temporary))?;
    fs::rename(&temporary, &marker).map_err(at("write", &marker))
}

fn make_folders(root: &Path) -> Result<(), StoreError> {
    for (name, private) in
        [("blobs/sha256", false), ("trees", true), ("cache", false), ("tmp", false), ("locks", false)]
    {
        let path = root.join(name);
        if path.is_dir() {
            continue;
        }
        fs::create_dir_all(&path).map_err(at("make folder", &path))?;
        if private {
            // Trees hold set-user-id programs that other users of the machine have no business to run.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).map_err(at("protect", &path))?;
        }
    }
    Ok(())
}
