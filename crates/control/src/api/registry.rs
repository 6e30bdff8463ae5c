//! The registry that runs with the control plane, or on its own.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use kiln_model::{Digest, Span};
use kiln_registry::digest::ContentDigest;
use kiln_registry::name::{Repository, Tag};
use kiln_registry::server::GcReport;
use serde::{Deserialize, Serialize};

/// Where the registry is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryPlace {
    /// `http://127.0.0.1:5000`.
    pub url: String,
    /// What it listens on.
    pub address: SocketAddr,
    /// The process that serves it.
    pub pid: u32,
}

/// The registry and what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryAnswer {
    /// Where it is reached; `None` when it was opened only to look.
    pub place: Option<RegistryPlace>,
    /// The folder of its database.
    pub data: PathBuf,
    /// Its repositories, by name.
    pub repositories: Vec<RepositoryStatus>,
}

/// A repository at a glance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryStatus {
    /// Its name.
    pub name: Repository,
    /// How many tags it has.
    pub tags: u64,
    /// How many manifests, with and without a tag.
    pub manifests: u64,
    /// Bytes of its blobs and manifests, each counted once.
    pub bytes: u64,
}

/// Which repository's tags.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagsQuery {
    /// Its name.
    pub repository: Repository,
}

/// A repository's tags.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagsAnswer {
    /// Its name.
    pub repository: Repository,
    /// Its tags, by name.
    pub tags: Vec<TagStatus>,
}

/// A tag at a glance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagStatus {
    /// Its name.
    pub tag: Tag,
    /// The manifest it points at.
    pub digest: ContentDigest,
    /// The manifest's media type.
    pub media_type: String,
    /// When it was set, milliseconds since the Unix epoch.
    pub set_ms: u64,
}

/// Frees what the registry does not need.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectRequest {
    /// Only tell what would go.
    #[serde(default)]
    pub dry_run: bool,
    /// Leave alone what is younger; the registry's own grace unless given.
    #[serde(default)]
    pub grace: Option<Span>,
    /// Let no manifest go, tagged or not: free only bytes that no repository has.
    #[serde(default)]
    pub keep_manifests: bool,
    /// Images that the store still lists but is about to forget: they keep nothing.
    #[serde(default)]
    pub leaving: BTreeSet<Digest>,
    /// Who asks.
    #[serde(default)]
    pub author: String,
}

/// What went, or would go.
pub type CollectAnswer = GcReport;

/// Makes an image of the store a repository's, without copying it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkRequest {
    /// The image.
    pub image: Digest,
    /// The repository; made when there is none.
    pub repository: Repository,
    /// Under which tag.
    pub tag: Tag,
    /// Who asks.
    #[serde(default)]
    pub author: String,
}

/// It is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkAnswer {
    /// The image.
    pub image: Digest,
    /// The repository.
    pub repository: Repository,
    /// The tag.
    pub tag: Tag,
    /// What to pull it by, where the registry is served: `127.0.0.1:5000/team/shop:1`.
    pub reference: Option<String>,
}
