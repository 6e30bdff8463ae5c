//! Probes, and what follows from them.

use std::time::Instant;

use kiln_model::{Command, Health, Port, Probe, Protocol, Span};
use kiln_provider::{Endpoint, InstanceObservation, Phase, Provider};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::{World, http_health, in_phase, name, one_failure, one_ready, until};
use crate::{Case, cases};

pub(crate) fn cases() -> Vec<Case> {
    cases!(Both: a_sick_instance_is_unready, a_command_tells_health, a_port_tells_health_by_default,
        an_instance_without_ports_is_ready_once_it_lives, one_that_never_gets_well_is_replaced,
        readiness_does_not_wait_for_the_interval)
    .to_vec()
}

/// Sends a request to an instance and returns what it answered.
pub(crate) async fn request(instance: &InstanceObservation, path: &str) -> std::io::Result<String> {
    let mut stream = match instance.endpoints.values().next().unwrap() {
        Endpoint::Tcp { addr } => tokio::net::TcpStream::connect(addr).await?,
        Endpoint::Dial { socket, port } => kiln_local::shim::client::dial(socket, *port).await?,
    };
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

async fn a_sick_instance_is_unready(world: &World) {
    let provider = world.provider().await;
    let first = one_ready(&provider, &world.serving(|_| {})).await;
    assert!(request(&first, "/").await.unwrap().contains(first.id.as_str()));
    request(&first, "/sick").await.unwrap();
    let fleet =
        until(&provider, "an unready instance", |fleet| !in_phase(fleet, Phase::Unready).is_empty()).await;
    let failure = in_phase(&fleet, Phase::Unready)[0].failure.clone().unwrap();
    assert_eq!(failure.what, "failed 2 probes in a row: GET /healthz answered 503");
    assert_eq!(failure.log_tail, ["listening on 8080"]);
    let fleet = until(&provider, "a replacement", |fleet| !in_phase(fleet, Phase::Ready).is_empty()).await;
    assert_eq!(in_phase(&fleet, Phase::Draining)[0].id, first.id);
}

async fn a_command_tells_health(world: &World) {
    let provider = world.provider().await;
    let command = Command::Argv(vec!["/app".into(), "exists".into(), "/tmp/well".into()]);
    let spec = world.fleet(&["sleep"], |content| {
        content.config.health = Some(Health { probe: Probe::Command { command }, ..http_health() });
    });
    provider.ensure_fleet(&spec, 1).await.unwrap();
    let fleet = until(&provider, "a start", |fleet| !in_phase(fleet, Phase::Starting).is_empty()).await;
    let id = in_phase(&fleet, Phase::Starting)[0].id.clone();
    let touch = ["/app", "touch", "/tmp/well"].map(str::to_owned).to_vec();
    let request = kiln_provider::ExecRequest { argv: touch, timeout: Span::from_secs(60), user: None };
    let result = provider.exec(&id, &request).await.unwrap();
    assert_eq!(result.status, 0, "{result:?}");
    until(&provider, "readiness", |fleet| !in_phase(fleet, Phase::Ready).is_empty()).await;
}

async fn a_port_tells_health_by_default(world: &World) {
    let provider = world.provider().await;
    let instance = one_ready(&provider, &world.serving(|content| content.config.health = None)).await;
    assert!(request(&instance, "/").await.unwrap().starts_with("HTTP/1.1 200"));
}

async fn an_instance_without_ports_is_ready_once_it_lives(world: &World) {
    let provider = world.provider().await;
    one_ready(&provider, &world.fleet(&["sleep"], |_| {})).await;
}

async fn one_that_never_gets_well_is_replaced(world: &World) {
    let provider = world.provider().await;
    let spec = world.fleet(&["sleep"], |content| {
        content.config.ports.insert(name("http"), Port { number: 8080, protocol: Protocol::Http });
        content.config.health = Some(Health { grace: Span::from_millis(300), ..http_health() });
    });
    let failure = one_failure(&provider, &spec).await;
    assert!(failure.what.starts_with("was not healthy within 300ms: GET /healthz: "), "{failure:?}");
    let fleet = until(&provider, "another", |fleet| fleet.failed_starts > 1).await;
    assert!(in_phase(&fleet, Phase::Ready).is_empty());
}

async fn readiness_does_not_wait_for_the_interval(world: &World) {
    let provider = world.provider().await;
    let spec = world.serving(|content| {
        content.config.health = Some(Health { interval: Span::from_secs(300), rise: 3, ..http_health() });
    });
    let begun = Instant::now();
    one_ready(&provider, &spec).await;
    assert!(begun.elapsed().as_secs() < 90, "{:?}", begun.elapsed());
}
