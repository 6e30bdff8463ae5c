//! VEX documents over findings.

use kiln_scan::Ecosystem;
use kiln_scan::advisories::{Suppressor, Vulnerability};
use kiln_scan::vex::{Image, Vex, VexError, apply_vex};
use serde_json::{Value, json};

use super::kit::{judge, package};

/// Two vulnerabilities of `demo` 1.0 and one of `other` 1.0.
fn found() -> Vec<Vulnerability> {
    let about = |id: &str, name: &str, alias: &str| json!({"id": id, "aliases": [alias], "affected": [{"package": {"ecosystem": "PyPI", "name": name}, "versions": ["1.0"]}]});
    let documents = [
        about("GHSA-1", "demo", "CVE-2024-1"),
        about("GHSA-2", "demo", "CVE-2024-2"),
        about("GHSA-3", "other", "CVE-2024-1"),
    ];
    let packages = ["demo", "other"].map(|name| package(Ecosystem::PyPi, name, "1.0"));
    let mut found = judge(&documents, &packages).vulnerabilities;
    found.sort_by(|left, right| (&left.package, &left.id).cmp(&(&right.package, &right.id)));
    found
}

fn image() -> Image {
    Image { ids: vec!["pkg:oci/shop@sha256%3Aabc".to_owned(), "sha256:abc".to_owned()] }
}

fn open(statements: &Value) -> Vex {
    let document = json!({"@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://example.org/vex-1",
        "author": "Shop", "timestamp": "2024-01-01T00:00:00Z", "version": 1, "statements": statements});
    Vex::parse(document.to_string().as_bytes()).unwrap()
}

/// What suppresses each of the three findings.
fn reasons(documents: &[Vex]) -> Vec<Option<String>> {
    let mut findings = found();
    apply_vex(&mut findings, documents, &image());
    assert_eq!(findings.len(), 3, "nothing is removed");
    findings.into_iter().map(|one| one.suppressed.map(|by| by.reason)).collect()
}

#[test]
fn openvex_by_package() {
    let statement = json!([{"vulnerability": {"name": "CVE-2024-1"}, "products": [{"@id": "pkg:pypi/demo"}],
        "status": "not_affected", "justification": "vulnerable_code_not_in_execute_path", "impact_statement": "no XML"}]);
    let reason = "not_affected: vulnerable_code_not_in_execute_path: no XML".to_owned();
    assert_eq!(reasons(&[open(&statement)]), [Some(reason), None, None]);
    let mut findings = found();
    apply_vex(&mut findings, &[open(&statement)], &image());
    let suppressed = findings[0].suppressed.as_ref().unwrap();
    assert_eq!((suppressed.by, suppressed.source.as_str()), (Suppressor::Vex, "https://example.org/vex-1"));
}

#[test]
fn openvex_by_image() {
    let statement = |product: Value| json!([{"vulnerability": {"name": "GHSA-none", "aliases": ["cve-2024-1"]}, "products": [product], "status": "fixed"}]);
    let both = [true, false, true];
    let one = [true, false, false];
    let none = [false; 3];
    for (product, expected) in [
        (json!({"@id": "pkg:oci/shop@sha256%3Aabc"}), both),
        (json!({"@id": "pkg:oci/shop"}), both),
        (json!({"identifiers": {"purl": "pkg:oci/shop@sha256:abc"}}), both),
        (json!({"@id": "x", "hashes": {"sha-256": "abc"}}), both),
        (json!({"@id": "pkg:oci/shop", "subcomponents": [{"@id": "pkg:pypi/demo@1.0"}]}), one),
        (json!({"@id": "pkg:oci/shop", "subcomponents": [{"@id": "pkg:pypi/demo@2.0"}]}), none),
        (json!({"@id": "pkg:oci/bakery", "subcomponents": [{"@id": "pkg:pypi/demo"}]}), none),
        (json!({"@id": "pkg:pypi/demo@1.1"}), none),
        (json!("pkg:pypi/demo@1.0"), one),
    ] {
        let found: Vec<bool> =
            reasons(&[open(&statement(product.clone()))]).iter().map(Option::is_some).collect();
        assert_eq!(found, expected, "{product}");
    }
}

