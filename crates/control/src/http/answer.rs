//! Answers: JSON, errors with their kind, and the versions of both sides.

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Json, body::Bytes};
use serde::de::DeserializeOwned;

use crate::api::{API_VERSION, ErrorKind};
use crate::client::API_HEADER;
use crate::ops::ControlError;

/// What every handler returns.
pub(super) type Answer<A> = Result<Json<A>, ControlError>;

impl IntoResponse for ControlError {
    fn into_response(self) -> Response {
        let status = match self.kind() {
            ErrorKind::Invalid | ErrorKind::VersionMismatch => StatusCode::BAD_REQUEST,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Conflict | ErrorKind::Quarantined | ErrorKind::Unproven => StatusCode::CONFLICT,
            ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::State | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(self.body())).into_response()
    }
}

/// Reads a request's body.
pub(super) fn read<R: DeserializeOwned>(body: &Bytes) -> Result<R, ControlError> {
    serde_json::from_slice(body).map_err(|error| ControlError::Request(error.to_string()))
}

/// A path or method that is not in the table.
pub(super) async fn unknown(uri: Uri) -> ControlError {
    ControlError::Request(format!("there is nothing to ask at {}", uri.path()))
}

/// Both sides tell their version; only asking for it, and ending the server, works across versions.
pub(super) async fn versions(request: Request, next: Next) -> Response {
    let open = matches!(request.uri().path(), "/v1/version" | "/v1/shutdown");
    let theirs = request.headers().get(API_HEADER).and_then(|value| value.to_str().ok());
    let mut response = match theirs {
        Some(theirs) if !open && theirs != API_VERSION.to_string() => {
            ControlError::Version { ours: API_VERSION, theirs: theirs.into() }.into_response()
        }
        Some(_) | None => next.run(request).await,
    };
    response.headers_mut().insert(API_HEADER, HeaderValue::from(API_VERSION));
    response
}
