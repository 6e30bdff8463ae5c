//! What is stored of an advisory: the text for reports, and apart from it what is affected, by package, so that
//! matching reads nothing that it does not need.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kiln_model::Digest;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::advisories::names;
use crate::advisories::osv::{Advisory, Affected, Event, Rating, Reference};

/// An advisory without what it affects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Text {
    pub(crate) id: String,
    pub(crate) modified: Option<Timestamp>,
    pub(crate) published: Option<Timestamp>,
    pub(crate) aliases: Vec<String>,
    pub(crate) upstream: Vec<String>,
    pub(crate) summary: String,
    pub(crate) details: String,
    pub(crate) ratings: Vec<Rating>,
    pub(crate) word: Option<String>,
    pub(crate) references: Vec<Reference>,
}

/// What an advisory says about one package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Scope {
    pub(crate) ranges: Vec<Span>,
    pub(crate) versions: Vec<String>,
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
            versions: affected.versions.clone(),
            ratings: affected.severity.clone(),
            word: affected.word().map(str::to_owned),
            informational: affected.informational().map(str::to_owned),
            systems: affected.systems(),
        }
    }
}
