//! The ledger's lines, one after another through all its files.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

use super::{LINE_MAX, Ledger, LedgerError, Place, at};

/// One file of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Number of its first record, by its name.
    pub(super) first: u64,
    pub(super) path: PathBuf,
}

impl Ledger {
    pub(super) fn segment_path(&self, first: u64) -> PathBuf {
        self.folder.join(format!("ledger-{first:016}.jsonl"))
    }

    /// The files, in order.
    pub(super) fn segments(&self) -> Result<Vec<Segment>, LedgerError> {
        let mut segments = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(at("list", &self.folder))? {
            let entry = entry.map_err(at("list", &self.folder))?;
            let name = entry.file_name();
            let digits = name.to_str().and_then(|name| name.strip_prefix("ledger-")?.strip_suffix(".jsonl"));
            let first = digits.filter(|digits| digits.len() == 16).and_then(|digits| digits.parse().ok());
            segments.extend(first.map(|first| Segment { first, path: entry.path() }));
        }
        segments.sort_by_key(|segment| segment.first);
        Ok(segments)
    }

    /// All lines of the files that hold what comes after a record.
    pub(super) fn lines_after(&self, seq: u64) -> Result<Lines, LedgerError> {
        let mut segments = self.segments()?;
        let skip =
            segments.partition_point(|segment| segment.first <= seq.saturating_add(1)).saturating_sub(1);
        segments.drain(..skip);
        Ok(Lines::of(segments))
    }
}

/// Goes through lines.
#[derive(Debug)]
pub(super) struct Lines {
    segments: std::vec::IntoIter<Segment>,
    open: Option<Open>,
    /// What the last file ends with after its last newline.
    pub(super) unfinished: Option<(PathBuf, u64)>,
}

#[derive(Debug)]
struct Open {
    segment: Segment,
    file: BufReader<File>,
    line: u64,
}

/// A line and where it is.
pub(super) struct Line {
    pub(super) place: Place,
    /// The first record's number by the file's name, on the file's first line.
    pub(super) opens: Option<u64>,
    /// Whether there is a newline after it.
    pub(super) finished: bool,
}

impl Lines {
    /// The lines of some files.
    pub(super) fn of(segments: Vec<Segment>) -> Self {
        Self { segments: segments.into_iter(), open: None, unfinished: None }
    }

    /// Reads the next line, without its newline, into `buffer`. A line that is too long for a record is cut: it is
    /// none. An unfinished line at the very end is none either, and noted.
    pub(super) fn next(&mut self, buffer: &mut Vec<u8>) -> Result<Option<Line>, LedgerError> {
        loop {
            let Some(open) = &mut self.open else {
                let Some(segment) = self.segments.next() else { return Ok(None) };
                let file = File::open(&segment.path).map_err(at("open", &segment.path))?;
                let file = BufReader::with_capacity(1 << 17, file);
                self.open = Some(Open { segment, file, line: 0 });
                continue;
            };
            buffer.clear();
            open.read(buffer)?;
            if buffer.is_empty() {
                self.open = None;
                continue;
            }
            let finished = buffer.last() == Some(&b'\n');
            if !finished && self.segments.len() == 0 && buffer.len() < LINE_MAX {
                self.unfinished = Some((open.segment.path.clone(), buffer.len() as u64));
                self.open = None;
                continue;
            }
            if finished {
                buffer.pop();
            }
            open.line += 1;
            let place = Place { file: open.segment.path.clone(), line: open.line };
            let opens = (open.line == 1).then_some(open.segment.first);
            return Ok(Some(Line { place, opens, finished }));
        }
    }
}

impl Open {
    fn read(&mut self, buffer: &mut Vec<u8>) -> Result<(), LedgerError> {
        let path = self.segment.path.clone();
        let mut limited = (&mut self.file).take(LINE_MAX as u64);
        limited.read_until(b'\n', buffer).map_err(at("read", &path))?;
        if buffer.len() == LINE_MAX && buffer.last() != Some(&b'\n') {
            self.file.skip_until(b'\n').map_err(at("read", &path))?;
        }
        Ok(())
    }
}
