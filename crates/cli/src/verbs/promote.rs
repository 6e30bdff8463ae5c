//! `kiln promote`: what serves in one environment on to the next, or a rollout past the gate that it waits for.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser;
use kiln_control::api::{PlanRequest, PromoteRequest};
use kiln_model::Name;
use kiln_spec::Loaded;

use super::deploy::What;
use super::{env, plan};
use crate::args::{SpecArgs, Values};
use crate::baking::BakeOptions;
use crate::context::{Context, name};
use crate::control::Control;
use crate::error::{Failure, Kind, Result};
use crate::{promotion, release, rolling};

/// Arguments of `kiln promote`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// An environment of the spec: what serves in the environment before it is deployed there, the same digests. Or a
    /// service whose rollout waits; not needed while there is only one
    #[arg(value_parser = name)]
    target: Option<Name>,
    /// The environment to promote to, where a service has the same name
    #[arg(long, value_name = "ENVIRONMENT", value_parser = name, conflicts_with = "target")]
    to: Option<Name>,
    /// Only this service (may be given several times)
    #[arg(short, long = "service", value_name = "SERVICE", value_parser = name)]
    services: Vec<Name>,
    /// Promote what serves in this environment instead of the one before
    #[arg(long, value_name = "ENVIRONMENT", value_parser = name)]
    from: Option<Name>,
    /// Show evidence, differences and stages, and change nothing
    #[arg(long)]
    plan: bool,
    /// Promote without the evidence that the environment asks for, and why; it is kept on the record
    #[arg(long, value_name = "WHY", value_parser = NonEmptyStringValueParser::new())]
    bypass: Option<String>,
    /// Folder with kiln.hcl, or the file itself
    #[arg(long, default_value = ".")]
    path: PathBuf,
    #[command(flatten)]
    values: Values,
    /// Environment of the rollout that waits
    #[arg(short, long, default_value = "dev", value_parser = name)]
    environment: Name,
    /// Why, for the record
    #[arg(short = 'm', long)]
    reason: Option<String>,
    /// Also pass every gate to come that waits for time, measurements or a person
    #[arg(long)]
    all: bool,
    /// Go on during a freeze, and why; it is kept on the record
    #[arg(long, value_name = "WHY", value_parser = NonEmptyStringValueParser::new())]
    emergency: Option<String>,
    /// Show the rollout's progress and wait for its end; a promotion to an environment always does
    #[arg(long)]
    wait: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    match meant(args, context)? {
        Some(environment) => to_environment(args, context, &environment),
        None => past_gate(args, context),
    }
}

/// The environment that is meant, if one is.
fn meant(args: &Args, context: &Context) -> Result<Option<Name>> {
    if let Some(environment) = &args.to {
        return Ok(Some(environment.clone()));
    }
    let Some(target) = &args.target else { return Ok(None) };
    let Ok(inputs) = args.values.inputs() else { return Ok(None) };
    // Without a spec there are rollouts only.
    let Ok(Loaded { project, .. }) = kiln_spec::load(&args.path, &inputs.for_environment(target.clone()))
    else {
        return if args.plan || args.from.is_some() || args.bypass.is_some() {
            context.spec(&spec(args)).map(|_| None)
        } else {
            Ok(None)
        };
    };
    match (project.environments.contains_key(target), project.services.contains_key(target)) {
        (true, false) => Ok(Some(target.clone())),
        (true, true) => {
            Err(Failure::new(Kind::NotFound, format!("{target} is an environment and a service of the spec"))
                .hint(format!(
                    "write `kiln promote --to {target}` for the environment, `kiln promote --service {target}` for the rollout"
                )))
        }
        (false, _) => Ok(None),
    }
}

fn spec(args: &Args) -> SpecArgs {
    SpecArgs { path: args.path.clone(), values: args.values.clone() }
}

fn to_environment(args: &Args, context: &Context, environment: &Name) -> Result<ExitCode> {
    let loaded = context.spec_for(&spec(args), environment)?;
    let from = promotion::source(&loaded, environment, args.from.as_ref())?;
    let services = release::services(&loaded.project, &args.services)?;
    let control = Control::connect()?;
    let status = control.call(|client| async move { client.status().await })?;
    let candidate = promotion::candidate(&loaded, &status, from, &services)?;
    let prepared = promotion::prepare(loaded, environment, &services, &candidate, args.bypass.clone())?;
    if args.plan {
        return show(context, &control, environment, prepared);
    }
    let what = What {
        services,
        environment: environment.clone(),
        reason: args.reason.clone().or_else(|| Some(format!("promoted from {}", candidate.from))),
        force: false,
        emergency: args.emergency.clone(),
        bypass: args.bypass.clone(),
        bake: BakeOptions::default(),
    };
    promotion::carry_out(context, &control, &what, prepared)?;
    Ok(ExitCode::SUCCESS)
}

fn show(
    context: &Context,
    control: &Control,
    environment: &Name,
    prepared: rolling::Prepared,
) -> Result<ExitCode> {
    let proven = promotion::prove(control, environment, &prepared)?;
    let request = PlanRequest {
        environment: environment.clone(),
        releases: prepared.contents,
        freezes: prepared.freezes,
    };
    let planned = control.call(|client| async move { client.plan(&request).await })?;
    let ready = proven.services.iter().all(|it| it.missing.is_empty());
    let answer = serde_json::json!({ "ready": ready, "evidence": proven, "plan": planned });
    context.ui.result(&answer, || {
        let evidence: String = proven.services.iter().map(env::evidence).collect();
        format!("{evidence}{}", plan::told(&planned))
    });
    Ok(if ready { ExitCode::SUCCESS } else { ExitCode::from(Kind::Refused as u8) })
}

fn past_gate(args: &Args, context: &Context) -> Result<ExitCode> {
    let control = Control::connect()?;
    let named = args.target.as_ref().or(args.services.first());
    if let Some(name) = &args.target {
        known(&control, args, name)?;
    }
    let service = super::rollback::one_service(&control, &args.environment, named)?;
    let request = PromoteRequest {
        environment: args.environment.clone(),
        service: service.clone(),
        author: crate::context::author(),
        reason: args.reason.clone(),
        all: args.all,
        emergency: args.emergency.clone(),
    };
    let answer = control.call(|client| async move { client.promote(&request).await })?;
    if args.wait {
        let waited = BTreeMap::from([(service.clone(), answer.rollout)]);
        rolling::follow_rollouts(context, &control, &args.environment, answer.after, &waited)?;
    }
    context.ui.result(&answer, || match args.wait {
        true => format!("{service} release {} serves", answer.release),
        false => {
            format!("{service} release {} is promoted; `kiln status` shows how it goes on", answer.release)
        }
    });
    Ok(ExitCode::SUCCESS)
}

/// A name that is neither an environment of a spec here nor a service says so.
fn known(control: &Control, args: &Args, name: &Name) -> Result<()> {
    let status = control.call(|client| async move { client.status().await })?;
    let here = status.services.iter().filter(|it| it.environment == args.environment);
    if here.into_iter().any(|it| it.service == *name) {
        return Ok(());
    }
    let message =
        format!("{name} is neither an environment of a spec here nor a service of {}", args.environment);
    Err(Failure::new(Kind::NotFound, message).hint(
        "to promote to an environment, run it in the folder of kiln.hcl or name that with --path; `kiln status` lists the services",
    ))
}
