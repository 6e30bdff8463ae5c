//! One fake fleet and the lives of its instances.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use kiln_model::InstanceId;
use kiln_provider::{
    Endpoint, Failure, FleetObservation, FleetSpec, InstanceObservation, Phase, RetireReason,
};

use crate::{Behaviour, Rng};

/// How long a dead instance can still be seen, milliseconds.
const FORGOTTEN_AFTER: i64 = 1_000;

#[derive(Debug)]
pub(super) struct Fleet {
    spec: FleetSpec,
    zones: Vec<String>,
    size: u32,
    starts: usize,
    failed_starts: u32,
    last_failure: Option<Failure>,
    instances: Vec<Life>,
}

#[derive(Debug)]
struct Life {
    seen: InstanceObservation,
    behaviour: Behaviour,
    /// When the present phase is over, for Pending (start), Stopping and Exited (forgotten).
    due_ms: i64,
    first_ready_ms: Option<i64>,
}

impl Life {
    fn stays(&self) -> bool {
        matches!(self.seen.phase, Phase::Pending | Phase::Starting | Phase::Ready | Phase::Unready)
    }

    fn exit(&mut self, at: i64, what: Option<String>) {
        self.seen.phase = Phase::Exited;
        self.seen.ready_since_ms = None;
        self.seen.pid = None;
        self.seen.failure = what.map(|what| failure(what, at));
        self.due_ms = at + FORGOTTEN_AFTER;
    }
}

fn failure(what: String, at_ms: i64) -> Failure {
    Failure { what, log_tail: vec!["last words".into()], at_ms }
}

fn after(at: i64, millis: u64) -> i64 {
    at.saturating_add_unsigned(millis)
}

impl Fleet {
    pub(super) fn new(spec: FleetSpec, zones: Vec<String>) -> Self {
        Self { spec, zones, size: 0, starts: 0, failed_starts: 0, last_failure: None, instances: Vec::new() }
    }

    pub(super) fn spec(&self) -> &FleetSpec {
        &self.spec
    }

    pub(super) fn size(&self) -> u32 {
        self.size
    }

    pub(super) fn living(&self) -> usize {
        self.instances.iter().filter(|life| life.seen.phase != Phase::Exited).count()
    }

    /// Sets the wish; the next tick follows it.
    pub(super) fn resize(&mut self, size: u32) {
        self.size = size;
    }

    pub(super) fn observe(&self) -> FleetObservation {
        FleetObservation {
            size: self.size,
            instances: self.instances.iter().map(|life| life.seen.clone()).collect(),
            failed_starts: self.failed_starts,
            last_failure: self.last_failure.clone(),
        }
    }

    fn find(&mut self, id: &InstanceId) -> Option<&mut Life> {
        self.instances.iter_mut().find(|life| life.seen.id == *id)
    }

    pub(super) fn retire(&mut self, id: &InstanceId, reason: RetireReason) -> bool {
        let Some(life) = self.find(id).filter(|life| life.stays()) else { return false };
        life.seen.tainted |= reason == RetireReason::Tainted;
        leave(life, reason);
        true
    }

    /// `None`: not of this fleet. `Err`: it is not draining but in this phase.
    pub(super) fn drained(&mut self, id: &InstanceId, now: i64) -> Option<Result<(), Phase>> {
        let life = self.find(id)?;
        match life.seen.phase {
            Phase::Draining => {
                life.seen.phase = Phase::Stopping;
                life.due_ms = after(now, life.behaviour.stops_after);
                Some(Ok(()))
            }
            Phase::Stopping | Phase::Exited => Some(Ok(())),
            phase @ (Phase::Pending | Phase::Starting | Phase::Ready | Phase::Unready) => Some(Err(phase)),
        }
    }

    pub(super) fn kill(&mut self, id: &InstanceId, now: i64) -> bool {
        let Some(life) = self.find(id).filter(|life| life.seen.phase != Phase::Exited) else { return false };
        let (leaving, early) = (!life.stays(), life.first_ready_ms.is_none());
        let what = "was killed by signal 9";
        life.exit(now, Some(what.into()));
        if !leaving {
            self.failed_starts += u32::from(early);
            self.last_failure = Some(failure(what.into(), now));
        }
        true
    }

    /// `None`: not of this fleet. Otherwise whether it runs.
    pub(super) fn runs(&self, id: &InstanceId) -> Option<bool> {
        let life = self.instances.iter().find(|life| life.seen.id == *id)?;
        Some(!matches!(life.seen.phase, Phase::Pending | Phase::Exited))
    }

    /// Lets the instances live up to `now` and follows the wished size.
    pub(super) fn tick(&mut self, now: i64, script: &[Behaviour], rng: &mut Rng) {
        for index in 0..self.instances.len() {
            self.live(index, now);
        }
        self.instances.retain(|life| life.seen.phase != Phase::Exited || now < life.due_ms);
        self.follow(now, script, rng);
    }

