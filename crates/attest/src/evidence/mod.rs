//! Evidence about images: how it is written into a store, and how it is read and verified again.

mod cosign;
mod read;
mod write;

use std::collections::BTreeMap;

use kiln_model::{Digest, Name};
use kiln_store::StoreError;
use serde::Serialize;

use crate::keys::SignError;
use crate::predicate::Predicate;

pub use cosign::{cosign_attestations, cosign_signatures};
pub use read::evidence;
pub use write::{attest, sign_image};

/// Media type of a signed payload of cosign's.
pub const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// Artifact type of a signature.
pub const SIGNATURE_ARTIFACT: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";
/// Annotation of a layer that holds the signature over it, in base64.
pub const SIGNATURE_ANNOTATION: &str = "dev.cosignproject.cosign/signature";
/// Annotation that holds the type of the predicate.
pub const PREDICATE_TYPE_ANNOTATION: &str = "predicateType";
/// Annotation that holds when the evidence was written. It is not signed.
pub const CREATED_ANNOTATION: &str = "org.opencontainers.image.created";
/// Media type of sigstore's bundle, which cosign 3 writes and Kiln reads.
pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// One signed statement or signature, as found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// The manifest that it came in.
    pub manifest: Digest,
    /// The document itself; none when the manifest cannot be read.
    pub document: Option<Digest>,
    /// The image that the signed content is about.
    pub image: Option<Digest>,
    /// What it says. With a problem, this is what it would say.
    pub claim: Claim,
    /// Names of the trusted keys that signed it, verified; empty with a problem.
    pub signers: Vec<Name>,
    /// Why it counts for nothing.
    pub problem: Option<String>,
    /// When what it tells of was done, by the signed content; milliseconds since the epoch.
    pub at_ms: Option<u64>,
}

/// What evidence says.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Claim {
    /// A statement.
    Attestation(Predicate),
    /// A signature over the image.
    Signature(ImageSignature),
    /// Nobody knows.
    Unreadable,
}

/// A signature over an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageSignature {
    /// What the signer called the image.
    pub reference: String,
    /// What the signer added.
    pub annotations: BTreeMap<String, String>,
}

impl Evidence {
    /// Whether it is signed by a trusted key, about what it claims to be, and readable.
    pub fn verified(&self) -> bool {
        self.problem.is_none() && !self.signers.is_empty()
    }

    /// One word for people: that of the predicate, `signed`, or `unreadable`.
    pub fn word(&self) -> &'static str {
        match &self.claim {
            Claim::Attestation(predicate) => predicate.word(),
            Claim::Signature(_) => "signed",
            Claim::Unreadable => "unreadable",
        }
    }
}

/// Why evidence cannot be written, or the store cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttestError {
    /// The store failed.
    #[error("cannot {act} evidence about {image}")]
    Store {
        /// `read` or `write`.
        act: &'static str,
        /// The image.
        image: Digest,
        /// The store's answer.
        #[source]
        source: StoreError,
    },
    /// The key failed.
    #[error("cannot sign evidence about {image}")]
    Sign {
        /// The image.
        image: Digest,
        /// The key's answer.
        #[source]
        source: SignError,
    },
    /// A document cannot be written as JSON.
    #[error("cannot write the evidence about {image} as JSON")]
    Json {
        /// The image.
        image: Digest,
        /// The writer's answer.
        #[source]
        source: serde_json::Error,
    },
}

pub(crate) fn stored(act: &'static str, image: &Digest) -> impl Fn(StoreError) -> AttestError {
    let image = *image;
    move |source| AttestError::Store { act, image, source }
}

pub(crate) fn unwritten(image: &Digest) -> impl Fn(serde_json::Error) -> AttestError {
    let image = *image;
    move |source| AttestError::Json { image, source }
}
