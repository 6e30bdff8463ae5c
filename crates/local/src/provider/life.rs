//! The life of one instance, as the provider leads it.

use std::sync::Arc;
use std::time::Duration;

use kiln_model::InstanceId;
use kiln_provider::{Failure, FleetSpec, Phase};
use tokio::task::JoinHandle;

use super::supervisor::Supervisor;
use super::{Inner, adopt, fleet, health, intent};
use crate::error::LocalError;
use crate::files;
use crate::intent::{Exit, ShimPhase, Status, StopRule};
use crate::logs;
use crate::net;
use crate::shim::protocol::Request;

/// Lines of the log that a failure carries.
const TAIL: usize = 20;

/// Aborts its task when dropped.
struct Guard(JoinHandle<()>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Leads an instance from now on: a new one, or one whose status was found.
pub(super) fn begin(inner: &Arc<Inner>, id: InstanceId, found: Option<Status>) {
    let tasks = inner.clone();
    let inner = inner.clone();
    tasks.spawn(async move {
        let exit = match found {
            None => match start(&inner, &id).await {
                Ok(Some(supervisor)) => follow(&inner, &id, supervisor).await,
                Ok(None) => None,
                Err(error) => Some(never_ran(&inner, &error)),
            },
            Some(status) => match status.exit.filter(|_| status.phase == ShimPhase::Exited) {
                Some(exit) => Some(exit),
                None => reattach(&inner, &id).await,
            },
        };
        conclude(&inner, &id, exit).await;
    });
}

fn never_ran(inner: &Inner, error: &LocalError) -> Exit {
    let mut what = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(source) = next {
        what.push_str(&format!(": {source}"));
        next = source.source();
    }
    Exit { what, status: None, out_of_memory: false, at_ms: inner.now_ms() }
}

/// Waits for its time, writes the intent and starts the supervisor. `None`: it is not wanted any more.
async fn start(inner: &Arc<Inner>, id: &InstanceId) -> Result<Option<Supervisor>, LocalError> {
    let Ok((wake, not_before_ms)) =
        inner.with(id, |instance| (instance.wake.clone(), instance.not_before_ms))
    else {
        return Ok(None);
    };
    loop {
        if inner.with(id, |instance| instance.must_stop()).unwrap_or(true) {
            return Ok(None);
        }
        let wait = not_before_ms - inner.now_ms();
        let Ok(wait @ 1..) = u64::try_from(wait) else { break };
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(wait)) => {}
            () = wake.notified() => {}
        }
    }
    let Some(spec) = spec_of(inner, id) else { return Ok(None) };
    let secrets = inner.config.secrets.resolve(&spec.release.content.service.secrets).await?;
    let name = id.clone();
    inner.blocking(move |inner| prepare(inner, &name, &spec)).await?;
    let exe = &inner.config.exe;
    let mut supervisor = Supervisor::spawn(exe, &inner.layout.instance(id))
        .map_err(|source| LocalError::Supervisor { exe: exe.clone(), source })?;
    if !secrets.is_empty() {
        // A supervisor that has died meanwhile has said why.
        let _ = supervisor.hand_over(&secrets).await;
    }
    Ok(Some(supervisor))
}

pub(super) fn spec_of(inner: &Inner, id: &InstanceId) -> Option<FleetSpec> {
    let state = inner.state();
    let fleet = &state.instances.get(id)?.fleet;
    Some(state.fleets.get(fleet)?.wish.spec.clone())
}

fn prepare(inner: &Inner, id: &InstanceId, spec: &FleetSpec) -> Result<(), LocalError> {
    let network = {
        // Chosen and taken under one lock, so that no two instances choose the same address.
        let mut state = inner.state();
        let network = intent::network(inner, id, &mut state)?;
        if let Some(instance) = state.instances.get_mut(id) {
            instance.network = Some(network.clone());
        }
        network
    };
    let intent = intent::of(inner, id, spec, network)?;
    let dir = inner.layout.instance(id);
    std::fs::create_dir_all(dir.path()).map_err(LocalError::file("make", dir.path()))?;
    files::write_json(&dir.intent(), &intent).map_err(LocalError::file("write", dir.intent()))?;
    inner.update(id, |instance| intent::connect(inner, id, instance, spec));
    Ok(())
}

