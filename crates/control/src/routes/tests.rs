//! Cases by hand for what people rely on, and generated worlds for the rules that every table keeps.

use std::collections::BTreeSet;

use kiln_model::{Expose, FleetId, InstanceId, Port, ReleaseNumber, Span, Strategy as By, Tls};
use kiln_provider::{Endpoint, Peer, Phase, RetireReason};
use kiln_proxy::{Bind, Mode};
use proptest::prelude::*;

use super::*;
use crate::testing::{content, name};

/// A fleet that owns what [`FleetInput`] borrows.
#[derive(Clone, Debug)]
struct Owned {
    desired: Desired,
    stored: Stored,
    instances: Vec<InstanceObservation>,
    leaving: bool,
}

impl Owned {
    fn new(service: &str, release: u64, size: u32, weight: u8) -> Self {
        let mut content = content(service, "one");
        content.service.expose.push(expose("http"));
        let fleet =
            FleetId { environment: name("dev"), service: name(service), release: ReleaseNumber(release) };
        let release = kiln_model::Release {
            environment: name("dev"),
            number: fleet.release,
            digest: crate::content_digest(&content),
            content,
            created_ms: 0,
            author: "ann".into(),
            reason: None,
        };
        Self {
            desired: Desired { fleet, size, weight },
            stored: Stored { release, peers: Vec::new(), replicas: size },
            instances: Vec::new(),
            leaving: false,
        }
    }

    fn with(mut self, id: &str, phase: Phase) -> Self {
        self.instances.push(instance(id, phase));
        self
    }

    fn change(mut self, change: impl FnOnce(&mut kiln_model::ReleaseContent)) -> Self {
        change(&mut self.stored.release.content);
        self
    }
}

fn expose(port: &str) -> Expose {
    Expose { port: name(port), listen: None, address: None, host: None, path: "/".into(), tls: None }
}

fn instance(id: &str, phase: Phase) -> InstanceObservation {
    let addr = SocketAddr::from(([10, 0, 0, 2], 8080));
    InstanceObservation {
        id: InstanceId(id.into()),
        phase,
        zone: None,
        started_ms: 0,
        ready_since_ms: (phase >= Phase::Ready).then_some(1),
        endpoints: BTreeMap::from([(name("http"), Endpoint::Tcp { addr })]),
        supervisor: None,
        pid: None,
        retiring: (phase == Phase::Draining).then_some(RetireReason::Surplus),
        tainted: false,
        failure: None,
    }
}

fn built(fleets: &[Owned], peers: &PeerListen) -> Built {
    built_after(fleets, peers, &RouteTable::default())
}

fn built_after(fleets: &[Owned], peers: &PeerListen, last: &RouteTable) -> Built {
    let inputs: Vec<FleetInput<'_>> = fleets
        .iter()
        .map(|it| FleetInput {
            desired: &it.desired,
            stored: &it.stored,
            instances: &it.instances,
            leaving: it.leaving,
        })
        .collect();
    build(&inputs, peers, last)
}

fn ids(instances: &[kiln_proxy::Instance]) -> Vec<&str> {
    instances.iter().map(|instance| instance.id.as_str()).collect()
}

#[test]
fn a_first_fleet_without_weight_is_known_but_not_listened_for() {
    let fleet = Owned::new("web", 1, 2, 0).with("a", Phase::Ready).with("b", Phase::Starting);
    let table = built(&[fleet], &PeerListen::Inside).table;
    assert!(table.listeners.is_empty());
    let backend = &table.backends["dev/web/http"];
    assert_eq!(ids(&backend.fleets[0].instances), ["a"]);
    assert_eq!(backend.preview.as_ref().unwrap().fleet.release, ReleaseNumber(1));
}

#[test]
fn the_newest_release_with_weight_says_where_to_listen() {
    let old = Owned::new("web", 1, 2, 100).change(|it| it.service.expose[0].listen = Some(81));
    let new = Owned::new("web", 2, 2, 0).change(|it| it.service.expose[0].listen = Some(82));
    let mut fleets = [old, new];
    let port = |fleets: &[Owned]| match &built(fleets, &PeerListen::Inside).table.listeners[..] {
        [kiln_proxy::Listener { bind: Bind::Tcp { addr }, .. }] => addr.port(),
        other => panic!("{other:?}"),
    };
    assert_eq!(port(&fleets), 81);
    (fleets[0].desired.weight, fleets[1].desired.weight) = (0, 100);
    assert_eq!(port(&fleets), 82);
}

