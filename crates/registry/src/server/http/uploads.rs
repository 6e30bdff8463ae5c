//! Pushing blobs: in one request, in two, in chunks, or by mounting another repository's.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Query;
use axum::response::Response;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderName, HeaderValue, LOCATION, RANGE};
use http::request::Parts;
use http::{HeaderMap, StatusCode};

use super::range::chunk;
use super::route::digest as parse_digest;
use super::{DIGEST, answer, bare};
use crate::digest::{Algorithm, ContentDigest};
use crate::name::Repository;
use crate::server::auth::{Action, Principal};
use crate::server::db;
use crate::server::error::{ApiError, Code};
use crate::server::registry::Inner;
use crate::server::upload::{Turn, Upload, blocking, receive};

const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");

fn parameters(parts: &Parts) -> HashMap<String, String> {
    Query::try_from_uri(&parts.uri).map(|Query(map)| map).unwrap_or_default()
}

fn value(text: String) -> Result<HeaderValue, ApiError> {
    HeaderValue::try_from(text).map_err(|error| ApiError::internal(&error))
}

/// POST to `uploads/`.
pub(super) async fn begin(
    registry: &Arc<Inner>,
    principal: &Principal,
    repository: Repository,
    parts: &Parts,
    body: Body,
) -> Result<Response, ApiError> {
    registry.not_a_mirror(&repository)?;
    let asked = parameters(parts);
    if let Some(mount) = asked.get("mount") {
        let digest = parse_digest(mount)?;
        if mounted(registry, principal, &repository, &digest, asked.get("from")).await? {
            return created(&repository, &digest);
        }
    }
    if let Some(digest) = asked.get("digest") {
        let digest = parse_digest(digest)?;
        let limit = room(registry, &repository, 0, &parts.headers).await?;
        let (id, turn) = registry.uploads.begin(&repository, digest.algorithm()).await?;
        let this = registry.clone();
        return detached(async move {
            let mut turn = turn;
            if let Err(error) = take_in(&this, &mut turn, body, limit).await {
                this.uploads.end(&id, turn);
                return Err(error);
            }
            finish(&this, &repository, &id, turn, digest).await
        })
        .await;
    }
    let algorithm = match asked.get("digest-algorithm").map(String::as_str) {
        Some("sha512") => Algorithm::Sha512,
        _ => Algorithm::Sha256,
    };
    let (id, _) = registry.uploads.begin(&repository, algorithm).await?;
    progress(StatusCode::ACCEPTED, &repository, &id, 0)
}

/// Runs to its end even when the client goes away: what it sent is kept.
async fn detached<R: Send + 'static>(
    work: impl Future<Output = Result<R, ApiError>> + Send + 'static,
) -> Result<R, ApiError> {
    let ran = tokio::spawn(work).await;
    ran.unwrap_or_else(|error| Err(ApiError::internal(&error)))
}

/// Links a blob that another repository has, when the client may pull it there. Without `from`, any will do.
async fn mounted(
    registry: &Arc<Inner>,
    principal: &Principal,
    repository: &Repository,
    digest: &ContentDigest,
    from: Option<&String>,
) -> Result<bool, ApiError> {
    let from: Option<Repository> = from
        .map(|name| name.parse())
        .transpose()
        .map_err(|error: crate::name::NameError| ApiError::bad(Code::NameInvalid, error.to_string()))?;
    let (principal, repository, digest) = (principal.clone(), repository.clone(), *digest);
    let (quota, now) = (registry.config.rules.quota(&repository), registry.now());
    let written = registry.db.write(move |tx| {
        let sources = db::blob_sources(tx, &digest, from.as_ref())?;
        let source = sources.into_iter().find(|(name, _)| principal.may(name, Action::Pull));
        let Some((_, size)) = source else { return Ok::<_, ApiError>(false) };
        db::link_blob(tx, &repository, &digest, size, quota, now)?;
        Ok(true)
    });
    written.await
}

