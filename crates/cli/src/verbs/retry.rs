//! `kiln retry`: tries a rollout again that failed or was rolled back.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser;
use kiln_control::api::RetryRequest;

use crate::args::RolloutArgs;
use crate::context::Context;
use crate::control::Control;
use crate::error::Result;
use crate::rolling;

/// Arguments of `kiln retry`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    rollout: RolloutArgs,
    /// Try again during a freeze, and why; it is kept on the record
    #[arg(long, value_name = "WHY", value_parser = NonEmptyStringValueParser::new())]
    emergency: Option<String>,
    /// Return as soon as it is on its way
    #[arg(long)]
    no_wait: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let control = Control::connect()?;
    let asked = args.rollout.request(&control)?;
    let service = asked.service.clone();
    let request = RetryRequest {
        environment: asked.environment,
        service: asked.service,
        author: asked.author,
        reason: asked.reason,
        emergency: args.emergency.clone(),
    };
    let answer = control.call(|client| async move { client.retry(&request).await })?;
    if !args.no_wait {
        let waited = BTreeMap::from([(service.clone(), answer.rollout)]);
        rolling::follow_rollouts(context, &control, &args.rollout.environment, answer.after, &waited)?;
    }
    context.ui.result(&answer, || match args.no_wait {
        true => format!("{service} release {} is tried again; `kiln status` shows it", answer.release),
        false => format!("{service} release {} serves", answer.release),
    });
    Ok(ExitCode::SUCCESS)
}
