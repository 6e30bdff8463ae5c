//! The words of the engine as plain data. All times are milliseconds since the Unix epoch and are passed in.

use std::collections::BTreeMap;

use kiln_model::{FleetId, RolloutSpec};
use serde::{Deserialize, Serialize};

use crate::analysis::{AnalysisState, Reading, Sample};

/// One step of a rollout: what must be so before the next stage begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Size of the new fleet.
    pub new: u32,
    /// Size of the old fleet once the stage is done.
    pub old: u32,
    /// Percent of the traffic that the new fleet takes; the old one has the rest.
    pub weight: u8,
    /// Size of the baseline fleet: as many fresh instances of the old release as there are new ones, with as much
    /// traffic, so that both are compared at the same age and load. 0 where nothing is compared with.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub baseline: u32,
    /// What must hold, in this order, before the next stage.
    pub gates: Vec<Gate>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde calls")]
fn is_zero(size: &u32) -> bool {
    *size == 0
}

impl Stage {
    /// Percent of the traffic that the baseline fleet takes.
    pub fn baseline_weight(&self) -> u8 {
        if self.baseline > 0 { self.weight } else { 0 }
    }

    /// Percent of the traffic that the old fleet takes.
    pub fn old_weight(&self) -> u8 {
        100_u8.saturating_sub(self.weight).saturating_sub(self.baseline_weight())
    }
}

/// What must hold before the next stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Gate {
    /// `new` instances have been ready for `min_healthy`.
    Healthy,
    /// The checks of the image passed against the new fleet.
    Verified,
    /// A person let the new fleet have this stage's share of the traffic.
    Approved,
    /// The data plane confirmed the weights.
    Acknowledged,
    /// So many milliseconds have passed with the gates before still holding.
    Held {
        /// Length.
        millis: u64,
    },
    /// The same, and what was measured meanwhile says that the release is good.
    Analysed {
        /// Length at least.
        millis: u64,
    },
    /// The rollout is done with the old fleet, which waits for so long at full size: going back is instant.
    Delayed {
        /// Length.
        millis: u64,
    },
    /// The surplus of the old fleet was seen to finish its last request (or the drain deadline passed) and is gone.
    Drained,
}

/// A rollout under way or ended: the whole memory of the engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// The fleet that is to serve.
    pub new: FleetId,
    /// The fleet that serves now and is the way back; `None` on a first deploy.
    pub old: Option<FleetId>,
    /// The fleet of the old release that the new one is compared with, where its stages have one.
    #[serde(default)]
    pub baseline: Option<FleetId>,
    /// Instances wanted of the new fleet.
    pub replicas: u32,
    /// Size of the old fleet when the rollout began.
    pub old_size: u32,
    /// The rules.
    pub spec: RolloutSpec,
    /// What is done, in order.
    pub stages: Vec<Stage>,
    /// Where it stands.
    pub state: State,
    /// When it began.
    pub started_ms: i64,
    /// When it last got on.
    pub progress_ms: i64,
    /// A person stopped it where it is; failures still bring the old fleet back.
    #[serde(default)]
    pub paused: Option<Act>,
    /// What it must remember beside its state.
    #[serde(default)]
    pub memory: Memory,
}

/// What a person did to a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
    /// When.
    pub at_ms: i64,
}

/// What a rollout must remember beside its state, so that a decision never depends on what was observed earlier.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// The furthest stage and gate that were reached: only what goes beyond them is progress.
    pub furthest: (usize, usize),
    /// Most instances seen ready at once since then, of the fleet that is waited for.
    pub ready: u32,
    /// What was last wished; a rollout that failed keeps it.
    pub wish: Wish,
    /// On the way back: the data plane has confirmed that the old fleet has all the traffic.
    pub shifted_back: bool,
    /// It has begun its way back: where it stands is no stage any more.
    #[serde(default)]
    pub turned_back: bool,
    /// Instances of the old fleet that were not healthy when the rollout began: a release that comes to cure them is
    /// not blamed for them.
    #[serde(default)]
    pub ill_before: Option<u32>,
    /// What was counted since the analysis of this stage began.
    #[serde(default)]
    pub window: Option<Counted>,
    /// What the analysis of this stage must remember.
    #[serde(default)]
    pub analysis: AnalysisState,
    /// Who let pass what: by stage and gate.
    #[serde(default)]
    pub promotions: Vec<Promotion>,
    /// A person promoted it altogether: nothing is held or asked any more.
    #[serde(default)]
    pub promoted: bool,
    /// Tried again after it had failed: what happened before then counts no more.
    #[serde(default)]
    pub retried: Option<Retried>,
    /// Why it stands, beside the gate that it waits for.
    #[serde(default)]
    pub note: Option<Note>,
    /// It goes back for a reason that says nothing about its content.
    #[serde(default)]
    pub blameless: bool,
}

/// A person let a rollout pass a gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promotion {
    /// The stage, counted from 0.
    pub stage: usize,
    /// The gate, counted from 0.
    pub gate: usize,
    /// Who, when, why.
    pub act: Act,
}

/// From where a retried rollout counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retried {
    /// When.
    pub at_ms: i64,
    /// Starts in a row that had failed by then.
    pub failed_starts: u32,
}

/// Why a rollout stands where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Which kind.
    pub kind: NoteKind,
    /// Told to people.
    pub text: String,
}

