//! Going on after a damage: everything stays, the gap is on the record, and no number means two records.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use kiln_attest::keys::{Algorithm, TrustedKeys};
use kiln_attest::ledger::{Filter, Ledger, LedgerError, Problem, Record, Report, Source};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use crate::kit::{NOW, key, trust};
use crate::ledger::{entry, files, ledger_of};

fn verify(ledger: &Ledger) -> Report {
    ledger.verify(&TrustedKeys::new(), None).unwrap()
}

fn repair(ledger: &Ledger) -> Option<Record> {
    ledger.repair("ada", "the disk was changed", None, NOW).unwrap()
}

/// Alters the record of this number.
fn alter(ledger: &Ledger, seq: u64) -> PathBuf {
    let (from, to) = (format!("reason {seq} "), format!("reason {seq}!"));
    let holds = |path: &PathBuf| fs::read_to_string(path).unwrap().contains(&from);
    let path = files(ledger).into_iter().find(holds).unwrap();
    fs::write(&path, fs::read_to_string(&path).unwrap().replace(&from, &to)).unwrap();
    path
}

/// All lines of all files of the folder.
fn lines(ledger: &Ledger) -> BTreeSet<Vec<u8>> {
    let entries = fs::read_dir(ledger.folder()).unwrap().map(|entry| entry.unwrap().path());
    let kept = entries.filter(|path| path.file_name().unwrap().to_str().unwrap().contains("ledger-"));
    kept.flat_map(|path| {
        fs::read(path).unwrap().split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>()
    })
    .collect()
}

#[test]
fn what_is_whole_is_not_repaired() {
    let (_folder, ledger) = ledger_of(6);
    let before = lines(&ledger);
    assert_eq!(repair(&ledger), None);
    assert_eq!(lines(&ledger), before);
    // Nor is what an append mends by itself.
    let last = files(&ledger).pop().unwrap();
    let whole = fs::read(&last).unwrap();
    fs::write(&last, [&whole[..], b"{\"seq\":7"].concat()).unwrap();
    assert_eq!(repair(&ledger), None);
    assert_eq!(verify(&ledger).repairs, []);
}

#[test]
fn an_altered_end_is_set_aside_and_the_ledger_goes_on() {
    let (_folder, ledger) = ledger_of(6);
    let path = alter(&ledger, 6);
    let found = fs::read(&path).unwrap();
    assert!(matches!(ledger.append(entry(7)), Err(LedgerError::Damaged { .. })));
    let record = repair(&ledger).unwrap();
    assert_eq!(
        (record.seq, record.entry.who.as_str(), record.entry.what.as_str()),
        (7, "ada", "ledger.repaired")
    );
    assert_eq!(record.entry.why.as_deref(), Some("the disk was changed"));
    assert_eq!(ledger.append(entry(8)).unwrap().records[0].seq, 8);
    let report = verify(&ledger);
    assert!(report.is_good(), "{report:?}");
    assert_eq!((report.records, report.head.unwrap().seq), (7, 8));
    let [told] = &report.repairs[..] else { panic!("{report:?}") };
    assert_eq!((told.seq, told.gap.from, told.gap.to), (7, 6, 6));
    assert!(told.gap.damage.contains("record 6 was altered"), "{}", told.gap.damage);
    let [aside] = &told.gap.aside[..] else { panic!("{told:?}") };
    let kept = ledger.folder().join(&aside.file);
    assert_eq!(fs::read(&kept).unwrap(), found, "as it was");
    assert_eq!(aside.digest.hex(), hex::encode(Sha256::digest(&found)));
    let numbers: Vec<u64> =
        ledger.records(Filter::default()).unwrap().map(|record| record.unwrap().seq).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 7, 8], "all can be read");
    // What was set aside is part of the record: it may not change or go.
    fs::write(&kept, b"something else").unwrap();
    let first = verify(&ledger).problems.remove(0);
    assert!(
        matches!(&first, Problem::NotKept { seq: 7, reason, .. } if reason.contains("others")),
        "{first:?}"
    );
    fs::remove_file(&kept).unwrap();
    let first = verify(&ledger).problems.remove(0);
    assert!(
        matches!(&first, Problem::NotKept { seq: 7, reason, .. } if reason.contains("gone")),
        "{first:?}"
    );
}

#[test]
fn what_is_altered_again_is_repaired_again() {
    let (_folder, ledger) = ledger_of(6);
    alter(&ledger, 6);
    repair(&ledger).unwrap();
    ledger.append_all((8..=12).map(entry).collect()).unwrap();
    alter(&ledger, 12);
    assert!(!verify(&ledger).is_good(), "one repair acknowledges one damage");
    assert_eq!(repair(&ledger).unwrap().seq, 13);
    // The repair's own record may be what is altered.
    let opened = ledger.folder().join("ledger-0000000000000013.jsonl");
    fs::write(&opened, fs::read_to_string(&opened).unwrap().replace("\"ada\"", "\"bob\"")).unwrap();
    assert!(!verify(&ledger).is_good());
    assert_eq!(repair(&ledger).unwrap().seq, 14);
    let report = verify(&ledger);
    assert!(report.is_good(), "{report:?}");
    assert_eq!(report.repairs.iter().map(|one| one.seq).collect::<Vec<_>>(), [7, 14]);
    assert_eq!((report.repairs[1].gap.from, report.repairs[1].gap.to), (12, 13));
}

