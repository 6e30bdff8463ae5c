//! What can go wrong with instances on this machine.

use std::io;
use std::path::PathBuf;

use kiln_model::{Digest, FleetId, InstanceId};
use kiln_provider::ProviderError;

/// Why the embedded provider could not do something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalError {
    /// A file of the home cannot be used.
    #[error("cannot {act} {path}")]
    File {
        /// Verb.
        act: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The root tree of an image is not to be had.
    #[error("cannot get the root tree of image {image}")]
    Tree {
        /// Which image.
        image: Digest,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A secret cannot be had.
    #[error(transparent)]
    Secret(Box<kiln_secrets::SecretError>),
    /// The image says nothing that can be executed.
    #[error(
        "image {image} has no entrypoint and no cmd: there is nothing to run; add `entrypoint` to its image block"
    )]
    NothingToRun {
        /// Which image.
        image: Digest,
    },
    /// A volume of the service is not in its image.
    #[error("service {service} mounts volume {volume}, which its image does not declare: it has {known}")]
    NoVolume {
        /// Which service.
        service: String,
        /// The volume's name.
        volume: String,
        /// Declared volumes, told to people.
        known: String,
    },
    /// The network for the instances cannot be made.
    #[error("cannot {act} for the instances")]
    Network {
        /// What was tried.
        act: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Every address of the subnet is taken.
    #[error("all 253 addresses of {subnet} are taken: stop some instances")]
    NoAddress {
        /// Which subnet.
        subnet: String,
    },
    /// A fleet is still in use.
    #[error(
        "fleet {fleet} has size {size} and {living} living instances: size it to 0 and let them drain first"
    )]
    FleetLives {
        /// Which fleet.
        fleet: FleetId,
        /// Its size.
        size: u32,
        /// Instances that are not gone.
        living: usize,
    },
    /// The supervisor cannot be executed.
    #[error("cannot execute the supervisor {exe}")]
    Supervisor {
        /// The program.
        exe: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The instance is not running.
    #[error("instance {0} is not running")]
    NotRunning(InstanceId),
    /// A command took too long.
    #[error("the command did not finish within {0} and was killed")]
    TooLong(kiln_model::Span),
}

impl From<kiln_secrets::SecretError> for LocalError {
    fn from(error: kiln_secrets::SecretError) -> Self {
        Self::Secret(Box::new(error))
    }
}

impl LocalError {
    pub(crate) fn file(act: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { act, path, source }
    }

    pub(crate) fn provider(self, act: &'static str, object: impl Into<String>) -> ProviderError {
        ProviderError::Failed { act, object: object.into(), source: self.into() }
    }
}
