//! A release ran for a time, and how that went.

use kiln_model::{Name, ReleaseNumber};
use serde::{Deserialize, Serialize};

/// A time in which a release served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Soak {
    /// Where it ran.
    pub environment: Name,
    /// Which service.
    pub service: Name,
    /// Which release of it.
    pub release: ReleaseNumber,
    /// Since when, milliseconds since the epoch.
    pub from_ms: u64,
    /// Until when, milliseconds since the epoch.
    pub until_ms: u64,
    /// Instances that failed meanwhile, and other troubles that were counted. Only zero counts as soaked.
    pub failures: u64,
}
