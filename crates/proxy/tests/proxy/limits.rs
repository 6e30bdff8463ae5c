//! Clients that are slow, greedy or too many.

use std::time::{Duration, Instant};

use kiln_model::Span;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::*;

async fn ended(stream: &mut TcpStream) -> bool {
    let mut all = Vec::new();
    tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut all)).await.is_ok()
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut_off() {
    let server = named("a").await;
    let proxy = Proxy::start_with(|config| config.limits.head_timeout = Duration::from_millis(1_500)).await;
    let addr = proxy.put(&table(1, one_fleet(&[instance("a", server.addr)]))).await[0];
    for begin in ["", "GET / HTTP/1.1\r\nHost", "PRI * HTTP/2"] {
        let mut slow = TcpStream::connect(addr).await.unwrap();
        slow.write_all(begin.as_bytes()).await.unwrap();
        let begun = Instant::now();
        assert!(ended(&mut slow).await, "{begin:?}");
        assert!(begun.elapsed() >= Duration::from_millis(1_450), "{begin:?}");
    }
    // The second head is watched like the first.
    let mut slow = TcpStream::connect(addr).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(read_head(&mut slow).await.starts_with("HTTP/1.1 200"));
    slow.write_all(b"GET / HTTP").await.unwrap();
    assert!(ended(&mut slow).await);
}

#[tokio::test]
async fn idle_connections_are_closed_after_their_time_and_not_before() {
    let server = named("a").await;
    let proxy = Proxy::start_with(|config| {
        config.limits.head_timeout = Duration::from_millis(1_500);
        config.limits.keep_alive = Duration::from_millis(4_500);
    })
    .await;
    let addr = proxy.put(&table(1, one_fleet(&[instance("a", server.addr)]))).await[0];
    let mut connection = Kept::open(addr).await;
    for _ in 0..3 {
        connection.get("/").await.unwrap();
        tokio::time::sleep(Duration::from_millis(2_000)).await;
    }
    let mut idle = TcpStream::connect(addr).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let begun = Instant::now();
    assert!(ended(&mut idle).await);
    assert!(begun.elapsed() >= Duration::from_millis(4_400));
}

#[tokio::test]
async fn heads_that_are_too_large_are_refused() {
    let server = named("a").await;
    let proxy = Proxy::start_with(|config| config.limits.head_bytes = 16 << 10).await;
    let addr = proxy.put(&table(1, one_fleet(&[instance("a", server.addr)]))).await[0];
    let large = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(20 << 10));
    let answer = raw(addr, large.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(120));
    let answer = raw(addr, many.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let fine =
        format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: {}\r\n\r\n", "x".repeat(8 << 10));
    assert!(raw(addr, fine.as_bytes()).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn more_connections_than_allowed_wait_their_turn() {
    let server = named("a").await;
    let proxy = Proxy::start_with(|config| config.limits.connections = 2).await;
    let addr = proxy.put(&table(1, one_fleet(&[instance("a", server.addr)]))).await[0];
    let mut first = Kept::open(addr).await;
    let mut second = Kept::open(addr).await;
    first.get("/").await.unwrap();
    second.get("/").await.unwrap();
    let waiting = tokio::spawn(async move { get(addr, "/").await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    // Each acceptor may hold one that it had begun to wait for; the rest stays in the kernel.
    let mut third = tokio::spawn(async move { get(addr, "/").await });
    drop(first);
    drop(second);
    assert_eq!(waiting.await.unwrap().body, "a");
    assert_eq!((&mut third).await.unwrap().body, "a");
}

#[tokio::test]
async fn silence_while_an_answer_is_under_way_ends_the_connection() {
    let server = raw_server(|_, mut stream| async move {
        say(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome").await;
        std::future::pending::<()>().await;
    })
    .await;
    let proxy = Proxy::start().await;
    let mut backend = one_fleet(&[instance("a", server.addr)]);
    backend.idle_timeout = Span::from_millis(300);
    let addr = proxy.put(&table(1, backend)).await[0];
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(ended(&mut stream).await);
    proxy.until("the end", |status| status.in_flight.is_empty()).await;
}
