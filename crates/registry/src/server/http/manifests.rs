//! Manifests by tag and digest.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, LOCATION};
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::{DIGEST, answer, bare, unchanged};
use crate::digest::{Algorithm, ContentDigest};
use crate::name::{Reference, Repository};
use crate::server::acts::{Author, Deed};
use crate::server::cache::Served;
use crate::server::db::{self, NewManifest, TagChange};
use crate::server::document::{Document, MANIFEST_LIMIT};
use crate::server::error::{ApiError, Code, DbError};
use crate::server::registry::Inner;

const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

/// GET and HEAD.
pub(super) async fn get(
    registry: &Arc<Inner>,
    repository: &Repository,
    reference: &Reference,
    headers: &HeaderMap,
    with_body: bool,
) -> Result<Response, ApiError> {
    if let (false, Reference::Digest(digest)) = (with_body, reference) {
        registry.lease(digest).await?;
    }
    let served = registry.manifest(repository, reference).await?;
    accepted(headers, &served)?;
    if unchanged(headers, &served.digest_text) {
        return Ok(bare(StatusCode::NOT_MODIFIED));
    }
    let body = if with_body {
        registry.metrics.sent(served.bytes.len() as u64);
        Body::from(served.bytes.clone())
    } else {
        Body::empty()
    };
    let mut response = Response::new(body);
    let out = response.headers_mut();
    out.insert(CONTENT_TYPE, served.media_type.clone());
    out.insert(CONTENT_LENGTH, served.bytes.len().into());
    out.insert(ETAG, super::etag(&served.digest_text));
    out.insert(DIGEST, served.digest_text.clone());
    Ok(response)
}

/// A client that says which types it understands, and none of them is the manifest's, learns so.
fn accepted(headers: &HeaderMap, served: &Served) -> Result<(), ApiError> {
    let mut said = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
    if said.peek().is_none() {
        return Ok(());
    }
    let kind = served.media_type.to_str().unwrap_or_default();
    let fits = |range: &str| {
        let range = range.split(';').next().unwrap_or(range).trim();
        range == kind || range == "*/*" || range == "application/*"
    };
    if said.flat_map(|text| text.split(',')).any(fits) {
        return Ok(());
    }
    let message = format!("the manifest is of the type {kind}, which the Accept header does not name");
    Err(ApiError::new(StatusCode::NOT_ACCEPTABLE, Code::ManifestUnknown, message))
}

/// PUT.
pub(super) async fn put(
    registry: &Arc<Inner>,
    who: &str,
    repository: Repository,
    reference: Reference,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    registry.not_a_mirror(&repository)?;
    let bytes = collect(body).await?;
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let document = Document::parse(content_type, &bytes)?;
    let digest = match &reference {
        Reference::Digest(digest) => ContentDigest::of(digest.algorithm(), &bytes),
        Reference::Tag(_) => ContentDigest::of(Algorithm::Sha256, &bytes),
    };
    if let Reference::Digest(named) = &reference
        && *named != digest
    {
        let message = format!("the manifest was named {named} but its bytes have the digest {digest}");
        return Err(ApiError::bad(Code::DigestInvalid, message));
    }
    registry.metrics.received(bytes.len() as u64);
    let subject = document.subject;
    save(registry, &repository, &reference, digest, document, bytes, Some(who)).await?;
    let mut response = bare(StatusCode::CREATED);
    let out = response.headers_mut();
    let location = format!("/v2/{repository}/manifests/{reference}");
    out.insert(LOCATION, HeaderValue::try_from(location).map_err(|error| ApiError::internal(&error))?);
    out.insert(DIGEST, text(&digest)?);
    if let Some(subject) = subject {
        out.insert(SUBJECT, text(&subject)?);
    }
    Ok(response)
}

fn text(digest: &ContentDigest) -> Result<HeaderValue, ApiError> {
    HeaderValue::try_from(digest.to_string()).map_err(|error| ApiError::internal(&error))
}

async fn collect(body: Body) -> Result<Bytes, ApiError> {
    let collected = Limited::new(body, MANIFEST_LIMIT).collect().await;
    let collected = collected.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
        Some(_) => {
            let message = format!("a manifest may have {MANIFEST_LIMIT} bytes");
            ApiError::too_large(Code::ManifestInvalid, message)
        }
        None => ApiError::bad(Code::ManifestInvalid, format!("the manifest broke off: {error}")),
    })?;
    Ok(collected.to_bytes())
}

/// What saving a manifest changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Saved {
    /// The repository did not have it.
    pub(crate) new: bool,
    /// Where the tag pointed, when it was saved under one.
    pub(crate) before: Option<ContentDigest>,
}

