//! HTTP/2 on both sides, and between HTTP/2 and HTTP/1.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, Request, Response, Version};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kiln_model::Protocol;
use tokio::net::TcpStream;

use crate::support::*;

async fn open<B>(addr: SocketAddr) -> SendRequest<B>
where
    B: http_body::Body + Unpin + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = TcpStream::connect(addr).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn post(path: &str) -> http::request::Builder {
    Request::builder().method("POST").uri(format!("http://web.test{path}"))
}

/// Answers each message at once with itself, and with trailers at the end: as gRPC streams do.
async fn grpc() -> Server {
    serve(|request: Request<Incoming>| async move {
        assert_eq!(request.version(), Version::HTTP_2);
        assert_eq!(request.headers()["te"], "trailers");
        assert_eq!(request.uri().authority().unwrap(), "web.test");
        assert!(request.headers().get("host").is_none());
        let body = request.into_body().into_data_stream().map(|data| Ok(Frame::data(data.unwrap())));
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        let end = futures_util::stream::iter([Ok(Frame::trailers(trailers))]);
        Response::new(StreamBody::new(body.chain(end)).boxed_unsync())
    })
    .await
}

fn h2c(mut backend: kiln_proxy::Backend) -> kiln_proxy::Backend {
    backend.protocol = Protocol::H2c;
    backend
}

#[tokio::test]
async fn grpc_streams_both_ways_with_trailers() {
    let server = grpc().await;
    let proxy = Proxy::start().await;
    let addr = proxy.put(&table(1, h2c(one_fleet(&[instance("a", server.addr)])))).await[0];
    let mut client = open(addr).await;
    let (messages, body) = tokio::sync::mpsc::channel::<Result<Frame<Bytes>, std::io::Error>>(1);
    let body = StreamBody::new(tokio_stream::wrappers::ReceiverStream::new(body));
    let request = post("/grpc").header("te", "trailers").body(body).unwrap();
    let sent = tokio::spawn(client.send_request(request));
    messages.send(Ok(Frame::data("one".into()))).await.unwrap();
    let mut answer = sent.await.unwrap().unwrap().into_body();
    assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), "one");
    assert_eq!(proxy.in_flight("a").await.requests, 1);
    messages.send(Ok(Frame::data("two".into()))).await.unwrap();
    assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), "two");
    drop(messages);
    let trailers = answer.frame().await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(trailers["grpc-status"], "0");
    drop(answer);
    proxy.until("the stream to end", |status| status.in_flight.is_empty()).await;
}

#[tokio::test]
async fn many_streams_share_few_connections() {
    let server = named("a").await;
    let proxy = Proxy::start().await;
    let addr = proxy.put(&table(1, h2c(one_fleet(&[instance("a", server.addr)])))).await[0];
    let client = open(addr).await;
    let asked = (0..150).map(|_| {
        let mut client = client.clone();
        tokio::spawn(async move {
            let request = post("/").body(Full::new(Bytes::from("x"))).unwrap();
            whole(client.send_request(request).await.unwrap()).await.unwrap().body
        })
    });
    for answer in asked.collect::<Vec<_>>() {
        assert_eq!(answer.await.unwrap(), "a");
    }
    assert_eq!(server.seen(), 150);
    assert!(server.connections.load(std::sync::atomic::Ordering::SeqCst) <= 4);
}

#[tokio::test]
async fn http2_clients_reach_http1_instances() {
    let server = raw_server(|_, mut stream| async move {
        let head = say(&mut stream, "HTTP/1.1 200 OK\r\nConnection: close, x-hop\r\nX-Hop: 1\r\n\r\n").await;
        use tokio::io::AsyncWriteExt;
        stream.write_all(head.to_lowercase().as_bytes()).await.unwrap();
    })
    .await;
    let proxy = Proxy::start().await;
    let addr = proxy.put(&table(1, one_fleet(&[instance("a", server.addr)]))).await[0];
    let mut client = open(addr).await;
    let request = Request::builder()
        .uri("http://Web.test:99/p?q")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .body(Full::new(Bytes::new()))
        .unwrap();
    let answer = whole(client.send_request(request).await.unwrap()).await.unwrap();
    for line in ["get /p?q http/1.1\r\n", "host: web.test:99\r\n", "cookie: a=1; b=2\r\n"] {
        assert!(answer.body.contains(line), "{line} in {}", answer.body);
    }
    assert!(!answer.headers.contains_key("x-hop") && !answer.headers.contains_key("connection"));
}

#[tokio::test]
async fn http1_clients_reach_http2_instances() {
    let server = serve(|request: Request<Incoming>| async move {
        let text = format!("{:?} {} ", request.version(), request.uri());
        let body = request.into_body().collect().await.unwrap().to_bytes();
        Response::new(full(text + &String::from_utf8_lossy(&body)))
    })
    .await;
    let proxy = Proxy::start().await;
    let addr = proxy.put(&table(1, h2c(one_fleet(&[instance("a", server.addr)])))).await[0];
    let answer = raw(
        addr,
        b"POST /p?q HTTP/1.1\r\nHost: a.test:1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    )
    .await;
    assert!(answer.contains("HTTP/2.0 http://a.test:1/p?q hi"), "{answer}");
}

#[tokio::test]
async fn a_connection_that_says_goodbye_loses_no_stream() {
    let proxy = Proxy::start().await;
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let server = serve(move |_| {
        let gate = Arc::clone(&opened);
        async move {
            let _passed = gate.acquire().await.unwrap();
            Response::new(full("done"))
        }
    })
    .await;
    let addr = proxy.put(&table(1, one_fleet(&[instance("a", server.addr)]))).await[0];
    let mut client = open(addr).await;
    let request = post("/").body(Full::new(Bytes::new())).unwrap();
    let asked = tokio::spawn(client.send_request(request));
    proxy.until("the stream", |status| !status.in_flight.is_empty()).await;
    let mut without = table(2, one_fleet(&[instance("a", server.addr)]));
    without.listeners.clear();
    proxy.put(&without).await;
    gate.add_permits(1);
    assert_eq!(whole(asked.await.unwrap().unwrap()).await.unwrap().body, "done");
    // Until GOAWAY has arrived, the connection may be used on.
    let begun = std::time::Instant::now();
    let again = || post("/").body(Full::new(Bytes::new())).unwrap();
    while client.send_request(again()).await.is_ok() {
        assert!(begun.elapsed().as_secs() < 60, "GOAWAY was not said");
    }
}
