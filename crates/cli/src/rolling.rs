//! The way from a spec to running releases, shared by `up`, `deploy`, `plan`, `rollback` and `abort`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use kiln_control::RolloutId;
use kiln_control::api::{DeployAnswer, DeployRequest, EventsQuery, Outcome, ProofRules, StatusAnswer};
use kiln_model::{Environment, Freeze, Name, ReleaseContent};
use kiln_spec::Loaded;

use crate::args::SpecArgs;
use crate::baking;
use crate::context::{Context, now_ms};
use crate::control::Control;
use crate::error::{Failure, Kind, Result};
use crate::progress::{Ended, Teller};
use crate::release;
use crate::verbs::deploy::What;
use crate::words;

/// A spec whose images are baked.
pub(crate) struct Prepared {
    /// The spec.
    pub(crate) loaded: Loaded,
    /// What to deploy, dependencies first.
    pub(crate) contents: Vec<ReleaseContent>,
    /// When the environment is not deployed to.
    pub(crate) freezes: Vec<Freeze>,
    /// What it asks for.
    pub(crate) proof: ProofRules,
}

/// Evaluates the spec, bakes what its services run, and makes the releases' contents.
pub(crate) fn prepare(context: &Context, spec: &SpecArgs, what: &What) -> Result<Prepared> {
    let loaded = context.spec_for(spec, &what.environment)?;
    let freezes = environment(&loaded, &what.environment)?.freezes.clone();
    let proof = crate::evidence::rules(&loaded, &what.environment, None, what.bypass.clone())?;
    let services = release::services(&loaded.project, &what.services)?;
    let names = release::images(&loaded.project, &services);
    let images: BTreeMap<Name, release::Image> = baking::bake(context, &loaded, &names, &what.bake)?
        .into_iter()
        .map(|baked| (baked.name, baked.image))
        .collect();
    let baked = |service: &kiln_model::Service| images.get(&service.image).cloned();
    let contents = release::contents(&loaded, &what.environment, &services, baked)?;
    Ok(Prepared { loaded, contents, freezes, proof })
}

/// An environment of the spec.
pub(crate) fn environment<'l>(loaded: &'l Loaded, name: &Name) -> Result<&'l Environment> {
    loaded.project.environments.get(name).ok_or_else(|| {
        let known: Vec<&str> = loaded.project.environments.keys().map(Name::as_str).collect();
        Failure::new(Kind::NotFound, format!("the spec has no environment {name}"))
            .hint(format!("it has: {}", known.join(", ")))
    })
}

/// Asks for the deploy.
pub(crate) fn begin(
    context: &Context,
    control: &Control,
    what: &What,
    prepared: Prepared,
) -> Result<DeployAnswer> {
    let request = DeployRequest {
        environment: what.environment.clone(),
        releases: prepared.contents,
        author: crate::context::author(),
        reason: what.reason.clone(),
        force: what.force,
        freezes: prepared.freezes,
        emergency: what.emergency.clone(),
        proof: prepared.proof,
    };
    let answer: DeployAnswer = control.call(|client| async move { client.deploy(&request).await })?;
    for one in answer.services.iter().filter(|_| !context.ui.json()) {
        if let Some(other) = &one.supersedes {
            let told = words::supersedes(other, now_ms());
            context.ui.line(format!("  {} release {}: {told}", one.service, one.release));
        }
    }
    Ok(answer)
}

/// Follows every rollout of the deploy to its end.
pub(crate) fn follow(
    context: &Context,
    control: &Control,
    environment: &Name,
    answer: &DeployAnswer,
) -> Result<()> {
    let waited: BTreeMap<Name, RolloutId> =
        answer.services.iter().filter_map(|one| Some((one.service.clone(), one.rollout?))).collect();
    follow_rollouts(context, control, environment, answer.after, &waited)
}

/// Follows rollouts by service to their ends. The first failure, in the order of names, is the failure of all.
pub(crate) fn follow_rollouts(
    context: &Context,
    control: &Control,
    environment: &Name,
    after: i64,
    rollouts: &BTreeMap<Name, RolloutId>,
) -> Result<()> {
    if rollouts.is_empty() {
        return Ok(());
    }
    let mut teller = Teller::new(&context.ui);
    let query = EventsQuery { after, follow: true, environment: Some(environment.clone()), service: None };
    control.follow(&query, |event| {
        let ours = rollouts.get(&event.service);
        if ours.is_some() && (event.rollout.is_none() || event.rollout == ours.copied()) {
            teller.tell(event);
        }
        rollouts.keys().all(|service| teller.ended(service).is_some())
    })?;
    for service in rollouts.keys() {
        if let Some(Ended::Failed(reason)) = teller.ended(service) {
            return Err(Failure::new(Kind::Rollout, format!("the release of {service} does not serve"))
                .with_causes(vec![reason.clone()])
                .hint(format!("`kiln history {service}` tells what happened; fix the program or the spec and deploy again")));
        }
    }
    Ok(())
}

/// Prints how the deploy ended, and what to open.
pub(crate) fn finish(
    context: &Context,
    control: &Control,
    environment: &Name,
    answer: &DeployAnswer,
    end: Result<()>,
) -> Result<()> {
    end?;
    let status = control.call(|client| async move { client.status().await })?;
    let result = serde_json::json!({ "deploy": answer, "status": status });
    context.ui.result(&result, || format!("{}{}", told(answer), open(&status, environment, answer)));
    Ok(())
}

/// What a deploy set off, a line for each service.
pub(crate) fn told(answer: &DeployAnswer) -> String {
    let mut out = String::new();
    for one in &answer.services {
        let _ = match &one.outcome {
            Outcome::Started => continue,
            Outcome::Unchanged => {
                writeln!(out, "{} release {} already serves this: nothing to do", one.service, one.release)
            }
            Outcome::Resized { from, to } => {
                writeln!(out, "{} release {}: {from} -> {to} instances", one.service, one.release)
            }
            Outcome::Returning => writeln!(out, "{} goes back to release {}", one.service, one.release),
        };
    }
    out
}

/// What is on its way when nobody waits for it.
pub(crate) fn under_way(answer: &DeployAnswer) -> String {
    let mut out = String::new();
    for one in answer.services.iter().filter(|one| one.outcome == Outcome::Started) {
        let _ =
            writeln!(out, "{} release {} is on its way; `kiln status` shows it", one.service, one.release);
    }
    out
}

fn open(status: &StatusAnswer, environment: &Name, answer: &DeployAnswer) -> String {
    let mut out = String::new();
    for service in status.services.iter().filter(|it| it.environment == *environment) {
        if answer.services.iter().any(|one| one.service == service.service) {
            for url in &service.urls {
                let _ = writeln!(out, "{} is open at {url}", service.service);
            }
        }
    }
    out
}
