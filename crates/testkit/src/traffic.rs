//! A data plane in memory: tables in, acknowledgements out, requests that take their time.

use std::collections::{BTreeMap, BTreeSet};

use kiln_model::{FleetId, InstanceId};

use crate::Rng;

/// What the data plane is told: the parts of a route table that matter to a rollout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Percent by fleet; sums to 100, or is empty.
    pub weights: BTreeMap<FleetId, u8>,
    /// Instances that take requests, by fleet.
    pub ready: BTreeMap<FleetId, BTreeSet<InstanceId>>,
}

impl Table {
    /// Whether new requests may go to an instance: it is known as ready and its fleet has weight.
    pub fn routes_to(&self, instance: &InstanceId) -> bool {
        let weight = |fleet| self.weights.get(fleet).copied().unwrap_or(0);
        self.ready.iter().any(|(fleet, ready)| weight(fleet) > 0 && ready.contains(instance))
    }

    /// Instances that new requests may go to.
    pub fn routed(&self) -> impl Iterator<Item = &InstanceId> {
        let weight = |fleet| self.weights.get(fleet).copied().unwrap_or(0);
        self.ready.iter().filter(move |(fleet, _)| weight(fleet) > 0).flat_map(|(_, ready)| ready)
    }
}

/// How often a table goes astray, in a thousand each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrafficFaults {
    /// It never arrives.
    pub lost: u32,
    /// It is in force, but the acknowledgement never arrives.
    pub unanswered: u32,
    /// It comes into force up to two seconds later, and the acknowledgement never arrives.
    pub late: u32,
}

/// The data plane's double. Versions only grow: what arrives late and older than the table in force is dropped.
#[derive(Debug)]
pub struct FakeTraffic {
    version: u64,
    table: Table,
    late: Vec<(i64, u64, Table)>,
    in_flight: BTreeMap<InstanceId, u64>,
    /// One request in a thousand that never ends, on instances that were given one.
    stuck: BTreeSet<InstanceId>,
    faults: TrafficFaults,
    rng: Rng,
}

impl FakeTraffic {
    /// A data plane without a table.
    pub fn new(seed: u64, faults: TrafficFaults) -> Self {
        Self {
            version: 0,
            table: Table::default(),
            late: Vec::new(),
            in_flight: BTreeMap::new(),
            stuck: BTreeSet::new(),
            faults,
            rng: Rng::new(seed),
        }
    }

    /// The table in force and its version.
    pub fn in_force(&self) -> (u64, &Table) {
        (self.version, &self.table)
    }

    /// Requests under way on an instance.
    pub fn in_flight(&self, instance: &InstanceId) -> u64 {
        self.in_flight.get(instance).copied().unwrap_or(0)
    }

    /// Offers a table. The answer is the acknowledged version, or nothing when anything got lost or it is refused.
    pub fn put(&mut self, version: u64, table: &Table, now_ms: i64) -> Option<u64> {
        self.arrive(now_ms);
        if self.rng.chance(self.faults.lost) {
            return None;
        }
        if self.rng.chance(self.faults.late) {
            let delay = self.rng.below(2_000);
            self.late.push((now_ms.saturating_add_unsigned(delay), version, table.clone()));
            return None;
        }
        let taken = self.apply(version, table);
        (taken && !self.rng.chance(self.faults.unanswered)).then_some(version)
    }

    fn apply(&mut self, version: u64, table: &Table) -> bool {
        if version == self.version {
            return *table == self.table;
        }
        if version < self.version {
            return false;
        }
        (self.version, self.table) = (version, table.clone());
        true
    }

    fn arrive(&mut self, now_ms: i64) {
        let (due, waiting) = std::mem::take(&mut self.late).into_iter().partition(|(at, _, _)| *at <= now_ms);
        self.late = waiting;
        for (_, version, table) in due {
            self.apply(version, &table);
        }
    }

    /// Lets requests come and end. Half of those under way end; `lives` tells which instances can take new ones.
    /// Returns the instances that requests were sent to in vain.
    pub fn tick(&mut self, now_ms: i64, lives: impl Fn(&InstanceId) -> bool) -> Vec<InstanceId> {
        self.arrive(now_ms);
        let (mut wasted, mut busy) = (Vec::new(), BTreeMap::new());
        for (id, under_way) in &self.in_flight {
            let left = (under_way / 2).max(u64::from(self.stuck.contains(id)));
            if left > 0 && lives(id) {
                busy.insert(id.clone(), left);
            }
        }
        for id in self.table.routed() {
            if lives(id) {
                *busy.entry(id.clone()).or_default() += self.rng.below(8);
                if self.rng.chance(1) {
                    self.stuck.insert(id.clone());
                }
            } else {
                wasted.push(id.clone());
            }
        }
        self.in_flight = busy;
        wasted
    }
}
