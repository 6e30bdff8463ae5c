//! The embedded provider: [`LocalProvider`].
//!
//! One task per instance leads it through its life (`life`); calls only change what is wished and wake tasks. Every
//! wish is in a file before the call returns, so a provider that was killed finds all of it again (`adopt`).
//!
//! Replacing: an instance that ends without having been asked to, or that is not healthy when its grace is over, is
//! replaced after a back-off (`backoff`). One that was healthy and fails its probes is `Unready`, which takes it out of
//! the traffic; when it does not recover within `PATIENCE`, it is retired, and one such at a time in a fleet.
//! A tainted instance is only reported as such; replacing it within the disruption budget is the control plane's work.

mod adopt;
mod backoff;
mod fleet;
mod health;
mod intent;
mod life;
mod state;
mod supervisor;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kiln_model::{FleetId, InstanceId, ReleaseContent};
use kiln_provider::{
    ExecRequest, ExecResult, FleetSpec, Observation, Phase, Provider, ProviderError, RetireReason,
};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::config::LocalConfig;
use crate::error::LocalError;
use crate::exec;
use crate::layout::{InstanceDir, Layout};
use crate::net::bridge::Bridge;
use crate::net::nat;
use state::{Retiring, State};

/// How long an instance that was healthy may fail its probes before another takes its place.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Runs fleets as sandboxed processes of this machine. Cloning it gives another handle on the same fleets.
///
/// Dropping the last handle ends its tasks and leaves the instances to their supervisors, as a killed process would.
#[derive(Clone)]
pub struct LocalProvider {
    inner: Arc<Inner>,
    _alive: Arc<Alive>,
}

/// Ends the tasks when the last handle goes.
struct Alive(Arc<Inner>);

impl Drop for Alive {
    fn drop(&mut self) {
        let tasks = self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner).take();
        tasks.into_iter().flatten().for_each(|task| task.abort());
    }
}

struct Inner {
    config: LocalConfig,
    layout: Layout,
    /// Short name of this home, for interfaces and groups: eight hex digits.
    home_id: String,
    bridge: Option<Bridge>,
    warnings: Vec<String>,
    state: Mutex<State>,
    /// The instances' tasks; nothing once the provider was dropped.
    tasks: Mutex<Option<Vec<AbortHandle>>>,
    version: watch::Sender<u64>,
    seen: AtomicU64,
}

impl LocalProvider {
    /// Opens the home, finds every fleet and instance again and carries on with them.
    pub async fn open(config: LocalConfig) -> Result<Self, LocalError> {
        let blocking = config.clone();
        let opened = tokio::task::spawn_blocking(move || prepare(&blocking)).await;
        let (layout, home_id, bridge, warnings) = opened.map_err(joined)??;
        let inner = Arc::new(Inner {
            config,
            layout,
            home_id,
            bridge,
            warnings,
            state: Mutex::default(),
            tasks: Mutex::new(Some(Vec::new())),
            version: watch::Sender::new(1),
            seen: AtomicU64::new(0),
        });
        let alive = Arc::new(Alive(inner.clone()));
        adopt::everything(&inner).await?;
        Ok(Self { inner, _alive: alive })
    }

    /// The address that instances find their peers at and the data plane has to listen on: the bridge's. `None` without
    /// a bridge: there the data plane listens inside each instance (`Bind::Inside`).
    pub fn peer_listen_address(&self) -> Option<Ipv4Addr> {
        self.inner.bridge.as_ref().map(Bridge::gateway)
    }

    /// What is weaker on this machine than it could be, told to people: of the machine, then of each instance.
    pub fn warnings(&self) -> (Vec<String>, BTreeMap<InstanceId, Vec<String>>) {
        let state = self.inner.state();
        let of_instances = state.instances.iter().filter(|(_, instance)| !instance.warnings.is_empty());
        let of_instances =
            of_instances.map(|(id, instance)| (id.clone(), instance.warnings.clone())).collect();
        (self.inner.warnings.clone(), of_instances)
    }

    /// The folder of an instance, for its logs.
    pub fn instance_dir(&self, instance: &InstanceId) -> InstanceDir {
        self.inner.layout.instance(instance)
    }

    /// The most memory, in bytes, that a running instance has used so far, page cache included; `None` where the kernel
    /// keeps no account of it.
    pub fn most_memory(&self, instance: &InstanceId) -> Option<u64> {
        let folder = self.inner.cgroup_folder();
        let found = crate::cgroup::find(&folder, &[crate::cgroup::Controller::Memory]);
        crate::cgroup::Group::existing(instance.as_str(), found.hierarchies).most_memory()
    }

