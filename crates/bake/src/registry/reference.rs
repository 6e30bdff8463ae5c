//! `host/name:tag@digest`, with Docker's short forms.

use std::fmt;

use kiln_model::Digest;

use super::RegistryError;

/// A parsed reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    /// Registry host with port.
    pub(crate) host: String,
    /// Repository.
    pub(crate) name: String,
    /// `latest` when neither tag nor digest is given.
    pub(crate) tag: Option<String>,
    pub(crate) digest: Option<Digest>,
}

impl Reference {
    /// Parses a reference. Names without a host are Docker Hub's.
    pub(crate) fn parse(text: &str) -> Result<Self, RegistryError> {
        let wrong = |reason| RegistryError::Reference { text: text.chars().take(200).collect(), reason };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                (rest, Some(digest.parse().map_err(|_| wrong("what follows the @ is no sha256 digest"))?))
            }
            None => (text, None),
        };
        let (host, path) = match rest.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => {
                (host.to_owned(), path.to_owned())
            }
            Some(_) => ("docker.io".to_owned(), rest.to_owned()),
            None => ("docker.io".to_owned(), format!("library/{rest}")),
        };
        let (name, tag) = match path.rsplit_once(':') {
            Some((name, tag)) => (name.to_owned(), Some(tag.to_owned())),
            None => (path, None),
        };
        let part = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_alphanumeric())
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
        };
        if !name.split('/').all(part) {
            return Err(wrong("the name has lower-case letters, digits and . _ - only"));
        }
        let word = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        if tag.as_ref().is_some_and(|tag| tag.is_empty() || tag.len() > 128 || !tag.bytes().all(word)) {
            return Err(wrong("the tag has letters, digits and . _ - only"));
        }
        let host_byte = |b: u8| b.is_ascii_alphanumeric() || b".-:[]".contains(&b);
        if host.is_empty() || !host.bytes().all(host_byte) {
            return Err(wrong("the host is none"));
        }
        let tag = if tag.is_none() && digest.is_none() { Some("latest".to_owned()) } else { tag };
        Ok(Self { host, name, tag, digest })
    }

    /// Where its registry is reached. Only this machine is spoken to in the clear.
    pub(crate) fn base(&self) -> String {
        let host = if self.host == "docker.io" { "registry-1.docker.io" } else { self.host.as_str() };
        let bare = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => host.split(':').next().unwrap_or_default(),
        };
        let local = bare == "localhost"
            || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        format!("{}://{host}/v2/{}", if local { "http" } else { "https" }, self.name)
    }

    /// What to ask for the manifest by.
    pub(crate) fn version(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".into(),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.name)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_forms_are_dockers() {
        let parse = |text: &str| Reference::parse(text).unwrap();
        assert_eq!(parse("debian").to_string(), "docker.io/library/debian:latest");
        assert_eq!(parse("acme/web:1.2").to_string(), "docker.io/acme/web:1.2");
        assert_eq!(parse("ghcr.io/acme/web").base(), "https://ghcr.io/v2/acme/web");
        assert_eq!(parse("localhost:5000/web:1").base(), "http://localhost:5000/v2/web");
        assert_eq!(parse("[::1]:5000/web:1").base(), "http://[::1]:5000/v2/web");
        let pinned = format!("ghcr.io/a/b:c@sha256:{}", "0".repeat(64));
        assert_eq!(parse(&pinned).to_string(), pinned);
        for wrong in ["", "Acme/Web", "a/b@sha256:12", "a b", "a:", "http://x/y", "a/../b"] {
            assert!(Reference::parse(wrong).is_err(), "{wrong}");
        }
    }
}
