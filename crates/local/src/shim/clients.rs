//! Those who talk to a supervisor.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use super::dial::{self, Dialled};
use super::protocol::{CONNECT, LISTEN, Request};

/// Longest request; whoever sends more is hung up on.
const LONGEST: usize = 4 << 10;
/// A watcher that does not read is hung up on when so much waits for it.
const MOST_UNREAD: usize = 64 << 10;

/// One connection.
pub(super) struct Client {
    pub(super) stream: UnixStream,
    pub(super) watches: bool,
    pub(super) pending: Option<OwnedFd>,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Client {
    pub(super) fn new(stream: UnixStream, watches: bool) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, watches, pending: None, input: Vec::new(), output: Vec::new() })
    }

    /// Whether something waits to be written.
    pub(super) fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Queues bytes and writes what goes. `false` when the connection is to be closed.
    pub(super) fn send(&mut self, bytes: &[u8]) -> bool {
        self.output.extend_from_slice(bytes);
        self.write()
    }

    /// Writes what goes. `false` when the connection is to be closed.
    pub(super) fn write(&mut self) -> bool {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(written) => drop(self.output.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        self.output.len() <= MOST_UNREAD
    }

    /// Reads what is there and acts on it; requests in JSON are left to `act`. `false` when the connection is to be
    /// closed.
    pub(super) fn read(&mut self, mut act: impl FnMut(&mut Self, Request)) -> bool {
        let mut chunk = [0; 512];
        match self.stream.read(&mut chunk) {
            Ok(0) => return false,
            Ok(read) => self.input.extend_from_slice(&chunk[..read]),
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
        while let Some(first) = self.input.first() {
            if matches!(*first, CONNECT | LISTEN) {
                let &[what, high, low, ..] = &*self.input else { break };
                self.input.drain(..3);
                if !self.socket(what, u16::from_be_bytes([high, low])) {
                    return false;
                }
            } else {
                let Some(end) = self.input.iter().position(|byte| *byte == b'\n') else { break };
                let line: Vec<u8> = self.input.drain(..=end).collect();
                match serde_json::from_slice(&line) {
                    Ok(request) => act(self, request),
                    Err(_) => return false,
                }
            }
        }
        self.input.len() <= LONGEST
    }

    fn socket(&mut self, what: u8, port: u16) -> bool {
        let answer = |socket: Option<&OwnedFd>| dial::answer(self.stream.as_fd(), socket).is_ok();
        if what == LISTEN {
            return answer(dial::serve(port).ok().as_ref());
        }
        match dial::dial(port) {
            Dialled::Connected(socket) => answer(Some(&socket)),
            Dialled::Refused => answer(None),
            Dialled::Pending(socket) => {
                self.pending = Some(socket);
                true
            }
        }
    }

    /// Answers a connection that was on its way. `false` when the client is to be closed.
    pub(super) fn settle(&mut self) -> bool {
        let Some(socket) = self.pending.take() else { return true };
        let there = dial::arrived(&socket);
        dial::answer(self.stream.as_fd(), there.then_some(&socket)).is_ok()
    }
}
