//! HTTP checks.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONNECTION, HOST, USER_AGENT};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kiln_model::{Name, Protocol, SyntheticProbe};
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

/// One answer.
struct Answer {
    status: u16,
    body: String,
    /// From the request to the head of the answer.
    took: Duration,
}

static NO_HEADERS: BTreeMap<String, String> = BTreeMap::new();

pub(crate) async fn run<C: Connector>(
    wanted: &Wanted<'_>,
    port: Option<&Name>,
    target: &Target<'_>,
    connector: &C,
) -> Result<(), Failure> {
    let (name, protocol, endpoint) = place(port, target)?;
    let asked = Asked { path: wanted.path, headers: &NO_HEADERS, port: name, protocol };
    let answer = tokio::time::timeout(LIMIT, ask(&asked, endpoint, connector)).await;
    let Answer { status, body, .. } =
        answer.map_err(|_| Failure::Slow { what: format!("GET {}", wanted.path) })??;
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

/// One synthetic request: the status, and the time to the head of the answer.
pub(crate) async fn send<C: Connector>(
    probe: &SyntheticProbe,
    target: &Target<'_>,
    connector: &C,
) -> Result<(u16, Duration), Failure> {
    let (port, protocol, endpoint) = place(probe.port.as_ref(), target)?;
    let asked = Asked { path: &probe.get, headers: &probe.headers, port, protocol };
    let answer = tokio::time::timeout(LIMIT, ask(&asked, endpoint, connector)).await;
    let answer = answer.map_err(|_| Failure::Slow { what: format!("GET {}", probe.get) })??;
    Ok((answer.status, answer.took))
}

/// A request on its way to a port.
struct Asked<'a> {
    path: &'a str,
    headers: &'a BTreeMap<String, String>,
    port: &'a Name,
    protocol: Protocol,
}

async fn ask<C: Connector>(asked: &Asked<'_>, endpoint: &Endpoint, connector: &C) -> Result<Answer, Failure> {
    let begun = Instant::now();
    let stream = connector.connect(endpoint).await;
    let stream = stream.map_err(|source| Failure::Connect { port: asked.port.clone(), source })?;
    let broken = |source| Failure::Http { path: asked.path.into(), source };
    let response = match asked.protocol {
        Protocol::H2c => send_http2(TokioIo::new(stream), request(asked, true)?).await,
        Protocol::Http | Protocol::Tcp => send_http1(TokioIo::new(stream), request(asked, false)?).await,
    };
    let response = response.map_err(broken)?;
    let took = begun.elapsed();
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), LONGEST_BODY).collect().await;
    // What is longer than the limit, or breaks off, is judged by its status.
    let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned(), took })
}

fn request(asked: &Asked<'_>, http2: bool) -> Result<Request<Empty<Bytes>>, Failure> {
    let uri = if http2 { format!("http://localhost{}", asked.path) } else { asked.path.to_owned() };
    let mut request = Request::get(uri).header(USER_AGENT, "kiln-check");
    for (name, value) in asked.headers {
        request = request.header(name, value);
    }
    if !http2 && !asked.headers.keys().any(|name| name.eq_ignore_ascii_case("host")) {
        request = request.header(HOST, "localhost");
    }
    if !http2 {
        request = request.header(CONNECTION, "close");
    }
    request.body(Empty::new()).map_err(|source| Failure::Path { path: asked.path.into(), source })
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
