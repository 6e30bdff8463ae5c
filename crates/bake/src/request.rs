//! What the caller hands in and gets back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kiln_model::{Digest, Name, Recipe};
use kiln_store::{Descriptor, Store};
use serde::Serialize;

/// An image to bake. Nothing but this, the lock, and the bytes of the source decides what comes out.
#[derive(Clone, Debug)]
pub struct BakeRequest<'a> {
    /// All images of the spec: a `copy` may take files from another.
    pub images: &'a BTreeMap<Name, Recipe>,
    /// The one to bake.
    pub name: &'a Name,
    /// The folder of the spec; `kiln.lock` lies in it.
    pub source: &'a Path,
    /// Where the image goes, and the caches.
    pub store: &'a Store,
    /// `SOURCE_DATE_EPOCH`, when it is set.
    pub epoch: Option<i64>,
    /// The present time in seconds since the Unix epoch: judges the validity of signatures, never reaches an
    /// image.
    pub now: i64,
    /// Use what is on this machine and open no connection.
    pub offline: bool,
    /// Whether changed inputs are resolved and written to the lock, as `kiln lock` does, instead of refused.
    /// Sections whose inputs did not change stay as they are either way.
    pub auto_lock: bool,
    /// Threads to use.
    pub jobs: usize,
    /// Where Debian packages come from; found on the machine when `None`.
    pub mirrors: Option<&'a kiln_debian::Mirrors>,
    /// The program that calls [`crate::sandbox::child_main`] first thing; this very program when `None`.
    pub helper: Option<&'a Path>,
}

/// A baked image.
#[derive(Clone, Debug, Serialize)]
pub struct Baked {
    /// The image block.
    pub name: Name,
    /// Digest of the manifest: the image's identity.
    pub digest: Digest,
    /// The manifest, as a store's index lists it.
    #[serde(skip)]
    pub descriptor: Descriptor,
    /// What was done, in order.
    pub steps: Vec<StepReport>,
}

/// What became of one step.
#[derive(Clone, Debug, Serialize)]
pub struct StepReport {
    /// The step as a person wrote it, shortened.
    pub name: String,
    /// Whether it ran or its layer was known.
    pub outcome: Outcome,
    /// Which inputs made it run; empty when it was cached.
    pub why: String,
    /// The layer's blob; `None` when the step changed nothing, or has several (a base image).
    pub layer: Option<Digest>,
    /// Bytes of its layers as stored.
    pub size: u64,
    /// Milliseconds it took.
    pub millis: u64,
}

/// Whether a step was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Carried out.
    Ran,
    /// Taken from the cache.
    Cached,
}

/// What goes on, for a person to see. Calls may come from several threads.
pub trait Progress: Send + Sync {
    /// Something happened.
    fn event(&self, event: Event<'_>);
}

/// One thing that happened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A step begins; it may turn out to be cached.
    Step {
        /// The image.
        image: &'a Name,
        /// Counted from 1.
        number: usize,
        /// How many there are.
        total: usize,
        /// As in [`StepReport::name`].
        name: &'a str,
    },
    /// A step is done.
    Done {
        /// The image.
        image: &'a Name,
        /// What became of it.
        report: &'a StepReport,
    },
    /// Debian packages are resolved, downloaded or unpacked.
    Debian(kiln_debian::Event<'a>),
    /// A base image is asked for, or pulled.
    Pull {
        /// Its reference.
        what: &'a str,
        /// Bytes that are still to come; 0 while that is unknown.
        bytes: u64,
    },
    /// A `run` step printed a line.
    Output {
        /// Without its end.
        line: &'a str,
    },
}

/// Tells nobody.
impl Progress for () {
    fn event(&self, _: Event<'_>) {}
}

impl BakeRequest<'_> {
    /// Where the lock is.
    pub fn lock_path(&self) -> PathBuf {
        self.source.join(crate::lock::FILE)
    }
}
