//! A control plane that does the least a real one must, and that can be killed between any two acts.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use kiln_model::{FleetId, InstanceId};
use kiln_provider::{FleetObservation, InstanceObservation, Observation, Phase, Provider};
use kiln_rollout::{Action, FleetView, Rollout, View, decide};

use super::meter::Meter;
use super::{Deploy, Interruption, Quality, Scenario, fleet};
use crate::{FakeProvider, FakeTraffic, Rng, Table, fleet_spec};

/// The control plane was killed.
#[derive(Debug)]
pub(super) struct Killed;

/// What survives a crash.
#[derive(Debug, Default)]
pub(super) struct Disk {
    /// As it was read back from its text, which is what a restarted control plane has.
    rollout: Option<Rollout>,
    /// Written before a table is sent, so that a late one can never be newer than what is sent after a crash.
    version: u64,
    /// Since when instances drain: a deadline that began anew with every crash would never end.
    leaving_since: BTreeMap<InstanceId, i64>,
}

impl Disk {
    /// Writes the rollout as the real control plane does, as text, unless it is the same already.
    pub(super) fn save(&mut self, rollout: &Rollout) {
        if self.rollout.as_ref() != Some(rollout) {
            let text = serde_json::to_string(rollout).expect("a rollout is JSON");
            self.rollout = Some(serde_json::from_str(&text).expect("what was saved can be loaded"));
        }
    }

    pub(super) fn load(&self) -> &Rollout {
        self.rollout.as_ref().expect("a rollout was saved before the first turn")
    }
}

/// What is lost in a crash.
pub(super) struct Control<'a> {
    scenario: &'a Scenario,
    deploy: &'a Deploy,
    begun: i64,
    acked: Option<Table>,
    /// A table newer than the acknowledged one was sent and may come into force at any time.
    sent: bool,
    /// What was last decided on.
    pub(super) last_view: View,
    /// Actions begun so far.
    pub(super) acts: u32,
    /// The action that goes wrong, and how.
    pub(super) plan: Option<(u32, Interruption)>,
    checks: Option<Result<(), String>>,
    checks_due: Option<i64>,
    unsafe_act: Option<String>,
}

/// Runs a future of the fake provider, none of which ever waits but `changed`.
pub(super) fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the fake provider answers at once"),
    }
}

/// Brings the old fleet to `size` ready instances with all the traffic, without faults.
pub(super) fn settle(
    provider: &FakeProvider,
    traffic: &mut FakeTraffic,
    disk: &mut Disk,
    number: u64,
    size: u32,
) {
    ready(provider.ensure_fleet(&fleet_spec(number), size)).expect("no faults yet");
    provider.clock().advance(10_000);
    let seen = ready(provider.observe()).expect("no faults yet");
    let table = table(&seen, &BTreeMap::from([(fleet(number), 100)]));
    while traffic.in_force().1 != &table {
        disk.version += 1;
        traffic.put(disk.version, &table, provider.clock().now_ms());
        provider.clock().advance(2_000);
        traffic.tick(provider.clock().now_ms(), |_| true);
    }
}

fn is_ready(instance: &&InstanceObservation) -> bool {
    instance.phase == Phase::Ready
}

fn table(seen: &Observation, weights: &BTreeMap<FleetId, u8>) -> Table {
    let ids =
        |fleet: &FleetObservation| fleet.instances.iter().filter(is_ready).map(|it| it.id.clone()).collect();
    let ready: BTreeMap<FleetId, BTreeSet<InstanceId>> =
        seen.fleets.iter().map(|(id, fleet)| (id.clone(), ids(fleet))).collect();
    Table { weights: weights.clone(), ready }
}

impl<'a> Control<'a> {
    pub(super) fn new(scenario: &'a Scenario, deploy: &'a Deploy, begun: i64) -> Self {
        let last_view = View::default();
        let (acked, checks, checks_due, unsafe_act) = (None, None, None, None);
        let (sent, acts, plan) = (false, 0, None);
        Self { scenario, deploy, begun, acked, sent, last_view, acts, plan, checks, checks_due, unsafe_act }
    }

    /// What a new process knows.
    pub(super) fn killed(&mut self) {
        *self = Self { acts: self.acts, ..Self::new(self.scenario, self.deploy, self.begun) };
    }

    /// How the action that begins now goes wrong.
    fn interrupted(&mut self) -> Option<Interruption> {
        let act = self.acts;
        self.acts += 1;
        self.plan.filter(|(at, _)| *at == act).map(|(_, how)| how)
    }

    /// It keeps its table; until it answers again, what is in force is unknown.
    pub(super) fn data_plane_restarted(&mut self) {
        self.acked = None;
    }

    /// Something it did that the world shows to be wrong.
    pub(super) fn unsafe_act(&self) -> Option<&str> {
        self.unsafe_act.as_deref()
    }

    fn survive(&self, rng: &mut Rng) -> Result<(), Killed> {
        if rng.chance(self.scenario.crashes) { Err(Killed) } else { Ok(()) }
    }

    /// One turn of the loop. Calls that fail end the turn; the next one repeats them.
    pub(super) fn turn(
        &mut self,
        provider: &FakeProvider,
        traffic: &mut FakeTraffic,
        meter: &mut Meter,
        disk: &mut Disk,
        rng: &mut Rng,
    ) -> Result<(), Killed> {
        let now = provider.clock().now_ms();
        let Ok(seen) = ready(provider.observe()) else { return Ok(()) };
        let rollout = disk.load().clone();
        self.publish(&seen, &rollout.memory.wish.weights, traffic, disk, now);
        self.survive(rng)?;
        self.finish_checks(now);
        self.last_view = self.view(&seen, traffic, meter, now);
        let decision = decide(&rollout, &self.last_view, now);
        disk.save(&decision.rollout);
        for action in &decision.actions {
            self.survive(rng)?;
            let wrong = self.interrupted();
            if wrong.is_none_or(Interruption::is_done)
                && !self.perform(action, &seen, provider, traffic, meter, disk, rng)
            {
                return Ok(());
            }
            match wrong {
                Some(how) if how.kills() => return Err(Killed),
                Some(_) => return Ok(()),
                None => {}
            }
        }
        self.survive(rng)?;
        self.stop_what_has_drained(&seen, provider, traffic, disk, rng)
    }

