//! The one who changes things: takes tables, opens and closes listeners, knows the status. Everything here happens
//! on the control thread, one change at a time.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ServerConfig;

use crate::Ack;
use crate::bind::{Bound, describe};
use crate::compile::{Source, compile};
use crate::disk::{Disk, Kept};
use crate::error::{TableError, chain};
use crate::predecessor::Predecessor;
use crate::registry::Registry;
use crate::shared::Shared;
use crate::table::{Bind, Listener, Mode, RouteTable};
use crate::tls::Tls;
use crate::validate::validate;
use crate::worker::Message;

/// Workers close a listener at once; this only guards against one that hangs.
const CLOSING: Duration = Duration::from_secs(2);

/// The one who changes things.
pub(crate) struct Keeper {
    pub(crate) shared: Arc<Shared>,
    pub(crate) disk: Disk,
    pub(crate) registry: Registry,
    /// The listeners of the table, in its order.
    pub(crate) standing: Vec<Standing>,
    /// The process this one took over from, as long as it has work.
    pub(crate) predecessor: Option<Predecessor>,
    tls: Tls,
    table: Arc<RouteTable>,
    /// Listeners that were taken away, until their connections have been told.
    leaving: Vec<Leaving>,
    next_slot: usize,
    /// A successor has the listeners: this one takes no tables from the control plane any more.
    succeeded: bool,
}

/// A listener of the table in force.
pub(crate) struct Standing {
    pub(crate) listener: Listener,
    /// Its socket; or why there is none, which happens only to the listeners of a kept table.
    pub(crate) state: Result<Open, String>,
}

/// A listener that works.
pub(crate) struct Open {
    pub(crate) bound: Bound,
    config: Option<Arc<ServerConfig>>,
    /// The workers have it.
    accepting: bool,
}

struct Leaving {
    slot: usize,
    mode: Mode,
    until: Instant,
}

impl Keeper {
    pub(crate) fn new(shared: Arc<Shared>, disk: Disk) -> Self {
        Self {
            registry: Registry::new(shared.workers.len(), Arc::clone(&shared.sequence)),
            disk,
            standing: Vec::new(),
            predecessor: None,
            tls: Tls::new(),
            table: Arc::clone(&shared.live.load().table),
            leaving: Vec::new(),
            next_slot: 1,
            succeeded: false,
            shared,
        }
    }

    /// The table in force.
    pub(crate) fn table(&self) -> &Arc<RouteTable> {
        &self.table
    }

    /// Takes a table: when this returns, it is on disk, and every request that begins goes by it. When it is refused,
    /// nothing has changed.
    pub(crate) async fn put(&mut self, table: RouteTable) -> Result<Ack, TableError> {
        let (offered, current) = (table.version, self.table.version);
        let same = offered == current && table == *self.table;
        if self.succeeded || offered < current || offered == current && !same {
            return Err(TableError::Stale { offered, current });
        }
        if same && self.standing.iter().all(|standing| standing.state.is_ok()) {
            return Ok(Ack { version: current });
        }
        validate(&table)?;
        let plan = self.plan(&table).await?;
        let kept = Kept { bound: self.addresses(&plan), table };
        self.disk.save(&kept).map_err(|source| TableError::Keep { path: self.disk.table_path(), source })?;
        let removed = self.rearrange(&kept.table, plan);
        let slots = self.leave(removed, 2 * self.shared.config.lame_duck);
        self.enter(Arc::new(kept.table));
        self.dismiss(slots).await;
        if let Some(predecessor) = &mut self.predecessor {
            predecessor.follow(&self.table).await;
        }
        Ok(Ack { version: offered })
    }

    /// Finds or opens every listener of a table.
    async fn plan(&mut self, table: &RouteTable) -> Result<Vec<Planned>, TableError> {
        let mut plan = Vec::new();
        let mut free: Vec<usize> = (0..self.standing.len()).collect();
        for listener in &table.listeners {
            let config = self.certificates(listener)?;
            let fits = |at: &usize| {
                let standing = &self.standing[*at];
                standing.listener.bind == listener.bind && standing.state.is_ok()
            };
            let socket = match free.iter().position(fits) {
                Some(at) => Socket::Standing(free.remove(at)),
                None => Socket::Fresh(Bound::open(&listener.bind, self.slot(), None).await?),
            };
            plan.push(Planned { socket, config });
        }
        Ok(plan)
    }

