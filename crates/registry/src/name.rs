//! Names in a registry: repositories, tags, references to manifests, and full image references with a host; and
//! the media types of manifests.
//!
//! Source of the grammars: opencontainers/distribution-spec 1.1, "Pulling manifests"; of the short forms
//! (`debian` for `docker.io/library/debian`): the reference package of the distribution project.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::{ContentDigest, DigestError};

/// Media type of an OCI image manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an OCI image index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of Docker's image manifest, version 2 schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Media type of Docker's manifest list.
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Media type of the empty JSON object that artifacts without configuration name as theirs.
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// Whether this is the media type of a document that lists other manifests.
pub fn is_index(media_type: &str) -> bool {
    media_type == INDEX || media_type == DOCKER_INDEX
}

/// Whether this is a media type that a registry stores under `manifests/`.
pub fn is_manifest(media_type: &str) -> bool {
    media_type == MANIFEST || media_type == DOCKER_MANIFEST || is_index(media_type)
}

/// The longest name of a repository: clients limit host and name together to 255 characters.
const NAME_LIMIT: usize = 255;
/// The longest tag.
const TAG_LIMIT: usize = 128;

/// Why a text is not a name.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// Not a repository.
    #[error(
        "{text:?} cannot name a repository: use lower-case letters, digits and single `.`, `_`, `__` or dashes \
         between them, parts divided by `/`, at most {NAME_LIMIT} characters"
    )]
    Repository {
        /// The text, cut to 300 characters.
        text: String,
    },
    /// Not a tag.
    #[error(
        "{text:?} cannot be a tag: use 1 to {TAG_LIMIT} letters, digits, `_`, `.` and `-`, not beginning with `.` or `-`"
    )]
    Tag {
        /// The text, cut to 300 characters.
        text: String,
    },
    /// Not the name of a registry.
    #[error("{text:?} cannot be a registry: expected a host name or address and perhaps `:` and a port")]
    Host {
        /// The text, cut to 300 characters.
        text: String,
    },
    /// The part after `@` is not a digest.
    #[error("the reference {text:?} ends in something that is not a digest")]
    Digest {
        /// The whole reference, cut to 300 characters.
        text: String,
        /// What is wrong with it.
        #[source]
        source: DigestError,
    },
}

fn shown(text: &str) -> String {
    text.chars().take(300).collect()
}

macro_rules! text_newtype {
    ($name:ident) => {
        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

/// The name of a repository, without a host: `team/shop-api`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository(Arc<str>);

text_newtype!(Repository);

impl FromStr for Repository {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() > NAME_LIMIT || !text.split('/').all(is_component) {
            return Err(NameError::Repository { text: shown(text) });
        }
        Ok(Self(text.into()))
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    if !word(*first) || !word(*last) {
        return false;
    }
    let separators = bytes.split(|b| word(*b)).filter(|run| !run.is_empty());
    separators.into_iter().all(|run| matches!(run, b"." | b"_" | b"__") || run.iter().all(|b| *b == b'-'))
}

/// A tag of a manifest within its repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Arc<str>);

text_newtype!(Tag);

impl FromStr for Tag {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let good = (1..=TAG_LIMIT).contains(&text.len())
            && word(text.as_bytes()[0])
            && text.bytes().all(|b| word(b) || b == b'.' || b == b'-');
        if good { Ok(Self(text.into())) } else { Err(NameError::Tag { text: shown(text) }) }
    }
}

/// What a manifest is asked for by, within a repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// By a tag, which may move.
    Tag(Tag),
    /// By its content.
    Digest(ContentDigest),
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl FromStr for Reference {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.contains(':') {
            let digest = text.parse().map_err(|source| NameError::Digest { text: shown(text), source })?;
            return Ok(Self::Digest(digest));
        }
        text.parse().map(Self::Tag)
    }
}

/// An image as people write it: `registry.example:5000/team/shop:1.4@sha256:…`. A name without a host is one of
/// Docker Hub's.
///
/// ```
/// use kiln_registry::name::ImageReference;
/// let image: ImageReference = "debian:12".parse().unwrap();
/// assert_eq!(image.to_string(), "docker.io/library/debian:12");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageReference {
    /// Host and perhaps port.
    pub registry: String,
    /// The repository there.
    pub repository: Repository,
    /// The tag, when one is written.
    pub tag: Option<Tag>,
    /// The digest, when one is written; it wins over the tag.
    pub digest: Option<ContentDigest>,
}

