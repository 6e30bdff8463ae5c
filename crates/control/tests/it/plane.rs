//! A data plane in memory with the real tables and rules: versions only grow, and what it acknowledged is in force.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kiln_control::{Traffic, TrafficError};
use kiln_model::{FleetId, InstanceId};
use kiln_proxy::{Ack, FleetMetrics, InFlight, Refused, RouteTable, Status};
use tokio::sync::watch;

/// The double; clones are the same data plane.
#[derive(Clone, Debug)]
pub(crate) struct Plane {
    inner: Arc<Mutex<Inner>>,
    seq: Arc<watch::Sender<u64>>,
}

#[derive(Debug, Default)]
struct Inner {
    table: RouteTable,
    in_flight: BTreeMap<InstanceId, InFlight>,
    fleets: BTreeMap<FleetId, FleetMetrics>,
    refuse: Option<String>,
    down: bool,
    /// Every table that was in force.
    history: Vec<RouteTable>,
}

#[derive(Debug, thiserror::Error)]
#[error("the test took it down")]
struct Down;

impl Default for Plane {
    fn default() -> Self {
        Self { inner: Arc::default(), seq: Arc::new(watch::Sender::new(1)) }
    }
}

impl Plane {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bump(&self) {
        self.seq.send_modify(|seq| *seq += 1);
    }

    /// Refuses every table with a listener from now on, as when its port is in use, or none.
    pub(crate) fn refuse(&self, why: Option<&str>) {
        self.lock().refuse = why.map(Into::into);
    }

    /// Stops answering, or answers again.
    pub(crate) fn set_down(&self, down: bool) {
        self.lock().down = down;
        self.bump();
    }

    /// Loses its table, as with its disk.
    pub(crate) fn lose(&self) {
        self.lock().table = RouteTable::default();
        self.bump();
    }

    /// Work under way on an instance.
    pub(crate) fn work(&self, instance: &InstanceId, requests: u64, upgraded: u64) {
        let mut inner = self.lock();
        if requests + upgraded == 0 {
            inner.in_flight.remove(instance);
        } else {
            inner.in_flight.insert(instance.clone(), InFlight { requests, upgraded });
        }
        drop(inner);
        self.bump();
    }

    /// Counts a hundred requests, shared by the weights in force; of those to `bad`, `failing` percent fail.
    pub(crate) fn serve(&self, service: &str, bad: &str, failing: u64) {
        for (fleet, weight) in self.weights(service) {
            let mut inner = self.lock();
            let bad = fleet.to_string() == bad;
            let counted = inner.fleets.entry(fleet).or_default();
            let weight = u64::from(weight);
            let before = counted.requests * failing / 100;
            counted.requests += weight;
            counted.latency = vec![(2_000, counted.requests), (u64::MAX, 0)];
            if bad {
                counted.failed += counted.requests * failing / 100 - before;
            }
        }
        self.bump();
    }

    /// The table in force.
    pub(crate) fn table(&self) -> RouteTable {
        self.lock().table.clone()
    }

    /// Every table that was in force, oldest first.
    pub(crate) fn history(&self) -> Vec<RouteTable> {
        self.lock().history.clone()
    }

    /// Weights in force of a service's backends.
    pub(crate) fn weights(&self, service: &str) -> BTreeMap<FleetId, u8> {
        let table = self.table();
        let fleets = table.backends.values().flat_map(|backend| &backend.fleets);
        let own = fleets.filter(|fleet| fleet.id.service.as_str() == service && fleet.weight > 0);
        own.map(|fleet| (fleet.id.clone(), fleet.weight)).collect()
    }

    fn told(&self) -> Result<Status, TrafficError> {
        let inner = self.lock();
        if inner.down {
            return Err(TrafficError::Unreachable { source: Box::new(Down) });
        }
        Ok(Status {
            seq: *self.seq.borrow(),
            version: inner.table.version,
            pid: 4711,
            in_flight: inner.in_flight.clone(),
            fleets: inner.fleets.clone(),
            ..Status::default()
        })
    }
}

impl Traffic for Plane {
    async fn put_table(&self, table: &RouteTable) -> Result<Ack, TrafficError> {
        tokio::task::yield_now().await;
        let mut inner = self.lock();
        if inner.down {
            return Err(TrafficError::Unreachable { source: Box::new(Down) });
        }
        let version = inner.table.version;
        let refused = |error: &str| TrafficError::Refused(Refused { version, error: error.into() });
        if *table == inner.table {
            return Ok(Ack { version });
        }
        if table.version <= version {
            return Err(refused("the version does not grow"));
        }
        if let Some(why) = inner.refuse.as_ref().filter(|_| !table.listeners.is_empty()) {
            return Err(refused(why));
        }
        for (key, backend) in &table.backends {
            let sum: u32 = backend.fleets.iter().map(|fleet| u32::from(fleet.weight)).sum();
            if sum != 0 && sum != 100 {
                return Err(refused(&format!("the weights of {key} sum to {sum}")));
            }
        }
        inner.table = table.clone();
        inner.history.push(table.clone());
        drop(inner);
        self.bump();
        Ok(Ack { version: table.version })
    }

    async fn status(&self) -> Result<Status, TrafficError> {
        tokio::task::yield_now().await;
        self.told()
    }

    async fn status_after(&self, seq: u64) -> Result<Status, TrafficError> {
        let mut changes = self.seq.subscribe();
        let _ = changes.wait_for(|now| *now > seq).await;
        self.told()
    }
}
