//! `kiln deploy`: bakes and rolls out new releases, and waits for their end.

use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser;
use kiln_model::Name;

use crate::args::SpecArgs;
use crate::baking::BakeOptions;
use crate::context::{Context, name};
use crate::control::Control;
use crate::error::Result;
use crate::rolling;

/// Arguments of `kiln deploy`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    spec: SpecArgs,
    #[command(flatten)]
    what: What,
    /// Return as soon as the rollouts are on their way
    #[arg(long)]
    no_wait: bool,
}

/// What to deploy and how it is recorded; the same for `up` and `deploy`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct What {
    /// Only this service (may be given several times)
    #[arg(short, long = "service", value_name = "SERVICE", value_parser = name)]
    pub(crate) services: Vec<Name>,
    /// Environment to deploy to
    #[arg(short, long, default_value = "dev", value_parser = name)]
    pub(crate) environment: Name,
    /// Why, for the record
    #[arg(short = 'm', long)]
    pub(crate) reason: Option<String>,
    /// Deploy even what was quarantined after a rollback
    #[arg(long)]
    pub(crate) force: bool,
    /// Deploy during a freeze, and why; it is kept on the record
    #[arg(long, value_name = "WHY", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) emergency: Option<String>,
    /// Deploy without the evidence or promotion that the environment asks for, and why; it is kept on the record
    #[arg(long, value_name = "WHY", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) bypass: Option<String>,
    #[command(flatten)]
    pub(crate) bake: BakeOptions,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let prepared = rolling::prepare(context, &args.spec, &args.what)?;
    let control = Control::ensure()?;
    let answer = rolling::begin(context, &control, &args.what, prepared)?;
    if args.no_wait {
        context.ui.result(&answer, || format!("{}{}", rolling::told(&answer), rolling::under_way(&answer)));
        return Ok(ExitCode::SUCCESS);
    }
    let end = rolling::follow(context, &control, &args.what.environment, &answer);
    rolling::finish(context, &control, &args.what.environment, &answer, end)?;
    Ok(ExitCode::SUCCESS)
}
