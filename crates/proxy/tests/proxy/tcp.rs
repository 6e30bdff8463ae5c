//! Raw TCP.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::*;

/// Echoes bytes until the client ends, then says goodbye: half-closing must pass.
async fn echo() -> Server {
    raw_server(|_, mut stream| async move {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        all.extend_from_slice(b" bye");
        stream.write_all(&all).await.unwrap();
    })
    .await
}

#[tokio::test]
async fn bytes_pass_and_halves_close_alone() {
    let server = echo().await;
    let proxy = Proxy::start().await;
    let addr = proxy.put(&tcp_table(1, one_fleet(&[instance("a", server.addr)]))).await[0];
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(&vec![b'x'; 1 << 20]).await.unwrap();
    proxy.until("the connection", |status| !status.in_flight.is_empty()).await;
    assert_eq!(proxy.in_flight("a").await.requests, 1);
    stream.shutdown().await.unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
    assert_eq!(all.len(), (1 << 20) + 4);
    assert!(all.ends_with(b"x bye"));
    proxy.until("its end", |status| status.in_flight.is_empty()).await;
}

#[tokio::test]
async fn a_refusing_instance_is_passed_over() {
    let server = echo().await;
    let dead = closed_port().await;
    let proxy = Proxy::start().await;
    let instances = [instance("dead", dead), instance("a", server.addr)];
    let addr = proxy.put(&tcp_table(1, one_fleet(&instances))).await[0];
    for _ in 0..6 {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(b"hi").await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(rest(&mut stream).await, "hi bye");
    }
    let status = proxy.client.status().await.unwrap();
    assert_eq!(status.fleets[&"dev/web/1".parse().unwrap()].errors, 0);
    proxy.put(&tcp_table(2, one_fleet(&[instance("dead", dead)]))).await;
    assert_eq!(raw(addr, b"hi").await, "");
}

#[tokio::test]
async fn silence_ends_a_connection() {
    let server = echo().await;
    let proxy = Proxy::start().await;
    let mut backend = one_fleet(&[instance("a", server.addr)]);
    backend.idle_timeout = kiln_model::Span::from_millis(200);
    let addr = proxy.put(&tcp_table(1, backend)).await[0];
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(b"hi").await.unwrap();
    let mut all = Vec::new();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(60), stream.read_to_end(&mut all)).await;
    assert!(ended.is_ok());
}
