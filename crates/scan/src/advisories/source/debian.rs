//! The JSON export of Debian's security tracker: source package -> vulnerability -> release -> state, converted to
//! one OSV document for each vulnerability.
//!
//! The tracker has no dates. `fixed_version` `0` says that the release was never affected, `open` that there is no
//! fix yet, `undetermined` that nobody knows: that is no finding.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::Path;

use serde::Deserialize;
use serde_json::json;

use super::{Limits, Sink, local};
use crate::advisories::AdvisoryError;
use crate::advisories::osv::{Advisory, Affected, Event, Named, Range, Reference};

/// Code names and numbers of Debian's releases (distro-info-data); sid has no number.
const RELEASES: [(&str, &str); 11] = [
    ("wheezy", "7"),
    ("jessie", "8"),
    ("stretch", "9"),
    ("buster", "10"),
    ("bullseye", "11"),
    ("bookworm", "12"),
    ("trixie", "13"),
    ("forky", "14"),
    ("duke", "15"),
    ("sid", "sid"),
    ("experimental", "experimental"),
];

#[derive(Deserialize)]
struct Issue {
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    releases: BTreeMap<String, State>,
}

#[derive(Deserialize)]
struct State {
    #[serde(default)]
    status: String,
    #[serde(default)]
    fixed_version: Option<String>,
    #[serde(default)]
    urgency: Option<String>,
}

/// Converts the export in a file.
pub(super) fn read(path: &Path, limits: Limits, sink: &mut Sink<'_>) -> Result<(), AdvisoryError> {
    let file = local::open(path, limits)?;
    let tracker: BTreeMap<String, BTreeMap<String, Issue>> = serde_json::from_reader(BufReader::new(file))
        .map_err(|source| AdvisoryError::Shape {
            from: path.display().to_string(),
            expected: "the JSON export of Debian's security tracker",
            source,
        })?;
    let mut advisories: BTreeMap<String, Advisory> = BTreeMap::new();
    for (package, issues) in tracker {
        for (id, issue) in issues {
            let affected = affected(&package, &issue);
            if affected.is_empty() {
                continue;
            }
            let advisory = advisories.entry(id).or_insert_with_key(|id| advisory(id, &issue));
            advisory.affected.extend(affected);
        }
    }
    advisories.into_values().try_for_each(sink)
}

fn advisory(id: &str, issue: &Issue) -> Advisory {
    let known = id.starts_with("CVE-");
    let url = format!("https://security-tracker.debian.org/tracker/{id}");
    Advisory {
        id: format!("DEBIAN-{id}"),
        upstream: if known { vec![id.to_owned()] } else { Vec::new() },
        details: issue.description.clone().unwrap_or_default(),
        references: vec![Reference { kind: "ADVISORY".to_owned(), url }],
        ..Advisory::default()
    }
}

fn affected(package: &str, issue: &Issue) -> Vec<Affected> {
    let mut affected = Vec::new();
    for (code, state) in &issue.releases {
        let number = RELEASES.iter().find(|(name, _)| name == code).map(|(_, number)| *number);
        let (Some(number), Some(fixed)) = (number, state.fixed()) else { continue };
        let mut events = vec![Event { introduced: Some("0".to_owned()), ..Event::default() }];
        events.extend(fixed.map(|fixed| Event { fixed: Some(fixed.to_owned()), ..Event::default() }));
        affected.push(Affected {
            package: Named { ecosystem: format!("Debian:{number}"), name: package.to_owned() },
            ranges: vec![Range { kind: "ECOSYSTEM".to_owned(), events }],
            ecosystem_specific: json!({ "urgency": state.urgency }),
            ..Affected::default()
        });
    }
    affected
}

impl State {
    /// The version that has the fix, or none yet; `None` when the release is not affected as far as is known.
    fn fixed(&self) -> Option<Option<&str>> {
        match (self.status.as_str(), self.fixed_version.as_deref()) {
            ("resolved", Some("0")) => None,
            ("resolved", Some(version)) => Some(Some(version)),
            ("open", _) => Some(None),
            _ => None,
        }
    }
}
