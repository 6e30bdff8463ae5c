//! Writes the data file of one source: a fresh SQLite database beside the old one, which is never changed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use kiln_model::Digest;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};
use sha2::{Digest as _, Sha256};

use super::entry::Entry;
use crate::advisories::AdvisoryError;

/// `advisory` and `affects` are what matching reads; `member` says which file of the source an entry came from, so
/// that the next update reads only the files that changed.
const SCHEMA: &str = "
    PRAGMA journal_mode = OFF;
    PRAGMA synchronous = OFF;
    CREATE TABLE advisory (
        key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, modified TEXT, digest BLOB NOT NULL,
        withdrawn INTEGER NOT NULL, text TEXT NOT NULL) STRICT;
    CREATE TABLE affects (
        ecosystem TEXT NOT NULL, name TEXT NOT NULL, advisory INTEGER NOT NULL, scopes TEXT NOT NULL) STRICT;
    CREATE TABLE member (
        path TEXT PRIMARY KEY, crc INTEGER NOT NULL, size INTEGER NOT NULL, advisory INTEGER NOT NULL) STRICT;
    BEGIN;";

/// The index is made last: that is faster than keeping it up to date.
const FINISH: &str = "
    CREATE INDEX affects_package ON affects (ecosystem, name);
    CREATE INDEX affects_advisory ON affects (advisory);
    COMMIT;
    ANALYZE;";

/// The name, checksum and size of a file in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) path: String,
    pub(crate) crc: u32,
    pub(crate) size: u64,
}

/// What a finished data file holds.
#[derive(Clone, Debug)]
pub(crate) struct Built {
    pub(crate) digest: Digest,
    pub(crate) count: u64,
    pub(crate) modified: Option<Timestamp>,
}

/// A data file in the making.
pub(crate) struct Builder {
    path: PathBuf,
    connection: Connection,
    /// By id: key, date and digest.
    entries: BTreeMap<String, (i64, Option<Timestamp>, Digest)>,
    next: i64,
}

impl Builder {
    pub(crate) fn create(path: &Path) -> Result<Self, AdvisoryError> {
        let error = || AdvisoryError::data("write", path);
        let connection = Connection::open(path).map_err(error())?;
        connection.execute_batch(SCHEMA).map_err(error())?;
        Ok(Self { path: path.to_owned(), connection, entries: BTreeMap::new(), next: 1 })
    }

    /// Adds an entry, unless one of the same id is newer.
    pub(crate) fn add(&mut self, entry: &Entry, member: Option<&Member>) -> Result<(), AdvisoryError> {
        if let Some((key, modified, digest)) = self.entries.get(&entry.id) {
            if !entry.replaces(*modified, digest) {
                return Ok(());
            }
            self.forget(*key).map_err(AdvisoryError::data("write", &self.path))?;
        }
        let key = self.next;
        self.next += 1;
        self.entries.insert(entry.id.clone(), (key, entry.modified, entry.digest));
        self.insert(key, entry, member).map_err(AdvisoryError::data("write", &self.path))
    }

