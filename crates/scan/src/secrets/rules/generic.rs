//! Values that are secrets by the name they are given: `db_password = "…"`.
//!
//! Names promise little, so the value must look as if a machine had made it, the file must be somebody's own (neither a
//! library, nor documentation, nor a test), and the name must say that the value is the secret and not something about
//! it. In the configuration of an image the name is enough: nothing else stands there.

use super::super::{Confidence, plausible};
use super::{Context, Find, Hit, Match, Rule};
use crate::Severity;

/// Ends of the words, so that each stands for its forms with and without a capital.
const KEYS: &[&str] = &[
    "assword",
    "asswd",
    "assphrase",
    "ecret",
    "oken",
    "pi_key",
    "pi-key",
    "pikey",
    "piKey",
    "piToken",
    "ccess_key",
    "ccessKey",
    "rivate_key",
    "redential",
    "ASSWORD",
    "ASSWD",
    "ASSPHRASE",
    "ECRET",
    "OKEN",
    "PI_KEY",
    "PIKEY",
    "CCESS_KEY",
    "RIVATE_KEY",
    "REDENTIAL",
];

pub(super) fn rules() -> Vec<Rule> {
    vec![Rule {
        id: "generic-secret",
        title: "value with the name of a secret",
        severity: Severity::High,
        issuer: "whoever issued it",
        keys: KEYS,
        binary: false,
        strong: false,
        find: Find::Code(find),
    }]
}

fn find(hit: &Hit<'_>) -> Option<Match> {
    let loose = match hit.context {
        Context::File(path) if super::super::paths::borrowed(path) => return None,
        Context::File(path) => super::super::paths::settings(path),
        Context::Config => true,
    };
    let name = name(hit)?;
    let value = value(hit.text, name.end, loose)?;
    let text = &hit.text[value.clone()];
    let confidence = if plausible::random(text) {
        Confidence::Likely
    } else if matches!(hit.context, Context::Config) && by_name_alone(text) {
        Confidence::Possible
    } else {
        return None;
    };
    let name = String::from_utf8_lossy(&hit.text[name]).into_owned();
    Some(Match { name: Some(name), ..Match::new(value, confidence) })
}

fn part_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// The whole name that a key is in, when it is that of a secret.
fn name(hit: &Hit<'_>) -> Option<std::ops::Range<usize>> {
    let before = hit.text[..hit.key.start].iter().rev().take(64).take_while(|b| part_of_name(**b)).count();
    let after = hit.text[hit.key.end..].iter().take(32).take_while(|b| part_of_name(**b)).count();
    let range = hit.key.start - before..hit.key.end + after;
    let name = std::str::from_utf8(&hit.text[range.clone()]).ok()?;
    // Of several keys in one name, the first finds it.
    let first = KEYS.iter().filter_map(|key| name.find(key)).min()?;
    (first == before && secret_name(name)).then_some(range)
}

/// Whether a value with this name is a secret, by the last words of the name.
fn secret_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase().replace(['-', '.'], "_");
    let end = lower.trim_end_matches(|c: char| c.is_ascii_digit() || c == '_');
    let end = ["_value", "_base", "_prod", "_live", "_string"]
        .iter()
        .fold(end, |end, tail| end.strip_suffix(tail).unwrap_or(end));
    let secret = [
        "password",
        "passwd",
        "passphrase",
        "secret",
        "token",
        "api_key",
        "apikey",
        "access_key",
        "accesskey",
        "secret_key",
        "secretkey",
        "private_key",
        "credential",
        "credentials",
        "secret_key_base",
        "auth_key",
    ];
    const PUBLIC: [&str; 12] = [
        "public",
        "csrf",
        "xsrf",
        "next_token",
        "page_token",
        "nexttoken",
        "pagetoken",
        "continuation",
        "verificationtoken",
        "no_",
        "key_id",
        "stop_token",
    ];
    secret.iter().any(|word| end.ends_with(word)) && !PUBLIC.iter().any(|word| lower.contains(word))
}

/// The value that a name is given.
fn value(text: &[u8], from: usize, loose: bool) -> Option<std::ops::Range<usize>> {
    let mut at = from;
    let blank = |at: usize| {
        text[at.min(text.len())..].iter().take(8).take_while(|b| matches!(b, b' ' | b'\t')).count()
    };
    at += text.get(at..at + 2).map_or(0, |two| match two {
        [b'"' | b'\'', b']'] => 2,
        [b'"' | b'\'', _] => 1,
        _ => 0,
    });
    at += blank(at);
    at += match text.get(at..)? {
        [b'=' | b'!', b'=', ..] => return None,
        [b'=', b'>', ..] | [b':', b'=', ..] => 2,
        [b':', b':', ..] => return None,
        [b'=' | b':', ..] => 1,
        _ => return None,
    };
    at += blank(at);
    let rest = &text[at..text.len().min(at + 300)];
    match rest {
        [quote @ (b'"' | b'\'' | b'`'), inner @ ..] => {
            let end = inner.iter().position(|b| b == quote || *b == b'\n')?;
            (inner[end] == *quote && end > 0).then(|| at + 1..at + 1 + end)
        }
        _ if loose => {
            let ends = |b: &u8| b.is_ascii_whitespace() || b"\"'`,;".contains(b) || *b == 0;
            let end = rest.iter().position(ends).unwrap_or(rest.len());
            (end > 0 && end < 300).then(|| at..at + end)
        }
        _ => None,
    }
}

/// Whether a value in a configuration can be the secret that its name promises.
fn by_name_alone(text: &[u8]) -> bool {
    const NONE: [&[u8]; 8] =
        [b"true", b"false", b"null", b"none", b"required", b"optional", b"enabled", b"disabled"];
    let lower = text.to_ascii_lowercase();
    text.len() >= 6
        && text.iter().all(u8::is_ascii_graphic)
        && !text.starts_with(b"/")
        && !text.contains(&b'(')
        && !plausible::placeholder(text)
        && !NONE.contains(&lower.as_slice())
}
