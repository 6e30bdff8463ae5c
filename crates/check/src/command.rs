//! Command checks.

use kiln_model::Span;
use kiln_provider::{ExecRequest, Provider};

use crate::failure::{self, Failure};
use crate::{LIMIT, Target};

/// What is executed and expected.
pub(crate) struct Wanted<'a> {
    pub(crate) argv: Vec<String>,
    pub(crate) exit: i32,
    pub(crate) contains: Option<&'a str>,
}

pub(crate) async fn run<P: Provider>(
    wanted: &Wanted<'_>,
    target: &Target<'_>,
    provider: &P,
) -> Result<(), Failure> {
    let command = wanted.argv.join(" ");
    let request = ExecRequest {
        argv: wanted.argv.clone(),
        timeout: Span::from_millis(u64::try_from(LIMIT.as_millis()).unwrap_or(u64::MAX)),
    };
    // The provider kills the command at the limit; a provider that does not answer is given up a little later.
    let done = tokio::time::timeout(LIMIT + LIMIT / 10, provider.exec(target.instance, &request)).await;
    let done = done.map_err(|_| Failure::Slow { what: command.clone() })?;
    let done = done.map_err(|source| Failure::Exec { command: command.clone(), source })?;
    if done.status != wanted.exit {
        let printed = if done.stderr.trim().is_empty() { &done.stdout } else { &done.stderr };
        let (expected, found, output) = (wanted.exit, done.status, failure::end(printed));
        return Err(Failure::Exit { command, expected, found, output });
    }
    match wanted.contains {
        Some(text) if !done.stdout.contains(text) => {
            Err(Failure::Output { command, expected: text.into(), output: failure::end(&done.stdout) })
        }
        _ => Ok(()),
    }
}
