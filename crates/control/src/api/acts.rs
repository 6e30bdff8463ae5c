//! What is asked to be done: deploy, plan, rollback, abort, down, lift.

use kiln_model::{Digest, Freeze, Name, ReleaseContent, ReleaseNumber, RolloutSpec};
use kiln_rollout::Stage;
use serde::{Deserialize, Serialize};

use super::{ProofRules, UnderWay};
use crate::diff::Difference;
use crate::event::RolloutId;

/// Deploys releases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeployRequest {
    /// Where.
    pub environment: Name,
    /// What, in the order of `depends_on`. Certificate and key paths are absolute.
    pub releases: Vec<ReleaseContent>,
    /// Who asks.
    pub author: String,
    /// Why.
    pub reason: Option<String>,
    /// Also deploy what is in quarantine, which lifts it.
    #[serde(default)]
    pub force: bool,
    /// When the environment is not deployed to.
    #[serde(default)]
    pub freezes: Vec<Freeze>,
    /// Why it is deployed all the same during a freeze.
    #[serde(default)]
    pub emergency: Option<String>,
    /// What must be proven about the images.
    #[serde(default)]
    pub proof: ProofRules,
}

/// What a deploy set off. It is durable; follow the events after `after` to see it happen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeployAnswer {
    /// By service, in the order of the request.
    pub services: Vec<Deployed>,
    /// The last event before the deploy.
    pub after: i64,
}

/// What a deploy set off for one service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deployed {
    /// The service.
    pub service: Name,
    /// The release that will serve.
    pub release: ReleaseNumber,
    /// What happens.
    pub outcome: Outcome,
    /// The rollout to follow, where there is one.
    pub rollout: Option<RolloutId>,
    /// The rollout that this one takes the place of.
    #[serde(default)]
    pub supersedes: Option<UnderWay>,
}

/// What a deploy does to one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Outcome {
    /// A new release, brought by a rollout.
    Started,
    /// The same content serves, or is on its way, already.
    Unchanged,
    /// The same content with another number of instances.
    Resized {
        /// Before.
        from: u32,
        /// After.
        to: u32,
    },
    /// The content is what serves now; the rollout away from it is aborted.
    Returning,
}

/// Asks what a deploy would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanRequest {
    /// Where.
    pub environment: Name,
    /// What, as in [`DeployRequest`].
    pub releases: Vec<ReleaseContent>,
    /// When the environment is not deployed to.
    #[serde(default)]
    pub freezes: Vec<Freeze>,
}

/// What a deploy would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanAnswer {
    /// By service, in the order of the request.
    pub services: Vec<Planned>,
    /// The freeze that is on, or else the one that begins next.
    #[serde(default)]
    pub freeze: Option<FreezeStatus>,
}

/// A freeze that is on, or the next one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreezeStatus {
    /// Its name in the spec.
    pub name: String,
    /// Whether it is on: a deploy is refused then, unless it is an emergency.
    pub active: bool,
    /// When it ends, or begins; milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// The same on the clocks of its own time zone.
    pub at: String,
}

/// What a deploy would do to one service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// The service.
    pub service: Name,
    /// The release that serves now.
    pub current: Option<ReleaseNumber>,
    /// The release that would serve.
    pub release: ReleaseNumber,
    /// What would happen.
    pub outcome: Outcome,
    /// The rules of the rollout, where there would be one.
    #[serde(default)]
    pub rollout: Option<RolloutSpec>,
    /// The stages that would be gone through.
    pub stages: Vec<Stage>,
    /// Against the release that serves now.
    pub differences: Vec<Difference>,
    /// The release of a rollout under way that would be replaced.
    pub replaces: Option<ReleaseNumber>,
    /// The same rollout, and whose it is.
    #[serde(default)]
    pub supersedes: Option<UnderWay>,
    /// Why a deploy would be refused.
    pub quarantined: Option<String>,
}

/// Goes back to an older release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollbackRequest {
    /// Where.
    pub environment: Name,
    /// Of which service.
    pub service: Name,
    /// To which release; `None`: the one before, or the one that still serves when a rollout is under way.
    pub release: Option<ReleaseNumber>,
    /// Who asks.
    pub author: String,
    /// Why.
    pub reason: Option<String>,
}

/// What a rollback set off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollbackAnswer {
    /// The release it leaves.
    pub from: Option<ReleaseNumber>,
    /// The release it brings back; `None` when the first rollout ever is taken back and nothing is to serve.
    pub to: Option<ReleaseNumber>,
    /// The rollout to follow.
    pub rollout: RolloutId,
    /// The last event before.
    pub after: i64,
}

/// Gives up the rollout that is under way and goes back to the release that was there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbortRequest {
    /// Where.
    pub environment: Name,
    /// Of which service.
    pub service: Name,
    /// Who asks.
    pub author: String,
    /// Why.
    pub reason: Option<String>,
}

/// The rollout that is given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbortAnswer {
    /// The rollout to follow.
    pub rollout: RolloutId,
    /// The release it was to bring.
    pub release: ReleaseNumber,
    /// The last event before.
    pub after: i64,
}

/// Stops services: drains and stops every instance. Volumes, releases and history stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownRequest {
    /// Where; `None` is everywhere.
    pub environment: Option<Name>,
    /// Only services of this project.
    pub project: Option<Name>,
    /// Only this service.
    pub service: Option<Name>,
    /// Who asks.
    pub author: String,
    /// Why.
    pub reason: Option<String>,
}

/// What `down` set off; each service's `gone` event tells its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownAnswer {
    /// Services that are stopping, as environment and name.
    pub services: Vec<(Name, Name)>,
    /// The last event before.
    pub after: i64,
}

/// Lifts quarantines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiftRequest {
    /// Where.
    pub environment: Name,
    /// Of which service.
    pub service: Name,
    /// Only the content of this release.
    pub release: Option<ReleaseNumber>,
    /// Who asks.
    pub author: String,
}

/// The quarantines that were lifted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiftAnswer {
    /// Digests of contents.
    pub lifted: Vec<Digest>,
}
