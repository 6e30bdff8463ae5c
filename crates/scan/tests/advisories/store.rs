//! The store: one state or another, never in between; the same content, the same digest.

use std::path::Path;

use kiln_scan::advisories::{AdvisoryDb, AdvisoryError, Source};
use serde_json::{Value, json};

use super::kit::{archive, findings, package, run, write};
use kiln_scan::Ecosystem;

fn document(id: &str, modified: &str, fixed: &str) -> Value {
    json!({"id": id, "modified": modified, "affected": [{
        "package": {"ecosystem": "npm", "name": "demo"},
        "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": fixed}]}]}]})
}

fn osv(path: &Path) -> Source {
    Source::Osv(path.to_owned())
}

#[test]
fn an_empty_folder_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let error = AdvisoryDb::open(dir.path()).unwrap_err();
    assert!(matches!(error, AdvisoryError::Empty { .. }));
    assert!(error.to_string().contains("kiln advisories update"), "{error}");
}

#[test]
fn the_same_content_has_the_same_digest_whatever_its_files() {
    let documents: Vec<Value> =
        (0..20).map(|n| document(&format!("X-{n}"), "2024-01-01T00:00:00Z", &format!("{n}.0.0"))).collect();
    let turned: Vec<Value> = documents.iter().rev().cloned().collect();
    // Twice the same, and an older state of one: the newest counts.
    let mut doubled = turned.clone();
    doubled.push(document("X-3", "2023-01-01T00:00:00Z", "99.0.0"));
    doubled.insert(0, document("X-4", "2023-01-01T00:00:00Z", "99.0.0"));
    let mut digests = Vec::new();
    for documents in [&documents, &turned, &doubled] {
        let (files, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(files.path().join("test.zip"), archive_twice(documents)).unwrap();
        let report = run(dir.path(), &[osv(files.path())]);
        assert_eq!(report.changed, ["osv/test"]);
        digests.push(report.digest.unwrap());
    }
    let (loose, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(loose.path(), &documents);
    digests.push(run(dir.path(), &[osv(loose.path())]).digest.unwrap());
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "{digests:?}");
    let other = document("X-3", "2024-01-01T00:00:00Z", "98.0.0");
    write(loose.path(), &[other]);
    assert_ne!(run(dir.path(), &[osv(loose.path())]).digest.unwrap(), digests[0]);
}

/// Documents of one id may come several times, in files of different names.
fn archive_twice(documents: &[Value]) -> Vec<u8> {
    let files: Vec<(String, Vec<u8>)> = documents
        .iter()
        .enumerate()
        .map(|(at, document)| (format!("{at}.json"), document.to_string().into_bytes()))
        .collect();
    super::kit::zip(&files)
}

#[test]
fn an_update_from_a_changed_archive_equals_a_fresh_one() {
    let (files, dir, fresh) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = files.path().join("npm.zip");
    let at = |n: u64, fixed: &str| document(&format!("X-{n}"), "0001-01-01T00:00:00Z", fixed);
    std::fs::write(&path, archive(&(0..50).map(|n| at(n, "1.0.0")).collect::<Vec<_>>())).unwrap();
    run(dir.path(), &[osv(&path)]);
    // Ten gone, ten changed without a new date, ten new.
    let changed: Vec<Value> = (10..60).map(|n| at(n, if n < 20 { "2.0.0" } else { "1.0.0" })).collect();
    std::fs::write(&path, archive(&changed)).unwrap();
    let report = run(dir.path(), &[osv(&path)]);
    assert_eq!(report.changed, ["osv/npm"]);
    assert_eq!(report.digest, run(fresh.path(), &[osv(&path)]).digest);
    let db = AdvisoryDb::open(dir.path()).unwrap();
    db.verify().unwrap();
    assert_eq!(db.info().count, 50);
    let found = findings(dir.path(), &[package(Ecosystem::Npm, "demo", "1.5.0")]);
    assert_eq!(found.vulnerabilities.len(), 10);
}

#[test]
fn what_did_not_change_is_not_built_again() {
    let (files, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(files.path(), &[document("X-1", "2024-01-01T00:00:00Z", "1.0.0")]);
    run(dir.path(), &[osv(files.path())]);
    let data = || {
        std::fs::read_dir(dir.path().join("data"))
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect::<Vec<_>>()
    };
    let before = data();
    assert_eq!(run(dir.path(), &[osv(files.path())]).unchanged, ["osv/test"]);
    assert_eq!(data(), before);
    // Other bytes of the same advisory are read, and are no change.
    let path = files.path().join("test/X-1.json");
    std::fs::write(&path, format!("  {}\n", std::fs::read_to_string(&path).unwrap())).unwrap();
    let report = run(dir.path(), &[osv(files.path())]);
    assert_eq!((report.changed.len(), report.unchanged.len()), (0, 1));
    assert_eq!(data().len(), 1, "the old file is swept");
}

#[test]
fn an_open_store_stays_as_it_was() {
    let (files, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(files.path(), &[document("X-1", "2024-01-01T00:00:00Z", "1.0.0")]);
    run(dir.path(), &[osv(files.path())]);
    let old = AdvisoryDb::open(dir.path()).unwrap();
    write(files.path(), &[document("X-2", "2024-01-01T00:00:00Z", "1.0.0")]);
    run(dir.path(), &[osv(files.path())]);
    let options = kiln_scan::advisories::MatchOptions::default();
    let packages = [package(Ecosystem::Npm, "demo", "0.5.0")];
    let count =
        |db| kiln_scan::advisories::match_packages(db, &packages, &options).unwrap().vulnerabilities.len();
    assert_eq!((count(&old), count(&AdvisoryDb::open(dir.path()).unwrap())), (1, 2));
    old.verify().unwrap();
}

#[test]
fn readers_and_updates_at_once() {
    let (files, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(files.path(), &[document("X-0", "2024-01-01T00:00:00Z", "1.0.0")]);
    run(dir.path(), &[osv(files.path())]);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut most = 0;
                    while most < 20 {
                        let db = AdvisoryDb::open(dir.path()).unwrap();
                        db.verify().unwrap();
                        let count = db.info().count;
                        assert!(count >= most, "the store went back from {most} to {count}");
                        most = count;
                    }
                })
            })
            .collect();
        for n in 1..20 {
            write(files.path(), &[document(&format!("X-{n}"), "2024-01-01T00:00:00Z", "1.0.0")]);
            run(dir.path(), &[osv(files.path())]);
        }
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

#[test]
fn layouts_of_exports() {
    let (files, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let one = |id: &str| archive(&[document(id, "2024-01-01T00:00:00Z", "1.0.0")]);
    let put = |path: &str, bytes: Vec<u8>| {
        let path = files.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    put("npm/all.zip", one("A-1"));
    put("Go.zip", one("B-1"));
    put("PyPI/2024/PYSEC-1.json", document("PYSEC-1", "2024-01-01T00:00:00Z", "1").to_string().into_bytes());
    put("PyPI.zip", one("C-1"));
    put("README.md", b"no advisory".to_vec());
    let report = run(dir.path(), &[osv(files.path())]);
    assert_eq!(report.changed, ["osv/Go", "osv/PyPI", "osv/npm"]);
    let info = AdvisoryDb::open(dir.path()).unwrap().info();
    let counts: Vec<u64> = info.sources.iter().map(|source| source.count).collect();
    assert_eq!((counts, info.count), (vec![1, 2, 1], 4));
    assert_eq!(info.modified.unwrap().to_string(), "2024-01-01T00:00:00Z");
    // One archive, one document, by themselves.
    for path in ["Go.zip", "PyPI/2024/PYSEC-1.json", "npm"] {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(run(dir.path(), &[osv(&files.path().join(path))]).changed.len(), 1, "{path}");
    }
    // What is not there is said, and the others are read nevertheless.
    let report = run(dir.path(), &[osv(&files.path().join("absent")), osv(&files.path().join("npm"))]);
    assert_eq!((report.failed.len(), report.unchanged.len()), (1, 1));
}

#[test]
fn a_damaged_store_is_said_and_renewed() {
    let (files, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(files.path(), &[document("X-1", "2024-01-01T00:00:00Z", "1.0.0")]);
    let digest = run(dir.path(), &[osv(files.path())]).digest;
    let pointer = dir.path().join("current.json");
    for (damage, shown) in
        [("{", "damaged"), (r#"{"format": 99}"#, "format 99"), (r#"{"format": 1}"#, "damaged")]
    {
        std::fs::write(&pointer, damage).unwrap();
        let error = AdvisoryDb::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains(shown) && error.contains("kiln advisories update"), "{error}");
        let report = run(dir.path(), &[osv(files.path())]);
        assert_eq!((report.renewed, report.digest), (true, digest));
        AdvisoryDb::open(dir.path()).unwrap().verify().unwrap();
    }
    let data = std::fs::read_dir(dir.path().join("data")).unwrap().next().unwrap().unwrap().path();
    let good = std::fs::read(&data).unwrap();
    for bytes in [b"nonsense".to_vec(), Vec::new(), good[..good.len() / 2].to_vec()] {
        std::fs::write(&data, bytes).unwrap();
        assert!(AdvisoryDb::open(dir.path()).and_then(|db| db.verify()).is_err());
    }
    // A change that SQLite itself does not see.
    let text = String::from_utf8_lossy(&good).into_owned();
    let at = text.find("1.0.0").unwrap();
    let at = good.windows(5).position(|w| w == b"1.0.0").unwrap_or(at);
    let mut bad = good;
    bad[at] = b'9';
    std::fs::write(&data, bad).unwrap();
    let error = AdvisoryDb::open(dir.path()).unwrap().verify().unwrap_err();
    assert!(matches!(error, AdvisoryError::Digest { .. }), "{error}");
}
