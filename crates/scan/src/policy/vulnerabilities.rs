//! The rule about known vulnerabilities, and the one about the age of what is known.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use kiln_model::{Exception, Level, Policy, VulnerabilityPolicy};

use super::{Finding, Found, Outcome, RuleResult, Spot, Weakness, count};
use crate::Severity;
use crate::secrets::short_hash;

const NEXT: &str = "update the packages and bake again; what cannot be fixed yet gets an `except` block with a reason and a day";

/// Whether what is asked fails, warns or passes.
pub(super) fn judge(policy: &Policy, found: &Found, now: Timestamp) -> RuleResult {
    let rule = &policy.vulnerabilities;
    let Some(weaknesses) = &found.vulnerabilities else {
        if rule.fail_on.is_none() && rule.warn_on.is_none() {
            return RuleResult::of("vulnerabilities", "not asked for".into(), Vec::new(), NEXT);
        }
        return RuleResult::unknown(
            "vulnerabilities",
            "nobody looked for vulnerabilities",
            "`kiln advisories update` fetches advisories; then scan again",
        );
    };
    let today = now.to_zoned(TimeZone::UTC).date();
    let mut findings: Vec<Finding> =
        weaknesses.iter().map(|weakness| finding(rule, weakness, today)).collect();
    findings.extend(found.unjudged.iter().map(|what| unjudged(rule, what)));
    RuleResult::of("vulnerabilities", summary(rule, &findings), findings, NEXT)
}

fn summary(rule: &VulnerabilityPolicy, findings: &[Finding]) -> String {
    let number = |wanted| findings.iter().filter(|finding| finding.outcome == wanted).count() as u64;
    let accepted = findings.iter().filter(|finding| finding.accepted.is_some()).count();
    let asked = match rule.fail_on {
        Some(level) => {
            let fixable = if rule.fixable_only { " with a fix" } else { "" };
            format!("none {} or worse{fixable}", name(level))
        }
        None => "nothing fails".into(),
    };
    let mut text = format!(
        "{asked}; {} fail, {} warn, of {}",
        number(Outcome::Fail),
        number(Outcome::Warn),
        count(findings.len() as u64, "vulnerability")
    );
    if accepted > 0 {
        text.push_str(&format!(", {accepted} accepted"));
    }
    text
}

fn finding(rule: &VulnerabilityPolicy, weakness: &Weakness, today: Date) -> Finding {
    let known_as = |id: &str| {
        weakness.id.eq_ignore_ascii_case(id)
            || weakness.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(id))
    };
    let fits = |exception: &&Exception| {
        known_as(&exception.id)
            && exception
                .package
                .as_ref()
                .is_none_or(|name| *name == weakness.package || *name == weakness.purl)
    };
    // A day that cannot be read has passed; a spec with one does not load.
    let day = |exception: &Exception| exception.until.parse::<Date>().ok();
    let holds = |exception: &&Exception| day(exception).is_some_and(|until| today <= until);
    let exception = rule.exceptions.iter().filter(fits).find(holds);
    let over = rule.exceptions.iter().filter(fits).find(|exception| !holds(exception));
    let accepted = weakness
        .suppressed
        .clone()
        .or_else(|| exception.map(|exception| format!("{} (until {})", exception.reason, exception.until)))
        .or_else(|| rule.ignore.iter().any(|id| known_as(id)).then(|| "ignored by the policy".to_owned()));
    let outcome = if accepted.is_some() { Outcome::Pass } else { outcome(rule, weakness) };
    let mut what = format!("{} {}: {}", weakness.package, weakness.version, weakness.summary);
    if let (Some(over), None) = (over, &accepted) {
        what.push_str(&format!(" (the exception ended on {})", over.until));
    }
    let location = weakness.locations.first();
    Finding {
        outcome,
        id: weakness.id.clone(),
        severity: weakness.severity,
        what,
        spot: Spot {
            path: location.map(|location| location.path.clone()),
            line: None,
            layer: location.and_then(|location| location.layer),
            thing: Some(weakness.purl.clone()),
        },
        // Without the version: an update that does not mend it leaves the finding what it was.
        fingerprint: short_hash(
            b"vulnerability",
            format!("{}\0{}", weakness.id, weakness.package).as_bytes(),
        ),
        fix: Some(weakness.how_to_fix.clone()).filter(|fix| !fix.is_empty()),
        accepted,
    }
}

/// Packages that nothing is known about. What is not known is not good.
fn unjudged(rule: &VulnerabilityPolicy, what: &str) -> Finding {
    let asked = rule.fail_on.is_some() || rule.warn_on.is_some();
    Finding {
        outcome: if asked { Outcome::Fail } else { Outcome::Pass },
        id: "no-advisories".into(),
        severity: Severity::Unknown,
        what: what.to_owned(),
        spot: Spot { path: None, line: None, layer: None, thing: None },
        fingerprint: short_hash(b"no-advisories", what.as_bytes()),
        fix: Some("`kiln advisories update` fetches advisories of more ecosystems".into()),
        accepted: None,
    }
}

fn outcome(rule: &VulnerabilityPolicy, weakness: &Weakness) -> Outcome {
    let reaches = |level: Option<Level>| level.is_some_and(|level| weakness.severity >= severity(level));
    if reaches(rule.fail_on) {
        let excused = rule.fixable_only && weakness.fixed.is_none();
        return if excused { Outcome::Warn } else { Outcome::Fail };
    }
    if reaches(rule.warn_on) { Outcome::Warn } else { Outcome::Pass }
}

fn severity(level: Level) -> Severity {
    match level {
        Level::Low => Severity::Low,
        Level::Medium => Severity::Medium,
        Level::High => Severity::High,
        Level::Critical => Severity::Critical,
    }
}

fn name(level: Level) -> &'static str {
    match level {
        Level::Low => "low",
        Level::Medium => "medium",
        Level::High => "high",
        Level::Critical => "critical",
    }
}

/// Whether the advisories are new enough.
pub(super) fn age(policy: &Policy, found: &Found, now: Timestamp) -> Option<RuleResult> {
    let most = policy.vulnerabilities.advisories_max_age?;
    let result = super::limits::age(
        "advisories_max_age",
        "the advisories",
        found.advisories,
        most,
        now,
        "update them: `kiln advisories update`",
    );
    Some(result)
}
