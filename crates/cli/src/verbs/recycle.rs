//! `kiln recycle`: fresh instances of the same release, which get the secrets of now.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use kiln_control::api::{HandRequest, InstanceRequest, InstanceStatus};
use kiln_model::{InstanceId, Span};
use kiln_provider::Phase;
use serde::Serialize;

use crate::args::RolloutArgs;
use crate::context::Context;
use crate::control::Control;
use crate::error::{Failure, Kind, Result};

/// The control plane tells of instances as often as it is asked; it has nothing that could be waited on for them.
const POLL: Duration = Duration::from_millis(100);

/// Arguments of `kiln recycle`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    of: RolloutArgs,
    /// How long to wait for the last one; what was begun goes on after it
    #[arg(long, default_value = "10m")]
    timeout: Span,
    /// Do not wait
    #[arg(short, long)]
    detach: bool,
}

#[derive(Serialize)]
struct Recycled {
    replaced: Vec<InstanceId>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let control = Control::connect()?;
    let request = args.of.request(&control)?;
    let old: Vec<InstanceId> = here(&control, &request)?
        .into_iter()
        .filter(|instance| !leaves(instance))
        .map(|instance| instance.observed.id)
        .collect();
    if old.is_empty() {
        let what = format!("service {} has no instance in {}", request.service, request.environment);
        return Err(Failure::new(Kind::NotFound, what).hint("`kiln status` shows what serves where"));
    }
    for id in &old {
        let id = id.clone();
        let reason = request.reason.clone().unwrap_or_else(|| "kiln recycle".into());
        let asked = InstanceRequest { author: request.author.clone(), reason: Some(reason) };
        control.call(|client| async move { client.taint(&id, &asked).await })?;
    }
    if !args.detach {
        wait(&control, &request, &old, args, context)?;
    }
    let told = if args.detach { "will be replaced" } else { "were replaced" };
    let count = old.len();
    let text = format!("{count} of {}'s instances {told} by fresh ones of the same release", request.service);
    context.ui.result(&Recycled { replaced: old }, || text);
    Ok(ExitCode::SUCCESS)
}

/// The service's instances.
fn here(control: &Control, request: &HandRequest) -> Result<Vec<InstanceStatus>> {
    let all = control.call(|client| async move { client.instances().await })?.instances;
    let mine = |it: &InstanceStatus| {
        it.fleet.environment == request.environment && it.fleet.service == request.service
    };
    Ok(all.into_iter().filter(mine).collect())
}

fn leaves(instance: &InstanceStatus) -> bool {
    instance.observed.phase >= Phase::Draining
}

/// Until each has left, which it does when its replacement serves.
fn wait(
    control: &Control,
    request: &HandRequest,
    old: &[InstanceId],
    args: &Args,
    context: &Context,
) -> Result<()> {
    let deadline = Instant::now() + args.timeout.duration();
    let mut told = old.len();
    loop {
        let now = here(control, request)?;
        // One that leaves goes on serving until its replacement does.
        let stays = |it: &&InstanceStatus| old.contains(&it.observed.id) && (it.serving || !leaves(it));
        let stay = now.iter().filter(stays).count();
        let starting = now.iter().any(|it| it.observed.phase < Phase::Ready);
        if stay < told {
            context.ui.line(format!("{} of {} replaced", old.len() - stay, old.len()));
            told = stay;
        }
        if stay == 0 && !starting {
            return Ok(());
        }
        if Instant::now() > deadline {
            let what = format!("{stay} of {} instances were not replaced within {}", old.len(), args.timeout);
            let failure = now.iter().filter_map(|it| it.observed.failure.as_ref()).map(|it| it.what.clone());
            return Err(Failure::new(Kind::Failed, what)
                .with_causes(failure.take(1).collect())
                .hint("it goes on: `kiln status` shows what it waits for"));
        }
        std::thread::sleep(POLL);
    }
}
