//! Blobs: immutable bytes under the name of their SHA-256 sum.
//!
//! A blob is written to a temporary file, its digest taken on the way, flushed to the disk, and only then
//! renamed to its name. So a crash or a power cut can lose a blob but never leave half of one.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::PathBuf;

use kiln_model::Digest;
use sha2::{Digest as _, Sha256};

use crate::error::at;
use crate::oci::Descriptor;
use crate::{Store, StoreError};

/// Documents larger than this are not read into memory. A manifest of 127 layers is below 40 KiB.
const DOCUMENT_LIMIT: u64 = 32 << 20;

/// A blob being written. Dropped without [`BlobWriter::finish`], it leaves nothing.
#[derive(Debug)]
pub struct BlobWriter {
    path: PathBuf,
    file: File,
    hash: Sha256,
    size: u64,
}

/// A blob whose bytes are all written but not yet flushed and named: see [`Store::commit`].
#[derive(Debug)]
pub struct Staged {
    path: PathBuf,
    file: File,
    digest: Digest,
    size: u64,
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlobWriter {
    /// Where the bytes are going, for error messages.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Ends the writing.
    pub fn finish(self) -> Staged {
        Staged {
            digest: Digest::from_bytes(self.hash.finalize().into()),
            path: self.path,
            file: self.file,
            size: self.size,
        }
    }
}

impl Staged {
    /// The digest of the bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The number of bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Fails unless the bytes have this digest and, when given, this length.
    pub fn expect(self, what: &str, digest: &Digest, size: Option<u64>) -> Result<Self, StoreError> {
        let mismatch =
            |expected: String, actual: String| StoreError::Mismatch { what: what.into(), expected, actual };
        if let Some(size) = size.filter(|size| *size != self.size) {
            return Err(mismatch(format!("{size} bytes"), format!("{} bytes", self.size)));
        }
        if self.digest != *digest {
            return Err(mismatch(digest.to_string(), self.digest.to_string()));
        }
        Ok(self)
    }
}

/// Manifests and configurations are smaller; reading so much costs less than 0.1 ms.
const DOCUMENT: u64 = 64 << 10;

impl Store {
    /// Where a blob is or would be.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root().join("blobs/sha256").join(digest.hex())
    }

    /// Whether the store holds a blob.
    pub fn has(&self, digest: &Digest) -> bool {
        self.blob_path(digest).is_file()
    }

    /// Whether the store holds a blob of this length.
    pub fn has_sized(&self, descriptor: &Descriptor) -> bool {
        fs::metadata(self.blob_path(&descriptor.digest)).is_ok_and(|found| found.len() == descriptor.size)
    }

    /// Begins a blob.
    pub fn writer(&self) -> Result<BlobWriter, StoreError> {
        let path = self.scratch()?;
        let file = File::create_new(&path).map_err(at("make", &path))?;
        Ok(BlobWriter { path, file, hash: Sha256::new(), size: 0 })
    }

    /// Flushes blobs to the disk (side by side, so that they share the journal's commit) and gives them their
    /// names.
    pub fn commit(&self, staged: Vec<Staged>) -> Result<(), StoreError> {
        let fresh: Vec<Staged> = staged.into_iter().filter(|blob| self.keep_known(blob)).collect();
        flush_all(&fresh)?;
        for blob in &fresh {
            let path = self.blob_path(&blob.digest);
            fs::rename(&blob.path, &path).map_err(at("write", &path))?;
        }
        if !fresh.is_empty() {
            let folder = self.root().join("blobs/sha256");
            File::open(&folder).and_then(|handle| handle.sync_all()).map_err(at("flush", &folder))?;
        }
        Ok(())
    }

    /// False (and the temporary file gone) when the store already has the blob. Documents are small and
    /// everything else is found through them, so theirs is read too: a damaged one is replaced by what was just
    /// written.
    fn keep_known(&self, blob: &Staged) -> bool {
        let sized = fs::metadata(self.blob_path(&blob.digest)).is_ok_and(|found| found.len() == blob.size);
        let sound = sized && (blob.size > DOCUMENT || self.verify_blob(&blob.digest).is_ok());
        // As young as if it had been written now, so that a collection under way leaves it; gone already when this
        // fails.
        let known = sound && renew(&self.blob_path(&blob.digest)).is_ok();
        if known {
            let _ = fs::remove_file(&blob.path);
        }
        !known
    }

