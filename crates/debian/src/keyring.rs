//! Whom we believe: the Debian archive's keys, and what makes one of their signatures count.
//!
//! A signature counts when a certificate of the keyring made it with its primary key or a signing subkey, that key
//! is neither expired nor revoked at the time of use, its binding verifies in both directions, the signature itself
//! is a document signature by SHA-2 or SHA-3, not from the future and not expired. One such signature is enough:
//! archives sign with the keys of several releases, of which a keyring need not hold all.
//!
//! The keys in `keys/debian-archive-keyring.gpg` are the file of that name in Debian's package
//! `debian-archive-keyring` 2023.3+deb12u2: the archive, security and release keys of Debian 11, 12 and 13.

use std::fs;
use std::path::Path;

use pgp::composed::{CleartextSignedMessage, Deserializable, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureType};
use pgp::types::KeyDetails;

use crate::Error;

const ARCHIVE_KEYS: &[u8] = include_bytes!("../keys/debian-archive-keyring.gpg");

/// Clocks differ: a signature may be this many seconds from the future.
const CLOCK_SKEW: i64 = 24 * 3600;

/// Public keys that may sign indices.
#[derive(Debug)]
pub(crate) struct Keyring {
    /// What to call it in messages.
    name: String,
    keys: Vec<SignedPublicKey>,
}

impl Keyring {
    /// The keyring of a wish: the named file, binary or armoured, or the Debian archive's.
    pub(crate) fn load(file: Option<&Path>) -> Result<Self, Error> {
        let Some(path) = file else {
            return Self::parse("the Debian archive keys that Kiln carries", ARCHIVE_KEYS);
        };
        let bytes = fs::read(path).map_err(|source| Error::file("read keyring", path, source))?;
        Self::parse(&path.display().to_string(), &bytes)
    }

    pub(crate) fn parse(name: &str, bytes: &[u8]) -> Result<Self, Error> {
        let wrong = |reason: String| Error::Keyring { name: name.to_owned(), reason };
        let keys = if bytes.starts_with(b"-----") {
            let (keys, _) =
                SignedPublicKey::from_armor_many(bytes).map_err(|error| wrong(error.to_string()))?;
            keys.collect::<Result<Vec<_>, _>>()
        } else {
            let keys = SignedPublicKey::from_bytes_many(bytes).map_err(|error| wrong(error.to_string()))?;
            keys.collect::<Result<Vec<_>, _>>()
        };
        let keys = keys.map_err(|error| wrong(error.to_string()))?;
        if keys.is_empty() {
            return Err(wrong("it holds no public key".to_owned()));
        }
        Ok(Self { name: name.to_owned(), keys })
    }

    /// Checks an inline-signed file and hands back exactly the text that was signed.
    pub(crate) fn verify(&self, url: &str, bytes: &[u8], now: i64) -> Result<String, Error> {
        let unsigned = |reason: &str| Error::Unsigned { url: url.to_owned(), reason: reason.to_owned() };
        let text = std::str::from_utf8(bytes).map_err(|_| unsigned("it is no text"))?;
        let (message, _) = CleartextSignedMessage::from_string(text)
            .map_err(|error| unsigned(&format!("it is no OpenPGP-signed text ({error})")))?;
        // With CRLF line ends, as it was hashed.
        let signed = message.signed_text();
        let mut reasons = Vec::new();
        for signature in message.signatures() {
            match self.judge(signature, signed.as_bytes(), now) {
                Ok(()) => return Ok(signed.replace("\r\n", "\n")),
                Err(reason) => reasons.push(reason),
            }
        }
        if reasons.is_empty() {
            return Err(unsigned("it carries no signature"));
        }
        reasons.sort();
        reasons.dedup();
        Err(Error::Signature { url: url.to_owned(), keyring: self.name.clone(), reason: reasons.join("; ") })
    }

    /// Whether one signature counts; if not, why.
    fn judge(&self, signature: &Signature, text: &[u8], now: i64) -> Result<(), String> {
        let mut reason = format!("key {} is not in the keyring", issuer(signature));
        for key in &self.keys {
            if names(signature, &key.primary_key) {
                match by_primary(key, signature, text, now) {
                    Ok(()) => return Ok(()),
                    Err(why) => reason = why,
                }
            }
            for subkey in key.public_subkeys.iter().filter(|subkey| names(signature, &subkey.key)) {
                match by_subkey(key, subkey, signature, text, now) {
                    Ok(()) => return Ok(()),
                    Err(why) => reason = why,
                }
            }
        }
        Err(reason)
    }
}

/// The key that a signature says it is by, for people.
fn issuer(signature: &Signature) -> String {
    let fingerprint = signature.issuer_fingerprint().first().map(|print| format!("{print:X}"));
    let id = || signature.issuer_key_id().first().map(|id| format!("{id}"));
    fingerprint.or_else(id).unwrap_or_else(|| "without a name".to_owned())
}

fn names(signature: &Signature, key: &impl KeyDetails) -> bool {
    signature.issuer_fingerprint().iter().any(|print| **print == key.fingerprint())
        || signature.issuer_key_id().iter().any(|id| **id == key.legacy_key_id())
}

