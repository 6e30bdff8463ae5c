//! One thread of traffic: its own event loop, its own connections to instances, nothing locked on the way of a
//! request. Workers share the listening sockets and hand accepted connections to the least busy of them.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::time::Duration;

use slab::Slab;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::{Notify, mpsc::Sender as Done, oneshot};
use tokio_util::sync::CancellationToken;

use crate::conn::{self, Control};
use crate::live::Live;
use crate::pool::Pool;
use crate::shared::Shared;
use crate::sticky::Keys;
use crate::target::{Lease, Target};
use crate::ticker::Ticker;

/// Connections are looked at for time-outs so often.
const SWEEP: Duration = Duration::from_millis(100);
/// After a failed accept (no descriptors left) the next try waits so long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a worker is told.
pub(crate) enum Message {
    /// Accept on this socket.
    Listen { slot: usize, socket: TcpListener },
    /// Take what still waits in the accept queue (unless a successor will), close the socket, then drop `done`.
    Unlisten { slot: usize, handed_over: bool, done: Done<Infallible> },
    /// Connections of the slot (of all slots) say goodbye.
    LameDuck { slot: Option<usize> },
    /// Idle connections of the slot (of all slots) are closed, others when they become idle.
    CloseIdle { slot: Option<usize> },
    /// Serve a connection that another worker accepted.
    Serve { slot: usize, stream: TcpStream, peer: SocketAddr },
    /// Keep no connections to this target.
    Retire { key: u64 },
}

/// One worker's own things.
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) ticker: Rc<Ticker>,
    pub(crate) pool: Rc<Pool>,
    pub(crate) connections: RefCell<Slab<Rc<Control>>>,
    /// For clients that have none.
    pub(crate) keys: Keys,
    /// Coarse time in milliseconds since the process started, moved by the sweep.
    clock: Arc<AtomicU64>,
    live: RefCell<Rc<Snapshot>>,
    acceptors: RefCell<HashMap<usize, oneshot::Sender<Farewell>>>,
    lame: Cell<bool>,
    /// The first connection came.
    busy: Notify,
}

/// How an acceptor ends: whether a successor has the socket too, and whom to tell.
struct Farewell {
    handed_over: bool,
    _done: Done<Infallible>,
}

/// A table that this worker routes by.
pub(crate) struct Snapshot {
    pub(crate) live: Arc<Live>,
}

impl Worker {
    fn new(index: usize, shared: Arc<Shared>) -> Rc<Self> {
        let clock = Arc::new(AtomicU64::new(shared.now()));
        let live = RefCell::new(Rc::new(Snapshot { live: shared.live.load_full() }));
        Rc::new(Self {
            index,
            ticker: Ticker::new(),
            pool: Pool::new(Arc::clone(&clock)),
            connections: RefCell::new(Slab::new()),
            keys: Keys::new(),
            clock,
            live,
            acceptors: RefCell::new(HashMap::new()),
            lame: Cell::new(false),
            busy: Notify::new(),
            shared,
        })
    }

    /// Milliseconds since the process started, at most [`SWEEP`] late.
    pub(crate) fn now(&self) -> u64 {
        self.clock.load(Relaxed)
    }

    /// The table in force. Looking is one atomic load as long as the table stays.
    pub(crate) fn snapshot(&self) -> Rc<Snapshot> {
        if self.live.borrow().live.generation != self.shared.generation.load(SeqCst) {
            *self.live.borrow_mut() = Rc::new(Snapshot { live: self.shared.live.load_full() });
        }
        Rc::clone(&self.live.borrow())
    }

    /// Chooses a target by the table in force and counts a request on it.
    ///
    /// The order matters: count, then look whether the table was replaced meanwhile; see
    /// [`Shared::generation`](crate::shared::Shared). So, once a table is acknowledged, nothing begins on a target that
    /// only the old one had without being in sight.
    pub(crate) fn claim<T, E>(
        &self,
        mut choose: impl FnMut(&Live) -> Result<(T, Arc<Target>), E>,
    ) -> Result<(T, Lease), E> {
        loop {
            let snapshot = self.snapshot();
            let (choice, target) = choose(&snapshot.live)?;
            let lease = Lease::new(target);
            if self.current(&snapshot) {
                return Ok((choice, lease));
            }
        }
    }

