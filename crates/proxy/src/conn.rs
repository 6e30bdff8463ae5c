//! One client connection from its acceptance to its end.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::executor::LocalExecutor;
use crate::headers::ClientHeaders;
use crate::io::{Activity, ClientIo, Transport};
use crate::live::LiveMode;
use crate::serve::{self, Client};
use crate::tcp;
use crate::worker::Worker;

/// How every HTTP/2 connection begins (RFC 9113 §3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Flow control of HTTP/2: what a client may send unread on one stream and on the whole connection.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// What the worker can do to a connection, and what the connection tells of itself.
pub(crate) struct Control {
    pub(crate) slot: usize,
    pub(crate) peer: SocketAddr,
    pub(crate) activity: Arc<Activity>,
    requests: Cell<u32>,
    /// Silence that ends it while requests are under way, in milliseconds; 0 is none.
    idle_limit: Cell<u64>,
    lame: Cell<bool>,
    order: Cell<Order>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    GoOn,
    /// Close when nothing is under way, say so to the client.
    Finish,
    Finishing,
    Abort,
}

impl Control {
    pub(crate) fn new(slot: usize, peer: SocketAddr, clock: Arc<AtomicU64>) -> Self {
        Self {
            slot,
            peer,
            activity: Arc::new(Activity::new(clock)),
            requests: Cell::new(0),
            idle_limit: Cell::new(0),
            lame: Cell::new(false),
            order: Cell::new(Order::GoOn),
            waker: RefCell::new(None),
        }
    }

    /// From now on answers say `Connection: close`.
    pub(crate) fn lame_duck(&self) {
        self.lame.set(true);
        self.wake();
    }

    pub(crate) fn is_lame(&self) -> bool {
        self.lame.get()
    }

    /// Whether it is being cut; while requests are under way, only silence does that.
    pub(crate) fn is_cut(&self) -> bool {
        self.order.get() == Order::Abort
    }

    /// Closes it now when nothing is under way, otherwise afterwards.
    pub(crate) fn close_idle(&self) {
        if self.order.get() == Order::GoOn {
            self.give(Order::Finish);
        }
    }

    /// Looks whether a time-out has passed at `now`; `head` and `keep` in milliseconds.
    pub(crate) fn check(&self, now: u64, head: u64, keep: u64) {
        match self.activity.idle() {
            Some((since, true)) if now.saturating_sub(since) > head => self.give(Order::Abort),
            Some((since, false)) if now.saturating_sub(since) > keep => self.close_idle(),
            None => {
                let limit = self.idle_limit.get();
                if limit > 0 && now.saturating_sub(self.activity.last()) > limit {
                    self.give(Order::Abort);
                }
            }
            Some(_) => {}
        }
    }

    fn give(&self, order: Order) {
        self.order.set(order);
        self.wake();
    }

