//! Starting what is checked, with its stand-ins.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use kiln_local::{InstanceDir, Status};
use kiln_model::{
    Amount, Digest, FleetId, Health, ImageConfig, InstanceId, Limits, Name, Release, ReleaseContent,
    ReleaseNumber, RolloutSpec, Service, Setup, Span, TrafficSpec,
};
use kiln_provider::{Endpoint, FleetSpec, InstanceObservation, Peer, Phase, Provider, ProviderError};

use super::place::Place;
use super::relay::{self, Relays};
use super::{Host, NotStarted, ProveError, Subject, TAIL, now_ms};
use crate::finding::Finding;
use crate::inside::Inside;
use crate::inside::connector::Network;

/// A provider says within the grace of an image's health whether it starts; one that does not is given up so much later.
const PATIENCE: Duration = Duration::from_secs(60);

/// An instance that is healthy.
pub(crate) struct Started {
    pub(crate) id: InstanceId,
    pub(crate) spec: FleetSpec,
    pub(crate) endpoints: BTreeMap<Name, Endpoint>,
    pub(crate) dir: InstanceDir,
    pub(crate) inside: Inside,
    pub(crate) network: Network,
    /// From the program's start to the first good probe.
    pub(crate) start_took: Span,
    _relays: Relays,
}

/// One image to run in a fleet of one.
pub(crate) struct Wanted<'a> {
    pub(crate) name: &'a Name,
    pub(crate) image: Digest,
    pub(crate) config: &'a ImageConfig,
    pub(crate) env: &'a BTreeMap<String, String>,
    pub(crate) number: u64,
    pub(crate) peers: Vec<Peer>,
}

/// Starts the stand-ins, then what is checked; `Err` within is a program that does not come to be healthy.
pub(crate) async fn start(
    place: &Place,
    subject: &Subject,
    config: &ImageConfig,
    setup: &Setup,
) -> Result<Result<Started, NotStarted>, ProveError> {
    let mut routes: BTreeMap<u16, Endpoint> = BTreeMap::new();
    let mut peers = Vec::new();
    for (number, (name, stand_in)) in (2..).zip(&setup.stand_ins) {
        let image = subject.others.get(&stand_in.image);
        let image = *image.ok_or_else(|| ProveError::NoStandIn(stand_in.image.clone()))?;
        let config = place.config(image)?;
        let wanted = Wanted { name, image, config: &config, env: &stand_in.env, number, peers: Vec::new() };
        let spec = spec(&wanted)?;
        let running = match ready(place, &spec).await? {
            Ok(running) => running,
            Err(failure) => return Ok(Err(failure.of(&format!("the stand-in {name}")))),
        };
        for (port, declared) in &config.ports {
            let given = stand_in.ports.is_empty() || stand_in.ports.contains(&declared.number);
            if let Some(endpoint) = running.endpoints.get(port).filter(|_| given) {
                routes.insert(declared.number, endpoint.clone());
                peers.push(Peer { service: name.clone(), port: declared.number });
            }
        }
    }
    let wanted =
        Wanted { name: &subject.name, image: subject.image, config, env: &setup.env, number: 1, peers };
    let spec = spec(&wanted)?;
    subject_ready(place, spec, &routes).await
}

async fn subject_ready(
    place: &Place,
    spec: FleetSpec,
    routes: &BTreeMap<u16, Endpoint>,
) -> Result<Result<Started, NotStarted>, ProveError> {
    let mut relays = Relays::default();
    if let Some(gateway) = place.provider.peer_listen_address() {
        relay::on(&mut relays, gateway, routes).await?;
    } else if !routes.is_empty() {
        place.provider.ensure_fleet(&spec, 1).await?;
        if let Some(socket) = supervisor(place, &spec.release.fleet()).await? {
            relay::inside(&mut relays, &socket, routes).await;
        }
    }
    let found = match ready(place, &spec).await? {
        Ok(found) => found,
        Err(failure) => return Ok(Err(failure)),
    };
    let volumes = spec.release.content.config.volumes.values().map(|volume| volume.path.clone()).collect();
    let pid = found.pid.unwrap_or_default();
    let inside = match Inside::open(pid, volumes) {
        Ok(inside) => inside,
        Err(error) => {
            let finding = Finding::failed("the instance", "to be looked into", &error);
            return Ok(Err(NotStarted { finding, log: Vec::new() }));
        }
    };
    let took = found.ready_since_ms.unwrap_or_default() - found.started_ms;
    Ok(Ok(Started {
        dir: place.provider.instance_dir(&found.id),
        network: Network { pid, supervisor: found.supervisor.clone() },
        start_took: Span::from_millis(u64::try_from(took).unwrap_or_default()),
        id: found.id,
        endpoints: found.endpoints,
        spec,
        inside,
        _relays: relays,
    }))
}

