//! The bytes: blobs of both algorithms in the store's layout, and files of uploads beside them.
//!
//! SHA-256 blobs are where the store has them. SHA-512 ones are in `blobs/sha512`, as the OCI layout has it; the
//! rest of Kiln does not know them. Uploads are files in the store's `uploads` folder, so that a rename ends them.
//!
//! Whoever names a file or removes it holds the lock of its digest together with the database's write that says
//! so; that keeps garbage collection and pushes of the same blob apart.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_store::Store;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::error::{RegistryError, file};
use crate::digest::{Algorithm, ContentDigest};

/// Locks that digests share by their first byte.
const LOCKS: usize = 256;

#[derive(Clone)]
pub(crate) struct Storage {
    store: Store,
    uploads: PathBuf,
    locks: Arc<[Arc<Mutex<()>>]>,
}

/// The right to name or remove one blob's file.
pub(crate) struct Held(#[expect(dead_code, reason = "held, not read")] OwnedMutexGuard<()>);

impl Storage {
    pub(crate) fn open(store: Store) -> Result<Self, RegistryError> {
        let uploads = store.root().join("uploads");
        let folders = [uploads.clone(), store.root().join("blobs/sha256"), store.root().join("blobs/sha512")];
        for folder in &folders {
            fs::create_dir_all(folder).map_err(file("make folder", folder))?;
        }
        let locks = (0..LOCKS).map(|_| Arc::new(Mutex::new(()))).collect();
        Ok(Self { store, uploads, locks })
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn folder(&self, algorithm: Algorithm) -> PathBuf {
        self.store.root().join("blobs").join(algorithm.name())
    }

    pub(crate) fn path(&self, digest: &ContentDigest) -> PathBuf {
        self.folder(digest.algorithm()).join(digest.hex())
    }

    pub(crate) fn uploads(&self) -> &Path {
        &self.uploads
    }

    /// Where an upload's bytes are. Ids are checked when they come from the network.
    pub(crate) fn upload_path(&self, id: &str) -> PathBuf {
        self.uploads.join(id)
    }

    fn slot(&self, digest: &ContentDigest) -> Arc<Mutex<()>> {
        self.locks[usize::from(digest.as_bytes()[0]) % LOCKS].clone()
    }

    pub(crate) async fn lock(&self, digest: &ContentDigest) -> Held {
        Held(self.slot(digest).lock_owned().await)
    }

    /// For threads that may block.
    pub(crate) fn lock_blocking(&self, digest: &ContentDigest) -> Held {
        Held(self.slot(digest).blocking_lock_owned())
    }

    /// The length of a blob, when its file is there.
    pub(crate) fn size(&self, digest: &ContentDigest) -> Option<u64> {
        fs::metadata(self.path(digest)).ok().filter(fs::Metadata::is_file).map(|found| found.len())
    }

    pub(crate) fn open_blob(&self, digest: &ContentDigest) -> io::Result<File> {
        File::open(self.path(digest))
    }

    /// A document whole; `None` when it is not there. One whose bytes are not its digest's is an error.
    pub(crate) fn read(&self, digest: &ContentDigest, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let opened = match self.open_blob(digest) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        opened.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(io::Error::other(format!("blob {digest} is larger than {limit} bytes")));
        }
        if ContentDigest::of(digest.algorithm(), &bytes) != *digest {
            return Err(io::Error::other(format!("blob {digest} is damaged: its bytes have another digest")));
        }
        Ok(Some(bytes))
    }

    /// Gives a file whose bytes are flushed the name of its digest. A file that already has the name and the size
    /// stays, and the new one goes.
    pub(crate) fn publish(&self, from: &Path, digest: &ContentDigest, size: u64, _: &Held) -> io::Result<()> {
        if self.size(digest) == Some(size) {
            return fs::remove_file(from);
        }
        fs::rename(from, self.path(digest))?;
        File::open(self.folder(digest.algorithm()))?.sync_all()
    }

    /// Writes a document durably. A damaged file of the same name is replaced.
    pub(crate) fn put(&self, digest: &ContentDigest, bytes: &[u8], held: &Held) -> io::Result<()> {
        if matches!(self.read(digest, bytes.len() as u64), Ok(Some(_))) {
            return Ok(());
        }
        let scratch = self.store.scratch().map_err(io::Error::other)?;
        let written = fs::write(&scratch, bytes).and_then(|()| File::open(&scratch)?.sync_data());
        let named = written.and_then(|()| {
            let _ = fs::remove_file(self.path(digest));
            self.publish(&scratch, digest, bytes.len() as u64, held)
        });
        if named.is_err() {
            let _ = fs::remove_file(&scratch);
        }
        named
    }
}
