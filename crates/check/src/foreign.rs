//! Test files of other tools: reading their YAML, and refusing what they ask for that is not known here.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

/// Larger than any file that a person writes.
const LARGEST: u64 = 1 << 20;

/// Why a file of another tool cannot be run. What is not known is never passed over: a test that silently does nothing
/// proves nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForeignError {
    /// It cannot be read.
    #[error("cannot read {file}")]
    Read {
        /// Which.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is no YAML.
    #[error("{file} is not readable as YAML: {reason}")]
    Yaml {
        /// Which.
        file: PathBuf,
        /// With the place in the file.
        reason: String,
    },
    /// It is not what its format asks for.
    #[error("{file}: {place} {fault}")]
    Form {
        /// Which.
        file: PathBuf,
        /// Such as `file./etc/passwd.mode`.
        place: String,
        /// Such as `must be a list`.
        fault: String,
    },
    /// It asks for something that is not known here.
    #[error("{file}: {place} is not supported; {instead}")]
    Unsupported {
        /// Which.
        file: PathBuf,
        /// Such as `service`.
        place: String,
        /// What to do about it.
        instead: String,
    },
}

/// A document, for reading with places in errors.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) file: PathBuf,
    pub(crate) root: Value,
}

impl Document {
    pub(crate) fn read(file: &Path) -> Result<Self, ForeignError> {
        let fail = |source| ForeignError::Read { file: file.into(), source };
        let mut text = String::new();
        let opened = File::open(file).map_err(fail)?;
        opened.take(LARGEST + 1).read_to_string(&mut text).map_err(fail)?;
        if text.len() as u64 > LARGEST {
            return Err(fail(std::io::Error::other("it is larger than 1 MiB")));
        }
        Self::parse(file, &text)
    }

    pub(crate) fn parse(file: &Path, text: &str) -> Result<Self, ForeignError> {
        let root = serde_saphyr::from_str(text)
            .map_err(|error| ForeignError::Yaml { file: file.into(), reason: error.to_string() })?;
        Ok(Self { file: file.into(), root })
    }

    pub(crate) fn form(&self, place: &str, fault: impl Into<String>) -> ForeignError {
        ForeignError::Form { file: self.file.clone(), place: place.into(), fault: fault.into() }
    }

    pub(crate) fn unsupported(&self, place: &str, instead: &str) -> ForeignError {
        ForeignError::Unsupported { file: self.file.clone(), place: place.into(), instead: instead.into() }
    }

    pub(crate) fn map<'v>(
        &self,
        place: &str,
        value: &'v Value,
    ) -> Result<&'v Map<String, Value>, ForeignError> {
        value.as_object().ok_or_else(|| self.form(place, "must be a map"))
    }

    pub(crate) fn list<'v>(&self, place: &str, value: &'v Value) -> Result<&'v Vec<Value>, ForeignError> {
        value.as_array().ok_or_else(|| self.form(place, "must be a list"))
    }

    /// Refuses keys beside the known ones.
    pub(crate) fn only(
        &self,
        place: &str,
        map: &Map<String, Value>,
        known: &[&str],
    ) -> Result<(), ForeignError> {
        match map.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => {
                let known = known.join(", ");
                Err(self.unsupported(&format!("{place}.{key}"), &format!("known are {known}")))
            }
            None => Ok(()),
        }
    }
}
