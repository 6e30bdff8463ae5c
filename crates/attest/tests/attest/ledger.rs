//! The ledger in one process: what is appended is read again, what is torn is set aside.

use std::fs;
use std::path::PathBuf;

use kiln_attest::keys::{Algorithm, Signer, TrustedKeys};
use kiln_attest::ledger::{Entry, Filter, Head, Ledger, LedgerError, Problem, Record, Source};
use kiln_model::Digest;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::kit::{NOW, key, name, trust};

pub(crate) fn entry(number: u64) -> Entry {
    let mut entry = Entry::new(NOW + number, format!("person-{}", number % 3), "release.deployed");
    entry.why = Some(format!("reason {number} with \"quotes\", a\nnewline and ü"));
    entry.environment = Some(name(if number.is_multiple_of(2) { "prod" } else { "dev" }));
    entry.service = Some(name("web"));
    entry.image = Some(Digest::from_bytes([u8::try_from(number % 250).unwrap(); 32]));
    entry.evidence = vec![Digest::from_bytes([7; 32])];
    entry.details = json!({ "replicas": number, "share": 0.1 });
    entry
}

fn from(source: &str, id: u64) -> Entry {
    let mut entry = entry(id);
    entry.source = Some(Source { name: source.into(), id });
    entry
}

/// A ledger of so many records in files of some 2,000 bytes.
pub(crate) fn ledger_of(count: u64) -> (TempDir, Ledger) {
    let folder = TempDir::new().unwrap();
    let ledger = Ledger::open_with(&folder.path().join("ledger"), 2_000).unwrap();
    ledger.append_all((1..=count).map(entry).collect()).unwrap();
    (folder, ledger)
}

pub(crate) fn files(ledger: &Ledger) -> Vec<PathBuf> {
    let entries = fs::read_dir(ledger.folder()).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| {
        path.extension().is_some_and(|end| end == "jsonl") && path.to_str().unwrap().contains("ledger-")
    });
    files.sort();
    files
}

fn all(ledger: &Ledger) -> Vec<Record> {
    ledger.records(Filter::default()).unwrap().map(Result::unwrap).collect()
}

fn verify(ledger: &Ledger) -> kiln_attest::ledger::Report {
    ledger.verify(&TrustedKeys::new(), None).unwrap()
}

#[test]
fn what_is_appended_is_read_again_in_order() {
    let (_folder, ledger) = ledger_of(20);
    let records = all(&ledger);
    assert_eq!(records.len(), 20);
    assert!(files(&ledger).len() > 3, "the files are rotated");
    for (index, record) in records.iter().enumerate() {
        assert_eq!((record.seq, &record.entry), (index as u64 + 1, &entry(index as u64 + 1)));
    }
    let head = records.last().unwrap();
    assert_eq!(ledger.head().unwrap(), Some(Head { seq: 20, hash: head.hash }));
    let report = verify(&ledger);
    assert!(report.is_good() && report.records == 20 && report.torn.is_none(), "{report:?}");
}

/// The documented form, checked without Kiln's reader: any program can do this.
#[test]
fn a_line_hashes_as_documented() {
    let (_folder, ledger) = ledger_of(9);
    let mut prev = format!("sha256:{}", "0".repeat(64));
    let mut seq = 0;
    for path in files(&ledger) {
        let content = fs::read_to_string(&path).unwrap();
        assert!(content.ends_with('\n') && content.len() <= 2_000);
        let first: u64 = path.file_stem().unwrap().to_str().unwrap()[7..].parse().unwrap();
        assert_eq!(first, seq + 1);
        for line in content.lines() {
            seq += 1;
            let (body, ending) = line.split_at(line.len() - (9 + 7 + 64 + 2));
            let hash = format!("sha256:{}", hex::encode(Sha256::digest(body.as_bytes())));
            assert_eq!(ending, format!(",\"hash\":\"{hash}\"}}"));
            let json: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!((json["seq"].as_u64(), json["prev"].as_str()), (Some(seq), Some(prev.as_str())));
            prev = hash;
        }
    }
    assert_eq!(seq, 9);
}

