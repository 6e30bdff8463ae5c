//! The text of a verified InRelease file: what the archive says of a suite, and the digests of its indices.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::Error;

/// Compressions of `Packages` we read, best first, with the ending of their files.
const ENDINGS: [&str; 3] = ["Packages.xz", "Packages.gz", "Packages"];

/// A suite's Release file.
#[derive(Clone, Debug)]
pub(crate) struct Release {
    pub(crate) suite: String,
    pub(crate) codename: String,
    /// When it was made.
    pub(crate) date: Timestamp,
    /// Until when it may be used.
    pub(crate) valid_until: Option<Timestamp>,
    /// Whether files can be had under their digests.
    pub(crate) by_hash: bool,
    /// Path below the suite's folder to digest (64 hex digits) and size in bytes.
    files: BTreeMap<String, (String, u64)>,
}

/// An index file that a Release names.
#[derive(Clone, Debug)]
pub(crate) struct IndexFile {
    /// Below the suite's folder.
    pub(crate) path: String,
    pub(crate) sha256: String,
    pub(crate) size: u64,
}

impl IndexFile {
    /// Where to ask for it: by digest first, which cannot race with an update of the mirror.
    pub(crate) fn urls(&self, root: &str, suite: &str, by_hash: bool) -> Vec<String> {
        let plain = format!("{root}/dists/{suite}/{}", self.path);
        let folder = plain.rsplit_once('/').map_or("", |(folder, _)| folder);
        let hashed = by_hash.then(|| format!("{folder}/by-hash/SHA256/{}", self.sha256));
        hashed.into_iter().chain([plain]).collect()
    }
}

impl Release {
    /// Reads the signed text; `url` is for messages.
    pub(crate) fn parse(url: &str, text: &str) -> Result<Self, Error> {
        let wrong = |what: &str| Error::Release { url: url.to_owned(), what: what.to_owned() };
        let mut fields = BTreeMap::new();
        let mut files = BTreeMap::new();
        let mut section = "";
        for line in text.lines() {
            if let Some(entry) = line.strip_prefix(' ') {
                if section == "SHA256" {
                    let (path, file) =
                        entry_of(entry).ok_or_else(|| wrong("it has a broken list of files"))?;
                    files.insert(path, file);
                }
            } else if let Some((name, value)) = line.split_once(':') {
                section = name;
                if fields.insert(name, value.trim()).is_some() {
                    return Err(wrong(&format!("it has two fields {name}")));
                }
            } else if !line.trim().is_empty() {
                return Err(wrong("a line of it is no field"));
            }
        }
        let field = |name: &str| fields.get(name).copied().unwrap_or_default();
        let time = |name: &str| match field(name) {
            "" => Ok(None),
            text => date(text).map(Some).ok_or_else(|| wrong(&format!("its {name} is no date: {text:?}"))),
        };
        Ok(Self {
            suite: field("Suite").to_owned(),
            codename: field("Codename").to_owned(),
            date: time("Date")?.ok_or_else(|| wrong("it has no Date"))?,
            valid_until: time("Valid-Until")?,
            by_hash: field("Acquire-By-Hash") == "yes",
            files,
        })
    }

    /// Whether it is the Release of the suite that was asked for, and still valid at `now` (if given).
    pub(crate) fn check(&self, url: &str, suite: &str, now: Option<i64>) -> Result<(), Error> {
        if self.suite != suite && self.codename != suite {
            return Err(Error::OtherSuite {
                url: url.to_owned(),
                wanted: suite.to_owned(),
                found: format!("{} ({})", self.codename, self.suite),
            });
        }
        match (self.valid_until, now) {
            (Some(until), Some(now)) if until.as_second() < now => {
                Err(Error::Expired { url: url.to_owned(), until })
            }
            _ => Ok(()),
        }
    }

    /// The package list of a component for an architecture.
    pub(crate) fn packages(
        &self,
        suite: &str,
        component: &str,
        architecture: &str,
    ) -> Result<IndexFile, Error> {
        let folder = format!("{component}/binary-{architecture}");
        let found = ENDINGS.iter().find_map(|ending| {
            let path = format!("{folder}/{ending}");
            let (sha256, size) = self.files.get(&path)?.clone();
            Some(IndexFile { path, sha256, size })
        });
        found.ok_or_else(|| Error::NoIndex {
            suite: suite.to_owned(),
            component: component.to_owned(),
            architecture: architecture.to_owned(),
            offered: self.offered(),
        })
    }

    /// What there is instead: `main/amd64`, `main/arm64`.
    fn offered(&self) -> String {
        let mut offered: Vec<String> = self
            .files
            .keys()
            .filter_map(|path| {
                let (component, rest) = path.split_once("/binary-")?;
                let architecture = rest.strip_suffix("/Packages")?;
                Some(format!("{component}/{architecture}"))
            })
            .collect();
        offered.dedup();
        offered.join(", ")
    }
}

fn entry_of(line: &str) -> Option<(String, (String, u64))> {
    let mut words = line.split_ascii_whitespace();
    let (digest, size, path) = (words.next()?, words.next()?, words.next()?);
    let hex = digest.len() == 64 && digest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let plain = !path.starts_with('/') && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if !hex || !plain || words.next().is_some() {
        return None;
    }
    Some((path.to_owned(), (digest.to_owned(), size.parse().ok()?)))
}

/// RFC 2822 dates as archives write them: `Sat, 11 Jul 2026 10:16:37 UTC`.
fn date(text: &str) -> Option<Timestamp> {
    let text = text.strip_suffix("UTC").map_or(text.to_owned(), |text| format!("{text}+0000"));
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok()
}
