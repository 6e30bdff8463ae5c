//! How instances are reached and reach others.

use kiln_local::shim::client;
use kiln_model::Span;
use kiln_provider::{Endpoint, ExecRequest, Peer, Phase, Provider};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::health::request;
use crate::world::{PORT, World, in_phase, logged, name, one_ready, until};
use crate::{Case, cases};

pub(crate) fn cases() -> Vec<Case> {
    let mut all =
        cases!(Root: instances_have_addresses_and_reach_the_gateway, the_network_goes_when_nothing_needs_it)
            .to_vec();
    all.extend(cases!(User: instances_are_dialled, peers_are_served_inside));
    all.extend(cases!(Both: supervisors_hand_out_sockets));
    all
}

fn with_peer(world: &World) -> kiln_provider::FleetSpec {
    let mut spec = world.serving(|_| {});
    spec.peers = vec![Peer { service: name("api"), port: 9000 }];
    spec
}

async fn instances_have_addresses_and_reach_the_gateway(world: &World) {
    let provider = world.provider().await;
    let gateway = provider.peer_listen_address().unwrap();
    let spec = with_peer(world);
    provider.ensure_fleet(&spec, 3).await.unwrap();
    let fleet = until(&provider, "three ready", |fleet| in_phase(fleet, Phase::Ready).len() == 3).await;
    let mut addresses = Vec::new();
    for instance in &fleet.instances {
        let Endpoint::Tcp { addr } = instance.endpoints[&name("http")] else { panic!("{instance:?}") };
        assert_eq!(addr.port(), PORT);
        assert!(request(instance, "/").await.unwrap().contains(instance.id.as_str()));
        addresses.push(addr.ip());
    }
    addresses.dedup();
    assert_eq!(addresses.len(), 3, "{addresses:?}");
    // The data plane's seat: what listens on the gateway is reached from inside.
    let listener = TcpListener::bind((gateway, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let server = tokio::spawn(async move { serve_once(listener).await });
    let argv = ["/app", "call", &gateway.to_string(), &port].map(str::to_owned).to_vec();
    let call = ExecRequest { argv, timeout: Span::from_secs(60), user: None };
    let result = provider.exec(&fleet.instances[0].id, &call).await.unwrap();
    assert!(result.stdout.contains("from the peer"), "{result:?}");
    server.await.unwrap();
    let facts =
        ExecRequest { argv: vec!["/app".into(), "facts".into()], timeout: Span::from_secs(60), user: None };
    let result = provider.exec(&fleet.instances[0].id, &facts).await.unwrap();
    assert!(result.stdout.lines().any(|line| line == format!("{gateway} api")), "{}", result.stdout);
}

async fn serve_once(listener: TcpListener) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = [0; 256];
    let _ = stream.read(&mut request).await.unwrap();
    stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nfrom the peer\n").await.unwrap();
}

async fn the_network_goes_when_nothing_needs_it(world: &World) {
    let provider = world.provider().await;
    let spec = world.serving(|_| {});
    let instance = one_ready(&provider, &spec).await;
    let bridges = || {
        let names = std::fs::read_dir("/sys/class/net").unwrap().flatten();
        let text = std::fs::read_to_string(world.home.path().join("network.json")).unwrap();
        let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| text.contains(&format!("{name:?}"))).count()
    };
    assert_eq!(bridges(), 1);
    provider.close().await.unwrap();
    assert_eq!(bridges(), 1, "the bridge went while an instance needs it");
    provider.ensure_fleet(&spec, 0).await.unwrap();
    provider.drained(&instance.id).await.unwrap();
    until(&provider, "the end", |fleet| fleet.instances.iter().all(|known| known.phase == Phase::Exited))
        .await;
    provider.close().await.unwrap();
    assert_eq!(bridges(), 0);
}

async fn instances_are_dialled(world: &World) {
    let provider = world.provider().await;
    assert_eq!(provider.peer_listen_address(), None);
    let instance = one_ready(&provider, &world.serving(|_| {})).await;
    assert!(matches!(instance.endpoints[&name("http")], Endpoint::Dial { port: PORT, .. }), "{instance:?}");
    assert!(instance.supervisor.is_some());
    assert!(request(&instance, "/").await.unwrap().contains(instance.id.as_str()));
}

async fn peers_are_served_inside(world: &World) {
    let provider = world.provider().await;
    let instance = one_ready(&provider, &with_peer(world)).await;
    let listener = client::listen(instance.supervisor.as_ref().unwrap(), 9000).await.unwrap();
    assert_eq!(listener.local_addr().unwrap().to_string(), "127.0.0.1:9000");
    let server = tokio::spawn(async move { serve_once(listener).await });
    let argv = ["/app", "call", "127.0.0.1", "9000"].map(str::to_owned).to_vec();
    let call = ExecRequest { argv, timeout: Span::from_secs(60), user: None };
    let result = provider.exec(&instance.id, &call).await.unwrap();
    assert!(result.stdout.contains("from the peer"), "{result:?}");
    server.await.unwrap();
    let facts =
        ExecRequest { argv: vec!["/app".into(), "facts".into()], timeout: Span::from_secs(60), user: None };
    let result = provider.exec(&instance.id, &facts).await.unwrap();
    assert!(result.stdout.lines().any(|line| line == "127.0.0.1 api"), "{}", result.stdout);
}

async fn supervisors_hand_out_sockets(world: &World) {
    let provider = world.provider().await;
    let instance = one_ready(&provider, &world.serving(|_| {})).await;
    let socket = world.dir(&instance.id).socket();
    let refused = client::dial(&socket, 1).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    let taken = client::listen(&socket, PORT).await.unwrap_err();
    assert_eq!(taken.kind(), std::io::ErrorKind::ConnectionRefused);
    let mut calls = Vec::new();
    for _ in 0..50 {
        calls.push(client::dial(&socket, PORT).await.unwrap());
    }
    drop(calls);
    logged(&world.dir(&instance.id), "listening").await;
    // Low ports are free to take: the network is the instance's own.
    let low = client::listen(&socket, 80).await.unwrap();
    assert_eq!(low.local_addr().unwrap().port(), 80);
}
