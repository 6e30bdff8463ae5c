//! The route table, built from what is wanted and what is observed. Pure: equal input gives equal output, so a table
//! is only handed over when its content changed.
//!
//! | part | from |
//! |---|---|
//! | listeners | `expose` of the newest release with weight, merged by address; peers of every fleet. Between two fleets that never run together the old one's stay, so that clients are told 503 and not refused |
//! | backends | each port of each service, keyed `environment/service/port` |
//! | fleets of a backend | wanted fleets with their wanted weights |
//! | `instances` | ready ones; where there is none, those that fail their probes (better than nothing); and instances that leave only because a person touched them, until their replacements are ready |
//! | `draining` | the other instances that are asked to leave |

mod backends;
mod listeners;
mod peers;
mod selection;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use kiln_model::{Expose, Name, Protocol};
use kiln_provider::InstanceObservation;
use kiln_proxy::RouteTable;

use crate::state::{Desired, Stored};

pub use listeners::Conflict;

/// One fleet as the table needs it.
#[derive(Clone, Copy, Debug)]
pub struct FleetInput<'a> {
    /// What is wanted of it.
    pub desired: &'a Desired,
    /// Its release.
    pub stored: &'a Stored,
    /// Its instances.
    pub instances: &'a [InstanceObservation],
    /// Its service was told to stop.
    pub leaving: bool,
}

/// How instances reach the services they call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerListen {
    /// The data plane listens on this address of the machine.
    On(IpAddr),
    /// The data plane listens inside each instance's own network.
    Inside,
}

/// A table, and what could not be put into it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Built {
    /// The table, with version 0.
    pub table: RouteTable,
    /// Claims on a socket or route that another service already holds; the first one keeps it.
    pub conflicts: Vec<Conflict>,
}

/// Builds the table that follows `last`.
pub fn build(fleets: &[FleetInput<'_>], peers: &PeerListen, last: &RouteTable) -> Built {
    let services = by_service(fleets);
    let listed = last.backends.values().flat_map(|backend| &backend.fleets);
    let served = listed.flat_map(|fleet| &fleet.instances).map(|instance| &instance.id).collect();
    let backends = services.values().flat_map(|service| service.backends(&served)).collect();
    let mut claims = Vec::new();
    for service in services.values() {
        claims.extend(service.exposed(last));
    }
    for service in services.values() {
        claims.extend(peers::claims(service, &services, peers));
    }
    let (listeners, conflicts) = listeners::merge(claims);
    Built { table: RouteTable { version: 0, listeners, backends }, conflicts }
}

/// The fleets of one service, oldest first.
struct Service<'a> {
    environment: &'a Name,
    name: &'a Name,
    fleets: Vec<FleetInput<'a>>,
}

type Services<'a> = BTreeMap<(&'a Name, &'a Name), Service<'a>>;

fn by_service<'a>(fleets: &[FleetInput<'a>]) -> Services<'a> {
    let mut services: Services<'a> = BTreeMap::new();
    for fleet in fleets {
        let id = &fleet.desired.fleet;
        let service = services.entry((&id.environment, &id.service)).or_insert_with(|| Service {
            environment: &id.environment,
            name: &id.service,
            fleets: Vec::new(),
        });
        service.fleets.push(*fleet);
    }
    for service in services.values_mut() {
        service.fleets.sort_by_key(|fleet| fleet.desired.fleet.release);
    }
    services
}

impl<'a> Service<'a> {
    /// The newest fleet with weight: what it says about listeners and traffic is in force.
    fn leader(&self) -> Option<&FleetInput<'a>> {
        self.fleets.iter().rev().find(|fleet| fleet.desired.weight > 0)
    }

    /// The leader, or else the newest fleet.
    fn leader_or_newest(&self) -> Option<&FleetInput<'a>> {
        self.leader().or_else(|| self.fleets.last())
    }
}

/// The address that an `expose` block listens on.
///
/// # Errors
/// The text that is no address.
pub fn listen_address(expose: &Expose, protocol: Protocol, number: u16) -> Result<SocketAddr, String> {
    let ip = match expose.address.as_deref() {
        None | Some("localhost") => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Some("*") => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Some(text) => text.trim_matches(['[', ']']).parse().map_err(|_| text.to_owned())?,
    };
    let usual = match (protocol, &expose.tls) {
        (Protocol::Tcp, _) => number,
        (Protocol::Http | Protocol::H2c, Some(_)) => 8443,
        (Protocol::Http | Protocol::H2c, None) => 8080,
    };
    Ok(SocketAddr::new(ip, expose.listen.unwrap_or(usual)))
}

/// The socket of the supervisor of each instance that may call peers.
fn insides(fleet: &FleetInput<'_>) -> Vec<PathBuf> {
    use kiln_provider::Phase;
    let lives = |phase| matches!(phase, Phase::Starting | Phase::Ready | Phase::Unready | Phase::Draining);
    let living = fleet.instances.iter().filter(|instance| lives(instance.phase));
    living.filter_map(|instance| instance.supervisor.clone()).collect()
}
