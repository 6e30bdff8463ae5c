//! What evidence says about an image, as in-toto predicates.
//!
//! | predicate | type | source |
//! |---|---|---|
//! | built from | `https://slsa.dev/provenance/v1` | SLSA 1.0 |
//! | tested | `https://in-toto.io/attestation/test-result/v0.1` | in-toto/attestation |
//! | scanned | `https://in-toto.io/attestation/vulns/v0.1` | in-toto/attestation |
//! | SBOM | `https://cyclonedx.org/bom`, `https://spdx.dev/Document` | in-toto/attestation |
//! | approved, soaked | `https://kiln.dev/attestation/approval/v1`, `…/soak/v1` | Kiln's own |
//!
//! What Kiln adds to a predicate of others is under the name `kiln`: readers of such predicates pass over names
//! that they do not know (in-toto's monotonic principle), and so does Kiln.

mod approval;
mod provenance;
mod scan;
mod soak;
mod test_result;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use approval::Approval;
pub use provenance::{BuildDefinition, BuildMetadata, Builder, Provenance, Resource, RunDetails};
pub use scan::{Finding, Outcome, PolicyRef, ScanResult, Score, SeverityCounts};
pub use soak::Soak;
pub use test_result::{TestOutcome, TestResult};

/// What a piece of evidence says.
#[derive(Clone, Debug, PartialEq)]
pub enum Predicate {
    /// Provenance.
    BuiltFrom(Provenance),
    /// Checks were run.
    Tested(TestResult),
    /// A scan was made and judged.
    Scanned(ScanResult),
    /// A person said yes.
    Approved(Approval),
    /// A release ran for a time.
    Soaked(Soak),
    /// What is in the image.
    Sbom {
        /// In which language.
        format: SbomFormat,
        /// The document.
        document: Value,
    },
    /// Something that Kiln carries along and does not judge.
    Other {
        /// Its type.
        predicate_type: String,
        /// What it says.
        predicate: Value,
    },
}

/// How a software bill of materials is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SbomFormat {
    /// CycloneDX JSON.
    CycloneDx,
    /// SPDX JSON.
    Spdx,
}

/// SLSA provenance 1.0.
pub const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
/// in-toto's test result.
pub const TEST_RESULT: &str = "https://in-toto.io/attestation/test-result/v0.1";
/// in-toto's vulnerability scan.
pub const VULNS: &str = "https://in-toto.io/attestation/vulns/v0.1";
/// Kiln's approval.
pub const APPROVAL: &str = "https://kiln.dev/attestation/approval/v1";
/// Kiln's soak.
pub const SOAK: &str = "https://kiln.dev/attestation/soak/v1";
/// A CycloneDX document.
pub const CYCLONEDX: &str = "https://cyclonedx.org/bom";
/// An SPDX document.
pub const SPDX: &str = "https://spdx.dev/Document";

impl Predicate {
    /// The URI of its type.
    pub fn type_uri(&self) -> &str {
        match self {
            Self::BuiltFrom(_) => PROVENANCE,
            Self::Tested(_) => TEST_RESULT,
            Self::Scanned(_) => VULNS,
            Self::Approved(_) => APPROVAL,
            Self::Soaked(_) => SOAK,
            Self::Sbom { format: SbomFormat::CycloneDx, .. } => CYCLONEDX,
            Self::Sbom { format: SbomFormat::Spdx, .. } => SPDX,
            Self::Other { predicate_type, .. } => predicate_type,
        }
    }

    /// One word for people: `built-from`, `tested`, `scanned`, `approved`, `soaked`, `sbom`, `other`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::BuiltFrom(_) => "built-from",
            Self::Tested(_) => "tested",
            Self::Scanned(_) => "scanned",
            Self::Approved(_) => "approved",
            Self::Soaked(_) => "soaked",
            Self::Sbom { .. } => "sbom",
            Self::Other { .. } => "other",
        }
    }

    /// When what it tells of was done, in milliseconds since the epoch, if it says so.
    pub fn at_ms(&self) -> Option<u64> {
        match self {
            Self::BuiltFrom(provenance) => provenance.run_details.metadata.finished_on,
            Self::Tested(result) => result.at_ms,
            Self::Scanned(scan) => scan.at_ms,
            Self::Approved(approval) => Some(approval.at_ms),
            Self::Soaked(soak) => Some(soak.until_ms),
            Self::Sbom { .. } | Self::Other { .. } => None,
        }
    }

    /// The predicate's document.
    pub fn to_json(&self) -> Result<Value, serde_json::Error> {
        match self {
            Self::BuiltFrom(provenance) => serde_json::to_value(provenance),
            Self::Tested(result) => serde_json::to_value(result),
            Self::Scanned(scan) => serde_json::to_value(scan),
            Self::Approved(approval) => serde_json::to_value(approval),
            Self::Soaked(soak) => serde_json::to_value(soak),
            Self::Sbom { document, .. } => Ok(document.clone()),
            Self::Other { predicate, .. } => Ok(predicate.clone()),
        }
    }

    /// Reads a predicate by its type. Types that Kiln does not know are [`Predicate::Other`]; a known type that
    /// does not hold what it must is an error.
    pub fn from_json(predicate_type: &str, predicate: Value) -> Result<Self, serde_json::Error> {
        Ok(match predicate_type {
            PROVENANCE => Self::BuiltFrom(serde_json::from_value(predicate)?),
            TEST_RESULT => Self::Tested(serde_json::from_value(predicate)?),
            VULNS => Self::Scanned(serde_json::from_value(predicate)?),
            APPROVAL => Self::Approved(serde_json::from_value(predicate)?),
            SOAK => Self::Soaked(serde_json::from_value(predicate)?),
            CYCLONEDX => Self::Sbom { format: SbomFormat::CycloneDx, document: predicate },
            // cosign writes the first, the specification names the second of versions.
            SPDX | "https://spdx.dev/Document/v2.3" => {
                Self::Sbom { format: SbomFormat::Spdx, document: predicate }
            }
            other => Self::Other { predicate_type: other.to_owned(), predicate },
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Typed {
    predicate_type: String,
    predicate: Value,
}

impl Serialize for Predicate {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let predicate = self.to_json().map_err(serde::ser::Error::custom)?;
        Typed { predicate_type: self.type_uri().to_owned(), predicate }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Predicate {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let typed = Typed::deserialize(deserializer)?;
        Self::from_json(&typed.predicate_type, typed.predicate).map_err(serde::de::Error::custom)
    }
}
