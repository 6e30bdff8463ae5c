//! A judgement for people and for programs: text, JSON, SARIF.
//!
//! The JSON form is [`Report`] as serde writes it. Fields are only added; whoever reads it ignores those it does not
//! know. `schema` changes when the meaning of a field does.

mod sarif;
mod text;

use jiff::Timestamp;
use kiln_model::Digest;
use serde::{Deserialize, Serialize};

use crate::facts::Facts;
use crate::policy::{Found, Judgement};

/// Identifier of the JSON form.
pub const SCHEMA: &str = "dev.kiln.scan-report.v1";

/// A judgement, and what it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// The image as it was asked for: a name of the spec, a tag.
    pub name: String,
    /// Digest of the image's manifest.
    pub image: Option<Digest>,
    /// When it was judged.
    pub judged: Timestamp,
    /// How new the advisories were that it was judged by.
    pub advisories: Option<Timestamp>,
    /// What the policy says.
    pub judgement: Judgement,
    /// Facts about the image.
    pub facts: Option<Facts>,
}

impl Report {
    /// A report about an image that was just judged.
    pub fn new(name: &str, judgement: Judgement, found: &Found, now: Timestamp) -> Self {
        Self {
            schema: SCHEMA.into(),
            name: name.into(),
            image: found.facts.as_ref().map(|facts| facts.image),
            judged: now,
            advisories: found.advisories,
            judgement,
            facts: found.facts.clone(),
        }
    }

    /// For a terminal. With `colour`, escapes of ANSI; with `all`, also what passes and was accepted, one by one.
    pub fn text(&self, colour: bool, all: bool) -> String {
        text::render(self, colour, all)
    }

    /// JSON with line breaks.
    ///
    /// # Errors
    ///
    /// Never in practice: every field can be written.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// SARIF 2.1.0. `version` is that of the program that scanned.
    ///
    /// # Errors
    ///
    /// Never in practice: every field can be written.
    pub fn sarif(&self, version: &str) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(&sarif::log(self, version)).map(|text| text + "\n")
    }
}