fn created(repository: &Repository, digest: &ContentDigest) -> Result<Response, ApiError> {
    let mut response = bare(StatusCode::CREATED);
    response.headers_mut().insert(LOCATION, value(format!("/v2/{repository}/blobs/{digest}"))?);
    response.headers_mut().insert(DIGEST, value(digest.to_string())?);
    Ok(response)
}

fn fill_progress(out: &mut HeaderMap, repository: &Repository, id: &str, size: u64) -> Result<(), ApiError> {
    out.insert(LOCATION, value(format!("/v2/{repository}/blobs/uploads/{id}"))?);
    // An inclusive range cannot say "nothing"; `0-0` is what registries say.
    out.insert(RANGE, value(format!("0-{}", size.saturating_sub(1)))?);
    out.insert(UPLOAD_ID, value(id.to_owned())?);
    Ok(())
}

fn progress(status: StatusCode, repository: &Repository, id: &str, size: u64) -> Result<Response, ApiError> {
    let mut response = bare(status);
    fill_progress(response.headers_mut(), repository, id, size)?;
    response.headers_mut().insert(CONTENT_LENGTH, 0.into());
    Ok(response)
}

/// How many bytes an upload may have in all, by the repository's quota; refuses at once what says it has more.
async fn room(
    registry: &Arc<Inner>,
    repository: &Repository,
    have: u64,
    headers: &HeaderMap,
) -> Result<Option<u64>, ApiError> {
    let Some(limit) = registry.config.rules.quota(repository).bytes else { return Ok(None) };
    let name = repository.clone();
    let (used, _) = registry.db.read(move |db, _| db::usage(db, &name)).await?;
    let coming = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let more = have.saturating_add(coming.unwrap_or(0));
    if used.saturating_add(more) > limit {
        return Err(db::over_quota(repository, used, more, limit));
    }
    Ok(Some(limit - used))
}

async fn take_in(registry: &Inner, turn: &mut Turn, body: Body, limit: Option<u64>) -> Result<(), ApiError> {
    let before = turn.as_ref().map_or(0, Upload::size);
    let result = receive(turn, body, limit, |_| ()).await;
    let after = turn.as_ref().map_or(before, Upload::size);
    registry.metrics.received(after.saturating_sub(before));
    result.map(drop)
}

/// A chunk must begin where the upload ended.
fn in_order(headers: &HeaderMap, repository: &Repository, id: &str, size: u64) -> Result<(), ApiError> {
    let Some(header) = headers.get(CONTENT_RANGE) else { return Ok(()) };
    let text = header.to_str().unwrap_or_default();
    let Some((first, length)) = chunk(text) else {
        let message = format!("the Content-Range {text:?} is not two numbers with a dash between");
        return Err(ApiError::bad(Code::BlobUploadInvalid, message));
    };
    let said = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if said.is_some_and(|said| said != length) {
        let message = format!("the Content-Range has {length} bytes but the Content-Length is another");
        return Err(ApiError::bad(Code::SizeInvalid, message));
    }
    if first == size {
        return Ok(());
    }
    let message =
        format!("the chunk begins at byte {first} but the upload has {size} bytes; go on from there");
    let mut error = ApiError::new(StatusCode::RANGE_NOT_SATISFIABLE, Code::BlobUploadInvalid, message);
    fill_progress(&mut error.headers, repository, id, size)?;
    Err(error)
}