/// Writes down what saving a manifest changed, if anything.
pub(crate) fn note_saved(
    tx: &db::Tx<'_>,
    author: Option<&Author>,
    repository: &Repository,
    reference: &Reference,
    digest: ContentDigest,
    saved: Saved,
) -> Result<(), DbError> {
    let Some(author) = author else { return Ok(()) };
    let tag = match reference {
        Reference::Tag(tag) => Some(tag.clone()),
        Reference::Digest(_) => None,
    };
    if saved.new {
        db::note(tx, author, &Deed::Pushed { repository: repository.clone(), digest, tag: tag.clone() })?;
    }
    if let Some(tag) = tag.filter(|_| saved.before != Some(digest)) {
        let (repository, before) = (repository.clone(), saved.before);
        db::note(tx, author, &Deed::Tagged { repository, tag, digest, before })?;
    }
    Ok(())
}

/// Stores a manifest's bytes, then says so in the database. When somebody pushed it, what it names must be there and
/// the rules and quotas hold; a mirror's manifests come before their blobs.
pub(crate) async fn save(
    registry: &Arc<Inner>,
    repository: &Repository,
    reference: &Reference,
    digest: ContentDigest,
    document: Document,
    bytes: Bytes,
    pusher: Option<&str>,
) -> Result<Saved, ApiError> {
    let (pushed, author) = (pusher.is_some(), pusher.and_then(|who| registry.author(who)));
    let held = registry.storage.lock(&digest).await;
    let (storage, size) = (registry.storage.clone(), bytes.len() as u64);
    let stored = crate::server::upload::blocking(move || {
        storage.put(&digest, &bytes, &held)?;
        Ok(held)
    });
    let held = stored.await.map_err(|error| ApiError::io("store a manifest", &error))?;
    let rules = registry.config.rules.clone();
    let now = registry.now();
    let (repository, reference) = (repository.clone(), reference.clone());
    let written = registry.db.write(move |tx| {
        if pushed && let Some((child, found)) = db::children_missing(tx, &repository, &document)? {
            return Err(lacking(&repository, &child, found));
        }
        let quota = if pushed { rules.quota(&repository) } else { Default::default() };
        let new = NewManifest { repository: &repository, digest, document: &document, size, quota, now };
        let new = db::save_manifest(tx, &new)?;
        let mut before = None;
        if let Reference::Tag(tag) = &reference {
            let rules = pushed.then_some(&rules);
            before = db::set_tag(tx, &TagChange { repository: &repository, tag, digest, rules, now })?;
        }
        let saved = Saved { new, before };
        note_saved(tx, author.as_ref(), &repository, &reference, digest, saved)?;
        Ok(saved)
    });
    let result = written.await;
    drop(held);
    if pushed {
        registry.tell();
    }
    result
}

fn lacking(repository: &Repository, child: &crate::server::document::Child, found: Option<u64>) -> ApiError {
    let kind = if child.is_manifest { "manifest" } else { "blob" };
    let digest = child.digest;
    match found {
        Some(size) => {
            let message =
                format!("the manifest says the {kind} {digest} has {} bytes, but it has {size}", child.size);
            ApiError::bad(Code::SizeInvalid, message)
        }
        None => {
            let message =
                format!("{repository} has no {kind} {digest}, which the manifest names; push it first");
            ApiError::bad(Code::ManifestBlobUnknown, message)
        }
    }
}

/// DELETE.
pub(super) async fn delete(
    registry: &Arc<Inner>,
    who: String,
    repository: Repository,
    reference: Reference,
) -> Result<Response, ApiError> {
    registry.not_a_mirror(&repository)?;
    let (rules, now, author) = (registry.config.rules.clone(), registry.now(), registry.author(&who));
    let unknown =
        ApiError::missing(Code::ManifestUnknown, format!("{repository} has no manifest {reference}"));
    let removed = registry.db.write(move |tx| {
        let deed = match reference {
            Reference::Tag(tag) => db::remove_tag(tx, &repository, &tag, &rules, now)?
                .map(|digest| Deed::Untagged { repository, tag, digest }),
            Reference::Digest(digest) => db::remove_manifest(tx, &repository, &digest, &rules)?
                .map(|tags| Deed::Deleted { repository, digest, tags }),
        };
        let deed = deed.ok_or(unknown)?;
        author.map_or(Ok(()), |author| db::note(tx, &author, &deed)).map_err(ApiError::from)
    });
    removed.await?;
    registry.tell();
    Ok(answer(StatusCode::ACCEPTED, ""))
}
