//! Reading what instances printed. The files' shape is described in the supervisor's log module:
//! `MILLIS STREAM TEXT`, `O`/`E` for a piece whose line goes on.

mod files;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use crate::layout::InstanceDir;
use files::LogFiles;

/// One line (or piece of a very long line) that an instance printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When, milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// Whether it was printed to standard error.
    pub stderr: bool,
    /// Whether the line goes on in the next one of the same stream.
    pub goes_on: bool,
    /// What was printed, byte for byte, without the newline.
    pub text: Vec<u8>,
}

impl LogLine {
    fn parse(line: &[u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let space = line.iter().position(|byte| *byte == b' ')?;
        let at_ms = std::str::from_utf8(&line[..space]).ok()?.parse().ok()?;
        let [stream, b' ', text @ ..] = &line[space + 1..] else { return None };
        Some(Self {
            at_ms,
            stderr: stream.eq_ignore_ascii_case(&b'e'),
            goes_on: stream.is_ascii_uppercase(),
            text: text.to_vec(),
        })
    }
}

/// The last `lines` of an instance's log as text; nothing when it has none.
pub fn tail(dir: &InstanceDir, lines: usize) -> Vec<String> {
    let read = read(dir, lines).unwrap_or_default();
    read.iter().map(|line| String::from_utf8_lossy(&line.text).into_owned()).collect()
}

/// The last `lines` of an instance's log, oldest first.
///
/// # Errors
/// When a log file exists and cannot be read; a log that does not exist yet is empty.
pub fn read(dir: &InstanceDir, lines: usize) -> io::Result<Vec<LogLine>> {
    Ok(Follow::open(dir, lines)?.kept.into())
}

/// A log that is read while it is written, also over the rotation of its files.
pub struct Follow {
    files: LogFiles,
    /// The newest file that was read so far, whatever its name is by now.
    reading: Option<Reading>,
    kept: VecDeque<LogLine>,
}

impl Follow {
    /// Begins with the last `lines` that are there. What is written in the meantime comes after them: a program that
    /// never stops printing keeps nobody here.
    ///
    /// # Errors
    /// When a log file exists and cannot be read; a log that does not exist yet is empty.
    pub fn open(dir: &InstanceDir, lines: usize) -> io::Result<Self> {
        let files = LogFiles::new(dir.log());
        let mut there = Vec::new();
        for file in files.to_begin_with()? {
            there.push((file.metadata()?.len(), Reading::new(file)));
        }
        let mut follow = Self { files, reading: None, kept: VecDeque::new() };
        for (end, mut reading) in there.into_iter().rev() {
            while let Some(line) = reading.line_before(end)? {
                follow.kept.push_back(line);
                if follow.kept.len() > lines {
                    follow.kept.pop_front();
                }
            }
            follow.reading = Some(reading);
        }
        Ok(follow)
    }

    /// The next of the lines that were there at the beginning; `None` after the last one.
    pub fn next_kept(&mut self) -> Option<LogLine> {
        self.kept.pop_front()
    }

    /// The next line, or `None` when there is none at present: ask again later. Files that were rotated away before
    /// they were read are left out.
    ///
    /// # Errors
    /// When the log cannot be read any more.
    pub fn next_line(&mut self) -> io::Result<Option<LogLine>> {
        if let Some(line) = self.kept.pop_front() {
            return Ok(Some(line));
        }
        loop {
            if let Some(line) = self.rest()? {
                return Ok(Some(line));
            }
            let Some(next) = self.files.after(self.reading.as_ref().map(Reading::file))? else {
                return Ok(None);
            };
            // Nothing more is written to a file that has been renamed, but its end was seen before that was known.
            if let Some(line) = self.rest()? {
                return Ok(Some(line));
            }
            self.reading = Some(Reading::new(next));
        }
    }

    fn rest(&mut self) -> io::Result<Option<LogLine>> {
        self.reading.as_mut().map_or(Ok(None), |reading| reading.line_before(u64::MAX))
    }
}

/// One file of a log, while it is read.
struct Reading {
    reader: BufReader<File>,
    position: u64,
    partial: Vec<u8>,
}

impl Reading {
    fn new(file: File) -> Self {
        Self { reader: BufReader::new(file), position: 0, partial: Vec::new() }
    }

    fn file(&self) -> &File {
        self.reader.get_ref()
    }

    /// The next whole line of those that end before this place in the file.
    fn line_before(&mut self, end: u64) -> io::Result<Option<LogLine>> {
        loop {
            let mut rest = self.reader.by_ref().take(end.saturating_sub(self.position));
            self.position += rest.read_until(b'\n', &mut self.partial)? as u64;
            if !self.partial.ends_with(b"\n") {
                return Ok(None);
            }
            let line = LogLine::parse(&self.partial);
            self.partial.clear();
            if line.is_some() {
                return Ok(line);
            }
        }
    }
}