fn recreate(content: &mut kiln_model::ReleaseContent) {
    content.service.rollout.strategy = By::Recreate;
}

fn hold(fleets: &[Owned]) -> Span {
    built(fleets, &PeerListen::Inside).table.backends["dev/web/http"].hold
}

#[test]
fn requests_are_held_between_two_releases_of_recreate() {
    let with = |hold: Option<u64>| {
        move |it: &mut kiln_model::ReleaseContent| it.service.traffic.hold = hold.map(Span::from_secs)
    };
    let old = || Owned::new("web", 1, 0, 0);
    let new = || Owned::new("web", 2, 0, 0).change(recreate);
    assert_eq!(hold(&[old()]), Span::default(), "other strategies never leave a gap");
    assert_eq!(hold(&[old().change(with(Some(5)))]), Span::from_secs(5));
    assert_eq!(hold(&[old(), new()]), Span::from_secs(30));
    assert_eq!(hold(&[old(), new().change(with(Some(7)))]), Span::from_secs(7));
    assert_eq!(hold(&[old().change(with(Some(5))), new().change(with(Some(0)))]), Span::default());
    // On the way back the old release leads before it is ready, and on the way to one that says nothing.
    assert_eq!(hold(&[Owned::new("web", 1, 1, 100), new()]), Span::from_secs(30));
    assert_eq!(
        hold(&[Owned::new("web", 1, 1, 100).change(recreate), Owned::new("web", 2, 0, 0)]),
        Span::from_secs(30)
    );
    let mut stopped = new();
    stopped.leaving = true;
    assert_eq!(hold(&[stopped]), Span::default(), "nobody waits for what was told to stop");
}

#[test]
fn listeners_stand_while_requests_are_held() {
    let port =
        |port: u16| move |it: &mut kiln_model::ReleaseContent| it.service.expose[0].listen = Some(port);
    let serving = |number, listen| Owned::new("web", number, 1, 100).change(recreate).change(port(listen));
    let away = |number, listen| Owned::new("web", number, 0, 0).change(recreate).change(port(listen));
    let next = |fleets: &[Owned], last: &RouteTable| built_after(fleets, &PeerListen::Inside, last).table;

    assert!(next(&[away(1, 80)], &RouteTable::default()).listeners.is_empty(), "nobody was served before");
    let before = next(&[serving(1, 80)], &RouteTable::default());
    let mut between = before.clone();
    for _ in 0..2 {
        between = next(&[away(1, 80), away(2, 80)], &between);
        assert_eq!(between.listeners, before.listeners);
    }
    // Another port of the next release opens with its weight; until then requests come to the old one.
    assert_eq!(next(&[away(1, 80), away(2, 81)], &before).listeners, before.listeners);
    let after = next(&[away(1, 80), serving(2, 81)], &between);
    assert_ne!(after.listeners, before.listeners);
    assert_eq!(after.listeners.len(), 1);

    let at_once = |it: &mut kiln_model::ReleaseContent| it.service.traffic.hold = Some(Span::default());
    let refusing = next(&[away(1, 80), away(2, 80).change(at_once)], &before);
    assert_eq!(refusing.listeners, before.listeners, "requests that do not wait are told 503");
    let mut stopped = away(1, 80);
    stopped.leaving = true;
    assert!(next(&[stopped], &before).listeners.is_empty());
}

#[test]
fn services_share_a_socket_by_host_and_path() {
    let host =
        |it: &mut kiln_model::ReleaseContent| it.service.expose[0].host = Some("API.example.com".into());
    let fleets = [Owned::new("web", 1, 1, 100), Owned::new("api", 1, 1, 100).change(host)];
    let built = built(&fleets, &PeerListen::Inside);
    assert_eq!(built.conflicts, []);
    let [listener] = &built.table.listeners[..] else { panic!("{:?}", built.table.listeners) };
    let Mode::Http { routes, .. } = &listener.mode else { panic!("{listener:?}") };
    let hosts: Vec<_> = routes.iter().map(|route| route.host.as_deref()).collect();
    assert_eq!(hosts, [Some("api.example.com"), None]);
}

