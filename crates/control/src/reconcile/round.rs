//! One round: what is intended and what is seen go in, what is to be done comes out. It runs inside one transaction
//! and does nothing but read and write the database.

use std::collections::{BTreeMap, BTreeSet};

use kiln_model::{Against, AnalysisSpec, FleetId, InstanceId};
use kiln_provider::{Failure, FleetSpec, Observation, RetireReason};
use kiln_proxy::RouteTable;
use kiln_rollout::Rollout;
use kiln_rollout::analysis::{Reading, Sample};
use rusqlite::Connection;

use super::world::{World, append};
use crate::event::{KILN, RolloutId, What};
use crate::measure::Analysed;
use crate::routes::{self, FleetInput, PeerListen};
use crate::state::{Pointer, StateError, routes as published};
use crate::view::DataPlane;

/// What is seen.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) now_ms: i64,
    pub(crate) observation: Observation,
    /// `None` while the data plane does not answer, or answers for a table that is not known.
    pub(crate) plane: Option<DataPlane>,
    /// The highest table version that the data plane is known to have had.
    pub(crate) version: u64,
    /// Outcomes of checks, by rollout.
    pub(crate) checks: BTreeMap<RolloutId, Result<(), String>>,
    /// When draining instances were first seen without new requests.
    pub(crate) draining_since: BTreeMap<InstanceId, i64>,
    /// Failures that have not been told of.
    pub(crate) failures: Vec<(FleetId, Failure)>,
    /// Instances in which a person's command runs.
    pub(crate) held: BTreeSet<InstanceId>,
    /// The last reading of each metric, by rollout.
    pub(crate) readings: BTreeMap<RolloutId, BTreeMap<String, Reading>>,
    /// What Kiln's own requests came to.
    pub(crate) probed: BTreeMap<FleetId, Sample>,
    pub(crate) peers: PeerListen,
}

/// What is to be done, in this order; every item is an idempotent wish.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    /// Fleets that are to exist or grow.
    pub(crate) grow: Vec<(FleetSpec, u32)>,
    /// The table that the data plane is to have and does not have yet.
    pub(crate) table: Option<RouteTable>,
    /// Fleets that are to shrink.
    pub(crate) shrink: Vec<(FleetSpec, u32)>,
    /// Rollouts whose checks are to run, against a fleet.
    pub(crate) verify: Vec<(RolloutId, FleetId)>,
    /// Rollouts whose metrics are to be read.
    pub(crate) measure: Vec<Analysed>,
    /// Fleets that too few requests reach.
    pub(crate) probe: Vec<(FleetId, AnalysisSpec)>,
    /// Whether a rollout is judged by the data plane's counters, so that it is to be asked often.
    pub(crate) measuring: bool,
    pub(crate) retire: Vec<(FleetId, InstanceId, RetireReason)>,
    pub(crate) drained: Vec<InstanceId>,
    /// Empty fleets that nobody needs.
    pub(crate) remove: Vec<FleetId>,
    /// Checks of rollouts that are not among these are forgotten.
    pub(crate) open: BTreeSet<RolloutId>,
    /// Look again then at the latest.
    pub(crate) wake_ms: Option<i64>,
    /// What is wrong and will stay so until somebody does something.
    pub(crate) complaints: Vec<(String, String)>,
    /// Whether instances are being drained, so that the data plane is to be asked often.
    pub(crate) draining: bool,
}

impl Plan {
    pub(super) fn wake(&mut self, at_ms: Option<i64>) {
        self.wake_ms = [self.wake_ms, at_ms].into_iter().flatten().min();
    }

    pub(super) fn verify(&mut self, fleet: &FleetId, rollout: RolloutId) {
        if !self.verify.iter().any(|(known, _)| *known == rollout) {
            self.verify.push((rollout, fleet.clone()));
        }
    }
}

impl Plan {
    /// The metrics of a rollout are to be read.
    pub(super) fn measure(&mut self, rollout: RolloutId, fleet: &FleetId, engine: &Rollout) {
        let known = self.measure.iter().any(|it| it.rollout == rollout);
        if let (Some(spec), false) = (&engine.spec.analysis, known) {
            let old = engine.old.as_ref().map(|old| old.release);
            self.measure.push(Analysed { rollout, fleet: fleet.clone(), old, spec: spec.clone() });
        }
    }

