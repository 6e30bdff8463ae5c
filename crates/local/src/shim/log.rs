//! What an instance prints, kept in files of limited size.
//!
//! One line of a file is one line of output: `MILLIS STREAM TEXT`, where MILLIS is the time since the Unix epoch and
//! STREAM is `o` or `e` for a whole line of standard output or error, `O` or `E` for a piece of a line whose rest
//! follows in the next line of that stream. TEXT is what was printed, byte for byte. The newest lines are in `current`,
//! older ones in `1`, `2` and so on.
//!
//! A program that floods its output is slowed down to the speed of the disk by its full pipe; memory stays at one
//! buffer for each stream. When the disk is full, lines are dropped and counted, and the count is logged.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::PathBuf;

use crate::files;
use crate::intent::LogRule;

/// A pipe holds 64 KiB; a quarter of it at once keeps the supervisor small and its clients served.
const CHUNK: usize = 16 << 10;
/// Longest piece of a line.
const PIECE: usize = 16 << 10;

/// One of the two streams.
#[derive(Clone, Copy)]
pub(super) enum Stream {
    Out,
    Err,
}

impl Stream {
    fn mark(self, whole: bool) -> u8 {
        match (self, whole) {
            (Self::Out, true) => b'o',
            (Self::Out, false) => b'O',
            (Self::Err, true) => b'e',
            (Self::Err, false) => b'E',
        }
    }
}

/// The log of one instance.
pub(super) struct Log {
    folder: PathBuf,
    rule: LogRule,
    current: Option<File>,
    size: u64,
    lost: u64,
    ready: Vec<u8>,
}

/// One stream on its way into the log.
pub(super) struct Pump {
    pub(super) pipe: File,
    stream: Stream,
    rest: Vec<u8>,
}

impl Pump {
    pub(super) fn new(pipe: File, stream: Stream) -> Self {
        Self { pipe, stream, rest: Vec::new() }
    }

    /// Moves what is there, at most one chunk. `false` at the end of the stream.
    pub(super) fn run(&mut self, log: &mut Log) -> bool {
        let mut chunk = [0; CHUNK];
        let read = match self.pipe.read(&mut chunk) {
            Ok(0) => {
                self.finish(log);
                return false;
            }
            Ok(read) => read,
            Err(error) => {
                return matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted);
            }
        };
        let now = files::now_ms();
        let mut lines = chunk[..read].split_inclusive(|byte| *byte == b'\n');
        for piece in &mut lines {
            self.take(piece, now, log);
        }
        log.flush();
        true
    }

    fn take(&mut self, piece: &[u8], now: i64, log: &mut Log) {
        if let Some(line) = piece.strip_suffix(b"\n") {
            log.line(now, self.stream.mark(true), &[&self.rest, line]);
            self.rest.clear();
        } else if self.rest.len() + piece.len() >= PIECE {
            log.line(now, self.stream.mark(false), &[&self.rest, piece]);
            self.rest.clear();
        } else {
            self.rest.extend_from_slice(piece);
        }
    }

    /// Logs a last line that no newline ended.
    pub(super) fn finish(&mut self, log: &mut Log) {
        if !self.rest.is_empty() {
            log.line(files::now_ms(), self.stream.mark(true), &[&self.rest]);
            self.rest = Vec::new();
        }
        log.flush();
    }
}

impl Log {
    pub(super) fn open(folder: PathBuf, rule: LogRule) -> Self {
        let mut log = Self { folder, rule, current: None, size: 0, lost: 0, ready: Vec::new() };
        log.reopen();
        log
    }

