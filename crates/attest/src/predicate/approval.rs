//! A person said yes to an image in an environment.

use kiln_model::Name;
use serde::{Deserialize, Serialize};

/// One person's yes. Whoever signs it vouches that it was this person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// Where the image may go.
    pub environment: Name,
    /// Who said so.
    pub by: String,
    /// Why, in the person's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When, milliseconds since the epoch.
    pub at_ms: u64,
}
