//! Which events of which source were taken already. The answer is in the records; `sources.json` only saves reading
//! them all, and is checked against the ledger's head.

use std::collections::BTreeMap;
use std::fs;

use serde::{Deserialize, Serialize};

use super::{Head, Ledger, LedgerError, Place, line};

#[derive(Serialize, Deserialize)]
struct Cache {
    /// The head it was written at.
    head: Head,
    /// The last number of each source.
    last: BTreeMap<String, u64>,
}

impl Ledger {
    /// The number of the last event that was taken from a source.
    pub fn last_source(&self, name: &str) -> Result<Option<u64>, LedgerError> {
        let _lock = self.lock()?;
        let head = self.tail()?.head;
        let heard = self.heard(head)?;
        self.remember(head, heard.clone());
        Ok(heard.get(name).copied())
    }

    /// Under the lock: the last number of each source, up to the head.
    pub(super) fn heard(&self, head: Option<Head>) -> Result<BTreeMap<String, u64>, LedgerError> {
        let Some(head) = head else { return Ok(BTreeMap::new()) };
        let cache = self.cached().filter(|cache| cache.head.seq <= head.seq);
        if let Some(cache) = cache {
            if cache.head == head {
                return Ok(cache.last);
            }
            if let Some(last) = self.scan(Some(cache.head), cache.last)? {
                return Ok(last);
            }
        }
        Ok(self.scan(None, BTreeMap::new())?.unwrap_or_default())
    }

    /// Under the lock: writes the cache. A cache that could not be written costs a scan, no more.
    pub(super) fn remember(&self, head: Option<Head>, last: BTreeMap<String, u64>) {
        let Some(head) = head else { return };
        let path = self.folder.join("sources.json");
        let temporary = self.folder.join("sources.json.new");
        if let Ok(bytes) = serde_json::to_vec(&Cache { head, last }) {
            let _ = fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, &path));
        }
    }

    fn cached(&self) -> Option<Cache> {
        serde_json::from_slice(&fs::read(self.folder.join("sources.json")).ok()?).ok()
    }

    /// Adds what the records after `from` say. None when `from` is not a record of this ledger.
    fn scan(
        &self,
        from: Option<Head>,
        mut last: BTreeMap<String, u64>,
    ) -> Result<Option<BTreeMap<String, u64>>, LedgerError> {
        // The record itself is read too, to see that it is the same.
        let mut lines = self.lines_after(from.map_or(0, |head| head.seq.saturating_sub(1)))?;
        let mut buffer = Vec::new();
        let mut known = from.is_none();
        while let Some(found) = lines.next(&mut buffer)? {
            let record = line::read(&buffer).map_err(|reason| damaged(&found.place, reason))?;
            match from {
                Some(head) if record.seq < head.seq => continue,
                Some(head) if record.seq == head.seq => known = record.hash == head.hash,
                _ => {}
            }
            if let Some(source) = record.entry.source {
                let number = last.entry(source.name).or_default();
                *number = source.id.max(*number);
            }
        }
        Ok(known.then_some(last))
    }
}

pub(super) fn damaged(place: &Place, reason: &str) -> LedgerError {
    LedgerError::Damaged { place: place.clone(), reason: reason.into() }
}