    fn reopen(&mut self) {
        let _ = fs::create_dir_all(&self.folder);
        let file = OpenOptions::new().create(true).append(true).open(self.folder.join("current")).ok();
        self.size = file.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |data| data.len());
        self.current = file;
    }

    fn line(&mut self, now: i64, mark: u8, pieces: &[&[u8]]) {
        let _ = write!(self.ready, "{now} {} ", mark as char);
        for piece in pieces {
            self.ready.extend_from_slice(piece);
        }
        self.ready.push(b'\n');
        if self.ready.len() >= CHUNK {
            self.flush();
        }
    }

    /// Writes what is ready, into a new file when the current one is full.
    fn flush(&mut self) {
        if self.ready.is_empty() {
            return;
        }
        if self.size + self.ready.len() as u64 > self.rule.max_bytes && self.size > 0 {
            self.rotate();
        }
        let lines = self.ready.iter().filter(|byte| **byte == b'\n').count() as u64;
        let mut bytes = std::mem::take(&mut self.ready);
        if self.lost > 0 {
            let note = format!(
                "{} e kiln: {} lines could not be written and are lost\n",
                files::now_ms(),
                self.lost
            );
            bytes.splice(..0, note.into_bytes());
        }
        match self.current.as_mut().map(|file| file.write_all(&bytes)) {
            Some(Ok(())) => {
                self.size += bytes.len() as u64;
                self.lost = 0;
            }
            _ => {
                self.lost += lines;
                self.reopen();
            }
        }
        bytes.clear();
        if bytes.capacity() <= 2 * CHUNK {
            self.ready = bytes;
        }
    }

    fn rotate(&mut self) {
        let name = |number: u32| match number {
            0 => self.folder.join("current"),
            number => self.folder.join(number.to_string()),
        };
        let kept = self.rule.files.max(1) - 1;
        if kept == 0 {
            let _ = fs::remove_file(name(0));
        }
        for number in (0..kept).rev() {
            let _ = fs::rename(name(number), name(number + 1));
        }
        self.reopen();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::layout::InstanceDir;
    use crate::logs::{self, Follow, LogLine};

    fn texts(folder: &std::path::Path, file: &str) -> Vec<String> {
        let text = fs::read_to_string(folder.join(file)).unwrap_or_default();
        text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
    }

    fn pump(bytes: &[u8], log: &mut Log) {
        let (reader, mut writer) = io::pipe().unwrap();
        let bytes = bytes.to_vec();
        let feeder = std::thread::spawn(move || writer.write_all(&bytes).unwrap());
        let mut pump = Pump::new(File::from(std::os::fd::OwnedFd::from(reader)), Stream::Out);
        while pump.run(log) {}
        feeder.join().unwrap();
    }

    #[test]
    fn lines_are_kept_whole_and_long_ones_in_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(folder.path().into(), LogRule::default());
        let mut bytes = b"one\ntwo\n".to_vec();
        bytes.extend(vec![b'x'; 40_000]);
        bytes.extend(b"\nlast");
        pump(&bytes, &mut log);
        let lines = texts(folder.path(), "current");
        assert_eq!((&*lines[0], &*lines[1], lines.last().unwrap().as_str()), ("o one", "o two", "o last"));
        let long: String = lines[2..lines.len() - 1].iter().map(|line| &line[2..]).collect();
        assert_eq!(long.len(), 40_000);
        assert!(lines[2].starts_with("O x") && lines[lines.len() - 2].starts_with("o "), "{:?}", lines.len());
    }

    #[test]
    fn files_are_rotated_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(folder.path().into(), LogRule { max_bytes: 20_000, files: 3 });
        pump(&(0..9_000).flat_map(|n| format!("line {n}\n").into_bytes()).collect::<Vec<_>>(), &mut log);
        let mut names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["1", "2", "current"]);
        assert_eq!(texts(folder.path(), "current").last().unwrap(), "o line 8999");
        let first = texts(folder.path(), "current")[0].clone();
        let before = texts(folder.path(), "1").last().unwrap().clone();
        let number = |line: &str| line.rsplit(' ').next().unwrap().parse::<u32>().unwrap();
        assert_eq!(number(&before) + 1, number(&first));
        for name in names {
            assert!(fs::metadata(folder.path().join(name)).unwrap().len() <= 20_000 + 2 * CHUNK as u64);
        }
    }

    /// A log whose files hold about `lines` numbered lines each, and where it is read.
    fn numbered(folder: &std::path::Path, lines: u64) -> (Log, InstanceDir) {
        let dir = InstanceDir::new(folder);
        let line = "1700000000000 o 1000000000\n".len() as u64;
        (Log::open(dir.log(), LogRule { max_bytes: lines * line, files: 4 }), dir)
    }

    fn write_number(log: &mut Log, number: u64) {
        log.line(files::now_ms(), b'o', &[number.to_string().as_bytes()]);
        log.flush();
    }

    fn number_of(line: &LogLine) -> u64 {
        std::str::from_utf8(&line.text).unwrap().parse().unwrap()
    }

    #[test]
    fn a_log_is_read_whole_at_every_moment_of_its_rotation() {
        let folder = tempfile::tempdir().unwrap();
        let (mut log, dir) = numbered(folder.path(), 3);
        for number in 1_000_000_000..1_000_000_020 {
            write_number(&mut log, number);
        }
        let stop = std::sync::atomic::AtomicBool::new(false);
        let stopped = || stop.load(std::sync::atomic::Ordering::Relaxed);
        let writes =
            |log: &mut Log| (1_000_000_020..).take_while(|_| !stopped()).for_each(|n| write_number(log, n));
        let reads = || {
            let mut newest = 0;
            for _ in 0..2_000 {
                let read = logs::read(&dir, 100).unwrap();
                let numbers: Vec<u64> = read.iter().map(number_of).collect();
                // Three full files at least, without a gap, and never older than what was there before.
                assert!(numbers.len() >= 9, "{numbers:?} after {newest}");
                assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");
                assert!(numbers.last() >= Some(&newest), "{numbers:?} after {newest}");
                newest = *numbers.last().unwrap();
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| writes(&mut log));
            let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(reads));
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            read.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        });
    }

    #[test]
    fn a_follower_misses_no_file_that_is_still_there() {
        let folder = tempfile::tempdir().unwrap();
        let (mut log, dir) = numbered(folder.path(), 2);
        let mut follow = Follow::open(&dir, 10).unwrap();
        let mut rest = || {
            let lines = std::iter::from_fn(|| follow.next_line().unwrap());
            lines.map(|line| number_of(&line)).collect::<Vec<_>>()
        };
        let mut number = 1_000_000_000;
        // Four files of two lines: of six new lines none is pushed out; of twenty the last eight are there.
        for (written, left) in [(1, 1), (2, 2), (3, 3), (6, 6), (20, 8), (1, 1)] {
            for _ in 0..written {
                write_number(&mut log, number);
                number += 1;
            }
            assert_eq!(rest(), (number - left..number).collect::<Vec<_>>(), "of {written}");
        }
    }

    #[test]
    fn a_rotation_that_was_cut_short_is_read_and_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (mut log, dir) = numbered(folder.path(), 2);
        for number in 1_000_000_000..1_000_000_004 {
            write_number(&mut log, number);
        }
        drop(log);
        fs::rename(dir.log().join("1"), dir.log().join("2")).unwrap();
        assert_eq!(logs::read(&dir, 10).unwrap().len(), 4, "`1` is missing");
        fs::rename(dir.log().join("current"), dir.log().join("1")).unwrap();
        let mut follow = Follow::open(&dir, 10).unwrap();
        let mut next = || follow.next_line().unwrap().map(|line| number_of(&line));
        for number in 1_000_000_000..1_000_000_004 {
            assert_eq!(next(), Some(number), "`current` is missing");
        }
        assert_eq!(next(), None);
        let (mut log, _) = numbered(folder.path(), 2);
        write_number(&mut log, 1_000_000_004);
        assert_eq!((next(), next()), (Some(1_000_000_004), None));
    }
}
