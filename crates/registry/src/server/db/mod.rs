//! The registry's own database: which repository links which blobs and manifests, tags, referrers.
//!
//! One thread owns the connection that writes. It takes whatever writes wait, runs each in a savepoint and commits
//! them together, so that a thousand pushes share a flush to the disk; a write is answered after that commit, and
//! after the caches forgot what it changed. Reads come from a few connections of their own and never wait for it.

mod acts;
mod blobs;
mod listings;
mod manifests;
mod repositories;
mod sql;
mod sweep;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use rusqlite_migration::{M, Migrations};
use tokio::sync::{Semaphore, oneshot};

pub(crate) use acts::{acts, forget_acts, identity, note};
pub(crate) use blobs::{blob_size, blob_sources, lease, link_blob, over_quota, unlink_blob};
pub use listings::{ListedTag, RepositorySummary};
pub(crate) use listings::{Referrer, catalog, listed_tags, referrers, summaries, tags};
pub(crate) use manifests::{
    NewManifest, TagChange, children_missing, manifest, remove_manifest, remove_tag, resolve_tag,
    save_manifest, set_tag,
};
pub(crate) use repositories::{Totals, ensure_repository, repository_exists, totals, usage};
pub(crate) use sweep::{Holder, expire_leases, holder, linked_digests, sweep_links, sweep_manifests};
pub use sweep::{Kept, Removed};

use super::cache::{Caches, Stale};
use super::error::{DbError, RegistryError, query};

/// Every schema there has been, oldest first. A step that was released is never edited.
const STEPS: [&str; 2] = [include_str!("schema.sql"), include_str!("acts.sql")];
/// Writes that share one commit at most.
const BATCH: usize = 64;
/// Connections that read at the same time. More than the cores of a small machine gain nothing.
const READERS: usize = 4;

/// Takes the outcome of the commit and answers whoever asked for the write.
type Answer = Box<dyn FnOnce(Result<(), DbError>) + Send>;
type Job = Box<dyn FnOnce(&Connection, &mut Vec<Stale>) -> Answer + Send>;

/// A handle to the database. Clones share everything.
#[derive(Clone)]
pub(crate) struct Database {
    writer: Arc<Writer>,
    readers: Arc<Readers>,
    caches: Arc<Caches>,
}

struct Writer {
    /// `None` only while it is being dropped.
    jobs: Option<mpsc::Sender<Job>>,
    handle: Option<JoinHandle<()>>,
}

struct Readers {
    path: PathBuf,
    free: Mutex<Vec<Connection>>,
    turns: Semaphore,
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        let own = |handle: &JoinHandle<()>| handle.thread().id() == std::thread::current().id();
        if let Some(handle) = self.handle.take().filter(|handle| !own(handle)) {
            let _ = handle.join();
        }
    }
}

impl Database {
    /// Opens or makes the database.
    pub(crate) fn open(path: &Path, caches: Arc<Caches>) -> Result<Self, RegistryError> {
        let mut connection = connect(path, OpenFlags::default())?;
        let steps = Migrations::new(STEPS.iter().map(|step| M::up(step)).collect());
        let migrated = steps.to_latest(&mut connection);
        migrated.map_err(|error| DbError::Migrate { path: path.into(), reason: error.to_string() })?;
        let (jobs, queue) = mpsc::channel::<Job>();
        let stale = caches.clone();
        let name = "registry-db";
        let spawned = std::thread::Builder::new().name(name.into()).spawn(move || {
            while let Ok(first) = queue.recv() {
                run_batch(&connection, first, &queue, &stale);
            }
        });
        let handle = spawned.map_err(|source| RegistryError::Thread { name, source })?;
        let readers = Readers { path: path.into(), free: Mutex::default(), turns: Semaphore::new(READERS) };
        let writer = Writer { jobs: Some(jobs), handle: Some(handle) };
        Ok(Self { writer: writer.into(), readers: readers.into(), caches })
    }

    fn send<R, E, F>(&self, work: F) -> Result<oneshot::Receiver<Result<R, E>>, DbError>
    where
        R: Send + 'static,
        E: From<DbError> + Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<R, E> + Send + 'static,
    {
        let (answer, result) = oneshot::channel();
        let job: Job = Box::new(move |connection, stale| {
            let outcome = in_savepoint(connection, stale, work);
            Box::new(move |committed| {
                let _ = answer.send(outcome.and_then(|value| committed.map(|()| value).map_err(E::from)));
            })
        });
        let jobs = self.writer.jobs.as_ref().ok_or(DbError::Closed)?;
        jobs.send(job).map_err(|_| DbError::Closed)?;
        Ok(result)
    }

