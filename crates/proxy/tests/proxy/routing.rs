//! Hosts, paths, weights, previews.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::SeqCst;

use http::Request;
use http_body_util::Full;
use kiln_model::Span;
use kiln_proxy::Preview;

use crate::support::*;

fn for_host(host: &str, path: &str) -> Request<Full<bytes::Bytes>> {
    let mut request = request("GET", path, "");
    request.headers_mut().insert("host", host.parse().unwrap());
    request
}

#[tokio::test]
async fn host_and_path_choose_the_backend() {
    let (a, b, c) = (named("a").await, named("b").await, named("c").await);
    let proxy = Proxy::start().await;
    let mut table = table(1, one_fleet(&[instance("a-1", a.addr)]));
    table.backends.insert("b".into(), one_fleet(&[instance("b-1", b.addr)]));
    table.backends.insert("c".into(), one_fleet(&[instance("c-1", c.addr)]));
    table.listeners[0] = http(
        any_port(),
        vec![
            route(Some("a.test"), "/", "dev/web/http"),
            route(Some("a.test"), "/api", "b"),
            route(Some("*.wild.test"), "/", "c"),
        ],
    );
    let addr = proxy.put(&table).await[0];
    for (host, path, body) in [
        ("a.test", "/", "a"),
        ("A.test:80", "/apis", "a"),
        ("a.test", "/api/1?x=/y", "b"),
        ("x.wild.test", "/", "c"),
    ] {
        assert_eq!(fetch(addr, for_host(host, path)).await.body, body, "{host}{path}");
    }
    let stranger = fetch(addr, for_host("b.test", "/")).await;
    assert_eq!(
        (stranger.status.as_u16(), stranger.body.as_str()),
        (404, "no route for this host and path\n")
    );
    assert!(!stranger.headers.contains_key("server"));
}

#[tokio::test]
async fn weights_are_exact_over_every_hundred_requests() {
    let (old, new) = (named("old").await, named("new").await);
    let proxy = Proxy::start().await;
    let fleets = |weight| {
        let old = fleet(1, 100 - weight, &[instance("old", old.addr)]);
        backend(&[old, fleet(2, weight, &[instance("new", new.addr)])])
    };
    let addr = proxy.put(&table(1, fleets(7))).await[0];
    let mut connections = [Kept::open(addr).await, Kept::open(addr).await, Kept::open(addr).await];
    for (version, weight) in [(1, 7), (2, 50), (3, 99), (4, 100), (5, 0)] {
        proxy.put(&table(version, fleets(weight))).await;
        let mut seen = BTreeMap::<String, usize>::new();
        for turn in 0..100 {
            *seen.entry(connections[turn % 3].get("/").await.unwrap().body).or_default() += 1;
        }
        assert_eq!(seen.get("new").copied().unwrap_or(0), usize::from(weight));
    }
}

#[tokio::test]
async fn instances_of_a_fleet_take_turns() {
    let servers = [named("a").await, named("b").await, named("c").await];
    let instances: Vec<_> = servers.iter().zip(["a", "b", "c"]).map(|(s, id)| instance(id, s.addr)).collect();
    let proxy = Proxy::start().await;
    let addr = proxy.put(&table(1, one_fleet(&instances))).await[0];
    let mut connection = Kept::open(addr).await;
    for _ in 0..30 {
        connection.get("/").await.unwrap();
    }
    for server in &servers {
        assert_eq!(server.seen(), 10);
        assert_eq!(server.connections.load(SeqCst), 1, "connections are kept");
    }
}

