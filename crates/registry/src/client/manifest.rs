//! Manifests: asking for them, sending, deleting; and listing tags.

use bytes::Bytes;
use kiln_model::Digest;
use kiln_store::Descriptor;
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, LINK};
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;

use super::auth::Scope;
use super::error::Task;
use super::progress::Progress;
use super::retry::Attempt;
use super::transport::{Call, Payload, Place, bounded, nonsense};
use super::{Client, RegistryError};
use crate::digest::ContentDigest;
use crate::name::{DOCKER_INDEX, DOCKER_MANIFEST, INDEX, MANIFEST, Reference, is_index, is_manifest};

/// Manifests are refused beyond this, as registries do (4 MiB in the distribution specification).
const MANIFEST_LIMIT: usize = 4 << 20;

/// A page of tags is refused beyond this.
const TAGS_LIMIT: usize = 4 << 20;

/// Pages of tags or referrers that are asked for.
pub(super) const PAGES: usize = 1000;

const SUBJECT: &str = "oci-subject";
const CONTENT_DIGEST: &str = "docker-content-digest";

/// A manifest or index as a registry has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its bytes; nothing else has its digest.
    pub bytes: Bytes,
    /// What it is.
    pub descriptor: Descriptor,
}

/// What a registry has under a name, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The digest by which it is named.
    pub digest: ContentDigest,
    /// Its length in bytes, when the registry says.
    pub size: Option<u64>,
    /// Its media type, when the registry says.
    pub media_type: Option<String>,
}