#[test]
fn the_latest_statement_counts() {
    let one = |status: &str, time: Option<&str>| {
        json!({"vulnerability": "CVE-2024-1", "products": ["pkg:pypi/demo"], "status": status,
            "timestamp": time, "impact_statement": "says so", "action_statement": "wait"})
    };
    let (old, new) = (Some("2024-02-01T00:00:00Z"), Some("2024-03-01T00:00:00Z"));
    let suppressed = |list: Value| reasons(&[open(&list)])[0].is_some();
    assert!(suppressed(json!([one("affected", old), one("fixed", new)])));
    assert!(!suppressed(json!([one("affected", new), one("fixed", old)])));
    assert!(!suppressed(json!([one("fixed", None), one("affected", None)])), "the last of equals");
    assert!(suppressed(json!([one("under_investigation", None), one("not_affected", None)])));
    let mut findings = found();
    apply_vex(&mut findings, &[open(&json!([one("under_investigation", None)]))], &image());
    assert_eq!(findings[0].vex_status.as_deref(), Some("under_investigation"));
    assert_eq!(findings[0].suppressed, None);
}

#[test]
fn statements_that_break_the_rules_are_refused() {
    let refused = |statement: Value| {
        let document =
            json!({"@context": "https://openvex.dev/ns/v0.2.0", "@id": "v", "statements": [statement]});
        match Vex::parse(document.to_string().as_bytes()).unwrap_err() {
            VexError::Statement { number: 1, reason, .. } => reason,
            other => panic!("{other}"),
        }
    };
    let base = json!({"vulnerability": {"name": "CVE-1"}, "products": ["pkg:pypi/demo"]});
    let with = |key: &str, value: &str, status: &str| {
        let mut statement = base.clone();
        statement["status"] = json!(status);
        statement[key] = json!(value);
        statement
    };
    assert!(refused(with("x", "y", "not_affected")).contains("justification"));
    assert!(refused(with("justification", "because", "not_affected")).contains("because"));
    assert!(refused(with("x", "y", "harmless")).contains("harmless"));
    assert!(refused(json!({"vulnerability": {}, "products": [], "status": "fixed"})).contains("no name"));
    assert!(matches!(Vex::parse(b"{}"), Err(VexError::Kind)));
    assert!(matches!(Vex::parse(b"{"), Err(VexError::Json(_))));
}

#[test]
fn cyclonedx() {
    let document = |state: &str, reference: &str| {
        json!({"bomFormat": "CycloneDX", "specVersion": "1.6", "serialNumber": "urn:uuid:1",
            "metadata": {"timestamp": "2024-01-01T00:00:00Z", "authors": [{"name": "Shop"}]},
            "components": [{"type": "library", "name": "outer", "components": [
                {"type": "library", "name": "demo", "bom-ref": "ref-7", "purl": "pkg:pypi/demo@1.0"}]}],
            "vulnerabilities": [
                {"id": "CVE-2024-1", "analysis": {"state": state, "justification": "code_not_reachable", "detail": "never called"},
                    "affects": [{"ref": reference}]},
                {"id": "CVE-2024-2", "affects": [{"ref": "ref-7"}]}]})
    };
    let reason = |state: &str, reference: &str| {
        reasons(&[Vex::parse(document(state, reference).to_string().as_bytes()).unwrap()]).remove(0)
    };
    for reference in [
        "ref-7",
        "pkg:pypi/demo@1.0",
        "urn:cdx:3e671687-395b-41f5-a30f-a58921a69b79/1#pkg%3Apypi%2Fdemo%401.0",
    ] {
        let text = reason("not_affected", reference).unwrap();
        assert_eq!(text, "not_affected: code_not_reachable: never called", "{reference}");
    }
    assert!(reason("resolved", "ref-7").unwrap().starts_with("fixed"));
    assert!(reason("false_positive", "ref-7").is_some());
    assert_eq!(reason("exploitable", "ref-7"), None);
    assert_eq!(reason("in_triage", "ref-7"), None);
    assert_eq!(reason("not_affected", "ref-8"), None);
    let odd = document("fine", "ref-7").to_string();
    assert!(Vex::parse(odd.as_bytes()).unwrap_err().to_string().contains("statement 1"), "{odd}");
}
