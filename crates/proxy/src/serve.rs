//! From a client's request to the answer it gets.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::header::{CONNECTION, HOST, SET_COOKIE, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use kiln_model::Protocol;

use crate::answer::Failure;
use crate::body::{Download, RequestBody, ResponseBody};
use crate::conn::{Busy, Control};
use crate::exchange::{Answer, Exchange, choose};
use crate::headers::{ClientHeaders, join_cookies, set_upgrade, strip_hop_by_hop};
use crate::hold;
use crate::live::Attempts;
use crate::mirror;
use crate::upgrade;
use crate::worker::{Worker, millis};

/// A connection and all that its requests need.
pub(crate) struct Client {
    pub(crate) worker: Rc<Worker>,
    pub(crate) control: Rc<Control>,
    pub(crate) headers: ClientHeaders,
    /// It came under TLS.
    pub(crate) secure: bool,
}

/// An upgrade that a client asks for.
pub(crate) struct Upgrade {
    pub(crate) protocol: HeaderValue,
    pub(crate) client: OnUpgrade,
}

/// Answers one request.
pub(crate) async fn serve(
    client: Rc<Client>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    let busy = client.control.begin();
    let version = request.version();
    let mut response = match forward(&client, request, busy).await {
        Ok(response) => response,
        Err(failure) => failure.response(),
    };
    *response.version_mut() = version;
    if client.control.is_lame()
        && version != Version::HTTP_2
        && response.status() != StatusCode::SWITCHING_PROTOCOLS
    {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

async fn forward(
    client: &Rc<Client>,
    mut request: Request<Incoming>,
    busy: Busy,
) -> Result<Response<ResponseBody>, Failure> {
    let started = Instant::now();
    let on_upgrade = request.headers().contains_key(UPGRADE).then(|| hyper::upgrade::on(&mut request));
    let (mut head, incoming) = request.into_parts();
    let version = head.version;
    let host = inspect(&mut head)?;
    let mut attempts = Attempts::default();
    let chosen = match choose(client, &host, &head, &mut attempts) {
        Ok(chosen) => chosen,
        // Boxed, so that those that need not wait are none the larger.
        Err(refusal) => Box::pin(hold::wait(client, &host, &head, &mut attempts, refusal)).await?,
    };
    let drawn = attempts.drawn;
    let backend = Arc::clone(&chosen.destination.backend);
    client.control.bear_silence(millis(backend.idle_timeout));

    let asked = strip_hop_by_hop(&mut head.headers);
    client.headers.add(&mut head.headers, &host);
    let ordinary = on_upgrade.is_none();
    let upgrade = match (asked, on_upgrade) {
        (Some(protocol), Some(on_upgrade)) if takes_upgrade(&protocol, version, backend.protocol) => {
            set_upgrade(&mut head.headers, protocol.clone());
            Some(Upgrade { protocol, client: on_upgrade })
        }
        _ => None,
    };
    let body = RequestBody::new(incoming);
    if let Some(mirror) = backend.mirror.as_ref().filter(|_| ordinary && body.is_empty()) {
        mirror::copy(client, &host, &head, &chosen, mirror);
    }
    let exchange = Exchange { client, host: &host, body, timeout: backend.request_timeout };
    let mut answer = exchange.run(head, chosen, attempts).await?;
    let (stats, status) = (&answer.chosen.fleet().stats, answer.response.status());
    let took = started.elapsed().saturating_sub(answer.held);
    let mut response = if status == StatusCode::SWITCHING_PROTOCOLS {
        let Some(upgrade) = upgrade else {
            stats.failed(client.worker.index);
            return Err(Failure::Nonsense);
        };
        stats.answered(client.worker.index, status, took);
        upgrade::begin(client, upgrade, answer)
    } else {
        stats.answered(client.worker.index, status, took);
        strip_hop_by_hop(answer.response.headers_mut());
        download(client, answer, Some(busy), version)
    };
    if let Some(cookie) = drawn.and_then(|key| backend.sticky.as_ref()?.set_cookie(key, client.secure)) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(response)
}

/// The answer with a body that ends what must end with it.
pub(crate) fn download(
    client: &Client,
    answer: Answer,
    busy: Option<Busy>,
    version: Version,
) -> Response<ResponseBody> {
    let Answer { response, borrowed, chosen, upload, .. } = answer;
    let (mut head, incoming) = response.into_parts();
    head.extensions.clear();
    let silence = chosen.destination.backend.idle_timeout;
    // An HTTP/1 connection as a whole is watched by the worker.
    let watched = version == Version::HTTP_2 && !silence.is_zero();
    let silence = watched.then(|| (client.worker.ticker.watch(silence), silence));
    let (stats, worker) = (Arc::clone(&chosen.fleet().stats), client.worker.index);
    let download = Download {
        incoming,
        borrowed: Some(borrowed),
        lease: Some(chosen.lease),
        silence,
        busy,
        upload,
        waiting: false,
        stats,
        worker,
        status: head.status,
    };
    Response::from_parts(head, ResponseBody::Instance(Box::new(download)))
}

/// Upgrades are of HTTP/1.1; HTTP/2 without TLS is spoken here by prior knowledge only (RFC 9113 §3.1).
fn takes_upgrade(protocol: &HeaderValue, version: Version, backend: Protocol) -> bool {
    version == Version::HTTP_11
        && backend == Protocol::Http
        && !protocol.as_bytes().eq_ignore_ascii_case(b"h2c")
}

/// Refuses what must not be passed on, brings the head into one form, and says which host is meant.
fn inspect(head: &mut Parts) -> Result<HeaderValue, Failure> {
    if head.method == Method::CONNECT {
        return Err(Failure::NoTunnel);
    }
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    if codings.next().is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
        || codings.next().is_some()
    {
        return Err(Failure::UnknownCoding);
    }
    let mut hosts = head.headers.get_all(HOST).iter();
    let first = hosts.next().cloned();
    if hosts.next().is_some() {
        return Err(Failure::BadHost);
    }
    // RFC 9112 §3.2.2 and RFC 9113 §8.3.1: the target's own authority is above the field.
    let host = match (head.uri.authority(), first) {
        (Some(authority), first) => {
            let name = authority.as_str().rsplit('@').next().unwrap_or_default();
            match first.filter(|first| first.as_bytes() == name.as_bytes()) {
                Some(first) => first,
                None => HeaderValue::from_str(name).map_err(|_| Failure::BadHost)?,
            }
        }
        (None, Some(first)) => first,
        (None, None) if head.version == Version::HTTP_10 => HeaderValue::from_static(""),
        (None, None) => return Err(Failure::BadHost),
    };
    if !host.as_bytes().iter().all(|b| is_host_byte(*b)) {
        return Err(Failure::BadHost);
    }
    if head.uri.authority().is_some() {
        head.headers.insert(HOST, host.clone());
    }
    if head.version == Version::HTTP_2 {
        join_cookies(&mut head.headers);
    }
    head.extensions.clear();
    Ok(host)
}

/// Bytes of a host and port (RFC 3986 §3.2.2), without those that could end the field or begin a path.
fn is_host_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&b)
}