    fn wake(&self) {
        let waker = self.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Counts one request as long as the answer lives.
    pub(crate) fn begin(self: &Rc<Self>) -> Busy {
        self.requests.set(self.requests.get() + 1);
        self.activity.busy(true);
        Busy(Rc::clone(self))
    }

    /// Silence that the backend of the latest request bears; 0 is for ever.
    pub(crate) fn bear_silence(&self, millis: u64) {
        let old = if self.requests.get() > 1 { self.idle_limit.get() } else { millis };
        let longest = if old == 0 || millis == 0 { 0 } else { old.max(millis) };
        if self.idle_limit.get() != longest {
            self.idle_limit.set(longest);
        }
    }

    /// The order that has not been carried out yet; keeps the waker for the next one.
    fn poll_order(&self, cx: &Context<'_>) -> Order {
        let order = self.order.get();
        if order == Order::Finish {
            self.order.set(Order::Finishing);
        }
        let mut waker = self.waker.borrow_mut();
        match &*waker {
            Some(kept) if kept.will_wake(cx.waker()) => {}
            _ => *waker = Some(cx.waker().clone()),
        }
        order
    }
}

/// One request under way on a connection.
pub(crate) struct Busy(Rc<Control>);

impl Busy {
    /// Whether the connection is being cut because nothing moved on it.
    pub(crate) fn cut(&self) -> bool {
        self.0.is_cut()
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let left = self.0.requests.get() - 1;
        self.0.requests.set(left);
        if left == 0 {
            self.0.activity.busy(false);
        }
    }
}

/// Serves a connection until it ends.
pub(crate) async fn drive(worker: Rc<Worker>, control: Rc<Control>, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let snapshot = worker.snapshot();
    let Some(listener) = snapshot.live.listeners.get(&control.slot) else { return };
    let http = matches!(listener.mode, LiveMode::Http(_));
    let tls = listener.tls.clone();
    drop(snapshot);
    let head_timeout = worker.ticker.watch(worker.shared.config.limits.head_timeout);
    let secure = tls.is_some();
    let transport = match tls {
        None => Transport::Plain(stream),
        Some(config) => match head_timeout.limit(accept_tls(config, stream)).await.flatten() {
            Some(transport) => transport,
            None => return,
        },
    };
    if !http {
        drop(head_timeout);
        let io = ClientIo::new(transport, Bytes::new(), Arc::clone(&control.activity));
        return tcp::relay(&worker, &control, io).await;
    }
    let Some(Some((h2, io))) = head_timeout.limit(recognise(transport, &control)).await else { return };
    drop(head_timeout);
    let headers = ClientHeaders::new(control.peer.ip(), secure);
    let client = Rc::new(Client { worker, control, headers, secure });
    if h2 { serve_http2(client, io).await } else { serve_http1(client, io).await }
}

async fn accept_tls(config: Arc<ServerConfig>, stream: TcpStream) -> Option<Transport> {
    let accepted = tokio_rustls::TlsAcceptor::from(config).accept(stream).await;
    accepted.map(|stream| Transport::Tls(Box::new(stream))).ok()
}

/// Tells HTTP/2 from HTTP/1 by ALPN or by the first bytes.
async fn recognise(mut transport: Transport, control: &Control) -> Option<(bool, ClientIo)> {
    let stream = match &mut transport {
        Transport::Tls(stream) => {
            let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            return Some((h2, ClientIo::new(transport, Bytes::new(), Arc::clone(&control.activity))));
        }
        Transport::Plain(stream) => stream,
    };
    let mut first = [0; PREFACE.len()];
    let mut length = 0;
    while length < first.len() && first[..length] == PREFACE[..length] {
        match stream.read(&mut first[length..]).await {
            Ok(0) | Err(_) => return None,
            Ok(more) => length += more,
        }
    }
    let prefix = Bytes::copy_from_slice(&first[..length]);
    Some((first == *PREFACE, ClientIo::new(transport, prefix, Arc::clone(&control.activity))))
}

async fn serve_http1(client: Rc<Client>, io: ClientIo) {
    let limits = &client.worker.shared.config.limits;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(limits.head_bytes.max(8 << 10)).max_header_size(limits.head_bytes);
    if limits.head_fields != 100 {
        // Setting the number moves the fields from the stack to the heap.
        builder.max_headers(limits.head_fields);
    }
    let control = Rc::clone(&client.control);
    let service = service_fn(move |request| serve::serve(Rc::clone(&client), request));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service).with_upgrades());
    run(&control, |order, cx| {
        if order == Order::Finish {
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx)
    })
    .await;
}

async fn serve_http2(client: Rc<Client>, io: ClientIo) {
    let limits = &client.worker.shared.config.limits;
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    let control = Rc::clone(&client.control);
    let service = service_fn(move |request| serve::serve(Rc::clone(&client), request));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));
    let mut told = false;
    run(&control, |order, cx| {
        // GOAWAY leaves streams that are on their way alone, so a lame duck can say it at once.
        if !told && (order == Order::Finish || control.is_lame()) {
            told = true;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx)
    })
    .await;
}

/// Polls a connection and carries out what the worker orders.
async fn run<T>(control: &Control, mut poll: impl FnMut(Order, &mut Context<'_>) -> Poll<T>) {
    std::future::poll_fn(|cx| match control.poll_order(cx) {
        Order::Abort => Poll::Ready(()),
        order => poll(order, cx).map(drop),
    })
    .await;
}