    /// Runs `work` alone among all writes; what it did is durable when this returns `Ok`, and undone otherwise.
    /// Dropping the future does not stop it half-way.
    pub(crate) async fn write<R, E, F>(&self, work: F) -> Result<R, E>
    where
        R: Send + 'static,
        E: From<DbError> + Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<R, E> + Send + 'static,
    {
        self.send(work)?.await.map_err(|_| DbError::Closed)?
    }

    /// The same for threads that may block.
    pub(crate) fn write_blocking<R, E, F>(&self, work: F) -> Result<R, E>
    where
        R: Send + 'static,
        E: From<DbError> + Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<R, E> + Send + 'static,
    {
        self.send(work)?.blocking_recv().map_err(|_| DbError::Closed)?
    }

    /// Reads on a thread that may block. What `work` puts into a cache cannot be older than what a write that
    /// ended meanwhile made of it.
    pub(crate) async fn read<R, F>(&self, work: F) -> Result<R, DbError>
    where
        R: Send + 'static,
        F: FnOnce(&Connection, &Caches) -> Result<R, DbError> + Send + 'static,
    {
        let _turn = self.readers.turns.acquire().await.map_err(|_| DbError::Closed)?;
        let this = self.clone();
        let ran = tokio::task::spawn_blocking(move || this.read_blocking(work));
        ran.await.map_err(|_| DbError::Closed)?
    }

    /// The same for threads that may block.
    pub(crate) fn read_blocking<R>(
        &self,
        work: impl FnOnce(&Connection, &Caches) -> Result<R, DbError>,
    ) -> Result<R, DbError> {
        let free = || self.readers.free.lock().unwrap_or_else(PoisonError::into_inner);
        let known = free().pop();
        let connection = match known {
            Some(connection) => connection,
            None => connect(&self.readers.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?,
        };
        let result = {
            let _steady = self.caches.steady();
            work(&connection, &self.caches)
        };
        if free().len() < READERS {
            free().push(connection);
        }
        result
    }
}

/// One write under way.
pub(crate) struct Tx<'a> {
    db: &'a Connection,
    stale: &'a mut Vec<Stale>,
}

impl Tx<'_> {
    /// Makes the caches forget something once this write is committed.
    pub(crate) fn forget(&mut self, stale: Stale) {
        self.stale.push(stale);
    }
}

impl std::ops::Deref for Tx<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.db
    }
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, DbError> {
    let open = || -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        if !flags.contains(OpenFlags::SQLITE_OPEN_READ_ONLY) {
            connection.pragma_update(None, "journal_mode", "wal")?;
            connection.pragma_update(None, "synchronous", "full")?;
            connection.pragma_update(None, "foreign_keys", true)?;
        }
        connection.set_prepared_statement_cache_capacity(64);
        Ok(connection)
    };
    open().map_err(|source| DbError::Open { path: path.into(), source: source.into() })
}

fn run_batch(db: &Connection, first: Job, queue: &mpsc::Receiver<Job>, caches: &Caches) {
    let mut stale = Vec::new();
    let begun = db.execute_batch("BEGIN IMMEDIATE").map_err(query("begin a transaction"));
    let mut answers = vec![first(db, &mut stale)];
    while begun.is_ok() && answers.len() < BATCH {
        let Ok(job) = queue.try_recv() else { break };
        answers.push(job(db, &mut stale));
    }
    let committed = begun.and_then(|()| db.execute_batch("COMMIT").map_err(query("commit a transaction")));
    if committed.is_err() && !db.is_autocommit() {
        let _ = db.execute_batch("ROLLBACK");
    }
    caches.forget(&stale);
    for answer in answers {
        answer(committed.clone());
    }
}

fn in_savepoint<R, E: From<DbError>>(
    db: &Connection,
    stale: &mut Vec<Stale>,
    work: impl FnOnce(&mut Tx<'_>) -> Result<R, E>,
) -> Result<R, E> {
    if db.is_autocommit() {
        return Err(DbError::Closed.into());
    }
    db.execute_batch("SAVEPOINT one").map_err(query("begin a write"))?;
    let result = work(&mut Tx { db, stale });
    let end = if result.is_ok() { "RELEASE one" } else { "ROLLBACK TO one; RELEASE one" };
    db.execute_batch(end).map_err(query("end a write"))?;
    result
}
