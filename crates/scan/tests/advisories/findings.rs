//! What a finding says: one for each vulnerability, its names, its severity, its fix, always the same bytes.

use kiln_scan::advisories::{Suppressor, Vulnerability};
use kiln_scan::{Ecosystem, Location, Severity};
use serde_json::{Value, json};

use super::kit::{from_source, judge, package};

fn demo(id: &str, extra: &Value) -> Value {
    let mut document = json!({"id": id, "modified": "2024-01-01T00:00:00Z", "affected": [{
        "package": {"ecosystem": "PyPI", "name": "demo"},
        "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.0"}]}]}]});
    for (key, value) in extra.as_object().unwrap() {
        document[key] = value.clone();
    }
    document
}

fn on(documents: &[Value], version: &str) -> Vec<Vulnerability> {
    judge(documents, &[package(Ecosystem::PyPi, "demo", version)]).vulnerabilities
}

#[test]
fn aliases_make_one_finding() {
    let documents = [
        demo("PYSEC-2024-1", &json!({"aliases": ["CVE-2024-1000"], "published": "2024-03-01T00:00:00Z"})),
        demo(
            "GHSA-aaaa-bbbb-cccc",
            &json!({"aliases": ["CVE-2024-1000"], "summary": "Bad\n  thing ",
            "published": "2024-02-01T00:00:00Z", "modified": "2024-05-01T00:00:00Z",
            "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
            "references": [{"type": "WEB", "url": "https://b.example"}, {"type": "FIX", "url": "https://a.example"}]}),
        ),
        demo("X-9", &json!({"aliases": ["GHSA-aaaa-bbbb-cccc", "CVE-2024-999"]})),
        demo("OTHER-1", &json!({})),
    ];
    for turn in 0..documents.len() {
        let mut documents = documents.to_vec();
        documents.rotate_left(turn);
        let found = on(&documents, "1.0");
        assert_eq!(found.len(), 2);
        let one = &found[0];
        assert_eq!(one.id, "CVE-2024-999", "the oldest CVE");
        assert_eq!(one.aliases, ["CVE-2024-1000", "GHSA-aaaa-bbbb-cccc", "PYSEC-2024-1", "X-9"]);
        assert_eq!(one.advisories, ["GHSA-aaaa-bbbb-cccc", "PYSEC-2024-1", "X-9"]);
        assert_eq!((one.severity, one.score.unwrap().to_string().as_str()), (Severity::Critical, "9.8"));
        assert_eq!(one.summary, "Bad thing");
        assert_eq!(one.published.unwrap().to_string(), "2024-02-01T00:00:00Z");
        assert_eq!(one.modified.unwrap().to_string(), "2024-05-01T00:00:00Z");
        let urls: Vec<&str> = one.references.iter().map(|reference| reference.url.as_str()).collect();
        assert_eq!(urls, ["https://a.example", "https://b.example"]);
        assert_eq!((found[1].id.as_str(), found[1].severity), ("OTHER-1", Severity::Unknown));
    }
}

