//! What is stored of an advisory: the text for reports, and apart from it what is affected, by package, so that
//! matching reads nothing that it does not need.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kiln_model::Digest;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::texts::Texts;
use crate::advisories::names;
use crate::advisories::osv::{Advisory, Affected, Event, Rating, Reference};

/// Characters of a summary that are shown.
const SUMMARY: usize = 200;

/// An advisory without what it affects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Text {
    id: String,
    modified: Option<Timestamp>,
    published: Option<Timestamp>,
    aliases: Vec<String>,
    upstream: Vec<String>,
    summary: String,
    details: String,
    ratings: Vec<Rating>,
    word: Option<String>,
    references: Vec<Reference>,
}

/// What findings take from a stored text. The long text, most of what is stored, is passed over where there is a
/// short one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Told {
    pub(crate) id: String,
    pub(crate) modified: Option<Timestamp>,
    pub(crate) published: Option<Timestamp>,
    pub(crate) aliases: Vec<String>,
    pub(crate) upstream: Vec<String>,
    /// On one line; empty when there is none.
    pub(crate) summary: String,
    /// The beginning of the long text on one line, when there is no summary.
    #[serde(skip)]
    pub(crate) beginning: String,
    pub(crate) ratings: Vec<Rating>,
    pub(crate) word: Option<String>,
    pub(crate) references: Vec<Reference>,
}

impl Told {
    pub(crate) fn read(json: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Long {
            details: String,
        }
        let mut told: Self = serde_json::from_slice(json)?;
        told.summary = one_line(&told.summary);
        if told.summary.is_empty() {
            told.beginning = one_line(&serde_json::from_slice::<Long>(json)?.details);
        }
        Ok(told)
    }
}

/// The beginning of a text, with all its white space as single blanks.
fn one_line(text: &str) -> String {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        // A character has at least one byte; a long text may have a hundred thousand.
        if line.len() > SUMMARY
            && let Some((end, _)) = line.char_indices().nth(SUMMARY)
        {
            line.truncate(line[..end].trim_end().len());
            line.push('…');
            break;
        }
    }
    line
}

/// What an advisory says about one package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Scope {
    pub(crate) ranges: Vec<Span>,
    pub(crate) versions: Texts,
    pub(crate) ratings: Vec<Rating>,
    pub(crate) word: Option<String>,
    pub(crate) informational: Option<String>,
    pub(crate) systems: Vec<String>,
}

/// A range; those over Git commits are left out, a package has none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Span {
    /// Versions are semantic ones whatever the ecosystem.
    pub(crate) semantic: bool,
    pub(crate) events: Vec<Event>,
}

/// An advisory as the data file holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) modified: Option<Timestamp>,
    pub(crate) digest: Digest,
    pub(crate) withdrawn: bool,
    pub(crate) text: String,
    /// (ecosystem, package) -> JSON of its scopes.
    pub(crate) affects: Vec<(String, String, String)>,
}

impl Entry {
    pub(crate) fn new(advisory: Advisory) -> Result<Self, serde_json::Error> {
        let mut scopes: BTreeMap<(String, String), Vec<Scope>> = BTreeMap::new();
        let withdrawn = advisory.withdrawn.is_some();
        // What was taken back affects nothing; it is kept so that its state is known.
        let affected =
            advisory.affected.iter().filter(|affected| !withdrawn && !affected.package.name.is_empty());
        for affected in affected {
            let key = names::stored(&affected.package.ecosystem, &affected.package.name);
            scopes.entry(key).or_default().push(Scope::new(affected));
        }
        let affects = scopes
            .into_iter()
            .map(|((ecosystem, name), scopes)| Ok((ecosystem, name, serde_json::to_string(&scopes)?)))
            .collect::<Result<_, serde_json::Error>>()?;
        let word = advisory.word().map(str::to_owned);
        let text = Text {
            id: advisory.id,
            modified: advisory.modified,
            published: advisory.published,
            aliases: advisory.aliases,
            upstream: advisory.upstream,
            summary: advisory.summary,
            details: advisory.details,
            ratings: advisory.severity,
            word,
            references: advisory.references,
        };
        let json = serde_json::to_string(&text)?;
        let digest = Digest::from_bytes([0; 32]);
        let mut entry = Self { modified: text.modified, digest, withdrawn, affects, text: json, id: text.id };
        entry.digest = entry.sum();
        Ok(entry)
    }

    /// The digest of everything that findings depend on; `affects` is in the order of its keys.
    pub(crate) fn sum(&self) -> Digest {
        let mut hash = Sha256::new();
        hash.update([u8::from(self.withdrawn)]);
        let affects = self.affects.iter().flat_map(|(ecosystem, name, scopes)| [ecosystem, name, scopes]);
        for part in [&self.id, &self.text].into_iter().chain(affects) {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        Digest::from_bytes(hash.finalize().into())
    }

    /// Whether it replaces another entry of the same id: the newer one does, and of two equally old ones always the
    /// same.
    pub(crate) fn replaces(&self, modified: Option<Timestamp>, digest: &Digest) -> bool {
        (self.modified, self.digest) > (modified, *digest)
    }
}

impl Scope {
    fn new(affected: &Affected) -> Self {
        let spans = affected.ranges.iter().filter(|range| range.kind != "GIT");
        Self {
            ranges: spans
                .map(|range| Span { semantic: range.kind == "SEMVER", events: range.events.clone() })
                .collect(),
            versions: affected.versions.iter().map(String::as_str).collect(),
            ratings: affected.severity.clone(),
            word: affected.word().map(str::to_owned),
            informational: affected.informational().map(str::to_owned),
            systems: affected.systems(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_a_text() {
        assert_eq!(one_line("  one\n\n two\tthree "), "one two three");
        assert_eq!(one_line(" \n"), "");
        let exactly = "é".repeat(SUMMARY);
        assert_eq!(one_line(&exactly), exactly);
        assert_eq!(one_line(&format!("{exactly} more")), format!("{exactly}…"));
        assert_eq!(one_line(&format!("{exactly}e")), format!("{exactly}…"));
        let long = one_line(&"word ".repeat(1000));
        assert!(long.ends_with("word…") && long.chars().count() <= SUMMARY + 1, "{long}");
    }

    #[test]
    fn the_long_text_counts_where_there_is_no_short_one() {
        let read = |summary: &str, details: &str| {
            let advisory = Advisory {
                id: "A-1".into(),
                summary: summary.into(),
                details: details.into(),
                ..Advisory::default()
            };
            let told = Told::read(Entry::new(advisory).unwrap().text.as_bytes()).unwrap();
            (told.summary, told.beginning)
        };
        assert_eq!(read(" short\n", "long"), ("short".into(), String::new()));
        assert_eq!(read(" \n", "a \"long\"\ntext"), (String::new(), "a \"long\" text".into()));
        assert_eq!(read("", ""), (String::new(), String::new()));
    }
}
