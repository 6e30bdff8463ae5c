//! Downloads and unpacks what a lock says, several packages at a time, each no more than once per machine.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::SignedDuration;
use tokio::sync::Semaphore;

use crate::Error;
use crate::cache::Cache;
use crate::deb::Package;
use crate::download::{self, Wanted};
use crate::lock::{Archive, Lock, LockedPackage};
use crate::request::{Event, Progress, Request};
use crate::transport::Transport;

/// All packages of a lock, verified and unpacked in the cache.
#[derive(Clone, Debug)]
pub struct Fetched {
    pub(crate) packages: Vec<Package>,
    pub(crate) lock: Lock,
}

/// Gets every package of the lock, from the cache or from a mirror.
///
/// # Errors
/// When the lock is not of this request, and when a package cannot be had exactly as it is locked.
pub async fn fetch(request: &Request<'_>, lock: &Lock, progress: &dyn Progress) -> Result<Fetched, Error> {
    lock.fits(request)?;
    let cache = Cache::new(request.cache);
    cache.sweep(request.now);
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let known: Vec<Option<Package>> = stream::iter(lock.packages.iter().cloned())
        .map(|locked| {
            let cache = cache.clone();
            async move { blocking(move || Package::cached(&cache, &locked)).await? }
        })
        .buffered(cores)
        .try_collect()
        .await?;
    let missing: Vec<&LockedPackage> = lock
        .packages
        .iter()
        .zip(&known)
        .filter(|(_, known)| known.is_none())
        .map(|(locked, _)| locked)
        .collect();
    let mut new = download_all(request, lock, &cache, missing, cores, progress).await?;
    let mut packages = Vec::with_capacity(known.len());
    for (locked, known) in lock.packages.iter().zip(known) {
        let package = known.or_else(|| {
            let position = new.iter().position(|package| package.locked.sha256 == locked.sha256)?;
            Some(new.swap_remove(position))
        });
        packages.extend(package);
    }
    Ok(Fetched { packages, lock: lock.clone() })
}

async fn download_all(
    request: &Request<'_>,
    lock: &Lock,
    cache: &Cache,
    mut missing: Vec<&LockedPackage>,
    cores: usize,
    progress: &dyn Progress,
) -> Result<Vec<Package>, Error> {
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    if request.offline {
        let names: Vec<&str> = missing.iter().map(|locked| locked.name.as_str()).collect();
        return Err(Error::Offline { what: format!("the packages {}", names.join(", ")) });
    }
    let bytes = missing.iter().map(|locked| locked.size).sum();
    progress.event(Event::Fetching { packages: missing.len(), bytes });
    // The largest first, so that the last one running is small.
    missing.sort_by_key(|locked| std::cmp::Reverse(locked.size));
    let transport = Transport::new(request.mirrors.timeouts())?;
    let roots = Roots::new(request, lock)?;
    let unpackers = Arc::new(Semaphore::new(cores));
    stream::iter(missing)
        .map(|locked| one(&transport, cache, &roots, &unpackers, locked, progress))
        .buffer_unordered(request.jobs())
        .try_collect()
        .await
}

async fn one(
    transport: &Transport,
    cache: &Cache,
    roots: &Roots,
    unpackers: &Semaphore,
    locked: &LockedPackage,
    progress: &dyn Progress,
) -> Result<Package, Error> {
    let what = format!("package {} {}", locked.name, locked.version);
    let urls = roots.urls(locked);
    let wanted =
        Wanted { what: &what, path: &locked.path, urls: &urls, size: locked.size, sha256: &locked.sha256 };
    let partial = cache.path("partial", &format!("{}.deb", locked.sha256))?;
    let received = |bytes| progress.event(Event::Received { package: &locked.name, bytes });
    let file = download::to_file(transport, wanted, &partial, progress, &received).await?;
    let permit = unpackers.acquire().await;
    let package = {
        let (cache, locked) = (cache.clone(), locked.clone());
        blocking(move || Package::unpack(&cache, &locked, file)).await??
    };
    drop(permit);
    std::fs::remove_file(&partial).ok();
    progress.event(Event::Unpacked { package: &locked.name });
    Ok(package)
}

/// Where the packages of a lock are looked for, by archive.
struct Roots {
    debian: Vec<String>,
    security: Vec<String>,
}

impl Roots {
    fn new(request: &Request<'_>, lock: &Lock) -> Result<Self, Error> {
        let of = |archive: Archive| -> Result<Vec<String>, Error> {
            let suites: Vec<_> = lock.suites.iter().filter(|suite| suite.archive == archive).collect();
            let mut roots = Vec::new();
            for suite in &suites {
                let spec = request.base.mirror.as_deref();
                for root in request.mirrors.sources(spec, archive, &suite.suite)?.roots {
                    if !roots.contains(&root) {
                        roots.push(root);
                    }
                }
            }
            if let Some(date) = suites.iter().map(|suite| suite.date).max() {
                // Snapshots are taken some hours after a suite's date, and still hold what that date brought.
                let later = date.checked_add(SignedDuration::from_hours(24)).unwrap_or(date);
                roots.extend([later, date].iter().filter_map(|at| request.mirrors.snapshot(archive, *at)));
            }
            Ok(roots)
        };
        Ok(Self { debian: of(Archive::Debian)?, security: of(Archive::Security)? })
    }

    fn urls(&self, locked: &LockedPackage) -> Vec<String> {
        let roots = match locked.archive {
            Archive::Debian => &self.debian,
            Archive::Security => &self.security,
        };
        roots.iter().map(|root| format!("{root}/{}", locked.path)).collect()
    }
}

/// Runs work that keeps a processor busy, off the threads that wait for mirrors.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => Error::Interrupted,
    })
}
