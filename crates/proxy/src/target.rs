//! One port of one instance, as all workers share it: the work under way, its health as its answers show it, and
//! whether it still takes requests.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use kiln_model::InstanceId;
use tokio::sync::{Notify, watch};

use crate::table::Endpoint;

/// So many failures in a row put an instance out.
const FAILURES: u32 = 3;
/// The first ejection lasts so long; each further one, without an answer between, twice the time.
const FIRST_EJECTION_MS: u64 = 1_000;
const LONGEST_EJECTION_MS: u64 = 30_000;

/// Wakes those who wait for the status to change.
pub(crate) type Sequence = Arc<watch::Sender<u64>>;

/// One port of one instance.
pub(crate) struct Target {
    pub(crate) id: InstanceId,
    pub(crate) endpoint: Endpoint,
    /// Unique in this process: the key of the workers' connection pools.
    pub(crate) key: u64,
    /// Requests whose response has not wholly been sent, and raw connections.
    requests: AtomicU64,
    upgraded: AtomicU64,
    /// Takes no ordinary requests: becoming idle is news.
    pub(crate) quiet: AtomicBool,
    /// Takes no requests at all: connections are not kept.
    pub(crate) retired: AtomicBool,
    /// How often its upgraded connections were told to close.
    closings: AtomicU64,
    closing: Notify,
    failures: AtomicU32,
    ejections: AtomicU32,
    /// Ejected until then, in milliseconds since the process started.
    until: AtomicU64,
    sequence: Sequence,
}

impl Target {
    pub(crate) fn new(id: InstanceId, endpoint: Endpoint, key: u64, sequence: Sequence) -> Self {
        Self {
            id,
            endpoint,
            key,
            requests: AtomicU64::new(0),
            upgraded: AtomicU64::new(0),
            quiet: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            closings: AtomicU64::new(0),
            closing: Notify::new(),
            failures: AtomicU32::new(0),
            ejections: AtomicU32::new(0),
            until: AtomicU64::new(0),
            sequence,
        }
    }

    /// Requests and upgraded connections under way.
    pub(crate) fn in_flight(&self) -> (u64, u64) {
        (self.requests.load(SeqCst), self.upgraded.load(SeqCst))
    }

    /// Work under way, to compare instances by.
    pub(crate) fn load(&self) -> u64 {
        self.requests.load(SeqCst) + self.upgraded.load(SeqCst)
    }

    /// Whether ejection keeps it out at `now`.
    pub(crate) fn ejected(&self, now: u64) -> bool {
        self.until.load(SeqCst) > now
    }

    /// Tells its upgraded connections to close.
    pub(crate) fn close_upgraded(&self) {
        self.closings.fetch_add(1, SeqCst);
        self.closing.notify_waiters();
    }

    /// An answer came: whatever was wrong is over.
    pub(crate) fn succeeded(&self) {
        if self.failures.load(SeqCst) != 0 {
            self.failures.store(0, SeqCst);
            self.ejections.store(0, SeqCst);
        }
    }

    /// A connection was refused or broke before an answer; after [`FAILURES`] in a row (one, right after an
    /// ejection) the target is out, unless `others` says that none else of its fleet is available.
    pub(crate) fn failed(&self, now: u64, ejecting: &Mutex<()>, others: impl FnOnce() -> bool) {
        let failures = self.failures.fetch_add(1, SeqCst) + 1;
        if failures < FAILURES && self.ejections.load(SeqCst) == 0 {
            return;
        }
        // One at a time, so that two instances cannot both count on the other to stay.
        let _one = ejecting.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if self.ejected(now) || !others() {
            return;
        }
        let times = self.ejections.fetch_add(1, SeqCst).min(16);
        self.until.store(now + (FIRST_EJECTION_MS << times).min(LONGEST_EJECTION_MS), SeqCst);
        self.sequence.send_modify(|seq| *seq += 1);
    }

    fn ended(&self, left: u64) {
        if left == 0 && self.quiet.load(SeqCst) {
            self.sequence.send_modify(|seq| *seq += 1);
        }
    }
}

/// One request or raw connection, counted on its target as long as this lives.
pub(crate) struct Lease {
    target: Arc<Target>,
    closings: u64,
}

impl Lease {
    pub(crate) fn new(target: Arc<Target>) -> Self {
        target.requests.fetch_add(1, SeqCst);
        let closings = target.closings.load(SeqCst);
        Self { target, closings }
    }

    pub(crate) fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// From now on it counts as an upgraded connection.
    pub(crate) fn upgrade(self) -> UpgradedLease {
        self.target.upgraded.fetch_add(1, SeqCst);
        UpgradedLease { target: Arc::clone(&self.target), closings: self.closings }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let left = self.target.requests.fetch_sub(1, SeqCst) - 1;
        self.target.ended(left);
    }
}

/// One upgraded connection, counted on its target as long as this lives.
pub(crate) struct UpgradedLease {
    target: Arc<Target>,
    closings: u64,
}

impl UpgradedLease {
    /// Ends when the connection is to be closed because its instance drains.
    pub(crate) async fn closed(&self) {
        loop {
            let mut notified = std::pin::pin!(self.target.closing.notified());
            notified.as_mut().enable();
            if self.target.closings.load(SeqCst) != self.closings {
                return;
            }
            notified.await;
        }
    }
}

impl Drop for UpgradedLease {
    fn drop(&mut self) {
        let left = self.target.upgraded.fetch_sub(1, SeqCst) - 1;
        self.target.ended(left);
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn target(sequence: &Sequence) -> Arc<Target> {
        let addr = SocketAddr::from(([127, 0, 0, 1], 1));
        Arc::new(Target::new(InstanceId("a".into()), Endpoint::Tcp { addr }, 1, Arc::clone(sequence)))
    }

    #[test]
    fn three_failures_eject_for_twice_the_time_each_and_an_answer_forgives() {
        let sequence: Sequence = Arc::new(watch::Sender::new(0));
        let (target, lock) = (target(&sequence), Mutex::new(()));
        let fail = |now| target.failed(now, &lock, || true);
        fail(0);
        fail(0);
        assert!(!target.ejected(0));
        fail(0);
        assert!(target.ejected(999) && !target.ejected(1_000));
        fail(1_000);
        assert!(target.ejected(2_999) && !target.ejected(3_000));
        for now in [10_000, 20_000, 40_000, 80_000, 120_000] {
            fail(now);
        }
        assert!(target.ejected(149_999) && !target.ejected(150_000));
        target.succeeded();
        fail(200_000);
        fail(200_000);
        assert!(!target.ejected(200_000));
        assert_eq!(*sequence.borrow(), 7);
    }

    #[test]
    fn the_last_one_available_stays() {
        let sequence: Sequence = Arc::new(watch::Sender::new(0));
        let (target, lock) = (target(&sequence), Mutex::new(()));
        (0..9).for_each(|_| target.failed(0, &lock, || false));
        assert!(!target.ejected(0));
    }

    #[test]
    fn becoming_idle_is_news_only_for_a_quiet_target() {
        let sequence: Sequence = Arc::new(watch::Sender::new(0));
        let target = target(&sequence);
        drop(Lease::new(Arc::clone(&target)));
        assert_eq!(*sequence.borrow(), 0);
        let lease = Lease::new(Arc::clone(&target));
        target.quiet.store(true, SeqCst);
        let upgraded = lease.upgrade();
        assert_eq!(target.in_flight(), (0, 1));
        drop(upgraded);
        assert_eq!((target.in_flight(), *sequence.borrow()), ((0, 0), 2));
    }
}
