//! Uploads under way.
//!
//! An upload is a file in the store's `uploads` folder. Its name is random and ends in a mark of the repository it
//! is for, so that nothing needs to be written anywhere else when one begins, and a restarted server can go on with
//! it: the length of the file is how far it came, and its digest is taken anew. Its time of change says when it was
//! last wanted.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::task::JoinHandle;

use super::error::{ApiError, Code};
use super::storage::Storage;
use crate::digest::{Algorithm, ContentDigest, Hasher};
use crate::name::Repository;

/// Bytes that are written and hashed in one go, while the next ones come in.
const BATCH: usize = 512 << 10;
/// A client that sends nothing for so long is gone.
const SILENCE: Duration = Duration::from_secs(60);
/// How long a request waits for another one on the same upload.
const TURN: Duration = Duration::from_secs(10);

/// The bytes of one upload so far.
#[derive(Debug)]
pub(crate) struct Upload {
    path: PathBuf,
    file: File,
    hasher: Hasher,
    size: u64,
}

impl Upload {
    fn create(path: &Path, algorithm: Algorithm) -> io::Result<Self> {
        let file = File::options().read(true).append(true).create_new(true).open(path)?;
        Ok(Self { path: path.into(), file, hasher: Hasher::new(algorithm), size: 0 })
    }

    fn reopen(path: &Path, algorithm: Algorithm) -> io::Result<Self> {
        let file = File::options().read(true).append(true).open(path)?;
        let (hasher, size) = hash_file(path, algorithm)?;
        Ok(Self { path: path.into(), file, hasher, size })
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends; all or nothing.
    fn write(&mut self, frames: &[Bytes]) -> io::Result<()> {
        for frame in frames {
            if let Err(error) = self.file.write_all(frame) {
                // What the digest does not know of must not stay; without this the upload cannot go on.
                self.file.set_len(self.size)?;
                return Err(error);
            }
            self.hasher.update(frame);
            self.size += frame.len() as u64;
        }
        Ok(())
    }

    /// Flushes the bytes to the disk and returns their digest by this algorithm.
    pub(crate) fn seal(&self, algorithm: Algorithm) -> io::Result<ContentDigest> {
        let known = self.hasher.clone().finish();
        let digest =
            if known.algorithm() == algorithm { known } else { hash_file(&self.path, algorithm)?.0.finish() };
        self.file.sync_data()?;
        Ok(digest)
    }
}

fn hash_file(path: &Path, algorithm: Algorithm) -> io::Result<(Hasher, u64)> {
    let (mut hasher, mut size) = (Hasher::new(algorithm), 0);
    let mut file = File::open(path)?;
    let mut buffer = vec![0; BATCH];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((hasher, size));
        }
        hasher.update(&buffer[..read]);
        size += read as u64;
    }
}

/// Where an upload is while no request works on it; `None` when it ended.
pub(crate) type Slot = Arc<tokio::sync::Mutex<Option<Upload>>>;
/// The right to work on an upload.
pub(crate) type Turn = tokio::sync::OwnedMutexGuard<Option<Upload>>;

/// All uploads that this process worked on.
pub(crate) struct Uploads {
    storage: Storage,
    slots: Mutex<HashMap<String, Slot>>,
    under_way: AtomicI64,
}

fn unknown(id: &str) -> ApiError {
    let message = format!("no upload {id} is under way in this repository; begin a new one with POST");
    ApiError::missing(Code::BlobUploadUnknown, message)
}

/// The part of an upload's name that says which repository it is for.
fn mark(repository: &Repository) -> String {
    hex::encode(&ContentDigest::sha256(repository.as_str().as_bytes()).as_bytes()[..8])
}

impl Uploads {
    pub(crate) fn new(storage: Storage) -> Self {
        let found = fs::read_dir(storage.uploads()).map_or(0, Iterator::count);
        let under_way = AtomicI64::new(i64::try_from(found).unwrap_or(0));
        Self { storage, slots: Mutex::default(), under_way }
    }