    fn certificates(&self, listener: &Listener) -> Result<Option<Arc<ServerConfig>>, TableError> {
        match &listener.mode {
            Mode::Http { tls, .. } => self.tls.load(tls, true),
            Mode::Tcp { tls, .. } => self.tls.load(tls, false),
        }
    }

    /// The addresses that a plan's listeners have.
    fn addresses(&self, plan: &[Planned]) -> Vec<(Bind, SocketAddr)> {
        let bounds = plan.iter().filter_map(|planned| match &planned.socket {
            Socket::Fresh(bound) => Some(bound),
            Socket::Standing(at) => self.standing[*at].state.as_ref().ok().map(|open| &open.bound),
        });
        bounds.filter_map(|bound| Some((bound.bind.clone(), bound.addr?))).collect()
    }

    /// Puts a plan in the place of the standing listeners; returns those that are no part of it.
    fn rearrange(&mut self, table: &RouteTable, plan: Vec<Planned>) -> Vec<Standing> {
        let mut old: Vec<Option<Standing>> =
            std::mem::take(&mut self.standing).into_iter().map(Some).collect();
        for (listener, Planned { socket, config }) in table.listeners.iter().zip(plan) {
            let state = match socket {
                Socket::Fresh(bound) => Ok(Open { bound, config, accepting: false }),
                Socket::Standing(at) => match old[at].take().map(|standing| standing.state) {
                    Some(Ok(open)) => Ok(Open { config, ..open }),
                    Some(Err(error)) => Err(error),
                    None => Err("the listener is used twice".to_owned()),
                },
            };
            self.standing.push(Standing { listener: listener.clone(), state });
        }
        old.into_iter().flatten().collect()
    }

    /// Brings a table into force with the listeners as they stand.
    fn enter(&mut self, table: Arc<RouteTable>) {
        self.leaving.retain(|leaving| leaving.until > Instant::now());
        let generation = self.shared.live.load().generation + 1;
        let standing = self.standing.iter().filter_map(|standing| {
            let open = standing.state.as_ref().ok()?;
            let (slot, tls) = (open.bound.slot, open.config.clone());
            Some(Source { slot, mode: &standing.listener.mode, tls })
        });
        let leaving = self.leaving.iter().map(|gone| Source { slot: gone.slot, mode: &gone.mode, tls: None });
        let sources = standing.chain(leaving).collect();
        let live = compile(&mut self.registry, &table, generation, sources);
        self.shared.replace(live);
        for key in self.registry.enter(&table) {
            self.shared.tell(|| Message::Retire { key });
        }
        self.table = table;
        for standing in &mut self.standing {
            if let Ok(open) = &mut standing.state {
                open.accept(&self.shared);
            }
        }
        self.shared.news();
    }

    /// Lets go of listeners: their routes stay for their connections' last requests. Returns their slots.
    fn leave(&mut self, removed: Vec<Standing>, time: Duration) -> Vec<usize> {
        let mut slots = Vec::new();
        for standing in removed {
            let Ok(open) = standing.state else { continue };
            let (slot, until) = (open.bound.slot, Instant::now() + time);
            self.leaving.push(Leaving { slot, mode: standing.listener.mode, until });
            slots.push(slot);
        }
        slots
    }

    /// Closes listeners; what was accepted is served on, and told to go elsewhere for the next request.
    async fn dismiss(&self, slots: Vec<usize>) {
        for slot in slots {
            close(&self.shared, slot, false).await;
            self.shared.tell(|| Message::LameDuck { slot: Some(slot) });
            let shared = Arc::clone(&self.shared);
            tokio::spawn(async move {
                tokio::time::sleep(shared.config.lame_duck).await;
                shared.tell(|| Message::CloseIdle { slot: Some(slot) });
            });
        }
    }