fn by_primary(key: &SignedPublicKey, signature: &Signature, text: &[u8], now: i64) -> Result<(), String> {
    usable_primary(key, now)?;
    let flags = self_signatures(key).max_by_key(|found| created(found)).map(Signature::key_flags);
    if !flags.is_some_and(|flags| flags.sign()) {
        return Err(format!("key {:X} may not sign", key.primary_key.fingerprint()));
    }
    usable_signature(signature, now)?;
    signature.verify(&key.primary_key, text).map_err(|_| altered(signature))
}

fn by_subkey(
    key: &SignedPublicKey,
    subkey: &SignedPublicSubKey,
    signature: &Signature,
    text: &[u8],
    now: i64,
) -> Result<(), String> {
    usable_primary(key, now)?;
    let name = format!("key {:X}", subkey.key.fingerprint());
    let bound = subkey
        .signatures
        .iter()
        .filter(|found| found.typ() == Some(SignatureType::SubkeyBinding) && strong(found))
        .filter(|found| found.verify_subkey_binding(&key.primary_key, &subkey.key).is_ok())
        .max_by_key(|found| created(found))
        .ok_or_else(|| format!("{name} is not bound to its certificate"))?;
    let revoked = subkey.signatures.iter().any(|found| {
        found.typ() == Some(SignatureType::SubkeyRevocation)
            && found.verify_subkey_binding(&key.primary_key, &subkey.key).is_ok()
    });
    if revoked {
        return Err(format!("{name} is revoked"));
    }
    let back = bound.embedded_signature().filter(|_| bound.key_flags().sign());
    if back.is_none_or(|back| back.verify_primary_key_binding(&subkey.key, &key.primary_key).is_err()) {
        return Err(format!("{name} may not sign"));
    }
    let born = i64::from(subkey.key.created_at().as_secs());
    alive(&name, born, lifetime(bound), now)?;
    usable_signature(signature, now)?;
    signature.verify(&subkey.key, text).map_err(|_| altered(signature))
}

fn altered(signature: &Signature) -> String {
    format!("the text is not what key {} signed", issuer(signature))
}

/// The signatures by which a certificate describes itself.
fn self_signatures(key: &SignedPublicKey) -> impl Iterator<Item = &Signature> {
    let direct =
        key.details.direct_signatures.iter().filter(|found| found.verify_key(&key.primary_key).is_ok());
    let users = key.details.users.iter().flat_map(|user| {
        user.signatures.iter().filter(|found| {
            found.is_certification()
                && found.verify_certification(&key.primary_key, pgp::types::Tag::UserId, &user.id).is_ok()
        })
    });
    direct.chain(users).filter(|found| strong(found))
}

fn usable_primary(key: &SignedPublicKey, now: i64) -> Result<(), String> {
    let name = format!("key {:X}", key.primary_key.fingerprint());
    let revoked =
        key.details.revocation_signatures.iter().any(|found| found.verify_key(&key.primary_key).is_ok());
    if revoked {
        return Err(format!("{name} is revoked"));
    }
    let newest = self_signatures(key).max_by_key(|found| created(found));
    let newest = newest.ok_or_else(|| format!("{name} has no valid signature of its own"))?;
    alive(&name, i64::from(key.primary_key.created_at().as_secs()), lifetime(newest), now)
}

fn usable_signature(signature: &Signature, now: i64) -> Result<(), String> {
    if !matches!(signature.typ(), Some(SignatureType::Binary | SignatureType::Text)) {
        return Err("a signature is not one of a document".to_owned());
    }
    if !strong(signature) {
        return Err(format!("a signature uses the weak digest {:?}", signature.hash_alg()));
    }
    let made = created(signature);
    if made > now + CLOCK_SKEW {
        return Err("a signature is from the future: is this machine's clock right?".to_owned());
    }
    match signature.signature_expiration_time().map(|left| i64::from(left.as_secs())) {
        Some(left) if left > 0 && made + left < now => Err("a signature has expired".to_owned()),
        _ => Ok(()),
    }
}

fn strong(signature: &Signature) -> bool {
    use HashAlgorithm::{Sha3_256, Sha3_512, Sha256, Sha384, Sha512};
    matches!(signature.hash_alg(), Some(Sha256 | Sha384 | Sha512 | Sha3_256 | Sha3_512))
}

fn created(signature: &Signature) -> i64 {
    signature.created().map_or(i64::MAX / 2, |time| i64::from(time.as_secs()))
}

fn lifetime(signature: &Signature) -> Option<i64> {
    signature.key_expiration_time().map(|time| i64::from(time.as_secs())).filter(|seconds| *seconds > 0)
}

fn alive(name: &str, born: i64, lifetime: Option<i64>, now: i64) -> Result<(), String> {
    match lifetime {
        Some(seconds) if born + seconds < now => Err(format!("{name} has expired")),
        _ if born > now + CLOCK_SKEW => Err(format!("{name} is from the future")),
        _ => Ok(()),
    }
}
