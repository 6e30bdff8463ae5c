//! The reconcile loop: look, decide, write down, do, look again.
//!
//! A wake-up says "look", never what to do. What is decided is in the database before anything is done about it, and
//! all that is done is an idempotent wish, so the loop may be cut off anywhere and simply begins again.

pub(crate) mod begin;
mod checks;
mod decide;
mod group;
mod keep;
mod leave;
mod memory;
mod perform;
mod plane;
mod round;
mod world;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kiln_provider::Provider;
use tokio::sync::{Notify, watch};

pub(crate) use begin::cancel;
pub(crate) use memory::Memory;
pub(crate) use world::{World, append};

use crate::clock::Clock;
use crate::proof::{Proofs, Witness};
use crate::registry::RegistryService;
use crate::routes::PeerListen;
use crate::state::State;
use crate::traffic::Traffic;
use round::{Plan, Seen};

/// How the control plane is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How instances reach the services they call.
    pub peers: PeerListen,
    /// What is weaker on this machine than it could be, told to people.
    pub warnings: Vec<String>,
    /// Who knows what is proven about images.
    pub proofs: Arc<dyn Proofs>,
    /// The registry that runs in this process.
    pub registry: Option<RegistryService>,
}

/// The control plane of one home. Clones share everything.
pub struct Control<P, T> {
    inner: Arc<Inner<P, T>>,
}

struct Inner<P, T> {
    provider: P,
    traffic: T,
    state: State,
    clock: Box<dyn Clock>,
    settings: Settings,
    look: Notify,
    /// Wakes the watcher of the data plane from its rest.
    hurry: Notify,
    memory: Mutex<Memory>,
}

impl<P, T> Clone for Control<P, T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<P, T> std::fmt::Debug for Control<P, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("settings", &self.inner.settings).finish_non_exhaustive()
    }
}

impl<P: Provider, T: Traffic> Control<P, T> {
    /// Puts a control plane together; nothing happens before [`Control::run`].
    pub fn new(provider: P, traffic: T, state: State, clock: impl Clock, settings: Settings) -> Self {
        let inner = Inner {
            provider,
            traffic,
            state,
            clock: Box::new(clock),
            settings,
            look: Notify::new(),
            hurry: Notify::new(),
            memory: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Reconciles until `stop` turns true or its sender is gone. Dropping the future at any await loses nothing.
    pub async fn run(&self, mut stop: watch::Receiver<bool>) {
        let ended = async {
            let _ = stop.wait_for(|stop| *stop).await;
        };
        tokio::select! {
            () = ended => {}
            () = self.reconcile() => {}
            () = self.watch_plane() => {}
        }
    }

    /// Asks for a look at the world.
    pub fn look(&self) {
        self.inner.look.notify_one();
    }

    /// The provider.
    pub fn provider(&self) -> &P {
        &self.inner.provider
    }

    /// The data plane.
    pub fn traffic(&self) -> &T {
        &self.inner.traffic
    }

    pub(crate) fn state(&self) -> &State {
        &self.inner.state
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.inner.clock.now_ms()
    }

    pub(crate) fn witness(&self) -> Witness {
        self.inner.settings.proofs.clone()
    }

    /// The registry that runs in this process.
    pub(crate) fn registry(&self) -> Option<&RegistryService> {
        self.inner.settings.registry.as_ref()
    }

    pub(crate) fn warnings(&self) -> &[String] {
        &self.inner.settings.warnings
    }

    /// Takes what the data plane's keeper tells.
    pub(crate) fn data_plane<E: std::error::Error>(&self, told: Result<(), E>) {
        const KEEP: &str = "keep the data plane running";
        match told {
            Ok(()) => self.memory().fine(KEEP),
            Err(error) => {
                self.trouble(KEEP, &error);
            }
        }
        self.look();
    }

    pub(crate) fn peers(&self) -> &PeerListen {
        &self.inner.settings.peers
    }

    /// What is remembered between rounds. Never held across an await.
    pub(crate) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.inner.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn reconcile(&self) {
        loop {
            let next = self.one_round().await;
            if next.again {
                tokio::task::yield_now().await;
                continue;
            }
            let wait = next.wake_ms.map(|at| (at - self.now_ms()).max(1).unsigned_abs());
            let timer = async {
                match wait {
                    Some(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.inner.look.notified() => {}
                () = self.inner.provider.changed() => {}
                () = timer => {}
            }
        }
    }

    async fn one_round(&self) -> Next {
        const TRY: &str = "see what runs";
        let observation = match self.inner.provider.observe().await {
            Ok(observation) => observation,
            Err(error) => return Next::at(self.trouble(TRY, &error)),
        };
        self.memory().fine(TRY);
        let seen = {
            let mut memory = self.memory();
            memory.observe(observation, self.now_ms());
            memory.seen(self.now_ms(), self.inner.settings.peers.clone())
        };
        const WRITE: &str = "write decisions down";
        match self.inner.state.transact(move |db| round::round(db, &seen)).await {
            Ok(plan) => {
                self.memory().fine(WRITE);
                self.perform(plan).await
            }
            // What was not written down is not done, and what was to be told is told by the next round.
            Err(error) => Next::at(self.trouble(WRITE, &error)),
        }
    }

    /// Remembers that something failed, and tells when to try again.
    pub(crate) fn trouble(&self, what: &str, error: &dyn std::error::Error) -> i64 {
        let now = self.now_ms();
        let why = crate::error::chain(error);
        tracing::warn!(what, why, "will be tried again");
        self.memory().trouble(what, why, now)
    }
}

/// When the loop goes on.
#[derive(Clone, Copy, Debug, Default)]
struct Next {
    again: bool,
    wake_ms: Option<i64>,
}

impl Next {
    fn at(wake_ms: i64) -> Self {
        Self { again: false, wake_ms: Some(wake_ms) }
    }
}
