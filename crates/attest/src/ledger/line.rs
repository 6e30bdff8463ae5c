//! One record as a line.

use std::borrow::Cow;

use kiln_model::{Digest, Name};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::repair::REPAIRED;
use super::{Head, LINE_MAX, LedgerError};

/// What is told of an act.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// When, milliseconds since the epoch, by the clock of who appends.
    pub at_ms: u64,
    /// Who did it: a person, or `kiln`.
    pub who: String,
    /// What was done, a thing and a verb: `image.baked`, `release.deployed`, `environment.promoted`.
    pub what: String,
    /// Why, in the words of who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// In which environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Name>,
    /// To which service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Name>,
    /// With which image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Digest>,
    /// On the strength of which evidence: digests of manifests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Digest>,
    /// Whatever else there is to tell; null for nothing.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub details: Value,
    /// Where it was taken from, when it was told elsewhere first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
}

/// An event of something else that numbers its events upwards. No event is taken twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// What tells the events.
    pub name: String,
    /// The event's number there.
    pub id: u64,
}

/// An entry in its place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its number, from 1.
    pub seq: u64,
    /// What is told.
    #[serde(flatten)]
    pub entry: Entry,
    /// The hash of the record before; zeros before the first.
    pub prev: Digest,
    /// Its own hash.
    pub hash: Digest,
}

/// What the first record has before it.
pub(super) const GENESIS: Digest = Digest::from_bytes([0; 32]);

const ENDING: &[u8] = b",\"hash\":\"sha256:";
/// Length of the ending with its digits, a quote and a bracket.
const ENDING_LEN: usize = ENDING.len() + 64 + 2;

impl Entry {
    /// An entry that tells no more than this.
    pub fn new(at_ms: u64, who: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            at_ms,
            who: who.into(),
            what: what.into(),
            why: None,
            environment: None,
            service: None,
            image: None,
            evidence: Vec::new(),
            details: Value::Null,
            source: None,
        }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    seq: u64,
    #[serde(flatten)]
    entry: &'a Entry,
    prev: Digest,
}

/// Writes the record after `head` at the end of `out`, with its newline.
pub(super) fn write(entry: Entry, head: Option<Head>, out: &mut Vec<u8>) -> Result<Record, LedgerError> {
    write_as(head.map_or(1, |head| head.seq + 1), entry, head, out)
}

/// The same under another number than the next.
pub(super) fn write_as(
    seq: u64,
    entry: Entry,
    head: Option<Head>,
    out: &mut Vec<u8>,
) -> Result<Record, LedgerError> {
    let prev = head.map_or(GENESIS, |head| head.hash);
    let body = serde_json::to_vec(&Body { seq, entry: &entry, prev });
    let mut body = body.map_err(|source| LedgerError::Json { what: entry.what.clone(), source })?;
    // The closing bracket: the hash is the last member.
    body.pop();
    if body.len() + ENDING_LEN >= LINE_MAX {
        return Err(LedgerError::TooLong { what: entry.what, bytes: body.len() + ENDING_LEN });
    }
    let hash = Digest::from_bytes(Sha256::digest(&body).into());
    out.extend_from_slice(&body);
    out.extend_from_slice(ENDING);
    out.extend_from_slice(hash.hex().as_bytes());
    out.extend_from_slice(b"\"}\n");
    Ok(Record { seq, entry, prev, hash })
}

/// What links a record to its neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) seq: u64,
    pub(super) prev: Digest,
    pub(super) hash: Digest,
    /// Whether it tells of a repair, which may leave numbers out.
    pub(super) repairs: bool,
}

/// Reads the links of a line (without its newline) after comparing its hash. An error is why it is no record.
pub(super) fn link(line: &[u8]) -> Result<Link, &'static str> {
    #[derive(Deserialize)]
    struct Links<'a> {
        seq: u64,
        prev: Digest,
        #[serde(borrow, default)]
        what: Cow<'a, str>,
    }
    let hash = hash_of(line)?;
    let links: Links<'_> = serde_json::from_slice(line).map_err(|_| "it is not a record's JSON")?;
    Ok(Link { seq: links.seq, prev: links.prev, hash, repairs: links.what == REPAIRED })
}

/// Reads a whole record, after comparing its hash.
pub(super) fn read(line: &[u8]) -> Result<Record, &'static str> {
    hash_of(line)?;
    serde_json::from_slice(line).map_err(|_| "it is not a record's JSON")
}

fn hash_of(line: &[u8]) -> Result<Digest, &'static str> {
    const SHAPE: &str = "it does not end with its hash";
    let (body, ending) = line.split_at_checked(line.len().saturating_sub(ENDING_LEN)).ok_or(SHAPE)?;
    let digits = ending.strip_prefix(ENDING).and_then(|rest| rest.strip_suffix(b"\"}")).ok_or(SHAPE)?;
    let hash = Digest::from_bytes(Sha256::digest(body).into());
    if hash.hex().as_bytes() == digits { Ok(hash) } else { Err("its bytes do not have the hash at its end") }
}