/// Kinds of [`Note`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoteKind {
    /// Taking more instances away would leave fewer than must be ready.
    Budget,
    /// A freeze window is open.
    Frozen,
    /// Too many of all the instances are ill.
    Unhealthy,
    /// Too little was measured; synthetic probes are asked for.
    NoData,
    /// What was measured decides nothing: a person must.
    Inconclusive,
}

/// Counters since the analysis of a stage began, also over restarts of the data plane.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counted {
    /// The data plane's start that `start` and `last` belong to.
    pub epoch_ms: i64,
    /// The counters when the window (or this epoch of it) began.
    pub start: BTreeMap<FleetId, Sample>,
    /// The counters when they were last seen.
    pub last: BTreeMap<FleetId, Sample>,
    /// What was counted in epochs before this one.
    pub carried: BTreeMap<FleetId, Sample>,
}

/// Sizes and weights at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// Size of the new fleet.
    pub new: u32,
    /// Size of the old fleet.
    pub old: u32,
    /// Size of the baseline fleet.
    #[serde(default)]
    pub baseline: u32,
    /// Percent by fleet, none of them 0; sums to 100, or is empty for "nothing serves".
    pub weights: BTreeMap<FleetId, u8>,
}

/// Where a rollout stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum State {
    /// In a stage.
    Running {
        /// Index into the stages.
        stage: usize,
        /// Index into the stage's gates: those before it hold.
        gate: usize,
        /// When this gate began to be waited for.
        since_ms: i64,
    },
    /// On the way back to the old fleet: it is at full size and weight first, then the new one drains and goes.
    RollingBack {
        /// Why.
        reason: String,
        /// When the way back began.
        since_ms: i64,
    },
    /// The new fleet serves alone.
    Succeeded {
        /// When.
        at_ms: i64,
    },
    /// The old fleet serves alone again (or, without an old one, nothing does).
    RolledBack {
        /// Why.
        reason: String,
        /// When.
        at_ms: i64,
    },
    /// It failed and `auto_rollback` is off: both fleets stay as they are until a person decides.
    Failed {
        /// Why.
        reason: String,
        /// When.
        at_ms: i64,
    },
}

/// What the engine sees.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// Fleets by identity; one that is missing has no instance.
    pub fleets: BTreeMap<FleetId, FleetView>,
    /// Weights that the data plane has acknowledged; fleets that are missing have 0.
    pub acked_weights: BTreeMap<FleetId, u8>,
    /// The outcome of the checks against the new fleet, once there is one.
    pub checks: Option<Result<(), String>>,
    /// The data plane has not said anything yet, as just after a restart of whoever observes, or a newer table than the
    /// acknowledged one was sent to it and may still come into force: who is ready and which weights are in force is
    /// unknown, not nothing. Only clocks and failed starts are judged on such a view.
    #[serde(default)]
    pub unsure: bool,
    /// What the data plane has counted since `epoch_ms`, by fleet.
    #[serde(default)]
    pub samples: BTreeMap<FleetId, Sample>,
    /// When the data plane that counts was started.
    #[serde(default)]
    pub epoch_ms: i64,
    /// The last reading of each further metric.
    #[serde(default)]
    pub readings: BTreeMap<String, Reading>,
    /// Why no stage may be begun at present, such as a freeze window; going back is always allowed.
    #[serde(default)]
    pub frozen: Option<String>,
}

/// One fleet as the engine sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetView {
    /// For each ready instance that the data plane knows as ready, since when it has been ready.
    pub ready_since_ms: Vec<i64>,
    /// For each instance that has not been ready yet, when it was started.
    pub starting_since_ms: Vec<i64>,
    /// Ready instances that the data plane does not know as ready yet: neither ready here nor starting.
    #[serde(default)]
    pub unannounced: u32,
    /// Instances that were ready and fail now.
    pub unready: u32,
    /// Instances that are draining or stopping.
    pub leaving: u32,
    /// Starts in a row that ended without the instance being ready.
    pub failed_starts: u32,
    /// Requests and upgraded connections under way on the whole fleet.
    pub in_flight: u64,
    /// What the last failure said, with the last lines of its log.
    pub last_failure: Option<String>,
}

/// What the engine wants. Every action is an idempotent "ensure" and carries the whole wish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Action {
    /// The fleet has this size.
    Size {
        /// Which.
        fleet: FleetId,
        /// Instances.
        size: u32,
    },
    /// The service's traffic is shared like this; fleets not named have 0.
    Weights {
        /// Percent by fleet; sums to 100, or is empty for "nothing serves".
        weights: BTreeMap<FleetId, u8>,
    },
    /// The image's checks run against the fleet.
    Verify {
        /// Which.
        fleet: FleetId,
    },
    /// The metrics that the data plane does not know are read.
    Measure {
        /// About which.
        fleet: FleetId,
    },
    /// Synthetic requests are sent to the fleet, because too few others come.
    Probe {
        /// Which.
        fleet: FleetId,
    },
}

/// One decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The rollout afterwards.
    pub rollout: Rollout,
    /// What is to be ensured: the whole wish at this moment, also what was already asked for.
    pub actions: Vec<Action>,
    /// When to decide again at the latest even if nothing is observed to change.
    pub wake_ms: Option<i64>,
}
