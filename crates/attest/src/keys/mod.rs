//! Keys: ECDSA on P-256 with SHA-256 and Ed25519, the two that cosign, Kiln and hardware tokens have in common.
//!
//! Public keys are SPKI, private keys PKCS#8, both in PEM. A private key with a passphrase is kept in cosign's own
//! box, so that either program signs with the other's keys. Whatever can sign is a [`Signer`]: the rest of Kiln
//! never asks where a private key lives.

mod folder;
mod private;
mod public;
mod sealed;
mod trusted;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use folder::Folder;
pub use private::PrivateKey;
pub use public::PublicKey;
pub use trusted::TrustedKeys;

/// How keys sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// ECDSA on P-256 over the SHA-256 digest; signatures are ASN.1 DER, as cosign writes them.
    EcdsaP256,
    /// Ed25519 (RFC 8032) over the message itself; signatures are 64 raw bytes.
    Ed25519,
}

/// Whatever can sign: a key in memory, and later a token (PKCS#11) or a key service.
pub trait Signer {
    /// The key that verifies what this signs.
    fn key(&self) -> &PublicKey;

    /// Signs a message. The algorithm's own hash is taken here; callers pass the whole message.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
#[error("the key {key} cannot sign")]
pub struct SignError {
    /// The identity of the key ([`PublicKey::id`]).
    pub key: String,
    /// What the key, token or service answered.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// A signature does not fit a key and a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature was not made by this key over this message")]
pub struct BadSignature;

/// Why a key cannot be read, made or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not PEM.
    #[error("the key is not a PEM document (-----BEGIN …-----)")]
    Pem,
    /// PEM of something else.
    #[error("the document is a {label:?}, not a {wanted} key")]
    Label {
        /// What it says it is.
        label: String,
        /// `private` or `public`.
        wanted: &'static str,
    },
    /// Neither P-256 nor Ed25519, or damaged.
    #[error("the key is damaged, or neither ECDSA P-256 nor Ed25519")]
    Unsupported,
    /// A key in a box, and no passphrase given.
    #[error("the key is kept under a passphrase; none was given")]
    PassphraseNeeded,
    /// The box does not open.
    #[error("the passphrase is wrong, or the key file was changed")]
    Passphrase,
    /// The box is not what cosign writes.
    #[error("the encrypted key cannot be understood: {0}")]
    Box(String),
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Random,
    /// There is such a key already.
    #[error("there is a key {} already; remove it or choose another name", path.display())]
    Exists {
        /// The file that is in the way.
        path: PathBuf,
    },
    /// There is no such key.
    #[error("there is no key {name} in {}", folder.display())]
    Unknown {
        /// The name asked for.
        name: String,
        /// Where was looked.
        folder: PathBuf,
    },
    /// A key file that others can read.
    #[error("{} can be read by others (mode {mode:o}); run: chmod 600 {}", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A key in a file cannot be used.
    #[error("cannot use the key in {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<Self>,
    },
    /// The operating system refused.
    #[error("cannot {act} {}", path.display())]
    Io {
        /// What was being done.
        act: &'static str,
        /// To which file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
}