#[test]
fn claims_that_exclude_each_other_are_told_and_the_first_stays() {
    let same = built(&[Owned::new("api", 1, 1, 100), Owned::new("web", 1, 1, 100)], &PeerListen::Inside);
    let text = same.conflicts[0].to_string();
    assert_eq!(text, "dev/web wants requests to 127.0.0.1:8080, host any, path /, but dev/api has them");
    let secure = |it: &mut kiln_model::ReleaseContent| {
        it.service.expose[0].tls = Some(Tls { certificate: "/c".into(), key: "/k".into() });
        it.service.expose[0].listen = Some(8080);
    };
    let mixed = [Owned::new("api", 1, 1, 100), Owned::new("web", 1, 1, 100).change(secure)];
    let text = built(&mixed, &PeerListen::Inside).conflicts[0].to_string();
    assert_eq!(text, "dev/web wants 127.0.0.1:8080 for HTTPS, but dev/api has it for HTTP");
}

#[test]
fn a_tcp_port_listens_on_its_own_number() {
    let tcp = |it: &mut kiln_model::ReleaseContent| {
        it.config.ports.insert(name("db"), Port { number: 5432, protocol: Protocol::Tcp });
        it.service.expose = vec![expose("db")];
    };
    let table = built(&[Owned::new("db", 1, 1, 100).change(tcp)], &PeerListen::Inside).table;
    let Mode::Tcp { backend, .. } = &table.listeners[0].mode else { panic!("{table:?}") };
    assert_eq!(backend, "dev/db/db");
    assert_eq!(table.listeners[0].bind, Bind::Tcp { addr: "127.0.0.1:5432".parse().unwrap() });
}

#[test]
fn peers_are_reached_on_the_bridge_or_inside_each_instance() {
    let mut caller = Owned::new("web", 1, 2, 100).with("a", Phase::Starting).with("b", Phase::Exited);
    caller.stored.peers.push(Peer { service: name("api"), port: 8080 });
    for it in &mut caller.instances {
        it.supervisor = Some(format!("/run/{}", it.id).into());
    }
    let called = Owned::new("api", 1, 1, 100).change(|it| it.service.expose.clear());
    let fleets = [caller, called];
    let inside = built(&fleets, &PeerListen::Inside).table;
    let socket = PathBuf::from("/run/a");
    let listener =
        inside.listeners.iter().find(|it| it.bind == Bind::Inside { socket: socket.clone(), port: 8080 });
    let Mode::Http { routes, .. } = &listener.unwrap().mode else { panic!() };
    assert_eq!((routes[0].host.as_deref(), routes[0].backend.as_str()), (Some("api"), "dev/api/http"));
    assert_eq!(inside.listeners.len(), 2, "one for web's expose, one in the living instance");
    let bridge = built(&fleets, &PeerListen::On([10, 9, 0, 1].into())).table;
    assert!(
        bridge.listeners.iter().any(|it| it.bind == Bind::Tcp { addr: "10.9.0.1:8080".parse().unwrap() })
    );
}

#[test]
fn unhealthy_instances_serve_only_when_nothing_else_does() {
    let both = Owned::new("web", 1, 2, 100).with("a", Phase::Ready).with("b", Phase::Unready);
    let table = built(&[both], &PeerListen::Inside).table;
    assert_eq!(ids(&table.backends["dev/web/http"].fleets[0].instances), ["a"]);
    let none = Owned::new("web", 1, 2, 100).with("b", Phase::Unready);
    let table = built(&[none], &PeerListen::Inside).table;
    assert_eq!(ids(&table.backends["dev/web/http"].fleets[0].instances), ["b"]);
}

