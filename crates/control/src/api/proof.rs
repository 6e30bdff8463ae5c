//! Evidence: what is asked for before something is deployed, and what there is.

use std::collections::BTreeMap;

use kiln_model::{Digest, Name, ReleaseNumber, Requirement};
use serde::{Deserialize, Serialize};

use crate::diff::Difference;

/// What must be proven before a deploy is carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProofRules {
    /// The environment whose current releases are promoted: each image must be the one that serves there.
    pub from: Option<Name>,
    /// Whether images come only by promotion.
    pub protected: bool,
    /// What must be there about each image.
    pub requires: Vec<Requirement>,
    /// Public keys in PEM by the names the spec gives them; the home's own when empty.
    pub keys: BTreeMap<Name, String>,
    /// Why it is deployed without what is missing.
    pub bypass: Option<String>,
}

/// Asks what there is about the images that an environment runs, or would get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProveRequest {
    /// For which environment.
    pub environment: Name,
    /// Which images, by service.
    pub images: BTreeMap<Name, Digest>,
    /// What the environment asks for.
    pub rules: ProofRules,
}

/// What there is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProveAnswer {
    /// By service.
    pub services: Vec<Proven>,
}

/// What is known about the image of one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proven {
    /// The service.
    pub service: Name,
    /// Its image.
    pub image: Digest,
    /// All statements and signatures about the image, also those that do not count.
    pub evidence: Vec<EvidenceStatus>,
    /// What is required and not there.
    pub missing: Vec<Unproven>,
}

/// One statement or signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceStatus {
    /// Digest of its manifest.
    pub digest: Digest,
    /// `built-from`, `tested`, `scanned`, `signed`, `soaked`, `approved`, `sbom`, `other`.
    pub kind: String,
    /// What it says, in a few words.
    pub says: String,
    /// Names of the keys that verify it.
    pub signers: Vec<String>,
    /// When it was made, milliseconds since the Unix epoch.
    pub at_ms: Option<i64>,
    /// Why it does not count.
    pub problem: Option<String>,
}

/// A requirement that is not met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unproven {
    /// Which.
    pub requirement: Requirement,
    /// Why not.
    pub why: String,
    /// The command that would provide it.
    pub command: String,
}

/// Asks how two environments differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompareRequest {
    /// One.
    pub from: Name,
    /// The other.
    pub to: Name,
    /// Only this project.
    #[serde(default)]
    pub project: Option<Name>,
}

/// How two environments differ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompareAnswer {
    /// By service, those that are in either.
    pub services: Vec<Compared>,
}

/// One service in two environments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// The service.
    pub service: Name,
    /// What serves in the one.
    pub from: Option<Serving>,
    /// What serves in the other.
    pub to: Option<Serving>,
    /// Fields that differ, when it serves in both.
    pub differences: Vec<Difference>,
}

/// A release that serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Serving {
    /// Its number there.
    pub release: ReleaseNumber,
    /// Its image.
    pub image: Digest,
    /// Digest of everything else: the service block, the image's configuration, the checks.
    pub config: Digest,
    /// Who deployed it.
    pub author: String,
    /// When it was deployed, milliseconds since the Unix epoch.
    pub created_ms: i64,
}
