//! Requests that wait for a table that can serve them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use http::{Request, Response, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use kiln_model::Span;
use kiln_proxy::{Backend, Preview, RouteTable};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

use crate::support::*;

/// Longer than any test waits.
const LONG: Span = Span::from_secs(600);

/// What nobody has to wait for, if nothing is wrong.
const SOON: Duration = Duration::from_secs(120);

/// A backend that cannot take a request, and holds them.
fn without_weight(hold: Span) -> Backend {
    holding(hold, backend(&[fleet(1, 0, &[])]))
}

fn holding(hold: Span, backend: Backend) -> Backend {
    Backend { hold, ..backend }
}

/// A table for all requests to one instance.
fn serving(version: u64, addr: SocketAddr) -> RouteTable {
    table(version, holding(LONG, backend(&[fleet(2, 100, &[instance("new", addr)])])))
}

async fn until_held(proxy: &Proxy, count: u64) {
    proxy.until("held requests", |status| status.held.values().sum::<u64>() == count).await;
}

fn asks(addr: SocketAddr, path: &'static str) -> JoinHandle<Answer> {
    tokio::spawn(get(addr, path))
}

/// An instance that says how much it was sent.
async fn measuring() -> Server {
    serve(|request: Request<Incoming>| async move {
        let method = request.method().clone();
        let length = request.into_body().collect().await.unwrap().to_bytes().len();
        Response::new(full(format!("{method} {length}")))
    })
    .await
}

#[tokio::test]
async fn requests_of_every_kind_wait_for_a_table_that_can_serve_them() {
    let server = measuring().await;
    let proxy = Proxy::start().await;
    let addr = proxy.put(&table(1, without_weight(LONG))).await[0];
    let fresh = asks(addr, "/");
    let mut kept = Kept::open(addr).await;
    let posted = tokio::spawn(async move {
        let first = kept.send(request("POST", "/", "twelve bytes")).await.unwrap();
        (first, kept.get("/").await.unwrap())
    });
    let mut sender = open_http2(addr).await;
    let streams: Vec<_> = ["", "seven b"]
        .into_iter()
        .map(|body| {
            let method = if body.is_empty() { "GET" } else { "POST" };
            let answer = sender.send_request(for_http2(request(method, "/", body)));
            tokio::spawn(async move { whole(answer.await.unwrap()).await.unwrap() })
        })
        .collect();
    until_held(&proxy, 4).await;
    let status = proxy.client.status().await.unwrap();
    assert!(status.in_flight.is_empty(), "{status:?}");
    assert_eq!(status.held, [("dev/web/http".to_owned(), 4)].into());

    proxy.put(&serving(2, server.addr)).await;
    assert_eq!(fresh.await.unwrap().body, "GET 0");
    let (first, second) = posted.await.unwrap();
    assert_eq!((first.body.as_str(), second.body.as_str()), ("POST 12", "GET 0"));
    for (stream, body) in streams.into_iter().zip(["GET 0", "POST 7"]) {
        let answer = stream.await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, body));
    }
    until_held(&proxy, 0).await;
    let text = proxy.client.metrics().await.unwrap();
    for line in
        ["kiln_proxy_held{backend=\"dev/web/http\"} 0", "kiln_proxy_held_total{backend=\"dev/web/http\"} 4"]
    {
        assert!(text.lines().any(|other| other == line), "{line} in\n{text}");
    }
}