/// Finds the supervisor of an instance again, or what it left.
async fn reattach(inner: &Arc<Inner>, id: &InstanceId) -> Option<Exit> {
    let dir = inner.layout.instance(id);
    loop {
        if let Ok(supervisor) = Supervisor::attach(&dir).await {
            return follow(inner, id, supervisor).await;
        }
        let folder = dir.clone();
        if let Ok(Some(exit)) = inner.blocking(move |inner| adopt::clear_up(inner, &folder)).await {
            return Some(exit);
        }
        // The supervisor lives and does not listen yet: it is making the sandbox, which takes milliseconds.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Goes along with a running instance to its end.
async fn follow(inner: &Arc<Inner>, id: &InstanceId, mut supervisor: Supervisor) -> Option<Exit> {
    let wake = inner.with(id, |instance| instance.wake.clone()).ok()?;
    let mut probe = None;
    let mut asked = false;
    loop {
        if !asked && inner.with(id, |instance| instance.must_stop()).unwrap_or(true) {
            asked = true;
            drop(probe.take());
            inner.update(id, |instance| instance.phase = Phase::Stopping);
            let rule = stop_rule(inner, id);
            let _ = supervisor.send(&Request::Stop(rule)).await;
        }
        let leaving = inner.with(id, |instance| instance.retiring.is_some()).unwrap_or(true);
        if leaving {
            drop(probe.take());
        }
        tokio::select! {
            status = supervisor.next() => match status {
                Some(status) if status.phase == ShimPhase::Exited => return status.exit,
                Some(status) => {
                    let runs = status.phase == ShimPhase::Running;
                    learn(inner, id, status);
                    if runs && probe.is_none() && !leaving && !asked {
                        probe = health::begin(inner, id).map(Guard);
                    }
                }
                None => return Box::pin(lost(inner, id)).await,
            },
            () = wake.notified() => {}
        }
    }
}

/// The supervisor hung up without a last word: it died.
async fn lost(inner: &Arc<Inner>, id: &InstanceId) -> Option<Exit> {
    reattach(inner, id).await
}

fn stop_rule(inner: &Inner, id: &InstanceId) -> StopRule {
    let stop = spec_of(inner, id).map(|spec| spec.release.content.config.stop).unwrap_or_default();
    StopRule { signal: stop.signal, grace_ms: stop.grace.millis() }
}

fn learn(inner: &Inner, id: &InstanceId, status: Status) {
    inner.update(id, |instance| {
        instance.pid = status.pid;
        instance.warnings = status.warnings;
        instance.started_ms = status.started_ms.or(instance.started_ms);
        match status.phase {
            ShimPhase::Running if instance.phase == Phase::Pending => instance.phase = Phase::Starting,
            ShimPhase::Stopping => instance.phase = Phase::Stopping,
            _ => {}
        }
    });
}

/// The instance has ended: what that means for it and its fleet.
async fn conclude(inner: &Arc<Inner>, id: &InstanceId, exit: Option<Exit>) {
    let dir = inner.layout.instance(id);
    let network = inner.with(id, |instance| instance.network.clone()).ok().flatten();
    let last = tokio::task::spawn_blocking(move || {
        // The kernel would do it too, some time after the last process; but the address is free from now on.
        network.as_ref().map(net::unplug);
        logs::tail(&dir, TAIL)
    });
    let tail = last.await.unwrap_or_default();
    let now = inner.now_ms();
    let ended = {
        let mut state = inner.state();
        let state = &mut *state;
        let Some(instance) = state.instances.get_mut(id) else { return };
        let expected = instance.retiring.is_some() || exit.is_none();
        let (ready_since, was_ready) = (instance.ready_since_ms, instance.was_ready);
        instance.phase = Phase::Exited;
        instance.pid = None;
        instance.ready_since_ms = None;
        instance.endpoints.clear();
        instance.supervisor = None;
        if let Some(exit) = exit.filter(|_| !expected) {
            let what = instance.failure.take().filter(|_| instance.condemned).map(|failure| failure.what);
            let what = what.unwrap_or_else(|| with_duration(&exit, instance.started_ms));
            let failure = Failure { what, log_tail: tail, at_ms: exit.at_ms };
            instance.failure = Some(failure.clone());
            if let Some(fleet) = state.fleets.get_mut(&instance.fleet) {
                fleet.last_failure = Some(failure);
                fleet.failed_starts += u32::from(!was_ready);
                fleet.backoff.failed(now, ready_since);
            }
        }
        instance.fleet.clone()
    };
    fleet::after_end(inner, &ended);
}

/// "exited with status 1 after 0.2s"
fn with_duration(exit: &Exit, started_ms: Option<i64>) -> String {
    match started_ms {
        None => format!("did not start: {}", exit.what),
        Some(started) => {
            let seconds = (exit.at_ms - started).max(0) as f64 / 1000.0;
            format!("{} after {seconds:.1}s", exit.what)
        }
    }
}
