//! Private keys in memory. Their bytes are wiped when they are dropped, here and in the curves' crates.

use std::fmt;

use ed25519_dalek::SigningKey as Ed25519Key;
use ed25519_dalek::pkcs8::KeypairBytes;
use p256::SecretKey;
use p256::ecdsa::{DerSignature, SigningKey as P256Key, signature::Signer as _};
use pkcs8::{DecodePrivateKey, EncodePrivateKey};
use rand_core::{CryptoRng, OsRng, RngCore};
use zeroize::Zeroizing;

use super::{Algorithm, KeyError, PublicKey, SignError, Signer, sealed};

const PKCS8: &str = "PRIVATE KEY";
const SEC1: &str = "EC PRIVATE KEY";

/// A key that signs.
pub struct PrivateKey {
    kind: Kind,
    public: PublicKey,
}

enum Kind {
    P256(P256Key),
    Ed25519(Ed25519Key),
}

impl PrivateKey {
    /// Makes a key from the system's random bytes.
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        let mut probe = Zeroizing::new([0; 32]);
        // The curves' crates panic where the system has no random bytes; this asks first.
        OsRng.try_fill_bytes(probe.as_mut()).map_err(|_| KeyError::Random)?;
        Self::generate_with(algorithm, &mut OsRng)
    }

    /// Makes a key from a generator of random bytes.
    pub fn generate_with(
        algorithm: Algorithm,
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<Self, KeyError> {
        match algorithm {
            Algorithm::EcdsaP256 => Self::p256(P256Key::random(rng)),
            Algorithm::Ed25519 => Self::ed25519(Ed25519Key::generate(rng)),
        }
    }

    /// Reads a key: PKCS#8 (`PRIVATE KEY`), SEC 1 (`EC PRIVATE KEY`), or cosign's encrypted form, for which a
    /// passphrase is needed (an empty one is one). A passphrase that is not needed is not looked at.
    pub fn from_pem(text: &str, passphrase: Option<&[u8]>) -> Result<Self, KeyError> {
        let (label, bytes) = pem_rfc7468::decode_vec(text.trim().as_bytes()).map_err(|_| KeyError::Pem)?;
        let bytes = Zeroizing::new(bytes);
        match label {
            PKCS8 => Self::from_pkcs8(&bytes),
            SEC1 => {
                let secret = SecretKey::from_sec1_der(&bytes).map_err(|_| KeyError::Unsupported)?;
                Self::p256(secret.into())
            }
            label if sealed::LABELS.contains(&label) => {
                let passphrase = passphrase.ok_or(KeyError::PassphraseNeeded)?;
                Self::from_pkcs8(&sealed::open(&bytes, passphrase)?)
            }
            other => Err(KeyError::Label { label: other.into(), wanted: "private" }),
        }
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        if let Ok(secret) = SecretKey::from_pkcs8_der(der) {
            return Self::p256(secret.into());
        }
        Self::ed25519(Ed25519Key::from_pkcs8_der(der).map_err(|_| KeyError::Unsupported)?)
    }

    fn p256(key: P256Key) -> Result<Self, KeyError> {
        let public = PublicKey::p256(*key.verifying_key())?;
        Ok(Self { kind: Kind::P256(key), public })
    }

    fn ed25519(key: Ed25519Key) -> Result<Self, KeyError> {
        let public = PublicKey::ed25519(key.verifying_key())?;
        Ok(Self { kind: Kind::Ed25519(key), public })
    }

    /// The key as PEM: with a passphrase in cosign's encrypted form, without one as plain PKCS#8.
    pub fn to_pem(&self, passphrase: Option<&[u8]>) -> Result<Zeroizing<String>, KeyError> {
        let der = self.to_pkcs8()?;
        match passphrase {
            None => Ok(Zeroizing::new(sealed::pem(PKCS8, &der))),
            Some(passphrase) => {
                let sealed = sealed::seal(&der, passphrase)?;
                Ok(Zeroizing::new(sealed::pem(sealed::LABELS[0], &sealed)))
            }
        }
    }

    fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let document = match &self.kind {
            Kind::P256(key) => SecretKey::from(key).to_pkcs8_der(),
            // Without the public half: older readers know only version 1 of PKCS#8.
            Kind::Ed25519(key) => {
                KeypairBytes { secret_key: key.to_bytes(), public_key: None }.to_pkcs8_der()
            }
        };
        Ok(document.map_err(|_| KeyError::Unsupported)?.to_bytes())
    }

    /// The key that verifies what this signs.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }
}

impl Signer for PrivateKey {
    fn key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        match &self.kind {
            // The nonce is derived from key and message (RFC 6979): equal messages have equal signatures.
            Kind::P256(key) => {
                let made: Result<DerSignature, _> = key.try_sign(message);
                let made = made
                    .map_err(|error| SignError { key: self.public.id(), source: error.to_string().into() })?;
                Ok(made.as_bytes().to_vec())
            }
            Kind::Ed25519(key) => Ok(key.sign(message).to_bytes().to_vec()),
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({:?} {})", self.public.algorithm(), self.public.id())
    }
}
