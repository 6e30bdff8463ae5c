//! What the provider knows: fleets as they are wished, instances as they are. Everything here is plain data under one
//! lock; what has to survive is in files (see [`crate::layout`]).

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use kiln_model::{FleetId, InstanceId, Name};
use kiln_provider::{
    Endpoint, Failure, FleetObservation, FleetSpec, InstanceObservation, Observation, Phase, RetireReason,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::backoff::Backoff;
use crate::intent::Network;

/// Dead instances of a fleet that are kept, for their logs.
const REMEMBERED_DEAD: usize = 3;

/// A fleet as its file has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct FleetWish {
    pub(super) spec: FleetSpec,
    pub(super) size: u32,
}

/// A fleet.
pub(super) struct Fleet {
    pub(super) wish: FleetWish,
    pub(super) failed_starts: u32,
    pub(super) last_failure: Option<Failure>,
    pub(super) backoff: Backoff,
}

/// Why an instance leaves, as its `retire.json` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Retiring {
    pub(super) reason: RetireReason,
    /// The data plane is done with it.
    pub(super) drained: bool,
}

/// An instance.
pub(super) struct Instance {
    pub(super) fleet: FleetId,
    pub(super) phase: Phase,
    /// When it was intended.
    pub(super) created_ms: i64,
    pub(super) started_ms: Option<i64>,
    pub(super) ready_since_ms: Option<i64>,
    /// It was ready once.
    pub(super) was_ready: bool,
    pub(super) endpoints: BTreeMap<Name, Endpoint>,
    /// Its supervisor's socket, where that is the only way in.
    pub(super) supervisor: Option<PathBuf>,
    pub(super) network: Option<Network>,
    pub(super) pid: Option<u32>,
    pub(super) retiring: Option<Retiring>,
    pub(super) tainted: bool,
    pub(super) failure: Option<Failure>,
    pub(super) warnings: Vec<String>,
    /// Not to be started before.
    pub(super) not_before_ms: i64,
    /// It is to be stopped although nobody drained it: it never had traffic.
    pub(super) condemned: bool,
    /// Says "look" to the instance's task.
    pub(super) wake: Arc<Notify>,
}

/// Everything.
#[derive(Default)]
pub(super) struct State {
    pub(super) fleets: BTreeMap<FleetId, Fleet>,
    pub(super) instances: BTreeMap<InstanceId, Instance>,
    /// The address that was given last.
    pub(super) last_address: Option<Ipv4Addr>,
}

impl Fleet {
    pub(super) fn new(wish: FleetWish) -> Self {
        Self { wish, failed_starts: 0, last_failure: None, backoff: Backoff::default() }
    }
}

impl Instance {
    pub(super) fn new(fleet: FleetId, created_ms: i64) -> Self {
        Self {
            fleet,
            phase: Phase::Pending,
            created_ms,
            started_ms: None,
            ready_since_ms: None,
            was_ready: false,
            endpoints: BTreeMap::new(),
            supervisor: None,
            network: None,
            pid: None,
            retiring: None,
            tainted: false,
            failure: None,
            warnings: Vec::new(),
            not_before_ms: 0,
            condemned: false,
            wake: Arc::new(Notify::new()),
        }
    }

    /// Whether it counts towards its fleet's size.
    pub(super) fn stays(&self) -> bool {
        self.phase < Phase::Draining && !self.condemned
    }

    /// Whether it is to be told to stop now.
    pub(super) fn must_stop(&self) -> bool {
        self.condemned || self.retiring.is_some_and(|retiring| retiring.drained)
    }

    /// Begins to leave. One that was never started has nothing to drain.
    pub(super) fn retire(&mut self, reason: RetireReason) {
        let nothing_to_drain = self.phase == Phase::Pending;
        self.retiring = Some(Retiring { reason, drained: nothing_to_drain });
        self.phase = Phase::Draining;
        self.ready_since_ms = None;
        self.wake.notify_one();
    }

    fn observation(&self, id: &InstanceId) -> InstanceObservation {
        InstanceObservation {
            id: id.clone(),
            phase: self.phase,
            zone: None,
            started_ms: self.started_ms.unwrap_or(self.created_ms),
            ready_since_ms: self.ready_since_ms,
            endpoints: self.endpoints.clone(),
            supervisor: self.supervisor.clone(),
            pid: self.pid,
            retiring: self.retiring.map(|retiring| retiring.reason),
            tainted: self.tainted,
            failure: self.failure.clone(),
        }
    }
}

impl State {
    pub(super) fn observe(&self) -> Observation {
        let mut fleets: BTreeMap<FleetId, FleetObservation> = BTreeMap::new();
        for (id, fleet) in &self.fleets {
            let observation = FleetObservation {
                size: fleet.wish.size,
                instances: Vec::new(),
                failed_starts: fleet.failed_starts,
                last_failure: fleet.last_failure.clone(),
            };
            fleets.insert(id.clone(), observation);
        }
        for (id, instance) in &self.instances {
            fleets.entry(instance.fleet.clone()).or_default().instances.push(instance.observation(id));
        }
        Observation { fleets }
    }

    /// Addresses that instances have.
    pub(super) fn taken_addresses(&self) -> BTreeSet<Ipv4Addr> {
        let living = self.instances.values().filter(|instance| instance.phase != Phase::Exited);
        let address = |network: &Network| match network {
            Network::Bridge { address, .. } => Some(*address),
            Network::Loopback => None,
        };
        living.filter_map(|instance| instance.network.as_ref().and_then(address)).collect()
    }

    /// Instances of a fleet that count towards its size.
    pub(super) fn staying(&self, fleet: &FleetId) -> usize {
        self.instances.values().filter(|instance| instance.fleet == *fleet && instance.stays()).count()
    }

    /// Instances of which there are `count` too many: unhealthy first, then the youngest.
    pub(super) fn surplus(&self, fleet: &FleetId, count: usize) -> Vec<InstanceId> {
        let staying =
            self.instances.iter().filter(|(_, instance)| instance.fleet == *fleet && instance.stays());
        let mut order: Vec<_> = staying.collect();
        order.sort_by_key(|(id, instance)| {
            (instance.phase == Phase::Ready, std::cmp::Reverse(instance.created_ms), std::cmp::Reverse(*id))
        });
        order.into_iter().take(count).map(|(id, _)| id.clone()).collect()
    }

    /// Forgets the oldest dead instances of a fleet, so that a few remain; returns those forgotten.
    pub(super) fn forget_dead(&mut self, fleet: &FleetId, remembered: usize) -> Vec<InstanceId> {
        let is_dead = |instance: &Instance| instance.fleet == *fleet && instance.phase == Phase::Exited;
        let mut dead: Vec<_> = self
            .instances
            .iter()
            .filter(|(_, instance)| is_dead(instance))
            .map(|(id, instance)| (instance.created_ms, id.clone()))
            .collect();
        dead.sort();
        let gone: Vec<_> = dead.iter().rev().skip(remembered).map(|(_, id)| id.clone()).collect();
        for id in &gone {
            self.instances.remove(id);
        }
        gone
    }

    /// The same with the usual number of dead.
    pub(super) fn forget_old_dead(&mut self, fleet: &FleetId) -> Vec<InstanceId> {
        self.forget_dead(fleet, REMEMBERED_DEAD)
    }
}
