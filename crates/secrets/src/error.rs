//! Why a secret cannot be had.

use std::fmt;
use std::io;

use kiln_model::SecretRef;

/// Which secret cannot be had, and why.
#[derive(Debug)]
pub struct SecretError {
    /// Its name in the service.
    pub name: String,
    /// Where it was looked for.
    pub from: Option<SecretRef>,
    /// What is in the way.
    pub source: ResolveError,
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot get the secret {}", self.name)?;
        match &self.from {
            Some(from) => write!(f, " from {from}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for SecretError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// What is in the way of a secret. No variant holds a part of a value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// Neither the service nor the environment says where it is.
    #[error("nobody says where it is: add `from` to the service's block or to the environment's")]
    Unsaid,
    /// The file cannot be read.
    #[error("cannot read {path}")]
    File {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is something else than a file.
    #[error("{0} is not a file")]
    NoFile(String),
    /// The control plane has no such variable.
    #[error(
        "the control plane has no environment variable {0} in UTF-8: give it one where `kiln serve` is started, and restart it"
    )]
    NoVariable(String),
    /// There is nothing in it.
    #[error("it is empty")]
    Empty,
    /// It is too large.
    #[error("it is larger than {most} bytes")]
    TooLarge {
        /// The limit, bytes.
        most: usize,
    },
    /// It cannot be an environment variable.
    #[error("it is not text: hand it over as a file, as = \"file\"")]
    NoText,
    /// The control plane does not know where Vault is, or as whom to ask.
    #[error(
        "the control plane has no {0} in its environment: give it one where `kiln serve` is started, and restart it"
    )]
    Vault(&'static str),
    /// No client can be made.
    #[error("cannot speak to {address}")]
    Client {
        /// The server.
        address: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server does not answer, or not in its own words.
    #[error("{address} does not answer {path}")]
    Server {
        /// The server.
        address: String,
        /// What was asked for.
        path: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The server refused.
    #[error("{address} answered {status} to {path}: {said}")]
    Refused {
        /// The server.
        address: String,
        /// What was asked for.
        path: String,
        /// HTTP status.
        status: u16,
        /// Its own words, or what the status means there.
        said: String,
    },
    /// The secret has no such field, or not as text.
    #[error("{path} has no text called {field:?}; it has {known}")]
    NoField {
        /// Mount and path.
        path: String,
        /// The field.
        field: String,
        /// The names of the fields that are there.
        known: String,
    },
}