#[tokio::test]
async fn useless_tables_and_silence_let_nobody_down_and_the_wait_is_no_fleets_latency() {
    let server = named("new").await;
    let proxy = Proxy::start().await;
    let quick = |mut backend: Backend| {
        backend.idle_timeout = Span::from_millis(300);
        backend
    };
    let old = named("old").await;
    let first = holding(LONG, quick(one_fleet(&[instance("old", old.addr)])));
    let addr = proxy.put(&table(1, first)).await[0];
    let mut kept = Kept::open(addr).await;
    // Its connection has learned what silence is borne.
    assert_eq!(kept.get("/").await.unwrap().body, "old");
    proxy.put(&table(2, quick(without_weight(LONG)))).await;
    let begun = Instant::now();
    let asked = tokio::spawn(async move { kept.get("/").await.unwrap() });
    until_held(&proxy, 1).await;
    let useless = [
        without_weight(LONG),
        holding(LONG, backend(&[fleet(2, 100, &[])])),
        holding(LONG, backend(&[])),
        holding(LONG, backend(&[fleet(2, 0, &[instance("new", server.addr)])])),
    ];
    let mut version = 2;
    while version < 10 || begun.elapsed() < Duration::from_secs(5) {
        version += 1;
        let next = useless[usize::try_from(version).unwrap() % useless.len()].clone();
        proxy.put(&table(version, quick(next))).await;
        until_held(&proxy, 1).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    proxy.put(&serving(version + 1, server.addr)).await;
    assert_eq!(asked.await.unwrap().body, "new");
    let counted = proxy.counted(2).await;
    assert_eq!((counted.requests, counted.failed), (1, 0));
    let slow: u64 =
        counted.latency.iter().filter(|(bound, _)| *bound > 5_000_000).map(|(_, count)| count).sum();
    assert_eq!(slow, 0, "{counted:?}");
    let text = proxy.client.metrics().await.unwrap();
    assert!(text.contains("kiln_proxy_held_total{backend=\"dev/web/http\"} 1\n"), "{text}");
}

#[tokio::test]
async fn when_the_time_is_over_they_are_told_to_come_again() {
    let proxy = Proxy::start().await;
    let addr = proxy.put(&table(1, without_weight(Span::from_millis(700)))).await[0];
    let begun = Instant::now();
    let answer = get(addr, "/").await;
    assert!(begun.elapsed() >= Duration::from_millis(690), "{:?}", begun.elapsed());
    assert_eq!((answer.status.as_u16(), &answer.headers["retry-after"]), (503, &"1".parse().unwrap()));
    until_held(&proxy, 0).await;

    // The table in force says how long, also to those who wait already.
    proxy.put(&table(2, without_weight(LONG))).await;
    let asked = asks(addr, "/");
    until_held(&proxy, 1).await;
    proxy.put(&table(3, without_weight(Span::default()))).await;
    assert_eq!(tokio::time::timeout(SOON, asked).await.unwrap().unwrap().status, 503);
}

#[tokio::test]
async fn nobody_waits_where_nothing_is_held_or_the_preview_is_meant() {
    let proxy = Proxy::start().await;
    let mut version = 0;
    let mut refused = async |backend: Backend, request| {
        version += 1;
        let addr = proxy.put(&table(version, backend)).await[0];
        let answer = tokio::time::timeout(SOON, fetch(addr, request)).await.unwrap();
        assert_eq!((answer.status.as_u16(), &answer.headers["retry-after"]), (503, &"1".parse().unwrap()));
    };
    refused(backend(&[fleet(1, 0, &[])]), request("GET", "/", "")).await;
    refused(backend(&[fleet(1, 100, &[])]), request("GET", "/", "")).await;
    let mut previewed = holding(LONG, backend(&[fleet(1, 0, &[]), fleet(2, 0, &[])]));
    let next = previewed.fleets[1].id.clone();
    previewed.preview = Some(Preview { header: "kiln-preview".into(), host: None, fleet: next });
    refused(previewed, get_with("kiln-preview", "next")).await;
    let text = proxy.client.metrics().await.unwrap();
    assert!(text.contains("kiln_proxy_held_total{backend=\"dev/web/http\"} 0\n"), "{text}");
}

#[tokio::test]
async fn so_many_wait_and_no_more() {
    const MOST: usize = 1_024;
    let server = named("new").await;
    let proxy = Proxy::start_with(|config| config.limits.streams = 2_000).await;
    let addr = proxy.put(&table(1, without_weight(LONG))).await[0];
    let mut sender = open_http2(addr).await;
    let mut streams = Vec::new();
    for _ in 0..MOST {
        sender.ready().await.unwrap();
        let answer = sender.send_request(for_http2(request("GET", "/", "")));
        streams.push(tokio::spawn(async move { whole(answer.await.unwrap()).await.unwrap() }));
    }
    until_held(&proxy, MOST as u64).await;
    let refused = tokio::time::timeout(SOON, get(addr, "/")).await.unwrap();
    assert_eq!(refused.status, 503);
    proxy.put(&serving(2, server.addr)).await;
    for stream in streams {
        let answer = stream.await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, "new"));
    }
    until_held(&proxy, 0).await;
}