    /// Stores a stream. Storing the same bytes twice is the same as once.
    pub fn put_blob(&self, source: &mut dyn Read) -> Result<(Digest, u64), StoreError> {
        self.put_staged(self.stage(source)?)
    }

    /// Writes a stream without flushing or naming it yet.
    pub fn stage(&self, source: &mut dyn Read) -> Result<Staged, StoreError> {
        let mut writer = self.writer()?;
        let path = writer.path.clone();
        io::copy(source, &mut writer).map_err(at("write", &path))?;
        Ok(writer.finish())
    }

    /// Stores bytes.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<(Digest, u64), StoreError> {
        self.put_staged(self.stage_bytes(bytes)?)
    }

    /// Writes bytes without flushing or naming them yet.
    pub fn stage_bytes(&self, bytes: &[u8]) -> Result<Staged, StoreError> {
        let mut writer = self.writer()?;
        let path = writer.path.clone();
        writer.write_all(bytes).map_err(at("write", &path))?;
        Ok(writer.finish())
    }

    fn put_staged(&self, staged: Staged) -> Result<(Digest, u64), StoreError> {
        let result = (staged.digest, staged.size);
        self.commit(vec![staged])?;
        Ok(result)
    }

    /// Opens a blob as it is on disk, unverified.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, StoreError> {
        let path = self.blob_path(digest);
        File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::Missing { digest: *digest },
            _ => at("open", &path)(error),
        })
    }

    /// Reads a document whole and checks that it has the digest it is named by.
    pub fn read_verified(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        let path = self.blob_path(digest);
        let mut bytes = Vec::new();
        let mut file = self.open_blob(digest)?.take(DOCUMENT_LIMIT + 1);
        file.read_to_end(&mut bytes).map_err(at("read", &path))?;
        if bytes.len() as u64 > DOCUMENT_LIMIT {
            return Err(self.damaged(digest, "it is too large to be a document".into()));
        }
        let actual = Digest::from_bytes(Sha256::digest(&bytes).into());
        if actual != *digest {
            return Err(self.damaged(digest, format!("its content has the digest {actual}")));
        }
        Ok(bytes)
    }

    /// Reads and parses a JSON document.
    pub fn read_json<T: serde::de::DeserializeOwned>(&self, digest: &Digest) -> Result<T, StoreError> {
        let bytes = self.read_verified(digest)?;
        serde_json::from_slice(&bytes)
            .map_err(|source| StoreError::Document { what: format!("blob {digest}"), source })
    }

    /// Reads all of a blob and compares it with its name.
    pub fn verify_blob(&self, digest: &Digest) -> Result<(), StoreError> {
        let path = self.blob_path(digest);
        let mut hash = Sha256::new();
        let mut file = self.open_blob(digest)?;
        let mut buffer = vec![0; 1 << 18];
        loop {
            let read = file.read(&mut buffer).map_err(at("read", &path))?;
            if read == 0 {
                break;
            }
            hash.update(&buffer[..read]);
        }
        let actual = Digest::from_bytes(hash.finalize().into());
        if actual == *digest {
            return Ok(());
        }
        Err(self.damaged(digest, format!("its content has the digest {actual}")))
    }

    pub(crate) fn damaged(&self, digest: &Digest, reason: String) -> StoreError {
        StoreError::Corrupt {
            path: self.blob_path(digest),
            reason,
            remedy: "delete the file, then bake the image again or `kiln image import` it",
        }
    }
}

fn renew(path: &std::path::Path) -> io::Result<()> {
    File::options().append(true).open(path)?.set_modified(std::time::SystemTime::now())
}

fn flush_all(blobs: &[Staged]) -> Result<(), StoreError> {
    let flush = |blob: &Staged| blob.file.sync_data().map_err(at("flush", &blob.path));
    let Some((first, rest)) = blobs.split_first() else { return Ok(()) };
    std::thread::scope(|scope| {
        let others: Vec<_> = rest.iter().map(|blob| scope.spawn(move || flush(blob))).collect();
        let mut result = flush(first);
        for other in others {
            let one = other
                .join()
                .unwrap_or_else(|_| Err(at("flush", &first.path)(io::Error::other("a thread died"))));
            result = result.and(one);
        }
        result
    })
}
