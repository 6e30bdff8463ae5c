//! The lock: exact packages, by pool path, size and digest. It names no host, so it outlives mirrors; old entries
//! are found on the Debian project's snapshot service by the suites' dates.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use kiln_model::DebianBase;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cache::Cache;
use crate::keyring::Keyring;
use crate::request::{Event, Progress, Request};
use crate::solve::{self, Entry, Universe, Wish};
use crate::suite::{self, Reader};
use crate::transport::Transport;
use crate::{Error, deb};

/// The lock's own format; another number is another Kiln's.
const FORMAT: u32 = 1;

/// Which of Debian's archives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Archive {
    /// The main one.
    #[serde(rename = "debian")]
    Debian,
    /// Security updates.
    #[serde(rename = "debian-security")]
    Security,
}

impl fmt::Display for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Debian => "debian",
            Self::Security => "debian-security",
        })
    }
}

/// What a wish was resolved to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// Format version.
    pub format: u32,
    /// The suites that were read.
    pub suites: Vec<LockedSuite>,
    /// Debian architecture.
    pub architecture: String,
    /// Archive components, sorted.
    pub components: Vec<String>,
    /// Whether the essential set is part of it.
    pub essential: bool,
    /// Whether recommended packages are part of it.
    pub recommends: bool,
    /// What was asked for, sorted.
    pub requested: Vec<String>,
    /// What is installed, sorted by name.
    pub packages: Vec<LockedPackage>,
}

/// One suite as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedSuite {
    /// Such as `bookworm-updates`.
    pub suite: String,
    /// Where it is.
    pub archive: Archive,
    /// The Date of its Release.
    pub date: Timestamp,
    /// SHA-256 of its InRelease file, 64 hex digits.
    pub in_release: String,
}

/// One package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPackage {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture, or `all`.
    pub arch: String,
    /// Which archive has it.
    pub archive: Archive,
    /// Its path below the archive's root.
    pub path: String,
    /// Bytes of the .deb file.
    pub size: u64,
    /// SHA-256 of the .deb file, 64 hex digits.
    pub sha256: String,
    /// Marked `Essential: yes`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub essential: bool,
}

/// How a lock and a wish differ; one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Mismatch(String);

impl Lock {
    /// Whether this lock is of this wish.
    ///
    /// # Errors
    /// The first difference.
    pub fn fits(&self, request: &Request<'_>) -> Result<(), Error> {
        self.matches(request).map_err(Error::Mismatch)
    }

    fn matches(&self, request: &Request<'_>) -> Result<(), Mismatch> {
        let differ = |what: &str, locked: &str, asked: &str| {
            Err(Mismatch(format!("the lock has {what} {locked}, the spec {asked}")))
        };
        if self.format != FORMAT {
            return differ("format", &self.format.to_string(), &format!("needs {FORMAT}"));
        }
        let base: &DebianBase = request.base;
        let suites: Vec<&str> = self.suites.iter().map(|suite| suite.suite.as_str()).collect();
        let asked = suite::names(&base.suite, base.updates);
        let asked: Vec<&str> = asked.iter().map(|(_, name)| name.as_str()).collect();
        if suites != asked {
            return differ("suites", &suites.join(", "), &asked.join(", "));
        }
        let architecture = request.architecture().map_err(|error| Mismatch(error.to_string()))?;
        if self.architecture != architecture {
            return differ("architecture", &self.architecture, &architecture);
        }
        let lists = [
            ("components", &self.components, request.components()),
            ("packages", &self.requested, requested(request.packages)),
        ];
        for (what, locked, asked) in lists {
            if *locked != asked {
                return differ(what, &locked.join(", "), &asked.join(", "));
            }
        }
        let flags = [
            ("essential", self.essential, request.essential()),
            ("recommends", self.recommends, base.recommends),
        ];
        for (what, locked, asked) in flags {
            if locked != asked {
                return differ(what, &locked.to_string(), &asked.to_string());
            }
        }
        self.packages.iter().try_for_each(LockedPackage::check)
    }
}

