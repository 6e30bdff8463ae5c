//! in-toto statements: a predicate about things with digests. Source: in-toto/attestation, spec/v1/statement.md.

use std::collections::BTreeMap;

use kiln_model::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::predicate::Predicate;

/// What Kiln writes.
pub const V1: &str = "https://in-toto.io/Statement/v1";
/// What cosign 2 writes.
pub const V0: &str = "https://in-toto.io/Statement/v0.1";

/// A statement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    /// [`V1`] or [`V0`].
    #[serde(rename = "_type")]
    pub kind: String,
    /// What it is about.
    pub subject: Vec<Subject>,
    /// How the predicate is to be read.
    pub predicate_type: String,
    /// What it says.
    #[serde(default)]
    pub predicate: Value,
}

/// A thing that a statement is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Subject {
    /// What it is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Digests by algorithm, in hex.
    pub digest: BTreeMap<String, String>,
}

/// Why bytes are no statement.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// Not the JSON of one.
    #[error("the payload is not an in-toto statement: {0}")]
    Shape(String),
    /// Another version.
    #[error("the payload is a {0}, which Kiln does not read")]
    Version(String),
}

impl Statement {
    /// A statement about an image.
    pub fn about(image: &Digest, predicate: &Predicate) -> Result<Self, serde_json::Error> {
        Ok(Self {
            kind: V1.into(),
            subject: vec![Subject { name: None, digest: BTreeMap::from([("sha256".into(), image.hex())]) }],
            predicate_type: predicate.type_uri().into(),
            predicate: predicate.to_json()?,
        })
    }

    /// Reads a statement.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StatementError> {
        let statement: Self = serde_json::from_slice(bytes)
            .map_err(|error| StatementError::Shape(crate::text::short(&error.to_string())))?;
        if statement.kind != V1 && statement.kind != V0 {
            return Err(StatementError::Version(crate::text::short(&statement.kind)));
        }
        Ok(statement)
    }

    /// Whether an image is among what it is about.
    pub fn names(&self, image: &Digest) -> bool {
        let hex = image.hex();
        self.subject.iter().any(|one| one.digest.get("sha256") == Some(&hex))
    }

    /// The first thing with a SHA-256 digest that it is about.
    pub fn first(&self) -> Option<Digest> {
        let hex = |one: &Subject| format!("sha256:{}", one.digest.get("sha256")?).parse().ok();
        self.subject.iter().find_map(hex)
    }
}
