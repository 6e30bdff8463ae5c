//! `environment` blocks.

use std::collections::BTreeMap;

use kiln_calendar::FreezeError;
use kiln_model::{Environment, Freeze, Name, Span};

use crate::eval::World;
use crate::read::Section;
use crate::report::Problem;
use crate::suggest::did_you_mean;

const EVIDENCE: [&str; 5] = ["built-from", "tested", "scanned", "approved", "soaked"];

pub(super) fn build(world: &World<'_>, section: &Section<'_>) -> Environment {
    Environment {
        protected: section.flag("protected").unwrap_or(false),
        requires: section.texts("requires").unwrap_or_default(),
        freezes: section.all("freeze").filter_map(|block| freeze(world, block)).collect(),
    }
}

fn freeze(world: &World<'_>, block: &Section<'_>) -> Option<Freeze> {
    let freeze = Freeze {
        name: block.label_text().to_owned(),
        begins: block.text("begins")?,
        lasts: block.span("lasts")?,
        timezone: if block.has("timezone") { block.text("timezone")? } else { "UTC".into() },
    };
    if let Err(fault) = kiln_calendar::check(&freeze) {
        let (name, help) = match fault {
            FreezeError::NoLength => ("lasts", "write it like lasts = \"62h\""),
            FreezeError::Endless { .. } => {
                ("lasts", "nothing could ever be deployed: make it shorter, or let it begin less often")
            }
            _ => ("begins", "write it like begins = \"0 18 * * FRI\""),
        };
        let what = match &fault {
            FreezeError::Endless { lasts } => {
                format!("this freeze begins again before its {lasts} are over, and so has no end")
            }
            other => other.to_string(),
        };
        world.report.add(Problem::error(block.at(name), what).help(help));
    }
    Some(freeze)
}

/// Reports evidence that nobody can give.
pub(super) fn check_requirements(
    world: &World<'_>,
    section: &Section<'_>,
    environments: &BTreeMap<Name, Environment>,
) {
    let requirements = section.texts("requires").unwrap_or_default();
    for (index, requirement) in requirements.iter().enumerate() {
        if let Err((message, help)) = judge(requirement, environments) {
            let place = section.item_at("requires", index);
            world.report.add(Problem::error(place, message).maybe_help(help));
        }
    }
}

fn judge(text: &str, environments: &BTreeMap<Name, Environment>) -> Result<(), (String, Option<String>)> {
    let (kind, arguments) = match text.split_once('(') {
        None => (text, Vec::new()),
        Some((kind, rest)) => match rest.strip_suffix(')') {
            Some(inner) => (kind, inner.split(',').map(str::trim).collect()),
            None => {
                return Err((format!("{text:?} has no closing bracket"), Some(format!("write \"{text})\""))));
            }
        },
    };
    let shape = |example: &str| {
        Err((format!("{text:?} is not complete"), Some(format!("write it like \"{example}\""))))
    };
    match (kind.trim(), arguments.as_slice()) {
        ("tested" | "scanned" | "built-from", []) => Ok(()),
        ("tested" | "scanned" | "built-from", _) => shape(kind),
        ("approved", [count]) if count.parse::<u32>().is_ok_and(|count| count > 0) => Ok(()),
        ("approved", _) => shape("approved(1)"),
        ("soaked", [environment, time]) if time.parse::<Span>().is_ok() => {
            if environments.keys().any(|name| name.as_str() == *environment) {
                return Ok(());
            }
            let help = did_you_mean(environment, environments.keys().map(Name::as_str));
            Err((format!("there is no environment called `{environment}`"), help))
        }
        ("soaked", _) => shape("soaked(staging, 30m)"),
        (other, _) => Err((format!("there is no evidence called {other:?}"), did_you_mean(other, EVIDENCE))),
    }
}
