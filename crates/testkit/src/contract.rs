//! What every provider must do, as tests that any provider can be put through.
//!
//! A [`ContractWorld`] knows how to open one provider and how to make releases that behave well, never become
//! healthy, or exit, on that provider. [`run`] gives each case a world of its own. Whatever a case leaves running,
//! the world ends when it is dropped.

mod cases;
mod seen;

use std::future::Future;
use std::time::Duration;

use kiln_model::InstanceId;
use kiln_provider::{FleetSpec, Provider};

/// What the instances of a release do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Become healthy soon and stay so.
    Good,
    /// Live, but never become healthy.
    NeverHealthy,
    /// Exit at once with status 1, printing `last words` first.
    ExitsAtOnce,
}

/// What a provider under test needs from its author.
pub trait ContractWorld: Send + Sync {
    /// The provider under test.
    type Provider: Provider;

    /// Opens the provider. A second call, after the first provider was dropped, finds what that one left.
    fn open(&self) -> impl Future<Output = Self::Provider> + Send;

    /// The fleet of release `number` of one service; equal arguments give equal specs. Different numbers are different fleets,
    /// and different programs under one number are different releases of the same fleet.
    fn fleet(&self, number: u64, program: Program) -> FleetSpec;

    /// Ends the processes of an instance from outside, as by `kill -9`.
    fn kill(&self, provider: &Self::Provider, instance: &InstanceId) -> impl Future<Output = ()> + Send;

    /// Lets a little time pass between two looks. A fake clock moves on here.
    fn pass(&self, _provider: &Self::Provider) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(Duration::from_millis(20))
    }

    /// How long anything may take to come true.
    fn patience(&self) -> Duration {
        Duration::from_secs(90)
    }

    /// A command that exits 0 and prints `hello` and a new line in an instance of [`Program::Good`]; `None` where
    /// the provider has no such ability and must say `Unsupported`.
    fn hello(&self) -> Option<Vec<String>> {
        None
    }

    /// Looks for what the provider should never have seen, at the end of each case.
    ///
    /// # Errors
    /// Tells what it found.
    fn verdict(&self, _provider: &Self::Provider) -> Result<(), String> {
        Ok(())
    }
}

/// Puts a provider through every case, each in a world of its own, and names the case that fails.
///
/// # Panics
/// When the provider breaks the contract.
pub async fn run<W: ContractWorld, F: AsyncFn() -> W>(make: F) {
    cases::all(&make).await;
}