/// Takes a part in. What the disk or the quota has no room for ends the upload, so that it does not fill them.
async fn append(
    registry: &Arc<Inner>,
    repository: &Repository,
    id: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<Turn, ApiError> {
    let mut turn = registry.uploads.take(repository, id).await?;
    let size = turn.as_ref().map_or(0, Upload::size);
    in_order(headers, repository, id, size)?;
    let limit = match room(registry, repository, size, headers).await {
        Ok(limit) => limit,
        Err(error) => {
            registry.uploads.end(id, turn);
            return Err(error);
        }
    };
    match take_in(registry, &mut turn, body, limit).await {
        Ok(()) => Ok(turn),
        Err(error) => {
            if matches!(error.status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::INSUFFICIENT_STORAGE) {
                registry.uploads.end(id, turn);
            }
            Err(error)
        }
    }
}

/// PATCH.
pub(super) async fn patch(
    registry: &Arc<Inner>,
    repository: Repository,
    id: String,
    parts: &Parts,
    body: Body,
) -> Result<Response, ApiError> {
    let (this, headers) = (registry.clone(), parts.headers.clone());
    detached(async move {
        let turn = append(&this, &repository, &id, &headers, body).await?;
        let size = turn.as_ref().map_or(0, Upload::size);
        progress(StatusCode::ACCEPTED, &repository, &id, size)
    })
    .await
}

/// PUT.
pub(super) async fn put(
    registry: &Arc<Inner>,
    repository: Repository,
    id: String,
    parts: &Parts,
    body: Body,
) -> Result<Response, ApiError> {
    let asked = parameters(parts);
    let Some(digest) = asked.get("digest") else {
        return Err(ApiError::bad(Code::DigestInvalid, "the PUT that ends an upload needs ?digest="));
    };
    let digest = parse_digest(digest)?;
    let (this, headers) = (registry.clone(), parts.headers.clone());
    detached(async move {
        let turn = append(&this, &repository, &id, &headers, body).await?;
        finish(&this, &repository, &id, turn, digest).await
    })
    .await
}

/// GET: how far an upload came.
pub(super) async fn status(
    registry: &Arc<Inner>,
    repository: &Repository,
    id: &str,
) -> Result<Response, ApiError> {
    let turn = registry.uploads.take(repository, id).await?;
    let size = turn.as_ref().map_or(0, Upload::size);
    progress(StatusCode::NO_CONTENT, repository, id, size)
}

/// DELETE: the client gives up.
pub(super) async fn cancel(
    registry: &Arc<Inner>,
    repository: &Repository,
    id: &str,
) -> Result<Response, ApiError> {
    let turn = registry.uploads.take(repository, id).await?;
    registry.uploads.end(id, turn);
    Ok(answer(StatusCode::NO_CONTENT, ""))
}

/// Checks the digest, flushes, names the file, and links the blob into the repository.
async fn finish(
    registry: &Arc<Inner>,
    repository: &Repository,
    id: &str,
    turn: Turn,
    digest: ContentDigest,
) -> Result<Response, ApiError> {
    let quota = registry.config.rules.quota(repository);
    keep(registry, repository, id, turn, digest, quota).await?;
    created(repository, &digest)
}

/// Makes a blob of an upload. The upload is over afterwards, unless the disk failed.
pub(crate) async fn keep(
    registry: &Arc<Inner>,
    repository: &Repository,
    id: &str,
    turn: Turn,
    digest: ContentDigest,
    quota: crate::server::config::Quota,
) -> Result<(), ApiError> {
    let sealed = blocking(move || {
        let upload = turn.as_ref().ok_or_else(|| std::io::Error::other("the upload is gone"))?;
        let (found, size, path) = (upload.seal(digest.algorithm())?, upload.size(), upload.path().to_owned());
        Ok((turn, found, size, path))
    });
    let (turn, found, size, path) = sealed.await.map_err(|error| ApiError::io("flush an upload", &error))?;
    if found != digest {
        registry.uploads.end(id, turn);
        let message = format!(
            "the upload was to be {digest} but its {size} bytes have the digest {found}; push it again"
        );
        return Err(ApiError::bad(Code::DigestInvalid, message));
    }
    let held = registry.storage.lock(&digest).await;
    let storage = registry.storage.clone();
    let named = blocking(move || {
        storage.publish(&path, &digest, size, &held)?;
        Ok(held)
    });
    let held = named.await.map_err(|error| ApiError::io("name a blob", &error))?;
    let (name, now) = (repository.clone(), registry.now());
    let linked = registry.db.write(move |tx| db::link_blob(tx, &name, &digest, size, quota, now)).await;
    drop(held);
    registry.uploads.end(id, turn);
    linked
}
