//! What outlives a table: instances with work under way, counters, turns.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::UNIX_EPOCH;

use kiln_model::{FleetId, InstanceId, UpgradedDrain};

use crate::hold::Queue;
use crate::metrics::FleetStats;
use crate::table::{Endpoint, Instance, RouteTable};
use crate::target::{Sequence, Target};
use crate::turns::Turns;
use crate::worker::millis;
use crate::{FleetMetrics, InFlight};

/// Fleets that left the table and whose counters are still shown, so that their last requests are not missed.
const FLEETS_REMEMBERED: usize = 16;

/// What outlives a table.
pub(crate) struct Registry {
    targets: HashMap<(InstanceId, Endpoint), Entry>,
    turns: HashMap<String, Arc<Turns>>,
    queues: BTreeMap<String, Arc<Queue>>,
    stats: BTreeMap<FleetId, Arc<FleetStats>>,
    gone: VecDeque<FleetId>,
    workers: usize,
    sequence: Sequence,
    next_key: u64,
    /// When this process began to count, in milliseconds since 1970.
    pub(crate) started_ms: u64,
}

struct Entry {
    target: Arc<Target>,
    /// As the table in force has it; `None` when it does not list the instance.
    role: Option<Role>,
    /// As the next table has it.
    next: Option<Role>,
}

/// What a table wants of an instance.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Role {
    pub(crate) part: Part,
    pub(crate) upgraded: UpgradedDrain,
}

/// How much of the traffic an instance takes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// None any more.
    Draining,
    /// What asks for it.
    Preview,
    /// Its share.
    Weighted,
}

impl Registry {
    pub(crate) fn new(workers: usize, sequence: Sequence) -> Self {
        Self {
            targets: HashMap::new(),
            turns: HashMap::new(),
            queues: BTreeMap::new(),
            stats: BTreeMap::new(),
            gone: VecDeque::new(),
            workers,
            sequence,
            next_key: 1,
            started_ms: UNIX_EPOCH.elapsed().map_or(0, millis),
        }
    }

    /// The target of an instance, which will have `role`.
    pub(crate) fn target(&mut self, instance: &Instance, role: Role) -> Arc<Target> {
        let (sequence, next_key) = (&self.sequence, &mut self.next_key);
        let entry =
            self.targets.entry((instance.id.clone(), instance.endpoint.clone())).or_insert_with(|| {
                *next_key += 1;
                let (id, endpoint) = (instance.id.clone(), instance.endpoint.clone());
                let target = Target::new(id, endpoint, *next_key, Arc::clone(sequence));
                Entry { target: Arc::new(target), role: None, next: None }
            });
        // One that is listed twice has the larger part.
        entry.next = entry.next.filter(|next| next.part >= role.part).or(Some(role));
        Arc::clone(&entry.target)
    }

    /// The turn counters of a backend.
    pub(crate) fn turns(&mut self, backend: &str) -> Arc<Turns> {
        Arc::clone(self.turns.entry(backend.to_owned()).or_default())
    }

    /// The requests that are held for a backend.
    pub(crate) fn queue(&mut self, backend: &str) -> Arc<Queue> {
        Arc::clone(self.queues.entry(backend.to_owned()).or_default())
    }

    /// All of them, by backend.
    pub(crate) fn queues(&self) -> impl Iterator<Item = (&String, &Queue)> {
        self.queues.iter().map(|(key, queue)| (key, &**queue))
    }

    /// The counters of a fleet.
    pub(crate) fn stats(&mut self, id: &FleetId) -> Arc<FleetStats> {
        let workers = self.workers;
        self.gone.retain(|gone| gone != id);
        Arc::clone(
            self.stats.entry(id.clone()).or_insert_with(|| Arc::new(FleetStats::new(id.clone(), workers))),
        )
    }

    /// The compiled table is in force: instances that take no requests any more are told so. Returns the keys of
    /// those whose connections nobody needs.
    pub(crate) fn enter(&mut self, table: &RouteTable) -> Vec<u64> {
        let mut retired = Vec::new();
        for entry in self.targets.values_mut() {
            let (before, now) = (entry.role, entry.next.take());
            let part = now.map_or(Part::Draining, |role| role.part);
            entry.role = now;
            entry.target.quiet.store(part != Part::Weighted, SeqCst);
            entry.target.retired.store(part == Part::Draining, SeqCst);
            let Some(before) = before else { continue };
            let left = part == Part::Draining || before.part == Part::Weighted && part != Part::Weighted;
            if left && now.unwrap_or(before).upgraded == UpgradedDrain::Close {
                entry.target.close_upgraded();
            }
            if part == Part::Draining && before.part != Part::Draining {
                retired.push(entry.target.key);
            }
        }
        self.turns.retain(|key, _| table.backends.contains_key(key));
        self.queues.retain(|key, queue| table.backends.contains_key(key) || queue.now() > 0);
        self.remember(table);
        self.prune();
        retired
    }

    fn remember(&mut self, table: &RouteTable) {
        let listed: HashSet<&FleetId> =
            table.backends.values().flat_map(|backend| &backend.fleets).map(|fleet| &fleet.id).collect();
        let left = self.stats.keys().filter(|id| !listed.contains(id) && !self.gone.contains(id));
        let left: Vec<FleetId> = left.cloned().collect();
        self.gone.extend(left);
        while self.gone.len() > FLEETS_REMEMBERED {
            if let Some(oldest) = self.gone.pop_front() {
                self.stats.remove(&oldest);
            }
        }
    }

    /// Forgets instances that are in no table and have no work.
    pub(crate) fn prune(&mut self) {
        self.targets.retain(|_, entry| entry.role.is_some() || entry.target.in_flight() != (0, 0));
    }

    /// Tells all upgraded connections to close.
    pub(crate) fn close_upgraded(&self) {
        self.targets.values().for_each(|entry| entry.target.close_upgraded());
    }

    /// Work under way, by instance.
    pub(crate) fn in_flight(&self) -> BTreeMap<InstanceId, InFlight> {
        let mut all = BTreeMap::<InstanceId, InFlight>::new();
        for entry in self.targets.values() {
            let (requests, upgraded) = entry.target.in_flight();
            if requests + upgraded > 0 {
                let sum = all.entry(entry.target.id.clone()).or_default();
                sum.requests += requests;
                sum.upgraded += upgraded;
            }
        }
        all
    }

    /// Instances that ejection keeps out.
    pub(crate) fn ejected(&self, now: u64) -> Vec<InstanceId> {
        let out = self.targets.values().filter(|entry| entry.role.is_some() && entry.target.ejected(now));
        let mut out: Vec<_> = out.map(|entry| entry.target.id.clone()).collect();
        out.sort();
        out.dedup();
        out
    }

    /// The counters of all fleets.
    pub(crate) fn fleets(&self) -> BTreeMap<FleetId, FleetMetrics> {
        self.stats.iter().map(|(id, stats)| (id.clone(), stats.sum())).collect()
    }

    /// The counters of all fleets as they are.
    pub(crate) fn all_stats(&self) -> impl Iterator<Item = &Arc<FleetStats>> {
        self.stats.values()
    }
}
