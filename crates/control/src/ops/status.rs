//! Everything at a glance.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use kiln_model::{FleetId, Protocol};
use kiln_provider::{Observation, Provider};
use kiln_proxy::{Bind, Status};
use rusqlite::Connection;

use super::ControlError;
use super::history::rollout;
use crate::api::{
    API_VERSION, FleetStatus, ProxyStatus, QuarantineStatus, ServiceStatus, StatusAnswer, VersionAnswer,
};
use crate::reconcile::{Control, World};
use crate::registry::RegistryService;
use crate::routes::listen_address;
use crate::state::{Desired, Pointer, Stored, events, quarantines, releases};
use crate::traffic::Traffic;
use crate::view::{self, DataPlane};

/// The version of this program.
pub(crate) fn version() -> VersionAnswer {
    VersionAnswer { version: env!("CARGO_PKG_VERSION").into(), api: API_VERSION, pid: std::process::id() }
}

/// What is seen, beside what is intended.
struct Sight {
    observation: Observation,
    plane: DataPlane,
    status: Status,
}

impl<P: Provider, T: Traffic> Control<P, T> {
    /// Everything at a glance, as it was last seen, with the data plane's counters of this moment.
    pub async fn status(&self) -> Result<StatusAnswer, ControlError> {
        let told = self.fresh_status().await;
        let (sight, problems, proxy) = {
            let memory = self.memory();
            let proxy = ProxyStatus {
                // What is asked may be the last word of one that is gone.
                pid: memory.status().and(told.as_ref()).map(|status| status.pid),
                version: told.as_ref().map_or(0, |status| status.version),
                wanted: memory.wanted(),
                listening: told.iter().flat_map(|it| &it.listeners).filter_map(|it| it.addr).collect(),
            };
            let sight = Sight {
                observation: memory.observation.clone(),
                plane: memory.plane().unwrap_or_default(),
                status: told.unwrap_or_default(),
            };
            (sight, memory.problems(), proxy)
        };
        let (services, last_event) = self
            .state()
            .transact(move |db| {
                let world = World::load(db)?;
                let all = world.pointers.iter().map(|pointer| service(db, &world, pointer, &sight));
                Ok::<_, ControlError>((all.collect::<Result<Vec<_>, _>>()?, events::last(db)?))
            })
            .await?;
        let warnings = self.warnings().to_vec();
        let registry = self.registry().and_then(RegistryService::place);
        Ok(StatusAnswer { serve: version(), proxy, registry, services, problems, warnings, last_event })
    }
}

fn service(
    db: &Connection,
    world: &World,
    pointer: &Pointer,
    sight: &Sight,
) -> Result<ServiceStatus, ControlError> {
    let (environment, name) = (&pointer.environment, &pointer.service);
    let own = |id: &FleetId| id.environment == *environment && id.service == *name;
    let weights = sight.plane.weights(environment, name);
    let fleets: Vec<FleetStatus> = world
        .fleets
        .iter()
        .filter(|desired| own(&desired.fleet))
        .filter_map(|desired| Some(fleet(desired, world.releases.get(&desired.fleet)?, &weights, sight)))
        .collect();
    let current = match pointer.current {
        Some(release) => releases::get(db, &pointer.fleet(release))?,
        None => None,
    };
    let open =
        world.rollouts.iter().filter(|entry| own(&entry.fleet)).max_by_key(|entry| entry.engine.is_some());
    let leader = fleets.iter().rev().find(|fleet| fleet.weight > 0).map(|fleet| &fleet.id);
    let leader = leader.and_then(|id| world.releases.get(id));
    let blocked = quarantines::of(db, environment, name)?.into_iter().map(|it| QuarantineStatus {
        digest: it.digest,
        release: it.release,
        reason: it.reason,
        at_ms: it.at_ms,
    });
    Ok(ServiceStatus {
        environment: environment.clone(),
        service: name.clone(),
        project: pointer.project.clone(),
        current: pointer.current,
        previous: pointer.previous,
        image: current.as_ref().map(|it| it.release.content.image),
        replicas: current.as_ref().map_or(0, |it| it.replicas),
        ready: fleets.iter().map(|fleet| fleet.counts.ready).sum(),
        urls: leader.map(|stored| urls(stored, &sight.status)).unwrap_or_default(),
        rollout: open.cloned().map(rollout),
        fleets,
        quarantined: blocked.collect(),
    })
}

fn fleet(desired: &Desired, stored: &Stored, weights: &BTreeMap<FleetId, u8>, sight: &Sight) -> FleetStatus {
    let seen = sight.observation.fleets.get(&desired.fleet).cloned().unwrap_or_default();
    FleetStatus {
        id: desired.fleet.clone(),
        image: stored.release.content.image,
        size: desired.size,
        weight: desired.weight,
        acknowledged: weights.get(&desired.fleet).copied().unwrap_or(0),
        counts: view::counts(&seen.instances),
        failed_starts: seen.failed_starts,
        last_failure: seen.last_failure,
        metrics: sight.status.fleets.get(&desired.fleet).cloned(),
    }
}

/// Where a release is reachable, with the ports that the system chose.
fn urls(stored: &Stored, status: &Status) -> Vec<String> {
    let content = &stored.release.content;
    let url = |expose: &kiln_model::Expose| {
        let port = content.config.ports.get(&expose.port)?;
        let asked = listen_address(expose, port.protocol, port.number).ok()?;
        let bind = Bind::Tcp { addr: asked };
        let real = status.listeners.iter().find(|it| it.bind == bind).and_then(|it| it.addr).unwrap_or(asked);
        Some(written(expose, port.protocol, real))
    };
    content.service.expose.iter().filter_map(url).collect()
}

fn written(expose: &kiln_model::Expose, protocol: Protocol, addr: SocketAddr) -> String {
    let scheme = match (protocol, &expose.tls) {
        (Protocol::Tcp, _) => return format!("tcp://{addr}"),
        (Protocol::Http | Protocol::H2c, Some(_)) => "https",
        (Protocol::Http | Protocol::H2c, None) => "http",
    };
    match expose.host.as_deref().filter(|host| !host.starts_with('*')) {
        Some(host) => format!("{scheme}://{host}:{}{}", addr.port(), expose.path),
        None => format!("{scheme}://{addr}{}", expose.path),
    }
}
