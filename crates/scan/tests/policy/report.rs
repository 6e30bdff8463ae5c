//! Reports: text, JSON, SARIF.

use kiln_model::{Action, Bytes, LicensePolicy, Policy, VulnerabilityPolicy};
use kiln_scan::Severity;
use kiln_scan::policy::Found;
use kiln_scan::report::{Report, SCHEMA};
use kiln_scan::secrets::{Confidence, Place};
use serde_json::Value;

use crate::kit::{exception, facts, judge, nothing, now, package, secret, weakness};

/// A report with something of everything.
fn report() -> Report {
    let policy = Policy {
        vulnerabilities: VulnerabilityPolicy {
            exceptions: vec![exception("CVE-2026-0003", None, "2026-12-31")],
            ..VulnerabilityPolicy::default()
        },
        licenses: LicensePolicy { deny: vec!["AGPL-*".into()], ..LicensePolicy::default() },
        max_size: Some(Bytes::new(80 << 20)),
        root_user: Action::Warn,
        setuid: Action::Warn,
        world_writable: Action::Deny,
        health_check: Action::Allow,
        ..Policy::named("default")
    };
    let mut hidden = secret("github-token", Confidence::Proven, "srv/app/.env");
    hidden.fingerprint = "8899aabbccddeeff".into();
    let mut variable = secret("generic-secret", Confidence::Possible, "");
    variable.place = Place::Environment { name: "DB_PASSWORD".into() };
    variable.redacted = "(hidden)".into();
    variable.severity = Severity::High;
    let found = Found {
        vulnerabilities: Some(vec![
            weakness("CVE-2026-0001", "zlib1g", Severity::Critical, Some("1.3-2")),
            weakness("CVE-2026-0002", "perl", Severity::Critical, None),
            weakness("CVE-2026-0003", "tar", Severity::Critical, Some("1.35")),
            weakness("CVE-2026-0004", "sed", Severity::Low, Some("4.9")),
        ]),
        secrets: Some(vec![variable, hidden]),
        packages: Some(vec![package("good", &["MIT"]), package("bad", &["AGPL-3.0-only"])]),
        facts: Some(facts()),
        ..nothing()
    };
    Report::new("web", judge(&policy, &found), &found, now())
}

#[test]
fn the_text_says_what_fails_first_and_how_to_mend_it() {
    insta::assert_snapshot!(report().text(false, false));
}

#[test]
fn the_text_with_all_lists_what_was_accepted_too() {
    let text = report().text(false, true);
    assert!(
        text.contains("CVE-2026-0003") && text.contains("accepted: not reachable (until 2026-12-31)"),
        "{text}"
    );
    assert!(!text.contains('\u{1b}') && report().text(true, true).contains("\u{1b}[1;31m"));
}

#[test]
fn texts_of_an_image_cannot_move_the_cursor() {
    let mut found = nothing();
    let mut bad = weakness("CVE-1", "zlib", Severity::Critical, Some("2"));
    bad.summary = "\u{1b}[2J\rall is well".into();
    found.vulnerabilities = Some(vec![bad]);
    let text = Report::new("web", judge(&Policy::built_in(), &found), &found, now()).text(false, true);
    assert!(!text.contains('\u{1b}') && !text.contains('\r') && text.contains("all is well"), "{text}");
}

#[test]
fn json_is_read_again() {
    let report = report();
    let json = report.json().unwrap();
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    assert_eq!(report.schema, SCHEMA);
    insta::assert_snapshot!(json);
}

#[test]
fn sarif_has_the_form_that_services_ask_for() {
    let text = report().sarif("0.1.0").unwrap();
    insta::assert_snapshot!(text);
    let log: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    let ids: std::collections::BTreeSet<&str> =
        rules.iter().map(|rule| rule["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), rules.len(), "identifiers are unique");
    for rule in rules {
        assert!(rule["help"]["text"].as_str().is_some_and(|text| text.ends_with('.')), "{rule}");
        assert!(rule["properties"]["security-severity"].as_str().unwrap().parse::<f64>().is_ok());
    }
    let results = run["results"].as_array().unwrap();
    assert!(results.len() >= 8);
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
        let fingerprint = result["partialFingerprints"]["kilnFinding/v1"].as_str().unwrap();
        assert!(fingerprint.len() == 16 && fingerprint.bytes().all(|b| b.is_ascii_hexdigit()));
        let place = &result["locations"][0]["physicalLocation"];
        let uri = place["artifactLocation"]["uri"].as_str().unwrap();
        assert!(!uri.starts_with('/') && uri.bytes().all(|b| b.is_ascii_graphic()), "{uri}");
        assert!(place["region"]["startLine"].as_u64().unwrap() >= 1);
        let (kind, level) = (result["kind"].as_str().unwrap(), result["level"].as_str().unwrap());
        assert_eq!(kind == "fail", level != "none", "3.27.10: only what fails has a level");
        let suppressed = result.get("suppressions").is_some();
        assert_eq!(suppressed, result["ruleId"] == "CVE-2026-0003", "{result}");
    }
}

#[test]
fn sarif_of_what_nobody_looked_for_says_so() {
    let found = Found::default();
    let report = Report::new("web", judge(&Policy::built_in(), &found), &found, now());
    let log: Value = serde_json::from_str(&report.sarif("0.1.0").unwrap()).unwrap();
    let told = log["runs"][0]["invocations"][0]["toolExecutionNotifications"].as_array().unwrap();
    assert_eq!(told.len(), 2);
    assert!(log["runs"][0]["results"].as_array().unwrap().is_empty());
}
