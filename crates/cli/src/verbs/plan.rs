//! `kiln plan`: what a deploy would do.

use std::fmt::Write as _;
use std::process::ExitCode;

use kiln_control::Difference;
use kiln_control::api::{Outcome, PlanAnswer, PlanRequest, Planned};
use owo_colors::OwoColorize;

use super::deploy::What;
use crate::args::SpecArgs;
use crate::context::{Context, now_ms};
use crate::control::Control;
use crate::error::Result;
use crate::{rolling, words};

/// Arguments of `kiln plan`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    spec: SpecArgs,
    #[command(flatten)]
    what: What,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let prepared = rolling::prepare(context, &args.spec, &args.what)?;
    let control = Control::ensure()?;
    let request = PlanRequest {
        environment: args.what.environment.clone(),
        releases: prepared.contents,
        freezes: prepared.freezes,
    };
    let answer: PlanAnswer = control.call(|client| async move { client.plan(&request).await })?;
    context.ui.result(&answer, || told(&answer));
    Ok(ExitCode::SUCCESS)
}

/// A plan in words.
pub(crate) fn told(answer: &PlanAnswer) -> String {
    let mut out: String = answer.services.iter().map(text).collect();
    if let Some(freeze) = &answer.freeze {
        let _ = writeln!(out, "{}", words::freeze(freeze));
    }
    out
}

fn text(planned: &Planned) -> String {
    let mut out = String::new();
    let current = planned.current.map_or_else(|| "nothing".into(), |release| format!("release {release}"));
    let head = match &planned.outcome {
        Outcome::Started => format!("{current} -> release {}", planned.release),
        Outcome::Unchanged => format!("{current} stays: nothing to do"),
        Outcome::Resized { from, to } => format!("{current} stays, {from} -> {to} instances"),
        Outcome::Returning => format!("back to release {}", planned.release),
    };
    let _ = writeln!(out, "{}: {head}", planned.service.as_str().bold());
    if let Some(other) = &planned.supersedes {
        let _ = writeln!(out, "  {}", words::supersedes(other, now_ms()));
    }
    if let Some(reason) = &planned.quarantined {
        let _ = writeln!(out, "  {} this content is quarantined: {reason}", "refused:".red().bold());
    }
    differences(&mut out, &planned.differences);
    for line in planned.rollout.iter().flat_map(words::rules) {
        let _ = writeln!(out, "  {line}");
    }
    for line in kiln_rollout::draw(&planned.stages).lines() {
        let _ = writeln!(out, "  {line}");
    }
    out
}

/// Fields that differ, a line each.
pub(crate) fn differences(out: &mut String, all: &[Difference]) {
    let side =
        |value: &Option<serde_json::Value>| value.as_ref().map_or("(none)".into(), ToString::to_string);
    for difference in all {
        let (from, to) = (side(&difference.from), side(&difference.to));
        let _ = writeln!(out, "  {} {}: {from} -> {to}", "~".yellow(), difference.field);
    }
}
