//! Releases: what is deployed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Digest, FleetId, ImageConfig, Name, ReleaseNumber, Service};

/// The immutable content of a release: which bytes run, and with which configuration. Two releases with equal
/// content have equal [`content digests`](ReleaseContent), whatever their numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseContent {
    /// The project the service is of.
    pub project: Name,
    /// The service block as it was evaluated.
    pub service: Service,
    /// Digest of the image's manifest.
    pub image: Digest,
    /// The image's own configuration, as its manifest carries it.
    pub config: ImageConfig,
    /// Checks of the image that a new fleet must pass before it gets traffic.
    pub checks: Vec<crate::Check>,
}

/// One numbered release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Release {
    /// Environment the release is numbered in.
    pub environment: Name,
    /// The number.
    pub number: ReleaseNumber,
    /// SHA-256 of the content's canonical JSON.
    pub digest: Digest,
    /// What it runs.
    pub content: ReleaseContent,
    /// When it was made, milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// Who asked for it.
    pub author: String,
    /// Why, such as a message or the commit of the spec.
    pub reason: Option<String>,
}

impl Release {
    /// The fleet that runs this release.
    pub fn fleet(&self) -> FleetId {
        FleetId {
            environment: self.environment.clone(),
            service: self.content.service.name.clone(),
            release: self.number,
        }
    }
}
