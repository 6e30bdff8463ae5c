//! What a registry must understand of a manifest: what it names, what it is about, and how it is listed.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::error::{ApiError, Code};
use crate::digest::ContentDigest;
use crate::name::{is_index, is_manifest};

/// The largest manifest that is accepted. The specification asks for at least 4 MiB.
pub(crate) const MANIFEST_LIMIT: usize = 4 << 20;
/// The most things a manifest may name: an index of 4 MiB holds fewer.
const CHILD_LIMIT: usize = 20_000;

/// The parts of a manifest or index that matter here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Document {
    pub(crate) media_type: String,
    /// What it names, without the subject.
    pub(crate) children: Vec<Child>,
    /// The manifest that it is about.
    pub(crate) subject: Option<ContentDigest>,
    /// By what kind it is listed among the subject's referrers.
    pub(crate) artifact_type: Option<String>,
    /// A JSON object of texts.
    pub(crate) annotations: Option<String>,
}

/// Something that a manifest names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Child {
    pub(crate) digest: ContentDigest,
    pub(crate) size: u64,
    pub(crate) is_manifest: bool,
    /// Whether the bytes may be somewhere else than in the registry.
    pub(crate) elsewhere: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: u64,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<RawDescriptor>,
    layers: Option<Vec<RawDescriptor>>,
    manifests: Option<Vec<RawDescriptor>>,
    subject: Option<RawDescriptor>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    media_type: String,
    digest: ContentDigest,
    size: u64,
    #[serde(default)]
    urls: Vec<String>,
}

impl RawDescriptor {
    fn child(&self, in_index: bool) -> Child {
        Child {
            digest: self.digest,
            size: self.size,
            is_manifest: in_index,
            elsewhere: !self.urls.is_empty(),
        }
    }
}

fn invalid(reason: impl std::fmt::Display) -> ApiError {
    ApiError::bad(Code::ManifestInvalid, format!("the manifest is not accepted: {reason}"))
}

impl Document {
    /// Reads a manifest as pushed with a `Content-Type`.
    pub(crate) fn parse(content_type: Option<&str>, bytes: &[u8]) -> Result<Self, ApiError> {
        let raw: Raw = serde_json::from_slice(bytes).map_err(invalid)?;
        if raw.schema_version != 2 {
            let version = raw.schema_version;
            return Err(invalid(format!(
                "its schemaVersion is {version}; only 2 is known, push with a newer client"
            )));
        }
        // A parameter such as a charset says nothing about the type.
        let said = content_type.map(|text| text.split(';').next().unwrap_or(text).trim());
        let media_type = match (said, raw.media_type.as_deref()) {
            (Some(said), Some(inside)) if said != inside => {
                return Err(invalid(format!(
                    "the Content-Type is {said} but the manifest says it is {inside}"
                )));
            }
            (Some(one), _) | (None, Some(one)) => one.to_owned(),
            (None, None) => return Err(invalid("neither Content-Type nor mediaType says what it is")),
        };
        if !is_manifest(&media_type) {
            return Err(invalid(format!(
                "the type {media_type} is none of the OCI and Docker manifests and indexes"
            )));
        }
        let children = children(&raw, is_index(&media_type))?;
        let artifact_type = match (&raw.artifact_type, &raw.config) {
            (Some(kind), _) if !kind.is_empty() => Some(kind.clone()),
            (_, Some(config)) => Some(config.media_type.clone()),
            _ => None,
        };
        let annotations = raw.annotations.filter(|map| !map.is_empty());
        let annotations = annotations.map(|map| serde_json::to_string(&map)).transpose().map_err(invalid)?;
        let subject = raw.subject.map(|subject| subject.digest);
        Ok(Self { media_type, children, subject, artifact_type, annotations })
    }
}

fn children(raw: &Raw, index: bool) -> Result<Vec<Child>, ApiError> {
    let children: Vec<Child> = if index {
        let manifests =
            raw.manifests.as_ref().ok_or_else(|| invalid("an index needs a list of manifests"))?;
        manifests.iter().map(|one| one.child(is_manifest(&one.media_type))).collect()
    } else {
        let config = raw.config.as_ref().ok_or_else(|| invalid("a manifest needs a config"))?;
        let layers = raw.layers.as_ref().ok_or_else(|| invalid("a manifest needs a list of layers"))?;
        std::iter::once(config).chain(layers).map(|one| one.child(false)).collect()
    };
    if children.len() > CHILD_LIMIT {
        return Err(invalid(format!("it names {} things and may name {CHILD_LIMIT}", children.len())));
    }
    Ok(children)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::name::{INDEX, MANIFEST};

    fn refusal(content_type: Option<&str>, text: &str) -> String {
        Document::parse(content_type, text.as_bytes()).unwrap_err().message
    }

    #[test]
    fn refusals_name_what_is_wrong() {
        assert!(refusal(None, "{}").contains("schemaVersion"));
        assert!(refusal(None, r#"{"schemaVersion":1}"#).contains("schemaVersion is 1"));
        assert!(refusal(None, r#"{"schemaVersion":2}"#).contains("neither"));
        assert!(refusal(Some("text/plain"), r#"{"schemaVersion":2}"#).contains("text/plain"));
        assert!(refusal(Some(MANIFEST), r#"{"schemaVersion":2}"#).contains("config"));
        assert!(refusal(Some(INDEX), r#"{"schemaVersion":2}"#).contains("list of manifests"));
        let both = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}"}}"#);
        assert!(refusal(Some(MANIFEST), &both).contains("says it is"));
    }

    #[test]
    fn kinds_come_from_artifact_type_or_configuration() {
        let digest = ContentDigest::sha256(b"");
        let text = |kind: &str| {
            format!(
                r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}",{kind}"layers":[],"annotations":{{"a":"b"}},
                    "config":{{"mediaType":"c/d","digest":"{digest}","size":0}},
                    "subject":{{"mediaType":"{MANIFEST}","digest":"{digest}","size":3}}}}"#
            )
        };
        let plain = Document::parse(None, text("").as_bytes()).unwrap();
        assert_eq!(plain.artifact_type.as_deref(), Some("c/d"));
        assert_eq!(plain.subject, Some(digest));
        assert_eq!(plain.annotations.as_deref(), Some(r#"{"a":"b"}"#));
        let named = Document::parse(
            Some(&format!("{MANIFEST}; charset=utf-8")),
            text(r#""artifactType":"x/y","#).as_bytes(),
        );
        assert_eq!(named.unwrap().artifact_type.as_deref(), Some("x/y"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Document::parse(Some(MANIFEST), &bytes);
        }
    }
}
