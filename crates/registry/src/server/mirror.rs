//! The other side of a pull-through cache.
//!
//! The server knows an upstream only by this trait; the client of this crate implements it for real registries.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use crate::digest::ContentDigest;
use crate::name::{Reference, Repository};

/// Why an upstream did not give what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// It answered that there is no such thing.
    #[error("the upstream does not have it")]
    NotFound,
    /// It refused: credentials are wrong or missing, or a rate limit is reached.
    #[error("the upstream refuses: {reason}")]
    Denied {
        /// What it said.
        reason: String,
    },
    /// It cannot be reached, or broke off.
    #[error("the upstream cannot be reached")]
    Away(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A manifest as an upstream gave it.
#[derive(Clone, Debug)]
pub struct UpstreamManifest {
    /// Its media type, from the `Content-Type`.
    pub media_type: String,
    /// Its bytes, exactly.
    pub bytes: Bytes,
}

/// A blob that an upstream is about to give.
pub struct UpstreamBlob {
    /// How many bytes it will be, when the upstream says so.
    pub size: Option<u64>,
    /// The bytes, unverified.
    pub bytes: BoxStream<'static, Result<Bytes, UpstreamError>>,
}

impl fmt::Debug for UpstreamBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamBlob").field("size", &self.size).finish_non_exhaustive()
    }
}

/// A registry to pull through.
pub trait Upstream: fmt::Debug + Send + Sync {
    /// A manifest by tag or digest. The caller verifies digests.
    fn manifest<'a>(
        &'a self,
        repository: &'a Repository,
        reference: &'a Reference,
    ) -> BoxFuture<'a, Result<UpstreamManifest, UpstreamError>>;

    /// A blob as a stream. The caller verifies it.
    fn blob<'a>(
        &'a self,
        repository: &'a Repository,
        digest: &'a ContentDigest,
    ) -> BoxFuture<'a, Result<UpstreamBlob, UpstreamError>>;
}

/// Repositories of this registry that are a cache of an upstream's. Nothing can be pushed into them.
#[derive(Clone, Debug)]
pub struct Mirror {
    /// What the names of these repositories begin with, without a slash at the end: `docker.io` makes
    /// `docker.io/library/debian` the upstream's `library/debian`. Empty: every repository.
    pub prefix: String,
    /// Where to pull from.
    pub upstream: Arc<dyn Upstream>,
    /// How long a tag is served without asking the upstream again.
    pub freshness: Duration,
}

impl Mirror {
    /// The upstream's name of one of this registry's repositories, when the mirror is for it.
    pub fn upstream_name(&self, repository: &Repository) -> Option<Repository> {
        if self.prefix.is_empty() {
            return Some(repository.clone());
        }
        repository.as_str().strip_prefix(self.prefix.as_str())?.strip_prefix('/')?.parse().ok()
    }
}
