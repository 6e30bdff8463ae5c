//! Where evidence about images comes from. The control plane asks; the store and the keys answer.

mod store;

use std::collections::BTreeMap;
use std::sync::Arc;

use kiln_model::{Digest, Name, ReleaseNumber, Requirement};

pub use store::StoreProofs;

use crate::api::{EvidenceStatus, Unproven};

/// What is asked about one image.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// The image.
    pub image: &'a Digest,
    /// Where it is to be deployed.
    pub environment: &'a Name,
    /// What must be there.
    pub requires: &'a [Requirement],
    /// Public keys in PEM by name; the home's own when empty.
    pub keys: &'a BTreeMap<Name, String>,
    /// The present, milliseconds since the Unix epoch.
    pub now_ms: i64,
}

/// What is known about one image.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// All statements and signatures, also those that do not count.
    pub evidence: Vec<EvidenceStatus>,
    /// What is required and not there.
    pub missing: Vec<Unproven>,
}

/// How a release ran: what the control plane itself can swear to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Soaked {
    /// Where.
    pub environment: Name,
    /// Which service.
    pub service: Name,
    /// Which release.
    pub release: ReleaseNumber,
    /// Since when it serves alone, milliseconds since the Unix epoch.
    pub from_ms: i64,
    /// Until when it served, or now.
    pub until_ms: i64,
    /// Instances that failed meanwhile.
    pub failures: u64,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} the evidence about image {}", image.short())]
pub struct ProofError {
    /// Verb.
    pub act: &'static str,
    /// The image.
    pub image: Digest,
    /// Why.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Whoever knows what is proven about images. Calls may block on the disk.
pub trait Proofs: std::fmt::Debug + Send + Sync {
    /// Tells what there is.
    ///
    /// # Errors
    /// When it cannot be read. Evidence that does not hold is no error, it is told with its problem.
    fn known(&self, question: &Question<'_>) -> Result<Known, ProofError>;

    /// Swears that an image ran in an environment.
    ///
    /// # Errors
    /// When the statement cannot be signed or written.
    fn swear(&self, image: &Digest, soaked: &Soaked) -> Result<(), ProofError>;
}

/// Nothing is known about any image: for a control plane without a store.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProofs;

impl Proofs for NoProofs {
    fn known(&self, question: &Question<'_>) -> Result<Known, ProofError> {
        let unproven = |requirement: &Requirement| Unproven {
            requirement: requirement.clone(),
            why: "this control plane has no image store".into(),
            command: "kiln serve".into(),
        };
        Ok(Known { evidence: Vec::new(), missing: question.requires.iter().map(unproven).collect() })
    }

    fn swear(&self, _: &Digest, _: &Soaked) -> Result<(), ProofError> {
        Ok(())
    }
}

/// Shared by all who ask.
pub(crate) type Witness = Arc<dyn Proofs>;
