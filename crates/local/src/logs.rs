//! Reading what instances printed. The files' shape is described in the supervisor's log module:
//! `MILLIS STREAM TEXT`, `O`/`E` for a piece whose line goes on.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::layout::InstanceDir;

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
pub fn read(dir: &InstanceDir, lines: usize) -> io::Result<Vec<LogLine>> {
    let mut follow = Follow::open(dir, lines)?;
    let mut all = Vec::new();
    while let Some(line) = follow.next_line()? {
        all.push(line);
    }
    Ok(all)
}

/// A log that is read while it is written, also over the rotation of its files.
pub struct Follow {
    folder: PathBuf,
    current: Option<BufReader<File>>,
    waiting: VecDeque<LogLine>,
    partial: Vec<u8>,
}

impl Follow {
    /// Begins with the last `lines` that are there.
    ///
    /// # Errors
    /// When a log file exists and cannot be read; a log that does not exist yet is empty.
    pub fn open(dir: &InstanceDir, lines: usize) -> io::Result<Self> {
        let mut follow =
            Self { folder: dir.log(), current: None, waiting: VecDeque::new(), partial: Vec::new() };
        for file in follow.old_files() {
            for line in BufReader::new(file).split(b'\n') {
                follow.keep(&line?, lines);
            }
        }
        while let Some(line) = follow.next_current()? {
            follow.waiting.push_back(line);
            if follow.waiting.len() > lines {
                follow.waiting.pop_front();
            }
        }
        Ok(follow)
    }

    fn keep(&mut self, line: &[u8], lines: usize) {
        self.waiting.extend(LogLine::parse(line));
        if self.waiting.len() > lines {
            self.waiting.pop_front();
        }
    }

    /// Rotated files, oldest first.
    fn old_files(&self) -> Vec<File> {
        let numbered = (1_u32..).map_while(|number| File::open(self.folder.join(number.to_string())).ok());
        let mut files: Vec<File> = numbered.collect();
        files.reverse();
        files
    }

    /// The next line, or `None` when there is none at present: ask again later.
    ///
    /// # Errors
    /// When the log cannot be read any more.
    pub fn next_line(&mut self) -> io::Result<Option<LogLine>> {
        match self.waiting.pop_front() {
            Some(line) => Ok(Some(line)),
            None => self.next_current(),
        }
    }

    fn next_current(&mut self) -> io::Result<Option<LogLine>> {
        loop {
            if self.current.is_none() {
                match File::open(self.folder.join("current")) {
                    Ok(file) => self.current = Some(BufReader::new(file)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                    Err(error) => return Err(error),
                }
            }
            let Some(reader) = &mut self.current else { return Ok(None) };
            reader.read_until(b'\n', &mut self.partial)?;
            if self.partial.ends_with(b"\n") {
                let line = LogLine::parse(&self.partial);
                self.partial.clear();
                if line.is_some() {
                    return Ok(line);
                }
            } else if self.was_rotated()? {
                self.current = None;
            } else {
                return Ok(None);
            }
        }
    }

    /// Whether the file that was read to its end has been renamed. It is looked at once more after that is known: a
    /// line may have been written between the end and the renaming.
    fn was_rotated(&mut self) -> io::Result<bool> {
        let Some(reader) = &mut self.current else { return Ok(false) };
        let own = reader.get_ref().metadata()?;
        let rotated = match std::fs::metadata(self.folder.join("current")) {
            Ok(now) => (now.dev(), now.ino()) != (own.dev(), own.ino()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        let read = reader.stream_position()?;
        let size = reader.get_ref().metadata()?.len();
        if rotated && read < size {
            let _ = reader.seek(SeekFrom::Start(read))?;
            return Ok(false);
        }
        Ok(rotated)
    }
}
