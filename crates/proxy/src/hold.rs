//! Requests that wait: while no fleet of a backend can take one, they are held until a table comes that has such a
//! fleet, instead of being refused (`Backend::hold`).
//!
//! A held request is a task that sleeps: it is counted on no instance, and nothing of its body is read. Only a new
//! table can help it, so only a new table (or the end of its time) wakes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http::HeaderValue;
use http::request::Parts;

use crate::answer::Failure;
use crate::exchange::{self, Chosen, Refusal};
use crate::live::Attempts;
use crate::serve::Client;
use crate::worker::{Worker, millis};

/// Requests held at once for one backend. Each keeps a connection or a stream and its head, 64 KiB at most: 64 MiB in
/// all, and one in sixteen of the connections that a proxy takes by default. When they are let go they all come at
/// once to instances that have just started, which is what a listening socket's queue on Linux (4,096) still bears.
pub(crate) const MOST: usize = 1_024;

/// Those that are held for one backend. It survives replacements of the table.
#[derive(Default)]
pub(crate) struct Queue {
    now: AtomicUsize,
    total: AtomicU64,
}

impl Queue {
    /// Held now.
    pub(crate) fn now(&self) -> u64 {
        self.now.load(Relaxed) as u64
    }

    /// Held so far.
    pub(crate) fn total(&self) -> u64 {
        self.total.load(Relaxed)
    }

    fn enter(self: &Arc<Self>) -> Option<Place> {
        let room = |now| (now < MOST).then_some(now + 1);
        self.now.fetch_update(Relaxed, Relaxed, room).ok()?;
        self.total.fetch_add(1, Relaxed);
        Some(Place(Arc::clone(self)))
    }
}

/// One that is held, as long as this lives.
struct Place(Arc<Queue>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Relaxed);
    }
}

/// No fleet of a backend can take a request, and requests may wait for one that can.
pub(crate) struct Gap {
    /// Of the table that says so.
    pub(crate) generation: u64,
    /// How long they may wait.
    pub(crate) hold: Duration,
    pub(crate) queue: Arc<Queue>,
}

/// The wait of one request or raw connection, over any number of tables.
pub(crate) struct Wait {
    since: Instant,
    place: Option<Place>,
}

impl Wait {
    pub(crate) fn new() -> Self {
        Self { since: Instant::now(), place: None }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    /// Waits for a newer table than the gap's. False when there will be none in time: the time is over, too many wait
    /// already, or the process is about to end.
    pub(crate) async fn next_table(&mut self, worker: &Worker, gap: &Gap) -> bool {
        let rest = gap.hold.saturating_sub(self.elapsed());
        // A watch has whole milliseconds, and of none it would wait for ever.
        if rest.as_millis() == 0 || !self.enter(&gap.queue) {
            return false;
        }
        let mut tables = worker.shared.tables.subscribe();
        let newer = tables.wait_for(|table| table.is_none_or(|generation| generation > gap.generation));
        let watch = worker.ticker.watch(rest);
        watch.limit(newer).await.is_some_and(|table| table.is_ok_and(|table| table.is_some()))
    }

    /// Whether there is room. One that waits keeps its place, unless its route leads elsewhere now.
    fn enter(&mut self, queue: &Arc<Queue>) -> bool {
        if !self.place.as_ref().is_some_and(|place| Arc::ptr_eq(&place.0, queue)) {
            self.place = queue.enter();
        }
        self.place.is_some()
    }
}

/// Holds a request that no instance could be chosen for, until one can.
pub(crate) async fn wait(
    client: &Client,
    host: &HeaderValue,
    head: &Parts,
    attempts: &mut Attempts,
    mut refusal: Refusal,
) -> Result<Chosen, Failure> {
    let (control, mut wait) = (&client.control, Wait::new());
    while let Some(gap) = &refusal.gap {
        // Its client is silent because it waits.
        control.bear_silence(millis(gap.hold).saturating_mul(2));
        if !wait.next_table(&client.worker, gap).await {
            break;
        }
        refusal = match exchange::choose(client, host, head, attempts) {
            Ok(chosen) => {
                attempts.held += wait.elapsed();
                control.activity.moved();
                control.bear_silence(millis(chosen.destination.backend.idle_timeout));
                return Ok(chosen);
            }
            // It had a route when it came.
            Err(Refusal { failure: Failure::NoRoute, .. }) => break,
            Err(next) => next,
        };
    }
    Err(refusal.failure)
}
