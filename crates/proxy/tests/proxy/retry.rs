//! Requests that reached no instance, instances that are put out, and what is never sent twice.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use kiln_model::{InstanceId, Span};
use tokio::io::AsyncWriteExt;

use crate::support::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn a_refused_request_goes_elsewhere_whatever_its_method() {
    let server = named("a").await;
    let dead = closed_port().await;
    let proxy = Proxy::start().await;
    let instances = [instance("dead", dead), instance("a", server.addr)];
    let addr = proxy.put(&table(1, one_fleet(&instances))).await[0];
    for turn in 0..20 {
        let (method, body) = [("GET", ""), ("POST", "body")][turn % 2];
        let answer = fetch(addr, request(method, "/", body)).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, "a"));
    }
    let status = proxy.client.status().await.unwrap();
    assert_eq!(status.ejected, [InstanceId("dead".into())]);
    let fleet = &status.fleets[&"dev/web/1".parse().unwrap()];
    assert_eq!((fleet.requests, fleet.errors, fleet.status[1]), (20, 0, 20));
}

#[tokio::test]
async fn when_nobody_accepts_the_client_is_told() {
    let dead = closed_port().await;
    let proxy = Proxy::start().await;
    let addr = proxy.put(&table(1, one_fleet(&[instance("dead", dead)]))).await[0];
    for _ in 0..5 {
        let answer = get(addr, "/").await;
        assert_eq!(
            (answer.status.as_u16(), answer.body.as_str()),
            (502, "no instance accepted the connection\n")
        );
    }
    let status = proxy.client.status().await.unwrap();
    assert!(status.ejected.is_empty(), "the last one is never put out");
    assert_eq!(status.fleets[&"dev/web/1".parse().unwrap()].errors, 5);
}

#[tokio::test]
async fn an_ejected_instance_comes_back() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let flapping = listener.local_addr().unwrap();
    drop(listener);
    let server = named("a").await;
    let proxy = Proxy::start().await;
    let instances = [instance("flapping", flapping), instance("a", server.addr)];
    let addr = proxy.put(&table(1, one_fleet(&instances))).await[0];
    let before = proxy.client.status().await.unwrap().seq;
    for _ in 0..8 {
        assert_eq!(get(addr, "/").await.status, 200);
    }
    let status = proxy.until("the ejection", |status| !status.ejected.is_empty()).await;
    assert!(status.seq > before, "an ejection is news");
    let listener = tokio::net::TcpListener::bind(flapping).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            say(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nback").await;
        }
    });
    let mut tries = 0;
    while get(addr, "/").await.body != "back" {
        tries += 1;
        assert!(tries < 1_000, "it never comes back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(proxy.client.status().await.unwrap().ejected.is_empty());
}

#[tokio::test]
async fn a_kept_connection_that_died_is_replaced_without_the_client_noticing() {
    // Each connection answers once and closes without saying so.
    let server = raw_server(|_, mut stream| async move {
        say(&mut stream, OK).await;
    })
    .await;
    let proxy = Proxy::start().await;
    let addr = proxy.put(&table(1, one_fleet(&[instance("a", server.addr)]))).await[0];
    let mut connection = Kept::open(addr).await;
    for _ in 0..200 {
        assert_eq!(connection.get("/").await.unwrap().status, 200);
    }
    assert!(proxy.client.status().await.unwrap().ejected.is_empty(), "an old connection is no failure");
}

#[tokio::test]
async fn a_request_that_may_have_been_done_is_not_sent_twice() {
    let server = raw_server(|_, mut stream| async move {
        read_head(&mut stream).await;
    })
    .await;
    let proxy = Proxy::start().await;
    let twice = [instance("a", server.addr), instance("b", server.addr)];
    let addr = proxy.put(&table(1, one_fleet(&twice))).await[0];
    for (body, sent) in [("once", 1), ("", 2)] {
        let answer = fetch(addr, request("POST", "/", body)).await;
        assert_eq!(answer.status, 502);
        assert_eq!(answer.body, "the instance closed the connection before it answered\n");
        assert_eq!(server.connections.load(SeqCst), sent);
    }
    // One that may be repeated is, on another instance when there is one.
    let other = named("other").await;
    let both = [instance("a", server.addr), instance("b", other.addr)];
    proxy.put(&table(2, one_fleet(&both))).await;
    for _ in 0..10 {
        assert_eq!(get(addr, "/").await.body, "other");
    }
}

#[tokio::test]
async fn nor_is_it_when_a_kept_connection_dies_under_it() {
    let server = raw_server(|_, mut stream| async move {
        say(&mut stream, OK).await;
        read_head(&mut stream).await;
    })
    .await;
    let proxy = Proxy::start().await;
    let addr = proxy.put(&table(1, one_fleet(&[instance("a", server.addr)]))).await[0];
    let mut connection = Kept::open(addr).await;
    assert_eq!(connection.send(request("POST", "/", "")).await.unwrap().status, 200);
    assert_eq!(connection.send(request("POST", "/", "")).await.unwrap().status, 502);
    assert_eq!(server.connections.load(SeqCst), 1);
}

#[tokio::test]
async fn killed_instances_cost_no_repeatable_request() {
    let mut servers = vec![named("n").await, named("n").await, named("n").await];
    let proxy = Proxy::start().await;
    let instances: Vec<_> =
        servers.iter().enumerate().map(|(at, server)| instance(&format!("i-{at}"), server.addr)).collect();
    let addr = proxy.put(&table(1, one_fleet(&instances))).await[0];
    let clients: Vec<_> = (0..4)
        .map(|_| {
            tokio::spawn(async move {
                let mut connection = Kept::open(addr).await;
                for _ in 0..300 {
                    let answer = connection.get("/").await.unwrap();
                    assert_eq!(answer.status, 200, "{}", answer.body);
                }
            })
        })
        .collect();
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        servers.pop();
    }
    for client in clients {
        client.await.unwrap();
    }
}

