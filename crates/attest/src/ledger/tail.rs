//! The end of the ledger: the last record, and what a crash left after it.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::lines::Segment;
use super::{Head, LINE_MAX, Ledger, LedgerError, Place, at, line};

/// The last record is sought in this much first; most records are shorter.
const WINDOW: u64 = 16 << 10;
/// A torn batch of lines is at most this long, and a line before it.
const WINDOW_MAX: u64 = 4 * LINE_MAX as u64;

/// Where and after what the next record is written.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) head: Option<Head>,
    /// The last file; none when the ledger is empty.
    pub(super) segment: Option<Segment>,
    /// Length of its whole lines.
    pub(super) whole: u64,
    /// Its length.
    pub(super) length: u64,
}

impl Ledger {
    /// Under the lock: finds the end.
    pub(super) fn tail(&self) -> Result<Tail, LedgerError> {
        let mut segments = self.segments()?;
        let Some(last) = segments.pop() else {
            return Ok(Tail { head: None, segment: None, whole: 0, length: 0 });
        };
        let (ending, length) = end_of(&last.path)?;
        let head = match ending.head {
            Some(head) => Some(head),
            // A file was begun and nothing whole was written to it: the record before is in the file before.
            None => match segments.pop() {
                Some(former) => Some(end_of(&former.path)?.0.head.ok_or_else(|| LedgerError::Damaged {
                    place: Place { file: former.path, line: 1 },
                    reason: "it holds no record, and is not the last file".into(),
                })?),
                None => None,
            },
        };
        Ok(Tail { head, segment: Some(last), whole: ending.whole, length })
    }

    /// Under the lock: finds the end, and sets aside what a crash left after it. Returns where that is kept.
    pub(super) fn mended_tail(&self) -> Result<(Tail, Option<PathBuf>), LedgerError> {
        let mut tail = self.tail()?;
        let torn = tail.length - tail.whole;
        let Some(segment) = tail.segment.as_ref().filter(|_| torn > 0) else { return Ok((tail, None)) };
        let next = tail.head.map_or(1, |head| head.seq + 1);
        let kept = self.set_aside(&segment.path, tail.whole, &format!("{next:016}"))?;
        tail.length = tail.whole;
        Ok((tail, Some(kept)))
    }

    /// Moves what a file holds from `whole` on into a file of its own. A crash in between leaves it in both.
    pub(super) fn set_aside(&self, path: &Path, whole: u64, name: &str) -> Result<PathBuf, LedgerError> {
        let mut source = File::options().read(true).write(true).open(path).map_err(at("open", path))?;
        let (kept, mut copy) = self.fresh_aside(name)?;
        std::io::Seek::seek(&mut source, std::io::SeekFrom::Start(whole)).map_err(at("read", path))?;
        std::io::copy(&mut source, &mut copy).map_err(at("write", &kept))?;
        copy.flush().and_then(|()| copy.sync_all()).map_err(at("flush", &kept))?;
        self.flush_folder()?;
        source.set_len(whole).and_then(|()| source.sync_all()).map_err(at("shorten", path))?;
        Ok(kept)
    }

    fn fresh_aside(&self, name: &str) -> Result<(PathBuf, File), LedgerError> {
        let mut number = 0_u32;
        loop {
            let path = self.folder.join(format!("torn-{name}-{number}"));
            match File::create_new(&path) {
                Ok(file) => return Ok((path, file)),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(at("make", &path)(error)),
            }
        }
    }

    /// What crashes left, so far.
    pub(super) fn all_set_aside(&self) -> Result<Vec<PathBuf>, LedgerError> {
        let entries = fs::read_dir(&self.folder).map_err(at("list", &self.folder))?;
        let mut found: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        found.retain(|path| {
            path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"torn-"))
        });
        found.sort();
        Ok(found)
    }
}

#[derive(Debug)]
struct Ending {
    whole: u64,
    head: Option<Head>,
}

/// The last record of a file and the length of its whole lines; and the file's length.
fn end_of(path: &Path) -> Result<(Ending, u64), LedgerError> {
    let file = File::open(path).map_err(at("open", path))?;
    let length = file.metadata().map_err(at("look at", path))?.len();
    let mut window = WINDOW;
    loop {
        let start = length.saturating_sub(window);
        let mut bytes = vec![0; usize::try_from(length - start).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut bytes, start).map_err(at("read", path))?;
        if let Some(found) = last_line(path, &bytes, start)? {
            return Ok((found, length));
        }
        if window >= WINDOW_MAX {
            let place = Place { file: path.into(), line: 0 };
            return Err(LedgerError::Damaged { place, reason: "it ends with no record".into() });
        }
        window *= 4;
    }
}

/// Finds the last line in the end of a file that begins at `start`; none when more is needed.
fn last_line(path: &Path, bytes: &[u8], start: u64) -> Result<Option<Ending>, LedgerError> {
    let mut whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    while whole > 0 {
        let begin = bytes[..whole - 1].iter().rposition(|byte| *byte == b'\n').map(|newline| newline + 1);
        let begin = match begin {
            Some(begin) => begin,
            None if start == 0 => 0,
            None => return Ok(None),
        };
        let text = &bytes[begin..whole - 1];
        // JSON has no zero bytes: where a power cut left a hole, the line was never flushed.
        if text.contains(&0) {
            whole = begin;
            continue;
        }
        let link = line::link(text).map_err(|reason| LedgerError::Damaged {
            place: Place { file: path.into(), line: 0 },
            reason: format!("its last line is no record: {reason}"),
        })?;
        let head = Some(Head { seq: link.seq, hash: link.hash });
        return Ok(Some(Ending { whole: start + whole as u64, head }));
    }
    Ok((start == 0).then_some(Ending { whole: 0, head: None }))
}
