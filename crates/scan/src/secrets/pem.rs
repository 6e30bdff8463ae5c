//! Private keys in armour: PEM (RFC 7468), OpenSSH and OpenPGP (RFC 9580, section 6.2).
//!
//! Armour alone is no key: documentation shows it, programs search for it. So the body is decoded and its outermost
//! structure read. The lines may be real ones, or written as `\n` in JSON and in source code.

use super::verify;

/// Bytes after the first armour line that are looked at; an RSA key of 16,384 bits has 12,600.
const MOST: usize = 24 << 10;

/// A private key.
pub(crate) struct PrivateKey {
    /// Which kind.
    pub(crate) kind: Kind,
    /// Whether a passphrase protects it.
    pub(crate) encrypted: bool,
    /// Bytes of the armour and what is in it.
    pub(crate) length: usize,
    /// The decoded body.
    pub(crate) body: Vec<u8>,
}

/// What wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Der,
    OpenSsh,
    OpenPgp,
}

const BEGIN: &[u8] = b"-----BEGIN ";

/// The private key whose armour begins at the start of a text.
pub(crate) fn private_key(text: &[u8]) -> Option<PrivateKey> {
    let text = &text[..text.len().min(MOST)];
    let rest = text.strip_prefix(BEGIN)?;
    let label_end = memchr::memmem::find(&rest[..rest.len().min(64)], b"-----")?;
    let label = &rest[..label_end];
    let kind = match label {
        b"PRIVATE KEY"
        | b"RSA PRIVATE KEY"
        | b"EC PRIVATE KEY"
        | b"DSA PRIVATE KEY"
        | b"ENCRYPTED PRIVATE KEY" => Kind::Der,
        b"OPENSSH PRIVATE KEY" => Kind::OpenSsh,
        b"PGP PRIVATE KEY BLOCK" => Kind::OpenPgp,
        _ => return None,
    };
    let inner = &rest[label_end + 5..];
    let end = memchr::memmem::find(inner, b"-----END ")?;
    let closing = inner[end + 9..].strip_prefix(label)?.strip_prefix(b"-----")?;
    let (body, headers) = body(&inner[..end]);
    let body = verify::base64(&body)?;
    let encrypted = match kind {
        Kind::Der => label.starts_with(b"ENCRYPTED") || headers,
        Kind::OpenSsh => openssh_cipher(&body)? != b"none",
        Kind::OpenPgp => false,
    };
    let sound = match kind {
        // What an old-style passphrase encrypts has no structure.
        Kind::Der if headers => body.len() >= 64 && body.len().is_multiple_of(8),
        Kind::Der => der(&body),
        Kind::OpenSsh => body.len() > 100,
        Kind::OpenPgp => pgp(&body),
    };
    sound.then(|| PrivateKey { kind, encrypted, length: text.len() - closing.len(), body })
}

/// The base64 of a body, and whether a header says that it is encrypted.
fn body(text: &[u8]) -> (Vec<u8>, bool) {
    let text = unescape(text);
    let mut out = Vec::with_capacity(text.len());
    let mut encrypted = false;
    for line in text.split(|b| matches!(b, b'\n' | b'\r')) {
        let line = trim(line);
        // `Proc-Type: 4,ENCRYPTED`, `Version: GnuPG v2`, and the checksum of OpenPGP.
        if line.contains(&b':') {
            encrypted |= line.ends_with(b"ENCRYPTED");
        } else if !(line.len() == 5 && line[0] == b'=') {
            out.extend(line.iter().filter(|b| !b.is_ascii_whitespace()));
        }
    }
    (out, encrypted)
}

/// Makes lines of `\n`, which may itself be escaped.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'\\' {
            out.push(*first);
            continue;
        }
        let letter = rest.iter().position(|b| *b != b'\\').unwrap_or(rest.len());
        match rest.get(letter) {
            Some(b'n' | b'r') => {
                out.push(b'\n');
                rest = &rest[letter + 1..];
            }
            // `\/` in JSON, and a `\` at the end of a line.
            _ => rest = &rest[letter..],
        }
    }
    out
}

/// Takes away what a line of source code has around a text.
fn trim(line: &[u8]) -> &[u8] {
    let outside = |b: &u8| b.is_ascii_whitespace() || b"\"'`,;#*".contains(b);
    let start = line.iter().position(|b| !outside(b)).unwrap_or(line.len());
    let end = line.iter().rposition(|b| !outside(b)).map_or(start, |end| end + 1);
    &line[start..end]
}

/// One DER sequence that fills all, at least as long as an Ed25519 key.
fn der(body: &[u8]) -> bool {
    let [0x30, length, rest @ ..] = body else { return false };
    let told = match length {
        short @ 0..=0x7f => Some((usize::from(*short), 0)),
        0x81 => rest.first().map(|b| (usize::from(*b), 1)),
        0x82 => rest.get(..2).map(|b| (usize::from(b[0]) << 8 | usize::from(b[1]), 2)),
        _ => None,
    };
    told.is_some_and(|(length, octets)| length >= 44 && length + octets == rest.len())
}

/// The cipher of an OpenSSH key. Source: OpenSSH, `PROTOCOL.key`.
fn openssh_cipher(body: &[u8]) -> Option<&[u8]> {
    let rest = body.strip_prefix(b"openssh-key-v1\0")?;
    let (length, rest) = rest.split_at_checked(4)?;
    let length = u32::from_be_bytes(length.try_into().ok()?);
    rest.get(..usize::try_from(length).ok()?)
}

/// A first packet that is a secret key (tag 5), in either format of packets.
fn pgp(body: &[u8]) -> bool {
    body.len() > 64 && matches!(body.first(), Some(0x94..=0x97 | 0xc5))
}
