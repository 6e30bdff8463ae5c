//! cosign's encrypted private keys: PKCS#8 in a NaCl secret box (XSalsa20-Poly1305) under a key that scrypt makes of
//! the passphrase, as JSON in PEM. Source: secure-systems-lab/go-securesystemslib, package `encrypted`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use crypto_secretbox::aead::{Aead, KeyInit};
use crypto_secretbox::{Nonce, XSalsa20Poly1305};
use rand_core::{OsRng, RngCore};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::KeyError;

/// What cosign calls such a document: since 2.0, and before.
pub(super) const LABELS: [&str; 2] = ["ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY"];

/// What cosign 2 takes; one opening costs about 0.1 s and 64 MiB.
const COST: Cost = Cost { n: 1 << 16, r: 8, p: 1 };
/// A file may ask for no more memory than this (scrypt needs 128·N·r bytes) …
const MEMORY: u64 = 256 << 20;
/// … nor for more rounds over it.
const ROUNDS: u32 = 16;

#[derive(Serialize, Deserialize)]
struct Sealed {
    kdf: Kdf,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Serialize, Deserialize)]
struct Kdf {
    name: String,
    params: Cost,
    salt: String,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Cost {
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
}

#[derive(Serialize, Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

/// Opens a box.
pub(super) fn open(json: &[u8], passphrase: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let strange = |what: &str| KeyError::Box(what.to_owned());
    let sealed: Sealed = serde_json::from_slice(json).map_err(|error| strange(&error.to_string()))?;
    if sealed.kdf.name != "scrypt" || sealed.cipher.name != "nacl/secretbox" {
        return Err(strange("only scrypt with nacl/secretbox is known"));
    }
    let decode = |text: &str| BASE64.decode(text).map_err(|_| strange("it holds bad base64"));
    let salt = decode(&sealed.kdf.salt)?;
    let nonce: [u8; 24] =
        decode(&sealed.cipher.nonce)?.try_into().map_err(|_| strange("its nonce is not 24 bytes long"))?;
    let ciphertext = decode(&sealed.ciphertext)?;
    let key = stretch(passphrase, &salt, sealed.kdf.params)?;
    let plain = XSalsa20Poly1305::new((&*key).into()).decrypt(&Nonce::from(nonce), ciphertext.as_slice());
    plain.map(Zeroizing::new).map_err(|_| KeyError::Passphrase)
}

/// Closes a box.
pub(super) fn seal(plain: &[u8], passphrase: &[u8]) -> Result<Vec<u8>, KeyError> {
    let (mut salt, mut nonce) = ([0; 32], [0; 24]);
    for bytes in [&mut salt[..], &mut nonce[..]] {
        OsRng.try_fill_bytes(bytes).map_err(|_| KeyError::Random)?;
    }
    let key = stretch(passphrase, &salt, COST)?;
    let ciphertext = XSalsa20Poly1305::new((&*key).into())
        .encrypt(&Nonce::from(nonce), plain)
        .map_err(|_| KeyError::Box("the key is too long".into()))?;
    let sealed = Sealed {
        kdf: Kdf { name: "scrypt".into(), params: COST, salt: BASE64.encode(salt) },
        cipher: Cipher { name: "nacl/secretbox".into(), nonce: BASE64.encode(nonce) },
        ciphertext: BASE64.encode(ciphertext),
    };
    serde_json::to_vec(&sealed).map_err(|error| KeyError::Box(error.to_string()))
}

fn stretch(passphrase: &[u8], salt: &[u8], cost: Cost) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let refuse = || KeyError::Box(format!("scrypt with N={}, r={}, p={} is refused", cost.n, cost.r, cost.p));
    let memory = cost.n.saturating_mul(u64::from(cost.r)).saturating_mul(128);
    if !cost.n.is_power_of_two() || cost.n < 2 || memory > MEMORY || cost.p > ROUNDS {
        return Err(refuse());
    }
    let log_n = u8::try_from(cost.n.trailing_zeros()).map_err(|_| refuse())?;
    let params = scrypt::Params::new(log_n, cost.r, cost.p, 32).map_err(|_| refuse())?;
    let mut key = Zeroizing::new([0; 32]);
    scrypt::scrypt(passphrase, salt, &params, key.as_mut()).map_err(|_| refuse())?;
    Ok(key)
}

/// A PEM document with lines of 64 characters, as every reader takes them.
pub(super) fn pem(label: &str, bytes: &[u8]) -> String {
    let body = Zeroizing::new(BASE64.encode(bytes));
    let mut text = format!("-----BEGIN {label}-----\n");
    text.reserve(body.len() + body.len() / 64 + 64);
    for line in body.as_bytes().chunks(64) {
        text.extend(line.iter().map(|byte| char::from(*byte)));
        text.push('\n');
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}
