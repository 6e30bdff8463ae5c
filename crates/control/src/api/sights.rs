//! What is shown: status, history, events, references.

use std::net::SocketAddr;

use kiln_model::{Digest, FleetId, Name, ReleaseNumber};
use kiln_provider::Failure;
use kiln_proxy::FleetMetrics;
use kiln_rollout::{Act, Gate, Note, Promotion, Stage, Summary};
use serde::{Deserialize, Serialize};

use super::{RegistryPlace, VersionAnswer};
use crate::event::{Event, Progress, Purpose, RolloutId};

/// Everything at a glance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusAnswer {
    /// The control plane itself.
    pub serve: VersionAnswer,
    /// The data plane.
    pub proxy: ProxyStatus,
    /// The registry, where one runs with the control plane.
    #[serde(default)]
    pub registry: Option<RegistryPlace>,
    /// Services by environment and name.
    pub services: Vec<ServiceStatus>,
    /// What does not work at present and is being tried again.
    pub problems: Vec<Problem>,
    /// What is weaker on this machine than it could be.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// The last event.
    pub last_event: i64,
}

/// The data plane at a glance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProxyStatus {
    /// Process id; `None` while it does not answer.
    pub pid: Option<u32>,
    /// Version of the route table in force.
    pub version: u64,
    /// Version that is wanted.
    pub wanted: u64,
    /// Addresses listened on.
    pub listening: Vec<SocketAddr>,
}

/// Something that does not work at present.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What was tried: `start fleet dev/web/7`.
    pub what: String,
    /// Why it failed, with causes.
    pub why: String,
    /// Since when, milliseconds since the Unix epoch.
    pub since_ms: i64,
    /// How often in a row.
    pub times: u32,
}

/// One service at a glance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Environment.
    pub environment: Name,
    /// Name.
    pub service: Name,
    /// Project it is of.
    pub project: Name,
    /// Release that serves; `None` before the first success and after `down`.
    pub current: Option<ReleaseNumber>,
    /// Release that served before.
    pub previous: Option<ReleaseNumber>,
    /// Image of the current release.
    pub image: Option<Digest>,
    /// Instances wanted.
    pub replicas: u32,
    /// Instances healthy, over all fleets.
    pub ready: u32,
    /// Where it can be reached: `http://127.0.0.1:8080/`.
    pub urls: Vec<String>,
    /// The rollout under way or waiting.
    pub rollout: Option<RolloutStatus>,
    /// Fleets, oldest first.
    pub fleets: Vec<FleetStatus>,
    /// Contents that are not deployed again.
    pub quarantined: Vec<QuarantineStatus>,
}

/// One fleet at a glance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FleetStatus {
    /// Which.
    pub id: FleetId,
    /// Image.
    pub image: Digest,
    /// Instances wanted.
    pub size: u32,
    /// Percent of the traffic that is wanted.
    pub weight: u8,
    /// Percent of the traffic that the data plane acknowledged.
    pub acknowledged: u8,
    /// Instances by where they stand.
    pub counts: crate::event::Counts,
    /// Starts in a row that did not become healthy.
    pub failed_starts: u32,
    /// What the last failure said.
    pub last_failure: Option<Failure>,
    /// Counters since the data plane started.
    pub metrics: Option<FleetMetrics>,
}

/// One rollout at a glance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RolloutStatus {
    /// Its number.
    pub id: RolloutId,
    /// Why it is made.
    pub purpose: Purpose,
    /// Where it stands.
    pub status: crate::state::RolloutState,
    /// The release it brings.
    pub release: ReleaseNumber,
    /// The release it leaves.
    pub old: Option<ReleaseNumber>,
    /// Stage it is in, counted from 1; 0 before the first and on the way back.
    pub stage: usize,
    /// All its stages.
    pub stages: Vec<Stage>,
    /// The gate it waits for.
    pub gate: Option<Gate>,
    /// Why it goes back or failed.
    pub reason: Option<String>,
    /// What is seen of its fleets.
    pub progress: Option<Progress>,
    /// Who asked for it.
    pub author: String,
    /// When it was asked for.
    pub created_ms: i64,
    /// When it ended.
    pub ended_ms: Option<i64>,
    /// Where it stands, once it has begun.
    #[serde(default)]
    pub summary: Option<Summary>,
    /// Who stopped it where it is.
    #[serde(default)]
    pub paused: Option<Act>,
    /// Why it stands, beside the gate that it waits for.
    #[serde(default)]
    pub note: Option<Note>,
    /// Who may approve it, while it waits for that; empty is anyone.
    #[serde(default)]
    pub approvers: Option<Vec<String>>,
    /// Who let it pass which gates.
    #[serde(default)]
    pub promotions: Vec<Promotion>,
    /// Why it passes freezes.
    #[serde(default)]
    pub emergency: Option<String>,
}

/// One quarantine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineStatus {
    /// Digest of the content.
    pub digest: Digest,
    /// The release that failed.
    pub release: ReleaseNumber,
    /// Why.
    pub reason: String,
    /// Since when.
    pub at_ms: i64,
}

/// Releases with what became of them, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryAnswer {
    /// The releases.
    pub releases: Vec<HistoryEntry>,
}

/// One release with what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// Environment.
    pub environment: Name,
    /// Service.
    pub service: Name,
    /// Number.
    pub release: ReleaseNumber,
    /// Image.
    pub image: Digest,
    /// Digest of the content.
    pub digest: Digest,
    /// Who asked for it.
    pub author: String,
    /// Why.
    pub reason: Option<String>,
    /// When it was made.
    pub created_ms: i64,
    /// Whether it serves now.
    pub current: bool,
    /// Whether its content is in quarantine.
    pub quarantined: bool,
    /// Rollouts that were to bring it, oldest first.
    pub rollouts: Vec<RolloutStatus>,
    /// What people did about it since it was made, oldest first.
    #[serde(default)]
    pub acts: Vec<Event>,
}

/// Which events to read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsQuery {
    /// Only those with a greater id.
    #[serde(default)]
    pub after: i64,
    /// Go on with what happens from now on.
    #[serde(default)]
    pub follow: bool,
    /// Only of this environment.
    pub environment: Option<Name>,
    /// Only of this service.
    pub service: Option<Name>,
}

/// Which releases to tell of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryQuery {
    /// Only of this environment.
    pub environment: Option<Name>,
    /// Only of this service.
    pub service: Option<Name>,
    /// At most so many; default 50.
    pub limit: Option<u32>,
}

/// Images that must not be removed from the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferencesAnswer {
    /// Images of what runs, is current, is on its way or could be rolled back to.
    pub images: Vec<Digest>,
}