    /// Whether a table is still the one in force.
    fn current(&self, snapshot: &Snapshot) -> bool {
        snapshot.live.generation == self.shared.generation.load(SeqCst)
    }

    fn handle(self: &Rc<Self>, message: Message) {
        match message {
            Message::Listen { slot, socket } => self.listen(slot, socket),
            Message::Unlisten { slot, handed_over, done } => self.unlisten(slot, handed_over, done),
            Message::LameDuck { slot } => {
                self.lame.set(self.lame.get() || slot.is_none());
                self.each_connection(slot, Control::lame_duck);
            }
            Message::CloseIdle { slot } => self.each_connection(slot, Control::close_idle),
            Message::Serve { slot, stream, peer } => match tokio::net::TcpStream::from_std(stream) {
                Ok(stream) => self.spawn_connection(slot, stream, peer),
                Err(_) => self.shared.connection_ended(self.index),
            },
            Message::Retire { key } => self.pool.forget(key),
        }
    }

    fn each_connection(&self, slot: Option<usize>, act: impl Fn(&Control)) {
        let all: Vec<_> = self.connections.borrow().iter().map(|(_, control)| Rc::clone(control)).collect();
        all.iter().filter(|c| slot.is_none_or(|slot| c.slot == slot)).for_each(|c| act(c));
    }

    fn listen(self: &Rc<Self>, slot: usize, socket: TcpListener) {
        let Ok(listener) = tokio::net::TcpListener::from_std(socket) else {
            tracing::error!(slot, "cannot watch a listening socket");
            return;
        };
        let (farewell, told) = oneshot::channel();
        self.acceptors.borrow_mut().insert(slot, farewell);
        let worker = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let farewell = tokio::select! {
                () = worker.accept(slot, &listener) => return,
                farewell = told => farewell,
            };
            // Those who wait in the queue would be reset with the socket.
            if farewell.as_ref().is_ok_and(|farewell| !farewell.handed_over) {
                worker.accept_waiting(slot, listener);
            }
        });
    }

    fn accept_waiting(self: &Rc<Self>, slot: usize, listener: tokio::net::TcpListener) {
        let Ok(listener) = listener.into_std() else { return };
        while let Ok((stream, peer)) = listener.accept() {
            let stream = stream.set_nonblocking(true).and_then(|()| tokio::net::TcpStream::from_std(stream));
            if let Ok(stream) = stream {
                self.accepted(slot, stream, peer);
            }
        }
    }

    async fn accept(self: &Rc<Self>, slot: usize, listener: &tokio::net::TcpListener) {
        loop {
            self.shared.room_for_connection().await;
            match listener.accept().await {
                Ok((stream, peer)) => self.accepted(slot, stream, peer),
                Err(error) if gone_already(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn accepted(self: &Rc<Self>, slot: usize, stream: tokio::net::TcpStream, peer: SocketAddr) {
        let to = self.shared.least_busy(self.index);
        self.shared.connection_begun(to);
        if to == self.index {
            return self.spawn_connection(slot, stream, peer);
        }
        let sent = stream
            .into_std()
            .is_ok_and(|stream| self.shared.workers[to].send(Message::Serve { slot, stream, peer }));
        if !sent {
            self.shared.connection_ended(to);
        }
    }

    /// Runs a connection that is already counted.
    fn spawn_connection(self: &Rc<Self>, slot: usize, stream: tokio::net::TcpStream, peer: SocketAddr) {
        if self.connections.borrow().is_empty() {
            // The clock stood still while nobody needed it.
            self.clock.store(self.shared.now(), Relaxed);
            self.busy.notify_one();
        }
        let control = Rc::new(Control::new(slot, peer, Arc::clone(&self.clock)));
        if self.lame.get() {
            control.lame_duck();
        }
        let key = self.connections.borrow_mut().insert(Rc::clone(&control));
        let worker = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let open = Open { worker: Rc::clone(&worker), key };
            conn::drive(worker, control, stream).await;
            drop(open);
        });
    }

    fn unlisten(self: &Rc<Self>, slot: usize, handed_over: bool, done: Done<Infallible>) {
        if let Some(acceptor) = self.acceptors.borrow_mut().remove(&slot) {
            let _ = acceptor.send(Farewell { handed_over, _done: done });
        }
    }

    async fn sweep(self: Rc<Self>) {
        let limits = &self.shared.config.limits;
        let (head, keep) = (millis(limits.head_timeout), millis(limits.keep_alive));
        loop {
            if self.connections.borrow().is_empty() && self.pool.is_empty() {
                self.busy.notified().await;
            }
            tokio::time::sleep(SWEEP).await;
            let now = self.shared.now();
            self.clock.store(now, Relaxed);
            self.each_connection(None, |control| control.check(now, head, keep));
            self.pool.sweep();
        }
    }
}

/// A connection in the worker's list.
struct Open {
    worker: Rc<Worker>,
    key: usize,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.worker.connections.borrow_mut().try_remove(self.key);
        self.worker.shared.connection_ended(self.worker.index);
    }
}