    /// Serves the table of an earlier life with what can be opened of it; the rest is tried again by
    /// [`retry`](Self::retry).
    pub(crate) async fn restore(&mut self, kept: Kept, mut inherited: Vec<(Bind, TcpListener)>) {
        let mut before = kept.bound;
        for listener in &kept.table.listeners {
            let taken = inherited.iter().position(|(bind, _)| *bind == listener.bind);
            let taken = taken.map(|at| inherited.swap_remove(at).1);
            let earlier = before.iter().position(|(bind, _)| *bind == listener.bind);
            let earlier = earlier.map(|at| before.remove(at).1);
            let state = self.reopen(listener, taken, earlier).await.map_err(|error| chain(&error));
            if let Err(error) = &state {
                let listener = describe(&listener.bind);
                tracing::error!(listener, error, "cannot serve a listener of the kept table; trying again");
            }
            self.standing.push(Standing { listener: listener.clone(), state });
        }
        self.enter(Arc::new(kept.table));
    }

    async fn reopen(
        &mut self,
        listener: &Listener,
        taken: Option<TcpListener>,
        earlier: Option<SocketAddr>,
    ) -> Result<Open, TableError> {
        let config = self.certificates(listener)?;
        let slot = self.slot();
        let bound = match taken {
            Some(socket) => Bound::adopt(listener.bind.clone(), slot, socket),
            None => Bound::open(&listener.bind, slot, earlier).await?,
        };
        Ok(Open { bound, config, accepting: false })
    }

    /// Tries again to open what could not be opened at start.
    pub(crate) async fn retry(&mut self) {
        let mut opened = false;
        for at in 0..self.standing.len() {
            if self.succeeded || self.standing[at].state.is_ok() {
                continue;
            }
            let listener = self.standing[at].listener.clone();
            let state = self.reopen(&listener, None, None).await.map_err(|error| chain(&error));
            opened |= state.is_ok();
            self.standing[at].state = state;
        }
        if opened {
            self.enter(Arc::clone(&self.table));
        }
    }

    /// A successor has the listeners: they are let go, and connections are told.
    pub(crate) async fn hand_over(&mut self) {
        self.succeeded = true;
        self.stop_accepting(true).await;
    }

    /// Closes all listeners; their connections are served on.
    pub(crate) async fn stop_accepting(&mut self, handed_over: bool) {
        let all = std::mem::take(&mut self.standing);
        for slot in self.leave(all, Duration::from_secs(86_400)) {
            close(&self.shared, slot, handed_over).await;
        }
    }

    /// Routes what is left of this process by the successor's table.
    pub(crate) fn follow(&mut self, table: RouteTable) {
        if self.succeeded && table.version > self.table.version {
            self.enter(Arc::new(table));
        }
    }

    fn slot(&mut self) -> usize {
        self.next_slot += 1;
        self.next_slot
    }
}

/// A listener of the next table.
struct Planned {
    socket: Socket,
    config: Option<Arc<ServerConfig>>,
}

enum Socket {
    /// The one that stands at this place.
    Standing(usize),
    Fresh(Bound),
}

impl Open {
    /// Gives the socket to all workers.
    fn accept(&mut self, shared: &Shared) {
        if std::mem::replace(&mut self.accepting, true) {
            return;
        }
        for worker in &shared.workers {
            match self.bound.socket.try_clone() {
                Ok(socket) => drop(worker.send(Message::Listen { slot: self.bound.slot, socket })),
                Err(error) => tracing::error!(%error, "a worker cannot share a listening socket"),
            }
        }
    }
}

/// Makes all workers close a listener, and waits until they have.
async fn close(shared: &Shared, slot: usize, handed_over: bool) {
    let (done, mut all_done) = tokio::sync::mpsc::channel(1);
    shared.tell(|| Message::Unlisten { slot, handed_over, done: done.clone() });
    drop(done);
    let _ = tokio::time::timeout(CLOSING, all_done.recv()).await;
}
