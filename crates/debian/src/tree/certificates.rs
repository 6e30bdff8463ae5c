//! `/etc/ssl/certs` as `update-ca-certificates` makes it: one bundle of all certificates, a link to each, and a
//! link by the hash of its subject's name, which is how OpenSSL finds an issuer in a folder (X509_NAME_hash(3)).

use std::collections::BTreeMap;

use sha1::{Digest, Sha1};

use super::builder::Builder;
use crate::Error;

const SOURCE: &str = "usr/share/ca-certificates";
const TARGET: &str = "etc/ssl/certs";

pub(super) fn add(builder: &mut Builder) -> Result<(), Error> {
    let mut names: Vec<String> = builder.below(SOURCE);
    names.retain(|name| name.ends_with(".crt"));
    if names.is_empty() {
        return Ok(());
    }
    builder.folder("etc/ssl", 0o755);
    builder.folder(TARGET, 0o755);
    let mut bundle = Vec::new();
    let mut hashes: BTreeMap<u32, u32> = BTreeMap::new();
    for name in &names {
        let path = format!("{SOURCE}/{name}");
        let Some(bytes) = builder.read(&path)? else { continue };
        bundle.extend_from_slice(&bytes);
        if !bytes.ends_with(b"\n") {
            bundle.push(b'\n');
        }
        let file = name.rsplit('/').next().unwrap_or(name);
        let file = file.strip_suffix(".crt").unwrap_or(file);
        let pem = format!("{}.pem", file.replace(' ', "_").replace(['(', ')'], "=").replace(',', "_"));
        builder.link(&format!("{TARGET}/{pem}"), format!("/{path}"));
        if let Some(hash) = subject_hash(&bytes) {
            let number = hashes.entry(hash).or_default();
            builder.link(&format!("{TARGET}/{hash:08x}.{number}"), pem);
            *number += 1;
        }
    }
    builder.file(&format!("{TARGET}/ca-certificates.crt"), 0o644, bundle);
    if !builder.exists("etc/ca-certificates.conf") {
        let list: String = names.iter().map(|name| format!("{name}\n")).collect();
        builder.file("etc/ca-certificates.conf", 0o644, list.into_bytes());
    }
    Ok(())
}

/// The hash of a PEM certificate's subject; `None` when it cannot be read.
fn subject_hash(pem: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(pem).ok()?;
    let body = text.split_once("-----BEGIN CERTIFICATE-----")?.1.split_once("-----END")?.0;
    let der = base64(body)?;
    let subject = subject(&der)?;
    let digest = Sha1::digest(canonical(subject)?);
    Some(u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]]))
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0u32, 0);
    for c in text.bytes().filter(|c| !c.is_ascii_whitespace() && *c != b'=') {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    Some(bytes)
}

/// One DER value: its tag, its content, and what follows it.
fn value(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// The content of the subject's name (RFC 5280, 4.1).
fn subject(der: &[u8]) -> Option<&[u8]> {
    let (_, certificate, _) = value(der)?;
    let (_, mut rest, _) = value(certificate)?;
    // The version is optional.
    if rest.first() == Some(&0xa0) {
        rest = value(rest)?.2;
    }
    // Serial number, algorithm, issuer, validity.
    for _ in 0..4 {
        rest = value(rest)?.2;
    }
    Some(value(rest)?.1)
}

/// OpenSSL's canonical form of a name: text as lower-case UTF-8 with single blanks, without the outer header.
fn canonical(mut name: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    while !name.is_empty() {
        let (tag, mut set, rest) = value(name)?;
        name = rest;
        let mut attributes = Vec::new();
        while !set.is_empty() {
            let (_, attribute, rest) = value(set)?;
            set = rest;
            let (kind, object, text) = value(attribute)?;
            let (string, content, _) = value(text)?;
            let (string, content) = match text_of(string, content) {
                Some(text) => (0x0c, fold(&text)),
                None => (string, content.to_vec()),
            };
            let body = [wrap(kind, object), wrap(string, &content)].concat();
            attributes.push(wrap(0x30, &body));
        }
        // A set is written in the order of its members' bytes.
        attributes.sort();
        out.extend(wrap(tag, &attributes.concat()));
    }
    Some(out)
}

/// Text of the string kinds that OpenSSL folds.
fn text_of(tag: u8, content: &[u8]) -> Option<String> {
    match tag {
        0x0c | 0x13 | 0x16 | 0x1a => Some(String::from_utf8_lossy(content).into_owned()),
        0x14 => Some(content.iter().map(|b| char::from(*b)).collect()),
        0x1e => {
            let units: Vec<u16> =
                content.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
            Some(String::from_utf16_lossy(&units))
        }
        _ => None,
    }
}

fn fold(text: &str) -> Vec<u8> {
    let blank = |c: char| matches!(c, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r');
    let words: Vec<&str> = text.split(blank).filter(|word| !word.is_empty()).collect();
    words.join(" ").to_ascii_lowercase().into_bytes()
}

fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len();
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let digits: Vec<u8> = length.to_be_bytes().into_iter().skip_while(|digit| *digit == 0).collect();
        out.push(0x80 | digits.len() as u8);
        out.extend(digits);
    }
    out.extend_from_slice(content);
    out
}
