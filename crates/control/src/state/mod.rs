//! The state: what is intended and what was decided, in an embedded SQLite database.
//!
//! One thread owns the one connection; every use of it is a closure that runs inside one transaction, so that a
//! decision is read, made and written without anything in between. The journal is a write-ahead log with
//! `synchronous = FULL`: a decision that was acknowledged survives a loss of power, and at about 5,800 transactions
//! a second no deploy waits for it. Times are milliseconds since the Unix epoch.
//!
//! On disk: `state/kiln.db` with its `-wal` and `-shm` files; `kiln.db.backup`, written at every start from a database
//! that was found whole; `kiln.db.schema-N.backup`, kept from before a migration.

mod error;
pub(crate) mod events;
pub(crate) mod fleets;
mod open;
pub(crate) mod quarantines;
pub(crate) mod releases;
pub(crate) mod rollouts;
pub(crate) mod routes;
pub(crate) mod services;
mod sql;
pub(crate) mod taints;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{oneshot, watch};

pub use error::StateError;
pub use fleets::Desired;
pub(crate) use open::read;
pub use quarantines::Quarantine;
pub use releases::Stored;
pub use rollouts::{Entry, RolloutState, Rules};
pub use services::Pointer;
pub use taints::Taint;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// A handle to the database's thread. Dropping the last one waits until the database is closed.
#[derive(Clone, Debug)]
pub struct State {
    thread: Arc<Thread>,
    last_event: watch::Receiver<i64>,
    publish: Arc<watch::Sender<i64>>,
}

#[derive(Debug)]
struct Thread {
    /// `None` only while it is being dropped.
    jobs: Option<mpsc::Sender<Job>>,
    handle: Option<JoinHandle<()>>,
}

impl Drop for Thread {
    fn drop(&mut self) {
        drop(self.jobs.take());
        let own = |handle: &JoinHandle<()>| handle.thread().id() == std::thread::current().id();
        if let Some(handle) = self.handle.take().filter(|handle| !own(handle)) {
            let _ = handle.join();
        }
    }
}

impl State {
    /// Opens the database, making or migrating it where needed.
    ///
    /// # Errors
    /// When it cannot be opened, is damaged, or was written by a newer Kiln; the file is left as it is then.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let mut connection = open::open(path)?;
        let last = events::last(&connection)?;
        let (publish, last_event) = watch::channel(last);
        let (jobs, queue) = mpsc::channel::<Job>();
        let run = move || {
            while let Ok(job) = queue.recv() {
                job(&mut connection);
            }
        };
        let spawned = std::thread::Builder::new().name("state".into()).spawn(run);
        let handle = spawned.map_err(|source| StateError::Thread { source })?;
        let thread = Thread { jobs: Some(jobs), handle: Some(handle) };
        Ok(Self { thread: thread.into(), last_event, publish: publish.into() })
    }

    /// Runs `work` in one transaction, which is committed when it returns `Ok` and undone otherwise. Dropping the
    /// future does not stop it half-way.
    pub async fn transact<R, E, F>(&self, work: F) -> Result<R, E>
    where
        R: Send + 'static,
        E: From<StateError> + Send + 'static,
        F: FnOnce(&Connection) -> Result<R, E> + Send + 'static,
    {
        let (answer, result) = oneshot::channel();
        let publish = self.publish.clone();
        let job: Job = Box::new(move |connection| {
            let outcome = transaction(connection, work);
            if let (Ok(_), Ok(last)) = (&outcome, events::last(connection)) {
                publish.send_if_modified(|known| std::mem::replace(known, last) != last);
            }
            let _ = answer.send(outcome);
        });
        let jobs = self.thread.jobs.as_ref().ok_or(StateError::Closed)?;
        jobs.send(job).map_err(|_| StateError::Closed)?;
        result.await.map_err(|_| StateError::Closed)?
    }

    /// Tells the id of the last event whenever it grows.
    pub fn last_event(&self) -> watch::Receiver<i64> {
        self.last_event.clone()
    }
}

fn transaction<R, E: From<StateError>>(
    connection: &mut Connection,
    work: impl FnOnce(&Connection) -> Result<R, E>,
) -> Result<R, E> {
    let begin = connection.transaction_with_behavior(TransactionBehavior::Immediate);
    let transaction = begin.map_err(sql::act("begin a transaction"))?;
    let result = work(&transaction)?;
    transaction.commit().map_err(sql::act("commit a transaction"))?;
    Ok(result)
}
