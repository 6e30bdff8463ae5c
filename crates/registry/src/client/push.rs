//! Into a registry: from the store, or from another registry without passing through the store.
//!
//! Order: blobs, then manifests by their digests, then the evidence, and the tag last: whoever finds the tag finds
//! everything. What the registry has already is not sent, and what another repository of the same registry has is
//! mounted.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use kiln_model::Digest;
use kiln_store::{Descriptor, Store};
use serde::Serialize;

use super::evidence::{self, Item};
use super::graph::{Choice, Graph, Origin, survey};
use super::progress::{Event, Progress, Totals};
use super::transport::Place;
use super::upload::{Source, Upload};
use super::{Client, RegistryError, Task};
use crate::name::{ImageReference, Reference};

/// How to push or copy.
#[derive(Clone, Debug)]
pub struct PushOptions {
    /// Which of an index's images.
    pub choice: Choice,
    /// Signatures, attestations and whatever else refers to the image go along.
    pub evidence: bool,
    /// Move a tag that names something else.
    pub force: bool,
    /// Repositories that may have the blobs already, such as that of the base image.
    pub mounts: Vec<Place>,
}

impl Default for PushOptions {
    fn default() -> Self {
        Self { choice: Choice::All, evidence: true, force: false, mounts: Vec::new() }
    }
}

/// What was pushed.
#[derive(Clone, Debug, Serialize)]
pub struct Pushed {
    /// What the reference stands for now.
    pub digest: Digest,
    /// Manifests of evidence that is there now.
    pub evidence: Vec<Digest>,
    /// Whether the registry keeps the list of evidence itself; `None` without evidence that could tell.
    pub referrers_api: Option<bool>,
    /// What was moved.
    #[serde(flatten)]
    pub totals: Totals,
}

/// Everything about one push.
struct Job<'a> {
    client: &'a Client,
    origin: &'a Origin,
    source: Source,
    place: Place,
    mounts: Vec<Place>,
    progress: &'a Progress,
    totals: Totals,
}

impl Client {
    /// Pushes an image or index of the store. A target without tag and digest gets the tag `latest`.
    ///
    /// # Errors
    /// When the tag names something else and force is not used, when the store has only a part of the image, or when
    /// the registry refuses or cannot be asked.
    pub async fn push(
        &self,
        store: &Store,
        image: &Digest,
        target: &ImageReference,
        options: &PushOptions,
        progress: &Progress,
    ) -> Result<Pushed, RegistryError> {
        let origin = Origin::Store(store.clone());
        let top = origin.document(image).await?;
        let graph = survey(&origin, &image.to_string(), top, &options.choice).await?;
        let job = Job {
            client: self,
            origin: &origin,
            source: Source::Store(store.clone()),
            place: Place::of(target),
            mounts: options.mounts.clone(),
            progress,
            totals: Totals::default(),
        };
        job.run(graph, target, options).await
    }

    /// Copies an image from one registry to another, or to another name. Blobs go from connection to connection.
    ///
    /// # Errors
    /// As [`Client::push`], and when the source cannot be read.
    pub async fn copy(
        &self,
        from: &ImageReference,
        to: &ImageReference,
        options: &PushOptions,
        progress: &Progress,
    ) -> Result<Pushed, RegistryError> {
        let place = Place::of(from);
        let origin = Origin::Remote { client: self.clone(), place: place.clone(), store: None };
        let top = origin.top(from).await?;
        let graph = survey(&origin, &from.to_string(), top, &options.choice).await?;
        let mut mounts = vec![place.clone()];
        mounts.extend(options.mounts.iter().cloned());
        let job = Job {
            client: self,
            origin: &origin,
            source: Source::Remote(self.clone(), place),
            place: Place::of(to),
            mounts,
            progress,
            totals: Totals::default(),
        };
        job.run(graph, to, options).await
    }

    /// Fails when a tag names something else than it is about to.
    async fn guard_tag(&self, target: &ImageReference, wanted: &Digest) -> Result<(), RegistryError> {
        let Some(found) = self.look(&Place::of(target), &target.reference()).await? else { return Ok(()) };
        if found.digest == (*wanted).into() {
            return Ok(());
        }
        let reference = format!("{}:{}", Place::of(target), target.reference());
        Err(RegistryError::TagTaken { reference, present: found.digest.to_string(), wanted: *wanted })
    }
}

