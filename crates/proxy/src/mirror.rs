//! Copies of requests for a fleet that is to be tried without being trusted: sent beside the user's request, the
//! answer read and thrown away.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::HeaderName;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use http_body_util::BodyExt;

use crate::body::RequestBody;
use crate::exchange::{Chosen, Exchange, choose};
use crate::live::{Attempts, LiveMirror};
use crate::metrics::Copying;
use crate::serve::{Client, download};

/// Copies under way to one fleet; those above are not sent. Each holds a request's head and, at most, the buffers of one
/// connection.
const MOST: usize = 128;
/// A copy waits so long for its answer where users' requests may wait for ever.
const PATIENCE: Duration = Duration::from_secs(60);
/// Its answer's body is read for so long: it may be a stream that never ends.
const READING: Duration = Duration::from_secs(10);

/// Says to the instance that nobody waits for the answer.
const MARK: HeaderName = HeaderName::from_static("kiln-mirror");

/// Sends a copy of a request without a body to the fleet that mirrors, if its turn has come.
pub(crate) fn copy(
    client: &Rc<Client>,
    host: &HeaderValue,
    head: &Parts,
    chosen: &Chosen,
    mirror: &LiveMirror,
) {
    let safe = matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
    if !safe || chosen.fleet == mirror.fleet || head.headers.contains_key(MARK) {
        return;
    }
    let backend = &chosen.destination.backend;
    if !backend.turns.copied(mirror.percent) {
        return;
    }
    let fleet = &backend.fleets[mirror.fleet];
    let room = if fleet.ready.is_empty() { None } else { fleet.stats.copy(MOST) };
    let Some(room) = room else { return fleet.stats.mirror_dropped(client.worker.index) };
    let mut head = head.clone();
    head.headers.insert(MARK, HeaderValue::from_static("1"));
    tokio::task::spawn_local(send(Rc::clone(client), host.clone(), head, room));
}

async fn send(client: Rc<Client>, host: HeaderValue, head: Parts, room: Copying) {
    let (started, worker, version) = (Instant::now(), &client.worker, head.version);
    let mut attempts = Attempts::of_a_copy();
    let Ok(chosen) = choose(&client, &host, &head, &mut attempts) else {
        return room.0.mirror_dropped(worker.index);
    };
    let stats = Arc::clone(&chosen.fleet().stats);
    let limit = chosen.destination.backend.request_timeout;
    let timeout = if limit.is_zero() { PATIENCE } else { limit };
    let exchange = Exchange { client: &client, host: &host, body: RequestBody::Empty, timeout };
    let answer = exchange.run(head, chosen, attempts).await;
    stats.mirrored(worker.index);
    let Ok(answer) = answer else { return };
    if answer.response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return stats.failed(worker.index);
    }
    stats.answered(worker.index, answer.response.status(), started.elapsed());
    let mut body = download(&client, answer, None, version).into_body();
    let reading = worker.ticker.watch(READING);
    let to_the_end = async { while let Some(Ok(_)) = body.frame().await {} };
    reading.limit(to_the_end).await;
}
