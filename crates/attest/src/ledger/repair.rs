//! Going on after a damage, with everything that is there kept and the gap on the record.
//!
//! ```text
//! damaged-<record>-ledger-….jsonl   a file as it was found; the number is that of the record that tells of it
//! repairing.json                    a repair that was decided and is not yet carried out
//! ```
//!
//! The chain goes on after the last record up to which it holds. The files from there on are set aside as they are; the
//! first of them leaves its good lines behind under its old name. A record `ledger.repaired` opens a new file: it
//! continues the last good record, has a number beyond every one that was given before, so that no number ever means
//! two records, and names what was set aside with its digest. Verifying names it from then on.
//!
//! What is to be done is decided first and written down with one rename. Whoever takes the lock next carries it out;
//! every step may be done again.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use kiln_model::Digest;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::lines::{Lines, Segment};
use super::verify::{Chain, step};
use super::{Entry, Head, Ledger, LedgerError, Place, Problem, Record, at, line};

/// What a repair's record calls itself.
pub(super) const REPAIRED: &str = "ledger.repaired";

/// A number that a set aside line gives itself counts up to this: its hash does not say that it was ever given.
const PLAUSIBLE: u64 = 1_000_000_000_000_000;

/// A file that was set aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Aside {
    /// Its name now, in the ledger's folder.
    pub file: String,
    /// Its name before.
    pub was: String,
    /// The digest of its bytes.
    pub digest: Digest,
    /// How many there are.
    pub bytes: u64,
}

/// What a repair left out of the chain: the details of its record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gap {
    /// The first record that the chain lacks.
    pub from: u64,
    /// The last; one less than the first when it lacks none.
    pub to: u64,
    /// What was wrong.
    pub damage: String,
    /// Where everything is that was there.
    pub aside: Vec<Aside>,
}

/// A repair, as the ledger tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Repair {
    /// The number of its record.
    pub seq: u64,
    /// When, milliseconds since the epoch.
    pub at_ms: u64,
    /// Who did it.
    pub who: String,
    /// Why.
    pub why: Option<String>,
    /// What it left out.
    #[serde(flatten)]
    pub gap: Gap,
    /// Checkpoints and witnesses that tell of records that it left out.
    pub told_of: Vec<String>,
}

/// A repair that was decided.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Plan {
    /// The record's line, with its newline.
    line: String,
    /// The file that it opens.
    segment: String,
    /// So many bytes of the first file that is set aside are good, and stay.
    good: u64,
    aside: Vec<Aside>,
}

