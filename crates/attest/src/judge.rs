//! What an environment still misses before an image may go there. Pure: evidence and time in, what is missing out.
//!
//! Only evidence counts that is verified and about that very digest. Of scans and of test results the newest counts:
//! a later failure outweighs an earlier pass. Newer is what the signed content says; what says nothing of its time is
//! older than all that does; at equal times the worse one counts. What is dated later than now cannot satisfy (a pass
//! from the future would outweigh every failure until then), but it can refuse.

use std::collections::BTreeSet;

use kiln_model::{Digest, Name, Requirement, Span};
use serde::Serialize;

use crate::evidence::{Claim, Evidence};
use crate::predicate::{Approval, Outcome, Predicate, Soak, TestOutcome};

/// Clocks of machines that sign and that judge may differ by this much: 5 minutes, as Kerberos has it.
pub const CLOCK_SKEW_MS: u64 = 5 * 60 * 1000;

/// A requirement that is not met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// Which one.
    pub requirement: Requirement,
    /// Why not, in words.
    pub why: String,
    /// The command that would provide it.
    pub command: String,
}

/// What of the requirements is not met, in their order. `environment` is where the image is to go.
pub fn judge(
    requirements: &[Requirement],
    evidence: &[Evidence],
    image: &Digest,
    environment: &Name,
    now_ms: u64,
) -> Vec<Missing> {
    let case = Case { evidence, image, environment, latest: now_ms.saturating_add(CLOCK_SKEW_MS), now_ms };
    let missing = |requirement: &Requirement| {
        let why = case.lacks(requirement)?;
        let command = case.command(requirement);
        Some(Missing { requirement: requirement.clone(), why, command })
    };
    requirements.iter().filter_map(missing).collect()
}

struct Case<'a> {
    evidence: &'a [Evidence],
    image: &'a Digest,
    environment: &'a Name,
    now_ms: u64,
    /// What is dated later cannot be true.
    latest: u64,
}

impl<'a> Case<'a> {
    /// Why a requirement is not met; none when it is.
    fn lacks(&self, requirement: &Requirement) -> Option<String> {
        match requirement {
            Requirement::BuiltFrom => {
                let built = self.predicates().any(|(_, one)| matches!(one, Predicate::BuiltFrom(_)));
                (!built).then(|| self.nothing("built-from", "nothing says what it was built from"))
            }
            Requirement::Tested => self.tested(),
            Requirement::Scanned { within } => self.scanned(*within),
            Requirement::Signed { by } => self.signed(by),
            Requirement::Soaked { environment, time } => self.soaked(environment, *time),
            Requirement::Approved { count, by } => self.approved(*count, by),
        }
    }

    fn tested(&self) -> Option<String> {
        let results = self.predicates().filter_map(|(evidence, one)| match one {
            Predicate::Tested(result) => Some((evidence, result.outcome == TestOutcome::Failed, result)),
            _ => None,
        });
        let Some((evidence, bad, result)) = newest(results) else {
            return Some(self.nothing("tested", "it was never tested"));
        };
        if bad {
            let failed = crate::text::list(result.failed.iter().map(String::as_str));
            return Some(format!("the newest test result is a failure ({failed})"));
        }
        self.undated(evidence)
    }

    fn scanned(&self, within: Option<Span>) -> Option<String> {
        let scans = self.predicates().filter_map(|(evidence, one)| match one {
            Predicate::Scanned(scan) => {
                let bad = !matches!(scan.outcome, Some(Outcome::Pass | Outcome::Warn));
                Some((evidence, bad, scan))
            }
            _ => None,
        });
        let Some((evidence, bad, scan)) = newest(scans) else {
            return Some(self.nothing("scanned", "it was never scanned"));
        };
        if bad {
            let words = match scan.outcome {
                Some(_) => "the newest scan is refused by the policy",
                None => "the newest scan says nothing of a policy",
            };
            return Some(words.into());
        }
        if let Some(within) = within {
            let Some(at) = evidence.at_ms else {
                return Some("the scan does not say when it was made".into());
            };
            let age = self.now_ms.saturating_sub(at);
            if age > within.millis() {
                let age = Span::from_secs(age / 1000);
                return Some(format!("the newest scan is {age} old, more than {within}"));
            }
        }
        self.undated(evidence)
    }

    fn signed(&self, by: &[Name]) -> Option<String> {
        let signatures = self.counting().filter(|one| matches!(one.claim, Claim::Signature(_)));
        let signers: BTreeSet<&Name> = signatures.flat_map(|one| &one.signers).collect();
        if by.is_empty() {
            return signers.is_empty().then(|| self.nothing("signed", "no trusted key signed it"));
        }
        let lacking: Vec<&str> = by.iter().filter(|key| !signers.contains(key)).map(Name::as_str).collect();
        let words = format!("it is not signed by {}", lacking.join(", "));
        (!lacking.is_empty()).then(|| self.nothing("signed", &words))
    }

