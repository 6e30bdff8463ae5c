//! A worker's connections to instances, kept for the next request.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use tokio::sync::Notify;

use crate::body::RequestBody;
use crate::target::Target;
use crate::worker::millis;

/// Idle HTTP/1 connections kept for one target by one worker.
const MOST_IDLE: usize = 128;
/// Idle connections are closed after this time: before most servers do it (nginx 75 s, Apache and Node 5 s; those
/// that are quicker are noticed by their closing).
const KEPT: Duration = Duration::from_secs(60);
/// Requests on one HTTP/2 connection before another one is opened: the least that RFC 9113 §6.5.2 recommends servers to
/// allow.
const STREAMS: usize = 100;

type H1Sender = http1::SendRequest<RequestBody>;
type H2Sender = http2::SendRequest<RequestBody>;

/// A worker's connections to instances.
pub(crate) struct Pool {
    idle: RefCell<HashMap<u64, Vec<Idle>>>,
    shared: RefCell<HashMap<u64, Multiplexed>>,
    this: std::rc::Weak<Self>,
    /// The worker's coarse clock.
    clock: Arc<AtomicU64>,
}

struct Idle {
    sender: H1Sender,
    /// By the worker's coarse clock.
    since: u64,
}

/// The HTTP/2 connections to one target.
#[derive(Default)]
struct Multiplexed {
    connections: Vec<Rc<H2Connection>>,
    /// Somebody opens one more; others wait here.
    opening: Option<Rc<Notify>>,
}

/// One HTTP/2 connection to an instance.
pub(crate) struct H2Connection {
    sender: H2Sender,
    streams: Cell<usize>,
    broken: Cell<bool>,
}

/// A connection in use by one request.
pub(crate) struct Borrowed {
    pool: std::rc::Weak<Pool>,
    connection: Connection,
    /// It had been idle.
    pub(crate) reused: bool,
}

enum Connection {
    H1(H1Sender),
    H2(Stream),
}

/// One stream on an HTTP/2 connection.
struct Stream(Rc<H2Connection>);

impl Stream {
    fn on(connection: &Rc<H2Connection>) -> Connection {
        connection.streams.set(connection.streams.get() + 1);
        Connection::H2(Self(Rc::clone(connection)))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get() - 1);
    }
}

/// What an HTTP/2 request is to do.
pub(crate) enum Multiplex {
    Use(Borrowed),
    /// Open a connection, and add it.
    Open(Opening),
    /// Somebody opens one: wait, then ask again.
    Wait(Rc<Notify>),
}

/// The duty to open an HTTP/2 connection; waiting requests go on when it is dropped.
pub(crate) struct Opening {
    pool: std::rc::Weak<Pool>,
    key: u64,
    waiting: Rc<Notify>,
}

impl Pool {
    pub(crate) fn new(clock: Arc<AtomicU64>) -> Rc<Self> {
        Rc::new_cyclic(|this| Self {
            idle: RefCell::default(),
            shared: RefCell::default(),
            this: this.clone(),
            clock,
        })
    }

    /// Milliseconds that a connection has been idle since then.
    fn idle_for(&self, since: u64) -> u64 {
        self.clock.load(Relaxed).saturating_sub(since)
    }

    /// The connection that was idle for the shortest time, if that is at most `age`.
    pub(crate) fn take(&self, key: u64, age: Duration) -> Option<Borrowed> {
        let age = millis(age);
        let mut idle = self.idle.borrow_mut();
        let kept = idle.get_mut(&key)?;
        while let Some(Idle { sender, since }) = kept.pop() {
            if !sender.is_ready() {
                continue;
            }
            if self.idle_for(since) > age {
                kept.push(Idle { sender, since });
                return None;
            }
            return Some(self.lend(Connection::H1(sender), true));
        }
        None
    }

    /// A connection that was just opened.
    pub(crate) fn fresh(&self, sender: H1Sender) -> Borrowed {
        self.lend(Connection::H1(sender), false)
    }

    fn lend(&self, connection: Connection, reused: bool) -> Borrowed {
        Borrowed { pool: self.this.clone(), connection, reused }
    }