/// What there is to do, in this order.
#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Open,
    SetAside(&'a Aside),
    KeepGood(&'a Aside),
    Forget,
}

/// How far the chain holds.
#[derive(Default)]
struct Good {
    head: Option<Head>,
    /// Where the last good record is, and how long its file is up to its end.
    end: Option<(Place, u64)>,
    damage: Option<Problem>,
}

impl Ledger {
    /// Sets everything aside that comes after the last record up to which the chain holds, and goes on with a record
    /// of that, with who did it and why; none when nothing is wrong. Where the ledger ended by somebody else's word is
    /// respected: no number up to that one is given again.
    pub fn repair(
        &self,
        who: &str,
        why: &str,
        witness: Option<&Head>,
        now_ms: u64,
    ) -> Result<Option<Record>, LedgerError> {
        let _lock = self.lock()?;
        let blocked = match self.mended_tail() {
            Ok(_) => None,
            Err(LedgerError::Damaged { place, reason }) => Some(format!("{place} is damaged: {reason}")),
            Err(error) => return Err(error),
        };
        let good = self.good()?;
        let Some(damage) = good.damage.as_ref().map(ToString::to_string).or(blocked) else { return Ok(None) };
        let (plan, record) = self.plan(&good, witness, |gap| {
            let mut entry = Entry::new(now_ms, who, REPAIRED);
            entry.why = Some(why.into());
            entry.details = serde_json::to_value(Gap { damage, ..gap })
                .map_err(|source| LedgerError::Json { what: REPAIRED.into(), source })?;
            Ok(entry)
        })?;
        self.write_whole(&self.plan_path(), &json(&plan)?)?;
        self.finish_repair()?;
        Ok(Some(record))
    }

    /// Under the lock: carries out what was decided and not finished.
    pub(super) fn finish_repair(&self) -> Result<(), LedgerError> {
        let path = self.plan_path();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(at("read", &path)(error)),
        };
        let plan: Plan = serde_json::from_slice(&bytes).map_err(|error| LedgerError::Damaged {
            place: Place { file: path, line: 1 },
            reason: format!("it is no repair that Kiln decided: {error}"),
        })?;
        plan.steps().into_iter().try_for_each(|step| self.carry_out(&plan, step))
    }

    fn plan_path(&self) -> PathBuf {
        self.folder.join("repairing.json")
    }

    /// A file of the folder, whatever folders a record or plan names.
    fn within(&self, name: &str) -> PathBuf {
        self.folder.join(Path::new(name).file_name().unwrap_or_default())
    }

    fn good(&self) -> Result<Good, LedgerError> {
        let mut lines = self.lines_after(0)?;
        let (mut chain, mut good) = (Chain::after(None), Good::default());
        let (mut buffer, mut length) = (Vec::new(), 0);
        while let Some(found) = lines.next(&mut buffer)? {
            if found.opens.is_some() {
                length = 0;
            }
            if let Err(problem) = step(&mut chain, &buffer, &found, &mut lines)? {
                good.damage = Some(problem);
                break;
            }
            length += buffer.len() as u64 + 1;
            good.head = chain.head();
            good.end = Some((found.place, length));
        }
        Ok(good)
    }

    fn plan(
        &self,
        good: &Good,
        witness: Option<&Head>,
        entry: impl FnOnce(Gap) -> Result<Entry, LedgerError>,
    ) -> Result<(Plan, Record), LedgerError> {
        let segments = self.after(good)?;
        let last = self.last_number(good, &segments, witness)?;
        // Beyond the names of the files too: an empty one has no line that says so.
        let names = segments.iter().map(|segment| segment.first).filter(|first| *first < PLAUSIBLE);
        let seq = names.fold(last, u64::max) + 1;
        let mut aside = Vec::new();
        for segment in &segments {
            let was = segment.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let file = format!("damaged-{seq:016}-{was}");
            let taken = self.within(&file);
            if taken.exists() {
                return Err(at("set a damaged file aside as", &taken)(io::ErrorKind::AlreadyExists.into()));
            }
            let (digest, bytes) = digest_of(&segment.path)?;
            aside.push(Aside { file, was, digest, bytes });
        }
        let from = good.head.map_or(1, |head| head.seq + 1);
        let gap = Gap { from, to: last, damage: String::new(), aside: aside.clone() };
        let mut line = Vec::new();
        let record = line::write_as(seq, entry(gap)?, good.head, &mut line)?;
        let line = String::from_utf8_lossy(&line).into_owned();
        let starts_in = |segment: &Segment| good.end.as_ref().filter(|(end, _)| end.file == segment.path);
        let good = segments.first().and_then(starts_in).map_or(0, |(_, length)| *length);
        let segment = self.segment_path(seq).file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok((Plan { line, segment, good, aside }, record))
    }

    /// The files with anything after the last good record.
    fn after(&self, good: &Good) -> Result<Vec<Segment>, LedgerError> {
        let mut segments = self.segments()?;
        if let Some((end, length)) = &good.end {
            let at_end = segments.iter().position(|segment| segment.path == end.file).unwrap_or(0);
            let size = fs::metadata(&end.file).map_err(at("look at", &end.file))?.len();
            segments.drain(..at_end + usize::from(size == *length));
        }
        Ok(segments)
    }

    /// The highest number that a record may have been given: by what it calls itself, by how many there are, by what
    /// checkpoints and the witness say.
    fn last_number(
        &self,
        good: &Good,
        segments: &[Segment],
        witness: Option<&Head>,
    ) -> Result<u64, LedgerError> {
        let mut count = good.head.map_or(0, |head| head.seq);
        let mut told = vec![self.last_checkpoint()?.map_or(0, |it| it.seq), witness.map_or(0, |it| it.seq)];
        let mut lines = Lines::of(segments.to_vec());
        let mut buffer = Vec::new();
        while let Some(found) = lines.next(&mut buffer)? {
            let is_good =
                |(end, _): &(Place, u64)| end.file == found.place.file && found.place.line <= end.line;
            if good.end.as_ref().is_some_and(is_good) {
                continue;
            }
            // The first of a file has the number of its name.
            count = found
                .opens
                .filter(|named| *named < PLAUSIBLE)
                .map_or(count + 1, |named| named.max(count + 1));
            told.extend(line::link(&buffer).ok().map(|link| link.seq));
        }
        told.retain(|seq| *seq < PLAUSIBLE);
        Ok(told.into_iter().fold(count, u64::max))
    }

    fn carry_out(&self, plan: &Plan, step: Step<'_>) -> Result<(), LedgerError> {
        match step {
            Step::Open => {
                let path = self.within(&plan.segment);
                if path.exists() { Ok(()) } else { self.write_whole(&path, plan.line.as_bytes()) }
            }
            Step::SetAside(aside) => {
                let (from, to) = (self.within(&aside.was), self.within(&aside.file));
                // What somebody took away meanwhile is not kept; verifying says so.
                if to.exists() || !from.exists() {
                    return Ok(());
                }
                fs::rename(&from, &to).map_err(at("set aside", &from))?;
                self.flush_folder()
            }
            Step::KeepGood(aside) => {
                let kept = self.within(&aside.file);
                if !kept.exists() {
                    return Ok(());
                }
                let mut bytes = Vec::new();
                let file = File::open(&kept).map_err(at("open", &kept))?;
                file.take(plan.good).read_to_end(&mut bytes).map_err(at("read", &kept))?;
                self.write_whole(&self.within(&aside.was), &bytes)
            }
            Step::Forget => {
                let path = self.plan_path();
                fs::remove_file(&path).map_err(at("remove", &path))?;
                self.flush_folder()
            }
        }
    }

    /// Makes a file with these bytes, or exchanges one: whole or not at all.
    fn write_whole(&self, path: &Path, bytes: &[u8]) -> Result<(), LedgerError> {
        let fresh = path.with_extension("new");
        let mut file = File::create(&fresh).map_err(at("make", &fresh))?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(at("write", &fresh))?;
        fs::rename(&fresh, path).map_err(at("make", path))?;
        self.flush_folder()
    }

    /// What of a repair's gap is no longer kept as it was.
    pub(super) fn not_kept(&self, repair: &Repair) -> Vec<Problem> {
        let problem = |aside: &Aside| {
            let file = self.within(&aside.file);
            let reason = match digest_of(&file) {
                Ok((digest, _)) if digest == aside.digest => return None,
                Ok(_) => "its bytes are others".to_owned(),
                Err(LedgerError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    "it is gone".into()
                }
                Err(error) => error.to_string(),
            };
            Some(Problem::NotKept { seq: repair.seq, file, reason })
        };
        repair.gap.aside.iter().filter_map(problem).collect()
    }
}

