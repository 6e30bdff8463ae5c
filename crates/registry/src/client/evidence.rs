//! Signatures, attestations and other documents about an image, and how registries keep them.
//!
//! Three ways exist, and all are read and written, so that every tool finds what it knows:
//! - the referrers API of the distribution specification 1.1: a manifest with a `subject`, listed by the registry;
//! - for registries without it, an index under the tag `sha256-<hex>` that the clients keep up to date ("Referrers
//!   Tag Schema");
//! - cosign's tags `sha256-<hex>.sig`, `.att` and `.sbom`: one manifest with a layer for each document. Those have no
//!   subject; in the store they are listed by the digest in their tag.

use std::collections::HashSet;

use bytes::Bytes;
use kiln_model::Digest;
use kiln_store::oci::{Index, Manifest};
use kiln_store::{Descriptor, Store};
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};

use super::auth::Scope;
use super::graph::Origin;
use super::manifest::{Document, PAGES};
use super::transport::Place;
use super::{Client, RegistryError, Task};
use crate::name::{EMPTY, INDEX, MANIFEST, Reference, is_index};

/// Documents about one image. Each costs a request or two.
const REFERRERS: usize = 1000;

/// A page of referrers is refused beyond this.
const PAGE_LIMIT: usize = 4 << 20;

const SIGNATURE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";
/// cosign wants this annotation on every layer; on those of attestations it is empty.
const SIGNATURE_ANNOTATION: &str = "dev.cosignproject.cosign/signature";

/// cosign's tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shelf {
    Signatures,
    Attestations,
    Sbom,
}

impl Shelf {
    const ALL: [Self; 3] = [Self::Signatures, Self::Attestations, Self::Sbom];

    fn suffix(self) -> &'static str {
        match self {
            Self::Signatures => "sig",
            Self::Attestations => "att",
            Self::Sbom => "sbom",
        }
    }

    fn tag(self, subject: &Digest) -> String {
        format!("sha256-{}.{}", subject.hex(), self.suffix())
    }

    /// Whether a layer is of the kind that belongs there.
    fn takes(self, layer: &Descriptor) -> bool {
        match self {
            Self::Signatures => layer.media_type == SIGNATURE,
            Self::Attestations => layer.media_type == ENVELOPE,
            Self::Sbom => layer.media_type != SIGNATURE && layer.media_type != ENVELOPE,
        }
    }
}

/// A document about an image.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) document: Document,
    pub(super) manifest: Manifest,
    /// The image it is about.
    pub(super) subject: Digest,
    /// Found only under one of cosign's tags.
    shelf: Option<Shelf>,
}

impl Item {
    /// Everything that it consists of, beside its manifest.
    pub(super) fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        let mut seen = HashSet::new();
        let all = self.manifest.layers.iter().chain([&self.manifest.config]);
        all.filter(move |blob| seen.insert(blob.digest))
    }

    /// Whether it says itself what it is about.
    fn refers(&self) -> bool {
        self.manifest.subject.as_ref().is_some_and(|subject| subject.digest == self.subject)
    }
}

impl Client {
    /// The manifests that refer to another one, by the registry's own list or the one that clients keep. The artifact
    /// type, when given, is the only one that is listed.
    ///
    /// # Errors
    /// When the registry refuses or sends no list, or one of more than a thousand entries.
    pub async fn referrers(
        &self,
        place: &Place,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let listed = match self.listed(place, subject, artifact_type).await? {
            Some(listed) => listed,
            None => {
                self.fallback(place, subject).await?.map(|(index, _)| index.manifests).unwrap_or_default()
            }
        };
        let fits = |entry: &Descriptor| {
            artifact_type.is_none_or(|wanted| entry.artifact_type.as_deref() == Some(wanted))
        };
        let mut seen = HashSet::new();
        Ok(listed.into_iter().filter(|entry| fits(entry) && seen.insert(entry.digest)).collect())
    }

