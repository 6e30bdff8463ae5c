//! Pulling through to an upstream.
//!
//! A blob comes into an upload's file on a task of its own; whoever pulls it meanwhile reads that file as it grows.
//! The last byte is held back until the digest is right, so that nobody takes a wrong blob for a whole one.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::StreamExt;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, HeaderValue};
use tokio::sync::watch;

use super::blobs::{fill, unknown};
use super::manifests::save;
use super::uploads::keep;
use crate::digest::{Algorithm, ContentDigest};
use crate::name::{Reference, Repository};
use crate::server::cache::Served;
use crate::server::config::Quota;
use crate::server::document::{Document, MANIFEST_LIMIT};
use crate::server::error::{ApiError, Code};
use crate::server::mirror::{Mirror, UpstreamBlob, UpstreamError};
use crate::server::registry::Inner;
use crate::server::upload::{Upload, blocking, receive};

/// Bytes that a puller reads at once.
const PIECE: u64 = 256 << 10;

/// How far a blob came.
#[derive(Clone, Debug)]
pub(crate) enum Progress {
    /// The upstream has not answered yet.
    Asking,
    /// This many bytes are in the file, of so many when the upstream says so.
    Coming { path: PathBuf, written: u64, size: Option<u64> },
    /// All are, and they have the right digest.
    Done { written: u64 },
    /// It will not come.
    Failed { status: StatusCode, code: Code, message: String },
}

fn bad_gateway(error: &UpstreamError) -> ApiError {
    let (status, code) = match error {
        UpstreamError::NotFound => (StatusCode::NOT_FOUND, Code::ManifestUnknown),
        UpstreamError::Denied { .. } => (StatusCode::FORBIDDEN, Code::Denied),
        UpstreamError::Away(_) => (StatusCode::BAD_GATEWAY, Code::Unknown),
    };
    ApiError::new(status, code, error.to_string())
}

/// A manifest of a mirrored repository: what is here while it is fresh, else the upstream's, else what is here.
pub(crate) async fn manifest(
    registry: &Arc<Inner>,
    mirror: &Mirror,
    name: &Repository,
    reference: &Reference,
) -> Result<Arc<Served>, ApiError> {
    let known = registry.local_manifest(name, reference).await?;
    let freshness = u64::try_from(mirror.freshness.as_millis()).unwrap_or(u64::MAX);
    let is_fresh = |known: &Served| match reference {
        Reference::Digest(_) => true,
        Reference::Tag(_) => registry.now() < known.checked.saturating_add(freshness),
    };
    if let Some(known) = known.as_ref().filter(|known| is_fresh(known)) {
        return Ok(known.clone());
    }
    let upstream_name = mirror.upstream_name(name).unwrap_or_else(|| name.clone());
    let fetched = match mirror.upstream.manifest(&upstream_name, reference).await {
        Ok(fetched) => fetched,
        Err(error) => match (known, &error) {
            (Some(known), UpstreamError::Away(_) | UpstreamError::Denied { .. }) => {
                tracing::warn!(repository = %name, %reference, %error, "serving what was cached");
                return Ok(known);
            }
            _ => return Err(bad_gateway(&error)),
        },
    };
    let algorithm = match reference {
        Reference::Digest(digest) => digest.algorithm(),
        Reference::Tag(_) => Algorithm::Sha256,
    };
    let digest = ContentDigest::of(algorithm, &fetched.bytes);
    let wrong = matches!(reference, Reference::Digest(named) if *named != digest);
    if wrong || fetched.bytes.len() > MANIFEST_LIMIT {
        let message =
            format!("the upstream answered {reference} with {} bytes of {digest}", fetched.bytes.len());
        return Err(ApiError::new(StatusCode::BAD_GATEWAY, Code::DigestInvalid, message));
    }
    let document = Document::parse(Some(&fetched.media_type), &fetched.bytes)?;
    save(registry, name, reference, digest, document, fetched.bytes, None).await?;
    let stored = registry.local_manifest(name, reference).await?;
    stored.ok_or_else(|| {
        ApiError::missing(Code::ManifestUnknown, format!("{name} has no manifest {reference}"))
    })
}