impl Plan {
    fn steps(&self) -> Vec<Step<'_>> {
        let mut steps = vec![Step::Open];
        steps.extend(self.aside.iter().map(Step::SetAside));
        steps.extend(self.aside.first().filter(|_| self.good > 0).map(Step::KeepGood));
        steps.push(Step::Forget);
        steps
    }
}

/// Reads a repair from its record's line.
pub(super) fn repair_of(text: &[u8]) -> Result<Repair, &'static str> {
    let Record { seq, entry, .. } = line::read(text)?;
    let gap = serde_json::from_value(entry.details).map_err(|_| "it does not say what it set aside")?;
    Ok(Repair { seq, at_ms: entry.at_ms, who: entry.who, why: entry.why, gap, told_of: Vec::new() })
}

/// Whether a line tells of a repair that left a record out.
pub(super) fn leaves_out(text: &[u8], seq: u64) -> bool {
    line::link(text).is_ok_and(|link| link.repairs)
        && repair_of(text).is_ok_and(|repair| (repair.gap.from..=repair.gap.to).contains(&seq))
}

fn json(plan: &Plan) -> Result<Vec<u8>, LedgerError> {
    serde_json::to_vec(plan).map_err(|source| LedgerError::Json { what: REPAIRED.into(), source })
}

fn digest_of(path: &Path) -> Result<(Digest, u64), LedgerError> {
    let mut file = File::open(path).map_err(at("open", path))?;
    let mut hash = Sha256::new();
    let mut part = vec![0; 1 << 16];
    let mut bytes = 0;
    loop {
        match file.read(&mut part) {
            Ok(0) => return Ok((Digest::from_bytes(hash.finalize().into()), bytes)),
            Ok(read) => {
                hash.update(&part[..read]);
                bytes += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(at("read", path)(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::keys::TrustedKeys;

    /// A ledger of three files, damaged in the second.
    fn damaged() -> (TempDir, Ledger) {
        let folder = TempDir::new().unwrap();
        let ledger = Ledger::open_with(folder.path(), 1_000).unwrap();
        ledger.append_all((1..=9).map(|at| Entry::new(at, "ada", "thing.done")).collect()).unwrap();
        let segments = ledger.segments().unwrap();
        assert_eq!(segments.len(), 3);
        let text = fs::read_to_string(&segments[1].path).unwrap();
        let second = text.match_indices("ada").nth(1).unwrap().0;
        fs::write(&segments[1].path, [&text[..second], "bob", &text[second + 3..]].concat()).unwrap();
        (folder, ledger)
    }

    fn decide(ledger: &Ledger) -> Plan {
        let good = ledger.good().unwrap();
        let entry = |gap: Gap| {
            let mut entry = Entry::new(10, "ada", REPAIRED);
            entry.details = serde_json::to_value(gap).unwrap();
            Ok(entry)
        };
        ledger.plan(&good, None, entry).unwrap().0
    }

    #[test]
    fn a_repair_that_dies_after_any_step_is_finished_by_whoever_comes_next() {
        let count = decide(&damaged().1).steps().len();
        assert_eq!(count, 5, "open, two files aside, what is good back, done");
        for done in 0..count {
            let (_folder, ledger) = damaged();
            let plan = decide(&ledger);
            ledger.write_whole(&ledger.plan_path(), &json(&plan).unwrap()).unwrap();
            for step in plan.steps().into_iter().take(done) {
                ledger.carry_out(&plan, step).unwrap();
                if !matches!(step, Step::Forget) {
                    ledger.carry_out(&plan, step).unwrap();
                }
            }
            let next = ledger.append(Entry::new(11, "eve", "thing.done")).unwrap();
            assert_eq!(next.records[0].seq, 11, "after {done} steps");
            let report = ledger.verify(&TrustedKeys::new(), None).unwrap();
            assert!(report.is_good(), "after {done} steps: {:?}", report.problems);
            let gap = &report.repairs[0].gap;
            assert_eq!(
                (report.records, gap.from, gap.to, gap.aside.len()),
                (7, 6, 9, 2),
                "after {done} steps"
            );
            assert!(!ledger.plan_path().exists());
        }
    }

    #[test]
    fn a_plan_names_only_files_of_the_folder() {
        let (_folder, ledger) = damaged();
        for name in ["../../etc/passwd", "/etc/passwd", "passwd"] {
            assert_eq!(ledger.within(name), ledger.folder.join("passwd"));
        }
    }
}