#[derive(Deserialize)]
struct Tags {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Client {
    /// A call that reads or writes without a body.
    pub(super) fn plain<'a>(
        &self,
        task: &'a Task,
        place: &'a Place,
        scope: &'a Scope,
        method: Method,
        path: &str,
    ) -> Result<Call<'a>, RegistryError> {
        let url = self.transport.url(task, place, path)?;
        let (headers, patience) = (HeaderMap::new(), self.transport.options.idle);
        Ok(Call { task, place, scope, method, url, headers, payload: Payload::Nothing, patience })
    }

    /// Gets a manifest or index. What was asked for by digest has that digest.
    ///
    /// # Errors
    /// When the registry has none, sends another or a damaged one, or cannot be asked.
    pub async fn manifest(&self, place: &Place, name: &Reference) -> Result<Document, RegistryError> {
        let task = Task::at("get", place, format_args!("the manifest {name}"));
        let scope = Scope::pull(place);
        let mut call = self.plain(&task, place, &scope, Method::GET, &format!("manifests/{name}"))?;
        call.headers.insert(ACCEPT, accepted());
        self.transport.repeat(&task, &Progress::none(), || self.manifest_once(&call, name)).await
    }

    async fn manifest_once(&self, call: &Call<'_>, name: &Reference) -> Result<Document, Attempt> {
        let answer = self.transport.call(call).await?;
        if !answer.status().is_success() {
            return Err(self.transport.refused(call.task, answer).await);
        }
        let header = text_of(answer.headers(), CONTENT_TYPE.as_str());
        let named = text_of(answer.headers(), CONTENT_DIGEST).and_then(|text| text.parse().ok());
        let bytes = bounded(&self.transport, call.task, answer, MANIFEST_LIMIT).await?;
        // A tag's bytes are checked against what the registry itself calls them.
        let wanted: Option<ContentDigest> = match name {
            Reference::Digest(digest) => Some(*digest),
            Reference::Tag(_) => named,
        };
        if let Some(expected) = wanted {
            let actual = ContentDigest::of(expected.algorithm(), &bytes);
            if actual != expected {
                let (expected, actual) = (expected.to_string(), actual.to_string());
                let task = call.task.clone();
                return Err(Attempt::last(RegistryError::Digest { task, expected, actual }));
            }
        }
        let media_type = media_type(&bytes, header.as_deref())
            .ok_or_else(|| nonsense(call.task, "it is neither a manifest nor an index".into()))?;
        Ok(Document::new(bytes.into(), &media_type))
    }

    /// What a name stands for; `None` when there is nothing of it.
    ///
    /// # Errors
    /// When the registry refuses to say or cannot be asked.
    pub async fn look(&self, place: &Place, name: &Reference) -> Result<Option<Found>, RegistryError> {
        let task = Task::at("look for", place, format_args!("the manifest {name}"));
        let scope = Scope::pull(place);
        let mut call = self.plain(&task, place, &scope, Method::HEAD, &format!("manifests/{name}"))?;
        call.headers.insert(ACCEPT, accepted());
        let head = || async {
            let answer = self.transport.call(&call).await?;
            match answer.status() {
                StatusCode::NOT_FOUND => Ok(Head::Nothing),
                status if status.is_success() => Ok(Head::Found(found(&answer, name))),
                // A registry may know no HEAD, and says so in its own way.
                status if !status.is_server_error() && status != StatusCode::TOO_MANY_REQUESTS => {
                    Ok(Head::Found(None))
                }
                _ => Err(self.transport.refused(&task, answer).await),
            }
        };
        match self.transport.repeat(&task, &Progress::none(), head).await? {
            Head::Nothing => Ok(None),
            Head::Found(Some(found)) => Ok(Some(found)),
            Head::Found(None) => match self.manifest(place, name).await {
                Ok(document) => Ok(Some(Found {
                    digest: document.descriptor.digest.into(),
                    size: Some(document.descriptor.size),
                    media_type: Some(document.descriptor.media_type),
                })),
                Err(error) if error.status() == Some(404) => Ok(None),
                Err(error) => Err(error),
            },
        }
    }

    /// Sends a manifest or index under a name. Returns whether the registry keeps the list of referrers of its subject
    /// (it says so with the `OCI-Subject` header, distribution specification 1.1, "Pushing Manifests with Subject").
    ///
    /// # Errors
    /// When the registry refuses it: parts that it names are missing, or there is no right to push.
    pub async fn put_manifest(
        &self,
        place: &Place,
        name: &Reference,
        document: &Document,
    ) -> Result<bool, RegistryError> {
        let task = Task::at("send", place, format_args!("the manifest {name}"));
        let scope = Scope::push(place);
        let mut call = self.plain(&task, place, &scope, Method::PUT, &format!("manifests/{name}"))?;
        let kind = HeaderValue::try_from(&document.descriptor.media_type);
        let kind = kind.map_err(|_| *nonsense(&task, "its media type is none".into()).error)?;
        call.headers.insert(CONTENT_TYPE, kind);
        call.payload = Payload::Bytes(document.bytes.clone());
        // Named by content or pointing at content: sending it twice is the same as once.
        let put = || async {
            let answer = self.transport.call(&call).await?;
            if answer.status().is_success() {
                return Ok(answer.headers().contains_key(SUBJECT));
            }
            Err(self.transport.refused(&task, answer).await)
        };
        self.transport.repeat(&task, &Progress::none(), put).await
    }

    /// Deletes a tag, or a manifest with its tags.
    ///
    /// # Errors
    /// When there is nothing of the name, or the registry deletes nothing (many answer 405).
    pub async fn delete(&self, place: &Place, name: &Reference) -> Result<(), RegistryError> {
        let task = Task::at("delete", place, format_args!("the manifest {name}"));
        let scope = Scope::delete(place);
        let call = self.plain(&task, place, &scope, Method::DELETE, &format!("manifests/{name}"))?;
        let delete = || async {
            let answer = self.transport.call(&call).await?;
            if answer.status().is_success() {
                Ok(())
            } else {
                Err(self.transport.refused(&task, answer).await)
            }
        };
        self.transport.repeat(&task, &Progress::none(), delete).await
    }

    /// The tags of a repository, in the registry's order.
    ///
    /// # Errors
    /// When there is no such repository, or it has more than a thousand pages of tags.
    pub async fn tags(&self, place: &Place) -> Result<Vec<String>, RegistryError> {
        let task = Task::at("list", place, "the tags");
        let scope = Scope::pull(place);
        let mut call = self.plain(&task, place, &scope, Method::GET, "tags/list?n=1000")?;
        let mut tags = Vec::new();
        for _ in 0..PAGES {
            let (page, next): (Tags, _) = self.page(&call, TAGS_LIMIT).await?;
            tags.extend(page.tags.unwrap_or_default());
            let Some(next) = next else { return Ok(tags) };
            call.url = next;
        }
        Err(RegistryError::TooMany { reference: place.to_string(), what: "pages of tags", limit: PAGES })
    }

    /// A page of a list, and where the next one is (RFC 8288, `Link: <…>; rel="next"`).
    pub(super) async fn page<T: serde::de::DeserializeOwned>(
        &self,
        call: &Call<'_>,
        limit: usize,
    ) -> Result<(T, Option<reqwest::Url>), RegistryError> {
        let get = || async {
            let answer = self.transport.call(call).await?;
            if !answer.status().is_success() {
                return Err(self.transport.refused(call.task, answer).await);
            }
            let next = text_of(answer.headers(), LINK.as_str())
                .and_then(|link| next_of(&link).and_then(|next| answer.url().join(next).ok()));
            let bytes = bounded(&self.transport, call.task, answer, limit).await?;
            let page =
                serde_json::from_slice(&bytes).map_err(|error| nonsense(call.task, error.to_string()))?;
            // Another host's page would come without credentials; nothing good is behind it.
            Ok((page, next.filter(|next| next.origin() == call.url.origin() && *next != call.url)))
        };
        self.transport.repeat(call.task, &Progress::none(), get).await
    }
}

