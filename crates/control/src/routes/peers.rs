//! Listeners through which instances call other services by name.

use std::net::SocketAddr;

use kiln_model::{Name, Port, Protocol};
use kiln_provider::Peer;
use kiln_proxy::{Bind, Route};

use super::listeners::{Claim, Claimed};
use super::{FleetInput, PeerListen, Service, Services, backends, insides};

/// The claims of one service's fleets for the services that they call.
pub(super) fn claims(caller: &Service<'_>, services: &Services<'_>, listen: &PeerListen) -> Vec<Claim> {
    let mut claims = Vec::new();
    for fleet in &caller.fleets {
        for peer in &fleet.stored.peers {
            let Some((port, declared)) = port_of(services, caller.environment, peer) else { continue };
            let backend = backends::key(caller.environment, &peer.service, port);
            let route = match declared.protocol {
                Protocol::Tcp => Claimed::Bytes { backend },
                Protocol::Http | Protocol::H2c => Claimed::Requests(Route {
                    host: Some(peer.service.to_string()),
                    path: "/".into(),
                    backend,
                }),
            };
            let owner = format!("{}/{}", caller.environment, peer.service);
            let claim = |bind| Claim { bind, tls: None, route: route.clone(), owner: owner.clone() };
            claims.extend(binds(fleet, peer, listen).into_iter().map(claim));
        }
    }
    claims
}

fn binds(fleet: &FleetInput<'_>, peer: &Peer, listen: &PeerListen) -> Vec<Bind> {
    match listen {
        PeerListen::On(ip) => vec![Bind::Tcp { addr: SocketAddr::new(*ip, peer.port) }],
        PeerListen::Inside => {
            insides(fleet).into_iter().map(|socket| Bind::Inside { socket, port: peer.port }).collect()
        }
    }
}

/// The named port behind a number, as the service that is called declares it now.
fn port_of<'a>(services: &Services<'a>, environment: &Name, peer: &Peer) -> Option<(&'a Name, &'a Port)> {
    let called = services.get(&(environment, &peer.service))?;
    let ports = &called.leader_or_newest()?.stored.release.content.config.ports;
    ports.iter().find(|(_, port)| port.number == peer.port)
}
