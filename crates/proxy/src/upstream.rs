//! Opening connections to instances.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use kiln_model::Protocol;
use tokio::net::TcpStream;

use crate::answer::Failure;
use crate::executor::LocalExecutor;
use crate::fdpass;
use crate::io::InstanceIo;
use crate::pool::{Borrowed, Multiplex, Opening};
use crate::table::Endpoint;
use crate::target::Target;
use crate::worker::Worker;

/// Flow control of HTTP/2: what an instance may send unread on one stream and on the whole connection.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// The most that is read ahead of one HTTP/1 answer.
const READ_BUFFER: usize = 64 << 10;

/// Connects to one port of an instance.
pub(crate) async fn connect(worker: &Worker, target: &Target) -> Result<TcpStream, Failure> {
    let limit = worker.ticker.watch(worker.shared.config.limits.connect_timeout);
    match limit.limit(open(&target.endpoint)).await {
        Some(Ok(stream)) => Ok(stream),
        Some(Err(_)) => Err(Failure::Refused),
        None => Err(Failure::ConnectTimeout),
    }
}

async fn open(endpoint: &Endpoint) -> io::Result<TcpStream> {
    let stream = match endpoint {
        Endpoint::Tcp { addr } => TcpStream::connect(addr).await?,
        Endpoint::Dial { socket, port } => {
            let descriptor = fdpass::ask_supervisor(socket, b'C', *port).await?;
            let stream = std::net::TcpStream::from(descriptor);
            stream.set_nonblocking(true)?;
            TcpStream::from_std(stream)?
        }
    };
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A kept connection for one HTTP request, if one was idle for at most `age`; zero wants a new one.
pub(crate) fn kept(
    worker: &Worker,
    target: &Target,
    protocol: Protocol,
    age: Duration,
) -> Result<Borrowed, Option<Opening>> {
    if protocol != Protocol::H2c {
        let wanted = !age.is_zero();
        return wanted.then(|| worker.pool.take(target.key, age)).flatten().ok_or(None);
    }
    match worker.pool.multiplex(target.key) {
        Multiplex::Use(borrowed) => Ok(borrowed),
        Multiplex::Open(opening) => Err(Some(opening)),
        Multiplex::Wait(_) => Err(None),
    }
}

/// A new connection for one HTTP request. Boxed, because it is rare and large, and every request's future would have room
/// for it.
pub(crate) fn open_for<'a>(
    worker: &'a Worker,
    target: &'a Target,
    protocol: Protocol,
    opening: Option<Opening>,
) -> Pin<Box<dyn Future<Output = Result<Borrowed, Failure>> + 'a>> {
    if protocol == Protocol::H2c {
        Box::pin(open_http2(worker, target, opening))
    } else {
        Box::pin(open_http1(worker, target))
    }
}

async fn open_http1(worker: &Worker, target: &Target) -> Result<Borrowed, Failure> {
    let stream = connect(worker, target).await?;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(READ_BUFFER);
    let handshake = builder.handshake(TokioIo::new(InstanceIo(stream))).await;
    let (sender, connection) = handshake.map_err(|_| Failure::Broken)?;
    // What goes wrong on it is told to the request that is under way.
    tokio::task::spawn_local(connection.with_upgrades());
    Ok(worker.pool.fresh(sender))
}

async fn open_http2(
    worker: &Worker,
    target: &Target,
    mut opening: Option<Opening>,
) -> Result<Borrowed, Failure> {
    let opening = loop {
        if let Some(opening) = opening.take() {
            break opening;
        }
        match worker.pool.multiplex(target.key) {
            Multiplex::Use(borrowed) => return Ok(borrowed),
            Multiplex::Wait(opened) => opened.notified().await,
            Multiplex::Open(duty) => opening = Some(duty),
        }
    };
    let stream = connect(worker, target).await?;
    let mut builder = http2::Builder::new(LocalExecutor);
    builder.initial_stream_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW);
    let handshake = builder.handshake(TokioIo::new(InstanceIo(stream))).await;
    let (sender, connection) = handshake.map_err(|_| Failure::Broken)?;
    tokio::task::spawn_local(connection);
    Ok(opening.opened(target, sender))
}