#[test]
fn an_empty_ledger_is_a_good_one() {
    let folder = TempDir::new().unwrap();
    let ledger = Ledger::open(folder.path()).unwrap();
    assert!(verify(&ledger).is_good() && all(&ledger).is_empty());
    assert_eq!((ledger.head().unwrap(), ledger.last_source("x").unwrap()), (None, None));
    assert_eq!(ledger.checkpoint(&key(Algorithm::Ed25519), NOW).unwrap(), None);
    assert!(ledger.append_all(Vec::new()).unwrap().records.is_empty());
    assert!(files(&ledger).is_empty());
}

#[test]
fn records_are_found_by_what_they_are_about() {
    let (_folder, ledger) = ledger_of(12);
    let mut baked = Entry::new(NOW, "alice", "image.baked");
    baked.image = Some(Digest::from_bytes([200; 32]));
    ledger.append(baked).unwrap();
    let count = |filter: Filter| ledger.records(filter).unwrap().map(Result::unwrap).count();
    assert_eq!(count(Filter { environment: Some(name("prod")), ..Filter::default() }), 6);
    assert_eq!(count(Filter { service: Some(name("web")), ..Filter::default() }), 12);
    assert_eq!(count(Filter { image: Some(Digest::from_bytes([200; 32])), ..Filter::default() }), 1);
    assert_eq!(count(Filter { who: Some("person-1".into()), ..Filter::default() }), 4);
    assert_eq!(count(Filter { what: Some("image.".into()), ..Filter::default() }), 1);
    assert_eq!(count(Filter { what: Some("release.deployed".into()), ..Filter::default() }), 12);
    assert_eq!(count(Filter { what: Some("release".into()), ..Filter::default() }), 0);
    assert_eq!(count(Filter { since_ms: Some(NOW + 3), until_ms: Some(NOW + 6), ..Filter::default() }), 3);
    let after: Vec<u64> = ledger
        .records(Filter { after: Some(9), ..Filter::default() })
        .unwrap()
        .map(|record| record.unwrap().seq)
        .collect();
    assert_eq!(after, [10, 11, 12, 13]);
}

#[test]
fn what_is_exported_are_the_lines_themselves() {
    let (_folder, ledger) = ledger_of(12);
    let whole: Vec<u8> = files(&ledger).iter().flat_map(|path| fs::read(path).unwrap()).collect();
    let mut out = Vec::new();
    assert_eq!(ledger.export(Filter::default(), &mut out).unwrap(), 12);
    assert_eq!(out, whole);
    let mut some = Vec::new();
    let filter = Filter { environment: Some(name("dev")), ..Filter::default() };
    assert_eq!(ledger.export(filter, &mut some).unwrap(), 6);
    let lines = String::from_utf8(whole).unwrap();
    assert!(String::from_utf8(some).unwrap().lines().all(|line| lines.contains(line)));
}

#[test]
fn a_last_line_torn_at_any_byte_is_set_aside_and_nothing_else() {
    let (_folder, ledger) = ledger_of(6);
    let last = files(&ledger).pop().unwrap();
    let whole = fs::read(&last).unwrap();
    let start = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let kept = all(&ledger)[..5].to_vec();
    for cut in start..whole.len() {
        fs::write(&last, &whole[..cut]).unwrap();
        let report = verify(&ledger);
        assert!(report.is_good() && report.records == 5, "cut at {cut}: {report:?}");
        assert_eq!(report.torn.map(|torn| torn.bytes), Some((cut - start) as u64).filter(|bytes| *bytes > 0));
        assert_eq!(all(&ledger), kept);
        let appended = ledger.append(entry(99)).unwrap();
        assert_eq!(appended.records[0].seq, 6);
        match appended.set_aside {
            Some(path) => {
                assert_eq!(fs::read(&path).unwrap(), &whole[start..cut]);
                assert_eq!(verify(&ledger).set_aside, std::slice::from_ref(&path));
                fs::remove_file(path).unwrap();
            }
            None => assert_eq!(cut, start),
        }
        let report = verify(&ledger);
        assert!(report.is_good() && report.records == 6 && report.torn.is_none(), "cut at {cut}: {report:?}");
        for extra in files(&ledger).into_iter().filter(|path| *path > last) {
            fs::remove_file(extra).unwrap();
        }
    }
}

#[test]
fn a_hole_that_a_power_cut_left_is_torn_too() {
    let (_folder, ledger) = ledger_of(6);
    let last = files(&ledger).pop().unwrap();
    let whole = fs::read(&last).unwrap();
    let tail = [&whole[..], &[0; 300], b"\"}\n"].concat();
    fs::write(&last, tail).unwrap();
    let appended = ledger.append(entry(7)).unwrap();
    assert_eq!(appended.records[0].seq, 7);
    assert_eq!(fs::metadata(appended.set_aside.unwrap()).unwrap().len(), 303);
    assert!(verify(&ledger).is_good());
}

