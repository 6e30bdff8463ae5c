//! `kiln diff`: how two environments differ.

use std::fmt::Write as _;
use std::process::ExitCode;

use kiln_control::api::{CompareAnswer, CompareRequest, Compared, Serving};
use kiln_model::Name;
use owo_colors::OwoColorize;

use super::plan;
use crate::context::{Context, name, now_ms};
use crate::control::Control;
use crate::error::{Failure, Kind, Result};
use crate::ui::age;

/// Arguments of `kiln diff`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// One environment
    #[arg(value_parser = name)]
    from: Name,
    /// The other
    #[arg(value_parser = name)]
    to: Name,
    /// Only services of this project
    #[arg(long, value_parser = name)]
    project: Option<Name>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let control = Control::connect()?;
    let request =
        CompareRequest { from: args.from.clone(), to: args.to.clone(), project: args.project.clone() };
    let answer = control.call(|client| async move { client.compare(&request).await })?;
    if answer.services.is_empty() {
        return Err(Failure::new(Kind::NotFound, format!("nothing serves in {} or {}", args.from, args.to))
            .hint("`kiln status` shows what serves where"));
    }
    context.ui.result(&answer, || text(&answer, args));
    Ok(ExitCode::SUCCESS)
}

fn text(answer: &CompareAnswer, args: &Args) -> String {
    answer.services.iter().map(|it| one(it, args)).collect()
}

fn one(it: &Compared, args: &Args) -> String {
    let mut out = format!("{}", it.service.as_str().bold());
    match (&it.from, &it.to) {
        (Some(from), Some(to)) if from.image == to.image && from.config == to.config => {
            out.push_str(": the same image and configuration\n");
        }
        (Some(from), Some(to)) if from.image == to.image => {
            out.push_str(": the same image, other configuration\n");
        }
        (Some(from), Some(to)) if from.config == to.config => {
            out.push_str(": another image, the same configuration\n");
        }
        _ => out.push('\n'),
    }
    for (environment, serving) in [(&args.from, &it.from), (&args.to, &it.to)] {
        let _ = writeln!(out, "  {environment}: {}", side(serving.as_ref()));
    }
    plan::differences(&mut out, &it.differences);
    if let (Some(from), Some(to)) = (&it.from, &it.to)
        && from.image != to.image
    {
        let _ = writeln!(out, "  files: `kiln image diff {} {}`", to.image.short(), from.image.short());
    }
    out
}

fn side(serving: Option<&Serving>) -> String {
    match serving {
        None => "nothing".into(),
        Some(it) => format!(
            "release {} · image {} · config {} · by {} {} ago",
            it.release,
            it.image.short(),
            it.config.short(),
            it.author,
            age(it.created_ms, now_ms())
        ),
    }
}
