//! `kiln rollback`: an earlier release again.

use std::collections::BTreeMap;
use std::process::ExitCode;

use kiln_control::api::{RollbackAnswer, RollbackRequest};
use kiln_model::{Name, ReleaseNumber};

use crate::context::{Context, name, release_number};
use crate::control::Control;
use crate::error::{Failure, Kind, Result};
use crate::rolling;

/// Arguments of `kiln rollback`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Release number to bring back; without one, the release before
    #[arg(value_parser = release_number)]
    release: Option<u64>,
    /// Which service; not needed while there is only one
    #[arg(short, long, value_parser = name)]
    service: Option<Name>,
    /// Environment
    #[arg(short, long, default_value = "dev", value_parser = name)]
    environment: Name,
    /// Why, for the record
    #[arg(short = 'm', long)]
    reason: Option<String>,
    /// Return as soon as the rollback is on its way
    #[arg(long)]
    no_wait: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let control = Control::connect()?;
    let service = one_service(&control, &args.environment, args.service.as_ref())?;
    let request = RollbackRequest {
        environment: args.environment.clone(),
        service: service.clone(),
        release: args.release.map(ReleaseNumber),
        author: crate::context::author(),
        reason: args.reason.clone(),
    };
    let answer: RollbackAnswer = control.call(|client| async move { client.rollback(&request).await })?;
    if !args.no_wait {
        let waited = BTreeMap::from([(service.clone(), answer.rollout)]);
        let end = rolling::follow_rollouts(context, &control, &args.environment, answer.after, &waited);
        // Giving up a rollout ends as "rolled back", which is what was asked for.
        match end {
            Err(failure) if failure.kind() == Kind::Rollout && returned(&control, &service, &answer)? => {}
            other => other?,
        }
    }
    context.ui.result(&answer, || match answer.to {
        Some(release) => format!("{service} is back at release {release}"),
        None => format!("{service} had no release before; nothing serves"),
    });
    Ok(ExitCode::SUCCESS)
}

fn returned(control: &Control, service: &Name, answer: &RollbackAnswer) -> Result<bool> {
    let status = control.call(|client| async move { client.status().await })?;
    Ok(status.services.iter().any(|one| one.service == *service && one.current == answer.to))
}

/// The service that was named, or the only one there is.
pub(crate) fn one_service(control: &Control, environment: &Name, named: Option<&Name>) -> Result<Name> {
    if let Some(name) = named {
        return Ok(name.clone());
    }
    let status = control.call(|client| async move { client.status().await })?;
    let mut names: Vec<Name> = status
        .services
        .into_iter()
        .filter(|service| service.environment == *environment)
        .map(|service| service.service)
        .collect();
    match names.len() {
        1 => Ok(names.remove(0)),
        0 => Err(Failure::new(Kind::NotFound, format!("nothing is deployed in {environment}"))
            .hint("`kiln status` shows what is deployed where")),
        _ => {
            let known: Vec<&str> = names.iter().map(Name::as_str).collect();
            Err(Failure::new(Kind::NotFound, "there is more than one service")
                .hint(format!("name one with --service: {}", known.join(", "))))
        }
    }
}
