//! Versions, the end, and errors.

use serde::{Deserialize, Serialize};

/// Grows when the requests or answers change in a way that an older client or server does not understand.
pub const API_VERSION: u32 = 1;

/// Which program answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionAnswer {
    /// Kiln's version.
    pub version: String,
    /// [`API_VERSION`] of the server.
    pub api: u32,
    /// Its process id.
    pub pid: u32,
}

/// Ends the control plane. Instances go on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShutdownRequest {
    /// End the data plane too: nothing is reachable until the next start.
    #[serde(default)]
    pub stop_proxy: bool,
}

/// Why a request failed, told to people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// Which family of failures.
    pub kind: ErrorKind,
    /// Object and act.
    pub message: String,
    /// Causes, outermost first.
    pub causes: Vec<String>,
    /// What to do next.
    pub hint: Option<String>,
}

/// Families of failures; each has its exit code in the CLI and its HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// The request makes no sense (400).
    Invalid,
    /// No such service, release, rollout or instance (404).
    NotFound,
    /// It would contradict what is there (409).
    Conflict,
    /// The content is in quarantine (409).
    Quarantined,
    /// What the environment requires is not proven (409).
    Unproven,
    /// The provider, the data plane or the control plane does not answer (503).
    Unavailable,
    /// Client and server do not understand each other (400).
    VersionMismatch,
    /// The state database is damaged or cannot be used (500).
    State,
    /// Anything else (500).
    Internal,
}
