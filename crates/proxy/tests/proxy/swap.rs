//! Tables that change under load, draining, listeners that come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use futures_util::StreamExt;
use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::sync::Semaphore;

use crate::support::*;

/// Keeps asking on kept and on new connections until told to stop; gives the number of answers.
async fn load(addr: std::net::SocketAddr, stop: Arc<AtomicBool>) -> usize {
    let count = Arc::new(AtomicUsize::new(0));
    let clients = (0..8).map(|client| {
        let (stop, count) = (Arc::clone(&stop), Arc::clone(&count));
        tokio::spawn(async move {
            let mut connection = Kept::open(addr).await;
            while !stop.load(SeqCst) {
                if client == 0 {
                    connection = Kept::open(addr).await;
                }
                let (method, body) = if client % 2 == 0 { ("GET", "") } else { ("POST", "some") };
                let answer = connection.send(request(method, "/", body)).await.unwrap();
                assert_eq!(answer.status, 200, "{}", answer.body);
                count.fetch_add(1, SeqCst);
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    count.load(SeqCst)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_lost_while_instances_are_replaced() {
    let proxy = Proxy::start().await;
    let mut old = named("0").await;
    let addr = proxy.put(&table(1, one_fleet(&[instance("i-0", old.addr)]))).await[0];
    let stop = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn(load(addr, Arc::clone(&stop)));
    for round in 1..60_u64 {
        let new = named("n").await;
        let id = format!("i-{round}");
        let before = format!("i-{}", round - 1);
        let mut next = fleet(round + 1, 100, &[instance(&id, new.addr)]);
        next.draining = vec![instance(&before, old.addr)];
        proxy.put(&table(round + 1, backend(&[next]))).await;
        proxy
            .until("the old instance to be idle", |status| {
                !status.in_flight.keys().any(|instance| instance.as_str() == before)
            })
            .await;
        // No request may come any more: the instance dies at once.
        let seen = old.seen();
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert_eq!(old.seen(), seen);
        old = new;
    }
    stop.store(true, SeqCst);
    let answers = load.await.unwrap();
    assert!(answers > 200, "{answers}");
    let status = proxy.client.status().await.unwrap();
    assert!(status.in_flight.is_empty(), "{status:?}");
    assert_eq!(status.fleets.values().map(|fleet| fleet.errors).sum::<u64>(), 0);
}

#[tokio::test]
async fn a_request_counts_until_the_last_byte_and_its_end_is_news() {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let server = serve(move |_| {
        let held = Arc::clone(&held);
        let last = async move {
            held.acquire().await.unwrap().forget();
            Ok(Frame::data("late".into()))
        };
        let begin = futures_util::stream::iter([Ok(Frame::data("early and ".into()))]);
        let body = StreamBody::new(begin.chain(futures_util::stream::once(last)));
        async { Response::new(body.boxed_unsync()) }
    })
    .await;
    let other = named("other").await;
    let proxy = Proxy::start().await;
    let slow = instance("slow", server.addr);
    let addr = proxy.put(&table(1, one_fleet(std::slice::from_ref(&slow)))).await[0];
    let asked = tokio::spawn(async move { get(addr, "/").await });
    // The head has been answered, and the rest is still to come.
    let answered = |status: &kiln_proxy::Status| status.fleets.values().any(|fleet| fleet.status[1] == 1);
    proxy.until("the answer's head", answered).await;
    assert_eq!(proxy.in_flight("slow").await.requests, 1);

    // Dropped from the table altogether, it stays in sight.
    proxy.put(&table(2, one_fleet(&[instance("other", other.addr)]))).await;
    assert_eq!(get(addr, "/").await.body, "other");
    let status = proxy.client.status().await.unwrap();
    assert_eq!(proxy.in_flight("slow").await.requests, 1);
    let news = {
        let client = proxy.client.clone();
        tokio::spawn(async move { client.status_after(status.seq).await.unwrap() })
    };
    gate.add_permits(1);
    assert_eq!(asked.await.unwrap().body, "early and late");
    let news = tokio::time::timeout(Duration::from_secs(60), news).await.unwrap().unwrap();
    assert!(news.seq > status.seq && news.in_flight.is_empty(), "{news:?}");
}

#[tokio::test]
async fn kept_connections_and_listeners_outlive_tables() {
    let server = named("a").await;
    let proxy = Proxy::start().await;
    let mut wanted = table(1, one_fleet(&[instance("a", server.addr)]));
    wanted.listeners.push(wanted.listeners[0].clone());
    let before = proxy.put(&wanted).await;
    let mut connection = Kept::open(before[0]).await;
    for version in 2..20 {
        wanted.version = version;
        assert_eq!(proxy.put(&wanted).await, before);
        assert_eq!(connection.get("/").await.unwrap().body, "a");
    }
}

#[tokio::test]
async fn a_listener_that_is_taken_away_says_goodbye() {
    let server = named("a").await;
    // Time enough to ask once more.
    let proxy = Proxy::start_with(|config| config.lame_duck = Duration::from_secs(5)).await;
    let mut wanted = table(1, one_fleet(&[instance("a", server.addr)]));
    wanted.listeners.push(wanted.listeners[0].clone());
    let addresses = proxy.put(&wanted).await;
    let mut busy = Kept::open(addresses[1]).await;
    let mut idle = Kept::open(addresses[1]).await;
    for connection in [&mut busy, &mut idle] {
        assert_eq!(connection.get("/").await.unwrap().body, "a");
    }
    wanted.version = 2;
    wanted.listeners.pop();
    assert_eq!(proxy.put(&wanted).await, addresses[..1]);
    let refused = tokio::net::TcpStream::connect(addresses[1]).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    let last = busy.get("/").await.unwrap();
    assert_eq!((last.body.as_str(), &last.headers["connection"]), ("a", &"close".parse().unwrap()));
    idle.closed().await;
    assert_eq!(get(addresses[0], "/").await.body, "a");
}
