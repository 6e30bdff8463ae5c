//! The control socket: HTTP for the control plane (see [`Status`](crate::Status) and its neighbours), and the
//! take-over by a successor.

use std::convert::Infallible;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::io::{AsyncReadExt, Join};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::error::{TableError, chain};
use crate::fdpass;
use crate::keeper::Keeper;
use crate::predecessor::{Offer, READY, Remains, TAKE_OVER, read_message, write_message};
use crate::shared::Shared;
use crate::status::{prometheus, status};
use crate::table::RouteTable;
use crate::{Refused, Stopping};

/// A table of 64 MiB has some hundred thousand instances.
const LARGEST_TABLE: usize = 64 << 20;
/// Long polls end after this time even when nothing happened.
const LONG_POLL: Duration = Duration::from_secs(30);
/// A successor learns of changes at most so often.
const REPORTS: Duration = Duration::from_millis(20);

/// What the control socket's requests work on.
pub(crate) struct Office {
    pub(crate) keeper: Mutex<Keeper>,
    pub(crate) shared: Arc<Shared>,
    /// The process is to end.
    pub(crate) stop: CancellationToken,
    /// A successor has taken over: the end comes without the listeners.
    pub(crate) handed_over: CancellationToken,
    /// The successor is gone too, so nobody leads what is left of this process.
    pub(crate) orphaned: CancellationToken,
}

