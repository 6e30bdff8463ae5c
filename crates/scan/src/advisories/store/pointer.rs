//! `current.json`: which data files are the store. Replacing this one file is what an update consists of for readers.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use kiln_model::Digest;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::advisories::AdvisoryError;

/// Raised whenever a data file of before cannot be read, or would give other findings.
pub(crate) const FORMAT: u32 = 1;
/// The pointer's name in the store's folder.
const NAME: &str = "current.json";
/// A store with more sources than OSV has ecosystems by far; the list stays below this many bytes.
const MAX_BYTES: u64 = 16 << 20;

/// The store's sources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pointer {
    pub(crate) format: u32,
    /// In the order of their names.
    pub(crate) datasets: Vec<Dataset>,
}

/// One source and its data file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dataset {
    /// Such as `osv/PyPI`, `debian` or `alpine/v3.20/main`.
    pub name: String,
    /// The address or path that it was read from last.
    pub origin: String,
    /// Of the entries, whatever files they came in.
    pub digest: Digest,
    /// How many advisories there are, withdrawn ones too.
    pub count: u64,
    /// The date of the newest entry; where entries have none, what the server said.
    pub modified: Option<Timestamp>,
    /// The data file in `data/`.
    pub(crate) file: String,
    /// Of the bytes that it was read from.
    pub(crate) raw: Digest,
    pub(crate) etag: Option<String>,
}

impl Pointer {
    pub(crate) fn empty() -> Self {
        Self { format: FORMAT, datasets: Vec::new() }
    }

    /// Reads the pointer; `None` when there is no store yet.
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>, AdvisoryError> {
        let path = dir.join(NAME);
        let bytes = match std::fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Ok(meta) if meta.len() > MAX_BYTES => {
                let from = path.display().to_string();
                return Err(AdvisoryError::TooLarge { what: "the size", from, limit: MAX_BYTES });
            }
            _ => std::fs::read(&path).map_err(AdvisoryError::file("read", &path))?,
        };
        let parse = |source| AdvisoryError::Pointer { path: path.clone(), source };
        // The format first: another format may have other fields.
        let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(parse)?;
        let found = value.get("format").and_then(serde_json::Value::as_u64).unwrap_or_default();
        if found != u64::from(FORMAT) {
            let found = u32::try_from(found).unwrap_or(u32::MAX);
            return Err(AdvisoryError::Format { dir: dir.to_owned(), found, expected: FORMAT });
        }
        serde_json::from_value(value).map(Some).map_err(parse)
    }

    /// Replaces the pointer at one stroke; `step` is told before and after the stroke.
    pub(crate) fn write(&self, dir: &Path, step: &mut dyn FnMut(&str)) -> Result<(), AdvisoryError> {
        let (path, fresh) = (dir.join(NAME), dir.join("current.json.new"));
        let text = serde_json::to_vec_pretty(self)
            .map_err(|source| AdvisoryError::Pointer { path: path.clone(), source })?;
        let mut file = std::fs::File::create(&fresh).map_err(AdvisoryError::file("write", &fresh))?;
        file.write_all(&text).map_err(AdvisoryError::file("write", &fresh))?;
        file.sync_all().map_err(AdvisoryError::file("write", &fresh))?;
        step("pointer written");
        std::fs::rename(&fresh, &path).map_err(AdvisoryError::file("replace", &path))?;
        step("pointer replaced");
        sync_dir(dir)
    }

    pub(crate) fn dataset(&self, name: &str) -> Option<&Dataset> {
        self.datasets.iter().find(|dataset| dataset.name == name)
    }

    pub(crate) fn put(&mut self, dataset: Dataset) {
        self.datasets.retain(|known| known.name != dataset.name);
        self.datasets.push(dataset);
        self.datasets.sort_by(|left, right| left.name.cmp(&right.name));
    }

    /// One digest over all sources.
    pub(crate) fn digest(&self) -> Digest {
        let mut hash = Sha256::new();
        hash.update(FORMAT.to_le_bytes());
        for dataset in &self.datasets {
            hash.update((dataset.name.len() as u64).to_le_bytes());
            hash.update(dataset.name.as_bytes());
            hash.update(dataset.digest.as_bytes());
        }
        Digest::from_bytes(hash.finalize().into())
    }
}

/// Where the data files are.
pub(crate) fn data_dir(dir: &Path) -> PathBuf {
    dir.join("data")
}

/// Brings a folder's names to the disk.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), AdvisoryError> {
    let folder = std::fs::File::open(dir).map_err(AdvisoryError::file("open", dir))?;
    folder.sync_all().map_err(AdvisoryError::file("write", dir))
}
