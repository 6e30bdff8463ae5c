//! From a registry into the store.

use futures_util::{StreamExt, TryStreamExt};
use kiln_model::Digest;
use kiln_store::{Descriptor, Store, StoreError};
use serde::Serialize;

use super::evidence::{self, Item};
use super::graph::{Choice, Graph, Origin, survey};
use super::manifest::Document;
use super::progress::{Event, How, Progress, Totals};
use super::transport::Place;
use super::{Client, RegistryError};
use crate::name::ImageReference;

/// What to pull.
#[derive(Clone, Debug)]
pub struct PullOptions {
    /// Which of an index's images.
    pub choice: Choice,
    /// Signatures, attestations and whatever else refers to the image come along.
    pub evidence: bool,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self { choice: Choice::Host, evidence: true }
    }
}

/// What was pulled.
#[derive(Clone, Debug, Serialize)]
pub struct Pulled {
    /// What the reference stood for: an image, or an index.
    pub resolved: Digest,
    /// What is in the store now: the image that was chosen, or the index with all of them.
    #[serde(skip)]
    pub image: Descriptor,
    /// Manifests of evidence that is in the store now.
    pub evidence: Vec<Digest>,
    /// What was moved.
    #[serde(flatten)]
    pub totals: Totals,
}

/// All that a pull is going to do: nothing else is asked for, and nothing is decided any more.
#[derive(Debug)]
pub struct PullPlan {
    place: Place,
    graph: Graph,
    missing: Vec<Descriptor>,
}

impl PullPlan {
    /// The plan for an image that is named by its digest, made without asking anybody: `None` when the store lacks a
    /// manifest that would be needed for it.
    ///
    /// # Errors
    /// When the store cannot be read, or has no image for the platform.
    pub async fn of_store(
        image: &ImageReference,
        store: &Store,
        choice: &Choice,
    ) -> Result<Option<Self>, RegistryError> {
        let origin = Origin::Store(store.clone());
        let survey = async {
            let top = origin.top(image).await?;
            survey(&origin, &image.to_string(), top, choice).await
        };
        match survey.await {
            Ok(graph) => Ok(Some(Self::new(Place::of(image), graph, store))),
            Err(RegistryError::Store(StoreError::Missing { .. }) | RegistryError::Incomplete { .. }) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn new(place: Place, graph: Graph, store: &Store) -> Self {
        let missing = graph.blobs.iter().filter(|blob| !store.has_sized(blob)).cloned().collect();
        Self { place, graph, missing }
    }

    /// The image that was chosen, or the index with all of them.
    pub fn image(&self) -> &Descriptor {
        &self.graph.image.descriptor
    }

    /// Whether the store lacks nothing.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty()
    }

    /// Bytes of the blobs that the store lacks.
    pub fn bytes(&self) -> u64 {
        self.missing.iter().map(|blob| blob.size).sum()
    }
}

impl Client {
    /// Finds out what an image consists of and what of it the store lacks. An image that is named by its digest and
    /// is whole in the store is not asked for at all.
    ///
    /// # Errors
    /// When the registry has no such image or none for the platform, or cannot be asked.
    pub async fn plan_pull(
        &self,
        image: &ImageReference,
        store: &Store,
        choice: &Choice,
    ) -> Result<PullPlan, RegistryError> {
        let place = Place::of(image);
        let origin =
            Origin::Remote { client: self.clone(), place: place.clone(), store: Some(store.clone()) };
        let top = origin.top(image).await?;
        let graph = survey(&origin, &image.to_string(), top, choice).await?;
        Ok(PullPlan::new(place, graph, store))
    }

    /// Does what was planned. The image's own name in the store is for the caller to give.
    ///
    /// # Errors
    /// When the registry sends something else than it promised, or the store cannot be written. What was finished
    /// stays in the store for the next time.
    pub async fn fetch(
        &self,
        plan: &PullPlan,
        store: &Store,
        progress: &Progress,
    ) -> Result<Pulled, RegistryError> {
        let mut totals = Totals { present: plan.graph.blobs.len() - plan.missing.len(), ..Totals::default() };
        progress.tell(Event::Planned { blobs: plan.missing.len(), bytes: plan.bytes() });
        self.download_all(&plan.place, store, &plan.missing, &mut totals, progress).await?;
        put_documents(store, plan.graph.documents())?;
        for document in plan.graph.documents() {
            progress.tell(Event::Manifest { digest: document.descriptor.digest });
        }
        let image = plan.image().clone();
        Ok(Pulled { resolved: plan.graph.subjects[0], image, evidence: Vec::new(), totals })
    }

    /// Gets an image into the store, with the evidence about it.
    ///
    /// # Errors
    /// As [`Client::plan_pull`] and [`Client::fetch`].
    pub async fn pull(
        &self,
        image: &ImageReference,
        store: &Store,
        options: &PullOptions,
        progress: &Progress,
    ) -> Result<Pulled, RegistryError> {
        let plan = self.plan_pull(image, store, &options.choice).await?;
        let mut pulled = self.fetch(&plan, store, progress).await?;
        if options.evidence {
            let origin = Origin::Remote {
                client: self.clone(),
                place: plan.place.clone(),
                store: Some(store.clone()),
            };
            for subject in &plan.graph.subjects {
                for item in evidence::gather(&origin, subject).await? {
                    self.keep(&plan.place, store, &item, &mut pulled.totals, progress).await?;
                    pulled.evidence.push(item.document.descriptor.digest);
                }
            }
        }
        Ok(pulled)
    }

    /// Puts evidence into the store.
    async fn keep(
        &self,
        place: &Place,
        store: &Store,
        item: &Item,
        totals: &mut Totals,
        progress: &Progress,
    ) -> Result<(), RegistryError> {
        let missing: Vec<Descriptor> = item.blobs().filter(|blob| !store.has_sized(blob)).cloned().collect();
        self.download_all(place, store, &missing, totals, progress).await?;
        put_documents(store, std::iter::once(&item.document))?;
        evidence::record(store, item)?;
        progress.tell(Event::Evidence { digest: item.document.descriptor.digest });
        Ok(())
    }

    async fn download_all(
        &self,
        place: &Place,
        store: &Store,
        blobs: &[Descriptor],
        totals: &mut Totals,
        progress: &Progress,
    ) -> Result<(), RegistryError> {
        let downloads = blobs.iter().map(|blob| async move {
            self.download(place, store, blob, progress).await?;
            progress.tell(Event::Blob { digest: blob.digest, size: blob.size, how: How::Moved });
            Ok::<_, RegistryError>(blob.size)
        });
        let at_once = self.transport.options.at_once.max(1);
        let mut done = futures_util::stream::iter(downloads).buffer_unordered(at_once);
        while let Some(size) = done.try_next().await? {
            totals.add(How::Moved, size);
        }
        Ok(())
    }
}

/// Writes documents that the store does not have, parts before wholes.
fn put_documents<'a>(
    store: &Store,
    documents: impl Iterator<Item = &'a Document>,
) -> Result<(), RegistryError> {
    let mut staged = Vec::new();
    for document in documents.filter(|document| !store.has_sized(&document.descriptor)) {
        staged.push(store.stage_bytes(&document.bytes)?);
    }
    Ok(store.commit(staged)?)
}
