//! What was done to the registry, kept for whoever keeps a record of it.
//!
//! An act is written down in the transaction that does it and stays there until it was taken: whoever keeps the record
//! reads [`super::Registry::acts`], makes them durable where they belong and then calls
//! [`super::Registry::forget_acts`]. One that dies in between reads them again, under the same numbers.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::digest::ContentDigest;
use crate::name::{Repository, Tag};

/// Who is told that there are acts to be taken. Called on the threads that serve: it must not block.
pub type Told = Arc<dyn Fn() + Send + Sync>;

/// Something that somebody did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The user who logged in; the client's address where nobody did.
    pub who: String,
    /// What was done.
    pub deed: Deed,
}

/// Who does something, and when.
#[derive(Clone, Debug)]
pub(crate) struct Author {
    pub(crate) at_ms: u64,
    pub(crate) who: String,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Deed {
    /// A repository has a manifest that it did not have.
    Pushed {
        /// Which repository.
        repository: Repository,
        /// The manifest.
        digest: ContentDigest,
        /// The tag it was pushed under.
        tag: Option<Tag>,
    },
    /// A tag points where it did not point.
    Tagged {
        /// Of which repository.
        repository: Repository,
        /// Which.
        tag: Tag,
        /// Where it points.
        digest: ContentDigest,
        /// Where it pointed.
        before: Option<ContentDigest>,
    },
    /// A tag is gone.
    Untagged {
        /// Of which repository.
        repository: Repository,
        /// Which.
        tag: Tag,
        /// Where it pointed.
        digest: ContentDigest,
    },
    /// A manifest is gone from a repository.
    Deleted {
        /// Which repository.
        repository: Repository,
        /// The manifest.
        digest: ContentDigest,
        /// The tags that went with it.
        tags: Vec<Tag>,
    },
    /// A collection removed something.
    Collected {
        /// Manifests that left their repositories.
        manifests: usize,
        /// Files that were removed.
        files: usize,
        /// Uploads that were given up.
        uploads: usize,
        /// Bytes that are free now.
        bytes: u64,
    },
}

/// Where a request comes from, beside what it says about itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Says who a request is from.
pub(crate) fn who(user: Option<&str>, peer: Option<&Peer>) -> String {
    match (user, peer) {
        (Some(user), _) => user.to_owned(),
        (None, Some(Peer(address))) => address.to_canonical().to_string(),
        (None, None) => "unknown".to_owned(),
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pushed { repository, digest, .. } => write!(f, "pushed {digest} into {repository}"),
            Self::Tagged { repository, tag, digest, .. } => {
                write!(f, "tagged {repository}:{tag} as {digest}")
            }
            Self::Untagged { repository, tag, .. } => write!(f, "deleted the tag {repository}:{tag}"),
            Self::Deleted { repository, digest, .. } => write!(f, "deleted {digest} from {repository}"),
            Self::Collected { bytes, .. } => write!(f, "collected {bytes} bytes"),
        }
    }
}