#[tokio::test]
async fn a_preview_reaches_the_fleet_without_weight() {
    let (old, new) = (named("old").await, named("new").await);
    let proxy = Proxy::start().await;
    let mut fleets =
        backend(&[fleet(7, 100, &[instance("old", old.addr)]), fleet(8, 0, &[instance("new", new.addr)])]);
    fleets.preview = Some(Preview {
        header: "kiln-preview".into(),
        host: Some("next.test".into()),
        fleet: "dev/web/8".parse().unwrap(),
    });
    let mut table = table(1, fleets);
    table.listeners[0] = http(any_port(), vec![route(Some("web.test"), "/", "dev/web/http")]);
    let addr = proxy.put(&table).await[0];
    let ask = async |value: &str| {
        let mut request = request("GET", "/", "");
        request.headers_mut().insert("kiln-preview", value.parse().unwrap());
        fetch(addr, request).await
    };
    assert_eq!(get(addr, "/").await.body, "old");
    assert_eq!(ask("next").await.body, "new");
    assert_eq!(ask("8").await.body, "new");
    assert_eq!(ask("7").await.body, "old");
    let unknown = ask("9").await;
    assert_eq!(unknown.status, 404);
    assert!(unknown.body.contains("no fleet"), "{}", unknown.body);
    assert_eq!(fetch(addr, for_host("next.test", "/")).await.body, "new");
}

#[tokio::test]
async fn no_weight_and_no_instance_are_told_apart() {
    let server = named("a").await;
    let proxy = Proxy::start().await;
    let addr = proxy.put(&table(1, backend(&[fleet(1, 0, &[instance("a", server.addr)])]))).await[0];
    let answer = get(addr, "/").await;
    assert_eq!(
        (answer.status.as_u16(), answer.body.as_str()),
        (503, "no release takes traffic at present\n")
    );
    assert_eq!(answer.headers["retry-after"], "1");
    proxy.put(&table(2, one_fleet(&[]))).await;
    let answer = get(addr, "/").await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (503, "no instance is ready\n"));
    assert_eq!(answer.headers["retry-after"], "1");
}

#[tokio::test]
async fn a_fleet_without_instances_leaves_its_share_to_the_others() {
    let server = named("a").await;
    let proxy = Proxy::start().await;
    let both = backend(&[fleet(1, 50, &[instance("a", server.addr)]), fleet(2, 50, &[])]);
    let addr = proxy.put(&table(1, both)).await[0];
    for _ in 0..10 {
        assert_eq!(get(addr, "/").await.body, "a");
    }
}

#[tokio::test]
async fn tables_that_make_no_sense_are_refused_and_the_old_one_stands() {
    let server = named("a").await;
    let proxy = Proxy::start().await;
    let good = table(5, one_fleet(&[instance("a", server.addr)]));
    let addr = proxy.put(&good).await[0];
    proxy.put(&good).await;
    let change = |version, change: &dyn Fn(&mut kiln_proxy::RouteTable)| {
        let mut table = good.clone();
        table.version = version;
        change(&mut table);
        table
    };
    let fixed: std::net::SocketAddr = "127.0.0.1:9".parse().unwrap();
    let twice = kiln_proxy::Bind::Tcp { addr: fixed };
    for (table, words) in [
        (change(4, &|_| {}), "not newer than 5"),
        (
            change(5, &|t| t.backends.values_mut().for_each(|b| b.idle_timeout = Span::from_secs(1))),
            "not newer",
        ),
        (change(6, &|t| t.backends.clear()), "backend \"dev/web/http\", which the table does not have"),
        (change(6, &|t| t.backends.values_mut().for_each(|b| b.fleets[0].weight = 99)), "sum to 99"),
        (
            change(6, &|t| t.listeners = vec![http(twice.clone(), vec![]), http(twice.clone(), vec![])]),
            "two listeners",
        ),
        (
            change(6, &|t| t.listeners[0] = http(any_port(), vec![route(None, "x", "dev/web/http")])),
            "begin with /",
        ),
        (
            change(6, &|t| t.listeners[0] = http(any_port(), vec![route(Some("*a"), "/", "dev/web/http")])),
            "host",
        ),
        (
            change(6, &|t| t.backends.values_mut().for_each(|b| b.protocol = kiln_model::Protocol::Tcp)),
            "raw TCP",
        ),
    ] {
        let error = proxy.refused(&table).await;
        assert!(error.contains(words), "{error}");
    }
    assert_eq!(get(addr, "/").await.body, "a");
    assert_eq!(proxy.client.table().await.unwrap(), good);
}
