//! What an image holds and says, read from the store: judged as its layers have it, with the owners that an ordinary
//! user's extracted tree cannot have.

pub(crate) mod accounts;
pub(crate) mod files;
pub(crate) mod packages;
pub(crate) mod probes;

use std::path::PathBuf;

use kiln_model::{Digest, ImageConfig};
use kiln_store::oci::{Execution, ImageFile};
use kiln_store::{Contents, Store, StoreError};

/// The label under which Kiln's images carry their configuration.
const CONFIG_LABEL: &str = "dev.kiln.config";

/// An image of the store, ready to be looked at.
#[derive(Debug)]
pub struct ImageView {
    pub(crate) digest: Digest,
    pub(crate) file: ImageFile,
    pub(crate) contents: Contents,
    /// Its extracted tree, for the content of files.
    pub(crate) root: PathBuf,
}

/// Why an image cannot be looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The store does not give it.
    #[error("cannot read image {image}", image = image.short())]
    Store {
        /// Which.
        image: Digest,
        /// Why.
        #[source]
        source: Box<StoreError>,
    },
    /// What it says about how to run it is not readable.
    #[error("the configuration that image {image} carries cannot be read; bake it again", image = image.short())]
    Config {
        /// Which.
        image: Digest,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl ImageView {
    /// Reads an image's documents and the list of its files.
    ///
    /// # Errors
    /// When the store has it not, or not whole.
    pub fn open(store: &Store, digest: Digest) -> Result<Self, ImageError> {
        let fail = |error| ImageError::Store { image: digest, source: Box::new(error) };
        let image = store.image(&digest).map_err(fail)?;
        let contents = store.contents(&image.layers, false).map_err(fail)?;
        let root = store.tree(&digest).map_err(fail)?;
        Ok(Self { digest, file: image.file, contents, root })
    }

    /// Its configuration: the one that Kiln's images carry, or what the usual fields say.
    ///
    /// # Errors
    /// When what it carries cannot be read.
    pub fn config(&self) -> Result<ImageConfig, ImageError> {
        let execution = self.execution();
        let carried = execution.labels.as_ref().and_then(|labels| labels.get(CONFIG_LABEL));
        match carried {
            Some(text) => {
                serde_json::from_str(text).map_err(|source| ImageError::Config { image: self.digest, source })
            }
            None => Ok(usual(&execution)),
        }
    }

    pub(crate) fn execution(&self) -> Execution {
        self.file.config.clone().unwrap_or_default()
    }
}

/// The configuration of an image that others made; its ports and volumes have no names.
fn usual(execution: &Execution) -> ImageConfig {
    let env = execution.env.iter().flatten().filter_map(|line| line.split_once('='));
    let volumes = execution.volumes.iter().flatten().enumerate();
    let volumes = volumes.filter_map(|(number, (path, _))| {
        let name = kiln_model::Name::new(format!("volume-{number}")).ok()?;
        Some((name, kiln_model::VolumeDecl { path: path.clone(), size: None }))
    });
    let mut stop = kiln_model::Stop::default();
    if let Some(signal) = &execution.stop_signal {
        stop.signal.clone_from(signal);
    }
    ImageConfig {
        entrypoint: execution.entrypoint.clone().unwrap_or_default(),
        cmd: execution.cmd.clone().unwrap_or_default(),
        env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        user: execution.user.clone().filter(|user| !user.is_empty()),
        workdir: execution.working_dir.clone().filter(|folder| !folder.is_empty()),
        // Exposed ports are a hint of whoever made the image, not a promise: nobody may listen there.
        ports: std::collections::BTreeMap::new(),
        health: None,
        stop,
        volumes: volumes.collect(),
        labels: execution.labels.clone().unwrap_or_default(),
    }
}
