//! DSSE envelopes: a payload, its type, and signatures over both. Source: secure-systems-lab/dsse, protocol.md 1.0.

use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use kiln_model::Name;
use serde::{Deserialize, Serialize};

use crate::keys::{SignError, Signer, TrustedKeys};

/// Media type of an envelope.
pub const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";
/// Payload type of an in-toto statement.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";

/// Writers differ in whether they pad.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// More signatures than this nobody makes; checking costs time by each.
const SIGNATURES: usize = 64;

/// A payload with signatures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    /// What the payload is.
    pub payload_type: String,
    /// The payload in base64.
    pub payload: String,
    /// Who says so.
    pub signatures: Vec<Signature>,
}

/// One signature of an envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// Which key, by the signer's own account; never trusted.
    #[serde(default)]
    pub keyid: String,
    /// The signature in base64.
    pub sig: String,
}

/// Why an envelope says nothing.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// Not base64.
    #[error("the payload is not base64")]
    Payload,
    /// Nobody signed.
    #[error("the envelope has no signature")]
    Unsigned,
    /// Nobody who is trusted signed.
    #[error("no trusted key made any of its {count} signatures (they name {keys})")]
    Untrusted {
        /// How many there are.
        count: usize,
        /// The key identities that they give.
        keys: String,
    },
    /// Too many signatures.
    #[error("the envelope has {0} signatures, more than {SIGNATURES}")]
    TooMany(usize),
}

/// What a signature is over: the pre-authentication encoding, so that no payload passes for one of another type.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {} {} ", payload_type.len(), payload_type, payload.len());
    [head.as_bytes(), payload].concat()
}

impl Envelope {
    /// Signs a payload.
    pub fn sign(payload_type: &str, payload: &[u8], signer: &dyn Signer) -> Result<Self, SignError> {
        let sig = BASE64.encode(signer.sign(&pae(payload_type, payload))?);
        Ok(Self {
            payload_type: payload_type.into(),
            payload: BASE64.encode(payload),
            signatures: vec![Signature { keyid: signer.key().id(), sig }],
        })
    }

    /// Adds the signature of one more.
    pub fn countersign(&mut self, signer: &dyn Signer) -> Result<(), SignError> {
        let payload = self
            .payload_bytes()
            .map_err(|error| SignError { key: signer.key().id(), source: Box::new(error) })?;
        let sig = BASE64.encode(signer.sign(&pae(&self.payload_type, &payload))?);
        self.signatures.push(Signature { keyid: signer.key().id(), sig });
        Ok(())
    }

    /// The payload, not verified.
    pub fn payload_bytes(&self) -> Result<Vec<u8>, EnvelopeError> {
        BASE64.decode(&self.payload).map_err(|_| EnvelopeError::Payload)
    }

    /// The payload and the names of those who signed it, at least one.
    pub fn verify(&self, keys: &TrustedKeys) -> Result<(Vec<u8>, Vec<Name>), EnvelopeError> {
        let payload = self.payload_bytes()?;
        if self.signatures.is_empty() {
            return Err(EnvelopeError::Unsigned);
        }
        if self.signatures.len() > SIGNATURES {
            return Err(EnvelopeError::TooMany(self.signatures.len()));
        }
        let message = pae(&self.payload_type, &payload);
        let decoded = self.signatures.iter().filter_map(|one| BASE64.decode(&one.sig).ok());
        let mut names: Vec<Name> = decoded.flat_map(|one| keys.verify(&message, &one)).collect();
        names.sort();
        names.dedup();
        if names.is_empty() {
            return Err(EnvelopeError::Untrusted {
                count: self.signatures.len(),
                keys: crate::text::list(self.signatures.iter().map(|one| one.keyid.as_str())),
            });
        }
        Ok((payload, names))
    }
}
