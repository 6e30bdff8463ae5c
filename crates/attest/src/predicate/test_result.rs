//! The outcome of checks. Source: in-toto/attestation, spec/predicates/test-result.md.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Resource;
use crate::time;

/// How all checks together went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TestOutcome {
    /// All hold.
    Passed,
    /// All that must hold do.
    Warned,
    /// One that must hold does not.
    Failed,
}

/// Checks of an image were run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Wire", into = "Wire")]
pub struct TestResult {
    /// How it went.
    pub outcome: TestOutcome,
    /// What was run: the spec, the lock, the runner, each with a digest.
    pub configuration: Vec<Resource>,
    /// Names of the checks that hold.
    pub passed: Vec<String>,
    /// Names of those that do not and need not.
    pub warned: Vec<String>,
    /// Names of those that do not and must.
    pub failed: Vec<String>,
    /// When they ended, milliseconds since the epoch.
    pub at_ms: Option<u64>,
    /// Whatever else there is to tell (durations, messages); null for nothing.
    pub details: Value,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    result: TestOutcome,
    #[serde(default)]
    configuration: Vec<Resource>,
    #[serde(default)]
    passed_tests: Vec<String>,
    #[serde(default)]
    warned_tests: Vec<String>,
    #[serde(default)]
    failed_tests: Vec<String>,
    #[serde(default)]
    kiln: Option<Kiln>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kiln {
    #[serde(default, with = "time::rfc3339", skip_serializing_if = "Option::is_none")]
    finished_on: Option<u64>,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    details: Value,
}

impl From<Wire> for TestResult {
    fn from(wire: Wire) -> Self {
        let kiln = wire.kiln.unwrap_or(Kiln { finished_on: None, details: Value::Null });
        Self {
            outcome: wire.result,
            configuration: wire.configuration,
            passed: wire.passed_tests,
            warned: wire.warned_tests,
            failed: wire.failed_tests,
            at_ms: kiln.finished_on,
            details: kiln.details,
        }
    }
}

impl From<TestResult> for Wire {
    fn from(result: TestResult) -> Self {
        Self {
            result: result.outcome,
            configuration: result.configuration,
            passed_tests: result.passed,
            warned_tests: result.warned,
            failed_tests: result.failed,
            kiln: Some(Kiln { finished_on: result.at_ms, details: result.details }),
        }
    }
}
