//! Single instances.

use kiln_model::{Digest, FleetId, Span};
use kiln_provider::InstanceObservation;
use kiln_proxy::InFlight;
use serde::{Deserialize, Serialize};

/// All instances.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstancesAnswer {
    /// By fleet and start.
    pub instances: Vec<InstanceStatus>,
}

/// One instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// Fleet it is of.
    pub fleet: FleetId,
    /// Image it runs.
    pub image: Option<Digest>,
    /// As the provider sees it.
    #[serde(flatten)]
    pub observed: InstanceObservation,
    /// Requests under way.
    pub in_flight: InFlight,
    /// Whether the data plane sends it requests.
    pub serving: bool,
}

/// An act on one instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceRequest {
    /// Who asks.
    pub author: String,
    /// Why.
    pub reason: Option<String>,
}

/// A command in one instance; it taints the instance, which is then replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecBody {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Time limit.
    pub timeout: Span,
    /// Who asks.
    pub author: String,
    /// Why.
    pub reason: Option<String>,
}
