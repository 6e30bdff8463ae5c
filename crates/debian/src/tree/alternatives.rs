//! The alternatives system: `/etc/alternatives`, from plain `update-alternatives --install` lines in `postinst`.
//!
//! Of each name the candidate of the highest priority is taken, as in automatic mode; of equals the first by path.

use std::collections::BTreeMap;

use super::builder::Builder;
use super::shell;
use crate::Error;
use crate::deb::Package;

struct Candidate {
    priority: i64,
    /// Link, name and path, the master's first.
    links: Vec<(String, String, String)>,
}

pub(super) fn add(builder: &mut Builder, packages: &[Package]) -> Result<(), Error> {
    let mut best: BTreeMap<String, Candidate> = BTreeMap::new();
    for package in packages {
        let script = package.control_text("postinst")?.unwrap_or_default();
        for words in shell::commands(&script, "update-alternatives") {
            let Some((name, candidate)) = candidate(&words) else { continue };
            if !builder.exists(candidate.links[0].2.trim_start_matches('/')) {
                continue;
            }
            let rank = |candidate: &Candidate| (-candidate.priority, candidate.links[0].2.clone());
            if best.get(&name).is_none_or(|known| rank(&candidate) < rank(known)) {
                best.insert(name, candidate);
            }
        }
    }
    for (link, name, path) in best.into_values().flat_map(|candidate| candidate.links) {
        if !builder.exists(path.trim_start_matches('/')) {
            continue;
        }
        builder.folder("etc/alternatives", 0o755);
        builder.link(&format!("etc/alternatives/{name}"), path);
        builder.link(link.trim_start_matches('/'), format!("/etc/alternatives/{name}"));
    }
    Ok(())
}

/// `--install LINK NAME PATH PRIORITY [--slave LINK NAME PATH]…`.
fn candidate(words: &[String]) -> Option<(String, Candidate)> {
    let mut words = words.iter().map(String::as_str).skip_while(|word| *word != "--install").skip(1);
    let first = triple(&mut words)?;
    let name = first.1.clone();
    let priority = words.next()?.parse().ok()?;
    let mut links = vec![first];
    while let Some(word) = words.next() {
        if matches!(word, "--slave" | "--follower") {
            links.push(triple(&mut words)?);
        }
    }
    Some((name, Candidate { priority, links }))
}

fn triple<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<(String, String, String)> {
    let mut absolute = || {
        let path = words.next()?;
        let plain = path.split('/').skip(1).all(|part| !matches!(part, "" | "." | ".."));
        (path.starts_with('/') && plain).then(|| path.to_owned())
    };
    let link = absolute()?;
    let name = words.next().filter(|name| crate::deb::is_plain_name(&name.replace('_', "-")))?.to_owned();
    let path = words.next().filter(|path| path.starts_with('/') && !path.contains("/../"))?.to_owned();
    Some((link, name, path))
}
