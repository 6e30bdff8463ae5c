//! Sources that mean harm or are simply wrong: bounded, said, never a panic.

use kiln_scan::advisories::osv::Advisory;
use kiln_scan::advisories::{AdvisoryDb, AdvisoryError, Limits, Report, Source, UpdateOptions};
use kiln_scan::vex::Vex;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::kit::{run, run_with, zip};

fn archive_report(bytes: &[u8], limits: Limits) -> Report {
    let (files, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = files.path().join("all.zip");
    std::fs::write(&path, bytes).unwrap();
    run_with(dir.path(), &[Source::Osv(path)], &UpdateOptions { limits, ..UpdateOptions::default() })
}

fn refused(bytes: &[u8], limits: Limits) -> String {
    let report = archive_report(bytes, limits);
    assert_eq!((report.failed.len(), report.changed.len()), (1, 0), "{report:?}");
    report.failed[0].1.to_string()
}

fn good(id: &str) -> (String, Vec<u8>) {
    (format!("{id}.json"), json!({"id": id, "affected": []}).to_string().into_bytes())
}

#[test]
fn bombs() {
    let small = Limits { file: 1 << 20, document: 1 << 20, documents: 100, unpacked: 3 << 20 };
    // 64 MB of zeros in 64 kB.
    let bomb = zip(&[good("X-1"), ("bomb.json".to_owned(), vec![0; 64 << 20])]);
    assert!(bomb.len() < 1 << 20);
    assert!(refused(&bomb, small).contains("a document of"), "one file");
    let many: Vec<_> = (0..8).map(|n| (format!("{n}.json"), vec![b' '; 1 << 20])).collect();
    assert!(refused(&zip(&many), small).contains("the unpacked size of"), "all files together");
    let crowd: Vec<_> = (0..101).map(|n| good(&format!("X-{n}"))).collect();
    assert!(refused(&zip(&crowd), small).contains("the number of files of"), "too many files");
    assert!(archive_report(&zip(&crowd[..100]), small).failed.is_empty());
    let random: Vec<u8> = std::iter::successors(Some(1_u64), |n| {
        Some(n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
    })
    .map(|n| (n >> 56) as u8)
    .take(2 << 20)
    .collect();
    assert!(
        refused(&zip(&[("x.json".to_owned(), random)]), small).contains("the size of"),
        "the archive itself"
    );
}

#[test]
fn a_flipped_byte_in_an_archive_is_noticed() {
    let bytes = zip(&[good("X-1"), good("X-2")]);
    let at = bytes.windows(4).position(|window| window == b"X-1.").unwrap() + 12;
    let mut bad = bytes;
    bad[at] ^= 0x55;
    let report = archive_report(&bad, Limits::default());
    assert!(report.failed.len() == 1, "{report:?}");
}

#[test]
fn what_is_no_advisory_is_passed_over_and_said() {
    let files = [
        good("X-1"),
        ("broken.json".to_owned(), b"{".to_vec()),
        ("list.json".to_owned(), b"[1]".to_vec()),
        ("nameless.json".to_owned(), b"{\"id\": \"\"}".to_vec()),
        ("typed.json".to_owned(), b"{\"id\": \"X-2\", \"affected\": \"all\"}".to_vec()),
        ("deep.json".to_owned(), "[".repeat(100_000).into_bytes()),
        ("../../outside.json".to_owned(), good("X-3").1),
    ];
    let report = archive_report(&zip(&files), Limits::default());
    assert_eq!((report.changed.len(), report.skipped_count), (1, 5), "{report:?}");
    assert!(report.skipped.iter().any(|skipped| skipped.file.ends_with("!deep.json")));
    let only_bad = refused(&zip(&files[1..3]), Limits::default());
    assert!(only_bad.contains("holds no advisory; ") && only_bad.contains("broken.json"), "{only_bad}");
}

#[test]
fn trackers_of_another_shape() {
    let (files, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = files.path().join("data.json");
    for text in ["", "[]", "{\"a\": 1}", "{}", "{\"a\": {\"CVE-1\": {\"releases\": []}}}"] {
        std::fs::write(&path, text).unwrap();
        for source in [Source::Debian(path.display().to_string()), Source::Alpine(path.display().to_string())]
        {
            let report = run(dir.path(), std::slice::from_ref(&source));
            assert_eq!(report.failed.len(), 1, "{source:?} {text}");
        }
    }
    assert!(matches!(AdvisoryDb::open(dir.path()), Err(AdvisoryError::Empty { .. })));
}

/// Unknown fields, ecosystems, range types and nulls are no errors.
#[test]
fn the_unknown_is_passed_over() {
    let document = json!({"id": "X-1", "schema_version": "9.9", "new": {"a": [1]}, "aliases": null, "severity": null,
        "modified": "not a date", "database_specific": null, "references": [{"type": "NEW"}], "affected": [
            {"package": null, "ranges": null, "versions": null},
            {"package": {"ecosystem": "Mars", "name": "rover", "purl": 1}, "ranges": [{"type": "ORBIT", "events": [
                {"introduced": "0", "landed": true}, {"retired": "never"}]}], "ecosystem_specific": []}]});
    let advisory = Advisory::parse(document.to_string().as_bytes()).unwrap();
    assert_eq!((advisory.id.as_str(), advisory.affected.len(), advisory.modified), ("X-1", 2, None));
}

/// JSON with the names that advisories and VEX documents use, in any shape.
fn shapes() -> impl Strategy<Value = Value> {
    let names = "id|modified|affected|package|ecosystem|name|ranges|events|introduced|fixed|versions|severity|type|score|\
        aliases|withdrawn|@context|@id|statements|vulnerability|products|status|bomFormat|vulnerabilities|analysis|affects|ref";
    let words = "PyPI|SEMVER|ECOSYSTEM|0|1.0|\\*|CVSS:3.1/AV:N|https://openvex.dev/ns|CycloneDX|not_affected|fixed|demo|\\PC{0,8}";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        words.prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 8, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::btree_map(names, inner, 0..8)
                .prop_map(|map| Value::from(serde_json::Map::from_iter(map))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_json_is_read_or_refused(value in shapes()) {
        let text = value.to_string();
        let _ = Advisory::parse(text.as_bytes());
        let _ = Vex::parse(text.as_bytes());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Advisory::parse(&bytes).is_err());
        prop_assert!(Vex::parse(&bytes).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// All the way through: stored and matched.
    #[test]
    fn any_advisory_is_stored_and_matched(affected in proptest::collection::vec(shapes(), 1..4), events in shapes()) {
        let mut document = json!({"id": "X-1", "affected": affected});
        if let Some(list) = document["affected"].as_array_mut() {
            list.retain(Value::is_object);
            list.push(json!({"package": {"ecosystem": "PyPI", "name": "demo"}, "ranges": [{"type": "ECOSYSTEM", "events": [
                {"introduced": "0"}, {"fixed": events.as_str().unwrap_or("1")}]}]}));
        }
        let report = archive_report(&zip(&[("x.json".to_owned(), document.to_string().into_bytes())]), Limits::default());
        prop_assert_eq!(report.changed.len() + report.failed.len(), 1);
    }
}
