//! The outcome of a scan. Source: in-toto/attestation, spec/predicates/vuln.md (vulns v0.1); what a policy made of
//! it is Kiln's addition, because findings alone do not say whether an image may go on.

use kiln_model::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::time;

/// What the policy made of the findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Nothing against it.
    Pass,
    /// Something to look at, nothing to stop for.
    Warn,
    /// Refused.
    Fail,
}

/// Findings by severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SeverityCounts {
    /// Critical ones.
    pub critical: u64,
    /// High ones.
    pub high: u64,
    /// Medium ones.
    pub medium: u64,
    /// Low and negligible ones.
    pub low: u64,
    /// Those of unknown severity.
    pub unknown: u64,
}

/// Which policy judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRef {
    /// Its name.
    pub name: String,
    /// Digest of its text.
    pub digest: Digest,
}

/// One vulnerability that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Such as `CVE-2026-0001`.
    pub id: String,
    /// Method and score (`kiln` and `high`, `CVSS_V3` and `7.5`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub severity: Vec<Score>,
    /// Free words: package, version, whether an exception covers it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub annotations: Vec<Value>,
}

/// How severe something is, by one method.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Score {
    /// Whose scale.
    pub method: String,
    /// What it says.
    pub score: String,
}

/// An image was scanned and a policy judged what was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Wire", into = "Wire")]
pub struct ScanResult {
    /// The scanner, such as `https://kiln.dev/scan`.
    pub scanner: String,
    /// Its version.
    pub version: String,
    /// Digest of the advisories that were compared with.
    pub advisories: Option<Digest>,
    /// How old these are: their date, milliseconds since the epoch.
    pub advisories_at_ms: Option<u64>,
    /// The policy that judged.
    pub policy: Option<PolicyRef>,
    /// What it said. Scans of other tools have none, and count for nothing.
    pub outcome: Option<Outcome>,
    /// How much was found.
    pub counts: SeverityCounts,
    /// What was found.
    pub findings: Vec<Finding>,
    /// Digest of the bill of materials that was scanned.
    pub sbom: Option<Digest>,
    /// When it ended, milliseconds since the epoch.
    pub at_ms: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    scanner: Scanner,
    metadata: Metadata,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kiln: Option<Kiln>,
}

#[derive(Serialize, Deserialize)]
struct Scanner {
    uri: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    db: Database,
    #[serde(default)]
    result: Vec<Finding>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Database {
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(with = "time::rfc3339", skip_serializing_if = "Option::is_none")]
    last_update: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default, with = "time::rfc3339", skip_serializing_if = "Option::is_none")]
    scan_started_on: Option<u64>,
    #[serde(default, with = "time::rfc3339", skip_serializing_if = "Option::is_none")]
    scan_finished_on: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct Kiln {
    outcome: Option<Outcome>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy: Option<PolicyRef>,
    #[serde(default)]
    counts: SeverityCounts,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sbom: Option<Digest>,
}

impl From<Wire> for ScanResult {
    fn from(wire: Wire) -> Self {
        let none = Kiln { outcome: None, policy: None, counts: SeverityCounts::default(), sbom: None };
        let kiln = wire.kiln.unwrap_or(none);
        Self {
            scanner: wire.scanner.uri,
            version: wire.scanner.version,
            advisories: wire.scanner.db.version.and_then(|version| version.parse().ok()),
            advisories_at_ms: wire.scanner.db.last_update,
            policy: kiln.policy,
            outcome: kiln.outcome,
            counts: kiln.counts,
            findings: wire.scanner.result,
            sbom: kiln.sbom,
            at_ms: wire.metadata.scan_finished_on,
        }
    }
}

impl From<ScanResult> for Wire {
    fn from(scan: ScanResult) -> Self {
        let db = Database {
            uri: None,
            version: scan.advisories.map(|digest| digest.to_string()),
            last_update: scan.advisories_at_ms,
        };
        let kiln = Kiln { outcome: scan.outcome, policy: scan.policy, counts: scan.counts, sbom: scan.sbom };
        Self {
            scanner: Scanner { uri: scan.scanner, version: scan.version, db, result: scan.findings },
            metadata: Metadata { scan_started_on: scan.at_ms, scan_finished_on: scan.at_ms },
            kiln: Some(kiln),
        }
    }
}