#[test]
fn a_tainted_instance_serves_until_its_replacement_is_ready() {
    let mut fleet = Owned::new("web", 1, 1, 100).with("old", Phase::Ready).with("new", Phase::Starting);
    let table = |fleet: &Owned, last: &RouteTable| {
        built_after(std::slice::from_ref(fleet), &PeerListen::Inside, last).table
    };
    let shown = |table: &RouteTable| {
        let listed = &table.backends["dev/web/http"].fleets[0];
        (ids(&listed.instances).join(","), ids(&listed.draining).join(","))
    };
    let before = table(&fleet, &RouteTable::default());
    fleet.instances[0].phase = Phase::Draining;
    fleet.instances[0].retiring = Some(RetireReason::Tainted);
    let between = table(&fleet, &before);
    assert_eq!(shown(&between), ("old".into(), String::new()));
    let never_served = table(&fleet, &RouteTable::default());
    assert_eq!(shown(&never_served), (String::new(), "old".into()));
    fleet.instances[1] = instance("new", Phase::Ready);
    assert_eq!(shown(&table(&fleet, &between)), ("new".into(), "old".into()));
}

fn phases() -> impl Strategy<Value = Phase> {
    prop_oneof![
        Just(Phase::Pending),
        Just(Phase::Starting),
        Just(Phase::Ready),
        Just(Phase::Unready),
        Just(Phase::Draining),
        Just(Phase::Stopping),
        Just(Phase::Exited),
    ]
}

fn worlds() -> impl Strategy<Value = Vec<Owned>> {
    let fleet = (0..3_usize, 1..4_u64, 0..4_u32, 0..4_u16, proptest::collection::vec(phases(), 0..5));
    proptest::collection::vec(fleet, 0..7).prop_map(|fleets| {
        let mut world: Vec<Owned> = Vec::new();
        for (service, release, size, port, phases) in fleets {
            let service = ["api", "db", "web"][service];
            if world.iter().any(|it| {
                it.desired.fleet.service.as_str() == service && it.desired.fleet.release.0 == release
            }) {
                continue;
            }
            let led = world.iter().any(|it| it.desired.fleet.service.as_str() == service);
            let mut fleet = Owned::new(service, release, size, if led { 0 } else { 100 })
                .change(|it| it.service.expose[0].listen = Some(9000 + port));
            for (index, phase) in phases.into_iter().enumerate() {
                fleet = fleet.with(&format!("{service}-{release}-{index}"), phase);
            }
            world.push(fleet);
        }
        world
    })
}

proptest! {
    #[test]
    fn every_table_keeps_the_rules(world in worlds(), seed in any::<u64>()) {
        let one = built(&world, &PeerListen::Inside);
        for listener in &one.table.listeners {
            match &listener.mode {
                Mode::Http { routes, .. } => {
                    prop_assert!(!routes.is_empty());
                    let places: BTreeSet<_> = routes.iter().map(|it| (&it.host, &it.path)).collect();
                    prop_assert_eq!(places.len(), routes.len(), "no route twice");
                    prop_assert!(routes.iter().all(|it| one.table.backends.contains_key(&it.backend)));
                }
                Mode::Tcp { backend, .. } => prop_assert!(one.table.backends.contains_key(backend)),
            }
        }
        for backend in one.table.backends.values() {
            let sum: u32 = backend.fleets.iter().map(|fleet| u32::from(fleet.weight)).sum();
            prop_assert!(sum == 100 || sum == 0);
            for fleet in &backend.fleets {
                let serving: BTreeSet<_> = ids(&fleet.instances).into_iter().collect();
                prop_assert!(ids(&fleet.draining).iter().all(|id| !serving.contains(id)), "never both");
            }
            if let Some(preview) = &backend.preview {
                prop_assert!(backend.fleets.iter().any(|it| it.id == preview.fleet && it.weight == 0));
            }
        }
        let mut shuffled = world.clone();
        let turn = usize::try_from(seed % 7).unwrap() % shuffled.len().max(1);
        shuffled.rotate_left(turn);
        for fleet in &mut shuffled {
            fleet.instances.reverse();
        }
        prop_assert_eq!(one.table, built(&shuffled, &PeerListen::Inside).table, "the order of the input does not count");
    }
}
