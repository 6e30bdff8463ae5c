//! What the caller hands in: the wish, where to keep files, and how to tell a person what goes on.

use std::path::Path;
use std::time::Duration;

use kiln_model::{DebianBase, Scripts};

use crate::{Error, Mirrors};

/// A wish for packages, and what is needed to fulfil it. Nothing else is read from the environment.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Suite and options.
    pub base: &'a DebianBase,
    /// Names, with `=version` where a version is pinned.
    pub packages: &'a [String],
    /// A folder of our own for indices, downloads and unpacked packages; it may be deleted at any time.
    pub cache: &'a Path,
    /// The folder that `base.keyring` is relative to.
    pub spec_dir: &'a Path,
    /// Use the cache only.
    pub offline: bool,
    /// Downloads at a time; 0 counts as [`Request::DEFAULT_JOBS`].
    pub jobs: usize,
    /// Seconds since the Unix epoch, to judge expiry of keys, signatures and indices.
    pub now: i64,
    /// Where packages come from.
    pub mirrors: Mirrors,
}

impl Request<'_> {
    /// Downloads at a time when the caller has no wish: enough to hide the latency of small packages, few enough
    /// for any public mirror.
    pub const DEFAULT_JOBS: usize = 8;

    pub(crate) fn jobs(&self) -> usize {
        if self.jobs == 0 { Self::DEFAULT_JOBS } else { self.jobs }
    }

    /// The Debian architecture to install for.
    pub(crate) fn architecture(&self) -> Result<String, Error> {
        let name = match &self.base.architecture {
            Some(name) => name.clone(),
            None => machine_architecture(),
        };
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if name.is_empty() || name.starts_with('-') || !name.bytes().all(plain) {
            return Err(Error::Architecture { name });
        }
        Ok(name)
    }

    /// Whether the essential set is part of the wish.
    pub(crate) fn essential(&self) -> bool {
        self.base.essential || self.base.scripts == Scripts::Run
    }

    /// Components without duplicates; `main` when none is named.
    pub(crate) fn components(&self) -> Vec<String> {
        let mut components = self.base.components.clone();
        if components.is_empty() {
            components.push("main".to_owned());
        }
        components.sort();
        components.dedup();
        components
    }
}

/// The machine's own architecture by Debian's name.
fn machine_architecture() -> String {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "i386",
        "arm" => "armhf",
        "powerpc64" => "ppc64el",
        other => other,
    }
    .to_owned()
}

/// How long a mirror may be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the connection stands.
    pub connect: Duration,
    /// Between two pieces of an answer, and until its first.
    pub read: Duration,
    /// Before the first repetition; doubles each time.
    pub back_off: Duration,
    /// How often one mirror is asked for one file.
    pub attempts: u32,
}

impl Default for Timeouts {
    /// apt waits 30 s for either and asks four times; a second between two requests is enough for a restart.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            read: Duration::from_secs(30),
            back_off: Duration::from_millis(250),
            attempts: 4,
        }
    }
}

/// What goes on, for a person to see. Calls come from several threads.
pub trait Progress: Send + Sync {
    /// Something happened.
    fn event(&self, event: Event<'_>);
}

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The index of a suite is being read.
    Index {
        /// Such as `bookworm-security`.
        suite: &'a str,
    },
    /// The solver has decided.
    Solved {
        /// Number of packages.
        packages: usize,
    },
    /// Downloads begin.
    Fetching {
        /// Packages that are not in the cache.
        packages: usize,
        /// Their size together.
        bytes: u64,
    },
    /// A piece of a package has arrived.
    Received {
        /// Its name.
        package: &'a str,
        /// Number of new bytes.
        bytes: u64,
    },
    /// A mirror failed and is asked again, or the next one is.
    Retry {
        /// The address.
        url: &'a str,
        /// What went wrong.
        why: &'a str,
    },
    /// A package is unpacked and verified.
    Unpacked {
        /// Its name.
        package: &'a str,
    },
}

/// Tells nobody.
impl Progress for () {
    fn event(&self, _: Event<'_>) {}
}
