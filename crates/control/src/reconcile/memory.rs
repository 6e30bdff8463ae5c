//! What the loop remembers between rounds. None of it is intent: a restart begins with nothing and learns it again.

use std::collections::{BTreeMap, BTreeSet};

use kiln_model::{FleetId, InstanceId};
use kiln_provider::{Failure, Observation, Phase};
use kiln_proxy::{RouteTable, Status};

use super::Seen;
use crate::api::Problem;
use crate::event::RolloutId;
use crate::measure::Measured;
use crate::routes::PeerListen;
use crate::view::DataPlane;

/// First and longest wait before something that failed is tried again.
const FIRST_RETRY_MS: i64 = 250;
const LONGEST_RETRY_MS: i64 = 30_000;

/// What fails when the data plane does not take a table.
pub(super) const ROUTE: &str = "hand the routes to the data plane";

/// What the loop remembers.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// What the provider ran when it was last asked.
    pub(crate) observation: Observation,
    /// The table that the data plane acknowledged last.
    acked: RouteTable,
    /// What the data plane told last; `None` while it does not answer.
    status: Option<Status>,
    /// The highest table version the data plane is known to have had.
    version: u64,
    /// The version that is written down.
    wanted: u64,
    /// The version that the data plane refused last, and how often; nothing was taken since.
    refused: Option<(u64, u32)>,
    /// A table was handed over and nothing came back: it may be in force by now, or be later.
    unanswered: bool,
    pub(super) checks: BTreeMap<RolloutId, Option<Result<(), String>>>,
    draining_since: BTreeMap<InstanceId, i64>,
    /// The time of the last failure told of, by fleet; `None` before the first look.
    told: Option<BTreeMap<FleetId, i64>>,
    untold: Vec<(FleetId, Failure)>,
    problems: BTreeMap<String, Problem>,
    retry_ms: BTreeMap<String, i64>,
    /// Instances in which a person's command runs.
    held: BTreeSet<InstanceId>,
    /// Instances are being drained, so the data plane is asked often.
    pub(super) draining: bool,
    /// A rollout is judged by the data plane's counters.
    pub(super) measuring: bool,
    /// What was measured beside them.
    pub(crate) measured: Measured,
}

impl Memory {
    /// The data plane, when it answers and the table in force is known.
    pub(crate) fn plane(&self) -> Option<DataPlane> {
        let known = |status: &&Status| !self.unanswered && status.version == self.acked.version;
        let status = self.status.as_ref().filter(known)?;
        // A data plane that lost its disk begins at 0: it knows nothing, which is no statement about instances.
        let lost = status.version == 0 && self.wanted > 0;
        (!lost).then(|| DataPlane { table: self.acked.clone(), status: status.clone() })
    }

    /// What the data plane told last.
    pub(crate) fn status(&self) -> Option<&Status> {
        self.status.as_ref()
    }

    /// The version of the table that is wanted.
    pub(crate) fn wanted(&self) -> u64 {
        self.wanted
    }

    /// Takes what the data plane tells. Returns whether the loop is to look.
    pub(super) fn saw(&mut self, status: Option<Status>) -> bool {
        let version = |status: &Option<Status>| status.as_ref().map(|it| (it.version, it.pid));
        let changed = version(&self.status) != version(&status);
        self.version = self.version.max(status.as_ref().map_or(0, |it| it.version));
        if self.status.is_none() && status.is_some() && self.refused.is_none() {
            self.fine(ROUTE);
        }
        self.status = status;
        changed || self.draining || self.measuring
    }

    /// The data plane has acknowledged a table.
    pub(super) fn acknowledged(&mut self, table: RouteTable) {
        self.version = self.version.max(table.version);
        self.refused = None;
        self.unanswered = false;
        self.acked = table;
    }

    /// The data plane has had a table of this version.
    pub(super) fn ahead(&mut self, version: u64) {
        self.version = self.version.max(version);
    }

    /// A table was handed over and nothing came back.
    pub(super) fn unanswered(&mut self) {
        self.unanswered = true;
    }

    /// The data plane has refused a table. Returns how often it has by now.
    pub(super) fn refuses(&mut self, version: u64) -> u32 {
        let times = self.refused.filter(|(last, _)| *last == version).map_or(0, |(_, times)| times) + 1;
        self.refused = Some((version, times));
        self.unanswered = false;
        times
    }

    /// Whether this is the table that was refused last.
    pub(super) fn has_refused(&self, version: u64) -> bool {
        self.refused.is_some_and(|(last, _)| last == version)
    }

