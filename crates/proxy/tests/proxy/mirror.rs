//! Copies of requests.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use kiln_proxy::{Backend, Mirror, Tester};
use tokio::sync::Semaphore;

use crate::support::*;

/// Copies under way to one fleet.
const MOST: u64 = 128;

fn mirrored(mut backend: Backend, percent: u8) -> Backend {
    backend.mirror = Some(Mirror { fleet: "dev/web/2".parse().unwrap(), percent });
    backend
}

/// An instance that writes down the heads and bodies of its requests.
async fn listening() -> (Server, Arc<Mutex<Vec<String>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let write = Arc::clone(&heard);
    let server = serve(move |request: Request<Incoming>| {
        let write = Arc::clone(&write);
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            write.lock().unwrap().push(format!("{} {} {:?} {body:?}", head.method, head.uri, head.headers));
            Response::new(full("copy"))
        }
    })
    .await;
    (server, heard)
}

/// An instance that answers when it may.
async fn held() -> (Server, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let wait = Arc::clone(&gate);
    let server = serve(move |_| {
        let wait = Arc::clone(&wait);
        async move {
            wait.acquire().await.unwrap().forget();
            Response::new(full("late"))
        }
    })
    .await;
    (server, gate)
}

#[tokio::test]
async fn the_share_of_safe_requests_is_copied_exactly_and_evenly() {
    let (old, (new, heard)) = (named("old").await, listening().await);
    let proxy = Proxy::start().await;
    let addr = proxy.put(&table(1, mirrored(two_fleets(0, old.addr, new.addr), 40))).await[0];
    let mut connections = [Kept::open(addr).await, Kept::open(addr).await];
    let mut http2 = open_http2(addr).await;
    for turn in 0..100 {
        let method = ["GET", "HEAD", "OPTIONS"][turn % 3];
        let mut safe = request(method, "/path?q=1", "");
        safe.headers_mut().insert("cookie", "session=1".parse().unwrap());
        safe.headers_mut().insert("authorization", "Basic x".parse().unwrap());
        let answer = match turn % 4 {
            0 => whole(http2.send_request(for_http2(safe)).await.unwrap()).await.unwrap(),
            _ => connections[turn % 2].send(safe).await.unwrap(),
        };
        assert_eq!(answer.body, if method == "HEAD" { "" } else { "old" });
        // What is not safe, has a body, or is a copy already takes no part.
        let mut other =
            request(["POST", "PUT", "GET", "GET"][turn % 4], "/other", ["x", "", "x", ""][turn % 4]);
        other.headers_mut().insert("kiln-mirror", "1".parse().unwrap());
        if turn % 4 != 3 {
            other.headers_mut().remove("kiln-mirror");
        }
        assert_eq!(connections[turn % 2].send(other).await.unwrap().body, "old");
    }
    let status = proxy.until("the copies", |status| counted(status, 2).mirrored == 40).await;
    let copies = counted(&status, 2);
    assert_eq!((copies.requests, copies.status[1], copies.failed, copies.mirror_dropped), (40, 40, 0, 0));
    assert_eq!(copies.latency.iter().map(|(_, count)| count).sum::<u64>(), 40);
    let users = counted(&status, 1);
    assert_eq!((users.requests, users.mirrored), (200, 0));
    let heard = heard.lock().unwrap();
    assert_eq!(heard.len(), 40);
    for copy in &*heard {
        for part in [
            " /path?q=1 ",
            "\"kiln-mirror\": \"1\"",
            "\"cookie\": \"session=1\"",
            "\"authorization\": ",
            "\"x-forwarded-for\": \"127.0.0.1\"",
            "\"host\": \"web.test\"",
            "b\"\"",
        ] {
            assert!(copy.contains(part), "{part} in {copy}");
        }
    }
}

#[tokio::test]
async fn requests_of_the_mirroring_fleet_itself_and_upgrades_are_not_copied() {
    let (old, new) = (named("old").await, named("new").await);
    let proxy = Proxy::start().await;
    let mut both = mirrored(two_fleets(0, old.addr, new.addr), 100);
    both.testers = vec![Tester { header: "x-test".into(), value: None, fleet: "dev/web/2".parse().unwrap() }];
    let addr = proxy.put(&table(1, both)).await[0];
    let mut connection = Kept::open(addr).await;
    for _ in 0..10 {
        assert_eq!(connection.get("/").await.unwrap().body, "old");
        assert_eq!(connection.send(get_with("x-test", "1")).await.unwrap().body, "new");
        let mut upgrade = get_with("upgrade", "x");
        upgrade.headers_mut().insert("connection", "upgrade".parse().unwrap());
        assert_eq!(connection.send(upgrade).await.unwrap().body, "old");
    }
    let status = proxy.until("the copies", |status| counted(status, 2).requests == 20).await;
    assert_eq!((counted(&status, 1).requests, counted(&status, 2).mirrored), (20, 10));
    assert_eq!(new.seen(), 20);
}

