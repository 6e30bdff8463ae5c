//! What is answered without asking the database or the disk: hot manifests, links of blobs, small blobs, leases.
//!
//! A reader that fills a cache holds the gate open from before it reads the database until it has filled the
//! cache; a writer closes the gate after its commit and removes what it changed. So a cache never keeps what was
//! read before a commit beyond the answer to that commit.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;
use http::HeaderValue;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::digest::ContentDigest;
use crate::name::{Reference, Repository};

/// Bytes of manifests kept: 16 MiB are some 8,000 manifests of ordinary size.
const MANIFESTS: u64 = 16 << 20;
/// Bytes of small blobs kept.
const SMALL: u64 = 8 << 20;
/// Blobs up to this size are kept: configurations, signatures, statements.
pub(crate) const SMALL_BLOB: u64 = 64 << 10;
/// Links and leases kept, at about 200 bytes each.
const LINKS: usize = 20_000;

/// A manifest ready to be sent.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) media_type: HeaderValue,
    /// The digest as text.
    pub(crate) digest_text: HeaderValue,
    pub(crate) bytes: Bytes,
    /// When a mirror last asked its upstream about the tag.
    pub(crate) checked: u64,
}

/// What a write changed.
#[derive(Clone, Debug)]
pub(crate) enum Stale {
    /// What a reference leads to.
    Manifest(Repository, Reference),
    /// Whether a repository links a blob.
    Link(Repository, ContentDigest),
}

/// Weighs entries by their bytes and what they cost besides.
#[derive(Clone)]
pub(crate) struct ByBytes;

impl Weighter<(Repository, Reference), Arc<Served>> for ByBytes {
    fn weight(&self, _: &(Repository, Reference), value: &Arc<Served>) -> u64 {
        value.bytes.len() as u64 + 400
    }
}

impl Weighter<ContentDigest, Bytes> for ByBytes {
    fn weight(&self, _: &ContentDigest, value: &Bytes) -> u64 {
        value.len() as u64 + 200
    }
}

/// All caches of one registry.
pub(crate) struct Caches {
    gate: RwLock<()>,
    pub(crate) manifests: Cache<(Repository, Reference), Arc<Served>, ByBytes>,
    pub(crate) links: Cache<(Repository, ContentDigest), u64>,
    pub(crate) small: Cache<ContentDigest, Bytes, ByBytes>,
    /// When a digest was last leased in the database.
    pub(crate) leases: Cache<ContentDigest, u64>,
}

impl Caches {
    pub(crate) fn new() -> Self {
        Self {
            gate: RwLock::new(()),
            manifests: Cache::with_weighter(8_000, MANIFESTS, ByBytes),
            links: Cache::new(LINKS),
            small: Cache::with_weighter(2_000, SMALL, ByBytes),
            leases: Cache::new(LINKS),
        }
    }

    /// While this is held, no write ends; see the module's words.
    pub(crate) fn steady(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what a committed write changed.
    pub(crate) fn forget(&self, stale: &[Stale]) {
        if stale.is_empty() {
            return;
        }
        let _closed = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        for one in stale {
            match one {
                Stale::Manifest(repository, reference) => {
                    self.manifests.remove(&(repository.clone(), reference.clone()));
                }
                Stale::Link(repository, digest) => {
                    self.links.remove(&(repository.clone(), *digest));
                }
            }
        }
    }
}