#[tokio::test]
async fn who_leaves_is_not_waited_for() {
    let server = named("new").await;
    let proxy = Proxy::start().await;
    let mut wanted = table(1, without_weight(LONG));
    let mut raw = tcp_table(1, without_weight(LONG));
    wanted.listeners.append(&mut raw.listeners);
    let addresses = proxy.put(&wanted).await;
    let mut plain = TcpStream::connect(addresses[0]).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut sender = open_http2(addresses[0]).await;
    let stream = tokio::spawn(sender.send_request(for_http2(request("GET", "/", ""))));
    let bytes = TcpStream::connect(addresses[1]).await.unwrap();
    until_held(&proxy, 3).await;
    drop(plain);
    until_held(&proxy, 2).await;
    stream.abort();
    until_held(&proxy, 1).await;
    drop(bytes);
    until_held(&proxy, 0).await;
    proxy.put(&serving(2, server.addr)).await;
    assert_eq!(get(addresses[0], "/").await.body, "new");
    assert_eq!(server.seen(), 1);
}

#[tokio::test]
async fn bodies_stay_with_their_client_meanwhile() {
    const LENGTH: usize = 64 << 20;
    let server = measuring().await;
    let proxy = Proxy::start().await;
    let addr = proxy.put(&table(1, without_weight(LONG))).await[0];
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {LENGTH}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let mut written =
        tokio::spawn(async move { writer.write_all(&vec![b'x'; LENGTH]).await.map(|()| writer) });
    until_held(&proxy, 1).await;
    assert!(tokio::time::timeout(Duration::from_secs(2), &mut written).await.is_err());
    proxy.put(&serving(2, server.addr)).await;
    let _writer = written.await.unwrap().unwrap();
    let mut answer = String::new();
    reader.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(&format!("POST {LENGTH}")), "{answer}");
}

#[tokio::test]
async fn upgrades_wait_too() {
    let server = raw_server(|_, stream| async move {
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        let message = socket.next().await.unwrap().unwrap();
        socket.send(message).await.unwrap();
    })
    .await;
    let proxy = Proxy::start().await;
    let addr = proxy.put(&table(1, without_weight(LONG))).await[0];
    let opening = tokio::spawn(tokio_tungstenite::connect_async(format!("ws://{addr}/chat")));
    until_held(&proxy, 1).await;
    proxy.put(&serving(2, server.addr)).await;
    let (mut socket, answer) = opening.await.unwrap().unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (101, Version::HTTP_11));
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hello"));
}