/// The peer gave up while it waited in the queue.
fn gone_already(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// How a worker is reached.
pub(crate) struct Handle {
    pub(crate) connections: std::sync::atomic::AtomicUsize,
    sender: UnboundedSender<Message>,
}

impl Handle {
    pub(crate) fn new() -> (Self, UnboundedReceiver<Message>) {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        (Self { connections: 0.into(), sender }, receiver)
    }

    /// Whether the worker is there to hear it.
    pub(crate) fn send(&self, message: Message) -> bool {
        self.sender.send(message).is_ok()
    }
}

/// Runs one worker until its messages end (never, in a running process) or `stop` is cancelled.
pub(crate) fn run(
    index: usize,
    shared: &Arc<Shared>,
    mut messages: UnboundedReceiver<Message>,
    stop: &CancellationToken,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    let worker = Worker::new(index, Arc::clone(shared));
    local.spawn_local(Rc::clone(&worker.ticker).run());
    local.spawn_local(Rc::clone(&worker).sweep());
    local.block_on(&runtime, async {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                message = messages.recv() => match message {
                    Some(message) => worker.handle(message),
                    None => return,
                },
            }
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use kiln_model::InstanceId;

    use super::*;
    use crate::ProxyConfig;
    use crate::table::Endpoint;

    const TABLES: usize = 3_000;

    #[test]
    fn nothing_begins_on_what_an_acknowledged_table_took_away() {
        let (handles, _inboxes): (Vec<_>, Vec<_>) = (0..2).map(|_| Handle::new()).unzip();
        let shared = Shared::new(ProxyConfig::new("", ""), handles, Live::empty(), 1);
        let target = |number: usize| {
            let endpoint = Endpoint::Tcp { addr: SocketAddr::from(([127, 0, 0, 1], 1)) };
            let id = InstanceId(number.to_string());
            Arc::new(Target::new(id, endpoint, number as u64, Arc::clone(&shared.sequence)))
        };
        // The table of generation n has the target n alone.
        let targets: Vec<_> = (0..=TABLES).map(target).collect();
        let stopped: Vec<_> = (0..=TABLES).map(|_| AtomicBool::new(false)).collect();
        let work = |index| {
            let worker = Worker::new(index, Arc::clone(&shared));
            let mut number = 0;
            while number < TABLES {
                let choose = |live: &Live| {
                    let number = usize::try_from(live.generation).unwrap();
                    Ok::<_, ()>((number, Arc::clone(&targets[number])))
                };
                let (chosen, _lease) = worker.claim(choose).unwrap();
                number = chosen;
                assert!(!stopped[number].load(SeqCst), "a request began on a stopped instance");
            }
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..2).map(|index| scope.spawn(move || work(index))).collect();
            for number in 1..=TABLES {
                shared.replace(Live { generation: number as u64, ..Live::empty() });
                let old = number - 1;
                while targets[old].in_flight() != (0, 0) {
                    std::thread::yield_now();
                }
                stopped[old].store(true, SeqCst);
            }
            workers.into_iter().for_each(|worker| worker.join().unwrap());
        });
    }
}
