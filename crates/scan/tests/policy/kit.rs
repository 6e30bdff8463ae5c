//! Things that could have been found.

use jiff::Timestamp;
use kiln_model::{Digest, Exception, Policy};
use kiln_scan::facts::{Facts, FileFact, FileList};
use kiln_scan::policy::{Found, Judgement, Outcome, RuleResult, Weakness};
use kiln_scan::secrets::{Confidence, Place, SecretFinding};
use kiln_scan::{Ecosystem, Location, Package, Severity};

pub(crate) fn now() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

pub(crate) fn digest(byte: u8) -> Digest {
    Digest::from_bytes([byte; 32])
}

pub(crate) fn weakness(id: &str, package: &str, severity: Severity, fixed: Option<&str>) -> Weakness {
    Weakness {
        id: id.into(),
        aliases: vec![format!("GHSA-{id}")],
        package: package.into(),
        version: "1.0-1".into(),
        purl: format!("pkg:deb/debian/{package}@1.0-1"),
        severity,
        summary: "a stack overflow in the parser".into(),
        fixed: fixed.map(Into::into),
        how_to_fix: fixed.map(|version| format!("update {package} to {version}")).unwrap_or_default(),
        locations: vec![Location { path: "var/lib/dpkg/status".into(), layer: Some(digest(1)) }],
        suppressed: None,
    }
}

pub(crate) fn secret(rule: &str, confidence: Confidence, path: &str) -> SecretFinding {
    SecretFinding {
        place: Place::File { path: path.into(), line: 7, layer: Some(digest(2)), visible: false },
        rule: rule.into(),
        title: "GitHub token".into(),
        severity: Severity::Critical,
        confidence,
        redacted: "ghp_… (40 characters)".into(),
        fingerprint: "0011223344556677".into(),
        note: None,
        fix: "have GitHub revoke it".into(),
        allowed: None,
    }
}

pub(crate) fn package(name: &str, licenses: &[&str]) -> Package {
    Package {
        ecosystem: Ecosystem::PyPi,
        name: name.into(),
        version: "2.0".into(),
        architecture: None,
        source: None,
        licenses: licenses.iter().map(|license| (*license).to_owned()).collect(),
        purl: format!("pkg:pypi/{name}@2.0"),
        locations: vec![Location { path: format!("srv/lib/{name}/METADATA"), layer: None }],
    }
}

pub(crate) fn facts() -> Facts {
    let file = |path: &str, mode: &str| FileFact {
        path: path.into(),
        mode: mode.into(),
        uid: 0,
        gid: 0,
        capabilities: false,
    };
    Facts {
        image: digest(9),
        size: 90 << 20,
        unpacked: 300 << 20,
        layers: 3,
        files: 4000,
        created: Some("2026-11-01T00:00:00Z".parse().unwrap()),
        base_created: Some("2026-06-01T00:00:00Z".parse().unwrap()),
        user: None,
        root: true,
        health_check: false,
        privileged: FileList { count: 1, files: vec![file("usr/bin/su", "4755")] },
        world_writable: FileList { count: 1, files: vec![file("srv/a b%é.log", "0666")] },
    }
}

pub(crate) fn nothing() -> Found {
    Found {
        unjudged: Vec::new(),
        vulnerabilities: Some(Vec::new()),
        secrets: Some(Vec::new()),
        packages: Some(Vec::new()),
        facts: Some(Facts { root: false, health_check: true, ..facts() }),
        advisories: Some("2026-11-20T12:00:00Z".parse().unwrap()),
    }
}

pub(crate) fn exception(id: &str, package: Option<&str>, until: &str) -> Exception {
    Exception {
        id: id.into(),
        package: package.map(Into::into),
        reason: "not reachable".into(),
        until: until.into(),
    }
}

pub(crate) fn judge(policy: &Policy, found: &Found) -> Judgement {
    kiln_scan::policy::judge(policy, found, now())
}

/// One rule's result.
pub(crate) fn rule(policy: &Policy, found: &Found, name: &str) -> RuleResult {
    let judgement = judge(policy, found);
    judgement.rules.into_iter().find(|rule| rule.rule == name).unwrap_or_else(|| panic!("no rule {name}"))
}

pub(crate) fn outcome(policy: &Policy, found: &Found, name: &str) -> Outcome {
    rule(policy, found, name).outcome
}