/// The socket of the instance's supervisor, once it is known.
async fn supervisor(place: &Place, fleet: &FleetId) -> Result<Option<PathBuf>, ProviderError> {
    loop {
        let seen = place.provider.observe().await?;
        let Some(fleet) = seen.fleets.get(fleet) else { return Ok(None) };
        if fleet.last_failure.is_some() {
            return Ok(None);
        }
        if let Some(socket) = fleet.instances.iter().find_map(|instance| instance.supervisor.clone())
            && fleet.instances.iter().any(|instance| instance.phase >= Phase::Starting)
        {
            return Ok(Some(socket));
        }
        place.provider.changed().await;
    }
}

/// Ensures a fleet of one and waits for it to be healthy, or for its first failure.
pub(crate) async fn ready(
    place: &Place,
    spec: &FleetSpec,
) -> Result<Result<InstanceObservation, NotStarted>, ProveError> {
    let provider = &place.provider;
    provider.ensure_fleet(spec, 1).await?;
    let id = spec.release.fleet();
    let grace = spec
        .release
        .content
        .config
        .health
        .as_ref()
        .map_or(Span::from_secs(30), |health: &Health| health.grace);
    let deadline = tokio::time::Instant::now() + grace.duration() + PATIENCE;
    loop {
        let seen = provider.observe().await?;
        if let Some(fleet) = seen.fleets.get(&id) {
            if let Some(failure) = &fleet.last_failure {
                let finding = Finding::new("the instance", "to be healthy", format!("it {}", failure.what));
                return Ok(Err(NotStarted { finding, log: failure.log_tail.clone() }));
            }
            if let Some(ready) = fleet.instances.iter().find(|instance| instance.phase == Phase::Ready) {
                return Ok(Ok(ready.clone()));
            }
        }
        if tokio::time::timeout_at(deadline, provider.changed()).await.is_err() {
            let first = seen.fleets.get(&id).and_then(|fleet| fleet.instances.first());
            let log = first.map(|it| kiln_local::logs::tail(&provider.instance_dir(&it.id), TAIL));
            let finding = Finding::new("the instance", "to be healthy", format!("it is not after {grace}"));
            return Ok(Err(NotStarted { finding, log: log.unwrap_or_default() }));
        }
    }
}

impl NotStarted {
    fn of(mut self, what: &str) -> Self {
        self.finding.found = format!("{what}: {}", self.finding.found);
        self
    }
}

/// The fleet that runs an image for checks.
pub(crate) fn spec(wanted: &Wanted<'_>) -> Result<FleetSpec, ProveError> {
    let name = |text: &str| {
        Name::new(text)
            .map_err(|error| ProveError::file("name", text)(std::io::Error::other(error.to_string())))
    };
    let service = Service {
        name: wanted.name.clone(),
        image: wanted.name.clone(),
        replicas: 1,
        env: wanted.env.clone(),
        args: None,
        expose: Vec::new(),
        volumes: BTreeMap::new(),
        depends_on: Vec::new(),
        limits: Limits::default(),
        rollout: RolloutSpec::default(),
        traffic: TrafficSpec::default(),
        max_disrupted: Amount::Percent(25),
        max_lifetime: None,
        secrets: Default::default(),
    };
    let content = ReleaseContent {
        project: name("check")?,
        service,
        image: wanted.image,
        config: wanted.config.clone(),
        checks: Vec::new(),
    };
    let release = Release {
        environment: name("check")?,
        number: ReleaseNumber(wanted.number),
        digest: wanted.image,
        content,
        created_ms: now_ms(),
        author: "kiln check".into(),
        reason: None,
    };
    Ok(FleetSpec { release, peers: wanted.peers.clone() })
}

/// How a program ended that was run to its end.
pub(crate) struct Ended {
    pub(crate) status: Status,
    /// Standard output and standard error.
    pub(crate) output: [String; 2],
}

/// Runs a program to its end in a place of its own; `None` when it does not end in time.
pub(crate) async fn ready_or_ended(
    host: &Host,
    wanted: &Wanted<'_>,
    limit: Span,
) -> Result<Option<Ended>, ProveError> {
    let place = Place::open(host).await?;
    let outcome = tokio::time::timeout(limit.duration(), to_its_end(&place, wanted)).await;
    place.close().await?;
    outcome.ok().transpose()
}

async fn to_its_end(place: &Place, wanted: &Wanted<'_>) -> Result<Ended, ProveError> {
    let spec = spec(wanted)?;
    place.provider.ensure_fleet(&spec, 1).await?;
    loop {
        let seen = place.provider.observe().await?;
        let fleet = seen.fleets.get(&spec.release.fleet());
        let ended = fleet.and_then(|fleet| fleet.instances.iter().find(|it| it.phase == Phase::Exited));
        if let Some(instance) = ended {
            let dir = place.provider.instance_dir(&instance.id);
            let file = dir.status();
            let bytes = std::fs::read(&file).map_err(ProveError::file("read", &file))?;
            let status = serde_json::from_slice(&bytes)
                .map_err(|error| ProveError::file("read", &file)(error.into()))?;
            return Ok(Ended { status, output: crate::structure::commands::output(&dir) });
        }
        place.provider.changed().await;
    }
}
