//! HTTP requests.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONNECTION, HOST, USER_AGENT};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kiln_model::{HttpCheck, Protocol, Span, SyntheticProbe, TextExpect};
use kiln_provider::Endpoint;

use super::{place, slow};
use crate::finding::{self, Finding, Judge};
use crate::{Connector, LIMIT, Target};

/// So much of a body is read: enough for any page, and an endless one ends.
const LONGEST_BODY: usize = 4 << 20;

/// A request on its way to a port.
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) headers: &'a BTreeMap<String, String>,
    pub(crate) body: Option<&'a str>,
    pub(crate) protocol: Protocol,
}

/// One answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    /// From the request to the head of the answer.
    pub(crate) head_took: Duration,
    /// From the request to its end.
    pub(crate) took: Duration,
}

impl Asked<'_> {
    pub(crate) fn what(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

pub(crate) async fn run<C: Connector>(
    wanted: &HttpCheck,
    target: &Target<'_>,
    connector: &C,
    limit: Span,
) -> Result<(), Finding> {
    let mut asked = Asked {
        method: &wanted.method,
        path: &wanted.path,
        headers: &wanted.headers,
        body: wanted.body.as_deref(),
        protocol: Protocol::Http,
    };
    let what = asked.what();
    let (_, protocol, endpoint) = place(&what, wanted.port.as_ref(), target, speaks)?;
    asked.protocol = protocol;
    let answer = tokio::time::timeout(limit.duration(), ask(&asked, endpoint, connector)).await;
    let answer = answer.map_err(|_| slow(&what, limit))??;
    judge(wanted, what, &answer)
}

fn speaks(protocol: Protocol) -> bool {
    protocol != Protocol::Tcp
}

fn judge(wanted: &HttpCheck, what: String, answer: &Answer) -> Result<(), Finding> {
    let mut judge = Judge::new(what);
    let statuses: Vec<String> = wanted.status.iter().map(u16::to_string).collect();
    judge.that(
        wanted.status.contains(&answer.status),
        format_args!("status {}", statuses.join(" or ")),
        format_args!("status {}", answer.status),
    );
    for (name, expect) in &wanted.expect_headers {
        header(&mut judge, name, expect, &answer.headers);
    }
    judge.text("the body", &wanted.expect, &answer.body);
    if !wanted.json.is_empty() {
        json(&mut judge, wanted, &answer.body);
    }
    if let Some(max) = wanted.max_time {
        let took = answer.took.as_millis();
        judge.that(
            answer.took <= max.duration(),
            format_args!("an answer within {max}"),
            format_args!("{took}ms"),
        );
    }
    judge.output(finding::beginning(&answer.body));
    judge.verdict()
}

fn header(judge: &mut Judge, name: &str, expect: &TextExpect, headers: &HeaderMap) {
    let values: Vec<_> = headers
        .get_all(name)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .collect();
    if values.is_empty() {
        judge.that(false, format_args!("a header {name}"), "none");
    } else {
        judge.text(&format!("the header {name}"), expect, &values.join(", "));
    }
}

fn json(judge: &mut Judge, wanted: &HttpCheck, body: &str) {
    let document: serde_json::Value = match serde_json::from_str(body) {
        Ok(document) => document,
        Err(error) => return judge.that(false, "a body of JSON", error),
    };
    for (pointer, value) in &wanted.json {
        let found = match document.pointer(pointer) {
            None => None,
            Some(serde_json::Value::String(text)) => Some(text.clone()),
            Some(other) => Some(other.to_string()),
        };
        let shown = found.as_deref().map_or_else(|| format!("no {pointer}"), |found| format!("{found:?}"));
        judge.that(found.as_ref() == Some(value), format_args!("{pointer} to be {value:?}"), shown);
    }
}

/// One synthetic request: the status, and the time to the head of the answer.
pub(crate) async fn send<C: Connector>(
    probe: &SyntheticProbe,
    target: &Target<'_>,
    connector: &C,
) -> Result<(u16, Duration), Finding> {
    let mut asked = Asked {
        method: "GET",
        path: &probe.get,
        headers: &probe.headers,
        body: None,
        protocol: Protocol::Http,
    };
    let what = asked.what();
    let (_, protocol, endpoint) = place(&what, probe.port.as_ref(), target, speaks)?;
    asked.protocol = protocol;
    let answer = tokio::time::timeout(LIMIT, ask(&asked, endpoint, connector)).await;
    let limit = Span::from_millis(u64::try_from(LIMIT.as_millis()).unwrap_or(u64::MAX));
    let answer = answer.map_err(|_| slow(&what, limit))??;
    Ok((answer.status, answer.head_took))
}

/// Asks over a connection of its own.
pub(crate) async fn ask<C: Connector>(
    asked: &Asked<'_>,
    endpoint: &Endpoint,
    connector: &C,
) -> Result<Answer, Finding> {
    let what = asked.what();
    let began = Instant::now();
    let stream = connector.connect(endpoint).await;
    let stream = stream.map_err(|error| Finding::failed(&what, "a connection", &error))?;
    ask_over(asked, stream, began).await
}

/// Asks over a connection that is there.
pub(crate) async fn ask_over<S: crate::Stream>(
    asked: &Asked<'_>,
    stream: S,
    began: Instant,
) -> Result<Answer, Finding> {
    let what = asked.what();
    let http2 = asked.protocol == Protocol::H2c;
    let request = request(asked, http2, true)?;
    let stream = TokioIo::new(stream);
    let response = if http2 { send_http2(stream, request).await } else { send_http1(stream, request).await };
    let response = response.map_err(|error| Finding::failed(&what, "an answer", &error))?;
    let head_took = began.elapsed();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = Limited::new(response.into_body(), LONGEST_BODY).collect().await;
    // What is longer than the limit, or breaks off, is judged by its status.
    let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Answer { status, headers, body, head_took, took: began.elapsed() })
}

/// The request as it is sent. `last` closes the connection after it.
pub(crate) fn request(asked: &Asked<'_>, http2: bool, last: bool) -> Result<Request<Full<Bytes>>, Finding> {
    let uri = if http2 { format!("http://localhost{}", asked.path) } else { asked.path.to_owned() };
    let mut request = Request::builder().method(asked.method).uri(uri).header(USER_AGENT, "kiln-check");
    for (name, value) in asked.headers {
        request = request.header(name, value);
    }
    if !http2 && !asked.headers.keys().any(|name| name.eq_ignore_ascii_case("host")) {
        request = request.header(HOST, "localhost");
    }
    if !http2 && last {
        request = request.header(CONNECTION, "close");
    }
    let body = Full::new(Bytes::from(asked.body.unwrap_or_default().to_owned()));
    request
        .body(body)
        .map_err(|error| Finding::failed(asked.what(), "an absolute path such as \"/\" to ask for", &error))
}

async fn send_http1<S: crate::Stream>(
    stream: TokioIo<S>,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, hyper::Error> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    tokio::spawn(connection);
    sender.send_request(request).await
}

async fn send_http2<S: crate::Stream>(
    stream: TokioIo<S>,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, hyper::Error> {
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await?;
    tokio::spawn(connection);
    sender.send_request(request).await
}