#[test]
fn a_collective_advisory_is_one_finding_for_each_vulnerability() {
    let debian = |id: &str, upstream: &[&str], fixed: &str| {
        json!({"id": id, "modified": "2024-01-01T00:00:00Z", "upstream": upstream, "affected": [{
            "package": {"ecosystem": "Debian:12", "name": "demo"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": fixed}]}]}]})
    };
    let documents = [
        debian("DSA-1-1", &["CVE-2024-1", "CVE-2024-2"], "2"),
        debian("DEBIAN-CVE-2024-2", &["CVE-2024-2"], "2"),
        debian("DEBIAN-CVE-2024-3", &[], "2"),
    ];
    let found =
        judge(&documents, &[package(Ecosystem::Dpkg("debian:12".into()), "demo", "1")]).vulnerabilities;
    let ids: Vec<(&str, Vec<&str>)> = found
        .iter()
        .map(|one| (one.id.as_str(), one.advisories.iter().map(String::as_str).collect()))
        .collect();
    assert_eq!(
        ids,
        [
            ("CVE-2024-1", vec!["DSA-1-1"]),
            ("CVE-2024-2", vec!["DEBIAN-CVE-2024-2", "DSA-1-1"]),
            ("CVE-2024-3", vec!["DEBIAN-CVE-2024-3"]),
        ]
    );
}

#[test]
fn the_fix_is_the_first_version_that_no_advisory_calls_affected() {
    let ranges = |events: Value| {
        json!({"affected": [{"package": {"ecosystem": "PyPI", "name": "demo"},
            "ranges": [{"type": "ECOSYSTEM", "events": events}]}], "aliases": ["CVE-2024-1"]})
    };
    let branches =
        json!([{"introduced": "0"}, {"fixed": "1.5.3"}, {"introduced": "2.0"}, {"fixed": "2.0.7"}]);
    let first = demo("A-1", &ranges(branches));
    let second = demo("B-1", &ranges(json!([{"introduced": "0"}, {"fixed": "1.5.4"}])));
    let fixed = |documents: &[Value], version: &str| on(documents, version)[0].fixed.clone();
    assert_eq!(fixed(std::slice::from_ref(&first), "1.0").as_deref(), Some("1.5.3"));
    assert_eq!(fixed(std::slice::from_ref(&first), "2.0.1").as_deref(), Some("2.0.7"));
    assert_eq!(fixed(&[first.clone(), second], "1.0").as_deref(), Some("1.5.4"));
    let never = demo("C-1", &ranges(json!([{"introduced": "0"}])));
    assert_eq!(fixed(&[first, never], "1.0"), None);
}

#[test]
fn how_to_fix_names_the_tool_that_does_it() {
    let text = |ecosystem: Ecosystem, osv: &str, name: &str, fixed: Option<&str>| {
        let mut events = vec![json!({"introduced": "0"})];
        events.extend(fixed.map(|fixed| json!({"fixed": fixed})));
        let document = json!({"id": "X-1", "affected": [{"package": {"ecosystem": osv, "name": name},
            "ranges": [{"type": "ECOSYSTEM", "events": events}]}]});
        judge(&[document], &[package(ecosystem, name, "1.0.0")]).vulnerabilities[0].how_to_fix.clone()
    };
    let debian = text(Ecosystem::Dpkg("debian:12".into()), "Debian:12", "bash", Some("1.0.1"));
    assert!(debian.contains("`kiln lock --update`") && debian.contains("1.0.1"), "{debian}");
    assert!(text(Ecosystem::PyPi, "PyPI", "demo", Some("2.0")).contains("demo>=2.0"));
    assert!(
        text(Ecosystem::Cargo, "crates.io", "demo", Some("2.0.0"))
            .contains("cargo update -p demo --precise 2.0.0")
    );
    assert!(text(Ecosystem::Go, "Go", "stdlib", Some("1.22.3")).contains("Go 1.22.3"));
    assert!(
        text(Ecosystem::Dpkg("debian:12".into()), "Debian:12", "bash", None)
            .contains("no fixed version of bash yet")
    );
}

#[test]
fn severities() {
    let rated = |extra: Value| on(&[demo("X-1", &extra)], "1.0").remove(0);
    let word = rated(json!({"database_specific": {"severity": "MODERATE"}}));
    assert_eq!((word.severity, word.score), (Severity::Medium, None));
    let v4 = rated(json!({"severity": [
        {"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N"},
        {"type": "CVSS_V4", "score": "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:L/VA:L/SC:N/SI:N/SA:N"}]}));
    assert_eq!((v4.severity, v4.score.unwrap().to_string().as_str()), (Severity::High, "8.8"));
    assert!(v4.vector.unwrap().starts_with("CVSS:4.0/"));
    let ubuntu = rated(json!({"severity": [{"type": "Ubuntu", "score": "negligible"}]}));
    assert_eq!(ubuntu.severity, Severity::None);
    let nonsense =
        rated(json!({"severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:Q"}], "database_specific": 7}));
    assert_eq!((nonsense.severity, nonsense.score), (Severity::Unknown, None));
    assert_eq!(on(&[demo("MAL-2024-1", &json!({}))], "1.0")[0].severity, Severity::Critical);
}

#[test]
fn withdrawn_advisories_find_nothing() {
    assert!(on(&[demo("X-1", &json!({"withdrawn": "2024-06-01T00:00:00Z"}))], "1.0").is_empty());
    assert_eq!(on(&[demo("X-1", &json!({"withdrawn": null}))], "1.0").len(), 1);
}

#[test]
fn what_is_only_about_other_systems_is_marked() {
    let windows = |systems: &[&str]| {
        let document = json!({"id": "RUSTSEC-1", "affected": [{
            "package": {"ecosystem": "crates.io", "name": "mio"},
            "ecosystem_specific": {"affects": {"os": systems, "arch": [], "functions": []}},
            "database_specific": {"informational": "unsound"},
            "ranges": [{"type": "SEMVER", "events": [{"introduced": "0.0.0-0"}]}]}]});
        judge(&[document], &[package(Ecosystem::Cargo, "mio", "0.8.0")]).vulnerabilities.remove(0)
    };
    let suppressed = windows(&["windows"]).suppressed.unwrap();
    assert_eq!((suppressed.by, suppressed.source.as_str()), (Suppressor::Advisory, "RUSTSEC-1"));
    assert!(suppressed.reason.contains("windows"), "{}", suppressed.reason);
    assert_eq!(windows(&["windows", "linux"]).suppressed, None);
    assert_eq!(windows(&[]).suppressed, None);
    assert_eq!(windows(&[]).informational.as_deref(), Some("unsound"));
}

#[test]
fn places_of_one_package_are_one_finding() {
    let at = |path: &str| {
        let mut demo = package(Ecosystem::PyPi, "demo", "1.0");
        demo.locations = vec![Location { path: path.to_owned(), layer: None }];
        demo
    };
    let found = judge(&[demo("X-1", &json!({}))], &[at("b"), at("a"), at("b")]).vulnerabilities;
    assert_eq!(found.len(), 1);
    let paths: Vec<&str> = found[0].package.locations.iter().map(|place| place.path.as_str()).collect();
    assert_eq!(paths, ["a", "b"]);
}

#[test]
fn the_same_content_gives_the_same_bytes() {
    let documents: Vec<Value> = (0..40)
        .map(|n| {
            let alias = format!("CVE-2024-{}", 1000 + n / 2);
            demo(&format!("X-{n}"), &json!({"aliases": [alias], "summary": format!("number {n}")}))
        })
        .collect();
    let turned: Vec<Value> = documents.iter().rev().cloned().collect();
    let mut packages: Vec<_> =
        ["0.5", "1.0", "1.5", "3.0"].map(|v| package(Ecosystem::PyPi, "demo", v)).to_vec();
    packages.push(from_source(package(Ecosystem::PyPi, "demo", "1.0"), "other", "1"));
    let first = serde_json::to_vec(&judge(&documents, &packages)).unwrap();
    packages.reverse();
    let second = serde_json::to_vec(&judge(&turned, &packages)).unwrap();
    assert!(first == second, "files and packages in another order change nothing");
    let back: kiln_scan::advisories::Findings = serde_json::from_slice(&first).unwrap();
    assert_eq!(serde_json::to_vec(&back).unwrap(), first);
}