impl LockedPackage {
    /// Whether a package's fields are what they must be: they become addresses and file names.
    fn check(&self) -> Result<(), Mismatch> {
        let hex =
            self.sha256.len() == 64 && self.sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !hex {
            return Err(Mismatch(format!("its sha256 of {} is none", self.name)));
        }
        let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\\', '?', '#', ':']);
        if !self.path.split('/').all(plain) || self.path.contains(char::is_whitespace) {
            return Err(Mismatch(format!("its path of {} is none: {:?}", self.name, self.path)));
        }
        match deb::is_plain_name(&self.name) && deb::is_plain_name(&self.arch) {
            true => Ok(()),
            false => Err(Mismatch(format!("it names a package {:?}", self.name))),
        }
    }
}

fn requested(packages: &[String]) -> Vec<String> {
    let mut requested: Vec<String> = packages.iter().map(|package| package.trim().to_owned()).collect();
    requested.sort();
    requested.dedup();
    requested
}

/// The newest Date of the lock's suites, in seconds since the Unix epoch: the time of everything that is made of it.
pub fn epoch(lock: &Lock) -> i64 {
    lock.suites.iter().map(|suite| suite.date.as_second()).max().unwrap_or(0)
}

/// Decides which packages fulfil a wish today.
///
/// # Errors
/// When a mirror does not give signed and valid indices, and when the wish cannot be fulfilled.
pub async fn lock(request: &Request<'_>, progress: &dyn Progress) -> Result<Lock, Error> {
    let architecture = request.architecture()?;
    let keyring = request.base.keyring.as_ref().map(|path| request.spec_dir.join(path));
    let keyring = Arc::new(Keyring::load(keyring.as_deref())?);
    let transport = Transport::new(request.mirrors.timeouts())?;
    let cache = Cache::new(request.cache);
    cache.sweep(request.now);
    let reader = Reader {
        request,
        transport: &transport,
        cache: &cache,
        keyring: &keyring,
        architecture: &architecture,
        progress,
    };
    let names = suite::names(&request.base.suite, request.base.updates);
    let reads = names.iter().map(|(archive, name)| reader.read(*archive, name));
    let suites = futures_util::future::try_join_all(reads).await?;
    let lists = suites.iter().flat_map(|suite| {
        suite.indices.iter().map(|index| (suite.locked.archive, index)).collect::<Vec<_>>()
    });
    let universe = Universe::new(&architecture, lists);
    let requested = requested(request.packages);
    let wish =
        Wish { packages: &requested, essential: request.essential(), recommends: request.base.recommends };
    let entries = solve::solve(&universe, wish)?;
    progress.event(Event::Solved { packages: entries.len() });
    let packages = entries.into_iter().map(locked).collect::<Result<Vec<_>, _>>()?;
    Ok(Lock {
        format: FORMAT,
        components: request.components(),
        essential: request.essential(),
        recommends: request.base.recommends,
        requested,
        packages,
        suites: suites.iter().map(|suite| suite.locked.clone()).collect(),
        architecture,
    })
}

fn locked(entry: &Entry<'_>) -> Result<LockedPackage, Error> {
    let row = entry.row;
    let broken =
        |reason: String| Error::Index { path: format!("the package list with {}", row.name()), reason };
    let package = LockedPackage {
        name: row.name().to_owned(),
        version: row.version().to_owned(),
        arch: row.architecture().to_owned(),
        archive: entry.archive,
        path: row.filename().to_owned(),
        size: row.size().parse().map_err(|_| broken(format!("its size is {:?}", row.size())))?,
        sha256: row.sha256().to_owned(),
        essential: row.essential(),
    };
    package.check().map_err(|mismatch| broken(mismatch.to_string()))?;
    Ok(package)
}

/// 64 hex digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
