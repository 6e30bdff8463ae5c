//! Reading records.

use std::io::Write;

use kiln_model::{Digest, Name};

use super::lines::Lines;
use super::source::damaged;
use super::{Ledger, LedgerError, Record, line};

/// Which records are wanted: those that fit all that is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this environment.
    pub environment: Option<Name>,
    /// Of this service.
    pub service: Option<Name>,
    /// With this image.
    pub image: Option<Digest>,
    /// By this person.
    pub who: Option<String>,
    /// Of this act; with a dot at the end (`release.`), of all such acts.
    pub what: Option<String>,
    /// No earlier than this, milliseconds since the epoch.
    pub since_ms: Option<u64>,
    /// Earlier than this, milliseconds since the epoch.
    pub until_ms: Option<u64>,
    /// After the record of this number. The files before it are not read.
    pub after: Option<u64>,
}

impl Filter {
    /// Whether a record is wanted.
    pub fn fits(&self, record: &Record) -> bool {
        let entry = &record.entry;
        let act = |what: &String| {
            entry.what == *what || (what.ends_with('.') && entry.what.starts_with(what.as_str()))
        };
        self.after.is_none_or(|after| record.seq > after)
            && self.since_ms.is_none_or(|since| entry.at_ms >= since)
            && self.until_ms.is_none_or(|until| entry.at_ms < until)
            && self.who.as_ref().is_none_or(|who| entry.who == *who)
            && self.what.as_ref().is_none_or(act)
            && (self.environment.is_none() || entry.environment == self.environment)
            && (self.service.is_none() || entry.service == self.service)
            && (self.image.is_none() || entry.image == self.image)
    }
}

/// Records in their order. A line that is no record, or was altered, is an error in its place; what comes after it
/// is still read. Whether the records fit each other, only [`Ledger::verify`] says.
#[derive(Debug)]
pub struct Records {
    lines: Lines,
    filter: Filter,
    buffer: Vec<u8>,
    failed: bool,
}

impl Iterator for Records {
    type Item = Result<Record, LedgerError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.failed {
            match self.lines.next(&mut self.buffer) {
                Ok(None) => return None,
                Ok(Some(found)) => match line::read(&self.buffer) {
                    Ok(record) if self.filter.fits(&record) => return Some(Ok(record)),
                    Ok(_) => {}
                    Err(reason) => return Some(Err(damaged(&found.place, reason))),
                },
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

impl Ledger {
    /// Records in their order, read as they are asked for. What is being appended meanwhile may be missing.
    pub fn records(&self, filter: Filter) -> Result<Records, LedgerError> {
        let lines = self.lines_after(filter.after.unwrap_or(0))?;
        Ok(Records { lines, filter, buffer: Vec::new(), failed: false })
    }

    /// Writes the lines of records as they are, so that they still verify. Returns how many there were.
    pub fn export(&self, filter: Filter, out: &mut dyn Write) -> Result<u64, LedgerError> {
        let mut records = self.records(filter)?;
        let mut count = 0;
        while let Some(record) = records.next() {
            record?;
            // The record's line is still there.
            out.write_all(&records.buffer)
                .and_then(|()| out.write_all(b"\n"))
                .map_err(LedgerError::Export)?;
            count += 1;
        }
        Ok(count)
    }
}
