//! `kiln promote`: lets a rollout pass the gate that it waits for.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser;
use kiln_control::api::PromoteRequest;

use crate::args::RolloutArgs;
use crate::context::Context;
use crate::control::Control;
use crate::error::Result;
use crate::rolling;

/// Arguments of `kiln promote`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    rollout: RolloutArgs,
    /// Also pass every gate to come that waits for time, measurements or a person
    #[arg(long)]
    all: bool,
    /// Go on during a freeze, and why; it is kept on the record
    #[arg(long, value_name = "WHY", value_parser = NonEmptyStringValueParser::new())]
    emergency: Option<String>,
    /// Show the rollout's progress and wait for its end
    #[arg(long)]
    wait: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let control = Control::connect()?;
    let asked = args.rollout.request(&control)?;
    let service = asked.service.clone();
    let request = PromoteRequest {
        environment: asked.environment,
        service: asked.service,
        author: asked.author,
        reason: asked.reason,
        all: args.all,
        emergency: args.emergency.clone(),
    };
    let answer = control.call(|client| async move { client.promote(&request).await })?;
    if args.wait {
        let waited = BTreeMap::from([(service.clone(), answer.rollout)]);
        rolling::follow_rollouts(context, &control, &args.rollout.environment, answer.after, &waited)?;
    }
    context.ui.result(&answer, || match args.wait {
        true => format!("{service} release {} serves", answer.release),
        false => {
            format!("{service} release {} is promoted; `kiln status` shows how it goes on", answer.release)
        }
    });
    Ok(ExitCode::SUCCESS)
}
