//! Signed heads. A checkpoint is a DSSE envelope, as all of Kiln's signed documents are; its payload names the
//! ledger by the hash of its first record, and a record by number and hash. One is a line of `checkpoints.jsonl`, and
//! is worth most where the ledger's keeper cannot change it: print it, mail it, push it elsewhere.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use kiln_model::{Digest, Name};
use serde::{Deserialize, Serialize};

use super::repair::leaves_out;
use super::source::damaged;
use super::verify::Chain;
use super::{Head, Ledger, LedgerError, Place, at, line};
use crate::dsse::Envelope;
use crate::keys::{Signer, TrustedKeys};

/// Payload type of a checkpoint.
pub const CHECKPOINT_PAYLOAD: &str = "application/vnd.kiln.ledger.checkpoint.v1+json";

/// A head that was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Checkpoint {
    /// The hash of the ledger's first record: which ledger it is.
    pub origin: Digest,
    /// The number of the last record.
    pub seq: u64,
    /// Its hash.
    pub head: Digest,
    /// When it was signed, milliseconds since the epoch.
    pub at_ms: u64,
}

/// A line of the file of checkpoints.
pub(super) struct Found {
    pub(super) place: Place,
    pub(super) checkpoint: Result<(Checkpoint, Vec<Name>), String>,
}

impl Ledger {
    /// Signs the head and keeps that; none when the ledger is empty. The records since the last checkpoint are
    /// verified first: nothing is signed over a chain that does not hold.
    pub fn checkpoint(&self, signer: &dyn Signer, now_ms: u64) -> Result<Option<Checkpoint>, LedgerError> {
        self.checkpoint_if_due(0, signer, now_ms)
    }

    /// The same, if there are at least `every` records since the last checkpoint.
    pub fn checkpoint_if_due(
        &self,
        every: u64,
        signer: &dyn Signer,
        now_ms: u64,
    ) -> Result<Option<Checkpoint>, LedgerError> {
        let _lock = self.lock()?;
        let Some(head) = self.mended_tail()?.0.head else { return Ok(None) };
        let last = self.last_checkpoint()?;
        if head.seq < last.map_or(0, |last| last.seq).saturating_add(every) {
            return Ok(None);
        }
        self.check_since(last)?;
        let checkpoint = Checkpoint { origin: self.origin()?, seq: head.seq, head: head.hash, at_ms: now_ms };
        let json = |source| LedgerError::Json { what: "ledger.checkpoint".into(), source };
        let payload = serde_json::to_vec(&checkpoint).map_err(json)?;
        let envelope = Envelope::sign(CHECKPOINT_PAYLOAD, &payload, signer).map_err(LedgerError::Sign)?;
        let mut bytes = serde_json::to_vec(&envelope).map_err(json)?;
        bytes.push(b'\n');
        self.write_checkpoint(&bytes)?;
        Ok(Some(checkpoint))
    }

    /// The checkpoints' file, for those who keep it elsewhere.
    pub fn checkpoints_path(&self) -> PathBuf {
        self.folder.join("checkpoints.jsonl")
    }

    fn write_checkpoint(&self, bytes: &[u8]) -> Result<(), LedgerError> {
        let path = self.checkpoints_path();
        let former = self.checkpoint_lines()?;
        let whole = former.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        if whole < former.len() {
            self.set_aside(&path, whole as u64, "checkpoint")?;
        }
        let mut file = File::options().create(true).append(true).open(&path).map_err(at("open", &path))?;
        file.write_all(bytes).and_then(|()| file.sync_data()).map_err(at("write", &path))?;
        if former.is_empty() { self.flush_folder() } else { Ok(()) }
    }

    /// Compares the chain from a checkpoint (whose signature is not looked at: a forged one does not fit) on.
    fn check_since(&self, last: Option<Checkpoint>) -> Result<(), LedgerError> {
        let from = last.map(|last| Head { seq: last.seq, hash: last.head });
        let mut chain = Chain::after(from);
        let mut lines = self.lines_after(from.map_or(0, |head| head.seq))?;
        let mut buffer = Vec::new();
        while let Some(found) = lines.next(&mut buffer)? {
            let link = line::link(&buffer).map_err(|reason| damaged(&found.place, reason))?;
            if from
                .is_some_and(|head| link.seq < head.seq || (link.seq == head.seq && link.hash == head.hash))
            {
                continue;
            }
            if chain.take(&link) {
                continue;
            }
            // The record of the last checkpoint may be among those that a repair left out.
            let left_out = from.is_some_and(|head| chain.head() == from && leaves_out(&buffer, head.seq));
            if !left_out {
                return Err(damaged(&found.place, "it does not continue the record before it"));
            }
            chain = Chain::after(Some(Head { seq: link.seq, hash: link.hash }));
        }
        let behind = from.filter(|head| chain.head().is_none_or(|now| now.seq < head.seq));
        match behind {
            Some(head) => {
                let place = Place { file: self.checkpoints_path(), line: 0 };
                Err(damaged(&place, &format!("it tells of record {}, which the ledger lacks", head.seq)))
            }
            None => Ok(()),
        }
    }

    fn origin(&self) -> Result<Digest, LedgerError> {
        let mut lines = self.lines_after(0)?;
        let mut buffer = Vec::new();
        let empty = || damaged(&Place { file: self.folder.clone(), line: 0 }, "it holds no record");
        let found = lines.next(&mut buffer)?.ok_or_else(empty)?;
        Ok(line::link(&buffer).map_err(|reason| damaged(&found.place, reason))?.hash)
    }

    pub(super) fn last_checkpoint(&self) -> Result<Option<Checkpoint>, LedgerError> {
        let bytes = self.checkpoint_lines()?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        let last = bytes[..whole].rsplit(|byte| *byte == b'\n').next().filter(|line| !line.is_empty());
        Ok(last.and_then(|line| {
            let envelope: Envelope = serde_json::from_slice(line).ok()?;
            serde_json::from_slice(&envelope.payload_bytes().ok()?).ok()
        }))
    }

    fn checkpoint_lines(&self) -> Result<Vec<u8>, LedgerError> {
        let path = self.checkpoints_path();
        match fs::read(&path) {
            Ok(bytes) => Ok(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(at("read", &path)(error)),
        }
    }

    /// All checkpoints, verified.
    pub(super) fn checkpoints(&self, keys: &TrustedKeys) -> Result<Vec<Found>, LedgerError> {
        let bytes = self.checkpoint_lines()?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        let lines = bytes[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let found = |(index, line): (usize, &[u8])| Found {
            place: Place { file: self.checkpoints_path(), line: index as u64 + 1 },
            checkpoint: read(line, keys),
        };
        Ok(lines.enumerate().map(found).collect())
    }
}

fn read(line: &[u8], keys: &TrustedKeys) -> Result<(Checkpoint, Vec<Name>), String> {
    let envelope: Envelope =
        serde_json::from_slice(line).map_err(|error| format!("it is not a DSSE envelope: {error}"))?;
    let (payload, names) = envelope.verify(keys).map_err(|error| error.to_string())?;
    if envelope.payload_type != CHECKPOINT_PAYLOAD {
        return Err(format!("it is a {}", crate::text::short(&envelope.payload_type)));
    }
    let checkpoint = serde_json::from_slice(&payload).map_err(|error| error.to_string())?;
    Ok((checkpoint, names))
}
