//! The endpoints: from a request to an answer. What an endpoint does is in the file of its noun.

mod blobs;
mod body;
mod listings;
pub(crate) mod manifests;
mod mirrored;
mod range;
mod route;
mod token;
pub(crate) mod uploads;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use http::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, IF_NONE_MATCH};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};

pub(crate) use manifests::{Saved, note_saved};
pub(crate) use mirrored::{Progress, manifest as mirrored_manifest};
use route::Route;

use super::acts::{Peer, who};
use super::auth::{Action, Principal};
use super::error::{ApiError, Code};
use super::metrics;
use super::registry::Inner;

const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// All endpoints of a registry.
pub(super) fn router(registry: Arc<Inner>) -> Router {
    Router::new()
        .route("/v2", any(v2))
        .route("/v2/", any(v2))
        .route("/v2/{*rest}", any(v2))
        .route("/token", get(token::endpoint).post(token::endpoint))
        .route("/metrics", get(metrics_text))
        .route("/healthz", get(health))
        .with_state(registry)
}

async fn v2(State(registry): State<Arc<Inner>>, request: Request) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let parsed = Route::parse(request.uri().path());
    let label = parsed.as_ref().map_or("none", Route::label);
    let result = match parsed {
        Ok(route) => dispatch(&registry, route, request).await,
        Err(error) => Err(error),
    };
    let mut response = result.unwrap_or_else(IntoResponse::into_response);
    response.headers_mut().insert(VERSION, HeaderValue::from_static("registry/2.0"));
    registry.metrics.answered(&method, label, response.status().as_u16(), begun.elapsed());
    response
}

async fn dispatch(registry: &Arc<Inner>, route: Route, request: Request) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    if !route.knows(&parts.method) {
        let message = format!("{} is not for this path", parts.method);
        let error = ApiError::new(StatusCode::METHOD_NOT_ALLOWED, Code::Unsupported, message);
        return Err(error.header(ALLOW, route.methods()));
    }
    let principal = token::principal(registry, &parts.headers).await?;
    authorize(registry, &principal, &route, &parts)?;
    let who = || who(principal.user(), parts.extensions.get::<Peer>());
    match route {
        Route::Base => Ok(json("{}")),
        Route::Catalog => listings::catalog(registry, &principal, &parts).await,
        Route::Tags(name) => listings::tags(registry, name, &parts).await,
        Route::Referrers(name, digest) => listings::referrers(registry, name, digest, &parts).await,
        Route::Manifest(name, reference) => match parts.method {
            Method::PUT => manifests::put(registry, &who(), name, reference, &parts.headers, body).await,
            Method::DELETE => manifests::delete(registry, who(), name, reference).await,
            ref read => {
                manifests::get(registry, &name, &reference, &parts.headers, *read == Method::GET).await
            }
        },
        Route::Blob(name, digest) => match parts.method {
            Method::DELETE => blobs::delete(registry, name, digest).await,
            ref read => blobs::get(registry, &name, &digest, &parts.headers, *read == Method::GET).await,
        },
        Route::Uploads(name) => uploads::begin(registry, &principal, name, &parts, body).await,
        Route::Upload(name, id) => match parts.method {
            Method::PATCH => uploads::patch(registry, name, id, &parts, body).await,
            Method::PUT => uploads::put(registry, name, id, &parts, body).await,
            Method::DELETE => uploads::cancel(registry, &name, &id).await,
            _ => uploads::status(registry, &name, &id).await,
        },
    }
}

fn authorize(registry: &Inner, principal: &Principal, route: &Route, parts: &Parts) -> Result<(), ApiError> {
    let (name, action) = match route {
        Route::Base => return token::require_anything(registry, principal, &parts.headers, false),
        Route::Catalog => return token::require_anything(registry, principal, &parts.headers, true),
        Route::Tags(name) | Route::Referrers(name, _) => (name, Action::Pull),
        Route::Uploads(name) | Route::Upload(name, _) => (name, Action::Push),
        Route::Manifest(name, _) | Route::Blob(name, _) => match parts.method {
            Method::PUT => (name, Action::Push),
            Method::DELETE => (name, Action::Delete),
            _ => (name, Action::Pull),
        },
    };
    token::require(registry, principal, &parts.headers, name, action)
}

async fn metrics_text(State(registry): State<Arc<Inner>>) -> Response {
    let totals = registry.db.read(|db, _| super::db::totals(db)).await.unwrap_or_default();
    let disk = rustix::fs::statvfs(registry.storage.store().root());
    let free = disk.map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    let storage = metrics::Storage { totals, uploads: registry.uploads.count(), free };
    let mut response = Response::new(Body::from(registry.metrics.text(&storage)));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// 200 while the database answers and the store's folder is there; 503 otherwise.
async fn health(State(registry): State<Arc<Inner>>) -> Response {
    let database = registry.db.read(|db, _| super::db::totals(db)).await.is_ok();
    let store = registry.storage.uploads().is_dir();
    if database && store {
        return json("{\"status\":\"ok\"}");
    }
    let failed = if database { "the store's folder is gone" } else { "the database does not answer" };
    let mut response = json(&serde_json::json!({ "status": "failing", "reason": failed }).to_string());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}

fn json(text: &str) -> Response {
    let mut response = answer(StatusCode::OK, text);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn answer(status: StatusCode, text: &str) -> Response {
    let mut response = Response::new(Body::from(text.to_owned()));
    *response.status_mut() = status;
    response
}

fn bare(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// A digest in quotes.
fn etag(digest: &HeaderValue) -> HeaderValue {
    let mut quoted = Vec::with_capacity(digest.len() + 2);
    quoted.push(b'"');
    quoted.extend_from_slice(digest.as_bytes());
    quoted.push(b'"');
    HeaderValue::from_maybe_shared(bytes::Bytes::from(quoted)).unwrap_or_else(|_| digest.clone())
}

/// Whether the client says that it has this already.
fn unchanged(headers: &HeaderMap, digest: &HeaderValue) -> bool {
    let digest = digest.to_str().unwrap_or_default();
    let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    known.flat_map(|text| text.split(',')).any(|one| {
        let one = one.trim();
        let one = one.strip_prefix("W/").unwrap_or(one).trim_matches('"');
        one == "*" || one == digest
    })
}