#[test]
fn checkpoints_go_on_and_say_what_is_in_the_gap() {
    let (_folder, ledger) = ledger_of(6);
    let signer = key(Algorithm::Ed25519);
    let keys = trust(&[("ledger", &signer)]);
    ledger.checkpoint(&signer, NOW).unwrap().unwrap();
    let witness = ledger.head().unwrap().unwrap();
    alter(&ledger, 6);
    repair(&ledger).unwrap();
    let report = ledger.verify(&keys, Some(&witness)).unwrap();
    assert!(report.is_good(), "{report:?}");
    let told = &report.repairs[0].told_of;
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().any(|one| one.contains("the witness tells of record 6")), "{told:?}");
    assert_eq!(report.covered, None);
    ledger.append(entry(8)).unwrap();
    assert_eq!(ledger.checkpoint(&signer, NOW + 1).unwrap().unwrap().seq, 8);
    assert_eq!(ledger.verify(&keys, None).unwrap().covered, Some(8));
    // A chain that is rewritten after that is still found out.
    alter(&ledger, 8);
    assert!(!ledger.verify(&keys, None).unwrap().is_good());
}

#[test]
fn a_number_that_a_witness_tells_of_is_not_given_again() {
    let (_folder, ledger) = ledger_of(9);
    let witness = ledger.head().unwrap().unwrap();
    // Cut off after the fifth, and the fifth altered.
    let path = alter(&ledger, 5);
    for later in files(&ledger).into_iter().filter(|file| *file > path) {
        fs::remove_file(later).unwrap();
    }
    let text = fs::read_to_string(&path).unwrap();
    let end = text.find("reason 5!").unwrap();
    fs::write(&path, &text[..=end + text[end..].find('\n').unwrap()]).unwrap();
    let record = ledger.repair("ada", "cut", Some(&witness), NOW).unwrap().unwrap();
    assert_eq!(record.seq, 10);
    let report = ledger.verify(&TrustedKeys::new(), Some(&witness)).unwrap();
    assert!(report.is_good() && report.repairs[0].told_of.len() == 1, "{report:?}");
}

#[test]
fn events_that_were_set_aside_are_taken_again() {
    let (_folder, ledger) = ledger_of(3);
    let event = |id: u64| {
        let mut event = entry(3 + id);
        event.source = Some(Source { name: "control".into(), id });
        event
    };
    ledger.append_all((1..=6).map(event).collect()).unwrap();
    alter(&ledger, 8);
    repair(&ledger).unwrap();
    assert_eq!(ledger.last_source("control").unwrap(), Some(4));
    ledger.append_all((1..=6).map(event).collect()).unwrap();
    let taken = ledger.records(Filter::default()).unwrap().filter_map(|one| one.unwrap().entry.source);
    assert_eq!(taken.map(|source| source.id).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    assert!(verify(&ledger).is_good());
}

#[test]
fn a_ledger_whose_end_cannot_be_found_goes_on() {
    let (_folder, ledger) = ledger_of(6);
    let last = files(&ledger).pop().unwrap();
    fs::write(&last, vec![b'x'; 5 << 20]).unwrap();
    assert!(ledger.append(entry(7)).is_err());
    repair(&ledger).unwrap();
    ledger.append(entry(8)).unwrap();
    assert!(verify(&ledger).is_good());
    // Two empty files in a row are none that a crash leaves.
    let next = ledger.head().unwrap().unwrap().seq + 1;
    for number in [next, next + 3] {
        fs::write(ledger.folder().join(format!("ledger-{number:016}.jsonl")), b"").unwrap();
    }
    assert!(ledger.append(entry(9)).is_err());
    assert_eq!(repair(&ledger).unwrap().seq, next + 4, "no file's name is taken a second time");
    ledger.append(entry(9)).unwrap();
    let report = verify(&ledger);
    assert!(report.is_good(), "{report:?}");
    let gap = &report.repairs[1].gap;
    assert_eq!((gap.from, gap.to), (next, next - 1), "and no record is missing");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any bytes anywhere: afterwards the chain holds, goes on, and nothing is lost.
    #[test]
    fn any_damage(file in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), bytes in prop::collection::vec(any::<u8>(), 1..40)) {
        let (_folder, ledger) = ledger_of(12);
        let paths = files(&ledger);
        let path = &paths[file.index(paths.len())];
        let mut content = fs::read(path).unwrap();
        let at = at.index(content.len());
        let end = content.len().min(at + bytes.len());
        content.splice(at..end, bytes);
        fs::write(path, &content).unwrap();
        let before = lines(&ledger);
        let (was_good, could_go_on) = (verify(&ledger).is_good(), ledger.head().is_ok());
        let repaired = repair(&ledger);
        // What a power cut may leave is set aside as after any crash, and needs nobody.
        let torn = !verify(&ledger).set_aside.is_empty();
        prop_assert!(repaired.is_some() || was_good || torn);
        prop_assert!(repaired.is_none() || !was_good || !could_go_on);
        prop_assert!(torn || before.is_subset(&lines(&ledger)));
        let head = ledger.head().unwrap().unwrap().seq;
        prop_assert_eq!(ledger.append(entry(99)).unwrap().records[0].seq, head + 1);
        let report = verify(&ledger);
        prop_assert!(report.is_good(), "{:?}", report);
        prop_assert_eq!(report.repairs.len(), usize::from(repaired.is_some()));
    }
}
