//! What the tests of this crate share: small repositories with everything real but their size.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "clippy does not take this for a test")]

pub(crate) mod archive;
pub(crate) mod deb;
pub(crate) mod peers;
pub(crate) mod real;
pub(crate) mod repository;
pub(crate) mod server;

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use kiln_debian::{Error, Event, Fetched, Lock, Mirrors, Progress, Request, Timeouts};
use kiln_model::{DebianBase, Scripts};

/// 1 September 2026.
pub(crate) const NOW: i64 = 1_788_220_800;

/// A base on the suite of [`repository::Repository`].
pub(crate) fn base() -> DebianBase {
    DebianBase {
        suite: "testing-suite".to_owned(),
        mirror: None,
        components: vec!["main".to_owned()],
        updates: false,
        architecture: Some("amd64".to_owned()),
        scripts: Scripts::None,
        essential: false,
        recommends: false,
        keyring: Some("keyring.gpg".to_owned()),
    }
}

/// Time limits with which failing takes no time, but for mirrors that are silent.
pub(crate) fn quick() -> Timeouts {
    Timeouts {
        connect: Duration::from_secs(60),
        read: Duration::from_secs(60),
        back_off: Duration::from_millis(1),
        attempts: 3,
    }
}

/// A wish with all that it borrows.
pub(crate) struct Wish {
    pub(crate) base: DebianBase,
    pub(crate) packages: Vec<String>,
    pub(crate) cache: tempfile::TempDir,
    /// Used instead of `cache`, and kept.
    pub(crate) shared: Option<std::path::PathBuf>,
    pub(crate) spec: std::path::PathBuf,
    pub(crate) mirrors: Mirrors,
    pub(crate) offline: bool,
    pub(crate) now: i64,
    pub(crate) events: Events,
}

impl Wish {
    /// A wish for packages from one address, trusting the keyring in `spec`.
    pub(crate) fn new(spec: &Path, mirror: &str, packages: &[&str]) -> Self {
        Self {
            base: base(),
            packages: packages.iter().map(ToString::to_string).collect(),
            cache: tempfile::tempdir().unwrap(),
            shared: None,
            spec: spec.to_owned(),
            mirrors: Mirrors::only(mirror).unwrap().with_timeouts(quick()),
            offline: false,
            now: NOW,
            events: Events::default(),
        }
    }

    pub(crate) fn request(&self) -> Request<'_> {
        Request {
            base: &self.base,
            packages: &self.packages,
            cache: self.shared.as_deref().unwrap_or(self.cache.path()),
            spec_dir: &self.spec,
            offline: self.offline,
            jobs: 4,
            now: self.now,
            mirrors: self.mirrors.clone(),
        }
    }

    pub(crate) fn lock(&self) -> Result<Lock, Error> {
        runtime().block_on(kiln_debian::lock(&self.request(), &self.events))
    }

    pub(crate) fn fetch(&self, lock: &Lock) -> Result<Fetched, Error> {
        runtime().block_on(kiln_debian::fetch(&self.request(), lock, &self.events))
    }

    pub(crate) fn tree(&self) -> Result<kiln_store::Tree, Error> {
        kiln_debian::tree(&self.fetch(&self.lock()?)?, self.base.scripts)
    }

    /// `name version` of what the lock holds.
    pub(crate) fn locked(&self) -> Vec<String> {
        let lock = self.lock().unwrap();
        lock.packages.iter().map(|package| format!("{} {}", package.name, package.version)).collect()
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

/// Remembers what was told.
#[derive(Default)]
pub(crate) struct Events(pub(crate) Mutex<Vec<String>>);

impl Progress for Events {
    fn event(&self, event: Event<'_>) {
        self.0.lock().unwrap().push(format!("{event:?}"));
    }
}

/// The chain of an error's causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(&format!(": {source}"));
        next = source.source();
    }
    text
}
