//! Credentials from Docker's `config.json`, and the challenge that a registry answers with.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    auths: BTreeMap<String, Entry>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: String,
}

/// A user and his password.
#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) user: String,
    pub(super) password: String,
}

/// What `docker login` stored for a host; `None` when there is nothing that can be read. Credential helpers are
/// not asked.
pub(super) fn stored(host: &str) -> Option<Credentials> {
    let folder = match std::env::var_os("DOCKER_CONFIG") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(std::env::var_os("HOME")?).join(".docker"),
    };
    find(&std::fs::read(folder.join("config.json")).ok()?, host)
}

fn find(config: &[u8], host: &str) -> Option<Credentials> {
    let config: Config = serde_json::from_slice(config).ok()?;
    let names: &[&str] = match host {
        "docker.io" => &["https://index.docker.io/v1/", "docker.io", "index.docker.io"],
        _ => &[],
    };
    let bare = |name: &str| {
        let name = name.trim_start_matches("https://").trim_start_matches("http://");
        name.split('/').next().unwrap_or_default().to_owned()
    };
    let known = names.iter().find_map(|name| config.auths.get(*name));
    let entry =
        known.or_else(|| config.auths.iter().find(|(name, _)| bare(name) == host).map(|(_, entry)| entry))?;
    let text = String::from_utf8(base64(&entry.auth)?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some(Credentials { user: user.into(), password: password.into() })
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for b in text.trim_end_matches('=').bytes() {
        let six = match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

/// What a registry wants to see (RFC 9110 section 11).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User and password.
    Basic,
    /// A token from this address, asked with these parameters.
    Bearer { realm: String, parameters: Vec<(String, String)> },
}

/// Reads a `WWW-Authenticate` header.
pub(super) fn challenge(header: &str) -> Option<Challenge> {
    let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let mut realm = None;
    let mut parameters = Vec::new();
    for (name, value) in fields(rest) {
        match name.as_str() {
            "realm" => realm = Some(value),
            "service" | "scope" => parameters.push((name, value)),
            _ => {}
        }
    }
    Some(Challenge::Bearer { realm: realm?, parameters })
}

/// `name="value"` fields with commas between them; a value may hold commas.
fn fields(mut text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    while let Some((name, rest)) = text.split_once('=') {
        let name = name.trim().trim_start_matches(',').trim().to_ascii_lowercase();
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest.split_once(',').unwrap_or((rest, "")),
        };
        found.push((name, value.to_owned()));
        text = rest;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let hub =
            "Bearer realm=\"https://auth.example/token\",service=\"reg\",scope=\"repository:a/b:pull,push\"";
        let Some(Challenge::Bearer { realm, parameters }) = challenge(hub) else { panic!("no bearer") };
        assert_eq!(realm, "https://auth.example/token");
        assert_eq!(parameters[1], ("scope".to_owned(), "repository:a/b:pull,push".to_owned()));
        assert_eq!(challenge("Basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(challenge("Negotiate"), None);
    }

    #[test]
    fn credentials_are_found_by_host() {
        let config = br#"{"auths":{"https://reg.example/v1/":{"auth":"dXNlcjpwYTpzcw=="},"other":{}}}"#;
        let found = find(config, "reg.example").unwrap();
        assert_eq!((found.user.as_str(), found.password.as_str()), ("user", "pa:ss"));
        assert!(find(config, "nowhere").is_none());
    }
}