#[test]
fn a_file_that_was_begun_and_not_written_is_gone_on_with() {
    let (_folder, ledger) = ledger_of(6);
    let empty = ledger.folder().join("ledger-0000000000000007.jsonl");
    fs::write(&empty, b"").unwrap();
    assert_eq!(ledger.head().unwrap().unwrap().seq, 6);
    ledger.append(entry(7)).unwrap();
    assert!(fs::metadata(&empty).unwrap().len() > 0);
    assert!(verify(&ledger).is_good());
    assert_eq!(all(&ledger).len(), 7);
}

#[test]
fn nothing_is_appended_to_an_altered_end() {
    let (_folder, ledger) = ledger_of(6);
    let last = files(&ledger).pop().unwrap();
    let before = fs::read(&last).unwrap();
    let altered = String::from_utf8(before).unwrap().replace("reason 6", "reason 5");
    fs::write(&last, &altered).unwrap();
    let error = ledger.append(entry(7)).unwrap_err();
    assert!(matches!(error, LedgerError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("kiln ledger verify"), "{error}");
    assert_eq!(fs::read_to_string(&last).unwrap(), altered, "nothing is changed");
    let read: Vec<_> = ledger.records(Filter::default()).unwrap().collect();
    assert_eq!((read.len(), read.iter().filter(|one| one.is_err()).count()), (6, 1), "told, not dropped");
}

#[test]
fn a_record_that_is_too_long_is_refused_whole() {
    let (_folder, ledger) = ledger_of(2);
    let mut long = entry(3);
    long.details = json!("x".repeat(2 << 20));
    let error = ledger.append_all(vec![entry(3), long]).unwrap_err();
    assert!(matches!(error, LedgerError::TooLong { .. }), "{error}");
    assert_eq!(all(&ledger).len(), 2, "none without the others");
    let mut large = entry(3);
    large.details = json!("x".repeat(900_000));
    ledger.append(large).unwrap();
    ledger.append(entry(4)).unwrap();
    let report = verify(&ledger);
    assert!(report.is_good() && report.records == 4, "{report:?}");
}

#[test]
fn an_event_is_taken_once() {
    let (_folder, ledger) = ledger_of(3);
    assert_eq!(ledger.last_source("control").unwrap(), None);
    let events = || vec![from("control", 5), from("other", 1), from("control", 9)];
    assert_eq!(ledger.append_all(events()).unwrap().records.len(), 3);
    assert_eq!(ledger.append_all(events()).unwrap().records.len(), 0);
    let more = vec![from("control", 9), from("control", 10), from("control", 10), from("control", 3)];
    let written = ledger.append_all(more).unwrap().records;
    assert_eq!(written.iter().map(|one| one.entry.source.as_ref().unwrap().id).collect::<Vec<_>>(), [10]);
    assert_eq!(ledger.last_source("control").unwrap(), Some(10));
    assert_eq!(ledger.last_source("other").unwrap(), Some(1));
    assert!(verify(&ledger).is_good());
}

#[test]
fn the_cache_of_sources_is_only_a_cache() {
    let (_folder, ledger) = ledger_of(3);
    let cache = ledger.folder().join("sources.json");
    ledger.append_all((1..=8).map(|id| from("control", id)).collect()).unwrap();
    let early = fs::read(&cache).unwrap();
    ledger.append_all((9..=20).map(|id| from("control", id)).collect()).unwrap();
    let forged = json!({"head": {"seq": 4, "hash": Digest::from_bytes([1; 32])}, "last": {"control": 400}});
    let ahead = json!({"head": {"seq": 400, "hash": Digest::from_bytes([1; 32])}, "last": {"control": 400}});
    for content in [early, b"".to_vec(), b"{".to_vec(), forged.to_string().into(), ahead.to_string().into()] {
        fs::write(&cache, content).unwrap();
        assert_eq!(ledger.last_source("control").unwrap(), Some(20));
    }
    fs::remove_file(&cache).unwrap();
    assert!(ledger.append(from("control", 20)).unwrap().records.is_empty());
    assert_eq!(ledger.append(from("control", 21)).unwrap().records.len(), 1);
}

#[test]
fn a_checkpoint_covers_what_is_before_it() {
    let (_folder, ledger) = ledger_of(5);
    let (signer, stranger) = (key(Algorithm::EcdsaP256), key(Algorithm::Ed25519));
    let keys = trust(&[("ledger", &signer)]);
    let made = ledger.checkpoint(&signer, NOW).unwrap().unwrap();
    assert_eq!((made.seq, made.head), (5, ledger.head().unwrap().unwrap().hash));
    assert_eq!(made.origin, all(&ledger)[0].hash);
    assert_eq!(ledger.checkpoint_if_due(3, &signer, NOW).unwrap(), None);
    ledger.append_all((6..=8).map(entry).collect()).unwrap();
    assert_eq!(ledger.checkpoint_if_due(3, &signer, NOW).unwrap().unwrap().seq, 8);
    ledger.append(entry(9)).unwrap();
    let report = ledger.verify(&keys, None).unwrap();
    assert!(report.is_good(), "{report:?}");
    assert_eq!((report.checkpoints, report.covered, report.records), (2, Some(8), 9));
    // One by a key that nobody trusts is no checkpoint.
    ledger.checkpoint(&stranger, NOW).unwrap();
    let report = ledger.verify(&keys, None).unwrap();
    assert!(matches!(report.problems.as_slice(), [Problem::BadCheckpoint { .. }]), "{report:?}");
    assert_eq!(report.covered, Some(8));
}

#[test]
fn a_checkpoint_torn_by_a_crash_is_set_aside() {
    let (_folder, ledger) = ledger_of(5);
    let signer = key(Algorithm::Ed25519);
    ledger.checkpoint(&signer, NOW).unwrap();
    let path = ledger.checkpoints_path();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, [&whole[..], &whole[..40]].concat()).unwrap();
    let keys = trust(&[("ledger", &signer)]);
    assert!(ledger.verify(&keys, None).unwrap().is_good());
    ledger.append(entry(6)).unwrap();
    assert_eq!(ledger.checkpoint(&signer, NOW + 1).unwrap().unwrap().seq, 6);
    let report = ledger.verify(&keys, None).unwrap();
    assert!(report.is_good() && report.checkpoints == 2 && report.set_aside.len() == 1, "{report:?}");
}

