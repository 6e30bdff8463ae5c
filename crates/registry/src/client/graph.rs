//! What an image consists of: its manifests, parts before wholes, and their blobs.

use std::collections::HashSet;

use bytes::Bytes;
use kiln_model::Digest;
use kiln_store::oci::{self, Index, Manifest};
use kiln_store::{Descriptor, Store, StoreError};

use super::manifest::{Document, media_type};
use super::transport::Place;
use super::{Client, RegistryError};
use crate::name::{ImageReference, Reference};

/// Indexes within indexes.
const DEPTH: usize = 4;
/// Manifests of one image. BuildKit writes two for each platform, and there are about twenty platforms.
const MANIFESTS: usize = 500;
/// Blobs of one image: the manifests above with more layers than any of today's.
const BLOBS: usize = 20_000;

/// Which of an index's images is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The one for this machine.
    #[default]
    Host,
    /// The one for Linux on this architecture, as GOARCH writes it.
    Architecture(String),
    /// All of them, with the index.
    All,
}

/// Where an image is read from.
#[derive(Clone)]
pub(super) enum Origin {
    /// A store.
    Store(Store),
    /// A repository; documents that the store has are not asked for.
    Remote { client: Client, place: Place, store: Option<Store> },
}

/// All of an image.
#[derive(Debug)]
pub(super) struct Graph {
    /// Manifests and indexes that the image lists, parts before wholes.
    pub(super) parts: Vec<Document>,
    /// The image itself.
    pub(super) image: Document,
    /// Configurations and layers, each once.
    pub(super) blobs: Vec<Descriptor>,
    /// What evidence may be about: what was asked for, and what was chosen of it.
    pub(super) subjects: Vec<Digest>,
}

impl Graph {
    /// All manifests and indexes, parts before wholes.
    pub(super) fn documents(&self) -> impl Iterator<Item = &Document> {
        self.parts.iter().chain([&self.image])
    }
}

impl Origin {
    /// A document by its digest.
    pub(super) async fn document(&self, digest: &Digest) -> Result<Document, RegistryError> {
        let store = match self {
            Self::Store(store) => Some(store),
            Self::Remote { store, .. } => store.as_ref().filter(|store| store.has(digest)),
        };
        if let Some(store) = store {
            return stored(store, digest);
        }
        match self {
            Self::Remote { client, place, .. } => {
                client.manifest(place, &Reference::Digest((*digest).into())).await
            }
            Self::Store(store) => stored(store, digest),
        }
    }

    /// What an image's name stands for.
    pub(super) async fn top(&self, image: &ImageReference) -> Result<Document, RegistryError> {
        let sha256 = image.digest.and_then(|digest| digest.as_sha256());
        match (self, sha256) {
            (_, Some(digest)) => self.document(&digest).await,
            (Self::Remote { client, place, .. }, None) => client.manifest(place, &image.reference()).await,
            (Self::Store(store), None) => stored(store, &store.resolve(&image.to_string())?.digest),
        }
    }
}

fn stored(store: &Store, digest: &Digest) -> Result<Document, RegistryError> {
    let bytes = Bytes::from(store.read_verified(digest)?);
    let kind = media_type(&bytes, None).ok_or_else(|| {
        let path = store.blob_path(digest);
        let reason = "it is neither a manifest nor an index".to_owned();
        StoreError::Corrupt { path, reason, remedy: "name an image of `kiln image list`" }
    })?;
    Ok(Document::new(bytes, &kind))
}

/// Finds out all that belongs to an image.
pub(super) async fn survey(
    origin: &Origin,
    name: &str,
    top: Document,
    choice: &Choice,
) -> Result<Graph, RegistryError> {
    let mut subjects = vec![top.descriptor.digest];
    let chosen = match choice {
        Choice::All => top,
        Choice::Host => choose(origin, name, top, oci::host_architecture()).await?,
        Choice::Architecture(architecture) => choose(origin, name, top, architecture).await?,
    };
    if chosen.descriptor.digest != subjects[0] {
        subjects.push(chosen.descriptor.digest);
    }
    let mut walk = Walk { origin, name, seen: HashSet::new(), documents: Vec::new(), blobs: Vec::new() };
    walk.visit(&chosen).await?;
    if matches!(choice, Choice::All) {
        subjects.extend(walk.documents.iter().map(|document| document.descriptor.digest));
    }
    Ok(Graph { parts: walk.documents, image: chosen, blobs: walk.blobs, subjects })
}

