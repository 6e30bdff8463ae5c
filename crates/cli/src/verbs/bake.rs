//! `kiln bake`: images from the spec.

use std::process::ExitCode;

use kiln_bake::{Outcome, StepReport};
use kiln_model::Name;

use crate::args::SpecArgs;
use crate::baking::{self, BakeOptions, Done};
use crate::context::{Context, name};
use crate::error::{Failure, Kind, Result};
use crate::ui::{columns, size};

/// Arguments of `kiln bake`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    spec: SpecArgs,
    /// Only this image (may be given several times)
    #[arg(short, long = "image", value_name = "IMAGE", value_parser = name)]
    images: Vec<Name>,
    /// Say for each step whether it ran, and which input made it run
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    options: BakeOptions,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let loaded = context.spec(&args.spec)?;
    let known = &loaded.project.images;
    if let Some(missing) = args.images.iter().find(|name| !known.contains_key(*name)) {
        let names: Vec<&str> = known.keys().map(Name::as_str).collect();
        return Err(Failure::new(Kind::NotFound, format!("the spec has no image {missing}"))
            .hint(format!("it has: {}", names.join(", "))));
    }
    let names = if args.images.is_empty() { known.keys().cloned().collect() } else { args.images.clone() };
    let baked = baking::bake(context, &loaded, &names, &args.options)?;
    let answer: Vec<_> = baked
        .iter()
        .map(|one| serde_json::json!({"image": one.name, "digest": one.image.digest, "steps": one.steps}))
        .collect();
    context.ui.result(&answer, || baked.iter().map(|one| text(one, args.explain)).collect());
    Ok(ExitCode::SUCCESS)
}

fn text(done: &Done, explain: bool) -> String {
    let mut out = format!("{} {}\n", done.name, done.image.digest);
    if explain {
        let rows: Vec<Vec<String>> = done.steps.iter().map(row).collect();
        out.push_str(&columns(&rows));
    }
    out
}

fn row(step: &StepReport) -> Vec<String> {
    let outcome = match step.outcome {
        Outcome::Ran => "ran",
        Outcome::Cached => "cached",
    };
    let why = if step.why.is_empty() { String::new() } else { format!("because {}", step.why) };
    vec![
        format!("  {outcome}"),
        step.name.clone(),
        step.layer.map_or_else(|| "-".into(), |layer| layer.short()),
        size(step.size),
        format!("{} ms", step.millis),
        why,
    ]
}