/// A blob that a mirrored repository does not have yet.
pub(super) async fn blob(
    registry: &Arc<Inner>,
    name: &Repository,
    digest: &ContentDigest,
    with_body: bool,
) -> Result<Response, ApiError> {
    let Some(mirror) = registry.mirror_of(name) else { return Err(unknown(name, digest)) };
    let mut progress = join(registry, mirror, name, digest);
    let started = progress.wait_for(|progress| !matches!(progress, Progress::Asking)).await;
    let started = started.map(|progress| progress.clone()).map_err(|_| unknown(name, digest))?;
    let (body, size) = match started {
        Progress::Failed { status, code, message } => return Err(ApiError::new(status, code, message)),
        Progress::Coming { path, size, .. } => match File::open(&path) {
            Ok(file) => (growing(file, progress), size),
            Err(_) => return whole(registry, name, digest, with_body, progress).await,
        },
        Progress::Done { .. } | Progress::Asking => {
            return whole(registry, name, digest, with_body, progress).await;
        }
    };
    let mut response = Response::new(if with_body { body } else { Body::empty() });
    let named = HeaderValue::try_from(digest.to_string()).map_err(|error| ApiError::internal(&error))?;
    fill(response.headers_mut(), &named, size.unwrap_or(0));
    if size.is_none() {
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    Ok(response)
}

/// The blob came while it was looked for: it is an ordinary one now.
async fn whole(
    registry: &Arc<Inner>,
    name: &Repository,
    digest: &ContentDigest,
    with_body: bool,
    mut progress: watch::Receiver<Progress>,
) -> Result<Response, ApiError> {
    // The sender is dropped when everything is written.
    while progress.changed().await.is_ok() {}
    if registry.blob_size(name, digest).await?.is_none() {
        return Err(unknown(name, digest));
    }
    Box::pin(super::blobs::get(registry, name, digest, &http::HeaderMap::new(), with_body)).await
}

/// Joins the fetch of a blob, or begins it.
fn join(
    registry: &Arc<Inner>,
    mirror: &Mirror,
    name: &Repository,
    digest: &ContentDigest,
) -> watch::Receiver<Progress> {
    let key = (name.clone(), *digest);
    let mut fetches = registry.fetches.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(known) = fetches.get(&key) {
        return known.clone();
    }
    let (sender, receiver) = watch::channel(Progress::Asking);
    fetches.insert(key.clone(), receiver.clone());
    let (registry, mirror) = (registry.clone(), mirror.clone());
    tokio::spawn(async move {
        let (name, digest) = &key;
        if let Err(error) = fetch(&registry, &mirror, name, digest, &sender).await {
            tracing::warn!(repository = %name, %digest, error = error.message, "a blob did not come from the upstream");
            let ApiError { status, code, message, .. } = error;
            sender.send_replace(Progress::Failed { status, code, message });
        }
        registry.fetches.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&key);
    });
    receiver
}

async fn fetch(
    registry: &Arc<Inner>,
    mirror: &Mirror,
    name: &Repository,
    digest: &ContentDigest,
    progress: &watch::Sender<Progress>,
) -> Result<(), ApiError> {
    let upstream_name = mirror.upstream_name(name).unwrap_or_else(|| name.clone());
    let blob = mirror.upstream.blob(&upstream_name, digest).await;
    let UpstreamBlob { size, bytes } = blob.map_err(|error| match error {
        UpstreamError::NotFound => unknown(name, digest),
        other => bad_gateway(&other),
    })?;
    let (id, mut turn) = registry.uploads.begin(name, digest.algorithm()).await?;
    let path = turn.as_ref().map(|upload| upload.path().to_owned()).unwrap_or_default();
    let told = |written| {
        progress.send_replace(Progress::Coming { path: path.clone(), written, size });
    };
    told(0);
    let received = receive(&mut turn, Body::from_stream(bytes), size, told).await;
    let written = turn.as_ref().map_or(0, Upload::size);
    let complete = received.and_then(|_| match size.filter(|size| *size != written) {
        Some(size) => {
            let message = format!("the upstream gave {written} of {size} bytes of {digest}");
            Err(ApiError::new(StatusCode::BAD_GATEWAY, Code::SizeInvalid, message))
        }
        None => Ok(()),
    });
    if let Err(error) = complete {
        registry.uploads.end(&id, turn);
        return Err(error);
    }
    keep(registry, name, &id, turn, *digest, Quota::default()).await?;
    progress.send_replace(Progress::Done { written });
    Ok(())
}

/// The bytes of a file as they come.
fn growing(file: File, progress: watch::Receiver<Progress>) -> Body {
    let stream = futures_util::stream::unfold(Some((file, 0_u64, progress)), |state| async move {
        let (file, at, progress) = state?;
        match next(file, at, progress).await {
            Ok(Some((piece, rest))) => Some((Ok(piece), Some(rest))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    });
    Body::from_stream(stream.boxed())
}

type Rest = (File, u64, watch::Receiver<Progress>);

async fn next(
    mut file: File,
    at: u64,
    mut progress: watch::Receiver<Progress>,
) -> io::Result<Option<(Bytes, Rest)>> {
    let available = loop {
        let now = progress.borrow_and_update().clone();
        match now {
            Progress::Done { written } if at == written => return Ok(None),
            Progress::Done { written } => break written,
            Progress::Failed { message, .. } => return Err(io::Error::other(message)),
            Progress::Coming { written, .. } if written.saturating_sub(1) > at => break written - 1,
            Progress::Coming { .. } | Progress::Asking => {}
        }
        progress.changed().await.map_err(|_| io::Error::other("the blob did not come"))?;
    };
    let (piece, file) = blocking(move || {
        let mut piece = Vec::with_capacity(usize::try_from((available - at).min(PIECE)).unwrap_or(0));
        (&mut file).take((available - at).min(PIECE)).read_to_end(&mut piece)?;
        Ok((piece, file))
    })
    .await?;
    if piece.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let read = piece.len() as u64;
    Ok(Some((piece.into(), (file, at + read, progress))))
}
