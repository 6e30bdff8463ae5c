//! Why a bake fails.

use std::io;

use kiln_model::Name;
use kiln_store::StoreError;

use crate::copy::CopyError;
use crate::layer::WriteError;

/// Why an image could not be baked. The text names the image and the step; causes are in the source chain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BakeError {
    /// The spec has no such image.
    #[error("the spec has no image {name:?}")]
    NoSuchImage {
        /// The name.
        name: String,
    },
    /// Images take files from each other in a circle.
    #[error("image {name:?} takes files from itself: {circle}")]
    Circle {
        /// Where it was noticed.
        name: Name,
        /// The images in order, such as `a -> b -> a`.
        circle: String,
    },
    /// A copy step failed.
    #[error("image {image:?}, step `{step}`")]
    Copy {
        /// The image.
        image: Name,
        /// The step as a person wrote it.
        step: String,
        /// Why.
        #[source]
        source: Box<CopyError>,
    },
    /// A layer could not be written.
    #[error("image {image:?}, step `{step}`: cannot write the layer")]
    Layer {
        /// The image.
        image: Name,
        /// The step as a person wrote it.
        step: String,
        /// Why.
        #[source]
        source: Box<WriteError>,
    },
    /// A command failed.
    #[error("image {image:?}, step `{step}`")]
    Run {
        /// The image.
        image: Name,
        /// The step as a person wrote it.
        step: String,
        /// Why.
        #[source]
        source: Box<crate::sandbox::SandboxError>,
    },
    /// Debian packages could not be locked, fetched or laid out.
    #[error("image {image:?}: the Debian packages cannot be had")]
    Debian {
        /// The image.
        image: Name,
        /// Why.
        #[source]
        source: Box<kiln_debian::Error>,
    },
    /// The base image cannot be had.
    #[error("the base image {reference:?} cannot be had")]
    Base {
        /// As the spec has it.
        reference: String,
        /// Why.
        #[source]
        source: Box<kiln_registry::client::RegistryError>,
    },
    /// The lock cannot be used.
    #[error(transparent)]
    Lock(#[from] crate::lock::LockError),
    /// No thread or event loop could be made.
    #[error("cannot start the download")]
    Runtime(#[source] io::Error),
    /// The store failed.
    #[error("the image store failed")]
    Store(#[from] StoreError),
    /// A document could not be made.
    #[error("cannot write {what} as JSON")]
    Json {
        /// Which document.
        what: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A time that no calendar has.
    #[error("{epoch} is not a time: give `epoch` or SOURCE_DATE_EPOCH in seconds since 1970")]
    Epoch {
        /// The number.
        epoch: i64,
    },
}

impl BakeError {
    pub(crate) fn debian(image: &Name) -> impl Fn(kiln_debian::Error) -> Self {
        move |source| Self::Debian { image: image.clone(), source: Box::new(source) }
    }

    pub(crate) fn json(what: &'static str) -> impl FnOnce(serde_json::Error) -> Self {
        move |source| Self::Json { what, source }
    }
}
