//! What an image starts from: nothing, Debian packages, or another image.

mod debian;
mod image;
mod merge;
mod resolve;

use kiln_model::{Base, Digest, ImageConfig, Recipe};
use kiln_store::Image;
use kiln_store::oci::{Execution, History, host_architecture};

use crate::BakeError;
use crate::bake::{Kitchen, Making};
use crate::lock::Section;

pub use resolve::{Resolved, lock};

/// What is known of the base before any layer is made.
pub(crate) struct Start {
    /// The lock's time.
    pub(crate) epoch: Option<i64>,
    /// How to run the base image.
    pub(crate) execution: Option<Execution>,
    /// As GOARCH writes it.
    pub(crate) architecture: String,
    /// Such as `v8`.
    pub(crate) variant: Option<String>,
    /// The base image's history.
    pub(crate) history: Vec<History>,
    source: Source,
}

enum Source {
    Scratch,
    Debian(Box<kiln_debian::Lock>),
    Image { image: Box<Image>, manifest: Digest, reference: String },
}

impl Start {
    fn scratch() -> Self {
        Self {
            epoch: None,
            execution: None,
            architecture: host_architecture().into(),
            variant: None,
            history: Vec::new(),
            source: Source::Scratch,
        }
    }

    /// Steps that the base itself takes.
    pub(crate) fn steps(&self) -> usize {
        match self.source {
            Source::Scratch => 0,
            Source::Debian(_) | Source::Image { .. } => 1,
        }
    }

    /// The recipe's configuration over that of the base.
    pub(crate) fn merge(&self, config: &ImageConfig) -> ImageConfig {
        merge::merge(config, self.execution.as_ref())
    }
}

/// Finds out what an image starts from; resolves and locks what is not locked yet.
pub(crate) fn start(kitchen: &mut Kitchen<'_>, recipe: &Recipe) -> Result<Start, BakeError> {
    if matches!(recipe.base, Base::Scratch) {
        return Ok(Start::scratch());
    }
    if let Base::Oci(base) = &recipe.base
        && let Some(path) = image::on_disk(base, kitchen.request.source)
    {
        return image::from_disk(kitchen, &path, &base.reference);
    }
    match resolve::section(kitchen, recipe)? {
        Section::Debian(lock) => Ok(debian::start(lock)),
        Section::Oci(pin) => image::from_registry(kitchen, &pin),
    }
}

/// Makes the base's layers.
pub(crate) fn lay(kitchen: &mut Kitchen<'_>, making: &mut Making<'_>) -> Result<(), BakeError> {
    match &making.start.source {
        Source::Scratch => Ok(()),
        Source::Debian(lock) => {
            let lock = lock.clone();
            debian::lay(kitchen, making, &lock)
        }
        Source::Image { image, manifest, reference } => {
            let (image, manifest, reference) = (image.clone(), *manifest, reference.clone());
            image::lay(kitchen, making, &image, manifest, &reference)
        }
    }
}
