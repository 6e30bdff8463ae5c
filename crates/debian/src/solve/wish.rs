//! What a person may write as a package: `name` or `name=version`.

use super::universe::Universe;
use crate::Error;
use crate::relation::{Bound, Group, Operator, Relation};

/// At most this many suggestions, versions or providers are named in an error.
const NAMED: usize = 5;

/// The requirement that a wish stands for.
pub(super) fn group(universe: &Universe<'_>, text: &str) -> Result<Group, Error> {
    let (name, version) = match text.split_once('=') {
        Some((name, version)) => (name.trim(), Some(version.trim())),
        None => (text.trim(), None),
    };
    if !is_name(name) {
        return Err(Error::PackageName { text: text.to_owned() });
    }
    let plain = Relation { name: name.to_owned(), qualifier: None, bound: None };
    let versions = universe.versions(name);
    if versions.is_empty() {
        return provided(universe, plain, version.is_some());
    }
    let Some(version) = version else { return Ok(vec![plain]) };
    let wrong = || {
        let versions = versions.iter().take(NAMED).map(|number| universe.entry(*number).row.version());
        Error::NoVersion {
            name: name.to_owned(),
            version: version.to_owned(),
            versions: versions.collect::<Vec<_>>().join(", "),
        }
    };
    // By text: `1.0` and `1.0-0` are equal to dpkg, but only one of them is what was asked for.
    if !versions.iter().any(|number| universe.entry(*number).row.version() == version) {
        return Err(wrong());
    }
    let bound = Bound { operator: Operator::Equal, version: version.parse().map_err(|_| wrong())? };
    Ok(vec![Relation { bound: Some(bound), ..plain }])
}

/// A name that only others provide stands for the one that does.
fn provided(universe: &Universe<'_>, relation: Relation, pinned: bool) -> Result<Group, Error> {
    let providers = universe.providers(&relation);
    match &providers[..] {
        [] => Err(Error::NoPackage { hint: suggestions(universe, &relation.name), name: relation.name }),
        [_] if !pinned => Ok(vec![relation]),
        several => {
            let names: Vec<&str> = several.iter().map(|(name, _)| *name).collect();
            Err(Error::Virtual { name: relation.name, providers: names.join(", ") })
        }
    }
}

/// Policy 5.6.1.
fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.');
    text.len() >= 2 && text.as_bytes()[0].is_ascii_alphanumeric() && text.bytes().all(plain)
}

fn suggestions(universe: &Universe<'_>, name: &str) -> String {
    let mut close: Vec<(usize, &str)> = universe
        .names()
        .filter(|other| other.len().abs_diff(name.len()) <= 3)
        .map(|other| (strsim::damerau_levenshtein(name, other), other))
        .filter(|(distance, _)| *distance <= 1 + name.len() / 5)
        .collect();
    close.sort_unstable();
    let best = close.first().map_or(0, |(distance, _)| *distance);
    let names: Vec<&str> =
        close.iter().filter(|(distance, _)| *distance == best).take(NAMED).map(|(_, other)| *other).collect();
    match &names[..] {
        [] => "check the spelling, the suite and its components".to_owned(),
        names => format!("did you mean {}?", names.join(" or ")),
    }
}
