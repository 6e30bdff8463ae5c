//! What is asked about the registry, of the control plane or of a registry that runs on its own.

use std::future::Future;
use std::io;
use std::path::Path;

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::middleware::from_fn;
use axum::routing::{get, post};
use axum::{Json, Router};

use tokio::task::JoinHandle;

use super::answer::{self, Answer, read};
use super::routes;
use crate::api::{
    CollectAnswer, CollectRequest, LinkAnswer, LinkRequest, RegistryAnswer, TagsAnswer, TagsQuery,
};
use crate::ops::ControlError;
use crate::registry::RegistryService;
use crate::socket;

type Found = Option<RegistryService>;

/// The registry's part of the API.
pub(super) fn router<S: Clone + Send + Sync + 'static>(registry: Found) -> Router<S> {
    Router::new()
        .route("/v1/registry", get(about))
        .route("/v1/registry/tags", get(tags))
        .route("/v1/registry/collect", post(collect))
        .route("/v1/registry/link", post(link))
        .with_state(registry)
}

/// Answers about a registry that runs on its own until `shutdown` is ready, on a task of its own.
///
/// # Errors
/// Those of `bind`(2).
pub fn serve_registry(
    registry: RegistryService,
    path: &Path,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<JoinHandle<io::Result<()>>> {
    let listener = socket::listen(path)?;
    let router = Router::new()
        .route("/v1/version", get(routes::version))
        .merge(router(Some(registry)))
        .fallback(answer::unknown)
        .method_not_allowed_fallback(answer::unknown)
        .layer(from_fn(answer::versions));
    let served = axum::serve(listener, router).with_graceful_shutdown(shutdown);
    Ok(tokio::spawn(async move { served.await }))
}

async fn about(State(registry): State<Found>) -> Answer<RegistryAnswer> {
    blocking(registry, RegistryService::about).await
}

async fn tags(State(registry): State<Found>, Query(query): Query<TagsQuery>) -> Answer<TagsAnswer> {
    blocking(registry, move |registry| registry.tags(&query.repository)).await
}

async fn collect(State(registry): State<Found>, body: Bytes) -> Answer<CollectAnswer> {
    let request: CollectRequest = read(&body)?;
    blocking(registry, move |registry| registry.collect(&request)).await
}

async fn link(State(registry): State<Found>, body: Bytes) -> Answer<LinkAnswer> {
    let request: LinkRequest = read(&body)?;
    blocking(registry, move |registry| registry.link(&request)).await
}

async fn blocking<R: Send + 'static>(
    registry: Found,
    work: impl FnOnce(&RegistryService) -> Result<R, ControlError> + Send + 'static,
) -> Answer<R> {
    let registry = registry.ok_or(ControlError::NoRegistry)?;
    let ran = tokio::task::spawn_blocking(move || work(&registry)).await;
    ran.map_err(|_| ControlError::CutOff)?.map(Json)
}
