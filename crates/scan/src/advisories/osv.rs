//! Advisories in the Open Source Vulnerability format (<https://ossf.github.io/osv-schema>, version 1.7), as much of
//! it as matching and reporting need.
//!
//! Databases add fields, ecosystems and range types all the time, so nothing unknown is an error: what is not named
//! here is passed over, and a `null` counts as absent. What is named must have its type.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// One advisory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Advisory {
    /// The name in its database, such as `GHSA-…`.
    pub id: String,
    /// When it last changed.
    #[serde(deserialize_with = "moment")]
    pub modified: Option<Timestamp>,
    /// When it was first published.
    #[serde(deserialize_with = "moment")]
    pub published: Option<Timestamp>,
    /// When it was taken back.
    #[serde(deserialize_with = "present")]
    pub withdrawn: Option<String>,
    /// Names of the same vulnerability in other databases.
    #[serde(deserialize_with = "or_default")]
    pub aliases: Vec<String>,
    /// Vulnerabilities that this one is about, where a distribution's advisory covers several.
    #[serde(deserialize_with = "or_default")]
    pub upstream: Vec<String>,
    /// One line.
    #[serde(deserialize_with = "or_default")]
    pub summary: String,
    /// The long text, Markdown.
    #[serde(deserialize_with = "or_default")]
    pub details: String,
    /// Ratings that hold for all packages.
    #[serde(deserialize_with = "or_default")]
    pub severity: Vec<Rating>,
    /// What is affected.
    #[serde(deserialize_with = "or_default")]
    pub affected: Vec<Affected>,
    /// Where to read on.
    #[serde(deserialize_with = "or_default")]
    pub references: Vec<Reference>,
    /// What only the database knows; its severity word is read from here.
    #[serde(deserialize_with = "or_default", skip_serializing)]
    pub database_specific: Value,
}

/// A rating of the severity.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct Rating {
    /// `CVSS_V2`, `CVSS_V3`, `CVSS_V4`, or a name such as `Ubuntu`.
    #[serde(rename = "type", deserialize_with = "or_default")]
    pub kind: String,
    /// A CVSS vector, or the word of the named scale.
    #[serde(deserialize_with = "or_default")]
    pub score: String,
}

/// A place to read on.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct Reference {
    /// Such as `ADVISORY` or `FIX`.
    #[serde(rename = "type", deserialize_with = "or_default")]
    pub kind: String,
    /// The address.
    #[serde(deserialize_with = "or_default")]
    pub url: String,
}

/// An affected package and its affected versions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Affected {
    /// The package; advisories about mere repositories have none.
    #[serde(deserialize_with = "or_default")]
    pub package: Named,
    /// Ratings for this package.
    #[serde(deserialize_with = "or_default")]
    pub severity: Vec<Rating>,
    /// Ranges of versions.
    #[serde(deserialize_with = "or_default")]
    pub ranges: Vec<Range>,
    /// Single versions.
    #[serde(deserialize_with = "or_default")]
    pub versions: Vec<String>,
    /// What only the ecosystem knows.
    #[serde(deserialize_with = "or_default", skip_serializing)]
    pub ecosystem_specific: Value,
    /// What only the database knows.
    #[serde(deserialize_with = "or_default", skip_serializing)]
    pub database_specific: Value,
}

/// A package's name and what it is a name in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Named {
    /// Such as `PyPI` or `Debian:12`; any text.
    #[serde(deserialize_with = "or_default")]
    pub ecosystem: String,
    /// The name.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
}

/// A range of versions as a time line of events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Range {
    /// `SEMVER`, `ECOSYSTEM` or `GIT`.
    #[serde(rename = "type", deserialize_with = "or_default")]
    pub kind: String,
    /// What happened at which version, in any order.
    #[serde(deserialize_with = "or_default")]
    pub events: Vec<Event>,
}

/// One event; exactly one of the fields is there in a good advisory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    /// The first affected version; `0` is before all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub introduced: Option<String>,
    /// The first version that is no longer affected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fixed: Option<String>,
    /// The last version that is known to be affected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_affected: Option<String>,
    /// Nothing from here on is meant by the range; `*` is after all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
}

impl Advisory {
    /// Reads one OSV document.
    ///
    /// # Errors
    /// When it is no JSON object, a known field has another type, or it has no `id`.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let advisory: Self = serde_json::from_slice(bytes)?;
        if advisory.id.trim().is_empty() {
            return Err(serde::de::Error::custom("an advisory without an id"));
        }
        Ok(advisory)
    }

    /// The database's own word for the severity, such as GitHub's `MODERATE`.
    pub(crate) fn word(&self) -> Option<&str> {
        self.database_specific.get("severity")?.as_str()
    }
}

impl Affected {
    /// A word for the severity of this package: Debian's urgency, or a database's severity.
    pub(crate) fn word(&self) -> Option<&str> {
        let urgency = self.ecosystem_specific.get("urgency");
        let severity = || self.ecosystem_specific.get("severity").or(self.database_specific.get("severity"));
        urgency.or_else(severity)?.as_str()
    }

    /// RustSec's reason to warn about a package although it has no vulnerability, such as `unmaintained`.
    pub(crate) fn informational(&self) -> Option<&str> {
        self.database_specific.get("informational")?.as_str()
    }

    /// The operating systems that RustSec names; none means all.
    pub(crate) fn systems(&self) -> Vec<String> {
        let named = self.ecosystem_specific.get("affects").and_then(|affects| affects.get("os"));
        let named = named.and_then(Value::as_array).into_iter().flatten();
        named.filter_map(Value::as_str).map(str::to_owned).collect()
    }
}

fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Go writes a date that is not known as the year 1; no advisory is older than 1970.
fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    let parsed = text.and_then(|text| text.parse::<Timestamp>().ok());
    Ok(parsed.filter(|moment| *moment > Timestamp::UNIX_EPOCH))
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::<String>::deserialize(deserializer)
}
