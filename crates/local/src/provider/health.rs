//! Whether an instance is healthy, asked again and again.
//!
//! While an instance starts it is asked in quick succession, from [`FIRST`] on and then ever slower up to the interval,
//! so that a deployment waits for the program and not for the interval. Without a `health` block it is healthy once its
//! first port (in the order of names) accepts a connection, and then as long as it lives. Without ports there is nothing
//! to ask: it is healthy when it has lived for [`SETTLED`], which a program that cannot run mostly does not.

use std::sync::Arc;
use std::time::Duration;

use kiln_model::{Health, ImageConfig, InstanceId, Name, Probe, Span};
use kiln_provider::{Failure, Phase, RetireReason};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::{Inner, PATIENCE, adopt, fleet};
use crate::logs;
use crate::probe::{self, Target};

/// First wait between two questions of a starting instance; a probe over the loopback takes a tenth of it.
const FIRST: Duration = Duration::from_millis(5);
/// A command costs a process each time.
const FIRST_COMMAND: Duration = Duration::from_millis(25);
/// Lines of the log that a failure carries.
const TAIL: usize = 20;

/// How long an instance that cannot be asked has to live before it counts as ready.
const SETTLED: Duration = Duration::from_millis(250);

/// Asks from now on.
pub(super) fn begin(inner: &Arc<Inner>, id: &InstanceId) -> Option<JoinHandle<()>> {
    let config = super::life::spec_of(inner, id)?.release.content.config;
    let asker = Asker { inner: inner.clone(), id: id.clone() };
    Some(match plan(inner, id, &config) {
        Some((health, target, once)) => tokio::spawn(asker.run(health, target, once)),
        None => tokio::spawn(async move {
            sleep(SETTLED).await;
            asker.ready();
        }),
    })
}

/// What is asked, where, and whether one success is all.
fn plan(inner: &Inner, id: &InstanceId, config: &ImageConfig) -> Option<(Health, Target, bool)> {
    let first = config.ports.keys().next().cloned();
    let (health, once) = match &config.health {
        Some(health) => (health.clone(), false),
        None => (accepts_connections(Some(first.clone()?)), true),
    };
    let endpoint = |port: &Option<Name>| {
        let port = port.clone().or_else(|| first.clone())?;
        inner.with(id, |instance| instance.endpoints.get(&port).cloned()).ok().flatten()
    };
    let target = match &health.probe {
        Probe::Http { path, port } => Target::Http { path: path.clone(), endpoint: endpoint(port)? },
        Probe::Tcp { port } => Target::Tcp { endpoint: endpoint(port)? },
        Probe::Command { command } => Target::Command {
            command: command.clone(),
            exe: inner.config.exe.clone(),
            dir: inner.layout.instance(id),
        },
    };
    Some((health, target, once))
}

fn accepts_connections(port: Option<Name>) -> Health {
    Health {
        probe: Probe::Tcp { port },
        interval: Span::from_secs(1),
        timeout: Span::from_secs(1),
        rise: 1,
        fall: 3,
        grace: Span::from_secs(30),
    }
}

struct Asker {
    inner: Arc<Inner>,
    id: InstanceId,
}

impl Asker {
    async fn run(self, health: Health, target: Target, once: bool) {
        // One that was found again may be ready already.
        let is_ready = self.phase() == Some(Phase::Ready) || self.rise(&health, &target).await;
        if once || !is_ready {
            return;
        }
        loop {
            let last = self.fall(&health, &target).await;
            self.unready(&health, last).await;
            if timeout(PATIENCE, self.rise(&health, &target)).await.is_err() {
                self.give_up();
                self.rise(&health, &target).await;
            }
        }
    }

    fn phase(&self) -> Option<Phase> {
        self.inner.with(&self.id, |instance| instance.phase).ok()
    }