    fn keep(&self, target: &Target, sender: H1Sender) {
        if target.retired.load(SeqCst) {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        let kept = idle.entry(target.key).or_default();
        if kept.len() < MOST_IDLE {
            kept.push(Idle { sender, since: self.clock.load(Relaxed) });
        }
    }

    /// How the next HTTP/2 request to a target gets a connection.
    pub(crate) fn multiplex(&self, key: u64) -> Multiplex {
        let mut shared = self.shared.borrow_mut();
        let of = shared.entry(key).or_default();
        of.connections.retain(|connection| connection.usable());
        let least = of.connections.iter().min_by_key(|connection| connection.streams.get());
        if let Some(connection) = least.filter(|connection| connection.streams.get() < STREAMS) {
            return Multiplex::Use(self.lend(Stream::on(connection), true));
        }
        if let Some(opening) = &of.opening {
            return Multiplex::Wait(Rc::clone(opening));
        }
        let waiting = Rc::new(Notify::new());
        of.opening = Some(Rc::clone(&waiting));
        Multiplex::Open(Opening { pool: self.this.clone(), key, waiting })
    }

    /// Whether nothing is kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.idle.borrow().is_empty() && self.shared.borrow().is_empty()
    }

    /// Drops all that is kept for a target.
    pub(crate) fn forget(&self, key: u64) {
        self.idle.borrow_mut().remove(&key);
        self.shared.borrow_mut().remove(&key);
    }

    /// Drops what was idle for too long or was closed by the instance.
    pub(crate) fn sweep(&self) {
        self.idle.borrow_mut().retain(|_, kept| {
            kept.retain(|idle| idle.sender.is_ready() && self.idle_for(idle.since) < millis(KEPT));
            !kept.is_empty()
        });
        self.shared.borrow_mut().retain(|_, of| {
            of.connections.retain(|connection| connection.usable());
            !of.connections.is_empty() || of.opening.is_some()
        });
    }
}

impl H2Connection {
    fn usable(&self) -> bool {
        !self.broken.get() && !self.sender.is_closed()
    }
}

impl Opening {
    /// Adds the connection, in use by one request, and lets the others go on.
    pub(crate) fn opened(self, target: &Target, sender: H2Sender) -> Borrowed {
        let connection = Rc::new(H2Connection { sender, streams: Cell::new(0), broken: Cell::new(false) });
        if !target.retired.load(SeqCst)
            && let Some(pool) = self.pool.upgrade()
        {
            pool.shared.borrow_mut().entry(self.key).or_default().connections.push(Rc::clone(&connection));
        }
        Borrowed { pool: self.pool.clone(), connection: Stream::on(&connection), reused: false }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade()
            && let Some(of) = pool.shared.borrow_mut().get_mut(&self.key)
        {
            of.opening = None;
        }
        self.waiting.notify_waiters();
    }
}

/// A request's way to its answer.
pub(crate) type Sending = std::pin::Pin<
    Box<
        dyn Future<
            Output = Result<
                http::Response<hyper::body::Incoming>,
                hyper::client::conn::TrySendError<http::Request<RequestBody>>,
            >,
        >,
    >,
>;

impl Borrowed {
    /// Sends a request.
    pub(crate) fn send(&mut self, request: http::Request<RequestBody>) -> Sending {
        match &mut self.connection {
            Connection::H1(sender) => Box::pin(sender.try_send_request(request)),
            Connection::H2(stream) => Box::pin(stream.0.sender.clone().try_send_request(request)),
        }
    }

    /// The answer has been read to its end: the next request may use the connection.
    pub(crate) fn give_back(self, target: &Arc<Target>) {
        let Connection::H1(mut sender) = self.connection else { return };
        let Some(pool) = self.pool.upgrade() else { return };
        if sender.is_ready() {
            return pool.keep(target, sender);
        }
        if sender.is_closed() || target.retired.load(SeqCst) {
            return;
        }
        // hyper looks after the connection once more before it is ready; a request body may also be under way.
        let target = Arc::clone(target);
        tokio::task::spawn_local(async move {
            if sender.ready().await.is_ok() {
                pool.keep(&target, sender);
            }
        });
    }

    /// Nobody else shall use this connection.
    pub(crate) fn distrust(&self) {
        if let Connection::H2(stream) = &self.connection {
            stream.0.broken.set(true);
        }
    }
}