    /// Requests are to be sent to a fleet, and to the one that it is compared with.
    pub(super) fn probe(&mut self, fleet: &FleetId, engine: &Rollout) {
        let Some(spec) = &engine.spec.analysis else { return };
        let compared = match spec.against {
            Against::Limits => None,
            Against::Baseline => engine.baseline.as_ref().or(engine.old.as_ref()),
            Against::Old => engine.old.as_ref(),
        };
        for fleet in [Some(fleet), compared].into_iter().flatten() {
            if !self.probe.iter().any(|(known, _)| known == fleet) {
                self.probe.push((fleet.clone(), spec.clone()));
            }
        }
    }
}

/// Decides, writes the decision down, and tells what to do.
pub(crate) fn round(db: &Connection, seen: &Seen) -> Result<Plan, StateError> {
    let mut world = World::load(db)?;
    let mut plan = Plan::default();
    world.adopt(db, seen, &mut plan)?;
    world.tell_failures(db, seen)?;
    world.leave(db)?;
    // What ends makes room for what waits, and what begins is decided at once.
    world.decide(db, seen, &mut plan)?;
    world.begin(db, seen)?;
    world.decide(db, seen, &mut plan)?;
    world.publish(db, seen, &mut plan)?;
    world.resize(seen, &mut plan);
    world.replace(seen, &mut plan);
    world.drain(seen, &mut plan);
    world.sweep(db, seen, &mut plan)?;
    plan.open = world.rollouts.iter().map(|entry| entry.id).collect();
    Ok(plan)
}

impl World {
    fn tell_failures(&self, db: &Connection, seen: &Seen) -> Result<(), StateError> {
        for (fleet, failure) in &seen.failures {
            let rollout = self.rollouts.iter().find(|entry| entry.fleet == *fleet).map(|entry| entry.id);
            let what = What::InstanceFailed { failure: failure.clone() };
            append(db, fleet, rollout, KILN, failure.at_ms, &what)?;
        }
        Ok(())
    }

    /// Builds the table; when its content changed it gets the next version and is written down before it is handed
    /// over, so that after a crash the same table is handed over again.
    fn publish(&mut self, db: &Connection, seen: &Seen, plan: &mut Plan) -> Result<(), StateError> {
        let inputs: Vec<FleetInput<'_>> = self
            .fleets
            .iter()
            .filter_map(|desired| {
                let stored = self.releases.get(&desired.fleet)?;
                let observed = seen.observation.fleets.get(&desired.fleet);
                let instances = observed.map_or(&[][..], |it| &it.instances);
                Some(FleetInput { desired, stored, instances, leaving: self.leaving(&desired.fleet) })
            })
            .collect();
        // A listener that the data plane refused never stood, whatever the last table asked for.
        let granted = seen.plane.as_ref().map_or(&self.table.listeners, |plane| &plane.table.listeners);
        let last = RouteTable { listeners: granted.clone(), ..self.table.clone() };
        let built = routes::build(&inputs, &seen.peers, &last);
        for conflict in built.conflicts {
            plan.complaints.push(("route requests".into(), conflict.to_string()));
        }
        let mut table = built.table;
        table.version = self.table.version;
        let behind = seen.version > self.table.version;
        if table != self.table || behind {
            table.version = self.table.version.max(seen.version) + 1;
            published::put(db, &table)?;
            self.table = table;
        }
        let in_force = seen.plane.as_ref().map(|plane| plane.table.version);
        if in_force != Some(self.table.version) && self.table.version > 0 {
            plan.table = Some(self.table.clone());
        }
        Ok(())
    }

    /// Whether a fleet's service was told to stop.
    fn leaving(&self, fleet: &FleetId) -> bool {
        let own = |it: &&Pointer| it.environment == fleet.environment && it.service == fleet.service;
        self.pointers.iter().find(own).is_some_and(|pointer| pointer.leaving)
    }

    fn resize(&self, seen: &Seen, plan: &mut Plan) {
        for desired in &self.fleets {
            let Some(stored) = self.releases.get(&desired.fleet) else { continue };
            let known = seen.observation.fleets.get(&desired.fleet).map(|fleet| fleet.size);
            match known {
                None if desired.size > 0 => plan.grow.push((stored.spec(), desired.size)),
                Some(size) if size < desired.size => plan.grow.push((stored.spec(), desired.size)),
                Some(size) if size > desired.size => plan.shrink.push((stored.spec(), desired.size)),
                None | Some(_) => {}
            }
        }
    }
}