#[tokio::test]
async fn raw_connections_wait_too() {
    let server = raw_server(|_, mut stream| async move {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        stream.write_all(&[&all[..], b" bye"].concat()).await.unwrap();
    })
    .await;
    let proxy = Proxy::start().await;
    let addr = proxy.put(&tcp_table(1, without_weight(LONG))).await[0];
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let long = "x".repeat(2_000);
    stream.write_all(long.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    until_held(&proxy, 1).await;
    proxy.put(&tcp_table(2, without_weight(LONG))).await;
    let backend = holding(LONG, one_fleet(&[instance("a", server.addr)]));
    proxy.put(&tcp_table(3, backend)).await;
    assert_eq!(rest(&mut stream).await, format!("{long} bye"));
    proxy.put(&tcp_table(4, without_weight(Span::from_millis(200)))).await;
    assert_eq!(raw(addr, b"hi").await, "");
    until_held(&proxy, 0).await;
}

#[tokio::test]
async fn a_request_that_its_dying_instance_did_not_answer_waits_for_the_next() {
    let (read, die) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let told = (Arc::clone(&read), Arc::clone(&die));
    let dying = raw_server(move |_, mut stream| {
        let (read, die) = told.clone();
        async move {
            read_head(&mut stream).await;
            read.notify_one();
            die.notified().await;
        }
    })
    .await;
    let server = named("new").await;
    let proxy = Proxy::start().await;
    let first = holding(LONG, one_fleet(&[instance("old", dying.addr)]));
    let addr = proxy.put(&table(1, first)).await[0];
    let asked = asks(addr, "/");
    read.notified().await;
    proxy.put(&table(2, without_weight(LONG))).await;
    die.notify_one();
    until_held(&proxy, 1).await;
    assert!(proxy.client.status().await.unwrap().in_flight.is_empty());
    proxy.put(&serving(3, server.addr)).await;
    assert_eq!(asked.await.unwrap().body, "new");
}

#[tokio::test]
async fn a_proxy_that_stops_tells_them_at_its_deadline() {
    let proxy = Proxy::start_with(|config| config.drain_timeout = Duration::from_secs(1)).await;
    let addr = proxy.put(&table(1, without_weight(LONG))).await[0];
    let asked = asks(addr, "/");
    until_held(&proxy, 1).await;
    proxy.client.stop().await.unwrap();
    let answer = tokio::time::timeout(SOON, asked).await.unwrap().unwrap();
    assert_eq!((answer.status.as_u16(), &answer.headers["retry-after"]), (503, &"1".parse().unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_lost_while_one_release_goes_before_the_next_comes() {
    let proxy = Proxy::start().await;
    let mut old = Some(named("n").await);
    let first = holding(LONG, backend(&[fleet(1, 100, &[instance("i-1", old.as_ref().unwrap().addr)])]));
    let addr = proxy.put(&table(1, first)).await[0];
    let stop = Arc::new(AtomicBool::new(false));
    let clients = (0..6).map(|client| {
        let stop = Arc::clone(&stop);
        tokio::spawn(async move {
            let mut connection = Kept::open(addr).await;
            let mut answers = 0;
            while !stop.load(SeqCst) {
                if client == 0 {
                    connection = Kept::open(addr).await;
                }
                let (method, body) = if client % 2 == 0 { ("GET", "") } else { ("POST", "some") };
                let answer = connection.send(request(method, "/", body)).await.unwrap();
                assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, "n"));
                answers += 1;
            }
            answers
        })
    });
    let clients: Vec<_> = clients.collect();
    for round in 1..30_u64 {
        let id = format!("i-{round}");
        let mut away = fleet(round, 0, &[]);
        away.draining = vec![instance(&id, old.as_ref().unwrap().addr)];
        proxy.put(&table(3 * round, holding(LONG, backend(&[away])))).await;
        proxy
            .until("the old instance to be idle", |status| {
                !status.in_flight.keys().any(|instance| instance.as_str() == id)
            })
            .await;
        old.take();
        until_held(&proxy, 6).await;
        proxy.put(&table(3 * round + 1, holding(LONG, backend(&[fleet(round + 1, 0, &[])])))).await;
        let new = old.insert(named("n").await);
        let ready = fleet(round + 1, 100, &[instance(&format!("i-{}", round + 1), new.addr)]);
        proxy.put(&table(3 * round + 2, holding(LONG, backend(&[ready])))).await;
    }
    stop.store(true, SeqCst);
    let mut answers = 0;
    for client in clients {
        answers += client.await.unwrap();
    }
    assert!(answers >= 29 * 6, "{answers}");
    let status = proxy.client.status().await.unwrap();
    assert_eq!(status.fleets.values().map(|fleet| fleet.errors).sum::<u64>(), 0);
}
