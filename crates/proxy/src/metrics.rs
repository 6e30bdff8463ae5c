//! Counters of a fleet: one cache line set per worker, so that counting never makes two processors meet.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use http::StatusCode;
use kiln_model::FleetId;

use crate::FleetMetrics;

/// Latency buckets: four to each power of two from 64 µs to 67 s (a relative error of at most a quarter), and
/// one for all that is slower.
pub(crate) const BUCKETS: usize = 4 * OCTAVES + 1;
const OCTAVES: usize = 20;
const FIRST_OCTAVE: u32 = 6;

/// The counters of one fleet, kept while the proxy runs and the fleet is in its table.
pub(crate) struct FleetStats {
    pub(crate) id: FleetId,
    /// Turn of the round robin among the fleet's instances.
    pub(crate) turn: AtomicUsize,
    /// Copies of requests under way.
    copies: AtomicUsize,
    shards: Box<[Shard]>,
}

#[repr(align(128))]
struct Shard {
    requests: AtomicU64,
    status: [AtomicU64; 5],
    errors: AtomicU64,
    failed: AtomicU64,
    abandoned: AtomicU64,
    mirrored: AtomicU64,
    mirror_dropped: AtomicU64,
    micros: AtomicU64,
    latency: [AtomicU64; BUCKETS],
}

impl FleetStats {
    pub(crate) fn new(id: FleetId, workers: usize) -> Self {
        let shard = || Shard {
            requests: AtomicU64::new(0),
            status: Default::default(),
            errors: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
            mirrored: AtomicU64::new(0),
            mirror_dropped: AtomicU64::new(0),
            micros: AtomicU64::new(0),
            latency: std::array::from_fn(|_| AtomicU64::new(0)),
        };
        let shards = (0..workers.max(1)).map(|_| shard()).collect();
        Self { id, turn: AtomicUsize::new(0), copies: AtomicUsize::new(0), shards }
    }

    /// An instance answered.
    pub(crate) fn answered(&self, worker: usize, status: StatusCode, took: Duration) {
        let shard = &self.shards[worker];
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        shard.requests.fetch_add(1, Relaxed);
        if let Some(class) = shard.status.get(usize::from(status.as_u16() / 100).wrapping_sub(1)) {
            class.fetch_add(1, Relaxed);
        }
        if status.is_server_error() {
            shard.failed.fetch_add(1, Relaxed);
        }
        shard.micros.fetch_add(micros, Relaxed);
        shard.latency[bucket(micros)].fetch_add(1, Relaxed);
    }

    /// No instance answered.
    pub(crate) fn failed(&self, worker: usize) {
        let shard = &self.shards[worker];
        shard.requests.fetch_add(1, Relaxed);
        shard.errors.fetch_add(1, Relaxed);
        shard.failed.fetch_add(1, Relaxed);
    }

    /// An answer with this status, counted before, broke off after its head.
    pub(crate) fn broke_off(&self, worker: usize, status: StatusCode) {
        let shard = &self.shards[worker];
        shard.errors.fetch_add(1, Relaxed);
        // A server error has failed already.
        if !status.is_server_error() {
            shard.failed.fetch_add(1, Relaxed);
        }
    }

    /// The client left before the head of the answer.
    pub(crate) fn abandoned(&self, worker: usize) {
        self.shards[worker].abandoned.fetch_add(1, Relaxed);
    }

    /// What was just counted was a copy.
    pub(crate) fn mirrored(&self, worker: usize) {
        self.shards[worker].mirrored.fetch_add(1, Relaxed);
    }

    /// A copy of a request was not sent.
    pub(crate) fn mirror_dropped(&self, worker: usize) {
        self.shards[worker].mirror_dropped.fetch_add(1, Relaxed);
    }

    /// Room for one more copy under way, if fewer than `most` are.
    pub(crate) fn copy(self: &Arc<Self>, most: usize) -> Option<Copying> {
        let room = |copies| (copies < most).then_some(copies + 1);
        self.copies.fetch_update(Relaxed, Relaxed, room).ok()?;
        Some(Copying(Arc::clone(self)))
    }

    /// The sums over all workers.
    pub(crate) fn sum(&self) -> FleetMetrics {
        let add = |of: &dyn Fn(&Shard) -> &AtomicU64| self.shards.iter().map(|s| of(s).load(Relaxed)).sum();
        FleetMetrics {
            requests: add(&|s| &s.requests),
            status: std::array::from_fn(|class| add(&|s| &s.status[class])),
            errors: add(&|s| &s.errors),
            failed: add(&|s| &s.failed),
            abandoned: add(&|s| &s.abandoned),
            mirrored: add(&|s| &s.mirrored),
            mirror_dropped: add(&|s| &s.mirror_dropped),
            latency: (0..BUCKETS).map(|i| (upper_bound(i), add(&|s| &s.latency[i]))).collect(),
        }
    }

    /// Sum of all latencies in microseconds.
    pub(crate) fn micros(&self) -> u64 {
        self.shards.iter().map(|s| s.micros.load(Relaxed)).sum()
    }
}

/// One copy of a request under way.
pub(crate) struct Copying(pub(crate) Arc<FleetStats>);

impl Drop for Copying {
    fn drop(&mut self) {
        self.0.copies.fetch_sub(1, Relaxed);
    }
}

/// The bucket of a latency.
fn bucket(micros: u64) -> usize {
    let octave = micros.max(1).ilog2();
    if octave < FIRST_OCTAVE {
        return 0;
    }
    let quarter = (micros >> (octave - 2)) & 3;
    let index = 4 * (octave - FIRST_OCTAVE) as usize + usize::try_from(quarter).unwrap_or(0);
    index.min(BUCKETS - 1)
}

/// The exclusive upper bounds of the latency buckets in microseconds, ascending; the last is `u64::MAX`.
pub fn latency_bounds() -> impl Iterator<Item = u64> {
    (0..BUCKETS).map(upper_bound)
}

/// The first latency in microseconds that is too slow for a bucket; the last bucket has no bound.
pub(crate) fn upper_bound(index: usize) -> u64 {
    if index + 1 >= BUCKETS {
        return u64::MAX;
    }
    let octave = u32::try_from(index / 4).unwrap_or(0) + FIRST_OCTAVE;
    let quarter = (index % 4) as u64 + 1;
    (1_u64 << octave) + quarter * (1_u64 << (octave - 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_lies_below_its_bound_and_not_below_the_one_before() {
        for micros in (0..4_000).chain([65_535, 65_536, 1_000_000, 60_000_000, 67_108_863, 1 << 40]) {
            let index = bucket(micros);
            assert!(micros < upper_bound(index), "{micros} in {index}");
            assert!(index == 0 || micros >= upper_bound(index - 1), "{micros} in {index}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }
}
