//! Public keys: SPKI (RFC 5280, RFC 8410), in PEM.

use std::fmt;

use ed25519_dalek::VerifyingKey as Ed25519Key;
use p256::ecdsa::{DerSignature, VerifyingKey as P256Key, signature::Verifier};
use pkcs8::{DecodePublicKey, EncodePublicKey};
use sha2::{Digest as _, Sha256};

use super::{Algorithm, BadSignature, KeyError};

pub(super) const LABEL: &str = "PUBLIC KEY";

/// A key that verifies.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    kind: Kind,
    /// The SPKI document: what the identity is taken over.
    der: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    P256(P256Key),
    Ed25519(Ed25519Key),
}

impl PublicKey {
    /// Reads a PEM document `PUBLIC KEY`.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let (label, der) = pem_rfc7468::decode_vec(text.trim().as_bytes()).map_err(|_| KeyError::Pem)?;
        if label != LABEL {
            return Err(KeyError::Label { label: label.into(), wanted: "public" });
        }
        Self::from_der(&der)
    }

    /// Reads SPKI.
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        if let Ok(key) = P256Key::from_public_key_der(der) {
            return Self::p256(key);
        }
        let key = Ed25519Key::from_public_key_der(der).map_err(|_| KeyError::Unsupported)?;
        Self::ed25519(key)
    }

    pub(super) fn p256(key: P256Key) -> Result<Self, KeyError> {
        let spki = p256::PublicKey::from(&key).to_public_key_der();
        let der = spki.map_err(|_| KeyError::Unsupported)?.into_vec();
        Ok(Self { kind: Kind::P256(key), der })
    }

    pub(super) fn ed25519(key: Ed25519Key) -> Result<Self, KeyError> {
        let der = key.to_public_key_der().map_err(|_| KeyError::Unsupported)?.into_vec();
        Ok(Self { kind: Kind::Ed25519(key), der })
    }

    /// The key as PEM, with a newline at its end.
    pub fn to_pem(&self) -> String {
        super::sealed::pem(LABEL, &self.der)
    }

    /// The key as SPKI.
    pub fn to_der(&self) -> &[u8] {
        &self.der
    }

    /// The key's identity: the hex SHA-256 of its SPKI, as `keyid` in envelopes.
    pub fn id(&self) -> String {
        hex::encode(Sha256::digest(&self.der))
    }

    /// How it verifies.
    pub fn algorithm(&self) -> Algorithm {
        match self.kind {
            Kind::P256(_) => Algorithm::EcdsaP256,
            Kind::Ed25519(_) => Algorithm::Ed25519,
        }
    }

    /// Checks a signature over a whole message.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        let good = match &self.kind {
            Kind::P256(key) => {
                DerSignature::from_bytes(signature).is_ok_and(|found| key.verify(message, &found).is_ok())
            }
            // The strict form refuses keys and signatures of small order, with which anything verifies.
            Kind::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|found| key.verify_strict(message, &found).is_ok()),
        };
        if good { Ok(()) } else { Err(BadSignature) }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({:?} {})", self.algorithm(), self.id())
    }
}