    fn live(&mut self, index: usize, now: i64) {
        let life = &mut self.instances[index];
        if life.seen.phase == Phase::Pending && now >= life.due_ms {
            life.seen.phase = Phase::Starting;
            life.seen.started_ms = life.due_ms;
            life.seen.pid = Some(1000 + u32::try_from(index).unwrap_or(0));
        }
        let started = life.seen.started_ms;
        let ready = life.behaviour.ready_after.map(|millis| after(started, millis));
        let exit =
            life.behaviour.exits_after.map(|millis| after(started, millis)).filter(|exit| now >= *exit);
        let runs = !matches!(life.seen.phase, Phase::Pending | Phase::Stopping | Phase::Exited);
        if let Some(ready) = ready.filter(|ready| {
            life.seen.phase == Phase::Starting && now >= *ready && exit.is_none_or(|exit| *ready < exit)
        }) {
            life.seen.phase = Phase::Ready;
            life.seen.ready_since_ms = Some(ready);
            life.first_ready_ms = Some(ready);
            self.failed_starts = 0;
        }
        if let Some(exit) = exit.filter(|_| runs) {
            let what = format!("exited with status 1 after {} ms", exit - started);
            let leaving = life.seen.phase == Phase::Draining;
            let early = life.first_ready_ms.is_none() && !leaving;
            life.exit(exit, Some(what.clone()));
            self.failed_starts += u32::from(early);
            if !leaving {
                self.last_failure = Some(failure(what, exit));
            }
            return;
        }
        breathe(life, now);
        if life.seen.phase == Phase::Stopping && now >= life.due_ms {
            life.exit(life.due_ms, None);
        }
    }

    fn follow(&mut self, now: i64, script: &[Behaviour], rng: &mut Rng) {
        let staying = self.instances.iter().filter(|life| life.stays()).count();
        let size = self.size as usize;
        for _ in staying..size {
            let behaviour = script.get(self.starts).or(script.last()).cloned().unwrap_or_default();
            self.starts += 1;
            self.spawn(behaviour, now, rng);
        }
        for _ in size..staying {
            // Unhealthy first, then domain by domain, then youngest.
            let rank = |life: &Life| {
                (life.seen.phase != Phase::Ready, Reverse(life.seen.zone.clone()), life.seen.started_ms)
            };
            let worst = self.instances.iter_mut().filter(|life| life.stays()).max_by_key(|life| rank(life));
            if let Some(life) = worst {
                leave(life, RetireReason::Surplus);
            }
        }
    }

    /// The domain with the fewest instances that stay.
    fn zone(&self) -> Option<String> {
        let held = |zone: &&String| {
            self.instances.iter().filter(|life| life.stays() && life.seen.zone.as_ref() == Some(zone)).count()
        };
        self.zones.iter().min_by_key(held).cloned()
    }

    fn spawn(&mut self, behaviour: Behaviour, now: i64, rng: &mut Rng) {
        let backoff = if self.failed_starts == 0 { 0 } else { 100 << self.failed_starts.min(7) };
        let due_ms = after(now, behaviour.starts_after + backoff);
        let release = &self.spec.release;
        let digits = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let suffix: String = (0..8).map(|_| char::from(*rng.pick(digits))).collect();
        let id = InstanceId(format!("{}-{}-{suffix}", release.content.service.name, release.number));
        let port = u16::try_from(10_000 + self.starts % 50_000).unwrap_or(10_000);
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let ports = release.content.config.ports.keys();
        let endpoints: BTreeMap<_, _> = ports.map(|name| (name.clone(), Endpoint::Tcp { addr })).collect();
        let seen = InstanceObservation {
            id,
            phase: Phase::Pending,
            zone: self.zone(),
            started_ms: due_ms,
            ready_since_ms: None,
            endpoints,
            pid: None,
            retiring: None,
            tainted: false,
            supervisor: None,
            failure: None,
        };
        self.instances.push(Life { seen, behaviour, due_ms, first_ready_ms: None });
        self.live(self.instances.len() - 1, now);
    }
}

fn leave(life: &mut Life, reason: RetireReason) {
    life.seen.phase = Phase::Draining;
    life.seen.retiring = Some(reason);
    life.seen.ready_since_ms = None;
}

/// Moves between Ready and Unready as scripted.
fn breathe(life: &mut Life, now: i64) {
    let (Some(first), Phase::Ready | Phase::Unready) = (life.first_ready_ms, life.seen.phase) else { return };
    let windows = life.behaviour.unready.iter().map(|(from, to)| (after(first, *from), after(first, *to)));
    let (mut unready, mut since) = (false, first);
    for (_, to) in windows.filter(|(from, _)| now >= *from) {
        unready |= now < to;
        since = since.max(to);
    }
    life.seen.phase = if unready { Phase::Unready } else { Phase::Ready };
    life.seen.ready_since_ms = (!unready).then_some(since);
    life.seen.failure = unready.then(|| failure("GET /healthz answered 503".into(), now));
}