    async fn ask(&self, health: &Health, target: &Target) -> Result<(), String> {
        let limit = health.timeout;
        match timeout(limit.duration(), probe::ask(target, limit)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("{target} did not answer within {limit}")),
        }
    }

    /// Asks until it is healthy. `false`: a starting instance was not in time and is condemned.
    async fn rise(&self, health: &Health, target: &Target) -> bool {
        let began = Instant::now();
        let starting = self.phase() == Some(Phase::Starting);
        let mut wait = if matches!(target, Target::Command { .. }) { FIRST_COMMAND } else { FIRST };
        let (mut good, mut bad) = (0, 0);
        let mut told = None;
        loop {
            match self.ask(health, target).await {
                Ok(()) => {
                    (good, bad) = (good + 1, 0);
                    if good >= health.rise {
                        self.ready();
                        return true;
                    }
                }
                Err(what) => {
                    (good, bad) = (0, bad + 1);
                    if starting && bad >= health.fall && began.elapsed() >= health.grace.duration() {
                        self.condemn(&format!("was not healthy within {}: {what}", health.grace));
                        return false;
                    }
                    if bad >= health.fall && told.as_ref() != Some(&what) {
                        self.note(format!("is not healthy yet: {what}")).await;
                        told = Some(what);
                    }
                }
            }
            sleep(wait).await;
            wait = wait.mul_f64(1.5).min(health.interval.duration().max(FIRST));
        }
    }

    /// Asks until it is no longer healthy; returns what the last probe said.
    async fn fall(&self, health: &Health, target: &Target) -> String {
        let mut bad = 0;
        loop {
            sleep(health.interval.duration()).await;
            match self.ask(health, target).await {
                Ok(()) => bad = 0,
                Err(what) => {
                    bad += 1;
                    if bad >= health.fall {
                        return what;
                    }
                }
            }
        }
    }

    fn ready(&self) {
        let now = self.inner.now_ms();
        let mut state = self.inner.state();
        let state = &mut *state;
        let Some(instance) = state.instances.get_mut(&self.id) else { return };
        if matches!(instance.phase, Phase::Starting | Phase::Unready) {
            instance.phase = Phase::Ready;
            instance.ready_since_ms = Some(now);
            instance.was_ready = true;
            instance.failure = None;
            // A lost mark only means that the next provider asks before it believes.
            let _ = adopt::mark_ready(&self.inner.layout.instance(&self.id), Some(now));
            if let Some(fleet) = state.fleets.get_mut(&instance.fleet) {
                fleet.failed_starts = 0;
            }
        }
        self.inner.touch();
    }

    async fn unready(&self, health: &Health, what: String) {
        let failure = self.failure(format!("failed {} probes in a row: {what}", health.fall)).await;
        let _ = adopt::mark_ready(&self.inner.layout.instance(&self.id), None);
        self.inner.update(&self.id, |instance| {
            if instance.phase == Phase::Ready {
                instance.phase = Phase::Unready;
                instance.ready_since_ms = None;
                instance.failure = Some(failure);
            }
        });
    }

    /// What keeps a starting instance from being healthy, so that whoever loses patience can say it.
    async fn note(&self, what: String) {
        let failure = self.failure(what).await;
        self.inner.update(&self.id, |instance| {
            if matches!(instance.phase, Phase::Starting | Phase::Unready) {
                instance.failure = Some(failure);
            }
        });
    }

    async fn failure(&self, what: String) -> Failure {
        let dir = self.inner.layout.instance(&self.id);
        let log_tail = tokio::task::spawn_blocking(move || logs::tail(&dir, TAIL)).await.unwrap_or_default();
        Failure { what, log_tail, at_ms: self.inner.now_ms() }
    }

    /// It never was healthy, so it has no traffic that would have to drain.
    fn condemn(&self, what: &str) {
        let at_ms = self.inner.now_ms();
        self.inner.update(&self.id, |instance| {
            instance.condemned = true;
            instance.failure = Some(Failure { what: what.into(), log_tail: Vec::new(), at_ms });
            instance.wake.notify_one();
        });
    }

    /// It was healthy once and does not recover: another takes its place, unless one is being replaced already.
    fn give_up(&self) {
        let now = self.inner.now_ms();
        let fleet = {
            let mut state = self.inner.state();
            let state = &mut *state;
            let Some(fleet) = state.instances.get(&self.id).map(|instance| instance.fleet.clone()) else {
                return;
            };
            let replaced = |instance: &super::state::Instance| {
                let unhealthy =
                    instance.retiring.is_some_and(|retiring| retiring.reason == RetireReason::Unhealthy);
                instance.fleet == fleet && unhealthy && instance.phase != Phase::Exited
            };
            if state.instances.values().any(replaced) {
                return;
            }
            let Some(instance) =
                state.instances.get_mut(&self.id).filter(|known| known.phase == Phase::Unready)
            else {
                return;
            };
            instance.retire(RetireReason::Unhealthy);
            if let Some(retiring) = instance.retiring {
                // A lost note only means that the next provider comes to the same decision again.
                let _ = self.inner.note_retiring(&self.id, retiring);
            }
            let failure = instance.failure.clone();
            if let Some(known) = state.fleets.get_mut(&fleet) {
                known.last_failure = failure.or(known.last_failure.take());
                known.backoff.failed(now, None);
            }
            fleet
        };
        fleet::reconcile(&self.inner, &fleet);
        self.inner.touch();
    }
}
