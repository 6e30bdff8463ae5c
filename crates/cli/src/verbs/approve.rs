//! `kiln approve`: a person says that what would be promoted may be.

use std::path::PathBuf;
use std::process::ExitCode;

use kiln_attest::predicate::{Approval, Predicate};
use kiln_model::{Name, Requirement};
use serde::Serialize;

use crate::args::{SpecArgs, Values};
use crate::context::{Context, name, now_ms};
use crate::control::Control;
use crate::error::{Failure, Kind, Result};
use crate::evidence::{self, KeyArgs};
use crate::ledger::Act;
use crate::{promotion, release, rolling};

/// Arguments of `kiln approve`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The environment that it is approved for
    #[arg(value_parser = name)]
    environment: Name,
    /// Only this service (may be given several times)
    #[arg(short, long = "service", value_name = "SERVICE", value_parser = name)]
    services: Vec<Name>,
    /// Why, for the record
    #[arg(short = 'm', long)]
    reason: Option<String>,
    /// Approve what serves in this environment instead of the one before
    #[arg(long, value_name = "ENVIRONMENT", value_parser = name)]
    from: Option<Name>,
    /// Folder with kiln.hcl, or the file itself
    #[arg(long, default_value = ".")]
    path: PathBuf,
    #[command(flatten)]
    values: Values,
    #[command(flatten)]
    key: KeyArgs,
}

/// One approval.
#[derive(Debug, Serialize)]
struct Approved {
    service: Name,
    image: kiln_model::Digest,
    evidence: kiln_model::Digest,
    by: String,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let spec = SpecArgs { path: args.path.clone(), values: args.values.clone() };
    let loaded = context.spec_for(&spec, &args.environment)?;
    let from = promotion::source(&loaded, &args.environment, args.from.as_ref())?;
    let by = person(args);
    may(&rolling::environment(&loaded, &args.environment)?.requires, &by, &args.environment)?;
    let services = release::services(&loaded.project, &args.services)?;
    let status = Control::connect()?.call(|client| async move { client.status().await })?;
    let candidate = promotion::candidate(&loaded, &status, from, &services)?;
    let (store, key) = (crate::context::store()?, args.key.load()?);
    let mut all = Vec::new();
    for (service, image) in &candidate.images {
        let approval = Approval {
            environment: args.environment.clone(),
            by: by.clone(),
            reason: args.reason.clone(),
            at_ms: now_ms().max(0).unsigned_abs(),
        };
        let evidence = evidence::swear(&store, image, &Predicate::Approved(approval), &key)?;
        Act::new("image.approved")
            .image(image)
            .evidence(&evidence)
            .place(&args.environment, service)
            .why(args.reason.as_deref())
            .record()?;
        all.push(Approved { service: service.clone(), image: *image, evidence, by: by.clone() });
    }
    context.ui.result(&all, || {
        let told = |it: &Approved| {
            format!("{} {} is approved for {}", it.service, it.image.short(), args.environment)
        };
        all.iter().map(told).collect::<Vec<_>>().join("\n")
    });
    Ok(ExitCode::SUCCESS)
}

/// Who approves: the owner of the key that was named, else the user.
fn person(args: &Args) -> String {
    args.key.key.as_ref().map_or_else(crate::context::author, Name::to_string)
}

/// Refuses an approval that would not count.
fn may(requires: &[Requirement], by: &str, environment: &Name) -> Result<()> {
    let named = requires.iter().find_map(|it| match it {
        Requirement::Approved { by, .. } if !by.is_empty() => Some(by),
        _ => None,
    });
    match named {
        Some(people) if !people.iter().any(|person| person == by) => {
            Err(Failure::new(Kind::Refused, format!("an approval of {by} does not count for {environment}"))
                .hint(format!("ask {}", people.join(" or "))))
        }
        _ => Ok(()),
    }
}
