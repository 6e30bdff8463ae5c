//! A small client of the OCI distribution specification: enough to pull a base image.
//!
//! Every byte is checked against the digest it was asked by. Plain HTTP is spoken only with this machine.

mod auth;
mod client;
mod reference;

pub(crate) use client::Client;
pub(crate) use reference::Reference;

use kiln_model::Digest;
use kiln_store::StoreError;

/// Why a base image cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The text is no reference.
    #[error(
        "{text:?} is no image reference ({reason}); write host/name:tag, host/name@sha256:…, or the path of a layout or archive"
    )]
    Reference {
        /// The text.
        text: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// There is no network to be used.
    #[error(
        "{reference} is not in the store and Kiln is told to stay offline; bake once without `--offline`"
    )]
    Offline {
        /// The reference.
        reference: String,
    },
    /// No HTTP client can be made.
    #[error("cannot set up the HTTP client: {reason}")]
    Client {
        /// Why.
        reason: String,
    },
    /// The registry could not be asked.
    #[error("cannot get {what} from {host}: {reason}")]
    Transport {
        /// What was asked for.
        what: String,
        /// Which registry.
        host: String,
        /// The chain of causes.
        reason: String,
    },
    /// The registry said no.
    #[error("{host} answers {status} to the request for {what}{}", hint(*status))]
    Refused {
        /// What was asked for.
        what: String,
        /// Which registry.
        host: String,
        /// The HTTP status.
        status: u16,
    },
    /// The registry sent something else.
    #[error(
        "{host} sent {what} with the digest {actual} instead of {expected}; the registry or something on the way is broken or hostile"
    )]
    Digest {
        /// What was asked for.
        what: String,
        /// Which registry.
        host: String,
        /// The digest asked for.
        expected: Digest,
        /// The digest of what came.
        actual: Digest,
    },
    /// A document that makes no sense.
    #[error("{what} from {host} cannot be understood: {reason}")]
    Document {
        /// What was asked for.
        what: String,
        /// Which registry.
        host: String,
        /// Why not.
        reason: String,
    },
    /// Not for this machine.
    #[error("{reference} has no image for linux/{architecture}")]
    Platform {
        /// The reference.
        reference: String,
        /// This machine's architecture.
        architecture: &'static str,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn hint(status: u16) -> &'static str {
    match status {
        401 | 403 => {
            "; log in with `docker login`, or put credentials into the config.json that DOCKER_CONFIG names"
        }
        404 => "; look at the name and the tag",
        429 => "; it limits how often one may ask: wait, or log in",
        _ => "",
    }
}
