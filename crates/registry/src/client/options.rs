//! How a client behaves.

use std::path::PathBuf;
use std::time::Duration;

use super::auth::{Keys, Login};
use super::retry::Retry;

/// How a client behaves. The defaults are for a person's work on a machine of today.
#[derive(Clone, Debug)]
pub struct Options {
    /// Speak to every registry in the clear. Without it only to those on this machine, and to those neither when an
    /// authority is named.
    pub plain_http: bool,
    /// A PEM file of authorities that are trusted beside the machine's.
    pub authority: Option<PathBuf>,
    /// Who one is, whatever the files of credentials say.
    pub login: Option<Login>,
    /// Where credentials are looked for.
    pub keys: Keys,
    /// Blobs moved at a time. Six fill a line of 1 Gbit/s with 30 ms of delay, which one connection does not.
    pub at_once: usize,
    /// Blobs up to this many bytes are sent with one request.
    pub monolithic: u64,
    /// Larger ones are sent in pieces of this many bytes. None is in one piece, as Docker sends them: not every
    /// registry takes several. A cut is mended either way.
    pub chunk: Option<u64>,
    /// How long a connection may take to be made.
    pub connect: Duration,
    /// How long a registry may be silent.
    pub idle: Duration,
    /// How long it may think about what was sent whole, which it reads and moves once more.
    pub settle: Duration,
    /// When to ask again.
    pub retry: Retry,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            plain_http: false,
            authority: None,
            login: None,
            keys: Keys::from_process(),
            at_once: 6,
            monolithic: 4 << 20,
            chunk: None,
            connect: Duration::from_secs(15),
            idle: Duration::from_secs(60),
            settle: Duration::from_secs(600),
            retry: Retry::default(),
        }
    }
}
