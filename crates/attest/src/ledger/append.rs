//! Appending.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::tail::Tail;
use super::{Entry, Head, Ledger, LedgerError, Record, at, line};

/// What an append did.
#[derive(Clone, Debug, PartialEq)]
pub struct Appended {
    /// What was written, without what had been taken from its source before.
    pub records: Vec<Record>,
    /// Where the rest of a line that a crash tore is kept now, if there was one.
    pub set_aside: Option<PathBuf>,
}

impl Ledger {
    /// Appends one entry. It is on the disk when this returns.
    pub fn append(&self, entry: Entry) -> Result<Appended, LedgerError> {
        self.append_all(vec![entry])
    }

    /// Appends entries, which others' do not come between, with one flush for all. An entry whose source was heard
    /// up to its number or beyond is passed over: sending the same events twice is the same as once. When this
    /// fails, the first of the entries may have been written, never one without those before it.
    pub fn append_all(&self, entries: Vec<Entry>) -> Result<Appended, LedgerError> {
        let _lock = self.lock()?;
        let (tail, set_aside) = self.mended_tail()?;
        let mut heard = None;
        if entries.iter().any(|entry| entry.source.is_some()) {
            heard = Some(self.heard(tail.head)?);
        }
        let mut plan = Plan::new(self, tail);
        let mut records = Vec::with_capacity(entries.len());
        for entry in entries {
            if heard.as_mut().is_none_or(|heard| is_news(heard, &entry)) {
                records.push(plan.add(entry)?);
            }
        }
        if !records.is_empty() {
            plan.write(self)?;
            if let Some(heard) = heard {
                self.remember(plan.head, heard);
            }
        }
        Ok(Appended { records, set_aside })
    }
}

fn is_news(heard: &mut BTreeMap<String, u64>, entry: &Entry) -> bool {
    let Some(source) = &entry.source else { return true };
    if heard.get(&source.name).is_some_and(|last| *last >= source.id) {
        return false;
    }
    heard.insert(source.name.clone(), source.id);
    true
}

/// Bytes to be written, by file.
struct Plan {
    head: Option<Head>,
    parts: Vec<Part>,
    limit: u64,
}

struct Part {
    path: PathBuf,
    /// Length of the file before; none when it is to be made.
    before: Option<u64>,
    bytes: Vec<u8>,
}

impl Plan {
    fn new(ledger: &Ledger, tail: Tail) -> Self {
        let next = tail.head.map_or(1, |head| head.seq + 1);
        let part = match tail.segment {
            Some(segment) => Part { path: segment.path, before: Some(tail.whole), bytes: Vec::new() },
            None => Part { path: ledger.segment_path(next), before: None, bytes: Vec::new() },
        };
        Self { head: tail.head, parts: vec![part], limit: ledger.segment_bytes }
    }

    fn add(&mut self, entry: Entry) -> Result<Record, LedgerError> {
        let mut bytes = Vec::new();
        let record = line::write(entry, self.head, &mut bytes)?;
        self.head = Some(Head { seq: record.seq, hash: record.hash });
        match self.parts.last_mut().filter(|part| part.has_room(bytes.len(), self.limit)) {
            Some(part) => part.bytes.append(&mut bytes),
            None => {
                let folder = self.parts[0].path.parent().map(Path::to_owned).unwrap_or_default();
                let path = folder.join(format!("ledger-{:016}.jsonl", record.seq));
                self.parts.push(Part { path, before: None, bytes });
            }
        }
        Ok(record)
    }

    fn write(&self, ledger: &Ledger) -> Result<(), LedgerError> {
        for part in self.parts.iter().filter(|part| !part.bytes.is_empty()) {
            part.write(ledger)?;
        }
        Ok(())
    }
}

impl Part {
    fn has_room(&self, more: usize, limit: u64) -> bool {
        let length = self.before.unwrap_or(0) + self.bytes.len() as u64;
        length == 0 || length + more as u64 <= limit
    }

    fn write(&self, ledger: &Ledger) -> Result<(), LedgerError> {
        let mut options = File::options();
        options.append(true).create_new(self.before.is_none());
        let mut file = options.open(&self.path).map_err(at("open", &self.path))?;
        let written = file.write_all(&self.bytes).and_then(|()| file.sync_data());
        if let Err(error) = written {
            return Err(self.take_back(&file, error));
        }
        if self.before.is_none() { ledger.flush_folder() } else { Ok(()) }
    }

    /// Nothing of what failed (on a full disk) stays; if that fails too, the next append sets it aside.
    fn take_back(&self, file: &File, error: io::Error) -> LedgerError {
        let _ = file.set_len(self.before.unwrap_or(0)).and_then(|()| file.sync_all());
        at("write", &self.path)(error)
    }
}
