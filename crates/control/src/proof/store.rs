//! Evidence as it lies in the image store, judged by the keys of the home and of the spec.

use std::collections::BTreeMap;

use kiln_attest::evidence::{Claim, Evidence, attest, evidence};
use kiln_attest::judge::judge;
use kiln_attest::keys::{Folder, PASSPHRASE_VARIABLE, PublicKey, TrustedKeys, own_name};
use kiln_attest::predicate::{Outcome, Predicate, Soak};
use kiln_model::{Digest, Name};
use kiln_store::Store;

use super::{Known, ProofError, Proofs, Question, Soaked};
use crate::api::{EvidenceStatus, Unproven};

/// Evidence from a store and a folder of keys.
#[derive(Clone, Debug)]
pub struct StoreProofs {
    store: Store,
    keys: Folder,
}

impl StoreProofs {
    /// Reads from this store, with these keys.
    pub fn new(store: Store, keys: Folder) -> Self {
        Self { store, keys }
    }

    /// The keys that count: those that the spec names and the home's own, or all of the home when it names none.
    ///
    /// # Errors
    /// When a key cannot be read.
    pub fn trusted(
        &self,
        named: &BTreeMap<Name, String>,
    ) -> Result<TrustedKeys, Box<dyn std::error::Error + Send + Sync>> {
        if named.is_empty() {
            return Ok(self.keys.all_public()?);
        }
        let mut trusted = TrustedKeys::new();
        for (name, pem) in named {
            let key = PublicKey::from_pem(pem).map_err(|source| NamedKey { name: name.clone(), source })?;
            trusted.add(name.clone(), key);
        }
        if let Some(own) = self.keys.own_public()? {
            trusted.add(own_name(), own);
        }
        Ok(trusted)
    }
}

/// A key of the spec that is none.
#[derive(Debug, thiserror::Error)]
#[error("the key {name} of the spec cannot be read")]
struct NamedKey {
    name: Name,
    #[source]
    source: kiln_attest::keys::KeyError,
}

impl Proofs for StoreProofs {
    fn known(&self, question: &Question<'_>) -> Result<Known, ProofError> {
        let image = *question.image;
        let fail = |source| ProofError { act: "read", image, source };
        let trusted = self.trusted(question.keys).map_err(fail)?;
        let found = match self.store.has(&image) {
            true => evidence(&self.store, &image, &trusted).map_err(|error| fail(error.into()))?,
            false => Vec::new(),
        };
        let now = question.now_ms.max(0).unsigned_abs();
        let missing = judge(question.requires, &found, &image, question.environment, now);
        let missing = missing.into_iter().map(|it| Unproven {
            requirement: it.requirement,
            why: it.why,
            command: it.command,
        });
        let mut evidence: Vec<EvidenceStatus> = found.iter().map(status).collect();
        evidence.sort_by_key(|it| std::cmp::Reverse(it.at_ms));
        Ok(Known { evidence, missing: missing.collect() })
    }

    fn swear(&self, image: &Digest, soaked: &Soaked) -> Result<(), ProofError> {
        let fail = |source| ProofError { act: "write", image: *image, source };
        let passphrase = std::env::var(PASSPHRASE_VARIABLE).ok();
        let key =
            self.keys.own(passphrase.as_deref().map(str::as_bytes)).map_err(|error| fail(error.into()))?;
        let time = |ms: i64| ms.max(0).unsigned_abs();
        let soak = Soak {
            environment: soaked.environment.clone(),
            service: soaked.service.clone(),
            release: soaked.release,
            from_ms: time(soaked.from_ms),
            until_ms: time(soaked.until_ms),
            failures: soaked.failures,
        };
        let sworn = attest(&self.store, image, &Predicate::Soaked(soak), &key, time(soaked.until_ms));
        sworn.map(drop).map_err(|error| fail(error.into()))
    }
}

fn status(evidence: &Evidence) -> EvidenceStatus {
    EvidenceStatus {
        digest: evidence.manifest,
        kind: evidence.word().into(),
        says: says(&evidence.claim),
        signers: evidence.signers.iter().map(Name::to_string).collect(),
        at_ms: evidence.at_ms.and_then(|ms| i64::try_from(ms).ok()),
        problem: evidence.problem.clone(),
    }
}

/// What evidence says, in a few words.
fn says(claim: &Claim) -> String {
    match claim {
        Claim::Signature(signature) => signature.reference.clone(),
        Claim::Unreadable => String::new(),
        Claim::Attestation(predicate) => match predicate {
            Predicate::BuiltFrom(it) => {
                format!("{} inputs", it.build_definition.resolved_dependencies.len())
            }
            Predicate::Tested(it) => match it.failed.is_empty() {
                true => format!("{} checks hold", it.passed.len()),
                false => format!("failed: {}", it.failed.join(", ")),
            },
            Predicate::Scanned(it) => {
                let counts = &it.counts;
                let outcome = match it.outcome {
                    Some(Outcome::Pass) => "passes",
                    Some(Outcome::Warn) => "warns",
                    Some(Outcome::Fail) => "fails",
                    None => "not judged",
                };
                format!("{outcome}: {} critical, {} high", counts.critical, counts.high)
            }
            Predicate::Approved(it) => match &it.reason {
                Some(reason) => format!("{} for {}: {reason}", it.by, it.environment),
                None => format!("{} for {}", it.by, it.environment),
            },
            Predicate::Soaked(it) => {
                let lasted = kiln_model::Span::from_secs(it.until_ms.saturating_sub(it.from_ms) / 1000);
                format!("{lasted} in {}, {} failures", it.environment, it.failures)
            }
            Predicate::Sbom { .. } | Predicate::Other { .. } => predicate.type_uri().to_owned(),
        },
    }
}
