//! The rule about licences.
//!
//! A declared licence is an SPDX expression where the ecosystem has such, and else a name of its own, of which those of
//! Debian's machine-readable copyright files are understood. Several licences of one package hold together.

use kiln_model::{LicensePolicy, Policy};
use spdx::{Expression, LicenseReq, ParseMode};

use super::{Finding, Found, Outcome, RuleResult, Spot, count};
use crate::secrets::short_hash;
use crate::{Package, Severity};

const NEXT: &str =
    "take the packages out, or put their licences into `allow` or `warn` after somebody has read them";

pub(super) fn judge(policy: &Policy, found: &Found) -> Option<RuleResult> {
    let rule = &policy.licenses;
    if *rule == LicensePolicy::default() {
        return None;
    }
    let Some(packages) = &found.packages else {
        return Some(RuleResult::unknown(
            "licenses",
            "nobody listed the packages",
            "scan the image: `kiln scan`",
        ));
    };
    let findings: Vec<Finding> = packages.iter().filter_map(|package| finding(rule, package)).collect();
    let what = format!(
        "{} of {} has a licence that is not simply allowed",
        findings.len(),
        count(packages.len() as u64, "package")
    );
    Some(RuleResult::of("licenses", what, findings, NEXT))
}

fn finding(rule: &LicensePolicy, package: &Package) -> Option<Finding> {
    let judged = package.licenses.iter().map(|text| (license(rule, text), text.as_str()));
    let undeclared = package.licenses.is_empty() && !rule.allow.is_empty();
    let none = undeclared.then_some(((Outcome::Warn, "declares no licence"), "NOASSERTION"));
    let ((outcome, why), text) = judged.chain(none).max_by_key(|((outcome, _), _)| *outcome)?;
    if outcome == Outcome::Pass {
        return None;
    }
    let location = package.locations.first();
    Some(Finding {
        outcome,
        id: text.chars().take(200).collect(),
        severity: if outcome == Outcome::Fail { Severity::High } else { Severity::Low },
        what: format!("{} {}: {text} {why}", package.name, package.version),
        spot: Spot {
            path: location.map(|location| location.path.clone()),
            line: None,
            layer: location.and_then(|location| location.layer),
            thing: Some(package.purl.clone()),
        },
        fingerprint: short_hash(b"license", format!("{}\0{text}", package.name).as_bytes()),
        fix: None,
        accepted: None,
    })
}

/// What one declared text does, and why.
fn license(rule: &LicensePolicy, text: &str) -> (Outcome, &'static str) {
    let Some(expression) = parse(text) else {
        // A name of no list can still be written in the policy as it is.
        if matches(&rule.deny, text) {
            return (Outcome::Fail, "is denied");
        }
        let listed = matches(&rule.allow, text);
        return if matches(&rule.warn, text) {
            (Outcome::Warn, "is one to look at")
        } else if rule.allow.is_empty() || listed {
            (Outcome::Pass, "")
        } else {
            (Outcome::Warn, "is no licence that SPDX lists")
        };
    };
    // The best choice counts: it passes, or warns, or fails.
    let denied = |req: &LicenseReq| matches(&rule.deny, &name(req));
    let warned = |req: &LicenseReq| matches(&rule.warn, &name(req));
    let allowed = |req: &LicenseReq| rule.allow.is_empty() || matches(&rule.allow, &name(req));
    if expression.evaluate(|req| !denied(req) && !warned(req) && allowed(req)) {
        (Outcome::Pass, "")
    } else if expression.evaluate(|req| !denied(req) && (warned(req) || allowed(req))) {
        (Outcome::Warn, "is one to look at")
    } else if expression.evaluate(|req| !denied(req)) {
        (Outcome::Fail, "is not among those allowed")
    } else {
        (Outcome::Fail, "is denied")
    }
}

/// Whether a list has a licence; a `*` at an entry's end stands for any rest.
fn matches(list: &[String], name: &str) -> bool {
    list.iter().any(|entry| match entry.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => entry == name || family(entry) == family(name),
    })
}

/// `GPL-3.0` was the name of what is `GPL-3.0-only` now.
fn family(name: &str) -> &str {
    name.strip_suffix("-only").unwrap_or(name)
}

fn name(req: &LicenseReq) -> String {
    match req.license.id() {
        Some(id) => id.name.to_owned(),
        None => req.license.to_string(),
    }
}

fn parse(text: &str) -> Option<Expression> {
    Expression::parse_mode(text, ParseMode::LAX).ok().or_else(|| {
        let words: Vec<String> = text.split_whitespace().map(debian).collect();
        Expression::parse_mode(&words.join(" "), ParseMode::LAX).ok()
    })
}

/// A word of a Debian copyright file as SPDX has it. Source: copyright-format 1.0, "License specification".
fn debian(word: &str) -> String {
    match word {
        "and" => return "AND".into(),
        "or" => return "OR".into(),
        "with" => return "WITH".into(),
        "Expat" => return "MIT".into(),
        "public-domain" => return "LicenseRef-public-domain".into(),
        "Artistic" => return "Artistic-1.0-Perl".into(),
        "BSD-2-clause" => return "BSD-2-Clause".into(),
        "BSD-3-clause" => return "BSD-3-Clause".into(),
        "BSD-4-clause" => return "BSD-4-Clause".into(),
        "zlib" | "ZLIB" => return "Zlib".into(),
        _ => {}
    }
    let Some((family @ ("GPL" | "LGPL" | "AGPL" | "GFDL"), version)) = word.split_once('-') else {
        return word.into();
    };
    let (version, later) = match version.strip_suffix('+') {
        Some(version) => (version, true),
        None => (version, false),
    };
    let version = if version.contains('.') { version.to_owned() } else { format!("{version}.0") };
    format!("{family}-{version}-{}", if later { "or-later" } else { "only" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(deny: &[&str], warn: &[&str], allow: &[&str]) -> LicensePolicy {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        LicensePolicy { deny: list(deny), warn: list(warn), allow: list(allow) }
    }

    #[test]
    fn of_a_choice_the_best_counts_and_of_a_sum_the_worst() {
        let copyleft = rule(&["AGPL-*", "GPL-3.0-only"], &["LGPL-*"], &[]);
        for (text, outcome) in [
            ("MIT", Outcome::Pass),
            ("AGPL-3.0-or-later", Outcome::Fail),
            ("MIT OR AGPL-3.0-only", Outcome::Pass),
            ("MIT AND AGPL-3.0-only", Outcome::Fail),
            ("LGPL-2.1-or-later AND MIT", Outcome::Warn),
            ("LGPL-2.1-or-later OR AGPL-3.0-only", Outcome::Warn),
            ("GPL-3", Outcome::Fail),
            ("GPL-3+", Outcome::Pass),
            ("Expat and AGPL-3", Outcome::Fail),
            ("some words of a company", Outcome::Pass),
        ] {
            assert_eq!(license(&copyleft, text).0, outcome, "{text}");
        }
    }

    #[test]
    fn what_is_not_allowed_fails_and_what_is_not_known_warns() {
        let listed = rule(&[], &["MPL-2.0"], &["MIT", "Apache-2.0"]);
        for (text, outcome) in [
            ("MIT OR GPL-2.0-only", Outcome::Pass),
            ("Apache-2.0 AND MIT", Outcome::Pass),
            ("GPL-2+", Outcome::Fail),
            ("MPL-2.0", Outcome::Warn),
            ("see the file COPYING", Outcome::Warn),
        ] {
            assert_eq!(license(&listed, text).0, outcome, "{text}");
        }
    }
}
