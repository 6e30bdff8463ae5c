//! What came of the checks of one image, as data: for people, for other programs, and for evidence.

use kiln_model::Digest;
use serde::{Deserialize, Serialize};

/// All that was judged of one image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// The image.
    pub image: Digest,
    /// Whether everything holds, and there was something.
    pub passed: bool,
    /// One for each expectation, in the order of the spec.
    pub results: Vec<CheckResult>,
    /// When it began, milliseconds since the Unix epoch.
    pub began_ms: i64,
    /// When it ended.
    pub ended_ms: i64,
}

/// What came of one expectation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckResult {
    /// The label of the check.
    pub name: String,
    /// What was asked, such as `GET /` or `file /etc/motd`.
    pub what: String,
    /// The kind of the expectation: the word that begins its block. `goss.file`, `structure.command` and the like for
    /// those of foreign files.
    pub kind: String,
    /// Whether it holds.
    pub passed: bool,
    /// How long judging it took, waiting included.
    pub millis: u64,
    /// What should have been; empty when it holds.
    pub expected: String,
    /// What was there instead; empty when it holds.
    pub found: String,
    /// The end of what a command printed or the beginning of a body, when it does not hold.
    pub output: String,
    /// The last lines of the instance's log, when it does not hold and there is one.
    pub log: Vec<String>,
}

impl CheckReport {
    /// The ones that do not hold.
    pub fn failed(&self) -> impl Iterator<Item = &CheckResult> {
        self.results.iter().filter(|result| !result.passed)
    }
}
