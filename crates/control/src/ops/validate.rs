//! What must hold of contents before they become releases.

use std::path::Path;

use kiln_model::ReleaseContent;
use kiln_provider::{InstanceObservation, Peer, Phase};
use kiln_proxy::RouteTable;
use rusqlite::Connection;

use super::ControlError;
use super::assess::{Assessed, wanted};
use crate::routes::{self, FleetInput, PeerListen};
use crate::state::{Desired, Stored, services};

/// Judges each content by itself, and then all services together as they would be.
pub(super) fn validate(
    db: &Connection,
    assessed: &[Assessed],
    peers: &PeerListen,
) -> Result<(), ControlError> {
    for one in assessed {
        exposes(&one.content)?;
        if *peers == PeerListen::Inside {
            own_ports(one)?;
        }
        let rollout = &one.content.service.rollout;
        kiln_rollout::plan(rollout, one.content.service.replicas, None)
            .map_err(|source| ControlError::Plan { service: one.content.service.name.clone(), source })?;
    }
    together(db, assessed, peers)
}

fn exposes(content: &ReleaseContent) -> Result<(), ControlError> {
    let service = &content.service.name;
    for expose in &content.service.expose {
        let ports = &content.config.ports;
        let port = ports.get(&expose.port).ok_or_else(|| ControlError::Port {
            service: service.clone(),
            port: expose.port.clone(),
            known: ports.keys().cloned().collect(),
        })?;
        routes::listen_address(expose, port.protocol, port.number).map_err(|address| {
            ControlError::Address { service: service.clone(), port: expose.port.clone(), address }
        })?;
        let files = expose.tls.iter().flat_map(|tls| [&tls.certificate, &tls.key]);
        for path in files {
            if !Path::new(path).is_absolute() {
                return Err(ControlError::Certificate { service: service.clone(), path: path.clone() });
            }
        }
    }
    Ok(())
}

/// Listeners for peers are on the loopback that the instance's own ports are on too.
fn own_ports(one: &Assessed) -> Result<(), ControlError> {
    let own = |peer: &&Peer| one.content.config.ports.values().any(|port| port.number == peer.port);
    match one.peers.iter().find(own) {
        None => Ok(()),
        Some(peer) => Err(ControlError::OwnPort {
            service: one.content.service.name.clone(),
            port: peer.port,
            called: peer.service.clone(),
        }),
    }
}

/// Builds the routes of every service at its wanted release; claims that exclude each other are refused now, and not
/// when traffic is to move.
fn together(db: &Connection, assessed: &[Assessed], peers: &PeerListen) -> Result<(), ControlError> {
    let mut all = Vec::new();
    for pointer in services::all(db)? {
        let replaced = |it: &Assessed| {
            it.pointer.environment == pointer.environment && it.pointer.service == pointer.service
        };
        if !assessed.iter().any(replaced) {
            all.extend(wanted(db, &pointer.environment, &pointer.service)?);
        }
    }
    all.extend(assessed.iter().map(as_stored));
    let worlds: Vec<(Desired, Stored, [InstanceObservation; 1])> = all
        .into_iter()
        .map(|stored| {
            let fleet = stored.release.fleet();
            let caller = caller(&fleet.to_string());
            (Desired { fleet, size: 1, weight: 100 }, stored, [caller])
        })
        .collect();
    let inputs: Vec<FleetInput<'_>> = worlds
        .iter()
        .map(|(desired, stored, instances)| FleetInput { desired, stored, instances, leaving: false })
        .collect();
    let conflicts = routes::build(&inputs, peers, &RouteTable::default()).conflicts;
    if conflicts.is_empty() {
        return Ok(());
    }
    Err(ControlError::Conflict(conflicts.iter().map(ToString::to_string).collect()))
}

pub(super) fn as_stored(one: &Assessed) -> Stored {
    let release = kiln_model::Release {
        environment: one.pointer.environment.clone(),
        number: one.release,
        digest: one.digest,
        content: one.content.clone(),
        created_ms: 0,
        author: String::new(),
        reason: None,
    };
    Stored { release, peers: one.peers.clone(), replicas: one.content.service.replicas }
}

/// An instance that calls its peers from its own network.
fn caller(fleet: &str) -> InstanceObservation {
    InstanceObservation {
        id: kiln_model::InstanceId(fleet.into()),
        phase: Phase::Starting,
        started_ms: 0,
        ready_since_ms: None,
        endpoints: Default::default(),
        supervisor: Some(fleet.into()),
        pid: None,
        retiring: None,
        tainted: false,
        failure: None,
    }
}
