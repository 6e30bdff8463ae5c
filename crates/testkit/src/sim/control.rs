//! A control plane that does the least a real one must, and that can be killed between any two acts.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use kiln_model::{FleetId, InstanceId};
use kiln_provider::{FleetObservation, InstanceObservation, Observation, Phase, Provider};
use kiln_rollout::{Action, FleetView, Rollout, View, decide};

use super::{Quality, Scenario, fleet};
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

    pub(super) fn update(&mut self, change: impl FnOnce(&Rollout) -> Rollout) {
        let changed = change(self.load());
        self.save(&changed);
    }
}

/// What is lost in a crash.
pub(super) struct Control<'a> {
    scenario: &'a Scenario,
    acked: Option<Table>,
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
pub(super) fn settle(provider: &FakeProvider, traffic: &mut FakeTraffic, disk: &mut Disk, size: u32) {
    ready(provider.ensure_fleet(&fleet_spec(1), size)).expect("no faults yet");
    provider.clock().advance(10_000);
    let seen = ready(provider.observe()).expect("no faults yet");
    let table = table(&seen, &BTreeMap::from([(fleet(1), 100)]));
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
    pub(super) fn new(scenario: &'a Scenario) -> Self {
        Self { scenario, acked: None, checks: None, checks_due: None, unsafe_act: None }
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
        disk: &mut Disk,
        rng: &mut Rng,
    ) -> Result<(), Killed> {
        let now = provider.clock().now_ms();
        let Ok(seen) = ready(provider.observe()) else { return Ok(()) };
        let rollout = disk.load().clone();
        self.publish(&seen, &rollout.memory.wish.weights, traffic, disk, now);
        self.survive(rng)?;
        self.finish_checks(now);
        let decision = decide(&rollout, &self.view(&seen, traffic), now);
        disk.save(&decision.rollout);
        for action in &decision.actions {
            self.survive(rng)?;
            match action {
                Action::Size { fleet, size } => {
                    let spec = fleet_spec(fleet.release.0);
                    if ready(provider.ensure_fleet(&spec, *size)).is_err() {
                        return Ok(());
                    }
                }
                Action::Weights { weights } => self.publish(&seen, weights, traffic, disk, now),
                Action::Verify { .. } => {
                    self.checks_due.get_or_insert(now.saturating_add_unsigned(rng.below(1_000)));
                }
                Action::Measure { .. } | Action::Probe { .. } => {}
            }
        }
        self.survive(rng)?;
        self.stop_what_has_drained(&seen, provider, traffic, disk, rng)
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
        if self.acked.as_ref() == Some(&table) {
            return;
        }
        disk.version += 1;
        if traffic.put(disk.version, &table, now).is_some() {
            self.acked = Some(table);
        }
    }

    fn finish_checks(&mut self, now: i64) {
        if self.checks_due.is_some_and(|due| now >= due) {
            let bad = self.scenario.quality == Quality::FailsChecks;
            self.checks = Some(if bad { Err("home page: expected 200, got 500".into()) } else { Ok(()) });
        }
    }

    fn view(&self, seen: &Observation, traffic: &FakeTraffic) -> View {
        let fleets =
            seen.fleets.iter().map(|(id, fleet)| (id.clone(), self.fleet_view(id, fleet, traffic))).collect();
        let acked_weights = self.acked.as_ref().map(|table| table.weights.clone()).unwrap_or_default();
        View {
            fleets,
            acked_weights,
            checks: self.checks.clone(),
            unsure: self.acked.is_none(),
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
        let patience = self.scenario.spec.drain_deadline.millis();
        let Some(acked) = self.acked.clone() else { return Ok(()) };
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
            let _ = ready(provider.drained(id));
        }
        Ok(())
    }
}
