//! One finding for one vulnerability, however many databases speak of it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::Hit;

/// Prefixes of databases that convert another database's entries one by one: `DEBIAN-CVE-2024-1` is `CVE-2024-1`.
const CONVERTED: [&str; 5] = ["DEBIAN-", "UBUNTU-", "ALPINE-", "ECHO-", "MINIMOS-"];

/// All names of one vulnerability and what speaks of it.
#[derive(Debug)]
pub(super) struct Group<'a> {
    pub(super) ids: BTreeSet<String>,
    pub(super) hits: Vec<&'a Hit>,
}

/// The names of what an advisory is about: one set, or one for each vulnerability that a collective advisory covers.
fn subjects(hit: &Hit) -> Vec<BTreeSet<String>> {
    let text = &hit.text;
    let mut own: BTreeSet<String> = text.aliases.iter().cloned().collect();
    own.insert(text.id.clone());
    let converted = CONVERTED.iter().find_map(|prefix| text.id.strip_prefix(prefix));
    own.extend(
        converted.filter(|rest| rest.starts_with("CVE-") || rest.starts_with("GHSA-")).map(str::to_owned),
    );
    if own.iter().any(|id| id.starts_with("CVE-")) {
        return vec![own];
    }
    match text.upstream.as_slice() {
        [] => vec![own],
        // A collective advisory (DSA, USN, RHSA) is no alias: it would make its vulnerabilities one.
        several => several.iter().map(|id| BTreeSet::from([id.clone()])).collect(),
    }
}

/// Puts together what has a name in common, directly or through others.
pub(super) fn groups(hits: &[Hit]) -> Vec<Group<'_>> {
    let mut groups: Vec<Option<Group<'_>>> = Vec::new();
    let mut by_id: BTreeMap<String, usize> = BTreeMap::new();
    for hit in hits {
        for ids in subjects(hit) {
            let mut merged = Group { ids, hits: vec![hit] };
            let touched: BTreeSet<usize> =
                merged.ids.iter().filter_map(|id| by_id.get(id).copied()).collect();
            for group in touched.into_iter().filter_map(|index| groups[index].take()) {
                merged.ids.extend(group.ids);
                merged.hits.extend(group.hits);
            }
            by_id.extend(merged.ids.iter().map(|id| (id.clone(), groups.len())));
            groups.push(Some(merged));
        }
    }
    let mut groups: Vec<Group<'_>> = groups.into_iter().flatten().collect();
    for group in &mut groups {
        group.hits.sort_by(|left, right| left.text.id.cmp(&right.text.id).then(left.key.cmp(&right.key)));
        group.hits.dedup_by(|left, right| left.key == right.key);
    }
    groups
}

/// The name that a vulnerability goes by: the oldest CVE, else GitHub's, else the first.
pub(super) fn preferred(ids: &BTreeSet<String>) -> String {
    let rank = |id: &String| (Reverse(id.starts_with("CVE-")), Reverse(id.starts_with("GHSA-")), numbers(id));
    ids.iter().min_by_key(|id| (rank(id), (*id).clone())).cloned().unwrap_or_default()
}

/// `CVE-2024-999` comes before `CVE-2024-1000`.
fn numbers(id: &str) -> Vec<u64> {
    id.split('-').filter_map(|part| part.parse().ok()).collect()
}
