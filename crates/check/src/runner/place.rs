//! A home for the time of one run: `checks/PID-NUMBER/` below the real home, with a provider of its own and so with a
//! network of its own.
//!
//! ```text
//! checks.lock              flock held while one is made or removed
//! checks/<pid>-<n>.lock    flock held by its run for life
//! checks/<pid>-<n>/        a home as the provider lays it out
//! ```
//!
//! A folder whose lock is free belongs to a run that was killed: whoever comes next clears it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kiln_local::{LocalConfig, LocalProvider};
use kiln_model::{Digest, ImageConfig};
use kiln_store::Store;
use rustix::fs::{FlockOperation, flock};

use super::{Host, ProveError};
use crate::image::ImageView;

/// Clearing kills, so it takes as long as the kernel takes to bury; what takes longer is left to the next run.
const CLEARING: Duration = Duration::from_secs(30);

/// How often a lock that somebody else holds is asked for.
const POLL: Duration = Duration::from_millis(20);

/// A temporary home.
pub(crate) struct Place {
    pub(crate) provider: LocalProvider,
    store: Store,
    folder: PathBuf,
    lock: (PathBuf, File),
}

fn folder(host: &Host) -> PathBuf {
    host.home.join("checks")
}

impl Place {
    /// Makes one, after clearing what killed runs left.
    pub(crate) async fn open(host: &Host) -> Result<Self, ProveError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let _gate = gate(host).await?;
        swept(host).await?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}", std::process::id());
        let folder = folder(host).join(&name);
        let lock = folder.with_extension("lock");
        let file = File::create(&lock).map_err(ProveError::file("make", &lock))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| ProveError::file("lock", &lock)(error.into()))?;
        fs::create_dir_all(&folder).map_err(ProveError::file("make", &folder))?;
        let provider = provider(host, &folder).await?;
        let store = Store::open(&host.store).map_err(ProveError::store)?;
        Ok(Self { provider, store, folder, lock: (lock, file) })
    }

    /// The configuration of an image of the store.
    pub(crate) fn config(&self, image: Digest) -> Result<ImageConfig, ProveError> {
        Ok(ImageView::open(&self.store, image)?.config()?)
    }

    /// Ends everything and removes the home.
    pub(crate) async fn close(self) -> Result<(), ProveError> {
        clear(&self.provider, &self.folder).await?;
        let (path, _held) = self.lock;
        forget(&path)
    }
}

async fn provider(host: &Host, folder: &Path) -> Result<LocalProvider, ProveError> {
    let store = Store::open(&host.store).map_err(ProveError::store)?;
    let tree = move |image: &Digest| {
        store.tree(image).map_err(|error| Box::new(error) as Box<dyn std::error::Error + Send + Sync>)
    };
    let config = LocalConfig::new(folder, &host.exe, Arc::new(tree));
    LocalProvider::open(config).await.map_err(ProveError::Local)
}

async fn clear(provider: &LocalProvider, folder: &Path) -> Result<(), ProveError> {
    let cleared = tokio::time::timeout(CLEARING, provider.clear()).await;
    cleared.map_err(|_| ProveError::file("clear", folder)(std::io::ErrorKind::TimedOut.into()))??;
    kiln_store::remove_tree(folder).map_err(ProveError::store)
}

/// Removes a lock file; one that its run has removed meanwhile is gone as well.
fn forget(lock: &Path) -> Result<(), ProveError> {
    match fs::remove_file(lock) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(ProveError::file("remove", lock)(error))
        }
        _ => Ok(()),
    }
}

/// Removes what runs left that were killed, or given up: their instances, networks and folders.
///
/// # Errors
/// When something cannot be removed; the next run tries again.
pub async fn sweep(host: &Host) -> Result<(), ProveError> {
    let _gate = gate(host).await?;
    swept(host).await
}

/// Lets one process at a time look for abandoned places, and makes a new one appear to the others only when its lock is
/// held.
async fn gate(host: &Host) -> Result<File, ProveError> {
    let path = host.home.join("checks.lock");
    fs::create_dir_all(&host.home).map_err(ProveError::file("make", &host.home))?;
    let file = File::create(&path).map_err(ProveError::file("make", &path))?;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) => tokio::time::sleep(POLL).await,
            Err(error) => return Err(ProveError::file("lock", &path)(error.into())),
        }
    }
}

async fn swept(host: &Host) -> Result<(), ProveError> {
    let folder = folder(host);
    fs::create_dir_all(&folder).map_err(ProveError::file("make", &folder))?;
    for entry in fs::read_dir(&folder).map_err(ProveError::file("read", &folder))?.flatten() {
        let lock = entry.path();
        if lock.extension().is_none_or(|extension| extension != "lock") {
            continue;
        }
        let Ok(file) = File::open(&lock) else { continue };
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            // Somebody is at work there.
            continue;
        }
        let home = lock.with_extension("");
        if home.is_dir() {
            let provider = provider(host, &home).await?;
            clear(&provider, &home).await?;
        }
        forget(&lock)?;
    }
    Ok(())
}
