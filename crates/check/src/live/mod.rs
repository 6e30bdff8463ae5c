//! Expectations that are asked of a running instance from outside: over its ports, or by executing something in it.
//! These need no more than a provider, so a rollout can ask them of an instance anywhere.

pub(crate) mod command;
pub(crate) mod http;
pub(crate) mod tcp;

use std::future::Future;
use std::time::Duration;

use kiln_model::{Check, CheckProbe, Name, Protocol, Span};
use kiln_provider::{Endpoint, Provider};
use tokio::time::Instant;

use crate::finding::Finding;
use crate::{Connector, Target};

/// The first wait between two tries; each is half as long again, up to [`SLOWEST`].
const FIRST: Duration = Duration::from_millis(10);
const SLOWEST: Duration = Duration::from_millis(500);

/// Tries until it holds or the time is over; the last finding counts.
pub(crate) async fn until<T, F>(within: Option<Span>, mut attempt: impl FnMut() -> F) -> Result<T, Finding>
where
    F: Future<Output = Result<T, Finding>>,
{
    let deadline = Instant::now() + within.unwrap_or_default().duration();
    let mut wait = FIRST;
    loop {
        let outcome = attempt().await;
        if outcome.is_ok() || Instant::now() + wait > deadline {
            return outcome;
        }
        tokio::time::sleep(wait).await;
        wait = wait.mul_f64(1.5).min(SLOWEST);
    }
}

/// Whether an expectation can be asked of any instance by these means alone.
pub(crate) fn asks(probe: &CheckProbe) -> bool {
    matches!(probe, CheckProbe::Http(_) | CheckProbe::Tcp(_) | CheckProbe::Command(_))
}

/// Asks; `None` for expectations of other kinds.
pub(crate) async fn ask<P: Provider, C: Connector>(
    check: &Check,
    probe: &CheckProbe,
    target: &Target<'_>,
    provider: &P,
    connector: &C,
) -> Option<Result<(), Finding>> {
    let (within, timeout) = (check.within, check.timeout);
    Some(match probe {
        CheckProbe::Http(wanted) => until(within, || http::run(wanted, target, connector, timeout)).await,
        CheckProbe::Tcp(wanted) => until(within, || tcp::run(wanted, target, connector, timeout)).await,
        CheckProbe::Command(wanted) => {
            until(within, || command::run(wanted, target, provider, timeout)).await
        }
        _ => return None,
    })
}

/// The named port, or the first one that fits.
pub(crate) fn place<'a>(
    what: &str,
    port: Option<&Name>,
    target: &Target<'a>,
    fits: impl Fn(Protocol) -> bool,
) -> Result<(&'a Name, Protocol, &'a Endpoint), Finding> {
    let mut ports = target.ports.iter().filter(|(_, declared)| fits(declared.protocol));
    let found = ports.find(|(name, _)| port.is_none_or(|port| port == *name));
    let missing = || {
        let wanted = port.map_or_else(|| "a port to ask".to_owned(), |port| format!("a port called {port}"));
        let known: Vec<&str> = target.ports.keys().map(Name::as_str).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Finding::new(what, wanted, format!("the image's ports: {known}"))
    };
    let (name, declared) = found.ok_or_else(missing)?;
    let endpoint = target.endpoints.get(name).ok_or_else(missing)?;
    Ok((name, declared.protocol, endpoint))
}

/// The finding of something that took too long.
pub(crate) fn slow(what: &str, limit: Span) -> Finding {
    Finding::new(what, format!("an answer within {limit}"), "none")
}
