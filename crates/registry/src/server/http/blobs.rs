//! Blobs by digest.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderValue, RANGE,
};
use http::{HeaderMap, StatusCode};

use super::body::FileBody;
use super::range::{Asked, asked};
use super::{DIGEST, answer, bare, unchanged};
use crate::digest::ContentDigest;
use crate::name::Repository;
use crate::server::cache::SMALL_BLOB;
use crate::server::db;
use crate::server::error::{ApiError, Code};
use crate::server::registry::Inner;
use crate::server::upload::blocking;

pub(crate) fn unknown(repository: &Repository, digest: &ContentDigest) -> ApiError {
    ApiError::missing(Code::BlobUnknown, format!("{repository} has no blob {digest}"))
}

/// GET and HEAD.
pub(super) async fn get(
    registry: &Arc<Inner>,
    repository: &Repository,
    digest: &ContentDigest,
    headers: &HeaderMap,
    with_body: bool,
) -> Result<Response, ApiError> {
    if !with_body {
        // The client may be about to push a manifest that names it.
        registry.lease(digest).await?;
    }
    let linked = registry.blob_size(repository, digest).await?;
    let size = match (linked, registry.mirror_of(repository)) {
        (Some(size), _) => size,
        (None, Some(_)) => return super::mirrored::blob(registry, repository, digest, with_body).await,
        (None, None) => return Err(unknown(repository, digest)),
    };
    let named = HeaderValue::try_from(digest.to_string()).map_err(|error| ApiError::internal(&error))?;
    if unchanged(headers, &named) {
        return Ok(bare(StatusCode::NOT_MODIFIED));
    }
    let range = asked(headers.get(RANGE).and_then(|value| value.to_str().ok()), size);
    if range == Asked::Outside {
        let error = ApiError::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            Code::SizeInvalid,
            format!("the blob {digest} has {size} bytes; the Range asks for none of them"),
        );
        return Err(error.header(CONTENT_RANGE, &format!("bytes */{size}")));
    }
    let (status, part) = match &range {
        Asked::Part(part) => (StatusCode::PARTIAL_CONTENT, part.clone()),
        _ => (StatusCode::OK, 0..size),
    };
    let body = if with_body {
        content(registry, repository, digest, size, &part).await?
    } else if registry.storage.size(digest) == Some(size) {
        Body::empty()
    } else {
        return Err(lost(repository, digest));
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let out = response.headers_mut();
    fill(out, &named, part.end - part.start);
    if status == StatusCode::PARTIAL_CONTENT {
        let shown = format!("bytes {}-{}/{size}", part.start, part.end - 1);
        out.insert(CONTENT_RANGE, HeaderValue::try_from(shown).map_err(|error| ApiError::internal(&error))?);
    }
    Ok(response)
}

/// The headers of a blob.
pub(super) fn fill(out: &mut HeaderMap, named: &HeaderValue, length: u64) {
    out.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    out.insert(CONTENT_LENGTH, length.into());
    out.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // What a digest names never changes.
    out.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=31536000"));
    out.insert(ETAG, super::etag(named));
    out.insert(DIGEST, named.clone());
}

/// The file is gone or has another length: told as absence, so that a push heals it.
fn lost(repository: &Repository, digest: &ContentDigest) -> ApiError {
    tracing::error!(%repository, %digest, "a blob's file is missing or has another length");
    unknown(repository, digest)
}

async fn content(
    registry: &Arc<Inner>,
    repository: &Repository,
    digest: &ContentDigest,
    size: u64,
    part: &std::ops::Range<u64>,
) -> Result<Body, ApiError> {
    if size <= SMALL_BLOB {
        let bytes = small(registry, repository, digest, size).await?;
        registry.metrics.sent(part.end - part.start);
        let bounds = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        return Ok(Body::from(bytes.slice(bounds(part.start)..bounds(part.end))));
    }
    let file = registry.storage.open_blob(digest).map_err(|_| lost(repository, digest))?;
    let length = file.metadata().map(|found| found.len()).unwrap_or(0);
    if length != size {
        return Err(lost(repository, digest));
    }
    let body = FileBody::new(file, part, registry.metrics.clone());
    Ok(Body::new(body.map_err(|error| ApiError::io("read a blob", &error))?))
}

async fn small(
    registry: &Arc<Inner>,
    repository: &Repository,
    digest: &ContentDigest,
    size: u64,
) -> Result<bytes::Bytes, ApiError> {
    if let Some(known) = registry.caches.small.get(digest) {
        return Ok(known);
    }
    let (storage, named) = (registry.storage.clone(), *digest);
    let read = blocking(move || storage.read(&named, size)).await;
    match read {
        Ok(Some(bytes)) if bytes.len() as u64 == size => {
            let bytes = bytes::Bytes::from(bytes);
            registry.caches.small.insert(*digest, bytes.clone());
            Ok(bytes)
        }
        Ok(_) => Err(lost(repository, digest)),
        Err(error) => {
            tracing::error!(%error, %digest, "a blob cannot be read");
            Err(lost(repository, digest))
        }
    }
}

/// DELETE.
pub(super) async fn delete(
    registry: &Arc<Inner>,
    repository: Repository,
    digest: ContentDigest,
) -> Result<Response, ApiError> {
    registry.not_a_mirror(&repository)?;
    let missing = unknown(&repository, &digest);
    let removed = registry.db.write(move |tx| db::unlink_blob(tx, &repository, &digest));
    if removed.await? { Ok(answer(StatusCode::ACCEPTED, "")) } else { Err(missing) }
}