enum Head {
    Nothing,
    Found(Option<Found>),
}

impl Document {
    /// Names bytes by their digest.
    pub(super) fn new(bytes: Bytes, media_type: &str) -> Self {
        let digest = digest_of(&bytes);
        let descriptor = Descriptor::new(media_type, digest, bytes.len() as u64);
        Self { bytes, descriptor }
    }

    /// The name by its content.
    pub(super) fn name(&self) -> Reference {
        Reference::Digest(self.descriptor.digest.into())
    }
}

/// The SHA-256 digest of bytes.
pub(super) fn digest_of(bytes: &[u8]) -> Digest {
    use sha2::Digest as _;
    Digest::from_bytes(sha2::Sha256::digest(bytes).into())
}

fn accepted() -> HeaderValue {
    HeaderValue::try_from([MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_INDEX].join(", "))
        .unwrap_or(HeaderValue::from_static("*/*"))
}

pub(super) fn text_of(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn found(answer: &Response, name: &Reference) -> Option<Found> {
    let headers = answer.headers();
    let said = text_of(headers, CONTENT_DIGEST).and_then(|text| text.parse().ok());
    let digest = match name {
        Reference::Digest(digest) => *digest,
        Reference::Tag(_) => said?,
    };
    let size = text_of(headers, CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok());
    let media_type = text_of(headers, CONTENT_TYPE.as_str()).filter(|kind| is_manifest(kind));
    Some(Found { digest, size, media_type })
}

/// What a document is: its own word first, then the registry's, then its shape.
pub(super) fn media_type(bytes: &[u8], header: Option<&str>) -> Option<String> {
    let document: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    let own = document.get("mediaType").and_then(serde_json::Value::as_str);
    let header = header.map(|value| value.split(';').next().unwrap_or_default().trim());
    let (lists, layers) = (document.get("manifests").is_some(), document.get("layers").is_some());
    // A document that is both at once could be read as either (CVE-2021-41190).
    if lists == layers {
        return None;
    }
    let known = own.or(header).filter(|word| is_manifest(word) && is_index(word) == lists);
    Some(known.unwrap_or(if lists { INDEX } else { MANIFEST }).to_owned())
}

/// The target of a link to the next page.
fn next_of(link: &str) -> Option<&str> {
    let fits = |part: &&str| {
        part.split(';').skip(1).any(|field| {
            let field = field.trim().to_ascii_lowercase();
            field == "rel=\"next\"" || field == "rel=next"
        })
    };
    let part = link.split(',').find(fits)?;
    part.split_once('<')?.1.split_once('>').map(|(target, _)| target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_one_thing_only() {
        let kind = |text: &str, header| media_type(text.as_bytes(), header);
        assert_eq!(kind(r#"{"manifests":[]}"#, None).as_deref(), Some(INDEX));
        assert_eq!(kind(r#"{"layers":[]}"#, Some("text/plain")).as_deref(), Some(MANIFEST));
        let docker = format!(r#"{{"mediaType":"{DOCKER_MANIFEST}","layers":[]}}"#);
        assert_eq!(kind(&docker, Some(MANIFEST)).as_deref(), Some(DOCKER_MANIFEST));
        assert_eq!(kind(r#"{"manifests":[],"layers":[]}"#, Some(INDEX)), None, "CVE-2021-41190");
        assert_eq!(kind(r#"{"layers":[]}"#, Some(INDEX)).as_deref(), Some(MANIFEST), "the shape decides");
        assert_eq!(kind("[]", Some(MANIFEST)), None);
        assert_eq!(kind("nonsense", Some(MANIFEST)), None);
    }

    #[test]
    fn the_next_page_is_found() {
        assert_eq!(next_of("</v2/a/tags/list?last=b&n=2>; rel=\"next\""), Some("/v2/a/tags/list?last=b&n=2"));
        assert_eq!(next_of("<a>; rel=prev, <b>; rel=next"), Some("b"));
        assert_eq!(next_of("<a>; rel=prev"), None);
        assert_eq!(next_of("rel=next"), None);
    }
}
