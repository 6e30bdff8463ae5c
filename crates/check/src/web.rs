//! HTTP checks.

use bytes::Bytes;
use http::header::{CONNECTION, HOST, USER_AGENT};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kiln_model::{Name, Protocol};
use kiln_provider::Endpoint;

use crate::failure::{self, Failure};
use crate::{Connector, LIMIT, Target};

/// So much of a body is read: enough for any page, and an endless one ends.
const LONGEST_BODY: usize = 4 << 20;

/// What is asked and expected.
pub(crate) struct Wanted<'a> {
    pub(crate) path: &'a str,
    pub(crate) status: u16,
    pub(crate) contains: Option<&'a str>,
}

pub(crate) async fn run<C: Connector>(
    wanted: &Wanted<'_>,
    port: Option<&Name>,
    target: &Target<'_>,
    connector: &C,
) -> Result<(), Failure> {
    let (name, protocol, endpoint) = place(port, target)?;
    let asked = tokio::time::timeout(LIMIT, ask(wanted, name, protocol, endpoint, connector)).await;
    let (status, body) = asked.map_err(|_| Failure::Slow { what: format!("GET {}", wanted.path) })??;
    let path = wanted.path.to_owned();
    if status != wanted.status {
        let (expected, body) = (wanted.status, failure::beginning(&body));
        return Err(Failure::Status { path, expected, found: status, body });
    }
    match wanted.contains {
        Some(text) if !body.contains(text) => {
            Err(Failure::Body { path, expected: text.into(), body: failure::beginning(&body) })
        }
        _ => Ok(()),
    }
}

/// The named port, or the first one that speaks HTTP.
fn place<'a>(
    port: Option<&Name>,
    target: &Target<'a>,
) -> Result<(&'a Name, Protocol, &'a Endpoint), Failure> {
    let speaks = |protocol| protocol != Protocol::Tcp;
    let mut ports = target.ports.iter().filter(|(_, declared)| speaks(declared.protocol));
    let found = ports.find(|(name, _)| port.is_none_or(|port| port == *name));
    let missing = || Failure::NoPort { port: port.cloned() };
    let (name, declared) = found.ok_or_else(missing)?;
    let endpoint = target.endpoints.get(name).ok_or_else(missing)?;
    Ok((name, declared.protocol, endpoint))
}

async fn ask<C: Connector>(
    wanted: &Wanted<'_>,
    port: &Name,
    protocol: Protocol,
    endpoint: &Endpoint,
    connector: &C,
) -> Result<(u16, String), Failure> {
    let stream = connector.connect(endpoint).await;
    let stream = stream.map_err(|source| Failure::Connect { port: port.clone(), source })?;
    let broken = |source| Failure::Http { path: wanted.path.into(), source };
    let response = match protocol {
        Protocol::H2c => send_http2(TokioIo::new(stream), request(wanted, true)?).await,
        Protocol::Http | Protocol::Tcp => send_http1(TokioIo::new(stream), request(wanted, false)?).await,
    };
    let response = response.map_err(broken)?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), LONGEST_BODY).collect().await;
    // What is longer than the limit, or breaks off, is judged by its status.
    let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

fn request(wanted: &Wanted<'_>, http2: bool) -> Result<Request<Empty<Bytes>>, Failure> {
    let uri = if http2 { format!("http://localhost{}", wanted.path) } else { wanted.path.to_owned() };
    let mut request = Request::get(uri).header(USER_AGENT, "kiln-check");
    if !http2 {
        request = request.header(HOST, "localhost").header(CONNECTION, "close");
    }
    request.body(Empty::new()).map_err(|source| Failure::Path { path: wanted.path.into(), source })
}

async fn send_http1<S: crate::Stream>(
    stream: TokioIo<S>,
    request: Request<Empty<Bytes>>,
) -> Result<Response<Incoming>, hyper::Error> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    tokio::spawn(connection);
    sender.send_request(request).await
}

async fn send_http2<S: crate::Stream>(
    stream: TokioIo<S>,
    request: Request<Empty<Bytes>>,
) -> Result<Response<Incoming>, hyper::Error> {
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await?;
    tokio::spawn(connection);
    sender.send_request(request).await
}
