//! Cuts a stream into windows that overlap, so that memory is bounded and nothing is lost at the cuts.
//!
//! A secret is found where one of its keywords begins, and each place of the stream belongs to exactly one window,
//! which has [`Shape::lead`] bytes before the place and [`Shape::tail`] bytes after it, as far as the stream has them.
//! So how the stream is cut changes nothing.

use std::io::{self, Read};
use std::ops::Range;

/// How long windows are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Bytes of a window.
    pub(crate) size: usize,
    /// Bytes that rules may look at before a keyword.
    pub(crate) lead: usize,
    /// Bytes that rules may look at from a keyword on.
    pub(crate) tail: usize,
}

/// 1 MiB, of which 1 part in 28 is searched twice; a service-account file of Google has 2.4 KiB, the longest private
/// key 24 KiB.
pub(crate) const SHAPE: Shape = Shape { size: 1 << 20, lead: 4 << 10, tail: 32 << 10 };

/// A part of a stream.
#[derive(Debug)]
pub(crate) struct Window {
    pub(crate) bytes: Vec<u8>,
    /// Where `bytes` begins in the stream.
    pub(crate) offset: u64,
    /// The line of the stream in which `bytes` begins, from 1.
    pub(crate) line: u64,
    /// The places that belong to this window.
    pub(crate) own: Range<usize>,
    /// Whether the stream is no text.
    pub(crate) binary: bool,
}

impl Window {
    /// A text that is searched as a whole.
    pub(crate) fn whole(bytes: Vec<u8>) -> Self {
        let own = 0..bytes.len();
        Self { bytes, offset: 0, line: 1, own, binary: false }
    }

    /// The line of a place in the stream.
    pub(crate) fn line_of(&self, at: usize) -> u64 {
        self.line + memchr::memchr_iter(b'\n', &self.bytes[..at]).count() as u64
    }
}

/// The windows of one stream.
pub(crate) struct Windows<R> {
    source: R,
    shape: Shape,
    /// What the next window begins with.
    carry: Vec<u8>,
    own: usize,
    offset: u64,
    line: u64,
    binary: bool,
    first: bool,
    done: bool,
    /// About as many bytes are still to come.
    expected: usize,
}

impl<R: Read> Windows<R> {
    /// `expected` is the length of the stream as far as it is known; a wrong one costs memory or time, no more.
    pub(crate) fn new(source: R, shape: Shape, expected: u64) -> Self {
        Self {
            source,
            shape,
            carry: Vec::new(),
            own: 0,
            offset: 0,
            line: 1,
            binary: false,
            first: true,
            done: false,
            expected: usize::try_from(expected).unwrap_or(usize::MAX),
        }
    }

    /// The next window; `None` at the end, and at once for a stream that is compressed.
    pub(crate) fn next(&mut self) -> io::Result<Option<Window>> {
        if self.done {
            return Ok(None);
        }
        let bytes = self.fill()?;
        let end = bytes.len() < self.shape.size;
        if self.first {
            self.first = false;
            self.binary = memchr::memchr(0, &bytes[..bytes.len().min(8 << 10)]).is_some();
            self.done = compressed(&bytes);
            if self.done {
                return Ok(None);
            }
        }
        self.done |= end;
        let own_end = if end { bytes.len() } else { bytes.len() - self.shape.tail };
        let window = Window {
            own: self.own..own_end,
            offset: self.offset,
            line: self.line,
            binary: self.binary,
            bytes,
        };
        if !end {
            let from = own_end.saturating_sub(self.shape.lead);
            self.carry = window.bytes[from..].to_vec();
            self.own = own_end - from;
            self.offset += from as u64;
            self.line = window.line_of(from);
        }
        Ok(Some(window))
    }

    fn fill(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = std::mem::take(&mut self.carry);
        let want = self.shape.size - bytes.len();
        // One byte more, so that the end is seen without another round.
        bytes.reserve_exact(want.min(self.expected.saturating_add(1)));
        let read = self.source.by_ref().take(want as u64).read_to_end(&mut bytes)?;
        self.expected = self.expected.saturating_sub(read);
        Ok(bytes)
    }
}

/// Whether a stream begins as compressed data and pictures do, in which nothing can be read.
fn compressed(start: &[u8]) -> bool {
    const MAGIC: [&[u8]; 10] = [
        b"\x1f\x8b",
        b"\x28\xb5\x2f\xfd",
        b"\xfd7zXZ\0",
        b"BZh9",
        b"\x89PNG\r\n",
        b"\xff\xd8\xff",
        b"wOFF",
        b"wOF2",
        b"OggS",
        b"7z\xbc\xaf",
    ];
    MAGIC.iter().any(|magic| start.starts_with(magic))
}
