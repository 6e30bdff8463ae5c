//! A ledger somebody tampered with: always found, and named.

use std::ffi::OsString;
use std::fs;
use std::sync::LazyLock;

use kiln_attest::keys::{Algorithm, PrivateKey, TrustedKeys};
use kiln_attest::ledger::{Ledger, Problem};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::kit::{NOW, key, trust};
use crate::ledger::{files, ledger_of};

const COUNT: usize = 14;

/// The lines of a ledger by file.
type Lines = Vec<Vec<Vec<u8>>>;

struct Bench {
    _folder: TempDir,
    ledger: Ledger,
    signer: PrivateKey,
}

type Files = Vec<(OsString, Vec<u8>)>;

/// The files of a good ledger, and what signed its checkpoint.
static GOOD: LazyLock<(Files, String)> = LazyLock::new(|| {
    let (_folder, ledger) = ledger_of(COUNT as u64);
    let signer = key(Algorithm::Ed25519);
    ledger.checkpoint(&signer, NOW).unwrap();
    let entries = fs::read_dir(ledger.folder()).unwrap().map(Result::unwrap);
    let files = entries.map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap())).collect();
    (files, signer.to_pem(None).unwrap().to_string())
});

impl Bench {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        for (name, bytes) in &GOOD.0 {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        let ledger = Ledger::open(folder.path()).unwrap();
        Self { _folder: folder, ledger, signer: PrivateKey::from_pem(&GOOD.1, None).unwrap() }
    }

    fn lines(&self) -> Lines {
        let split = |bytes: Vec<u8>| -> Vec<Vec<u8>> {
            bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
        };
        files(&self.ledger).iter().map(|path| split(fs::read(path).unwrap())).collect()
    }

    fn write(&self, lines: &Lines) {
        for (path, lines) in files(&self.ledger).iter().zip(lines) {
            fs::write(path, lines.concat()).unwrap();
        }
    }

    fn problems(&self, keys: &TrustedKeys) -> Vec<Problem> {
        self.ledger.verify(keys, None).unwrap().problems
    }

    /// The first problem with the checkpoint's key trusted.
    fn first(&self) -> Problem {
        let problems = self.problems(&trust(&[("ledger", &self.signer)]));
        problems.into_iter().next().expect("the mutation is found")
    }
}

/// A record's file and line.
fn place(lines: &Lines, record: usize) -> (usize, usize) {
    let mut left = record;
    for (file, inner) in lines.iter().enumerate() {
        if left < inner.len() {
            return (file, left);
        }
        left -= inner.len();
    }
    unreachable!("there are {COUNT} records")
}

fn line(lines: &mut Lines, record: usize) -> &mut Vec<u8> {
    let (file, at) = place(lines, record);
    &mut lines[file][at]
}

/// Gives a line the hash of its bytes, as a forger would.
fn rehash(line: &mut Vec<u8>) {
    let body = line[..line.len() - (9 + 7 + 64 + 3)].to_vec();
    let ending = format!(",\"hash\":\"sha256:{}\"}}\n", hex::encode(Sha256::digest(&body)));
    *line = [body, ending.into_bytes()].concat();
}