    /// Whether the action went well.
    #[allow(clippy::too_many_arguments, reason = "the whole world of a simulation")]
    fn perform(
        &mut self,
        action: &Action,
        seen: &Observation,
        provider: &FakeProvider,
        traffic: &mut FakeTraffic,
        meter: &mut Meter,
        disk: &mut Disk,
        rng: &mut Rng,
    ) -> bool {
        let now = provider.clock().now_ms();
        match action {
            Action::Size { fleet, size } => {
                return ready(provider.ensure_fleet(&fleet_spec(fleet.release.0), *size)).is_ok();
            }
            Action::Weights { weights } => self.publish(seen, weights, traffic, disk, now),
            Action::Verify { .. } => {
                self.checks_due.get_or_insert(now.saturating_add_unsigned(rng.below(1_000)));
            }
            Action::Probe { fleet } => meter.probe(fleet),
            Action::Measure { .. } => {}
        }
        true
    }

    /// Tells the data plane who is ready and how the traffic is shared, unless it has confirmed just that.
    fn publish(
        &mut self,
        seen: &Observation,
        weights: &BTreeMap<FleetId, u8>,
        traffic: &mut FakeTraffic,
        disk: &mut Disk,
        now: i64,
    ) {
        let table = table(seen, weights);
        if self.acked.as_ref() == Some(&table) && !self.sent {
            return;
        }
        disk.version += 1;
        self.sent = traffic.put(disk.version, &table, now).is_none();
        if !self.sent {
            self.acked = Some(table);
        }
    }

    fn finish_checks(&mut self, now: i64) {
        if self.checks_due.is_some_and(|due| now >= due) {
            let bad = self.deploy.quality == Quality::FailsChecks;
            self.checks = Some(if bad { Err("home page: expected 200, got 500".into()) } else { Ok(()) });
        }
    }

    fn view(&self, seen: &Observation, traffic: &FakeTraffic, meter: &Meter, now: i64) -> View {
        let fleets =
            seen.fleets.iter().map(|(id, fleet)| (id.clone(), self.fleet_view(id, fleet, traffic))).collect();
        let acked_weights = self.acked.as_ref().map(|table| table.weights.clone()).unwrap_or_default();
        let (samples, epoch_ms) = meter.read();
        let frozen = self.deploy.freezes.iter().any(|(from, to)| (*from..*to).contains(&(now - self.begun)));
        View {
            fleets,
            acked_weights,
            checks: self.checks.clone(),
            unsure: self.acked.is_none() || self.sent,
            samples,
            epoch_ms,
            frozen: frozen.then(|| "nobody is there".into()),
            ..View::default()
        }
    }

    fn fleet_view(&self, id: &FleetId, fleet: &FleetObservation, traffic: &FakeTraffic) -> FleetView {
        let known = self.acked.as_ref().and_then(|table| table.ready.get(id));
        let mut view = FleetView {
            failed_starts: fleet.failed_starts,
            last_failure: fleet.last_failure.as_ref().map(|failure| failure.what.clone()),
            ..FleetView::default()
        };
        for instance in &fleet.instances {
            view.in_flight += traffic.in_flight(&instance.id);
            match (instance.phase, instance.ready_since_ms) {
                (Phase::Ready, Some(since)) if known.is_some_and(|known| known.contains(&instance.id)) => {
                    view.ready_since_ms.push(since);
                }
                (Phase::Ready, _) => view.unannounced += 1,
                (Phase::Pending | Phase::Starting, _) => view.starting_since_ms.push(instance.started_ms),
                (Phase::Unready, _) => view.unready += 1,
                (Phase::Draining | Phase::Stopping, _) => view.leaving += 1,
                (Phase::Exited, _) => {}
            }
        }
        view
    }

    fn stop_what_has_drained(
        &mut self,
        seen: &Observation,
        provider: &FakeProvider,
        traffic: &FakeTraffic,
        disk: &mut Disk,
        rng: &mut Rng,
    ) -> Result<(), Killed> {
        let now = provider.clock().now_ms();
        let patience = self.deploy.spec.drain_deadline.millis();
        let Some(acked) = self.acked.clone().filter(|_| !self.sent) else { return Ok(()) };
        let leaving =
            seen.fleets.values().flat_map(|fleet| &fleet.instances).filter(|it| it.phase == Phase::Draining);
        for instance in leaving {
            let id = &instance.id;
            let since = *disk.leaving_since.entry(id.clone()).or_insert(now);
            let idle = traffic.in_flight(id) == 0 || now >= since.saturating_add_unsigned(patience);
            if acked.ready.values().any(|ready| ready.contains(id)) || !idle {
                continue;
            }
            if traffic.in_force().1.routes_to(id) {
                self.unsafe_act = Some(format!("{id} is stopped while the data plane sends requests to it"));
            }
            self.survive(rng)?;
            let wrong = self.interrupted();
            if wrong.is_none_or(Interruption::is_done) {
                let _ = ready(provider.drained(id));
            }
            match wrong {
                Some(how) if how.kills() => return Err(Killed),
                Some(_) => return Ok(()),
                None => {}
            }
        }
        Ok(())
    }
}
