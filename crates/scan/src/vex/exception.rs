//! Exceptions: findings that someone accepts for a reason, until a date.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::purl;
use crate::advisories::{Suppression, Suppressor, Vulnerability};

/// An accepted finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    /// The vulnerability, by any of its names.
    pub id: String,
    /// The package, by name or package URL; `None` means every package.
    #[serde(default)]
    pub package: Option<String>,
    /// Why it is accepted.
    pub reason: String,
    /// The last day on which it holds, to its end in UTC.
    pub until: Date,
}

/// What became of an exception.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExceptionNote {
    /// The exception.
    pub exception: Exception,
    /// Whether it holds, and for how many findings.
    pub state: ExceptionState,
}

/// Whether an exception holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExceptionState {
    /// It holds and suppresses so many findings.
    Applied(usize),
    /// It holds, but nothing is found any more that it is for.
    Unused,
    /// It has expired; so many findings count again.
    Expired(usize),
}

/// Applies exceptions to findings as of `now`, and says of each one what became of it, in their order. A finding that
/// something else suppresses already keeps its first reason and is counted nevertheless.
pub fn apply_exceptions(
    findings: &mut [Vulnerability],
    exceptions: &[Exception],
    now: Timestamp,
) -> Vec<ExceptionNote> {
    let today = now.to_zoned(TimeZone::UTC).date();
    let mut notes = Vec::new();
    for exception in exceptions {
        let concerned: Vec<&mut Vulnerability> =
            findings.iter_mut().filter(|finding| exception.concerns(finding)).collect();
        let count = concerned.len();
        let state = match (today > exception.until, count) {
            (true, _) => ExceptionState::Expired(count),
            (false, 0) => ExceptionState::Unused,
            (false, _) => {
                concerned.into_iter().for_each(|finding| exception.suppress(finding));
                ExceptionState::Applied(count)
            }
        };
        notes.push(ExceptionNote { exception: exception.clone(), state });
    }
    notes
}

impl Exception {
    fn concerns(&self, finding: &Vulnerability) -> bool {
        let named = self.id.eq_ignore_ascii_case(&finding.id)
            || finding.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(&self.id));
        named
            && self.package.as_ref().is_none_or(|package| {
                *package == finding.package.name || purl::matches(package, &finding.package.purl)
            })
    }

    fn suppress(&self, finding: &mut Vulnerability) {
        finding.suppressed.get_or_insert_with(|| Suppression {
            by: Suppressor::Exception,
            source: self.id.clone(),
            reason: format!("{} (until {})", self.reason, self.until),
        });
    }
}