impl Job<'_> {
    async fn run(
        mut self,
        graph: Graph,
        target: &ImageReference,
        options: &PushOptions,
    ) -> Result<Pushed, RegistryError> {
        let digest = graph.image.descriptor.digest;
        if let Some(wanted) = target.digest.filter(|wanted| *wanted != digest.into()) {
            let (task, expected) = (Task::at("send", &self.place, "the image"), wanted.to_string());
            return Err(RegistryError::Digest { task, expected, actual: digest.to_string() });
        }
        let tag = match target.reference() {
            Reference::Tag(tag) => Some(tag),
            Reference::Digest(_) => target.tag.clone(),
        };
        if let Some(tag) = tag.clone().filter(|_| !options.force) {
            let named = ImageReference { tag: Some(tag), digest: None, ..target.clone() };
            self.client.guard_tag(&named, &digest).await?;
        }
        let bytes = graph.blobs.iter().map(|blob| blob.size).sum();
        self.progress.tell(Event::Planned { blobs: graph.blobs.len(), bytes });
        self.blobs(&graph.blobs).await?;
        for document in graph.documents() {
            self.client.put_manifest(&self.place, &document.name(), document).await?;
            self.progress.tell(Event::Manifest { digest: document.descriptor.digest });
        }
        let mut pushed =
            Pushed { digest, evidence: Vec::new(), referrers_api: None, totals: Totals::default() };
        if options.evidence {
            for subject in &graph.subjects {
                self.evidence(subject, &mut pushed).await?;
            }
        }
        if let Some(tag) = tag {
            self.client.put_manifest(&self.place, &Reference::Tag(tag), &graph.image).await?;
        }
        pushed.totals = self.totals;
        Ok(pushed)
    }

    async fn blobs(&mut self, blobs: &[Descriptor]) -> Result<(), RegistryError> {
        let this = &*self;
        let uploads = blobs.iter().map(|blob| async move {
            let upload = Upload {
                place: &this.place,
                blob,
                source: &this.source,
                mounts: &this.mounts,
                progress: this.progress,
            };
            let how = this.client.upload(&upload).await?;
            this.progress.tell(Event::Blob { digest: blob.digest, size: blob.size, how });
            Ok::<_, RegistryError>((how, blob.size))
        });
        let at_once = this.client.transport.options.at_once.max(1);
        let done: Vec<_> =
            futures_util::stream::iter(uploads).buffer_unordered(at_once).try_collect().await?;
        for (how, size) in done {
            self.totals.add(how, size);
        }
        Ok(())
    }

    /// Everything about one image.
    async fn evidence(&mut self, subject: &Digest, pushed: &mut Pushed) -> Result<(), RegistryError> {
        let items = evidence::gather(self.origin, subject).await?;
        for item in &items {
            let blobs: Vec<Descriptor> = item.blobs().cloned().collect();
            self.blobs(&blobs).await?;
            self.refer(item, pushed).await?;
            pushed.evidence.push(item.document.descriptor.digest);
            self.progress.tell(Event::Evidence { digest: item.document.descriptor.digest });
        }
        for (shelf, items) in evidence::shelves(&items) {
            let shelved = self.client.shelve(&self.place, shelf, subject, &items).await?;
            let Some(shelved) = shelved else { continue };
            if let Some((config, bytes)) = &shelved.config {
                self.memory(config, bytes).await?;
            }
            self.client.put_manifest(&self.place, &shelved.name, &shelved.document).await?;
        }
        Ok(())
    }

    /// A manifest that refers to its subject, and the list of such when the registry keeps none.
    async fn refer(&self, item: &Item, pushed: &mut Pushed) -> Result<(), RegistryError> {
        let Some(entry) = evidence::entry(item) else { return Ok(()) };
        let kept = self.client.put_manifest(&self.place, &item.document.name(), &item.document).await?;
        pushed.referrers_api = Some(kept);
        if kept {
            return Ok(());
        }
        self.client.list_in_fallback(&self.place, &item.subject, &entry).await
    }

    async fn memory(&self, blob: &Descriptor, bytes: &Bytes) -> Result<(), RegistryError> {
        let source = Source::Memory(bytes.clone());
        let upload =
            Upload { place: &self.place, blob, source: &source, mounts: &[], progress: self.progress };
        self.client.upload(&upload).await.map(|_| ())
    }
}
