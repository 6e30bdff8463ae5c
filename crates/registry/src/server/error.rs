//! What can go wrong: failures of the registry itself, and answers to clients in the specification's form.

use std::io;
use std::path::PathBuf;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use kiln_store::StoreError;

use crate::digest::ContentDigest;
use crate::name::{Repository, Tag};

/// Why the registry cannot be opened, served, linked into or collected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The operating system refused something about a file.
    #[error("cannot {act} {}", path.display())]
    File {
        /// What was being done.
        act: &'static str,
        /// To which file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Another process has it open.
    #[error("the registry {} is open in {}", data.display(), pid.map_or("another process".into(), |pid| format!("process {pid}")))]
    InUse {
        /// The registry's folder.
        data: PathBuf,
        /// The process, where it is known.
        pid: Option<u32>,
    },
    /// Nobody can say what must stay.
    #[error("cannot tell which images must stay, so nothing is collected")]
    Protect(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store refused.
    #[error("the image store failed the registry")]
    Store(#[from] StoreError),
    /// The database refused.
    #[error("the registry's database failed")]
    Database(#[from] DbError),
    /// A glob in a rule or grant.
    #[error("{glob:?} is not a pattern for {what}")]
    Glob {
        /// The pattern.
        glob: String,
        /// What it was to match.
        what: &'static str,
        /// Why.
        #[source]
        source: globset::Error,
    },
    /// A line of the users' file.
    #[error("{}:{line}: {reason}", path.display())]
    Users {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Certificate or key.
    #[error("cannot use the certificate {} with the key {}: {reason}", certificate.display(), key.display())]
    Tls {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        reason: String,
    },
    /// An image that is to be linked is not in the store or refers to what is not.
    #[error("cannot link {digest} into {repository}: {reason}")]
    Link {
        /// The manifest.
        digest: ContentDigest,
        /// The repository.
        repository: Repository,
        /// Why.
        reason: String,
    },
    /// A thread could not be started.
    #[error("cannot start the thread {name}")]
    Thread {
        /// Its name.
        name: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The system's source of random numbers failed.
    #[error("cannot get random bytes from the system")]
    Random,
}

/// Names what was being done to a file that failed.
pub(crate) fn file(act: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> RegistryError {
    let path = path.to_owned();
    move |source| RegistryError::File { act, path, source }
}

/// A tag that its rule does not let move or go.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "the tag {tag} of {repository} is immutable (rule for {rule:?}) and points at {present}; push under a new tag, \
     or name the tag in the rule's mutable_tags"
)]
pub(crate) struct TagRefusal {
    /// The repository.
    pub(crate) repository: Repository,
    /// The tag.
    pub(crate) tag: Tag,
    /// The glob of the rule.
    pub(crate) rule: String,
    /// The digest that the tag points at.
    pub(crate) present: String,
}

/// Why the database refused.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DbError {
    /// It cannot be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::sync::Arc<rusqlite::Error>,
    },
    /// It cannot be brought to this version's schema.
    #[error("cannot prepare the tables of {}: {reason}", path.display())]
    Migrate {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A statement failed.
    #[error("cannot {act}")]
    Query {
        /// What was being done.
        act: &'static str,
        /// Why.
        #[source]
        source: std::sync::Arc<rusqlite::Error>,
    },
    /// The thread that writes is gone.
    #[error("the registry is shutting down")]
    Closed,
}

impl DbError {
    pub(crate) fn is_full(&self) -> bool {
        let (Self::Open { source, .. } | Self::Query { source, .. }) = self else { return false };
        source.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
    }
}

/// Names what was being done when a statement failed.
pub(crate) fn query(act: &'static str) -> impl FnOnce(rusqlite::Error) -> DbError {
    move |source| DbError::Query { act, source: source.into() }
}

/// The specification's error codes, and `TOOMANYREQUESTS`/`UNKNOWN` as all registries use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    SizeInvalid,
    TagInvalid,
    Unauthorized,
    Denied,
    Unsupported,
    Unknown,
}

impl Code {
    fn text(self) -> &'static str {
        match self {
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            Self::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid => "MANIFEST_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::SizeInvalid => "SIZE_INVALID",
            Self::TagInvalid => "TAG_INVALID",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Denied => "DENIED",
            Self::Unsupported => "UNSUPPORTED",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// An answer that is not what the client asked for.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) headers: Box<HeaderMap>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: Code, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), headers: Box::default() }
    }

    pub(crate) fn bad(code: Code, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(crate) fn missing(code: Code, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, Code::Denied, message)
    }

    /// A deletion that a rule forbids. The specification names 405 for it.
    pub(crate) fn undeletable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, Code::Denied, message)
    }

    pub(crate) fn too_large(code: Code, message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, code, message)
    }

    pub(crate) fn full(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INSUFFICIENT_STORAGE, Code::Unknown, message)
    }

    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// A failure that is not the client's. The cause goes to the log, not over the network.
    pub(crate) fn internal(error: &dyn std::error::Error) -> Self {
        let mut chain = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            chain = format!("{chain}: {cause}");
            source = cause.source();
        }
        tracing::error!(error = chain, "the registry failed a request");
        let message = "the registry failed; its log has the cause";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Unknown, message)
    }

    pub(crate) fn io(act: &'static str, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::full(format!(
                "cannot {act}: no space left on the registry's disk; collect garbage or grow it"
            )),
            _ => {
                tracing::error!(%error, act, "the registry failed a request");
                let message = format!("the registry cannot {act}; its log has the cause");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Unknown, message)
            }
        }
    }
}

impl From<DbError> for ApiError {
    fn from(error: DbError) -> Self {
        match error {
            full if full.is_full() => Self::full(
                "no space left on the registry's disk for its database; collect garbage or grow it",
            ),
            DbError::Closed => Self::new(StatusCode::SERVICE_UNAVAILABLE, Code::Unknown, error.to_string()),
            other => Self::internal(&other),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full { .. } => Self::full(error.to_string()),
            other => Self::internal(&other),
        }
    }
}

impl From<TagRefusal> for ApiError {
    fn from(refusal: TagRefusal) -> Self {
        Self::refused(refusal.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = serde_json::json!({
            "errors": [{ "code": self.code.text(), "message": self.message, "detail": null }]
        });
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = self.status;
        *response.headers_mut() = *self.headers;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}
