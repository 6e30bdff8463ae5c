//! Counters of a fleet: one cache line set per worker, so that counting never makes two processors meet.

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
    shards: Box<[Shard]>,
}

#[repr(align(128))]
struct Shard {
    requests: AtomicU64,
    status: [AtomicU64; 5],
    errors: AtomicU64,
    micros: AtomicU64,
    latency: [AtomicU64; BUCKETS],
}

impl FleetStats {
    pub(crate) fn new(id: FleetId, workers: usize) -> Self {
        let shard = || Shard {
            requests: AtomicU64::new(0),
            status: Default::default(),
            errors: AtomicU64::new(0),
            micros: AtomicU64::new(0),
            latency: std::array::from_fn(|_| AtomicU64::new(0)),
        };
        Self { id, turn: AtomicUsize::new(0), shards: (0..workers.max(1)).map(|_| shard()).collect() }
    }

    /// An instance answered.
    pub(crate) fn answered(&self, worker: usize, status: StatusCode, took: Duration) {
        let shard = &self.shards[worker];
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        shard.requests.fetch_add(1, Relaxed);
        if let Some(class) = shard.status.get(usize::from(status.as_u16() / 100).wrapping_sub(1)) {
            class.fetch_add(1, Relaxed);
        }
        shard.micros.fetch_add(micros, Relaxed);
        shard.latency[bucket(micros)].fetch_add(1, Relaxed);
    }

    /// No instance answered.
    pub(crate) fn failed(&self, worker: usize) {
        self.shards[worker].requests.fetch_add(1, Relaxed);
        self.shards[worker].errors.fetch_add(1, Relaxed);
    }

    /// An answer broke off after its head.
    pub(crate) fn broke_off(&self, worker: usize) {
        self.shards[worker].errors.fetch_add(1, Relaxed);
    }

    /// The sums over all workers.
    pub(crate) fn sum(&self) -> FleetMetrics {
        let add = |of: &dyn Fn(&Shard) -> &AtomicU64| self.shards.iter().map(|s| of(s).load(Relaxed)).sum();
        FleetMetrics {
            requests: add(&|s| &s.requests),
            status: std::array::from_fn(|class| add(&|s| &s.status[class])),
            errors: add(&|s| &s.errors),
            latency: (0..BUCKETS).map(|i| (upper_bound(i), add(&|s| &s.latency[i]))).collect(),
        }
    }

    /// Sum of all latencies in microseconds.
    pub(crate) fn micros(&self) -> u64 {
        self.shards.iter().map(|s| s.micros.load(Relaxed)).sum()
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