fn replace(line: &mut Vec<u8>, old: &str, new: &str) {
    let text = String::from_utf8(line.clone()).unwrap();
    assert!(text.contains(old), "{text}");
    *line = text.replacen(old, new, 1).into_bytes();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn an_altered_byte(record in 0..COUNT, at in any::<prop::sample::Index>(), flip in 1..=255_u8) {
        let bench = Bench::new();
        let mut lines = bench.lines();
        let line = line(&mut lines, record);
        let at = at.index(line.len());
        line[at] ^= flip;
        bench.write(&lines);
        let seq = record as u64 + 1;
        match bench.first() {
            Problem::Altered { seq: found, .. } => prop_assert_eq!(found, seq),
            // The very last newline: the record is no longer whole.
            Problem::TailMissing { from, .. } => prop_assert_eq!(from, seq),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn a_removed_record(record in 0..COUNT) {
        let bench = Bench::new();
        let mut lines = bench.lines();
        line(&mut lines, record).clear();
        bench.write(&lines);
        let seq = record as u64 + 1;
        match bench.first() {
            Problem::Removed { from, to, .. } => prop_assert_eq!((from, to), (seq, seq)),
            Problem::TailMissing { from, to, .. } => {
                prop_assert_eq!((from, to, record), (seq, seq, COUNT - 1));
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn two_records_swapped(one in 0..COUNT, two in 0..COUNT) {
        prop_assume!(one < two);
        let bench = Bench::new();
        let mut lines = bench.lines();
        let (first, second) = (line(&mut lines, one).clone(), line(&mut lines, two).clone());
        *line(&mut lines, one) = second;
        *line(&mut lines, two) = first;
        bench.write(&lines);
        match bench.first() {
            Problem::Reordered { seq, .. } => prop_assert_eq!(seq, one as u64 + 1),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn a_record_twice(record in 0..COUNT, after in 0..COUNT) {
        prop_assume!(record <= after);
        let bench = Bench::new();
        let mut lines = bench.lines();
        let copy = line(&mut lines, record).clone();
        line(&mut lines, after).extend(copy);
        bench.write(&lines);
        match bench.first() {
            Problem::Inserted { seq, .. } => prop_assert_eq!(seq, record as u64 + 1),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    /// Cut anywhere in the last file, and the file before with it or not.
    #[test]
    fn a_truncated_end(whole_file in any::<bool>(), at in any::<prop::sample::Index>()) {
        let bench = Bench::new();
        let mut lines = bench.lines();
        if whole_file {
            fs::remove_file(files(&bench.ledger).pop().unwrap()).unwrap();
            lines.pop();
        }
        let last = lines.last_mut().unwrap();
        let mut bytes = last.concat();
        bytes.truncate(at.index(bytes.len()));
        let whole = bytes.iter().filter(|byte| **byte == b'\n').count();
        *last = vec![bytes];
        bench.write(&lines);
        let left = whole + lines[..lines.len() - 1].iter().map(Vec::len).sum::<usize>();
        match bench.first() {
            Problem::TailMissing { from, to, .. } => prop_assert_eq!((from, to), (left as u64 + 1, COUNT as u64)),
            other => prop_assert!(false, "{:?}", other),
        }
        // Without a checkpoint nobody can know of whole records; a torn one is told all the same.
        let report = bench.ledger.verify(&TrustedKeys::new(), None).unwrap();
        prop_assert_eq!(report.records, left as u64);
        prop_assert!(report.is_good());
    }

    /// A record changed, and its own hash computed anew.
    #[test]
    fn a_forged_record(record in 0..COUNT) {
        let bench = Bench::new();
        let mut lines = bench.lines();
        let line = line(&mut lines, record);
        replace(line, "with", "w1th");
        rehash(line);
        bench.write(&lines);
        let seq = record as u64 + 1;
        match bench.first() {
            Problem::Replaced { seq: found, .. } => prop_assert_eq!(found, seq),
            // The last has none after it: the checkpoint knows.
            Problem::Rewritten { seq: found, .. } => prop_assert_eq!((found, record), (seq, COUNT - 1)),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    /// A record changed, and everything after it computed anew: only the checkpoint knows.
    #[test]
    fn a_rewritten_rest(record in 0..COUNT) {
        let bench = Bench::new();
        let mut lines = bench.lines();
        let hash_of = |line: &[u8]| String::from_utf8(line[line.len() - 67..line.len() - 3].to_vec()).unwrap();
        for at in record..COUNT {
            let before = hash_of(line(&mut lines, at));
            if at == record {
                replace(line(&mut lines, at), "with", "w1th");
            }
            rehash(line(&mut lines, at));
            let after = hash_of(line(&mut lines, at));
            if at + 1 < COUNT {
                replace(line(&mut lines, at + 1), &before, &after);
            }
        }
        bench.write(&lines);
        prop_assert!(bench.problems(&TrustedKeys::new()).is_empty(), "the chain itself is good");
        let first = bench.first();
        let expected = if record == 0 { 1 } else { COUNT as u64 };
        prop_assert!(matches!(first, Problem::Rewritten { seq, .. } if seq == expected), "{first:?}");
    }
}

#[test]
fn a_record_made_up_and_slipped_in() {
    let bench = Bench::new();
    let mut lines = bench.lines();
    // It continues the fourth and calls itself the fifth; the true fifth then comes too late.
    let mut forged = line(&mut lines, 4).clone();
    replace(&mut forged, "with", "w1th");
    rehash(&mut forged);
    line(&mut lines, 3).extend(forged);
    bench.write(&lines);
    let first = bench.first();
    assert!(matches!(first, Problem::Inserted { seq: 5, .. }), "{first:?}");
}

#[test]
fn a_file_gone_or_renamed() {
    let bench = Bench::new();
    let paths = files(&bench.ledger);
    let first_of =
        |index: usize| -> u64 { paths[index].file_stem().unwrap().to_str().unwrap()[7..].parse().unwrap() };
    let kept = fs::read(&paths[1]).unwrap();
    fs::remove_file(&paths[1]).unwrap();
    let (from, to) = (first_of(1), first_of(2) - 1);
    let found = bench.first();
    assert!(matches!(found, Problem::Removed { from: a, to: b, .. } if (a, b) == (from, to)), "{found:?}");
    let renamed = bench.ledger.folder().join(format!("ledger-{:016}.jsonl", from + 1));
    fs::write(&renamed, kept).unwrap();
    let found = bench.first();
    assert!(matches!(found, Problem::Misnamed { seq, .. } if seq == from), "{found:?}");
}

#[test]
fn problems_name_record_file_and_line() {
    let bench = Bench::new();
    let mut lines = bench.lines();
    replace(line(&mut lines, 6), "reason 7", "reason 8");
    bench.write(&lines);
    let (file, at) = place(&lines, 6);
    let told = bench.first().to_string();
    assert!(told.contains("record 7 was altered"), "{told}");
    assert!(told.contains(&format!("{}:{}", files(&bench.ledger)[file].display(), at + 1)), "{told}");
}