    /// Marks an instance as no longer equal to its release, for good; it is reported as tainted from now on.
    pub async fn taint(&self, instance: &InstanceId) -> Result<(), ProviderError> {
        let file = self.inner.layout.instance(instance).taint();
        self.inner.with(instance, |known| known.tainted = true)?;
        self.inner
            .blocking(move |_| std::fs::write(&file, "").map_err(LocalError::file("write", file)))
            .await
            .map_err(|error| error.provider("taint", instance.as_str()))?;
        self.inner.touch();
        Ok(())
    }

    /// Ends everything that runs here at once, without grace, and forgets it: for a home that is thrown away. A call that
    /// was given up can be repeated.
    pub async fn clear(&self) -> Result<(), ProviderError> {
        let specs: Vec<FleetSpec> =
            self.inner.state().fleets.values().map(|fleet| fleet.wish.spec.clone()).collect();
        for spec in &specs {
            self.ensure_fleet(spec, 0).await?;
        }
        loop {
            let seen = self.observe().await?;
            let all = seen.fleets.values().flat_map(|fleet| &fleet.instances);
            let living: Vec<_> = all.filter(|instance| instance.phase != Phase::Exited).collect();
            if living.is_empty() {
                break;
            }
            for instance in living {
                self.retire(&instance.id, RetireReason::Surplus).await?;
                self.drained(&instance.id).await?;
                let pid = instance.pid.and_then(|pid| i32::try_from(pid).ok());
                if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
                    // One that is gone already needs no signal.
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                }
            }
            self.changed().await;
        }
        for spec in &specs {
            self.remove_fleet(&spec.release.fleet()).await?;
        }
        self.close().await.map_err(|error| error.provider("take apart", "the network"))
    }

    /// Takes the network apart when no instance is left to use it. Instances outlive this provider otherwise.
    pub async fn close(&self) -> Result<(), LocalError> {
        let alive = self.inner.state().instances.values().any(|instance| instance.phase != Phase::Exited);
        if alive {
            return Ok(());
        }
        let inner = self.inner.clone();
        let done = tokio::task::spawn_blocking(move || {
            crate::cgroup::remove_folder(&inner.cgroup_folder());
            inner.bridge.as_ref().map_or(Ok(()), |bridge| {
                nat::close(bridge);
                bridge.remove()
            })
        });
        done.await.map_err(joined)?
    }
}

fn joined(error: tokio::task::JoinError) -> LocalError {
    LocalError::Network { act: "finish a task".into(), source: std::io::Error::other(error) }
}

type Prepared = (Layout, String, Option<Bridge>, Vec<String>);

fn prepare(config: &LocalConfig) -> Result<Prepared, LocalError> {
    let layout = Layout::new(&config.home);
    for folder in [layout.instances(), layout.fleets()] {
        std::fs::create_dir_all(&folder).map_err(LocalError::file("make", folder))?;
    }
    let home = std::fs::canonicalize(layout.home()).map_err(LocalError::file("find", layout.home()))?;
    let layout = Layout::new(&home);
    let home_id = hex::encode(&Sha256::digest(home.as_os_str().as_encoded_bytes())[..4]);
    if config.rootless {
        return Ok((layout, home_id, None, Vec::new()));
    }
    let bridge = Bridge::choose(&layout.network(), &home_id, config.subnet)?;
    bridge.ensure()?;
    let warnings = nat::open(&bridge).into_iter().collect();
    Ok((layout, home_id, Some(bridge), warnings))
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // Data under the lock is changed in single steps; a panic elsewhere leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a task for as long as the provider is there.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tasks) = tasks.as_mut() {
            tasks.retain(|task| !task.is_finished());
            tasks.push(tokio::spawn(task).abort_handle());
        }
    }

    /// Says that something may have changed.
    fn touch(&self) {
        self.version.send_modify(|version| *version += 1);
    }

    fn now_ms(&self) -> i64 {
        (self.config.clock)()
    }

    fn cgroup_folder(&self) -> String {
        format!("kiln-{}", self.home_id)
    }

    fn with<T>(
        &self,
        id: &InstanceId,
        change: impl FnOnce(&mut state::Instance) -> T,
    ) -> Result<T, ProviderError> {
        let mut state = self.state();
        let instance = state.instances.get_mut(id).ok_or_else(|| ProviderError::NoInstance(id.clone()))?;
        Ok(change(instance))
    }

    /// Changes an instance, if it is still known, and says so.
    fn update(&self, id: &InstanceId, change: impl FnOnce(&mut state::Instance)) {
        if self.with(id, change).is_ok() {
            self.touch();
        }
    }

    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        act: impl FnOnce(&Self) -> Result<T, LocalError> + Send + 'static,
    ) -> Result<T, LocalError> {
        let inner = self.clone();
        tokio::task::spawn_blocking(move || act(&inner)).await.map_err(joined)?
    }

    /// Writes down why an instance leaves.
    fn note_retiring(&self, id: &InstanceId, retiring: Retiring) -> Result<(), LocalError> {
        let file = self.layout.instance(id).retire();
        if !self.layout.instance(id).path().exists() {
            return Ok(());
        }
        crate::files::write_json(&file, &retiring).map_err(LocalError::file("write", file))
    }
}

