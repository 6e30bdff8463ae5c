//! SARIF 2.1.0, as code-scanning services read it.
//!
//! Rules are those that found something, each with help. A path is relative to the image's root (`uriBaseId` IMAGE),
//! percent-encoded; what is no file has a logical location. Accepted findings are suppressed results, not missing ones.
//! Source: OASIS SARIF 2.1.0 (numbers of sections are given below) and GitHub's "SARIF support for code scanning".

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Report;
use crate::Severity;
use crate::policy::{Finding, Outcome, RuleResult, Spot};

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

pub(super) fn log(report: &Report, version: &str) -> Value {
    let all: Vec<(&RuleResult, &Finding)> = report
        .judgement
        .rules
        .iter()
        .flat_map(|rule| rule.findings.iter().map(move |finding| (rule, finding)))
        .collect();
    let mut rules: BTreeMap<String, Value> = BTreeMap::new();
    for (rule, finding) in &all {
        rules.entry(id(rule, finding)).or_insert_with(|| descriptor(rule, finding));
    }
    let index = |wanted: &str| rules.keys().position(|known| known == wanted);
    let results: Vec<Value> = all
        .iter()
        .map(|(rule, finding)| {
            let id = id(rule, finding);
            result(finding, &id, index(&id))
        })
        .collect();
    let failed = failed_without_findings(report);
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "Kiln",
                "version": version,
                "rules": rules.into_values().collect::<Vec<_>>(),
            }},
            // 3.20.14: the tool ran; that an image fails is no failure of the tool.
            "invocations": [{
                "executionSuccessful": true,
                "endTimeUtc": report.judged.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
                "toolExecutionNotifications": failed,
            }],
            "automationDetails": {"id": format!("kiln-scan/{}/", report.name)},
            "originalUriBaseIds": {"IMAGE": {"description": {"text": "The root of the image's file system."}}},
            "columnKind": "unicodeCodePoints",
            "results": results,
            "properties": {
                "image": report.name,
                "digest": report.image,
                "policy": report.judgement.policy,
                "outcome": report.judgement.outcome,
            },
        }],
    })
}

/// Rules that do not pass and have nothing to point at: what nobody looked for.
fn failed_without_findings(report: &Report) -> Vec<Value> {
    let rules = report.judgement.rules.iter();
    rules
        .filter(|rule| rule.outcome > Outcome::Pass && rule.findings.is_empty())
        .map(|rule| {
            json!({
                "level": level(rule.outcome),
                "message": {"text": format!("{}: {}", rule.rule, rule.what)},
            })
        })
        .collect()
}

/// Unique over all rules: a secret's rule, a vulnerability's identifier, else the policy's rule.
fn id(rule: &RuleResult, finding: &Finding) -> String {
    match rule.rule.as_str() {
        "vulnerabilities" => finding.id.clone(),
        "licenses" => "license".into(),
        "secrets" => format!("secret/{}", finding.id),
        other => other.to_owned(),
    }
}

fn descriptor(rule: &RuleResult, finding: &Finding) -> Value {
    let (short, tag) = match rule.rule.as_str() {
        "vulnerabilities" => (finding.what.clone(), "vulnerability"),
        "secrets" => (format!("A secret in the image: {}", finding.id), "secret"),
        "licenses" => ("A licence that the policy does not simply allow".to_owned(), "license"),
        other => (format!("The policy's rule {other}"), "configuration"),
    };
    let help = rule.next.clone().or_else(|| finding.fix.clone()).unwrap_or_else(|| rule.what.clone());
    let mut descriptor = json!({
        "id": id(rule, finding),
        "shortDescription": {"text": sentence(&short)},
        "fullDescription": {"text": sentence(&short)},
        "help": {"text": sentence(&help), "markdown": sentence(&help)},
        "defaultConfiguration": {"level": level(finding.outcome)},
        "properties": {
            "tags": ["security", tag],
            "security-severity": score(finding.severity),
            "precision": "high",
        },
    });
    if finding.id.starts_with("CVE-") {
        descriptor["helpUri"] = json!(format!("https://www.cve.org/CVERecord?id={}", finding.id));
    }
    descriptor
}

fn result(finding: &Finding, id: &str, index: Option<usize>) -> Value {
    let mut text = finding.what.clone();
    if let Some(fix) = &finding.fix {
        text.push_str(". To mend it: ");
        text.push_str(fix);
    }
    let mut result = json!({
        "ruleId": id,
        "ruleIndex": index,
        // 3.27.9: what passes is no problem, and its level must be "none" then.
        "kind": if finding.outcome == Outcome::Pass { "pass" } else { "fail" },
        "level": level(finding.outcome),
        "message": {"text": sentence(&text)},
        "locations": [location(&finding.spot)],
        "partialFingerprints": {"kilnFinding/v1": finding.fingerprint},
        "properties": {"severity": finding.severity},
    });
    if let Some(reason) = &finding.accepted {
        // A suppressed result says what it would be.
        result["kind"] = json!("fail");
        result["level"] = json!("note");
        result["suppressions"] = json!([{"kind": "external", "status": "accepted", "justification": reason}]);
    }
    result
}

fn location(spot: &Spot) -> Value {
    let mut location = json!({});
    // Services show nothing without a file; what is no file is told at the image's own name.
    let uri = spot.path.as_deref().map_or_else(|| "image".to_owned(), encoded);
    location["physicalLocation"] = json!({"artifactLocation": {"uri": uri, "uriBaseId": "IMAGE"}});
    location["physicalLocation"]["region"] = json!({"startLine": spot.line.unwrap_or(1).max(1)});
    if let Some(thing) = &spot.thing {
        location["logicalLocations"] = json!([{"fullyQualifiedName": thing, "kind": "resource"}]);
    }
    if let Some(layer) = spot.layer {
        location["properties"] = json!({ "layer": layer });
    }
    location
}

/// RFC 3986: all that is neither unreserved nor a slash is encoded.
fn encoded(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn level(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Fail => "error",
        Outcome::Warn => "warning",
        Outcome::Pass => "none",
    }
}

/// The middle of the range of CVSS, which services sort by.
fn score(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "9.5",
        Severity::High => "8.0",
        Severity::Medium => "5.5",
        Severity::Low => "2.0",
        Severity::None | Severity::Unknown => "0.0",
    }
}

/// With a capital and a full stop, as 3.11 wants messages.
fn sentence(text: &str) -> String {
    let mut letters = text.trim().chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    let end = if text.trim_end().ends_with('.') { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}
