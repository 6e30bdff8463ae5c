//! Runs an image's checks against a started instance.
//!
//! A check either holds or says what was expected and what was found; whether a release goes on because of it is
//! decided elsewhere. HTTP checks connect where the data plane connects ([`Connector`]); command checks run through
//! [`Provider::exec`].

mod command;
mod connect;
mod failure;
mod web;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kiln_model::{Check, CheckProbe, InstanceId, Name, Port, SyntheticProbe};
use kiln_provider::{Endpoint, Provider};

pub use connect::{Connector, Direct, Stream};
pub use failure::Failure;

/// One check may take so long in all. A page that takes longer than the usual time-outs of those who call it
/// would not be served either.
pub const LIMIT: Duration = Duration::from_secs(10);

/// The instance that is checked.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Which.
    pub instance: &'a InstanceId,
    /// Where its ports are.
    pub endpoints: &'a BTreeMap<Name, Endpoint>,
    /// The ports as the image declares them.
    pub ports: &'a BTreeMap<Name, Port>,
}

/// What came of one check.
#[derive(Debug)]
pub struct Report {
    /// How long it took, milliseconds.
    pub millis: u64,
    /// Why it does not hold; `None` when it does.
    pub failure: Option<Failure>,
}

impl Report {
    /// Whether the check holds.
    pub fn passed(&self) -> bool {
        self.failure.is_none()
    }
}

/// Sends one synthetic request to an instance. Returns the status of the answer and the time to its head.
///
/// # Errors
/// When there was no answer within [`LIMIT`].
pub async fn send<C: Connector>(
    probe: &SyntheticProbe,
    target: &Target<'_>,
    connector: &C,
) -> Result<(u16, Duration), Failure> {
    web::send(probe, target, connector).await
}

/// Runs one check.
pub async fn run<P: Provider, C: Connector>(
    check: &Check,
    target: &Target<'_>,
    provider: &P,
    connector: &C,
) -> Report {
    let begun = Instant::now();
    let outcome = match &check.probe {
        CheckProbe::Http { get, port, status, contains } => {
            let wanted = web::Wanted { path: get, status: *status, contains: contains.as_deref() };
            web::run(&wanted, port.as_ref(), target, connector).await
        }
        CheckProbe::Command { command, exit, contains } => {
            let wanted = command::Wanted { argv: command.argv(), exit: *exit, contains: contains.as_deref() };
            command::run(&wanted, target, provider).await
        }
    };
    let millis = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    Report { millis, failure: outcome.err() }
}
