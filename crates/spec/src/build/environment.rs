//! `environment` blocks.

use std::collections::BTreeMap;

use kiln_calendar::FreezeError;
use kiln_model::{Environment, Freeze, Name, Requirement, RequirementError, TrustedKey};

use super::secret;
use crate::eval::World;
use crate::read::Section;
use crate::report::Problem;
use crate::suggest::did_you_mean;

/// What a protected environment requires when it does not say.
const USUAL: [Requirement; 4] = [
    Requirement::BuiltFrom,
    Requirement::Tested,
    Requirement::Scanned { within: None },
    Requirement::Signed { by: Vec::new() },
];

pub(super) fn build(world: &World<'_>, section: &Section<'_>, position: usize) -> Environment {
    let protected = section.flag("protected").unwrap_or(false);
    let written = section.texts("requires");
    let requires = match written {
        Some(texts) => texts.iter().filter_map(|text| text.parse().ok()).collect(),
        None if protected => USUAL.to_vec(),
        None => Vec::new(),
    };
    Environment {
        protected,
        requires,
        position: Some(position),
        env: section.map("env"),
        secrets: secret::of_environment(world, section),
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
pub(super) fn check_requirements(world: &World<'_>, section: &Section<'_>, project: &Known<'_>) {
    let own = section.name();
    for (index, text) in section.texts("requires").unwrap_or_default().iter().enumerate() {
        let place = section.item_at("requires", index);
        let wrong = match text.parse::<Requirement>() {
            Err(error) => Some((error.to_string(), unread(&error))),
            Ok(requirement) => impossible(&requirement, own.as_ref(), project),
        };
        if let Some((message, help)) = wrong {
            world.report.add(Problem::error(place, message).maybe_help(help));
        }
    }
}

/// The names that requirements may use.
pub(super) struct Known<'k> {
    pub(super) environments: &'k BTreeMap<Name, Environment>,
    pub(super) keys: &'k BTreeMap<Name, TrustedKey>,
}

fn unread(error: &RequirementError) -> Option<String> {
    match error {
        RequirementError::Unknown(kind) => did_you_mean(kind, Requirement::KINDS),
        RequirementError::Bracket(text) => Some(format!("write \"{text})\"")),
        RequirementError::Shape { example, .. } => Some(format!("write it like \"{example}\"")),
    }
}

fn impossible(
    requirement: &Requirement,
    own: Option<&Name>,
    known: &Known<'_>,
) -> Option<(String, Option<String>)> {
    match requirement {
        Requirement::Soaked { environment, .. } if own == Some(environment) => Some((
            format!("an image cannot have soaked in `{environment}` before it is deployed there"),
            Some("name an environment that comes before it".into()),
        )),
        Requirement::Soaked { environment, .. } if !known.environments.contains_key(environment) => {
            let names = known.environments.keys().map(Name::as_str);
            let help = did_you_mean(environment.as_str(), names);
            Some((format!("there is no environment called `{environment}`"), help))
        }
        Requirement::Signed { by } => {
            let missing = by.iter().find(|key| !known.keys.contains_key(*key))?;
            let help = did_you_mean(missing.as_str(), known.keys.keys().map(Name::as_str));
            let declare = format!("declare it: key \"{missing}\" {{ file = \"{missing}.pub\" }}");
            Some((format!("there is no key called `{missing}`"), help.or(Some(declare))))
        }
        Requirement::Approved { count, by } if !by.is_empty() && by.len() < *count as usize => {
            Some((format!("{count} approvals are wanted, and {} may give one", by.len()), None))
        }
        _ => None,
    }
}

/// `key` blocks.
pub(super) fn key(section: &Section<'_>) -> Option<(Name, TrustedKey)> {
    Some((section.name()?, TrustedKey { file: section.text("file")? }))
}
