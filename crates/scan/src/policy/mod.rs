//! Whether an image passes a policy.
//!
//! [`judge`] is pure: a policy, what was found, and the time; the same three give the same judgement. It looks at
//! everything and stops at nothing, so that a report shows all that is to be done.

mod licenses;
mod limits;
mod secrets;
mod vulnerabilities;

use jiff::Timestamp;
use kiln_model::{Action, Digest, Policy};
use serde::{Deserialize, Serialize};

use crate::facts::Facts;
use crate::secrets::SecretFinding;
use crate::{Location, Package, Severity};

/// All that was found about an image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// Known vulnerabilities; `None` when nobody looked for them.
    pub vulnerabilities: Option<Vec<Weakness>>,
    /// Packages that there are no advisories about, a sentence for each kind.
    pub unjudged: Vec<String>,
    /// Secrets; `None` when nobody looked for them.
    pub secrets: Option<Vec<SecretFinding>>,
    /// Packages, for their licences; `None` when nobody looked for them.
    pub packages: Option<Vec<Package>>,
    /// Facts about the image; `None` when nobody looked for them.
    pub facts: Option<Facts>,
    /// How new the advisories are that were matched.
    pub advisories: Option<Timestamp>,
}

/// A known vulnerability of a package of the image, as far as a policy asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Weakness {
    /// The identifier that people use: a CVE where there is one.
    pub id: String,
    /// Other identifiers of the same.
    pub aliases: Vec<String>,
    /// Name of the package.
    pub package: String,
    /// Its version in the image.
    pub version: String,
    /// Its package URL.
    pub purl: String,
    /// How bad it is.
    pub severity: Severity,
    /// One line about it.
    pub summary: String,
    /// The first version without it; `None`: there is none yet.
    pub fixed: Option<String>,
    /// What to do.
    pub how_to_fix: String,
    /// Where the package is.
    pub locations: Vec<Location>,
    /// Why it does not count, when a VEX statement or the advisory itself says so.
    pub suppressed: Option<String>,
}

/// What a policy says of an image, or of a part of it. The order is from good to bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is good.
    #[default]
    Pass,
    /// It is good, and somebody should look.
    Warn,
    /// It is not good.
    Fail,
}

/// What a policy says of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// Name of the policy.
    pub policy: String,
    /// The worst of the rules.
    pub outcome: Outcome,
    /// Each rule that the policy has, in a fixed order.
    pub rules: Vec<RuleResult>,
}

/// What one rule of a policy says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleResult {
    /// Its name, as it stands in a spec: `vulnerabilities`, `secrets`, `licenses`, `max_size`, …
    pub rule: String,
    /// The worst of its findings.
    pub outcome: Outcome,
    /// One line: what was asked and what is.
    pub what: String,
    /// One by one, the worst first. Those that were accepted are here too, and pass.
    pub findings: Vec<Finding>,
    /// What to do next, when it does not pass.
    pub next: Option<String>,
}

/// One thing that a rule found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it does.
    pub outcome: Outcome,
    /// What kind it is: an identifier of a vulnerability, of a rule about secrets, of a licence; else the rule's name.
    pub id: String,
    /// How bad it is.
    pub severity: Severity,
    /// One line.
    pub what: String,
    /// Where.
    pub spot: Spot,
    /// Stays the same over bakes.
    pub fingerprint: String,
    /// What to do.
    pub fix: Option<String>,
    /// Why it was accepted, when it was.
    pub accepted: Option<String>,
}

/// Where a finding is.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Spot {
    /// Path in the image without a leading slash.
    pub path: Option<String>,
    /// From 1.
    pub line: Option<u64>,
    /// The layer's blob.
    pub layer: Option<Digest>,
    /// What is no file: a package URL, `environment variable DB_PASSWORD`.
    pub thing: Option<String>,
}

/// Judges what was found by a policy.
pub fn judge(policy: &Policy, found: &Found, now: Timestamp) -> Judgement {
    let mut rules = vec![vulnerabilities::judge(policy, found, now), secrets::judge(policy, found)];
    rules.extend(vulnerabilities::age(policy, found, now));
    rules.extend(licenses::judge(policy, found));
    rules.extend(limits::judge(policy, found, now));
    let outcome = rules.iter().map(|rule| rule.outcome).max().unwrap_or_default();
    Judgement { policy: policy.name.clone(), outcome, rules }
}

impl RuleResult {
    /// A rule's result from its findings.
    fn of(rule: &str, what: String, mut findings: Vec<Finding>, next: &str) -> Self {
        findings.sort_by(|a, b| {
            (b.outcome, b.severity, &a.id, &a.spot, &a.what)
                .cmp(&(a.outcome, a.severity, &b.id, &b.spot, &b.what))
        });
        let outcome = findings.iter().map(|finding| finding.outcome).max().unwrap_or_default();
        let next = (outcome > Outcome::Pass).then(|| next.to_owned());
        Self { rule: rule.into(), outcome, what, findings, next }
    }

    /// A rule that asks for something that nobody looked for. What is not known is not good.
    fn unknown(rule: &str, what: &str, next: &str) -> Self {
        let next = Some(next.to_owned());
        Self { rule: rule.into(), outcome: Outcome::Fail, what: what.into(), findings: Vec::new(), next }
    }
}

/// What an action does.
fn outcome(action: Action) -> Outcome {
    match action {
        Action::Allow => Outcome::Pass,
        Action::Warn => Outcome::Warn,
        Action::Deny => Outcome::Fail,
    }
}

/// `1 file`, `2 files`.
fn count(number: u64, thing: &str) -> String {
    let (stem, one, many) = match thing.strip_suffix('y') {
        Some(stem) => (stem, "y", "ies"),
        None => (thing, "", "s"),
    };
    format!("{number} {stem}{}", if number == 1 { one } else { many })
}
