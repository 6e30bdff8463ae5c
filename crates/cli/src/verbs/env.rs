//! `kiln env`: the environments of the spec, what serves there, and what their evidence is.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use kiln_control::api::{EvidenceStatus, ProveRequest, Proven, StatusAnswer};
use kiln_model::{Name, Project, Requirement};
use kiln_spec::Loaded;
use owo_colors::OwoColorize;
use serde::Serialize;

use crate::args::{SpecArgs, Values};
use crate::context::{Context, name, now_ms};
use crate::control::Control;
use crate::error::Result;
use crate::ui::{age, columns};
use crate::{evidence, promotion, release, rolling};

/// Arguments of `kiln env`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    act: Option<Act>,
}

#[derive(Debug, clap::Subcommand)]
enum Act {
    /// List the environments in the order in which images are promoted
    List {
        #[command(flatten)]
        spec: SpecArgs,
    },
    /// Show what serves in an environment, what would be promoted there, and all evidence about it
    Show {
        /// The environment
        #[arg(value_parser = name)]
        environment: Name,
        /// Folder with kiln.hcl, or the file itself
        #[arg(default_value = ".")]
        path: PathBuf,
        #[command(flatten)]
        values: Values,
    },
}

/// One environment in the list.
#[derive(Debug, Serialize)]
struct Listed {
    environment: Name,
    promoted_from: Option<Name>,
    protected: bool,
    requires: Vec<Requirement>,
    serves: Vec<Serves>,
}

/// What serves in it.
#[derive(Debug, Serialize)]
struct Serves {
    service: Name,
    release: Option<kiln_model::ReleaseNumber>,
    image: Option<kiln_model::Digest>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    match &args.act {
        None => list(context, &SpecArgs { path: ".".into(), values: Values::default() }),
        Some(Act::List { spec }) => list(context, spec),
        Some(Act::Show { environment, path, values }) => {
            show(context, &SpecArgs { path: path.clone(), values: values.clone() }, environment)
        }
    }
}

fn list(context: &Context, spec: &SpecArgs) -> Result<ExitCode> {
    let loaded = context.spec(spec)?;
    // What is written can be told whether or not anything runs.
    let status = match Control::find()? {
        Some(control) => Some(control.call(|client| async move { client.status().await })?),
        None => None,
    };
    let all = listed(&loaded.project, status.as_ref());
    context.ui.result(&all, || table(&all));
    Ok(ExitCode::SUCCESS)
}

fn listed(project: &Project, status: Option<&StatusAnswer>) -> Vec<Listed> {
    let order = project.promotion_order();
    let beside = project.environments.keys().filter(|name| !order.contains(name));
    let one = |name: &Name| {
        let environment = &project.environments[name];
        let here = status.iter().flat_map(|it| &it.services);
        let here = here.filter(|it| it.environment == *name && it.project == project.name);
        Listed {
            environment: name.clone(),
            promoted_from: project.promoted_from(name).cloned(),
            protected: environment.protected,
            requires: environment.requires.clone(),
            serves: here
                .map(|it| Serves { service: it.service.clone(), release: it.current, image: it.image })
                .collect(),
        }
    };
    beside.chain(order.iter().copied()).map(one).collect()
}

fn table(all: &[Listed]) -> String {
    let mut rows = vec![["ENVIRONMENT", "FROM", "REQUIRES", "SERVES"].map(String::from).to_vec()];
    rows.extend(all.iter().map(|it| {
        let requires: Vec<String> = it.requires.iter().map(ToString::to_string).collect();
        let serves: Vec<String> = it.serves.iter().map(serves).collect();
        let or_none = |text: String| if text.is_empty() { "-".to_owned() } else { text };
        vec![
            format!("{}{}", it.environment, if it.protected { " (protected)" } else { "" }),
            it.promoted_from.as_ref().map_or_else(|| "-".into(), Name::to_string),
            or_none(requires.join(", ")),
            or_none(serves.join(", ")),
        ]
    }));
    columns(&rows)
}

fn serves(it: &Serves) -> String {
    match (&it.release, &it.image) {
        (Some(release), Some(image)) => format!("{} {} (release {release})", it.service, image.short()),
        _ => format!("{} nothing", it.service),
    }
}

fn show(context: &Context, spec: &SpecArgs, environment: &Name) -> Result<ExitCode> {
    let loaded = context.spec_for(spec, environment)?;
    rolling::environment(&loaded, environment)?;
    let control = Control::connect()?;
    let status = control.call(|client| async move { client.status().await })?;
    let listed = listed(&loaded.project, Some(&status));
    let listed = listed.into_iter().find(|it| it.environment == *environment);
    let candidates = candidates(&loaded, &control, &status, environment)?;
    let answer = serde_json::json!({ "environment": listed, "candidates": candidates });
    context.ui.result(&answer, || {
        let mut out = listed.as_ref().map(|it| table(std::slice::from_ref(it))).unwrap_or_default();
        if !candidates.is_empty() {
            let _ = writeln!(out, "\nwhat `kiln promote {environment}` would bring:");
        }
        out.extend(candidates.iter().map(evidence));
        out
    });
    Ok(ExitCode::SUCCESS)
}

/// What would be promoted to an environment, with its evidence.
fn candidates(
    loaded: &Loaded,
    control: &Control,
    status: &StatusAnswer,
    environment: &Name,
) -> Result<Vec<Proven>> {
    let Some(from) = loaded.project.promoted_from(environment).cloned() else { return Ok(Vec::new()) };
    let mut images = std::collections::BTreeMap::new();
    for service in release::services(&loaded.project, &[])? {
        // What is not there yet has no evidence to show.
        if let Ok(candidate) = promotion::candidate(loaded, status, from.clone(), &[service]) {
            images.extend(candidate.images);
        }
    }
    let rules = evidence::rules(loaded, environment, Some(from), None)?;
    let request = ProveRequest { environment: environment.clone(), images, rules };
    Ok(control.call(|client| async move { client.prove(&request).await })?.services)
}

/// The evidence about one image, and what is missing.
pub(crate) fn evidence(proven: &Proven) -> String {
    let mut out = format!("{} {}\n", proven.service.as_str().bold(), proven.image.short());
    for it in &proven.evidence {
        let _ = writeln!(out, "  {}", line(it));
    }
    for it in &proven.missing {
        let _ =
            writeln!(out, "  {} {}: {}; `{}`", "missing".red().bold(), it.requirement, it.why, it.command);
    }
    if proven.evidence.is_empty() && proven.missing.is_empty() {
        out.push_str("  no evidence, and none is asked for\n");
    }
    out
}

fn line(it: &EvidenceStatus) -> String {
    let at = it.at_ms.map(|at| format!(" · {} ago", age(at, now_ms()))).unwrap_or_default();
    match &it.problem {
        None => format!("{} {} · {}{at} · by {}", "✓".green(), it.kind, it.says, it.signers.join(", ")),
        Some(problem) => format!("{} {} · {problem}", "✗".red(), it.kind),
    }
}