    /// How many are under way.
    pub(crate) fn count(&self) -> i64 {
        self.under_way.load(Ordering::Relaxed)
    }

    /// Begins an upload and returns its id.
    pub(crate) async fn begin(
        &self,
        repository: &Repository,
        algorithm: Algorithm,
    ) -> Result<(String, Turn), ApiError> {
        let mut random = [0; 16];
        let filled = SystemRandom::new().fill(&mut random);
        filled.map_err(|_| ApiError::io("get random bytes", &io::Error::other("the system has none")))?;
        let id = format!("{}{}", hex::encode(random), mark(repository));
        let path = self.storage.upload_path(&id);
        let upload =
            Upload::create(&path, algorithm).map_err(|error| ApiError::io("begin an upload", &error))?;
        self.under_way.fetch_add(1, Ordering::Relaxed);
        let slot: Slot = Arc::new(tokio::sync::Mutex::new(Some(upload)));
        self.slots().insert(id.clone(), slot.clone());
        Ok((id, slot.lock_owned().await))
    }

    fn slots(&self) -> std::sync::MutexGuard<'_, HashMap<String, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the turn on an upload, after a restart from its file.
    pub(crate) async fn take(&self, repository: &Repository, id: &str) -> Result<Turn, ApiError> {
        let good =
            id.len() == 48 && id.bytes().all(|b| b.is_ascii_hexdigit()) && id.ends_with(&mark(repository));
        if !good {
            let shown: String = id.chars().take(60).collect();
            return Err(unknown(&shown));
        }
        let path = self.storage.upload_path(id);
        if !path.is_file() {
            return Err(unknown(id));
        }
        let slot = self.slots().entry(id.to_owned()).or_default().clone();
        let turn = tokio::time::timeout(TURN, slot.lock_owned()).await;
        let mut turn = turn.map_err(|_| {
            ApiError::refused(format!(
                "another request is still sending to the upload {id}; wait or begin a new one"
            ))
        })?;
        if turn.is_none() {
            let opened = blocking(move || Upload::reopen(&path, Algorithm::Sha256)).await;
            *turn = Some(opened.map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => unknown(id),
                _ => ApiError::io("continue an upload", &error),
            })?);
        }
        Ok(turn)
    }

    /// Ends an upload. Its file is renamed already, or goes now.
    pub(crate) fn end(&self, id: &str, mut turn: Turn) {
        if let Some(upload) = turn.take() {
            let _ = fs::remove_file(upload.path());
        }
        self.slots().remove(id);
        self.under_way.fetch_sub(1, Ordering::Relaxed);
    }

    /// Gives up uploads that nobody wanted since a time (milliseconds since the epoch). Returns their ids and bytes.
    pub(crate) fn expire(&self, before: u64, dry_run: bool) -> io::Result<Vec<(String, u64)>> {
        let mut expired = Vec::new();
        for entry in fs::read_dir(self.storage.uploads())? {
            let entry = entry?;
            let id = entry.file_name().to_string_lossy().into_owned();
            let Ok(found) = entry.metadata() else { continue };
            if modified(&found) >= before {
                continue;
            }
            // Whoever works on it wants it.
            let slot = self.slots().get(&id).cloned();
            let turn = match slot.map(tokio::sync::Mutex::try_lock_owned) {
                Some(Err(_)) => continue,
                Some(Ok(turn)) => Some(turn),
                None => None,
            };
            if !dry_run {
                fs::remove_file(entry.path())?;
                self.slots().remove(&id);
                self.under_way.fetch_sub(1, Ordering::Relaxed);
                if let Some(mut turn) = turn {
                    *turn = None;
                }
            }
            expired.push((id, found.len()));
        }
        Ok(expired)
    }
}

