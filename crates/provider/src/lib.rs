//! The provider trait: what Kiln asks of the thing that runs fleets, in plain data.
//!
//! A provider keeps N identical instances of a release alive; it decides neither sizes nor weights. Every call is
//! an idempotent "ensure": repeating it, also after a crash in the middle, changes nothing more. Calls return when
//! the wish is durable, not when it has come true; [`Provider::observe`] tells what is.

mod types;

use std::future::Future;

pub use types::{
    Endpoint, ExecRequest, ExecResult, Failure, FleetObservation, FleetSpec, InstanceObservation,
    Observation, Peer, Phase, ProviderError, RetireReason,
};

use kiln_model::{FleetId, InstanceId, ReleaseContent};

/// Something that runs fleets.
pub trait Provider: Send + Sync + 'static {
    /// Whether what an instance of this release needs from elsewhere (its secrets) is to be had at this moment. Nothing
    /// of it is kept: each instance gets what is there when it starts.
    fn check(&self, release: &ReleaseContent) -> impl Future<Output = Result<(), ProviderError>> + Send {
        let _ = release;
        async { Ok(()) }
    }

    /// Makes the fleet exist with `size` instances. Growing starts instances; shrinking turns surplus ones to
    /// [`Phase::Draining`] (unhealthy first, then failure domain by failure domain in the order of their names, then
    /// youngest) and stops each only after [`Provider::drained`].
    /// A fleet's release never changes: another `spec` for a known fleet is refused.
    fn ensure_fleet(
        &self,
        spec: &FleetSpec,
        size: u32,
    ) -> impl Future<Output = Result<(), ProviderError>> + Send;

    /// Takes one instance out: it turns to [`Phase::Draining`] and, while the fleet's size asks for it, a
    /// replacement is started at once. Unknown or already leaving instances are left as they are.
    fn retire(
        &self,
        instance: &InstanceId,
        reason: RetireReason,
    ) -> impl Future<Output = Result<(), ProviderError>> + Send;

    /// Says that the data plane has stopped sending requests to a draining instance and that the last one has
    /// finished (or the deadline passed): the provider now stops it by signal, grace and kill.
    fn drained(&self, instance: &InstanceId) -> impl Future<Output = Result<(), ProviderError>> + Send;

    /// Forgets a fleet of size 0 that has no instance left, and frees what it held; unknown fleets are fine.
    fn remove_fleet(&self, fleet: &FleetId) -> impl Future<Output = Result<(), ProviderError>> + Send;

    /// What is there now.
    fn observe(&self) -> impl Future<Output = Result<Observation, ProviderError>> + Send;

    /// Waits until something may have changed since the last [`Provider::observe`]. It says "look", never what.
    fn changed(&self) -> impl Future<Output = ()> + Send;

    /// Executes a command in a running instance. The caller is responsible for the taint rule.
    fn exec(
        &self,
        instance: &InstanceId,
        request: &ExecRequest,
    ) -> impl Future<Output = Result<ExecResult, ProviderError>> + Send;
}
