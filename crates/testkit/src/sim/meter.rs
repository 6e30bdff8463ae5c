//! What the data plane counts.

use std::collections::BTreeMap;

use kiln_model::FleetId;
use kiln_rollout::analysis::Sample;

use crate::{FakeTraffic, Rng};

/// Counters by fleet since the data plane's last start.
pub(super) struct Meter {
    rng: Rng,
    /// Requests on one instance between two turns, at most.
    rate: u64,
    /// Failed ones in a thousand, by fleet.
    failing: BTreeMap<FleetId, u32>,
    samples: BTreeMap<FleetId, Sample>,
    epoch_ms: i64,
}

impl Meter {
    pub(super) fn new(seed: u64, rate: u64, epoch_ms: i64) -> Self {
        let (failing, samples) = (BTreeMap::new(), BTreeMap::new());
        Self { rng: Rng::new(seed), rate, failing, samples, epoch_ms }
    }

    pub(super) fn fails(&mut self, fleet: FleetId, permille: u32) {
        self.failing.insert(fleet, permille);
    }

    /// The data plane was restarted: it counts from zero.
    pub(super) fn restart(&mut self, now_ms: i64) {
        self.samples.clear();
        self.epoch_ms = now_ms;
    }

    /// Requests come to what has traffic.
    pub(super) fn tick(&mut self, traffic: &FakeTraffic) {
        let (_, table) = traffic.in_force();
        for (fleet, weight) in table.weights.clone() {
            let ready = table.ready.get(&fleet).map_or(0, std::collections::BTreeSet::len) as u64;
            let most = ready * self.rate * u64::from(weight) / 50;
            let requests = self.rng.below(most.min(2_000) + 1);
            self.add(&fleet, requests);
        }
    }

    /// Synthetic requests to a fleet.
    pub(super) fn probe(&mut self, fleet: &FleetId) {
        self.add(fleet, 20);
    }

    fn add(&mut self, fleet: &FleetId, requests: u64) {
        let permille = self.failing.get(fleet).copied().unwrap_or(0);
        let failed = (0..requests).filter(|_| self.rng.chance(permille)).count() as u64;
        let sample = self.samples.entry(fleet.clone()).or_default();
        sample.requests += requests;
        sample.failed += failed;
    }

    pub(super) fn read(&self) -> (BTreeMap<FleetId, Sample>, i64) {
        (self.samples.clone(), self.epoch_ms)
    }
}
