//! Verifying the whole ledger.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kiln_model::Digest;
use serde::Serialize;

use super::line::{GENESIS, Link};
use super::lines::{Line, Lines};
use super::repair::{Repair, repair_of};
use super::{Checkpoint, Head, Ledger, LedgerError, Place, Problem, line};
use crate::keys::TrustedKeys;

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Records that follow each other without fault, from the first.
    pub records: u64,
    /// The last of these.
    pub head: Option<Head>,
    /// Checkpoints that trusted keys signed and that fit.
    pub checkpoints: u64,
    /// The last record that such a checkpoint covers.
    pub covered: Option<u64>,
    /// What is wrong. The first in the chain comes first; the chain is not followed beyond it.
    pub problems: Vec<Problem>,
    /// Gaps that somebody acknowledged, each with its record.
    pub repairs: Vec<Repair>,
    /// A line without its end: of an append that is under way, or that a crash interrupted.
    pub torn: Option<Torn>,
    /// What former crashes left, kept beside the ledger.
    pub set_aside: Vec<PathBuf>,
}

/// The rest of a line that was never acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Torn {
    /// The file that ends with it.
    pub file: PathBuf,
    /// Its length.
    pub bytes: u64,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_good(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Follows a chain.
pub(super) struct Chain {
    head: Option<Head>,
}

impl Chain {
    /// A chain that goes on after a record.
    pub(super) fn after(head: Option<Head>) -> Self {
        Self { head }
    }

    pub(super) fn head(&self) -> Option<Head> {
        self.head
    }

    /// The number of the next record.
    fn next(&self) -> u64 {
        self.head.map_or(1, |head| head.seq.saturating_add(1))
    }

    fn prev(&self) -> Digest {
        self.head.map_or(GENESIS, |head| head.hash)
    }

    /// Takes the next record; false when it is not the next.
    pub(super) fn take(&mut self, link: &Link) -> bool {
        let counts = link.seq == self.next() || link.repairs && link.seq > self.next();
        let fits = counts && link.prev == self.prev();
        if fits {
            self.head = Some(Head { seq: link.seq, hash: link.hash });
        }
        fits
    }
}

/// Hashes that somebody else knows, by number.
type Known = BTreeMap<u64, Vec<(Digest, String)>>;

#[derive(Default)]
struct Told {
    known: Known,
    signed: Vec<Checkpoint>,
    bad: Vec<Problem>,
}

impl Ledger {
    /// Verifies all records, all checkpoints with the keys that are trusted, and, when given, a head that was kept
    /// elsewhere. Without keys, checkpoints are not looked at. Fails only when the ledger cannot be read.
    pub fn verify(&self, keys: &TrustedKeys, witness: Option<&Head>) -> Result<Report, LedgerError> {
        let mut report = Report { set_aside: self.all_set_aside()?, ..Report::default() };
        // Before the chain is read: an append meanwhile must not look like a missing tail.
        let mut told = self.told(keys)?;
        if let Some(witness) = witness {
            told.known.entry(witness.seq).or_default().push((witness.hash, "the witness".into()));
        }
        let passed = self.follow(&mut report, &told.known)?;
        left_out(&mut told.known, &passed, &mut report.repairs);
        report.problems.extend(rewritten(&told.known, &passed));
        report.problems.append(&mut told.bad);
        if report.problems.is_empty() {
            report.problems.extend(missing(&told.known, report.head));
        }
        told.signed
            .retain(|one| passed.get(&one.seq) == Some(&one.head) && passed.get(&1) == Some(&one.origin));
        report.checkpoints = told.signed.len() as u64;
        report.covered = told.signed.iter().map(|one| one.seq).max();
        Ok(report)
    }

    /// What the checkpoints say.
    fn told(&self, keys: &TrustedKeys) -> Result<Told, LedgerError> {
        let mut told = Told::default();
        let found = if keys.is_empty() { Vec::new() } else { self.checkpoints(keys)? };
        for one in found {
            match one.checkpoint {
                Ok((checkpoint, names)) => {
                    let names = crate::text::list(names.iter().map(kiln_model::Name::as_str));
                    let by = format!("the checkpoint at {}, signed by {names},", one.place);
                    told.known.entry(checkpoint.seq).or_default().push((checkpoint.head, by.clone()));
                    told.known.entry(1).or_default().push((checkpoint.origin, by));
                    told.signed.push(checkpoint);
                }
                Err(reason) => told.bad.push(Problem::BadCheckpoint { place: one.place, reason }),
            }
        }
        Ok(told)
    }

    /// Follows the chain to its end or its first fault. Returns the hashes of the records that others know.
    fn follow(&self, report: &mut Report, known: &Known) -> Result<BTreeMap<u64, Digest>, LedgerError> {
        let mut lines = self.lines_after(0)?;
        let mut chain = Chain::after(None);
        let mut buffer = Vec::new();
        let mut passed = BTreeMap::new();
        while let Some(found) = lines.next(&mut buffer)? {
            match step(&mut chain, &buffer, &found, &mut lines)? {
                Ok(link) if link.repairs => self.acknowledge(report, &buffer, link.seq, &found.place),
                Ok(_) => {}
                Err(problem) => {
                    report.problems.push(problem);
                    break;
                }
            }
            // The first record says which ledger it is, whatever its number.
            let first = report.records == 0;
            report.records += 1;
            if let Some(head) = chain.head() {
                passed.extend(first.then_some((1, head.hash)));
                passed.extend(known.contains_key(&head.seq).then_some((head.seq, head.hash)));
            }
        }
        report.head = chain.head();
        report.torn = lines.unfinished.map(|(file, bytes)| Torn { file, bytes });
        Ok(passed)
    }

    /// Notes a repair, and what of it is not kept.
    fn acknowledge(&self, report: &mut Report, text: &[u8], seq: u64, place: &Place) {
        match repair_of(text) {
            Ok(repair) => {
                report.problems.extend(self.not_kept(&repair));
                report.repairs.push(repair);
            }
            Err(reason) => {
                report.problems.push(Problem::Altered { seq, place: place.clone(), reason: reason.into() });
            }
        }
    }
}

/// Moves what is known of records that repairs left out to the repairs.
fn left_out(known: &mut Known, passed: &BTreeMap<u64, Digest>, repairs: &mut [Repair]) {
    for repair in repairs {
        let (from, to) = (repair.gap.from, repair.gap.to);
        let within: Vec<u64> = known.keys().copied().filter(|seq| (from..=to).contains(seq)).collect();
        for seq in within {
            let told = known.remove(&seq).unwrap_or_default();
            let other = told.into_iter().filter(|(hash, _)| passed.get(&seq) != Some(hash));
            repair.told_of.extend(other.map(|(_, by)| format!("{by} tells of record {seq}")));
        }
    }
}

/// Records that are others than those that somebody knows.
fn rewritten(known: &Known, passed: &BTreeMap<u64, Digest>) -> Vec<Problem> {
    let other = |(seq, told): (&u64, &Vec<(Digest, String)>)| {
        let actual = passed.get(seq)?;
        let (_, by) = told.iter().find(|(hash, _)| hash != actual)?;
        Some(Problem::Rewritten { seq: *seq, by: by.clone() })
    };
    known.iter().filter_map(other).collect()
}

/// Takes one line, or says what is wrong with it.
pub(super) fn step(
    chain: &mut Chain,
    text: &[u8],
    found: &Line,
    lines: &mut Lines,
) -> Result<Result<Link, Problem>, LedgerError> {
    let place = found.place.clone();
    let expected = chain.next();
    let read = if found.finished { line::link(text) } else { Err("it lacks the newline after it") };
    let link = match read {
        Ok(link) => link,
        Err(reason) => {
            return Ok(Err(Problem::Altered { seq: expected, place, reason: reason.into() }));
        }
    };
    if chain.take(&link) {
        return Ok(match found.opens.filter(|named| *named != link.seq) {
            Some(named) => Err(Problem::Misnamed { named, seq: link.seq, place }),
            None => Ok(link),
        });
    }
    Ok(Err(match link.seq {
        seq if seq < expected => Problem::Inserted { seq, place },
        1 => Problem::Altered { seq: 1, place, reason: "it is not the first, by what it continues".into() },
        seq if seq == expected => Problem::Replaced { seq: seq - 1, place },
        seq => match sought(expected, lines)? {
            Some(elsewhere) => Problem::Reordered { seq: expected, place, found: elsewhere },
            None => Problem::Removed { from: expected, to: seq - 1, place },
        },
    }))
}

/// Where a record is among the lines that are left.
fn sought(seq: u64, lines: &mut Lines) -> Result<Option<Place>, LedgerError> {
    let mut buffer = Vec::new();
    while let Some(found) = lines.next(&mut buffer)? {
        if line::link(&buffer).is_ok_and(|link| link.seq == seq) {
            return Ok(Some(found.place));
        }
    }
    Ok(None)
}

/// What is known of records that the chain does not have.
fn missing(known: &Known, head: Option<Head>) -> Option<Problem> {
    let last = head.map_or(0, |head| head.seq);
    let (to, by) = known.iter().next_back().filter(|(seq, _)| **seq > last)?;
    let by = by.first().map(|(_, by)| by.clone()).unwrap_or_default();
    Some(Problem::TailMissing { from: last + 1, to: *to, by })
}
