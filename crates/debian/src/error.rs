//! What can go wrong, told so that a person knows what to do.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use kiln_model::DebianBase;

use crate::lock::{Archive, Mismatch};
use crate::mirrors::MirrorsError;
use crate::transport::Fault;

/// Why Debian packages cannot be locked, fetched or laid out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Our own disk.
    #[error("cannot {act} {}", path.display())]
    File {
        /// What was done.
        act: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// No HTTP client can be made.
    #[error("cannot set up the HTTP client: {reason}")]
    Client {
        /// Why.
        reason: String,
    },
    /// A mirror's address is none.
    #[error(transparent)]
    Mirrors(#[from] MirrorsError),
    /// No mirror is known at all.
    #[error(
        "no mirror is known for {suite} ({archive}): set `mirror` in the spec or KILN_DEBIAN_MIRROR, or set \
         `updates = false` if the suite has no such archive"
    )]
    NoMirror {
        /// The archive.
        archive: Archive,
        /// The suite.
        suite: String,
    },
    /// The architecture cannot be a Debian one.
    #[error("{name:?} is no Debian architecture: write one such as amd64 or arm64")]
    Architecture {
        /// As it was written.
        name: String,
    },
    /// No mirror gave a file.
    #[error("cannot download {what} ({path}):{attempts}\n{hint}")]
    Download {
        /// What it is.
        what: String,
        /// Its path below the archive's root.
        path: String,
        /// What each address said, a line each.
        attempts: String,
        /// What to do.
        hint: &'static str,
    },
    /// No mirror gave a suite's signed index.
    #[error("cannot read the suite {suite}:{attempts}\n{hint}")]
    Suite {
        /// The suite.
        suite: String,
        /// What each address said, a line each.
        attempts: String,
        /// What to do.
        hint: String,
    },
    /// Something is not in the cache and the network may not be used.
    #[error("{what} are not in the cache, and this is an offline run: run once without --offline")]
    Offline {
        /// What is missing.
        what: String,
    },
    /// A keyring holds no usable keys.
    #[error("cannot use the keyring {name}: {reason}")]
    Keyring {
        /// Which one.
        name: String,
        /// Why.
        reason: String,
    },
    /// An index is not signed at all.
    #[error("{url} is not a signed index: {reason}; check that the mirror's address is right")]
    Unsigned {
        /// Its address.
        url: String,
        /// Why.
        reason: String,
    },
    /// No signature of an index counts.
    #[error(
        "no signature of {url} counts ({keyring}): {reason}; if the archive is not Debian's own, name its keyring \
         in the spec"
    )]
    Signature {
        /// Its address.
        url: String,
        /// The keyring in use.
        keyring: String,
        /// Why each does not count.
        reason: String,
    },
    /// A signed index is not as it must be.
    #[error("{url} is broken: {what}; try another mirror")]
    Release {
        /// Its address.
        url: String,
        /// What is wrong.
        what: String,
    },
    /// A mirror serves one suite under another's name.
    #[error("{url} is the index of {found}, not of {wanted}: the mirror's address or the suite is wrong")]
    OtherSuite {
        /// Its address.
        url: String,
        /// What was asked for.
        wanted: String,
        /// What it is.
        found: String,
    },
    /// A signed index is older than it may be.
    #[error(
        "{url} expired at {until}: the mirror is out of date (or this machine's clock is); try another mirror"
    )]
    Expired {
        /// Its address.
        url: String,
        /// When.
        until: Timestamp,
    },
    /// A suite lacks a component or an architecture.
    #[error("{suite} has no packages of {component} for {architecture}; it has {offered}")]
    NoIndex {
        /// The suite.
        suite: String,
        /// What was asked for.
        component: String,
        /// For which architecture.
        architecture: String,
        /// What there is, `component/architecture`.
        offered: String,
    },
    /// A package list is not as it must be.
    #[error("{path} is broken: {reason}; try another mirror")]
    Index {
        /// Which one.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A text that cannot be a package.
    #[error("{text:?} is no package: write a name such as `curl`, or `curl=7.88.1-10` to pin a version")]
    PackageName {
        /// As it was written.
        text: String,
    },
    /// There is no such package.
    #[error("there is no package {name:?} in the suites of this base; {hint}")]
    NoPackage {
        /// As it was written.
        name: String,
        /// Names like it.
        hint: String,
    },
    /// Several packages provide a name.
    #[error("{name:?} is not a package but provided by several: name one of {providers}")]
    Virtual {
        /// As it was written.
        name: String,
        /// Who provides it.
        providers: String,
    },
    /// A pinned version is not there.
    #[error("there is no version {version} of {name}; the suites have {versions}")]
    NoVersion {
        /// The package.
        name: String,
        /// The pin.
        version: String,
        /// What there is.
        versions: String,
    },
    /// The wish cannot be fulfilled.
    #[error("these packages cannot be installed together:\n{reason}\nchange or unpin one of them")]
    Unsolvable {
        /// The chain of requirements that contradicts itself.
        reason: String,
    },
    /// A lock is of another wish.
    #[error("kiln.lock does not match the spec: run `kiln lock --update`")]
    Mismatch(#[source] Mismatch),
    /// A .deb is not as it must be.
    #[error("the package {name} {version} cannot be unpacked: {reason}")]
    Package {
        /// Its name.
        name: String,
        /// Its version.
        version: String,
        /// What is wrong.
        reason: String,
    },
    /// Two packages hold the same file and neither says that it replaces the other.
    #[error("the packages {first} and {second} both hold /{path}: leave one of them out")]
    FileConflict {
        /// The file.
        path: String,
        /// One package.
        first: String,
        /// The other.
        second: String,
    },
    /// The run was ended from outside.
    #[error("the work on packages was interrupted")]
    Interrupted,
}

/// What one address said.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) url: String,
    pub(crate) fault: Fault,
}

impl Error {
    pub(crate) fn file(act: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::File { act, path: path.to_owned(), source }
    }

    pub(crate) fn download(what: &str, path: &str, attempts: &[Attempt]) -> Self {
        let absent = attempts.iter().all(|attempt| attempt.fault.absent());
        let hint = if attempts.is_empty() {
            "no mirror is known for it: set `mirror` in the spec or KILN_DEBIAN_MIRROR"
        } else if absent {
            "no mirror has it any more: run `kiln lock --update` to take today's version"
        } else {
            "check the network and the mirror, or name another with KILN_DEBIAN_MIRROR, and run again"
        };
        Self::Download { what: what.to_owned(), path: path.to_owned(), attempts: lines(attempts), hint }
    }

    pub(crate) fn release(suite: &str, base: &DebianBase, attempts: &[Attempt]) -> Self {
        let absent = attempts.iter().all(|attempt| attempt.fault.absent());
        let hint = if absent && suite != base.suite {
            format!("if the mirror has no {suite}, set `updates = false` in the spec's debian(…)")
        } else if absent {
            "is the suite's name right?".to_owned()
        } else {
            "check the network and the mirror, or name another with KILN_DEBIAN_MIRROR".to_owned()
        };
        Self::Suite { suite: suite.to_owned(), attempts: lines(attempts), hint }
    }
}

fn lines(attempts: &[Attempt]) -> String {
    attempts.iter().map(|attempt| format!("\n  {}: {}", attempt.url, attempt.fault)).collect()
}
