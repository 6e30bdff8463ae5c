//! Events: what happened, to whom, when, by whom and why. They are appended in the same transaction as the
//! decision they tell of, feed live progress and the history, and are never changed afterwards.

use kiln_model::{Digest, InstanceId, Name, ReleaseNumber, Requirement};
use kiln_provider::{Failure, RetireReason};
use kiln_rollout::{Gate, Note, Stage};
use serde::{Deserialize, Serialize};

use crate::diff::Difference;

/// The number of a rollout, unique within one home.
pub type RolloutId = i64;

/// Who the control plane names as the author of its own acts.
pub const KILN: &str = "kiln";

/// One event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Grows by at least one with every event.
    pub id: i64,
    /// When, milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// Environment it is about.
    pub environment: Name,
    /// Service it is about.
    pub service: Name,
    /// Release it is about.
    pub release: Option<ReleaseNumber>,
    /// Rollout it is a part of.
    pub rollout: Option<RolloutId>,
    /// Who did it: a person, or `kiln`.
    pub who: String,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum What {
    /// A release was recorded.
    Released {
        /// Image it runs.
        image: Digest,
        /// Digest of its content.
        digest: Digest,
        /// Why, as its author says.
        reason: Option<String>,
        /// Against the release that was current.
        differences: Vec<Difference>,
    },
    /// The wanted number of instances changed, and nothing else.
    Resized {
        /// Before.
        from: u32,
        /// After.
        to: u32,
    },
    /// A rollout cannot begin yet.
    Waiting {
        /// Services whose rollouts come first; empty when the service's own last rollout is still ending.
        after: Vec<Name>,
    },
    /// A rollout began.
    Started {
        /// Deploy or rollback.
        purpose: Purpose,
        /// Release that serves and is the way back.
        old: Option<ReleaseNumber>,
        /// Instances wanted of the new one.
        replicas: u32,
        /// All the stages that will be gone through.
        stages: Vec<Stage>,
    },
    /// A stage was entered.
    Stage {
        /// Counted from 1.
        stage: usize,
        /// How many there are.
        stages: usize,
        /// Size of the new fleet in it.
        new: u32,
        /// Size of the old fleet in it.
        old: u32,
        /// Percent of the traffic on the new fleet in it.
        weight: u8,
    },
    /// A gate is being waited for.
    Gate {
        /// Stage, counted from 1.
        stage: usize,
        /// How many stages there are.
        stages: usize,
        /// The gate.
        gate: Gate,
    },
    /// What holds a rollout up beside its gate changed; `None`: nothing does any more.
    Noted {
        /// What.
        note: Option<Note>,
    },
    /// A person stopped the rollout where it is.
    Paused {
        /// Why.
        reason: Option<String>,
    },
    /// A person let it go on.
    Resumed {
        /// Why.
        reason: Option<String>,
    },
    /// A person let it pass a gate.
    Promoted {
        /// Stage, counted from 1.
        stage: usize,
        /// The gate that it waited for.
        gate: Option<Gate>,
        /// Every gate to come too.
        all: bool,
        /// Why.
        reason: Option<String>,
    },
    /// A person had it tried again after it had failed.
    Retried {
        /// The rollout that was rolled back or given up; `None` when the same one goes on.
        instead: Option<RolloutId>,
        /// Why.
        reason: Option<String>,
    },
    /// A person had it go on whatever is frozen.
    Emergency {
        /// The freeze that was on; `None` when none was.
        freeze: Option<String>,
        /// Why.
        reason: String,
    },
    /// What its environment requires was there.
    Proven {
        /// The environment that it was promoted from.
        from: Option<Name>,
        /// What was required.
        requires: Vec<Requirement>,
        /// Digests of the statements and signatures that proved it.
        evidence: Vec<Digest>,
    },
    /// A person had it deployed without what its environment requires.
    Bypassed {
        /// What was missing.
        missing: Vec<String>,
        /// Why.
        reason: String,
    },
    /// What is seen of the fleets changed.
    Progress(Progress),
    /// A check of the image was run against an instance of the new fleet.
    Checked {
        /// Its name.
        check: String,
        /// Whether it passed.
        passed: bool,
        /// How long it took.
        millis: u64,
        /// What was expected and found, when it failed.
        detail: Option<String>,
    },
    /// The new release serves alone.
    Succeeded {
        /// From the start of the rollout.
        millis: i64,
    },
    /// The way back began.
    RollingBack {
        /// Why.
        reason: String,
    },
    /// The old release serves alone again.
    RolledBack {
        /// Why.
        reason: String,
        /// The release that serves, if any.
        to: Option<ReleaseNumber>,
        /// From the start of the rollout.
        millis: i64,
    },
    /// The rollout failed and waits for a person, because automatic rollback is off.
    Failed {
        /// Why.
        reason: String,
        /// From the start of the rollout.
        millis: i64,
    },
    /// A rollout was given up before it began, or with everything else at `down`.
    Cancelled {
        /// Why.
        reason: String,
    },
    /// A release's content is not deployed again until it changes or a person lifts this.
    Quarantined {
        /// Digest of the content.
        digest: Digest,
        /// Why.
        reason: String,
    },
    /// A person lifted a quarantine.
    Lifted {
        /// Digest of the content.
        digest: Digest,
    },
    /// An instance died or failed.
    InstanceFailed {
        /// What it said.
        failure: Failure,
    },
    /// An instance was taken out; a replacement starts.
    Retired {
        /// Which.
        instance: InstanceId,
        /// Why.
        reason: RetireReason,
    },
    /// A person executed something in an instance.
    Executed {
        /// Which.
        instance: InstanceId,
        /// The command.
        argv: Vec<String>,
    },
    /// An instance no longer counts as equal to its release and will be replaced.
    Tainted {
        /// Which.
        instance: InstanceId,
        /// Why.
        reason: String,
    },
    /// The data plane refused the routes.
    RoutesRefused {
        /// What it said.
        error: String,
    },
    /// The service is to stop.
    Down {
        /// Why.
        reason: Option<String>,
    },
    /// The last instance of the service is gone.
    Gone,
}

/// Why a rollout is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// To bring a new release.
    Deploy,
    /// To bring an older release back: straight, without holds, and without quarantine when it fails.
    Rollback,
}

/// What is seen of a rollout's fleets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Instances wanted of the new fleet.
    pub wanted: u32,
    /// The new fleet.
    pub new: Counts,
    /// The old fleet.
    pub old: Counts,
    /// Percent of the traffic on the new fleet, as the data plane acknowledged it.
    pub weight: u8,
}

/// Instances of one fleet by where they stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Healthy.
    pub ready: u32,
    /// Not healthy yet, also those that wait to be started.
    pub starting: u32,
    /// Healthy once, now not.
    pub unready: u32,
    /// Draining or stopping.
    pub leaving: u32,
}

impl What {
    /// Whether a person did it to a release that was there already.
    pub fn is_act(&self) -> bool {
        matches!(
            self,
            Self::Paused { .. }
                | Self::Resumed { .. }
                | Self::Promoted { .. }
                | Self::Retried { .. }
                | Self::Emergency { .. }
                | Self::Bypassed { .. }
                | Self::RollingBack { .. }
                | Self::Lifted { .. }
                | Self::Resized { .. }
                | Self::Executed { .. }
                | Self::Tainted { .. }
                | Self::Down { .. }
        )
    }

    /// Whether the rollout that this event belongs to has ended with it.
    pub fn ends_rollout(&self) -> bool {
        matches!(
            self,
            Self::Succeeded { .. } | Self::RolledBack { .. } | Self::Failed { .. } | Self::Cancelled { .. }
        )
    }
}