/// Serves a control socket for ever.
pub(crate) async fn listen(office: Arc<Office>, listener: UnixListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(greet(Arc::clone(&office), stream))),
            Err(error) => {
                tracing::warn!(%error, "the control socket cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Tells a successor from a client by the first byte.
async fn greet(office: Arc<Office>, mut stream: UnixStream) {
    let mut first = [0; 1];
    match stream.read(&mut first).await {
        Ok(1) if first[0] == TAKE_OVER => {
            if let Err(error) = hand_over(&office, stream).await {
                tracing::warn!(%error, "the hand-over to a successor broke off");
            }
        }
        Ok(1) => {
            let (reader, writer) = tokio::io::split(stream);
            let io = tokio::io::join(AsyncReadExt::chain(io::Cursor::new(first), reader), writer);
            serve(office, io).await;
        }
        _ => {}
    }
}

async fn serve<R, W>(office: Arc<Office>, io: Join<R, W>)
where
    Join<R, W>: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let service = service_fn(move |request| {
        let office = Arc::clone(&office);
        async move { Ok::<_, Infallible>(answer(&office, request).await) }
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(io), service).await;
}

type Answer = Response<Full<Bytes>>;

async fn answer(office: &Office, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    match (request.method(), path.as_str()) {
        (&Method::PUT, "/v1/table") => put_table(office, request).await,
        (&Method::GET, "/v1/table") => json(StatusCode::OK, &**office.keeper.lock().await.table()),
        (&Method::GET, "/v1/status") => get_status(office, request.uri().query().unwrap_or("")).await,
        (&Method::GET, "/metrics") => {
            let text = prometheus(&mut *office.keeper.lock().await);
            text_answer(StatusCode::OK, text, "text/plain; version=0.0.4")
        }
        (&Method::POST, "/v1/stop") => {
            office.stop.cancel();
            json(StatusCode::OK, &Stopping { pid: std::process::id() })
        }
        (_, "/v1/table" | "/v1/status" | "/metrics" | "/v1/stop") => {
            let text =
                "this method does not work here: see GET /v1/status, GET and PUT /v1/table, POST /v1/stop\n";
            text_answer(StatusCode::METHOD_NOT_ALLOWED, text.into(), "text/plain")
        }
        _ => text_answer(StatusCode::NOT_FOUND, format!("nothing is at {path}\n"), "text/plain"),
    }
}

async fn put_table(office: &Office, request: Request<Incoming>) -> Answer {
    let body = Limited::new(request.into_body(), LARGEST_TABLE).collect().await;
    let parsed = match body {
        Ok(body) => serde_json::from_slice::<RouteTable>(&body.to_bytes()).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let mut keeper = office.keeper.lock().await;
    let table = match parsed {
        Ok(table) => table,
        Err(error) => {
            let error = format!("the route table cannot be read: {error}");
            return json(
                StatusCode::UNPROCESSABLE_ENTITY,
                &Refused { version: keeper.table().version, error },
            );
        }
    };
    match keeper.put(table).await {
        Ok(ack) => json(StatusCode::OK, &ack),
        Err(error) => {
            let status = match error {
                TableError::Stale { .. } => StatusCode::CONFLICT,
                _ => StatusCode::UNPROCESSABLE_ENTITY,
            };
            json(status, &Refused { version: keeper.table().version, error: chain(&error) })
        }
    }
}

async fn get_status(office: &Office, query: &str) -> Answer {
    let after = query.split('&').find_map(|pair| pair.strip_prefix("after="));
    if let Some(after) = after {
        let Ok(after) = after.parse::<u64>() else {
            return text_answer(StatusCode::BAD_REQUEST, "after must be a number\n".into(), "text/plain");
        };
        let mut sequence = office.shared.sequence.subscribe();
        let newer = sequence.wait_for(|seq| *seq > after);
        // The time-out's answer is the same status.
        let _ = tokio::time::timeout(LONG_POLL, newer).await;
    }
    json(StatusCode::OK, &status(&mut *office.keeper.lock().await))
}

fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    match serde_json::to_string(value) {
        Ok(text) => text_answer(status, text, "application/json"),
        Err(error) => text_answer(StatusCode::INTERNAL_SERVER_ERROR, error.to_string(), "text/plain"),
    }
}

fn text_answer(status: StatusCode, text: String, kind: &'static str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// Hands the listeners to a successor; see [`crate::predecessor`].
async fn hand_over(office: &Office, mut stream: UnixStream) -> io::Result<()> {
    {
        // No table is taken while the successor reads the kept one.
        let mut keeper = office.keeper.lock().await;
        offer(&keeper, &mut stream).await?;
        if stream.read_u8().await? != READY {
            return Err(io::ErrorKind::InvalidData.into());
        }
        keeper.hand_over().await;
    }
    tracing::info!("a successor has the listeners; finishing what is under way");
    office.handed_over.cancel();
    office.stop.cancel();
    let (mut reader, mut writer) = stream.into_split();
    let follow = async {
        while let Ok(table) = read_message::<RouteTable>(&mut reader).await {
            office.keeper.lock().await.follow(table);
        }
    };
    let report = async {
        let mut last = None;
        loop {
            let now = {
                let mut keeper = office.keeper.lock().await;
                let status = status(&mut keeper);
                Remains { version: status.version, in_flight: status.in_flight }
            };
            if last.as_ref() != Some(&now) {
                write_message(&mut writer, &now).await?;
            }
            last = Some(now);
            tokio::time::sleep(REPORTS).await;
        }
    };
    let result = tokio::select! {
        () = follow => Ok(()),
        result = report => result,
    };
    office.orphaned.cancel();
    result
}

async fn offer(keeper: &Keeper, stream: &mut UnixStream) -> io::Result<()> {
    let open: Vec<_> = keeper
        .standing
        .iter()
        .filter_map(|standing| standing.state.as_ref().ok())
        .map(|open| &open.bound)
        .collect();
    let listeners = open.iter().map(|bound| bound.bind.clone()).collect();
    write_message(stream, &Offer { listeners }).await?;
    let sockets = open.iter().map(|bound| bound.socket.as_fd());
    let descriptors: Vec<_> = std::iter::once(keeper.disk.lock_file().as_fd()).chain(sockets).collect();
    for some in descriptors.chunks(fdpass::MOST) {
        fdpass::send(stream, &[0], some).await?;
    }
    Ok(())
}