    fn soaked(&self, environment: &Name, time: Span) -> Option<String> {
        let soaks: Vec<&Soak> = self
            .predicates()
            .filter_map(|(_, one)| match one {
                Predicate::Soaked(soak) if soak.environment == *environment => Some(soak),
                _ => None,
            })
            .collect();
        // Trouble counts until a later time without; a short time without trouble takes nothing back.
        let trouble = soaks.iter().filter(|soak| soak.failures > 0).map(|soak| soak.until_ms).max();
        let clean = |soak: &&&Soak| {
            soak.failures == 0 && soak.until_ms <= self.latest && trouble.is_none_or(|at| soak.until_ms > at)
        };
        let longest = soaks.iter().filter(clean).map(|soak| soak.until_ms.saturating_sub(soak.from_ms)).max();
        match longest {
            Some(ms) if ms >= time.millis() => None,
            Some(ms) => {
                let ran = Span::from_secs(ms / 1000);
                Some(format!("it ran in {environment} for {ran} only, {time} are asked for"))
            }
            None if trouble.is_some() => Some(format!("there was trouble when it last ran in {environment}")),
            None => Some(self.nothing("soaked", &format!("it did not run in {environment}"))),
        }
    }

    fn approved(&self, count: u32, by: &[String]) -> Option<String> {
        let fits = |approval: &&Approval| {
            approval.environment == *self.environment
                && approval.at_ms <= self.latest
                && !approval.by.is_empty()
                && (by.is_empty() || by.contains(&approval.by))
        };
        let approvals = self.predicates().filter_map(|(_, one)| match one {
            Predicate::Approved(approval) => Some(approval),
            _ => None,
        });
        let people: BTreeSet<&str> = approvals.filter(fits).map(|approval| approval.by.as_str()).collect();
        if people.len() >= usize::try_from(count).unwrap_or(usize::MAX) {
            return None;
        }
        let of = if by.is_empty() { String::new() } else { format!(" of {}", by.join(", ")) };
        let have = match people.len() {
            0 => "nobody did".to_owned(),
            _ => format!("{} did", people.into_iter().collect::<Vec<_>>().join(", ")),
        };
        let environment = self.environment;
        let words = format!("{count}{of} must approve it for {environment}; {have}");
        Some(self.nothing("approved", &words))
    }

    fn counting(&self) -> impl Iterator<Item = &'a Evidence> {
        let image = self.image;
        self.evidence.iter().filter(move |one| one.verified() && one.image.as_ref() == Some(image))
    }

    fn predicates(&self) -> impl Iterator<Item = (&'a Evidence, &'a Predicate)> {
        self.counting().filter_map(|one| match &one.claim {
            Claim::Attestation(predicate) => Some((one, predicate)),
            Claim::Signature(_) | Claim::Unreadable => None,
        })
    }

    /// Refuses what is dated in the future.
    fn undated(&self, evidence: &Evidence) -> Option<String> {
        let late = evidence.at_ms.is_some_and(|at| at > self.latest);
        late.then(|| "the newest is dated in the future; look at the clocks of the machines that sign".into())
    }

    /// Words for what is not there, with the reason why something that seems to be does not count.
    fn nothing(&self, word: &str, words: &str) -> String {
        let passed_over: Vec<&Evidence> =
            self.evidence.iter().filter(|one| one.word() == word && !one.verified()).collect();
        match passed_over.first().and_then(|one| one.problem.as_deref()) {
            Some(problem) => format!("{words} ({} found that does not count: {problem})", passed_over.len()),
            None => words.to_owned(),
        }
    }

    fn command(&self, requirement: &Requirement) -> String {
        let image = self.image.short();
        match requirement {
            Requirement::BuiltFrom => "kiln ship".into(),
            Requirement::Tested => format!("kiln check {image}"),
            Requirement::Scanned { .. } => format!("kiln scan {image}"),
            Requirement::Signed { by } => match by.as_slice() {
                [] => format!("kiln sign {image}"),
                [key, ..] => format!("kiln sign {image} --key {key}"),
            },
            Requirement::Soaked { environment, .. } => format!("kiln deploy -e {environment}"),
            Requirement::Approved { .. } => format!("kiln approve {}", self.environment),
        }
    }
}

/// The newest; at equal times, the bad one.
fn newest<'a, T>(all: impl Iterator<Item = (&'a Evidence, bool, T)>) -> Option<(&'a Evidence, bool, T)> {
    all.max_by_key(|(evidence, bad, _)| (evidence.at_ms, *bad))
}