#[test]
fn nothing_is_signed_over_a_chain_that_does_not_hold() {
    let (_folder, ledger) = ledger_of(9);
    let signer = key(Algorithm::Ed25519);
    ledger.checkpoint(&signer, NOW).unwrap();
    ledger.append_all((10..=14).map(entry).collect()).unwrap();
    let path =
        files(&ledger).into_iter().rfind(|path| fs::read_to_string(path).unwrap().contains("reason 11 "));
    let path = path.unwrap();
    let altered = fs::read_to_string(&path).unwrap().replace("reason 11 ", "reason 12 ");
    fs::write(&path, altered).unwrap();
    let error = ledger.checkpoint(&signer, NOW).unwrap_err();
    assert!(matches!(error, LedgerError::Damaged { .. }), "{error}");
}

#[test]
fn a_witness_tells_what_the_chain_alone_cannot() {
    let (_folder, ledger) = ledger_of(9);
    let witness = ledger.head().unwrap().unwrap();
    ledger.append(entry(10)).unwrap();
    let none = TrustedKeys::new();
    assert!(ledger.verify(&none, Some(&witness)).unwrap().is_good());
    let later = ledger.head().unwrap().unwrap();
    let last = files(&ledger).pop().unwrap();
    fs::remove_file(&last).unwrap();
    assert!(verify(&ledger).is_good(), "a tail cut off leaves a good chain");
    let report = ledger.verify(&none, Some(&later)).unwrap();
    let [Problem::TailMissing { from, to, by }] = report.problems.as_slice() else { panic!("{report:?}") };
    assert_eq!((*from, *to, by.as_str()), (report.records + 1, 10, "the witness"));
    let other = Head { seq: 3, hash: witness.hash };
    let report = ledger.verify(&none, Some(&other)).unwrap();
    assert!(matches!(report.problems.as_slice(), [Problem::Rewritten { seq: 3, .. }]), "{report:?}");
    assert!(signer_is_public(&key(Algorithm::Ed25519)));
}

fn signer_is_public(signer: &dyn Signer) -> bool {
    !signer.key().to_pem().is_empty()
}
