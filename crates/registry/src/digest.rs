//! Content digests as registries use them: SHA-256 everywhere, SHA-512 where a client chose it.
//!
//! The rest of Kiln names content by SHA-256 alone ([`kiln_model::Digest`]); a registry must serve and check both.
//! Source of the grammar: opencontainers/image-spec 1.1, descriptor.md, "Digests".

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256, Sha512};

/// A registered hash algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// `sha256`: what every client uses unless told otherwise.
    Sha256,
    /// `sha512`.
    Sha512,
}

impl Algorithm {
    /// As it is written before the colon, and as the folder below `blobs/` is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// The length of a digest in bytes; twice as many hex digits.
    pub const fn length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

/// The digest of a blob or manifest by one of the registered algorithms.
///
/// ```
/// use kiln_registry::digest::ContentDigest;
/// let text = format!("sha512:{}", "0".repeat(128));
/// assert_eq!(text.parse::<ContentDigest>().unwrap().to_string(), text);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContentDigest {
    /// A SHA-256 sum.
    Sha256(kiln_model::Digest),
    /// A SHA-512 sum.
    Sha512([u8; 64]),
}

/// Why a text is not a digest.
#[derive(Debug, thiserror::Error)]
pub enum DigestError {
    /// The algorithm is none of the registered ones.
    #[error("{text:?} is not a digest Kiln can check: use sha256: or sha512:")]
    Algorithm {
        /// The text, cut to 150 characters.
        text: String,
    },
    /// The part after the colon is not the right number of lower-case hex digits.
    #[error("{text:?} is not a digest: expected {algorithm}: and {digits} lower-case hex digits")]
    Digits {
        /// The text, cut to 150 characters.
        text: String,
        /// The algorithm named in it.
        algorithm: &'static str,
        /// How many digits it needs.
        digits: usize,
    },
}

impl ContentDigest {
    /// The digest of bytes that are all in memory.
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    /// The SHA-256 digest of bytes that are all in memory.
    pub fn sha256(bytes: &[u8]) -> Self {
        Self::of(Algorithm::Sha256, bytes)
    }

    /// Which algorithm made it.
    pub const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// The raw bytes: 32 or 64.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Sha256(digest) => digest.as_bytes(),
            Self::Sha512(bytes) => bytes,
        }
    }

    /// The hex digits without the algorithm: the name of a blob's file in an OCI layout.
    pub fn hex(&self) -> String {
        hex::encode(self.as_bytes())
    }

    /// The digest as the rest of Kiln knows it, when it is a SHA-256.
    pub const fn as_sha256(&self) -> Option<kiln_model::Digest> {
        match self {
            Self::Sha256(digest) => Some(*digest),
            Self::Sha512(_) => None,
        }
    }

    /// Rebuilds a digest from its raw bytes: 32 of them are a SHA-256, 64 a SHA-512.
    pub fn from_raw(bytes: &[u8]) -> Option<Self> {
        if let Ok(sum) = <[u8; 32]>::try_from(bytes) {
            return Some(Self::Sha256(kiln_model::Digest::from_bytes(sum)));
        }
        <[u8; 64]>::try_from(bytes).ok().map(Self::Sha512)
    }
}

impl From<kiln_model::Digest> for ContentDigest {
    fn from(digest: kiln_model::Digest) -> Self {
        Self::Sha256(digest)
    }
}

impl fmt::Display for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm().name(), self.hex())
    }
}

impl fmt::Debug for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ContentDigest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let shown = || text.chars().take(150).collect::<String>();
        let (algorithm, digits) = match text.split_once(':') {
            Some(("sha256", digits)) => (Algorithm::Sha256, digits),
            Some(("sha512", digits)) => (Algorithm::Sha512, digits),
            _ => return Err(DigestError::Algorithm { text: shown() }),
        };
        let bad = || DigestError::Digits {
            text: shown(),
            algorithm: algorithm.name(),
            digits: algorithm.length() * 2,
        };
        if digits.len() != algorithm.length() * 2 || digits.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(bad());
        }
        let mut bytes = [0; 64];
        let bytes = &mut bytes[..algorithm.length()];
        hex::decode_to_slice(digits, bytes).map_err(|_| bad())?;
        Self::from_raw(bytes).ok_or_else(bad)
    }
}

impl Serialize for ContentDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ContentDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Takes the digest of bytes that come in pieces.
#[derive(Clone, Debug)]
pub enum Hasher {
    /// Towards a SHA-256 sum.
    Sha256(Sha256),
    /// Towards a SHA-512 sum.
    Sha512(Sha512),
}

impl Hasher {
    /// Begins with no bytes.
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    /// The digest of all bytes so far.
    pub fn finish(self) -> ContentDigest {
        match self {
            Self::Sha256(hash) => {
                ContentDigest::Sha256(kiln_model::Digest::from_bytes(hash.finalize().into()))
            }
            Self::Sha512(hash) => ContentDigest::Sha512(hash.finalize().into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_algorithms_agree_with_published_sums() {
        // FIPS 180-2, appendices B.1 and C.1.
        let short = ContentDigest::of(Algorithm::Sha256, b"abc").to_string();
        assert_eq!(short, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let long = ContentDigest::of(Algorithm::Sha512, b"abc").to_string();
        assert!(long.starts_with("sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"));
    }

    #[test]
    fn what_is_not_a_digest_says_why() {
        let error = "md5:00".parse::<ContentDigest>().unwrap_err().to_string();
        assert!(error.contains("use sha256: or sha512:"), "{error}");
        let error = format!("sha256:{}", "A".repeat(64)).parse::<ContentDigest>().unwrap_err().to_string();
        assert!(error.contains("64 lower-case hex digits"), "{error}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_back_as_it_was_or_refused(text in "(sha256|sha512|sha1)?:?[0-9a-fA-F./]{0,130}") {
            if let Ok(digest) = text.parse::<ContentDigest>() {
                prop_assert_eq!(digest.to_string(), text);
            }
        }

        #[test]
        fn every_digest_is_read_back(bytes in prop::collection::vec(any::<u8>(), 64), long: bool) {
            let digest = ContentDigest::from_raw(&bytes[..if long { 64 } else { 32 }]).unwrap();
            prop_assert_eq!(digest.to_string().parse::<ContentDigest>().unwrap(), digest);
        }
    }
}
