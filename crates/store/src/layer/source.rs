//! A blob's bytes as they are on disk, hashed and counted while they are read.

use std::fs::File;
use std::io::{self, BufRead, Read};

use kiln_model::Digest;
use sha2::{Digest as _, Sha256};

/// Bytes that are asked of the file at a time.
const CHUNK: usize = 1 << 18;

/// The compressed side of a layer.
pub(super) struct Source {
    file: File,
    hash: Sha256,
    count: u64,
    /// What was read; before `start` it is used up.
    buffer: Vec<u8>,
    start: usize,
    ended: bool,
}

impl Source {
    pub(super) fn new(file: File) -> Self {
        Self { file, hash: Sha256::new(), count: 0, buffer: Vec::new(), start: 0, ended: false }
    }

    /// Bytes read from the file.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// What is read and not used up.
    pub(super) fn ready(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Reads on. False at the end of the file.
    pub(super) fn more(&mut self) -> io::Result<bool> {
        // Moving what is left costs less than one byte for each that was used up.
        if self.start >= self.buffer.len() - self.start {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let end = self.buffer.len();
        self.buffer.resize(end + CHUNK, 0);
        let result = loop {
            match self.file.read(&mut self.buffer[end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        let read = *result.as_ref().unwrap_or(&0);
        self.buffer.truncate(end + read);
        self.hash.update(&self.buffer[end..]);
        self.count += read as u64;
        self.ended = result? == 0;
        Ok(!self.ended)
    }

    /// Reads what is left of the file; gives the digest and the number of all its bytes.
    pub(super) fn finish(mut self) -> io::Result<(Digest, u64)> {
        while !self.ended {
            self.start = self.buffer.len();
            self.more()?;
        }
        Ok((Digest::from_bytes(self.hash.finalize().into()), self.count))
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Source {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.ready().is_empty() {
            self.more()?;
        }
        Ok(self.ready())
    }

    fn consume(&mut self, used: usize) {
        self.start = self.buffer.len().min(self.start + used);
    }
}
