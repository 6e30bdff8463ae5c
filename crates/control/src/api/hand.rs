//! What a person does to a rollout: pause, resume, promote, retry.

use kiln_model::{Name, ReleaseNumber};
use serde::{Deserialize, Serialize};

use crate::event::RolloutId;

/// Stops the rollout that is under way where it is, or lets a stopped one go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandRequest {
    /// Where.
    pub environment: Name,
    /// Of which service.
    pub service: Name,
    /// Who asks.
    pub author: String,
    /// Why.
    pub reason: Option<String>,
}

/// Lets the rollout that is under way pass the gate that it waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromoteRequest {
    /// Where.
    pub environment: Name,
    /// Of which service.
    pub service: Name,
    /// Who asks.
    pub author: String,
    /// Why.
    pub reason: Option<String>,
    /// Also every gate to come that waits for time, measurements or a person.
    #[serde(default)]
    pub all: bool,
    /// Why it goes on during a freeze.
    #[serde(default)]
    pub emergency: Option<String>,
}

/// Tries the service's last rollout again, which failed or was rolled back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryRequest {
    /// Where.
    pub environment: Name,
    /// Of which service.
    pub service: Name,
    /// Who asks.
    pub author: String,
    /// Why.
    pub reason: Option<String>,
    /// Why it is tried all the same during a freeze.
    #[serde(default)]
    pub emergency: Option<String>,
}

/// The rollout that was acted on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandAnswer {
    /// The rollout to follow.
    pub rollout: RolloutId,
    /// The release that it brings.
    pub release: ReleaseNumber,
    /// Where it stands now, in a sentence.
    pub sentence: String,
    /// The last event before.
    pub after: i64,
}

/// A rollout that is under way, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnderWay {
    /// Its number.
    pub rollout: RolloutId,
    /// The release that it brings.
    pub release: ReleaseNumber,
    /// Who began it.
    pub author: String,
    /// Since when, milliseconds since the Unix epoch.
    pub since_ms: i64,
}
