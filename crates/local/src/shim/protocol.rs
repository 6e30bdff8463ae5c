//! What is spoken on a supervisor's socket.
//!
//! A line of JSON is a request: `{"op":"watch"}` is answered with the [`Status`] as one line now and one for every
//! change until the instance has ended and the supervisor hangs up; `{"op":"stop","signal":"SIGTERM","grace_ms":10000}`
//! and `{"op":"kill"}` are not answered beyond that. `C` or `L` and a port as two bytes, big endian, ask for a connected
//! or listening TCP socket of the instance's network: the answer is one byte, 0 with the descriptor attached, or 1.
//!
//! [`Status`]: crate::Status

use serde::{Deserialize, Serialize};

use crate::intent::StopRule;

/// A request in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub(crate) enum Request {
    /// Tell the status, now and whenever it changes.
    Watch,
    /// Signal, grace, kill.
    Stop(StopRule),
    /// Kill at once.
    Kill,
}

impl Request {
    /// As it goes over the socket.
    pub(crate) fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

/// Asks for a connected socket.
pub(crate) const CONNECT: u8 = b'C';
/// Asks for a listening socket.
pub(crate) const LISTEN: u8 = b'L';
/// A descriptor is attached.
pub(crate) const GIVEN: u8 = 0;
/// There is none.
pub(crate) const REFUSED: u8 = 1;