    fn insert(&self, key: i64, entry: &Entry, member: Option<&Member>) -> rusqlite::Result<()> {
        let mut advisory =
            self.connection.prepare_cached("INSERT INTO advisory VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
        let modified = entry.modified.map(|moment| moment.to_string());
        let digest = entry.digest.as_bytes().as_slice();
        advisory.execute(params![key, entry.id, modified, digest, entry.withdrawn, entry.text])?;
        let mut affects = self.connection.prepare_cached("INSERT INTO affects VALUES (?1, ?2, ?3, ?4)")?;
        for (ecosystem, name, scopes) in &entry.affects {
            affects.execute(params![ecosystem, name, key, scopes])?;
        }
        if let Some(member) = member {
            let mut known =
                self.connection.prepare_cached("INSERT OR REPLACE INTO member VALUES (?1, ?2, ?3, ?4)")?;
            known.execute(params![member.path, member.crc, i64::try_from(member.size).unwrap_or(-1), key])?;
        }
        Ok(())
    }

    fn forget(&self, key: i64) -> rusqlite::Result<()> {
        for table in ["affects WHERE advisory", "member WHERE advisory", "advisory WHERE key"] {
            self.connection.execute(&format!("DELETE FROM {table} = ?1"), [key])?;
        }
        Ok(())
    }

    /// Closes the file and brings it to the disk.
    pub(crate) fn finish(self) -> Result<Built, AdvisoryError> {
        self.connection.execute_batch(FINISH).map_err(AdvisoryError::data("write", &self.path))?;
        self.connection
            .close()
            .map_err(|(_, error)| error)
            .map_err(AdvisoryError::data("write", &self.path))?;
        let file = std::fs::File::open(&self.path).map_err(AdvisoryError::file("open", &self.path))?;
        file.sync_all().map_err(AdvisoryError::file("write", &self.path))?;
        Ok(Built {
            digest: content(self.entries.iter().map(|(id, (_, _, digest))| (id.as_str(), *digest))),
            count: self.entries.len() as u64,
            modified: self.entries.values().filter_map(|(_, modified, _)| *modified).max(),
        })
    }
}

/// The digest of a source: of its entries' ids and digests in the order of the ids.
pub(crate) fn content<'a>(entries: impl Iterator<Item = (&'a str, Digest)>) -> Digest {
    let mut hash = Sha256::new();
    for (id, digest) in entries {
        hash.update((id.len() as u64).to_le_bytes());
        hash.update(id.as_bytes());
        hash.update(digest.as_bytes());
    }
    Digest::from_bytes(hash.finalize().into())
}

/// The data file of the last update, to take over entries whose files did not change.
pub(crate) struct Previous {
    path: PathBuf,
    connection: Connection,
}

impl Previous {
    /// `None` when it cannot be opened: then everything is read anew.
    pub(crate) fn open(path: &Path) -> Option<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).ok()?;
        Some(Self { path: path.to_owned(), connection })
    }

    /// The entry that came from this very file.
    pub(crate) fn entry(&self, member: &Member) -> Result<Option<Entry>, AdvisoryError> {
        self.query(member).map_err(AdvisoryError::data("read", &self.path))
    }

    fn query(&self, member: &Member) -> rusqlite::Result<Option<Entry>> {
        let sql = "SELECT key, id, modified, digest, withdrawn, text FROM advisory
                   WHERE key = (SELECT advisory FROM member WHERE path = ?1 AND crc = ?2 AND size = ?3)";
        let size = i64::try_from(member.size).unwrap_or(-1);
        let mut statement = self.connection.prepare_cached(sql)?;
        let row = statement.query_row(params![member.path, member.crc, size], entry).optional()?;
        row.map(|(key, entry)| with_affects(&self.connection, key, entry)).transpose()
    }
}

/// The digest of a data file, counted from all that is in it.
pub(crate) fn recount(connection: &Connection) -> rusqlite::Result<Digest> {
    let sql = "SELECT key, id, modified, digest, withdrawn, text FROM advisory ORDER BY id";
    let mut statement = connection.prepare(sql)?;
    let mut entries = Vec::new();
    for row in statement.query_map([], entry)? {
        let (key, entry) = row?;
        let entry = with_affects(connection, key, entry)?;
        let sum = entry.sum();
        entries.push((entry.id, sum));
    }
    Ok(content(entries.iter().map(|(id, digest)| (id.as_str(), *digest))))
}

fn with_affects(connection: &Connection, key: i64, mut entry: Entry) -> rusqlite::Result<Entry> {
    let sql = "SELECT ecosystem, name, scopes FROM affects WHERE advisory = ?1 ORDER BY ecosystem, name";
    let mut affects = connection.prepare_cached(sql)?;
    let rows = affects.query_map([key], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    entry.affects = rows.collect::<rusqlite::Result<_>>()?;
    Ok(entry)
}

fn entry(row: &Row<'_>) -> rusqlite::Result<(i64, Entry)> {
    let modified: Option<String> = row.get(2)?;
    let entry = Entry {
        id: row.get(1)?,
        modified: modified.and_then(|text| text.parse().ok()),
        digest: Digest::from_bytes(row.get(3)?),
        withdrawn: row.get(4)?,
        text: row.get(5)?,
        affects: Vec::new(),
    };
    Ok((row.get(0)?, entry))
}
