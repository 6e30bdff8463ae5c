//! `kiln.lock`: every outside input of the images of a spec, pinned.
//!
//! Pretty-printed JSON with sorted images, so that a change of one package is a change of its lines:
//!
//! ```json
//! {
//!   "version": 1,
//!   "images": {
//!     "web": { "debian": { "suites": […], "packages": […] } },
//!     "api": { "oci": { "reference": "ghcr.io/acme/base:1", "digest": "sha256:…" } }
//!   }
//! }
//! ```
//!
//! A bake uses sections as they stand. A missing section is resolved and written. A section that does not fit
//! its image any more is an error, or resolved anew when the caller says so; sections that fit are never
//! touched unless an update is asked for.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use kiln_model::{Digest, Name};
use serde::{Deserialize, Serialize};

/// The lock's file name, beside the spec.
pub const FILE: &str = "kiln.lock";

/// The format this Kiln reads and writes.
const VERSION: u32 = 1;

/// The whole file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockFile {
    /// Format version.
    pub version: u32,
    /// Sections by image block.
    pub images: BTreeMap<Name, Section>,
}

/// What one image is pinned to; an image on `scratch` has no section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Section {
    /// The packages of a `debian(…)` base.
    Debian(kiln_debian::Lock),
    /// The image of an `oci(…)` base.
    Oci(OciPin),
}

/// A registry reference and the image it stood for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OciPin {
    /// As the spec has it.
    pub reference: String,
    /// The manifest, or the index when the image is made for several platforms.
    pub digest: Digest,
}

/// Why the lock cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// The system refused.
    #[error("cannot {act} the lock {}", path.display())]
    Io {
        /// What was being done.
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// It is not JSON of the right shape.
    #[error(
        "the lock {} cannot be understood; take it back from version control, or delete it and run `kiln lock`",
        path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The parser's answer, with line and column.
        #[source]
        source: serde_json::Error,
    },
    /// Another Kiln wrote it.
    #[error(
        "the lock {} has format {found}, this Kiln reads format {VERSION}; use the Kiln that wrote it, \
         or delete it and run `kiln lock`",
        path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
    /// The spec asks for something else than the lock pins.
    #[error("the lock does not fit image {image:?}: {difference}; run `kiln lock` to resolve what changed")]
    Outdated {
        /// The image block.
        image: Name,
        /// What differs, in words.
        difference: String,
    },
}

impl Default for LockFile {
    fn default() -> Self {
        Self { version: VERSION, images: BTreeMap::new() }
    }
}

/// Reads a lock; `None` when there is no file.
pub fn read(path: &Path) -> Result<Option<LockFile>, LockError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(LockError::Io { act: "read", path: path.into(), source }),
    };
    let malformed = |source| LockError::Malformed { path: path.into(), source };
    #[derive(Deserialize)]
    struct Head {
        version: u64,
    }
    let head: Head = serde_json::from_slice(&bytes).map_err(malformed)?;
    if head.version != u64::from(VERSION) {
        return Err(LockError::Version { path: path.into(), found: head.version });
    }
    serde_json::from_slice(&bytes).map(Some).map_err(malformed)
}

/// Writes a lock: whole and on the disk, or not at all.
pub fn write(path: &Path, lock: &LockFile) -> Result<(), LockError> {
    let fault = |act| move |source| LockError::Io { act, path: path.to_owned(), source };
    let mut bytes = serde_json::to_vec_pretty(lock)
        .map_err(|source| LockError::Malformed { path: path.into(), source })?;
    bytes.push(b'\n');
    let folder = path.parent().unwrap_or(Path::new("."));
    let temporary = folder.join(format!(".{FILE}.{}", std::process::id()));
    let result = (|| {
        let mut file = File::create(&temporary)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result.map_err(fault("write"))
}