/// A file's time of change in milliseconds since the epoch; the end of time when it cannot be told.
pub(crate) fn modified(found: &fs::Metadata) -> u64 {
    let since = found.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    since.and_then(|since| u64::try_from(since.as_millis()).ok()).unwrap_or(u64::MAX)
}

/// Runs what may block on a thread for that.
pub(crate) async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> io::Result<R> + Send + 'static,
) -> io::Result<R> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// An upload, or where it is being written.
enum Place {
    Here(Box<Upload>),
    Writing(JoinHandle<(Box<Upload>, io::Result<()>)>),
}

impl Place {
    /// Waits for the write under way.
    async fn settle(self) -> Result<(Box<Upload>, io::Result<()>), ApiError> {
        match self {
            Self::Here(upload) => Ok((upload, Ok(()))),
            Self::Writing(handle) => {
                handle.await.map_err(|error| ApiError::io("store an upload", &io::Error::other(error)))
            }
        }
    }
}

/// Appends a request's body to an upload and returns how many bytes that were: while one batch is written and
/// hashed on another thread, the next comes in. The upload is put back into the turn however this ends; what was
/// received before a client broke off stays.
///
/// `limit` is how many bytes the upload may have in all; `progress` learns how many are in the file.
pub(crate) async fn receive(
    turn: &mut Turn,
    mut body: Body,
    limit: Option<u64>,
    progress: impl Fn(u64) + Send,
) -> Result<u64, ApiError> {
    let upload = turn.take().ok_or_else(|| unknown("of this request"))?;
    let begun = upload.size;
    let mut total = begun;
    let mut place = Place::Here(Box::new(upload));
    let outcome = loop {
        let (frames, ended) = batch(&mut body).await;
        total += frames.iter().map(|frame| frame.len() as u64).sum::<u64>();
        let (mut upload, wrote) = place.settle().await?;
        progress(upload.size);
        let refused = wrote.map_err(|error| ApiError::io("store an upload", &error)).and_then(|()| {
            let over = limit.filter(|limit| total > *limit);
            over.map_or(Ok(()), |limit| Err(too_large(total, limit)))
        });
        if refused.is_err() || frames.is_empty() {
            place = Place::Here(upload);
        } else {
            place = Place::Writing(tokio::task::spawn_blocking(move || {
                let wrote = upload.write(&frames);
                (upload, wrote)
            }));
        }
        if let Err(error) = refused {
            break Err(error);
        }
        if let Some(end) = ended {
            let (upload, wrote) = place.settle().await?;
            place = Place::Here(upload);
            break wrote.map_err(|error| ApiError::io("store an upload", &error)).and(end);
        }
    };
    let (upload, _) = place.settle().await?;
    let received = upload.size - begun;
    **turn = Some(*upload);
    outcome.map(|()| received)
}

fn too_large(total: u64, limit: u64) -> ApiError {
    let message = format!(
        "the upload is larger than the {limit} bytes that fit: {total} came; raise the quota or push less"
    );
    ApiError::too_large(Code::Denied, message)
}

/// Takes in frames until they are worth writing. The second value says whether and how the body ended.
async fn batch(body: &mut Body) -> (Vec<Bytes>, Option<Result<(), ApiError>>) {
    let (mut frames, mut size) = (Vec::new(), 0);
    while size < BATCH {
        let Ok(frame) = tokio::time::timeout(SILENCE, body.frame()).await else {
            let message = "the client sent nothing for a minute; ask the upload how far it came and go on";
            let status = http::StatusCode::REQUEST_TIMEOUT;
            return (frames, Some(Err(ApiError::new(status, Code::BlobUploadInvalid, message))));
        };
        match frame {
            None => return (frames, Some(Ok(()))),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    size += data.len();
                    frames.push(data);
                }
            }
            Some(Err(error)) => {
                let message = format!("the request's body broke off: {error}");
                return (frames, Some(Err(ApiError::bad(Code::BlobUploadInvalid, message))));
            }
        }
    }
    (frames, None)
}
