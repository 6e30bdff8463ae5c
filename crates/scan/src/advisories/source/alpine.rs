//! Alpine's security database: package -> version -> the vulnerabilities that it fixed, converted to one OSV document
//! for each vulnerability. Version `0` says that the package was never affected.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::Path;

use serde::Deserialize;

use super::{Limits, Sink, local};
use crate::advisories::AdvisoryError;
use crate::advisories::osv::{Advisory, Affected, Event, Named, Range, Reference};
use crate::version::Scheme;

#[derive(Deserialize)]
struct Database {
    distroversion: String,
    reponame: String,
    packages: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    pkg: Fixes,
}

#[derive(Deserialize)]
struct Fixes {
    name: String,
    #[serde(default)]
    secfixes: Option<BTreeMap<String, Option<Vec<String>>>>,
}

fn load(path: &Path, limits: Limits) -> Result<Database, AdvisoryError> {
    let file = local::open(path, limits)?;
    serde_json::from_reader(BufReader::new(file)).map_err(|source| AdvisoryError::Shape {
        from: path.display().to_string(),
        expected: "a security database of Alpine",
        source,
    })
}

/// What the source is called: its branch and repository.
pub(super) fn name(path: &Path, limits: Limits) -> Result<String, AdvisoryError> {
    let database = load(path, limits)?;
    Ok(format!("alpine/{}/{}", database.distroversion, database.reponame))
}

/// Converts the database in a file.
pub(super) fn read(path: &Path, limits: Limits, sink: &mut Sink<'_>) -> Result<(), AdvisoryError> {
    let database = load(path, limits)?;
    let ecosystem = format!("Alpine:{}", database.distroversion);
    // (vulnerability, package) -> the newest version that fixed it: a fix may have been incomplete at first.
    let mut fixes: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for Row { pkg } in database.packages {
        for (version, ids) in pkg.secfixes.into_iter().flatten() {
            // A line may name several (`CVE-2019-1 GHSA-x`) and carry remarks in brackets.
            let ids = ids.into_iter().flatten();
            let ids: Vec<String> =
                ids.flat_map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect();
            for id in ids
                .into_iter()
                .filter(|id| id.contains('-') && id.starts_with(|c: char| c.is_ascii_alphabetic()))
            {
                let fixed =
                    fixes.entry(id).or_default().entry(pkg.name.clone()).or_insert_with(|| version.clone());
                if Scheme::Apk.compare(&version, fixed).is_ok_and(std::cmp::Ordering::is_gt) {
                    fixed.clone_from(&version);
                }
            }
        }
    }
    fixes.into_iter().try_for_each(|(id, packages)| {
        let affected: Vec<Affected> = packages
            .into_iter()
            .filter(|(_, version)| version != "0")
            .map(|(package, version)| affected(&ecosystem, package, version))
            .collect();
        if affected.is_empty() { Ok(()) } else { sink(advisory(&id, affected)) }
    })
}

fn advisory(id: &str, affected: Vec<Affected>) -> Advisory {
    let url = format!("https://security.alpinelinux.org/vuln/{id}");
    Advisory {
        id: format!("ALPINE-{id}"),
        upstream: vec![id.to_owned()],
        affected,
        references: vec![Reference { kind: "ADVISORY".to_owned(), url }],
        ..Advisory::default()
    }
}

fn affected(ecosystem: &str, package: String, fixed: String) -> Affected {
    let events = vec![
        Event { introduced: Some("0".to_owned()), ..Event::default() },
        Event { fixed: Some(fixed), ..Event::default() },
    ];
    Affected {
        package: Named { ecosystem: ecosystem.to_owned(), name: package },
        ranges: vec![Range { kind: "ECOSYSTEM".to_owned(), events }],
        ..Affected::default()
    }
}
