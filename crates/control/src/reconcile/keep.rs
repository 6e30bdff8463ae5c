//! Keeping what is there in order: taking out what is ill or touched, stopping what has drained, forgetting what is
//! empty, and adopting what is there without being wanted.

use std::collections::BTreeSet;

use kiln_model::{FleetId, InstanceId, UpgradedDrain};
use kiln_provider::{FleetObservation, Phase};
use rusqlite::Connection;

use super::round::{Plan, Seen};
use super::world::{World, append};
use crate::budget::{self, Budget, Covered, Touched};
use crate::drain::{self, Drain};
use crate::event::{KILN, What};
use crate::state::{Entry, Pointer, RolloutState, StateError, Stored, fleets, releases, services, taints};
use crate::view;

impl World {
    /// A fleet that runs without being wanted (its removal was cut off, or the state was put back to an earlier day)
    /// is wanted at size 0, so that it drains and goes like any other.
    pub(super) fn adopt(&mut self, db: &Connection, seen: &Seen, plan: &mut Plan) -> Result<(), StateError> {
        for (id, fleet) in &seen.observation.fleets {
            if self.fleets.iter().any(|it| it.fleet == *id) {
                continue;
            }
            if let Some(stored) = releases::get(db, id)? {
                self.releases.insert(id.clone(), stored);
                self.set_size(db, id, 0)?;
            } else if is_empty(fleet) && fleet.size == 0 {
                plan.remove.push(id.clone());
            } else {
                let why = "it runs, but this state has no such release; stop its instances with `kiln stop`, or put the right state back";
                plan.complaints.push((format!("keep fleet {id}"), why.into()));
            }
        }
        Ok(())
    }

    /// Takes out instances that are ill or that a person touched, within each service's budget.
    pub(super) fn replace(&self, seen: &Seen, plan: &mut Plan) {
        let free = self.taints.iter().filter(|it| !seen.held.contains(&it.instance));
        let tainted: BTreeSet<InstanceId> = free.clone().map(|it| it.instance.clone()).collect();
        let asked = free.filter(|it| it.asked).map(|it| it.instance.clone()).collect();
        let touched = Touched { tainted, asked };
        for pointer in &self.pointers {
            let own = |id: &FleetId| id.environment == pointer.environment && id.service == pointer.service;
            // The engine judges the fleet that it brings up; replacing under its hands would hide what it looks for.
            let rising = |id: &FleetId| self.rollouts.iter().any(|it| it.fleet == *id && runs(it));
            let wanted = self.fleets.iter().filter(|it| own(&it.fleet) && it.size > 0);
            let covered: Vec<Covered<'_>> = wanted
                .filter(|it| !rising(&it.fleet))
                .filter_map(|it| {
                    let instances = &seen.observation.fleets.get(&it.fleet)?.instances;
                    Some(Covered { size: it.size, instances })
                })
                .collect();
            let Some(leader) = self.leader(pointer) else { continue };
            let rising_up: u32 = self
                .fleets
                .iter()
                .filter(|it| own(&it.fleet) && rising(&it.fleet))
                .filter_map(|it| seen.observation.fleets.get(&it.fleet))
                .map(|fleet| view::counts(&fleet.instances).ready)
                .sum();
            let kept: u32 = covered.iter().map(|it| it.size).sum();
            let (wanted, most) = (leader.replicas, leader.release.content.service.max_disrupted);
            let rollout = wanted.saturating_sub(kept.saturating_add(rising_up));
            let allowed = budget::retire(&covered, Budget { wanted, most, rollout }, &touched);
            for (instance, why) in allowed.waiting {
                plan.complaints.push((format!("replace instance {instance}"), why));
            }
            for (instance, reason) in allowed.out {
                let of = |(_, fleet): &(&FleetId, &FleetObservation)| {
                    fleet.instances.iter().any(|it| it.id == instance)
                };
                if let Some((fleet, _)) = seen.observation.fleets.iter().find(of) {
                    plan.retire.push((fleet.clone(), instance, reason));
                }
            }
        }
    }

    /// The release whose word counts about the service: the current one, or else the newest that is wanted.
    fn leader(&self, pointer: &Pointer) -> Option<&Stored> {
        let current = pointer.current.and_then(|release| self.releases.get(&pointer.fleet(release)));
        let own = |id: &&FleetId| id.environment == pointer.environment && id.service == pointer.service;
        let newest = || self.fleets.iter().map(|it| &it.fleet).filter(own).max_by_key(|it| it.release);
        current.or_else(|| self.releases.get(newest()?))
    }