    pub(super) fn wants(&mut self, version: u64) {
        self.wanted = self.wanted.max(version);
    }

    /// Takes what the provider tells.
    pub(super) fn observe(&mut self, observation: Observation, now_ms: i64) {
        self.note_failures(&observation);
        self.observation = observation;
        let Some(plane) = self.plane() else { return };
        let mut draining = BTreeMap::new();
        for (id, fleet) in &self.observation.fleets {
            for instance in fleet.instances.iter().filter(|it| it.phase == Phase::Draining) {
                if !plane.serves(id, &instance.id) {
                    let since = self.draining_since.get(&instance.id).copied().unwrap_or(now_ms);
                    draining.insert(instance.id.clone(), since);
                }
            }
        }
        self.draining_since = draining;
    }

    /// Failures from before the first look were told of by an earlier control plane, or have lost their meaning.
    fn note_failures(&mut self, observation: &Observation) {
        let fleets = observation.fleets.iter();
        let last = fleets.filter_map(|(id, fleet)| Some((id, fleet.last_failure.as_ref()?)));
        if let Some(told) = &self.told {
            let new = last.clone().filter(|(id, failure)| told.get(id).is_none_or(|at| *at < failure.at_ms));
            self.untold.extend(new.map(|(id, failure)| (id.clone(), failure.clone())));
        }
        self.told = Some(last.map(|(id, failure)| (id.clone(), failure.at_ms)).collect());
    }

    /// The checks of a rollout are to run again.
    pub(crate) fn check_anew(&mut self, rollout: RolloutId) {
        self.checks.remove(&rollout);
    }

    /// Keeps an instance from being taken out.
    pub(crate) fn hold(&mut self, id: &InstanceId) {
        self.held.insert(id.clone());
    }

    /// Lets it be taken out again.
    pub(crate) fn release(&mut self, id: &InstanceId) {
        self.held.remove(id);
    }

    /// What a round is given.
    pub(super) fn seen(&self, now_ms: i64, peers: PeerListen) -> Seen {
        let outcome = |(id, outcome): (&RolloutId, &Option<_>)| Some((*id, outcome.clone()?));
        Seen {
            now_ms,
            observation: self.observation.clone(),
            plane: self.plane(),
            version: self.version,
            checks: self.checks.iter().filter_map(outcome).collect(),
            draining_since: self.draining_since.clone(),
            failures: self.untold.clone(),
            held: self.held.clone(),
            readings: self.measured.readings(),
            probed: self.measured.probed(),
            peers,
        }
    }

    /// The round's transaction stands: what it told of is told.
    pub(super) fn told(&mut self, open: &BTreeSet<RolloutId>) {
        self.untold.clear();
        self.checks.retain(|id, _| open.contains(id));
        self.measured.keep(open);
    }

    /// Something failed. Returns when to try again: after a quarter of a second, and twice as long each time.
    pub(super) fn trouble(&mut self, what: &str, why: String, now_ms: i64) -> i64 {
        let known = self.problems.entry(what.into()).or_insert_with(|| Problem {
            what: what.into(),
            why: String::new(),
            since_ms: now_ms,
            times: 0,
        });
        known.why = why;
        known.times = known.times.saturating_add(1);
        let wait = FIRST_RETRY_MS << (known.times - 1).min(10);
        let at = now_ms + wait.min(LONGEST_RETRY_MS);
        self.retry_ms.insert(what.into(), at);
        at
    }

    /// Something works again.
    pub(crate) fn fine(&mut self, what: &str) {
        self.problems.remove(what);
        self.retry_ms.remove(what);
    }

    /// When something that failed is to be tried again, if that is still to come.
    pub(super) fn retry(&self, what: &str, now_ms: i64) -> Option<i64> {
        self.retry_ms.get(what).copied().filter(|at| *at > now_ms)
    }

    /// Replaces the complaints, which are problems without a retry.
    pub(super) fn complain(&mut self, complaints: Vec<(String, String)>, now_ms: i64) {
        let retried = &self.retry_ms;
        self.problems
            .retain(|what, _| retried.contains_key(what) || complaints.iter().any(|it| it.0 == *what));
        for (what, why) in complaints {
            let fresh = Problem { what: what.clone(), why: String::new(), since_ms: now_ms, times: 1 };
            self.problems.entry(what).or_insert(fresh).why = why;
        }
    }

    /// What does not work at present.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        self.problems.values().cloned().collect()
    }
}