async fn choose(
    origin: &Origin,
    name: &str,
    top: Document,
    architecture: &str,
) -> Result<Document, RegistryError> {
    let mut document = top;
    for _ in 0..DEPTH {
        if !document.descriptor.is_index() {
            break;
        }
        let index: Index = parse(name, &document)?;
        let fits = |entry: &&Descriptor| {
            entry.platform.as_ref().is_some_and(|p| p.os == "linux" && p.architecture == architecture)
        };
        let found = index.manifests.iter().find(fits);
        let found = found.or_else(|| index.manifests.iter().find(|entry| entry.platform.is_none()));
        let chosen = found.ok_or_else(|| RegistryError::Platform {
            reference: name.into(),
            architecture: architecture.into(),
            known: platforms(&index),
        })?;
        document = sized(origin, name, chosen).await?;
    }
    Ok(document)
}

fn platforms(index: &Index) -> String {
    let known = index.manifests.iter().filter_map(|entry| entry.platform.as_ref());
    let known: Vec<String> =
        known.take(20).map(|platform| format!("{}/{}", platform.os, platform.architecture)).collect();
    if known.is_empty() { "nothing at all".into() } else { known.join(", ") }
}

/// A document that must have the length it is listed with.
async fn sized(origin: &Origin, name: &str, listed: &Descriptor) -> Result<Document, RegistryError> {
    let document = origin.document(&listed.digest).await?;
    if document.descriptor.size != listed.size {
        let reason = format!("it has {} bytes and is listed with {}", document.descriptor.size, listed.size);
        return Err(not_understood(name, &document, reason));
    }
    Ok(document)
}

struct Walk<'a> {
    origin: &'a Origin,
    name: &'a str,
    seen: HashSet<Digest>,
    documents: Vec<Document>,
    blobs: Vec<Descriptor>,
}

impl Walk<'_> {
    /// Parts before wholes, without recursion: what is listed is read before it is looked into.
    async fn visit(&mut self, top: &Document) -> Result<(), RegistryError> {
        let root = top.descriptor.digest;
        self.seen.insert(root);
        let mut levels = vec![self.parts(top, root).await?];
        while let Some(level) = levels.last().filter(|level| !level.is_empty()) {
            let mut below = Vec::new();
            for document in level {
                below.extend(self.parts(document, root).await?);
                if levels.iter().map(Vec::len).sum::<usize>() + below.len() > MANIFESTS {
                    return Err(self.too_many("manifests", MANIFESTS));
                }
            }
            if levels.len() > DEPTH {
                return Err(self.too_many("levels of indexes", DEPTH));
            }
            levels.push(below);
        }
        self.documents = levels.into_iter().rev().flatten().collect();
        Ok(())
    }

    /// What an index lists; of a manifest the blobs are noted.
    async fn parts(&mut self, document: &Document, root: Digest) -> Result<Vec<Document>, RegistryError> {
        if !document.descriptor.is_index() {
            let manifest: Manifest = parse(self.name, document)?;
            for blob in manifest.layers.into_iter().chain([manifest.config]) {
                if self.seen.insert(blob.digest) {
                    self.blobs.push(Descriptor::new(&blob.media_type, blob.digest, blob.size));
                }
            }
            return if self.blobs.len() > BLOBS {
                Err(self.too_many("blobs", BLOBS))
            } else {
                Ok(Vec::new())
            };
        }
        let index: Index = parse(self.name, document)?;
        if index.manifests.len() > MANIFESTS {
            return Err(self.too_many("manifests", MANIFESTS));
        }
        let mut parts = Vec::new();
        for entry in &index.manifests {
            if !self.seen.insert(entry.digest) {
                continue;
            }
            if let Origin::Store(store) = self.origin
                && !store.has(&entry.digest)
            {
                return Err(RegistryError::Incomplete { image: root, missing: entry.digest });
            }
            parts.push(sized(self.origin, self.name, entry).await?);
        }
        Ok(parts)
    }

    fn too_many(&self, what: &'static str, limit: usize) -> RegistryError {
        RegistryError::TooMany { reference: self.name.into(), what, limit }
    }
}

fn parse<T: serde::de::DeserializeOwned>(name: &str, document: &Document) -> Result<T, RegistryError> {
    serde_json::from_slice(&document.bytes).map_err(|error| not_understood(name, document, error.to_string()))
}

fn not_understood(name: &str, document: &Document, reason: String) -> RegistryError {
    let host = name.split('/').next().unwrap_or_default().to_owned();
    let what = format!("the manifest {} of {name}", document.descriptor.digest);
    RegistryError::Document { task: super::Task { act: "read", what, host }, reason }
}