    /// Lets drained instances be stopped.
    pub(super) fn drain(&self, seen: &Seen, plan: &mut Plan) {
        for (id, fleet) in &seen.observation.fleets {
            let routed = self.routed(&id.environment, &id.service);
            let service = self.releases.get(id).map(|it| &it.release.content.service);
            let upgraded = service.map_or(UpgradedDrain::Wait, |it| it.traffic.upgraded);
            let deadline = service.map(|it| it.rollout.drain_deadline).unwrap_or_default();
            for instance in fleet.instances.iter().filter(|it| it.phase == Phase::Draining) {
                let Some(plane) = seen.plane.as_ref().filter(|_| routed) else {
                    if !routed {
                        plan.drained.push(instance.id.clone());
                    }
                    continue;
                };
                let since = seen.draining_since.get(&instance.id).copied().unwrap_or(seen.now_ms);
                match drain::judge(id, &instance.id, plane, upgraded, deadline, (since, seen.now_ms)) {
                    Drain::Done => plan.drained.push(instance.id.clone()),
                    Drain::Serving => {}
                    Drain::Until(end) => {
                        plan.draining = true;
                        plan.wake(Some(end));
                    }
                }
            }
        }
    }

    /// Forgets fleets that are empty and not wanted, taints of instances that are gone, and tells of services that
    /// have wholly left.
    pub(super) fn sweep(&mut self, db: &Connection, seen: &Seen, plan: &mut Plan) -> Result<(), StateError> {
        let needed = |id: &FleetId| self.rollouts.iter().filter(|it| is_open(it)).any(|it| names(it, id));
        let gone = |id: &FleetId| {
            seen.observation.fleets.get(id).is_none_or(|fleet| fleet.size == 0 && is_empty(fleet))
        };
        let empty = self.fleets.iter().filter(|it| it.size == 0 && it.weight == 0);
        let empty: Vec<FleetId> =
            empty.map(|it| it.fleet.clone()).filter(|id| !needed(id) && gone(id)).collect();
        for id in empty {
            fleets::remove(db, &id)?;
            self.fleets.retain(|it| it.fleet != id);
            if seen.observation.fleets.contains_key(&id) {
                plan.remove.push(id);
            }
        }
        self.forget_taints(db, seen)?;
        self.tell_gone(db, seen.now_ms)
    }

    fn forget_taints(&self, db: &Connection, seen: &Seen) -> Result<(), StateError> {
        for taint in &self.taints {
            let fleet = seen.observation.fleets.get(&taint.fleet);
            let there = |it: &FleetObservation| it.instances.iter().any(|one| one.id == taint.instance);
            if !fleet.is_some_and(there) {
                taints::remove(db, &taint.instance)?;
            }
        }
        Ok(())
    }

    fn tell_gone(&mut self, db: &Connection, now_ms: i64) -> Result<(), StateError> {
        for pointer in self.pointers.iter_mut().filter(|it| it.leaving) {
            let own = |id: &FleetId| id.environment == pointer.environment && id.service == pointer.service;
            if self.fleets.iter().any(|it| own(&it.fleet)) {
                continue;
            }
            pointer.leaving = false;
            services::put(db, pointer)?;
            let last = pointer.previous.unwrap_or(kiln_model::ReleaseNumber(0));
            append(db, &pointer.fleet(last), None, KILN, now_ms, &What::Gone)?;
        }
        Ok(())
    }
}

fn runs(entry: &Entry) -> bool {
    entry.status == RolloutState::Running
}

fn is_open(entry: &Entry) -> bool {
    matches!(entry.status, RolloutState::Running | RolloutState::Failed)
}

fn names(entry: &Entry, id: &FleetId) -> bool {
    let same = entry.fleet.environment == id.environment && entry.fleet.service == id.service;
    let baseline = entry.engine.as_ref().and_then(|engine| engine.baseline.as_ref());
    same && (entry.fleet.release == id.release || entry.old == Some(id.release) || baseline == Some(id))
}

fn is_empty(fleet: &FleetObservation) -> bool {
    fleet.instances.iter().all(|instance| instance.phase == Phase::Exited)
}