impl ImageReference {
    /// What to ask the registry for: the digest, else the tag, else the tag `latest`.
    pub fn reference(&self) -> Reference {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => Reference::Digest(*digest),
            (None, Some(tag)) => Reference::Tag(tag.clone()),
            (None, None) => Reference::Tag(Tag("latest".into())),
        }
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for ImageReference {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (named, digest) = match text.split_once('@') {
            Some((named, digest)) => {
                let parsed = digest.parse();
                let parsed = parsed.map_err(|source| NameError::Digest { text: shown(text), source })?;
                (named, Some(parsed))
            }
            None => (text, None),
        };
        let (named, tag) = match named.rsplit_once(':') {
            // A colon before the last slash belongs to a port.
            Some((named, tag)) if !tag.contains('/') => (named, Some(tag.parse()?)),
            _ => (named, None),
        };
        let (registry, path) = split_host(named);
        if !is_host(registry) {
            return Err(NameError::Host { text: shown(registry) });
        }
        let repository = if registry == HUB && !path.contains('/') {
            format!("library/{path}").parse()?
        } else {
            path.parse()?
        };
        Ok(Self { registry: registry.into(), repository, tag, digest })
    }
}

/// The registry of names without a host.
const HUB: &str = "docker.io";

/// The first part is a host when it could not be a part of a repository's name, or is `localhost`.
fn split_host(named: &str) -> (&str, &str) {
    match named.split_once('/') {
        Some((host, path)) if host == "localhost" || host.contains(['.', ':']) => (host, path),
        Some((host, path)) if host.bytes().any(|b| b.is_ascii_uppercase()) => (host, path),
        _ => (HUB, named),
    }
}

fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        // An IPv6 address is in brackets; a colon within them is no port.
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let good_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|number| number > 0));
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return good_port && address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let label = |part: &str| {
        let ends = |edge: Option<&u8>| edge.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = part.as_bytes();
        ends(bytes.first())
            && ends(bytes.last())
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
    };
    good_port && host.len() <= 253 && host.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn repositories_follow_the_grammar() {
        for good in ["a", "shop", "team/shop-api", "a.b/c_d/e__f/g---h/0", "a/b/c/d/e"] {
            assert!(good.parse::<Repository>().is_ok(), "{good}");
        }
        let long = "a".repeat(256);
        for bad in
            ["", "/", "a/", "/a", "A", "a..b", "a___b", "-a", "a-", "a._b", "a/../b", "ä", "a b", &long]
        {
            assert!(bad.parse::<Repository>().is_err(), "{bad}");
        }
    }

    #[test]
    fn tags_follow_the_grammar() {
        for good in ["1", "latest", "v1.2-rc_3", "_x", "sha256-ab.sig", "ABC"] {
            assert!(good.parse::<Tag>().is_ok(), "{good}");
        }
        let long = "a".repeat(129);
        for bad in ["", ".a", "-a", "a/b", "a:b", "a b", "é", &long] {
            assert!(bad.parse::<Tag>().is_err(), "{bad}");
        }
    }

    #[test]
    fn image_references_are_filled_in() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (written, full) in [
            ("debian", "docker.io/library/debian".to_owned()),
            ("grafana/loki:3", "docker.io/grafana/loki:3".to_owned()),
            ("localhost/a", "localhost/a".to_owned()),
            ("localhost:5000/a/b", "localhost:5000/a/b".to_owned()),
            ("[::1]:5000/a:1", "[::1]:5000/a:1".to_owned()),
            (&format!("ghcr.io/a/b:1@{digest}"), format!("ghcr.io/a/b:1@{digest}")),
        ] {
            assert_eq!(written.parse::<ImageReference>().unwrap().to_string(), full);
        }
        for bad in ["", ":1", "a@b", "localhost:0/a", "localhost:99999/a", "-x.io/a", "[::g]:1/a", "a:"] {
            assert!(bad.parse::<ImageReference>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_back_or_refused(text in "[a-zA-Z0-9._:@/\\[\\]-]{0,60}") {
            if let Ok(image) = text.parse::<ImageReference>() {
                prop_assert_eq!(image.to_string().parse::<ImageReference>().unwrap(), image);
            }
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string(), text);
            }
        }
    }
}
