//! What was built, from which inputs, by whom. Source: SLSA 1.0, slsa.dev/spec/v1.0/provenance; resources are those
//! of in-toto/attestation, spec/v1/resource_descriptor.md.

use std::collections::BTreeMap;

use kiln_model::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::time;

/// SLSA provenance 1.0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    /// What was asked for, and what went in.
    pub build_definition: BuildDefinition,
    /// Who did it, and when.
    pub run_details: RunDetails,
}

/// What was asked for, and what went in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildDefinition {
    /// How the other fields are to be read: [`Provenance::BUILD_TYPE`] for bakes.
    pub build_type: String,
    /// What the person asked for: the recipe, the image's name.
    pub external_parameters: Value,
    /// What the builder added: its settings. Null for nothing.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub internal_parameters: Value,
    /// Everything that went in, with digests: packages and bases of the lock, files of the context.
    #[serde(default)]
    pub resolved_dependencies: Vec<Resource>,
}

/// Who did it, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunDetails {
    /// The builder.
    pub builder: Builder,
    /// This one run.
    #[serde(default)]
    pub metadata: BuildMetadata,
    /// What came out besides the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub byproducts: Vec<Resource>,
}

/// The builder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Builder {
    /// A URI that says which builder, and how far it can be trusted.
    pub id: String,
    /// Versions of its parts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub version: BTreeMap<String, String>,
}

/// One run of a builder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BuildMetadata {
    /// What the run is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invocation_id: Option<String>,
    /// When it began, milliseconds since the epoch.
    #[serde(with = "time::rfc3339", skip_serializing_if = "Option::is_none")]
    pub started_on: Option<u64>,
    /// When it ended, milliseconds since the epoch.
    #[serde(with = "time::rfc3339", skip_serializing_if = "Option::is_none")]
    pub finished_on: Option<u64>,
}

/// A thing with a digest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Resource {
    /// What it is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where it is: `pkg:deb/debian/…`, `https://…`, `git+https://…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Digests by algorithm, in hex.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub digest: BTreeMap<String, String>,
    /// Free annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, Value>,
}

impl Provenance {
    /// The build type of what `kiln bake` makes: `externalParameters` holds `image` (its name in the spec) and
    /// `recipe` (the recipe as the spec gave it); `resolvedDependencies` are the inputs of the lock.
    pub const BUILD_TYPE: &'static str = "https://kiln.dev/build/bake/v1";
}

impl Resource {
    /// A thing that has a name, or a place, and a SHA-256 digest.
    pub fn new(name: Option<String>, uri: Option<String>, digest: &Digest) -> Self {
        let digest = BTreeMap::from([("sha256".to_owned(), digest.hex())]);
        Self { name, uri, digest, annotations: BTreeMap::new() }
    }
}