    /// The registry's own list; `None` when it keeps none.
    async fn listed(
        &self,
        place: &Place,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Option<Vec<Descriptor>>, RegistryError> {
        let task = Task::at("list", place, format_args!("what refers to {subject}"));
        let scope = Scope::pull(place);
        let mut call = self.plain(&task, place, &scope, Method::GET, &format!("referrers/{subject}"))?;
        if let Some(wanted) = artifact_type {
            call.url.query_pairs_mut().append_pair("artifactType", wanted);
        }
        call.headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(INDEX))]);
        let mut listed = Vec::new();
        for _ in 0..PAGES {
            let (page, next) = match self.page::<Page>(&call, PAGE_LIMIT).await {
                Ok(page) => page,
                Err(error) if listed.is_empty() && is_unknown(&error) => return Ok(None),
                Err(error) => return Err(error),
            };
            listed.extend(page.entries());
            if listed.len() > REFERRERS {
                break;
            }
            let Some(next) = next else { return Ok(Some(listed)) };
            call.url = next;
        }
        let reference = format!("{place}@{subject}");
        Err(RegistryError::TooMany { reference, what: "referrers", limit: REFERRERS })
    }

    /// The list that clients keep, and its descriptor.
    async fn fallback(
        &self,
        place: &Place,
        subject: &Digest,
    ) -> Result<Option<(Index, Descriptor)>, RegistryError> {
        let Some(document) = self.tagged(place, &format!("sha256-{}", subject.hex())).await? else {
            return Ok(None);
        };
        if !document.descriptor.is_index() {
            return Ok(None);
        }
        let page: Page = serde_json::from_slice(&document.bytes).map_err(|error| {
            let task = Task::at("list", place, format_args!("what refers to {subject}"));
            RegistryError::Document { task, reason: error.to_string() }
        })?;
        let index = Index { manifests: page.entries().collect(), ..Index::default() };
        if index.manifests.len() > REFERRERS {
            let reference = format!("{place}@{subject}");
            return Err(RegistryError::TooMany { reference, what: "referrers", limit: REFERRERS });
        }
        Ok(Some((index, document.descriptor)))
    }

    /// What is under a tag, if anything.
    async fn tagged(&self, place: &Place, tag: &str) -> Result<Option<Document>, RegistryError> {
        let name: Reference = tag
            .parse()
            .map_err(|source| RegistryError::Reference { text: format!("{place}:{tag}"), source })?;
        match self.manifest(place, &name).await {
            Ok(document) => Ok(Some(document)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Adds a manifest to the list that clients keep. Two clients at once may each undo the other's change (the
    /// specification knows no better), so the result is looked at, and the change made again.
    pub(super) async fn list_in_fallback(
        &self,
        place: &Place,
        subject: &Digest,
        entry: &Descriptor,
    ) -> Result<(), RegistryError> {
        let name = tag(place, &format!("sha256-{}", subject.hex()))?;
        for _ in 0..self.transport.options.retry.attempts.max(1) {
            let mut index = self.fallback(place, subject).await?.map(|(index, _)| index).unwrap_or_default();
            if index.manifests.iter().any(|known| known.digest == entry.digest) {
                return Ok(());
            }
            index.manifests.push(entry.clone());
            let bytes = json(&index)?;
            self.put_manifest(place, &name, &Document::new(bytes, INDEX)).await?;
        }
        let listed =
            self.fallback(place, subject).await?.map(|(index, _)| index.manifests).unwrap_or_default();
        if listed.iter().any(|known| known.digest == entry.digest) {
            return Ok(());
        }
        let task = Task::at("list", place, format_args!("the evidence {}", entry.digest));
        let reason = "others change the list all the time; try again".to_owned();
        Err(RegistryError::Document { task, reason })
    }

    /// Puts documents where cosign finds them, beside those that are there. Their blobs are in the repository.
    /// Returns the manifest to be tagged, or `None` when all are there already.
    pub(super) async fn shelve(
        &self,
        place: &Place,
        shelf: Shelf,
        subject: &Digest,
        items: &[&Item],
    ) -> Result<Option<Shelved>, RegistryError> {
        let wanted = wanted_layers(shelf, items);
        if wanted.is_empty() {
            return Ok(None);
        }
        let name = tag(place, &shelf.tag(subject))?;
        let present = self.tagged(place, &shelf.tag(subject)).await?;
        let known = present.as_ref().and_then(|document| parse(document).ok());
        let mut layers = known.map(|manifest| manifest.layers).unwrap_or_default();
        if layers.is_empty()
            && let [only] = items
            && !only.refers()
        {
            return Ok(Some(Shelved { name, document: only.document.clone(), config: None }));
        }
        let fresh: Vec<Descriptor> =
            wanted.into_iter().filter(|layer| !layers.iter().any(|known| same(known, layer))).collect();
        if fresh.is_empty() {
            return Ok(None);
        }
        layers.extend(fresh);
        let config = Bytes::from_static(b"{}");
        let descriptor = Document::new(config.clone(), EMPTY).descriptor;
        let manifest = Manifest::new(descriptor.clone(), layers);
        let document = Document::new(json(&manifest)?, MANIFEST);
        Ok(Some(Shelved { name, document, config: Some((descriptor, config)) }))
    }
}

/// A manifest for one of cosign's tags.
pub(super) struct Shelved {
    pub(super) name: Reference,
    pub(super) document: Document,
    /// A configuration that must be there first.
    pub(super) config: Option<(Descriptor, Bytes)>,
}

/// The layers of some documents that belong under one of cosign's tags.
fn wanted_layers(shelf: Shelf, items: &[&Item]) -> Vec<Descriptor> {
    let mut layers: Vec<Descriptor> = Vec::new();
    for item in items {
        for layer in item.manifest.layers.iter().filter(|layer| shelf.takes(layer)) {
            let mut layer = layer.clone();
            if shelf == Shelf::Attestations {
                layer.annotations.entry(SIGNATURE_ANNOTATION.into()).or_default();
            }
            if !layers.iter().any(|known| same(known, &layer)) {
                layers.push(layer);
            }
        }
    }
    layers
}

/// The same payload signed by two keys is one blob with two signatures: two documents.
fn same(one: &Descriptor, other: &Descriptor) -> bool {
    let signature =
        |layer: &Descriptor| layer.annotations.get(SIGNATURE_ANNOTATION).cloned().unwrap_or_default();
    one.digest == other.digest && signature(one) == signature(other)
}

/// Those of an image's documents that belong under each of cosign's tags.
pub(super) fn shelves(items: &[Item]) -> Vec<(Shelf, Vec<&Item>)> {
    let fits = |shelf: Shelf, item: &Item| match item.shelf {
        Some(own) => own == shelf,
        // Only cosign itself puts bills of materials under a tag.
        None => shelf != Shelf::Sbom && item.manifest.layers.iter().any(|layer| shelf.takes(layer)),
    };
    let of = |shelf| (shelf, items.iter().filter(|item| fits(shelf, item)).collect::<Vec<_>>());
    Shelf::ALL.into_iter().map(of).filter(|(_, items)| !items.is_empty()).collect()
}

/// The entry of an item in a list of referrers, when it refers to its subject itself.
pub(super) fn entry(item: &Item) -> Option<Descriptor> {
    item.refers().then(|| {
        let mut entry = item.document.descriptor.clone();
        entry.artifact_type = Some(item.manifest.kind().to_owned());
        entry.annotations = item.manifest.annotations.clone();
        entry
    })
}

/// All documents about an image.
pub(super) async fn gather(origin: &Origin, subject: &Digest) -> Result<Vec<Item>, RegistryError> {
    let listed = match origin {
        Origin::Store(store) => store.referrers(subject)?,
        Origin::Remote { client, place, .. } => client.referrers(place, subject, None).await?,
    };
    let mut items = Vec::new();
    // An index that refers to an image (the specification allows it) is no document that Kiln knows.
    for one in listed.iter().filter(|one| !is_index(&one.media_type)) {
        let document = origin.document(&one.digest).await?;
        let manifest = parse(&document).map_err(|error| not_understood(origin, subject, &error))?;
        items.push(Item { document, manifest, subject: *subject, shelf: None });
    }
    let Origin::Remote { client, place, .. } = origin else { return Ok(from_store(items)) };
    for shelf in Shelf::ALL {
        let Some(document) = client.tagged(place, &shelf.tag(subject)).await? else { continue };
        let manifest = parse(&document).map_err(|error| not_understood(origin, subject, &error))?;
        let known =
            |layer: &Descriptor| items.iter().any(|item| item.manifest.layers.iter().any(|k| same(k, layer)));
        // What refers to the image itself comes twice.
        if !manifest.layers.iter().all(known) {
            items.push(Item { document, manifest, subject: *subject, shelf: Some(shelf) });
        }
    }
    Ok(items)
}

/// What the store lists and has no subject came from one of cosign's tags.
fn from_store(mut items: Vec<Item>) -> Vec<Item> {
    for item in items.iter_mut().filter(|item| item.manifest.subject.is_none()) {
        let takes = |shelf: &Shelf| item.manifest.layers.iter().any(|layer| shelf.takes(layer));
        item.shelf = Shelf::ALL.into_iter().find(takes);
    }
    items
}

/// Lists a document in a store that has all of it.
pub(super) fn record(store: &Store, item: &Item) -> Result<(), RegistryError> {
    Ok(store.add_referrer(&item.document.descriptor, &item.subject)?)
}

/// A page of referrers; entries that name what Kiln cannot (such as a SHA-512) are passed over.
#[derive(serde::Deserialize)]
struct Page {
    manifests: Vec<serde_json::Value>,
}

impl Page {
    fn entries(self) -> impl Iterator<Item = Descriptor> {
        self.manifests.into_iter().filter_map(|value| serde_json::from_value(value).ok())
    }
}

/// Whether a registry says that it does not know the referrers API; the specification asks for 404, others were seen.
fn is_unknown(error: &RegistryError) -> bool {
    let known = [
        StatusCode::NOT_FOUND,
        StatusCode::BAD_REQUEST,
        StatusCode::METHOD_NOT_ALLOWED,
        StatusCode::NOT_ACCEPTABLE,
        StatusCode::NOT_IMPLEMENTED,
    ];
    error.status().is_some_and(|status| known.iter().any(|known| known.as_u16() == status))
}

fn parse(document: &Document) -> Result<Manifest, serde_json::Error> {
    serde_json::from_slice(&document.bytes)
}

fn not_understood(origin: &Origin, subject: &Digest, error: &serde_json::Error) -> RegistryError {
    let host = match origin {
        Origin::Store(_) => "the store".to_owned(),
        Origin::Remote { place, .. } => place.registry.clone(),
    };
    let what = format!("the evidence about {subject}");
    RegistryError::Document { task: Task { act: "read", what, host }, reason: error.to_string() }
}

fn tag(place: &Place, text: &str) -> Result<Reference, RegistryError> {
    text.parse().map_err(|source| RegistryError::Reference { text: format!("{place}:{text}"), source })
}

fn json<T: serde::Serialize>(value: &T) -> Result<Bytes, RegistryError> {
    let bytes =
        serde_json::to_vec(value).map_err(|error| RegistryError::Client { reason: error.to_string() })?;
    Ok(bytes.into())
}