#[tokio::test]
async fn nonsense_is_not_passed_on() {
    let server = raw_server(|_, mut stream| async move {
        say(&mut stream, "HELLO THERE\r\n\r\n").await;
    })
    .await;
    let proxy = Proxy::start().await;
    let addr = proxy.put(&table(1, one_fleet(&[instance("a", server.addr)]))).await[0];
    let answer = get(addr, "/").await;
    assert_eq!(
        (answer.status.as_u16(), answer.body.as_str()),
        (502, "the instance's answer could not be understood\n")
    );
    assert_eq!(server.connections.load(SeqCst), 1);
}

#[tokio::test]
async fn a_silent_instance_is_given_up_but_a_long_upload_is_not() {
    let server = raw_server(|_, mut stream| async move {
        let head = read_head(&mut stream).await;
        if head.starts_with("GET") {
            std::future::pending::<()>().await;
        }
        rest(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let proxy = Proxy::start().await;
    let mut backend = one_fleet(&[instance("a", server.addr)]);
    backend.request_timeout = Span::from_secs(2);
    let addr = proxy.put(&table(1, backend)).await[0];
    let answer = get(addr, "/").await;
    assert_eq!(
        (answer.status.as_u16(), answer.body.as_str()),
        (504, "the instance did not answer in time\n")
    );
    proxy.until("the end", |status| status.in_flight.is_empty()).await;
    let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    stream.write_all(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n").await.unwrap();
    for _ in 0..8 {
        stream.write_all(b"x").await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    stream.write_all(b"x").await.unwrap();
    let answer = read_head(&mut stream).await;
    assert!(
        answer.starts_with("HTTP/1.1 504 "),
        "silent for more than two seconds after the upload: {answer}"
    );
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_broken_for_the_client_too() {
    let server = raw_server(|_, mut stream| async move {
        say(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
    })
    .await;
    let proxy = Proxy::start().await;
    let addr = proxy.put(&table(1, one_fleet(&[instance("a", server.addr)]))).await[0];
    assert!(Kept::open(addr).await.get("/").await.is_err());
    let status = proxy.until("the end", |status| status.in_flight.is_empty()).await;
    assert_eq!(status.fleets[&"dev/web/1".parse().unwrap()].errors, 1);
}
