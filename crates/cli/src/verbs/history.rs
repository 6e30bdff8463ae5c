//! `kiln history`: releases and what became of them.

use std::process::ExitCode;

use kiln_control::Purpose;
use kiln_control::api::{HistoryAnswer, HistoryEntry, HistoryQuery, RolloutStatus};
use kiln_model::Name;

use crate::context::{Context, name, now_ms};
use crate::control::Control;
use crate::error::Result;
use crate::progress::act_text;
use crate::ui::{age, columns};

/// Arguments of `kiln history`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only releases of this service
    #[arg(value_parser = name)]
    service: Option<Name>,
    /// Only this environment
    #[arg(short, long, value_parser = name)]
    environment: Option<Name>,
    /// At most so many
    #[arg(short = 'n', long, default_value_t = 20)]
    limit: u32,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let control = Control::connect()?;
    let query = HistoryQuery {
        environment: args.environment.clone(),
        service: args.service.clone(),
        limit: Some(args.limit),
    };
    let answer: HistoryAnswer = control.call(|client| async move { client.history(&query).await })?;
    context.ui.result(&answer, || {
        let heading = ["RELEASE", "IMAGE", "AGE", "BY", "OUTCOME", "WHY"];
        let mut rows = vec![heading.map(String::from).to_vec()];
        rows.extend(answer.releases.iter().map(row));
        let acts = acts(&answer);
        if acts.is_empty() { columns(&rows) } else { format!("{}\n{acts}", columns(&rows)) }
    });
    Ok(ExitCode::SUCCESS)
}

/// What people did, newest first.
fn acts(answer: &HistoryAnswer) -> String {
    let mut all: Vec<_> = answer.releases.iter().flat_map(|entry| &entry.acts).collect();
    all.sort_by_key(|event| std::cmp::Reverse(event.id));
    let mut rows = vec![["AGE", "BY", "DID", "TO"].map(String::from).to_vec()];
    rows.extend(all.into_iter().filter_map(|event| {
        let release = event.release.map(|release| format!("/{release}")).unwrap_or_default();
        Some(vec![
            age(event.at_ms, now_ms()),
            event.who.clone(),
            first_line(&act_text(&event.what)?).to_owned(),
            format!("{}/{}{release}", event.environment, event.service),
        ])
    }));
    if rows.len() > 1 { columns(&rows) } else { String::new() }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn row(entry: &HistoryEntry) -> Vec<String> {
    let mut outcome: Vec<String> = entry.rollouts.iter().map(outcome).collect();
    if entry.current {
        outcome.push("serves now".into());
    }
    if entry.quarantined {
        outcome.push("quarantined".into());
    }
    vec![
        format!("{}/{}/{}", entry.environment, entry.service, entry.release),
        entry.image.short(),
        age(entry.created_ms, now_ms()),
        entry.author.clone(),
        outcome.join(", "),
        entry.reason.clone().unwrap_or_default(),
    ]
}

fn outcome(rollout: &RolloutStatus) -> String {
    let state = serde_json::to_value(rollout.status).ok();
    let state = state.as_ref().and_then(|value| value.as_str()).unwrap_or("unknown");
    let purpose = match rollout.purpose {
        Purpose::Deploy => "",
        Purpose::Rollback => "rollback ",
    };
    match &rollout.reason {
        Some(reason) => {
            format!("{purpose}{state} ({})", reason.split("; it printed last").next().unwrap_or_default())
        }
        None => format!("{purpose}{state}"),
    }
}
