//! What all threads of one data plane share.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};

use crate::ProxyConfig;
use crate::live::Live;
use crate::target::Sequence;
use crate::worker::{Handle, Message};

/// What all threads of one data plane share.
pub(crate) struct Shared {
    pub(crate) config: ProxyConfig,
    /// The table in force.
    pub(crate) live: ArcSwap<Live>,
    /// Its generation. A request is counted on its instance first and looks here afterwards; the table is replaced,
    /// then its generation is stored here, then the table is acknowledged. All of it is sequentially consistent, so
    /// a request that still goes by the old table was counted before the acknowledgement.
    pub(crate) generation: AtomicU64,
    /// The same for those who wait for the next table; `None` when they are to wait no longer.
    pub(crate) tables: watch::Sender<Option<u64>>,
    pub(crate) workers: Vec<Handle>,
    /// Serialises decisions to eject.
    pub(crate) ejecting: Mutex<()>,
    /// The status's sequence number.
    pub(crate) sequence: Sequence,
    /// Most connections at once.
    pub(crate) most: usize,
    connections: AtomicUsize,
    room: Notify,
    origin: Instant,
}

impl Shared {
    pub(crate) fn new(config: ProxyConfig, workers: Vec<Handle>, live: Live, most: usize) -> Arc<Self> {
        Arc::new(Self {
            config,
            generation: AtomicU64::new(live.generation),
            tables: watch::Sender::new(Some(live.generation)),
            live: ArcSwap::from_pointee(live),
            workers,
            ejecting: Mutex::new(()),
            sequence: Arc::new(watch::Sender::new(1)),
            most,
            connections: AtomicUsize::new(0),
            room: Notify::new(),
            origin: Instant::now(),
        })
    }

    /// Milliseconds since the process started.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Replaces the table; when this returns, every request that begins goes by the new one.
    pub(crate) fn replace(&self, live: Live) {
        let generation = live.generation;
        self.live.store(Arc::new(live));
        self.generation.store(generation, SeqCst);
        self.tables.send_if_modified(|table| table.as_mut().map(|last| *last = generation).is_some());
    }

    /// Requests that are held are refused from now on.
    pub(crate) fn stop_holding(&self) {
        self.tables.send_replace(None);
    }

    /// Something in the status changed.
    pub(crate) fn news(&self) {
        self.sequence.send_modify(|seq| *seq += 1);
    }

    /// Tells all workers; `make` is asked once for each.
    pub(crate) fn tell(&self, make: impl Fn() -> Message) {
        for worker in &self.workers {
            worker.send(make());
        }
    }

    /// Client connections open now.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }

    /// The worker with the fewest connections; the asking one when it has no more than they.
    pub(crate) fn least_busy(&self, asking: usize) -> usize {
        let count = |worker: &Handle| worker.connections.load(Relaxed);
        let own = count(&self.workers[asking]);
        let least = self.workers.iter().enumerate().min_by_key(|(_, worker)| count(worker));
        least.filter(|(_, worker)| count(worker) < own).map_or(asking, |(index, _)| index)
    }

    pub(crate) fn connection_begun(&self, worker: usize) {
        self.workers[worker].connections.fetch_add(1, Relaxed);
        self.connections.fetch_add(1, SeqCst);
    }

    pub(crate) fn connection_ended(&self, worker: usize) {
        self.workers[worker].connections.fetch_sub(1, Relaxed);
        if self.connections.fetch_sub(1, SeqCst) >= self.most {
            self.room.notify_waiters();
        }
    }

    /// Waits until one more connection may be accepted.
    pub(crate) async fn room_for_connection(&self) {
        while self.connections() >= self.most {
            let mut room = std::pin::pin!(self.room.notified());
            room.as_mut().enable();
            if self.connections() < self.most {
                return;
            }
            room.await;
        }
    }
}
