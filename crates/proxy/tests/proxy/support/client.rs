//! Clients: plain bytes where bytes matter, hyper where they do not.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// A kept HTTP/1 connection.
pub(crate) struct Kept(SendRequest<Full<Bytes>>);

impl Kept {
    pub(crate) async fn open(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Answer> {
        self.0.ready().await?;
        whole(self.0.send_request(request).await?).await
    }

    pub(crate) async fn get(&mut self, path: &str) -> hyper::Result<Answer> {
        self.send(request("GET", path, "")).await
    }

    /// Waits until the other side has closed it.
    pub(crate) async fn closed(&mut self) {
        for _ in 0..6_000 {
            if self.0.is_closed() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the connection stays open");
    }
}

/// Reads an answer to its end.
pub(crate) async fn whole(response: Response<hyper::body::Incoming>) -> hyper::Result<Answer> {
    let (head, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Answer { status: head.status, headers: head.headers, body })
}

/// A request to `web.test`.
pub(crate) fn request(method: &str, path: &str, body: &'static str) -> Request<Full<Bytes>> {
    let builder = Request::builder().method(method).uri(path).header("host", "web.test");
    builder.body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap()
}

/// A GET request to `web.test` with a header.
pub(crate) fn get_with(name: &'static str, value: &str) -> Request<Full<Bytes>> {
    let mut request = request("GET", "/", "");
    request.headers_mut().insert(name, value.parse().unwrap());
    request
}

/// An HTTP/2 connection.
pub(crate) async fn open_http2(addr: SocketAddr) -> http2::SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(addr).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// A request for HTTP/2 to `web.test`.
pub(crate) fn for_http2(mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    request.headers_mut().remove("host");
    *request.uri_mut() = format!("http://web.test{}", request.uri()).parse().unwrap();
    request
}

/// One request on a connection of its own.
pub(crate) async fn fetch(addr: SocketAddr, request: Request<Full<Bytes>>) -> Answer {
    Kept::open(addr).await.send(request).await.unwrap()
}

pub(crate) async fn get(addr: SocketAddr, path: &str) -> Answer {
    fetch(addr, request("GET", path, "")).await
}

/// Says bytes and reads until the other side ends, or says nothing more for a while.
pub(crate) async fn raw(addr: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    rest(&mut stream).await
}

/// Reads until the other side ends, or says nothing more for a while. The first word may take long.
pub(crate) async fn rest(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let mut some = [0; 4_096];
    let mut patience = Duration::from_secs(60);
    while let Ok(Ok(length @ 1..)) = tokio::time::timeout(patience, stream.read(&mut some)).await {
        all.extend_from_slice(&some[..length]);
        patience = Duration::from_secs(2);
    }
    String::from_utf8_lossy(&all).into_owned()
}
