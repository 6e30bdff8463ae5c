//! Proves images: judges what their checks, goss files and structure tests expect.
//!
//! Some expectations are of the image alone (files, users, packages, configuration); they are judged by its bytes
//! in the store (`image`). Others are of a running instance (`live`, `inside`). [`prove`] starts one as Kiln would run
//! it, in a home of its own that is gone afterwards, and judges everything; a rollout, which has an instance already,
//! asks it what can be asked over its ports or executed in it ([`run`]).
//!
//! An expectation either holds or says what was expected and what was found; what follows from that is decided
//! elsewhere.

mod connect;
mod finding;
mod foreign;
mod goss;
mod image;
mod inside;
mod junit;
mod live;
mod report;
mod runner;
mod structure;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kiln_model::{Check, InstanceId, Name, Port, SyntheticProbe};
use kiln_provider::{Endpoint, Provider};

pub use connect::{Connector, Direct, Stream};
pub use finding::Finding;
pub use image::{ImageError, ImageView};
pub use report::{CheckReport, CheckResult};
pub use runner::{Host, ProveError, Subject, prove, sweep};

/// A synthetic request may take so long. A page that takes longer than the usual time-outs of those who call it
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
    pub failure: Option<Finding>,
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
) -> Result<(u16, Duration), Finding> {
    live::http::send(probe, target, connector).await
}

/// Whether a check has an expectation that [`run`] can ask of any instance. The others are of the image itself, which
/// never changes, or would disturb the instance: they are [`prove`]d before.
pub fn asks_instance(check: &Check) -> bool {
    check.probes.iter().any(live::asks)
}

/// Asks an instance what a check expects of it over its ports and commands; the first failure counts.
pub async fn run<P: Provider, C: Connector>(
    check: &Check,
    target: &Target<'_>,
    provider: &P,
    connector: &C,
) -> Report {
    let begun = Instant::now();
    let mut failure = None;
    for probe in &check.probes {
        let outcome = live::ask(check, probe, target, provider, connector).await;
        failure = outcome.and_then(Result::err);
        if failure.is_some() {
            break;
        }
    }
    Report { millis: millis(begun.elapsed()), failure }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
