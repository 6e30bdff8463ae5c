//! The local store of advisories.
//!
//! ```text
//! current.json   which data files count, with their digests and where they came from
//! data/*.sqlite  one finished, never changed SQLite file for each source
//! download/      what a broken-off download left, to go on from there
//! lock           held by the one update that runs
//! ```
//!
//! An update writes new data files beside the old ones and then replaces `current.json`; killed at any moment it
//! leaves the store as it was. Readers take no lock: they open the files that `current.json` names, and an open file
//! stays readable when an update has removed its name.

pub(crate) mod build;
pub(crate) mod entry;
pub(crate) mod pointer;
pub(crate) mod texts;

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use kiln_model::Digest;
use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use serde::Serialize;

pub use self::pointer::Dataset;
use self::pointer::{Pointer, data_dir};
use super::AdvisoryError;

/// How often a reader looks again when an update took the files away between its two looks.
const ATTEMPTS: usize = 10;

/// An opened store: one state of it, whatever updates happen meanwhile.
#[derive(Debug)]
pub struct AdvisoryDb {
    pointer: Pointer,
    files: Vec<DataFile>,
}

#[derive(Debug)]
struct DataFile {
    path: PathBuf,
    connection: Connection,
}

/// What a store holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Info {
    /// Over all sources: equal digests mean equal findings for equal packages.
    pub digest: Digest,
    /// The date of the newest entry of any source.
    pub modified: Option<Timestamp>,
    /// How many advisories there are in all.
    pub count: u64,
    /// The sources, by name.
    pub sources: Vec<Dataset>,
}

/// A row of `affects`: an advisory that names a package.
#[derive(Debug)]
pub(crate) struct Candidate {
    /// Index of the source and key in it.
    pub(crate) key: (usize, i64),
    /// What it says about the package.
    pub(crate) scopes: Vec<entry::Scope>,
}

impl AdvisoryDb {
    /// Opens the store in a folder.
    ///
    /// # Errors
    /// When there is none, it has another format, or a file cannot be read.
    pub fn open(dir: &Path) -> Result<Self, AdvisoryError> {
        let mut before = None;
        for _ in 0..ATTEMPTS {
            let Some(pointer) = Pointer::read(dir)? else {
                return Err(AdvisoryError::Empty { dir: dir.to_owned() });
            };
            match Self::open_files(dir, &pointer) {
                // An update replaced the pointer and removed what the old one named.
                Err(_) if before.as_ref() != Some(&pointer) => before = Some(pointer),
                Err(error) => return Err(error),
                Ok(files) => return Ok(Self { pointer, files }),
            }
        }
        Err(AdvisoryError::Busy { dir: dir.to_owned() })
    }

    fn open_files(dir: &Path, pointer: &Pointer) -> Result<Vec<DataFile>, AdvisoryError> {
        let open = |dataset: &Dataset| {
            let path = data_dir(dir).join(&dataset.file);
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection =
                Connection::open_with_flags(&path, flags).map_err(AdvisoryError::data("open", &path))?;
            // SQLite reads nothing before the first question. One transaction for as long as the file is open: it
            // never changes, so each question need not look whether it did.
            connection
                .execute_batch("PRAGMA cache_size = -16384; BEGIN; SELECT 1 FROM advisory LIMIT 1;")
                .map_err(AdvisoryError::data("open", &path))?;
            // Whatever is asked for, the index is the way to it. Without this SQLite, which knows how often each
            // package is named, would plan anew for each: a third of the time of a match.
            connection
                .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
                .map_err(AdvisoryError::data("open", &path))?;
            Ok(DataFile { path, connection })
        };
        pointer.datasets.iter().map(open).collect()
    }

    /// What the store holds.
    pub fn info(&self) -> Info {
        let sources = self.pointer.datasets.clone();
        Info {
            digest: self.digest(),
            modified: sources.iter().filter_map(|source| source.modified).max(),
            count: sources.iter().map(|source| source.count).sum(),
            sources,
        }
    }

    /// One digest over all sources.
    pub fn digest(&self) -> Digest {
        self.pointer.digest()
    }

    /// Counts the digest of every source again.
    ///
    /// # Errors
    /// When a source is not what it was when it was built.
    pub fn verify(&self) -> Result<(), AdvisoryError> {
        for (file, dataset) in self.files.iter().zip(&self.pointer.datasets) {
            let found = build::recount(&file.connection).map_err(AdvisoryError::data("read", &file.path))?;
            if found != dataset.digest {
                let (name, expected) = (dataset.name.clone(), dataset.digest);
                return Err(AdvisoryError::Digest { name, found, expected });
            }
        }
        Ok(())
    }

    /// All advisories that name a package, but for withdrawn ones.
    pub(crate) fn candidates(&self, ecosystem: &str, name: &str) -> Result<Vec<Candidate>, AdvisoryError> {
        let mut found = Vec::new();
        for (index, file) in self.files.iter().enumerate() {
            file.candidates(index, ecosystem, name, &mut found)?;
        }
        Ok(found)
    }

    /// Whether any source says anything about an ecosystem.
    pub(crate) fn covers(&self, ecosystem: &str) -> Result<bool, AdvisoryError> {
        let sql = "SELECT 1 FROM affects WHERE ecosystem = ?1 LIMIT 1";
        for file in &self.files {
            let found = file.connection.query_row(sql, [ecosystem], |_| Ok(())).optional();
            if found.map_err(AdvisoryError::data("read", &file.path))?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The text of a candidate.
    pub(crate) fn text(&self, key: (usize, i64)) -> Result<entry::Told, AdvisoryError> {
        let file = &self.files[key.0];
        let failed = || AdvisoryError::data("read", &file.path);
        let sql = "SELECT text FROM advisory WHERE key = ?1";
        let mut statement = file.connection.prepare_cached(sql).map_err(failed())?;
        let mut rows = statement.query([key.1]).map_err(failed())?;
        let row = rows.next().map_err(failed())?.ok_or(rusqlite::Error::QueryReturnedNoRows);
        let text = row.and_then(|row| row.get_ref(0)).map_err(failed())?;
        entry::Told::read(bytes(text)).map_err(|source| {
            let name = format!("advisory {}", key.1);
            AdvisoryError::Entry { path: file.path.clone(), name, source }
        })
    }
}

impl DataFile {
    fn candidates(
        &self,
        index: usize,
        ecosystem: &str,
        name: &str,
        found: &mut Vec<Candidate>,
    ) -> Result<(), AdvisoryError> {
        let failed = || AdvisoryError::data("read", &self.path);
        let sql = "SELECT advisory, scopes FROM affects WHERE ecosystem = ?1 AND name = ?2";
        let mut statement = self.connection.prepare_cached(sql).map_err(failed())?;
        let mut rows = statement.query([ecosystem, name]).map_err(failed())?;
        while let Some(row) = rows.next().map_err(failed())? {
            let key: i64 = row.get(0).map_err(failed())?;
            let scopes = bytes(row.get_ref(1).map_err(failed())?);
            let scopes = serde_json::from_slice(scopes).map_err(|source| {
                let name = name.to_owned();
                AdvisoryError::Entry { path: self.path.clone(), name, source }
            })?;
            found.push(Candidate { key: (index, key), scopes });
        }
        Ok(())
    }
}

/// A column in place; what is no text has no bytes, and that is no JSON.
fn bytes(column: ValueRef<'_>) -> &[u8] {
    column.as_bytes().unwrap_or_default()
}
