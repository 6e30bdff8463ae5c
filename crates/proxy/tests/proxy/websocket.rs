//! WebSocket through the proxy.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use kiln_model::UpgradedDrain;
use kiln_proxy::Backend;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::support::*;

/// Echoes messages.
async fn echo() -> Server {
    raw_server(|_, stream| async move {
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            if !message.is_close() && socket.send(message).await.is_err() {
                break;
            }
        }
    })
    .await
}

async fn open(addr: std::net::SocketAddr) -> WebSocketStream<MaybeTlsStream<TcpStream>> {
    tokio_tungstenite::connect_async(format!("ws://{addr}/chat")).await.unwrap().0
}

fn closing(mut backend: Backend) -> Backend {
    backend.upgraded = UpgradedDrain::Close;
    backend
}

#[tokio::test]
async fn messages_pass_and_are_counted_as_upgraded() {
    let server = echo().await;
    let proxy = Proxy::start().await;
    let addr = proxy.put(&table(1, one_fleet(&[instance("a", server.addr)]))).await[0];
    let mut socket = open(addr).await;
    let large = "x".repeat(1 << 20);
    for text in ["hello", large.as_str()] {
        socket.send(Message::text(text)).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text(text));
    }
    let work = proxy.in_flight("a").await;
    assert_eq!((work.requests, work.upgraded), (0, 1));
    socket.close(None).await.unwrap();
    while socket.next().await.is_some() {}
    proxy.until("the end", |status| status.in_flight.is_empty()).await;
}

#[tokio::test]
async fn waiting_connections_outlive_the_traffic_of_their_instance() {
    let (old, new) = (echo().await, echo().await);
    let proxy = Proxy::start().await;
    let addr = proxy.put(&table(1, one_fleet(&[instance("old", old.addr)]))).await[0];
    let mut socket = open(addr).await;
    let mut next = fleet(2, 100, &[instance("new", new.addr)]);
    next.draining = vec![instance("old", old.addr)];
    proxy.put(&table(2, backend(&[next.clone()]))).await;
    next.draining.clear();
    proxy.put(&table(3, backend(&[next]))).await;
    socket.send(Message::text("still")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("still"));
    assert_eq!(proxy.in_flight("old").await.upgraded, 1);
    let status = proxy.client.status().await.unwrap();
    drop(socket);
    let news = proxy.client.status_after(status.seq).await.unwrap();
    assert!(news.in_flight.is_empty(), "{news:?}");
}

#[tokio::test]
async fn closing_connections_are_told_when_their_instance_drains() {
    let (old, new) = (echo().await, echo().await);
    let proxy = Proxy::start().await;
    let addr = proxy.put(&table(1, closing(one_fleet(&[instance("old", old.addr)])))).await[0];
    let mut socket = open(addr).await;
    socket.send(Message::text("x")).await.unwrap();
    socket.next().await.unwrap().unwrap();
    let mut next = fleet(2, 100, &[instance("new", new.addr)]);
    next.draining = vec![instance("old", old.addr)];
    proxy.put(&table(2, closing(backend(&[next])))).await;
    match tokio::time::timeout(Duration::from_secs(60), socket.next()).await.unwrap().unwrap().unwrap() {
        Message::Close(Some(frame)) => assert_eq!(frame.code, CloseCode::Away),
        other => panic!("{other:?}"),
    }
    while socket.next().await.is_some() {}
    proxy.until("the end", |status| status.in_flight.is_empty()).await;
}

#[tokio::test]
async fn closing_connections_are_told_when_their_fleet_loses_its_weight_but_previews_are_not() {
    let (old, new) = (echo().await, echo().await);
    let proxy = Proxy::start().await;
    let fleets = |weight| {
        let first = fleet(1, 100 - weight, &[instance("old", old.addr)]);
        closing(backend(&[first, fleet(2, weight, &[instance("new", new.addr)])]))
    };
    let addr = proxy.put(&table(1, fleets(0))).await[0];
    let mut told = open(addr).await;
    proxy.put(&table(2, fleets(100))).await;
    let mut kept = open(addr).await;
    assert!(matches!(told.next().await.unwrap().unwrap(), Message::Close(Some(_))));
    kept.send(Message::text("kept")).await.unwrap();
    assert_eq!(kept.next().await.unwrap().unwrap(), Message::text("kept"));
}

#[tokio::test]
async fn an_instance_may_decline() {
    let server = named("plain").await;
    let proxy = Proxy::start().await;
    let addr = proxy.put(&table(1, one_fleet(&[instance("a", server.addr)]))).await[0];
    let asked = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n";
    let answer = raw(addr, asked.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("plain"), "{answer}");
}

#[tokio::test]
async fn silence_on_an_upgraded_connection_ends_it() {
    let server = echo().await;
    let proxy = Proxy::start().await;
    let mut backend = one_fleet(&[instance("a", server.addr)]);
    backend.idle_timeout = kiln_model::Span::from_secs(3);
    let addr = proxy.put(&table(1, backend)).await[0];
    let mut socket = open(addr).await;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        socket.send(Message::text("x")).await.unwrap();
        socket.next().await.unwrap().unwrap();
    }
    let ended = tokio::time::timeout(Duration::from_secs(60), socket.next()).await.unwrap();
    assert!(ended.is_none_or(|message| message.is_err()));
    proxy.until("the end", |status| status.in_flight.is_empty()).await;
}
