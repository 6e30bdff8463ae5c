//! Commands in an instance.

use kiln_model::{CommandCheck, Span};
use kiln_provider::{ExecRequest, Provider};

use super::slow;
use crate::Target;
use crate::finding::{self, Finding, Judge};

pub(crate) async fn run<P: Provider>(
    wanted: &CommandCheck,
    target: &Target<'_>,
    provider: &P,
    limit: Span,
) -> Result<(), Finding> {
    let argv = wanted.command.argv();
    let what = format!("`{}`", argv.join(" "));
    let request = ExecRequest { argv, timeout: limit, user: wanted.user.clone() };
    // The provider kills the command at the limit; a provider that does not answer is given up a little later.
    let patience = limit.duration() + limit.duration() / 10;
    let done = tokio::time::timeout(patience, provider.exec(target.instance, &request)).await;
    let done = done.map_err(|_| slow(&what, limit))?;
    let done = done.map_err(|error| Finding::failed(&what, "to be executed", &error))?;
    let mut judge = Judge::new(what);
    let exits = (done.status == wanted.exit, wanted.exit, done.status);
    judge.that(exits.0, format_args!("exit status {}", exits.1), format_args!("exit status {}", exits.2));
    judge.text("standard output", &wanted.stdout, &done.stdout);
    judge.text("standard error", &wanted.stderr, &done.stderr);
    let printed = if done.stderr.trim().is_empty() { &done.stdout } else { &done.stderr };
    judge.output(finding::end(printed));
    judge.verdict()
}
