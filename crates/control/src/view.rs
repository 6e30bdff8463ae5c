//! What the rollout engine is shown: the provider's observation joined with what the data plane acknowledged.

use std::collections::BTreeMap;

use kiln_model::{FleetId, InstanceId, Name};
use kiln_provider::{Failure, FleetObservation, InstanceObservation, Phase};
use kiln_proxy::{RouteTable, Status};
use kiln_rollout::analysis::Sample;
use kiln_rollout::{FleetView, Rollout, View};

use crate::event::{Counts, Progress};

/// Last lines of an instance's log that go into a reason.
const TAIL: usize = 10;

/// The data plane as it was last seen: the table in force and what it tells of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct DataPlane {
    /// The table whose version the status names.
    pub(crate) table: RouteTable,
    /// Its status under that table.
    pub(crate) status: Status,
}

impl DataPlane {
    /// Whether the instance takes new requests under the table in force.
    pub(crate) fn serves(&self, fleet: &FleetId, instance: &InstanceId) -> bool {
        let listed = self.fleets(fleet).flat_map(|it| &it.instances);
        listed.into_iter().any(|it| it.id == *instance)
    }

    /// Acknowledged weights of a service, without zeros.
    pub(crate) fn weights(&self, environment: &Name, service: &Name) -> BTreeMap<FleetId, u8> {
        let own = |id: &FleetId| id.environment == *environment && id.service == *service;
        let fleets = self.table.backends.values().flat_map(|backend| &backend.fleets);
        let weighty = fleets.filter(|fleet| fleet.weight > 0 && own(&fleet.id));
        weighty.map(|fleet| (fleet.id.clone(), fleet.weight)).collect()
    }

    fn fleets<'a>(&'a self, id: &'a FleetId) -> impl Iterator<Item = &'a kiln_proxy::Fleet> {
        self.table.backends.values().flat_map(|backend| &backend.fleets).filter(move |fleet| fleet.id == *id)
    }
}

/// One fleet as the engine sees it. With a data plane, only instances that it knows as ready count as ready; without
/// one (a service without ports, or a data plane that does not answer) the provider's word goes.
fn fleet(id: &FleetId, seen: &FleetObservation, plane: Option<&DataPlane>, since_ms: i64) -> FleetView {
    let mut view = FleetView {
        failed_starts: seen.failed_starts,
        last_failure: last_failure(seen).map(told),
        ..FleetView::default()
    };
    for instance in &seen.instances {
        match instance.phase {
            Phase::Ready => match instance.ready_since_ms {
                Some(since) if plane.is_none_or(|plane| plane.serves(id, &instance.id)) => {
                    view.ready_since_ms.push(since);
                }
                // Healthy, and the next table will say so: not the instance's fault.
                _ => view.unannounced += 1,
            },
            // One that waits for its back-off may not have a time of its own yet.
            Phase::Pending | Phase::Starting => {
                view.starting_since_ms.push(instance.started_ms.max(since_ms));
            }
            Phase::Unready => view.unready += 1,
            Phase::Draining | Phase::Stopping => view.leaving += 1,
            Phase::Exited => {}
        }
        let work =
            plane.and_then(|plane| plane.status.in_flight.get(&instance.id)).copied().unwrap_or_default();
        view.in_flight += work.requests + work.upgraded;
    }
    view
}

/// What went wrong last: an instance that ended, or one that lives and fails its probe.
fn last_failure(seen: &FleetObservation) -> Option<&Failure> {
    let living = seen.instances.iter().filter_map(|instance| instance.failure.as_ref());
    living.chain(&seen.last_failure).max_by_key(|failure| failure.at_ms)
}

/// What the data plane and Kiln's own requests have counted, by fleet.
pub(crate) fn samples(
    plane: Option<&DataPlane>,
    probed: &BTreeMap<FleetId, Sample>,
) -> BTreeMap<FleetId, Sample> {
    let counted = plane.map(|plane| &plane.status.fleets).into_iter().flatten();
    let mut samples: BTreeMap<FleetId, Sample> = counted
        .map(|(id, it)| {
            let latency = it.latency.clone();
            (id.clone(), Sample { requests: it.requests, failed: it.failed, latency })
        })
        .collect();
    for (id, own) in probed {
        let sample = samples.entry(id.clone()).or_default();
        *sample = sample.plus(own);
    }
    samples
}

/// What the engine is shown of a rollout.
pub(crate) fn build(
    rollout: &Rollout,
    fleets: &BTreeMap<FleetId, FleetObservation>,
    plane: Option<&DataPlane>,
    acked_weights: BTreeMap<FleetId, u8>,
    checks: Option<Result<(), String>>,
) -> View {
    let ids = [Some(&rollout.new), rollout.old.as_ref(), rollout.baseline.as_ref()].into_iter().flatten();
    let nothing = FleetObservation::default();
    let shown = ids.map(|id| {
        let seen = fleets.get(id).unwrap_or(&nothing);
        (id.clone(), fleet(id, seen, plane, rollout.started_ms))
    });
    View { fleets: shown.collect(), acked_weights, checks, ..View::default() }
}

/// What people are shown of a rollout.
pub(crate) fn progress(
    rollout: &Rollout,
    fleets: &BTreeMap<FleetId, FleetObservation>,
    view: &View,
) -> Progress {
    let of = |id: &FleetId| fleets.get(id).map(|fleet| counts(&fleet.instances)).unwrap_or_default();
    Progress {
        wanted: rollout.replicas,
        new: of(&rollout.new),
        old: rollout.old.as_ref().map(of).unwrap_or_default(),
        weight: view.acked_weights.get(&rollout.new).copied().unwrap_or(0),
    }
}

/// Instances by where they stand.
pub(crate) fn counts(instances: &[InstanceObservation]) -> Counts {
    let mut counts = Counts::default();
    for instance in instances {
        match instance.phase {
            Phase::Pending | Phase::Starting => counts.starting += 1,
            Phase::Ready => counts.ready += 1,
            Phase::Unready => counts.unready += 1,
            Phase::Draining | Phase::Stopping => counts.leaving += 1,
            Phase::Exited => {}
        }
    }
    counts
}

/// A failure with the last lines of the instance's log.
pub(crate) fn told(failure: &Failure) -> String {
    let skip = failure.log_tail.len().saturating_sub(TAIL);
    let lines: Vec<&str> = failure.log_tail[skip..].iter().map(String::as_str).collect();
    if lines.is_empty() {
        return failure.what.clone();
    }
    format!("{}; it printed last:\n  {}", failure.what, lines.join("\n  "))
}
