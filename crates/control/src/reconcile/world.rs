//! The intent as it is written down, loaded at the beginning of a round and written back as it changes.

use std::collections::{BTreeMap, BTreeSet};

use kiln_model::{FleetId, Name, ReleaseNumber};
use kiln_proxy::RouteTable;
use rusqlite::Connection;

use crate::event::{KILN, RolloutId, What};
use crate::state::events::{self, About};
use crate::state::{
    Desired, Entry, Pointer, StateError, Stored, Taint, fleets, releases, rollouts, routes, services, taints,
};

/// What is intended.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) pointers: Vec<Pointer>,
    pub(crate) fleets: Vec<Desired>,
    pub(crate) rollouts: Vec<Entry>,
    pub(crate) releases: BTreeMap<FleetId, Stored>,
    pub(crate) taints: Vec<Taint>,
    pub(crate) table: RouteTable,
}

impl World {
    /// Reads it all: the releases are those that a fleet or an open rollout names.
    pub(crate) fn load(db: &Connection) -> Result<Self, StateError> {
        let mut world = Self {
            pointers: services::all(db)?,
            fleets: fleets::all(db)?,
            rollouts: rollouts::open(db)?,
            releases: BTreeMap::new(),
            taints: taints::all(db)?,
            table: routes::get(db)?,
        };
        let named = world.fleets.iter().map(|it| &it.fleet).chain(world.rollouts.iter().map(|it| &it.fleet));
        let named: BTreeSet<FleetId> = named.cloned().collect();
        for id in named {
            if let Some(stored) = releases::get(db, &id)? {
                world.releases.insert(id, stored);
            }
        }
        Ok(world)
    }

    pub(crate) fn pointer(&self, environment: &Name, service: &Name) -> Option<&Pointer> {
        self.pointers.iter().find(|it| it.environment == *environment && it.service == *service)
    }

    /// Whether any fleet of the service has a port, so that its traffic runs through the data plane.
    pub(crate) fn routed(&self, environment: &Name, service: &Name) -> bool {
        let own = |id: &FleetId| id.environment == *environment && id.service == *service;
        self.releases.iter().any(|(id, stored)| own(id) && !stored.release.content.config.ports.is_empty())
    }

    /// The wanted weights of a service, without zeros.
    pub(crate) fn weights(&self, environment: &Name, service: &Name) -> BTreeMap<FleetId, u8> {
        let own = |it: &&Desired| it.fleet.environment == *environment && it.fleet.service == *service;
        let weighty = self.fleets.iter().filter(own).filter(|it| it.weight > 0);
        weighty.map(|it| (it.fleet.clone(), it.weight)).collect()
    }

    pub(crate) fn size(&self, fleet: &FleetId) -> u32 {
        self.fleets.iter().find(|it| it.fleet == *fleet).map_or(0, |it| it.size)
    }

    /// Wants another size of a fleet.
    pub(crate) fn set_size(&mut self, db: &Connection, fleet: &FleetId, size: u32) -> Result<(), StateError> {
        self.change(db, fleet, |it| it.size = size)
    }

    /// Wants these weights in a service; fleets not named get 0.
    pub(crate) fn set_weights(
        &mut self,
        db: &Connection,
        environment: &Name,
        service: &Name,
        weights: &BTreeMap<FleetId, u8>,
    ) -> Result<(), StateError> {
        let own = |it: &&Desired| it.fleet.environment == *environment && it.fleet.service == *service;
        let known = self.fleets.iter().filter(own).map(|it| it.fleet.clone());
        let all: BTreeSet<FleetId> = known.chain(weights.keys().cloned()).collect();
        for fleet in all {
            let weight = weights.get(&fleet).copied().unwrap_or(0);
            self.change(db, &fleet, |it| it.weight = weight)?;
        }
        Ok(())
    }

    /// A service is to run one release alone, or none.
    pub(crate) fn settle(
        &mut self,
        db: &Connection,
        environment: &Name,
        service: &Name,
        only: Option<(ReleaseNumber, u32)>,
    ) -> Result<(), StateError> {
        let id = |release| FleetId { environment: environment.clone(), service: service.clone(), release };
        let weights = only.iter().map(|(release, _)| (id(*release), 100)).collect();
        self.set_weights(db, environment, service, &weights)?;
        let own = |it: &&Desired| it.fleet.environment == *environment && it.fleet.service == *service;
        let all: Vec<FleetId> = self.fleets.iter().filter(own).map(|it| it.fleet.clone()).collect();
        for fleet in all {
            let size = only.filter(|(release, _)| *release == fleet.release).map_or(0, |(_, size)| size);
            self.set_size(db, &fleet, size)?;
        }
        Ok(())
    }

    fn change(
        &mut self,
        db: &Connection,
        fleet: &FleetId,
        change: impl FnOnce(&mut Desired),
    ) -> Result<(), StateError> {
        let place = self.fleets.iter().position(|it| it.fleet == *fleet).unwrap_or_else(|| {
            self.fleets.push(Desired { fleet: fleet.clone(), size: 0, weight: 0 });
            self.fleets.len() - 1
        });
        change(&mut self.fleets[place]);
        fleets::put(db, &self.fleets[place])
    }
}

/// Appends an event of the control plane's own about a rollout.
pub(crate) fn tell(db: &Connection, entry: &Entry, at_ms: i64, what: &What) -> Result<(), StateError> {
    append(db, &entry.fleet, Some(entry.id), KILN, at_ms, what)
}

/// Appends an event about a fleet.
pub(crate) fn append(
    db: &Connection,
    fleet: &FleetId,
    rollout: Option<RolloutId>,
    who: &str,
    at_ms: i64,
    what: &What,
) -> Result<(), StateError> {
    let about = About {
        environment: &fleet.environment,
        service: &fleet.service,
        release: Some(fleet.release),
        rollout,
        who,
        at_ms,
    };
    events::append(db, about, what)
}