#[tokio::test]
async fn errors_and_breaks_of_copies_are_the_mirrors_alone() {
    let old = named("old").await;
    let new = raw_server(|_, mut stream| async move {
        for answer in 0.. {
            let bytes = match answer % 2 {
                0 => "HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nbroken",
            };
            if say(&mut stream, bytes).await.is_empty() || answer % 2 == 1 {
                return;
            }
        }
    })
    .await;
    let proxy = Proxy::start_with(|config| config.threads = 1).await;
    let addr = proxy.put(&table(1, mirrored(two_fleets(0, old.addr, new.addr), 100))).await[0];
    let mut connection = Kept::open(addr).await;
    for turn in 1..=10 {
        assert_eq!(connection.get("/").await.unwrap().body, "old");
        proxy
            .until("the copy to end", |status| {
                let copies = counted(status, 2);
                copies.mirrored == turn && copies.failed == turn && status.in_flight.is_empty()
            })
            .await;
    }
    let (users, copies) = (proxy.counted(1).await, proxy.counted(2).await);
    assert_eq!((users.requests, users.failed, users.errors), (10, 0, 0));
    assert_eq!((copies.requests, copies.status, copies.errors), (10, [0, 5, 0, 0, 5], 5));
}

#[tokio::test]
async fn a_mirror_that_cannot_be_reached_or_is_not_there_harms_nobody() {
    let old = named("old").await;
    let proxy = Proxy::start().await;
    let dead = mirrored(two_fleets(0, old.addr, closed_port().await), 100);
    let addr = proxy.put(&table(1, dead)).await[0];
    let mut connection = Kept::open(addr).await;
    for _ in 0..10 {
        assert_eq!(connection.get("/").await.unwrap().body, "old");
    }
    let status = proxy.until("the copies to fail", |status| counted(status, 2).failed == 10).await;
    assert_eq!((counted(&status, 2).mirrored, counted(&status, 1).failed), (10, 0));
    let mut without = mirrored(two_fleets(0, old.addr, old.addr), 100);
    without.fleets[1].instances.clear();
    proxy.put(&table(2, without)).await;
    for _ in 0..10 {
        assert_eq!(connection.get("/").await.unwrap().body, "old");
    }
    let copies = proxy.counted(2).await;
    assert_eq!((copies.requests, copies.mirror_dropped), (10, 10));
}

#[tokio::test]
async fn copies_that_hang_delay_nobody_are_bounded_and_hold_up_the_drain() {
    let (old, (new, gate)) = (named("old").await, held().await);
    let proxy = Proxy::start().await;
    let addr = proxy.put(&table(1, mirrored(two_fleets(0, old.addr, new.addr), 100))).await[0];
    let mut connections = [Kept::open(addr).await, Kept::open(addr).await];
    let wanted = MOST + 72;
    for turn in 0..wanted {
        let side = usize::from(turn % 2 == 1);
        assert_eq!(connections[side].get("/").await.unwrap().body, "old");
    }
    let all = |status: &kiln_proxy::Status| {
        status.in_flight.get(&kiln_model::InstanceId("new".into())).is_some_and(|work| work.requests == MOST)
    };
    let status = proxy.until("the copies", all).await;
    assert_eq!((counted(&status, 2).mirror_dropped, counted(&status, 2).requests), (72, 0));
    // Out of the table, the instance is in sight until the last copy has ended.
    proxy.put(&table(2, one_fleet(&[instance("old", old.addr)]))).await;
    assert_eq!(proxy.in_flight("new").await.requests, MOST);
    gate.add_permits(usize::try_from(MOST).unwrap());
    let status = proxy.until("the copies to end", |status| status.in_flight.is_empty()).await;
    let copies = counted(&status, 2);
    assert_eq!((copies.requests, copies.mirrored, copies.failed), (MOST, MOST, 0));
    assert_eq!(new.requests.load(SeqCst) as u64, MOST);
    assert_eq!(counted(&status, 1).requests, wanted);
}

#[tokio::test]
async fn a_copy_goes_on_when_its_user_has_left_and_times_out_by_itself() {
    let (old, (new, gate)) = (named("old").await, held().await);
    let proxy = Proxy::start().await;
    let mut both = mirrored(two_fleets(0, old.addr, new.addr), 100);
    both.request_timeout = kiln_model::Span::from_secs(3);
    let addr = proxy.put(&table(1, both.clone())).await[0];
    assert_eq!(get(addr, "/").await.body, "old");
    let status = proxy.until("the copy to time out", |status| counted(status, 2).mirrored == 1).await;
    assert_eq!((counted(&status, 2).failed, counted(&status, 2).requests), (1, 1));
    both.request_timeout = kiln_model::Span::from_secs(0);
    proxy.put(&table(2, both)).await;
    assert_eq!(get(addr, "/").await.body, "old");
    proxy.until("the copy", |status| !status.in_flight.is_empty()).await;
    tokio::time::timeout(Duration::from_secs(20), async {
        gate.add_permits(2);
        proxy.until("the copy to end", |status| counted(status, 2).status[1] == 1).await;
    })
    .await
    .unwrap();
}