impl Provider for LocalProvider {
    async fn check(&self, release: &ReleaseContent) -> Result<(), ProviderError> {
        let service = &release.service;
        let had = self.inner.config.secrets.resolve(&service.secrets).await.map(drop);
        had.map_err(|error| {
            LocalError::from(error).provider("start", format!("instances of {}", service.name))
        })
    }

    async fn ensure_fleet(&self, spec: &FleetSpec, size: u32) -> Result<(), ProviderError> {
        let id = spec.release.fleet();
        fleet::ensure(&self.inner, spec.clone(), size).await.map_err(|error| match error {
            fleet::EnsureError::Changed => ProviderError::ReleaseChanged(id.clone()),
            fleet::EnsureError::Local(error) => error.provider("ensure fleet", id.to_string()),
        })
    }

    async fn retire(&self, instance: &InstanceId, reason: RetireReason) -> Result<(), ProviderError> {
        let fleet = {
            let mut state = self.inner.state();
            match state.instances.get_mut(instance) {
                Some(known) if known.stays() => {
                    known.retire(reason);
                    known.fleet.clone()
                }
                _ => return Ok(()),
            }
        };
        self.note(instance).await?;
        fleet::reconcile(&self.inner, &fleet);
        self.inner.touch();
        Ok(())
    }

    async fn drained(&self, instance: &InstanceId) -> Result<(), ProviderError> {
        let mark = |known: &mut state::Instance| {
            let open = known.retiring.as_mut().filter(|retiring| !retiring.drained);
            open.map(|retiring| retiring.drained = true).is_some()
        };
        if !self.inner.with(instance, mark).unwrap_or(false) {
            return Ok(());
        }
        self.note(instance).await?;
        let _ = self.inner.with(instance, |known| known.wake.notify_one());
        self.inner.touch();
        Ok(())
    }

    async fn remove_fleet(&self, fleet: &FleetId) -> Result<(), ProviderError> {
        fleet::remove(&self.inner, fleet)
            .await
            .map_err(|error| error.provider("remove fleet", fleet.to_string()))
    }

    async fn observe(&self) -> Result<Observation, ProviderError> {
        self.inner.seen.store(*self.inner.version.borrow(), Ordering::SeqCst);
        Ok(self.inner.state().observe())
    }

    async fn changed(&self) {
        let mut versions = self.inner.version.subscribe();
        let _ = versions.wait_for(|version| *version > self.inner.seen.load(Ordering::SeqCst)).await;
    }

    async fn exec(&self, instance: &InstanceId, request: &ExecRequest) -> Result<ExecResult, ProviderError> {
        let pid = self.inner.with(instance, |known| known.pid)?;
        let fail = |error: LocalError| error.provider("execute a command in", instance.as_str());
        if pid.is_none() {
            return Err(fail(LocalError::NotRunning(instance.clone())));
        }
        exec::run(&self.inner.config.exe, &self.instance_dir(instance), request).await.map_err(fail)
    }
}

impl LocalProvider {
    async fn note(&self, instance: &InstanceId) -> Result<(), ProviderError> {
        let retiring = self.inner.with(instance, |known| known.retiring)?;
        let id = instance.clone();
        let written = self
            .inner
            .blocking(move |inner| retiring.map_or(Ok(()), |retiring| inner.note_retiring(&id, retiring)));
        written.await.map_err(|error| error.provider("retire", instance.as_str()))
    }
}
