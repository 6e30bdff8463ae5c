//! The host's apt configuration, as far as it tells where mirrors are: `sources.list`, `sources.list.d/*.list`
//! (sources.list(5), one line each), `*.sources` (deb822) and `Acquire::Check-Valid-Until` of apt.conf(5).

use std::fs;
use std::path::{Path, PathBuf};

use super::address;
use crate::lock::Archive;

/// One `deb` entry: an archive's root and a suite it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    url: String,
    suite: String,
}

/// What the host's apt knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) sources: Vec<Source>,
    /// `Acquire::Check-Valid-Until` is off.
    pub(super) stale: bool,
}

impl Host {
    pub(super) fn read(etc: &Path) -> Self {
        let apt = etc.join("apt");
        let mut sources = Vec::new();
        let lists = std::iter::once(apt.join("sources.list"))
            .chain(files(&apt.join("sources.list.d"), "list"))
            .filter_map(|path| fs::read_to_string(path).ok());
        for text in lists {
            sources.extend(text.lines().filter_map(one_line));
        }
        for path in files(&apt.join("sources.list.d"), "sources") {
            sources.extend(fs::read_to_string(path).map(|text| deb822(&text)).unwrap_or_default());
        }
        let stale = folder(&apt.join("apt.conf.d"))
            .into_iter()
            .chain([apt.join("apt.conf")])
            .filter_map(|path| fs::read_to_string(path).ok())
            .filter_map(|text| check_valid_until(&text))
            .next_back()
            .is_some_and(|check| !check);
        Self { sources, stale }
    }
}

/// The roots of an archive: those that serve the suite, else those whose address looks like the archive's.
pub(super) fn roots(sources: &[Source], archive: Archive, suite: &str) -> Vec<String> {
    let belongs = |source: &&Source| archive_of(source) == Some(archive);
    let exact = |source: &&Source| source.suite == suite;
    let mut found: Vec<String> = Vec::new();
    let matching = sources.iter().filter(exact).filter(belongs);
    for source in matching.chain(sources.iter().filter(belongs)) {
        if !found.contains(&source.url) {
            found.push(source.url.clone());
        }
    }
    found
}

/// Which archive an entry is of, by the last segment of its root: third parties' archives are none.
fn archive_of(source: &Source) -> Option<Archive> {
    match source.url.rsplit('/').next()? {
        "debian" => Some(Archive::Debian),
        "debian-security" => Some(Archive::Security),
        // `http://HOST/security` serves `bookworm-security` under its older address.
        "security" if source.suite.ends_with("-security") => Some(Archive::Security),
        _ => None,
    }
}

/// `deb [options] URI SUITE COMPONENT…`.
fn one_line(line: &str) -> Option<Source> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb")?.strip_prefix([' ', '\t'])?.trim_start();
    let rest = match rest.strip_prefix('[') {
        Some(options) => options.split_once(']')?.1,
        None => rest,
    };
    let mut words = rest.split_whitespace();
    let (uri, suite) = (words.next()?, words.next()?);
    Some(Source { url: archive_address(uri)?, suite: suite.to_owned() })
}

fn deb822(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let Ok(document) = text.parse::<deb822_fast::Deb822>() else { return sources };
    for paragraph in document.iter() {
        let words = |field: &str| paragraph.get(field).unwrap_or_default().split_whitespace();
        let off = words("Enabled").any(|word| matches!(word, "no" | "false" | "0" | "off"));
        if off || !words("Types").any(|word| word == "deb") {
            continue;
        }
        for url in words("URIs").filter_map(archive_address) {
            sources.extend(words("Suites").map(|suite| Source { url: url.clone(), suite: suite.to_owned() }));
        }
    }
    sources
}

/// An address we can read from; `cdrom:`, `mirror:` and other methods of apt are not.
fn archive_address(uri: &str) -> Option<String> {
    let uri = uri.strip_prefix("file:").filter(|path| !path.starts_with("//")).unwrap_or(uri);
    address(uri).ok()
}

/// The last plain `Acquire::Check-Valid-Until "…";` of a file.
fn check_valid_until(text: &str) -> Option<bool> {
    text.lines()
        .filter_map(|line| {
            let value = line.trim().strip_prefix("Acquire::Check-Valid-Until")?.trim();
            let value = value.strip_suffix(';').unwrap_or(value).trim().trim_matches('"');
            Some(!matches!(value, "false" | "no" | "0" | "off"))
        })
        .next_back()
}

/// A folder's files with an extension, by name.
fn files(path: &Path, extension: &str) -> Vec<PathBuf> {
    folder(path).into_iter().filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}

fn folder(path: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(path).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}
