//! One question to one address: HTTP, HTTPS and local files, with time limits and typed faults. It neither repeats
//! nor knows other mirrors; [`crate::download`] does.

use std::path::PathBuf;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use reqwest::header;

use crate::Error;
use crate::request::Timeouts;

/// A client for all mirrors of one request; it keeps connections alive.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    client: reqwest::Client,
    pub(crate) timeouts: Timeouts,
}

/// What a mirror said about a file, to ask next time only whether it changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Validators {
    pub(crate) etag: Option<String>,
    pub(crate) last_modified: Option<String>,
}

/// Why one question had no good answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("it answered {0}")]
    Status(u16),
    #[error("no connection: {0}")]
    Connect(String),
    #[error("it was silent for {0} s")]
    Silent(u64),
    #[error("the answer broke off: {0}")]
    Broken(String),
    #[error("it sent {got} bytes, not {expected}")]
    Size { got: u64, expected: u64 },
    #[error("it sent more than {0} bytes")]
    TooLong(u64),
    #[error("it sent other bytes: sha256 {got}, not {expected}{hint}")]
    Digest { got: String, expected: String, hint: &'static str },
    #[error("no such file")]
    Absent,
    #[error("cannot be read: {0}")]
    Local(std::io::Error),
}

impl Fault {
    /// Whether the same mirror may do better in a moment.
    pub(crate) fn passes(&self) -> bool {
        match self {
            Self::Status(status) => matches!(status, 408 | 425 | 429 | 500..=599),
            Self::Connect(_) | Self::Silent(_) | Self::Broken(_) | Self::Size { .. } => true,
            Self::TooLong(_) | Self::Digest { .. } | Self::Absent | Self::Local(_) => false,
        }
    }

    /// Whether the mirror plainly says that it has no such file.
    pub(crate) fn absent(&self) -> bool {
        matches!(self, Self::Absent | Self::Status(403 | 404 | 410))
    }
}

/// An answer whose body is still to be read.
pub(crate) struct Answer {
    /// Where the body begins in the file: 0, or what was asked for.
    pub(crate) offset: u64,
    pub(crate) validators: Validators,
    /// The body says of itself that it is a web page.
    pub(crate) page: bool,
    body: std::pin::Pin<Box<dyn Stream<Item = Result<Bytes, Fault>> + Send>>,
}

impl Answer {
    /// The next piece.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, Fault>> {
        self.body.next().await
    }

    /// The whole body, if it is not longer than `limit` bytes.
    pub(crate) async fn read(&mut self, limit: u64) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.next().await {
            bytes.extend_from_slice(&piece?);
            if bytes.len() as u64 > limit {
                return Err(Fault::TooLong(limit));
            }
        }
        Ok(bytes)
    }
}

impl Transport {
    pub(crate) fn new(timeouts: Timeouts) -> Result<Self, Error> {
        let client = kiln_outbound::client()
            .map_err(|source| Error::Client { reason: chain(&source) })?
            .connect_timeout(timeouts.connect)
            .read_timeout(timeouts.read)
            .build()
            .map_err(|source| Error::Client { reason: chain(&source) })?;
        Ok(Self { client, timeouts })
    }

    /// Asks for a file from `offset` on; `Ok(None)` when it has not changed since `known`.
    pub(crate) async fn get(
        &self,
        url: &str,
        offset: u64,
        known: Option<&Validators>,
    ) -> Result<Option<Answer>, Fault> {
        match url.strip_prefix("file://") {
            Some(path) => local(PathBuf::from(path), offset).map(Some),
            None => self.remote(url, offset, known).await,
        }
    }

    async fn remote(
        &self,
        url: &str,
        offset: u64,
        known: Option<&Validators>,
    ) -> Result<Option<Answer>, Fault> {
        let mut request = self.client.get(url);
        if offset > 0 {
            request = request.header(header::RANGE, format!("bytes={offset}-"));
        }
        if let Some(etag) = known.and_then(|known| known.etag.as_ref()) {
            request = request.header(header::IF_NONE_MATCH, etag);
        } else if let Some(date) = known.and_then(|known| known.last_modified.as_ref()) {
            request = request.header(header::IF_MODIFIED_SINCE, date);
        }
        let silent = self.timeouts.read.as_secs().max(1);
        let response = request.send().await.map_err(|error| fault(&error, silent))?;
        let status = response.status().as_u16();
        if known.is_some() && status == 304 {
            return Ok(None);
        }
        let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let begins = match status {
            200 => 0,
            206 if text(header::CONTENT_RANGE).and_then(range_start) == Some(offset) => offset,
            _ => return Err(Fault::Status(status)),
        };
        let validators = Validators {
            etag: text(header::ETAG).map(str::to_owned),
            last_modified: text(header::LAST_MODIFIED).map(str::to_owned),
        };
        let page = text(header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with("text/html"));
        let body = response.bytes_stream().map(move |piece| piece.map_err(|error| fault(&error, silent)));
        Ok(Some(Answer { offset: begins, validators, page, body: Box::pin(body) }))
    }
}

/// `bytes 100-199/200` begins at 100.
fn range_start(text: &str) -> Option<u64> {
    text.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

fn fault(error: &reqwest::Error, silent: u64) -> Fault {
    if error.is_timeout() && !error.is_connect() {
        Fault::Silent(silent)
    } else if error.is_connect() || error.is_request() {
        Fault::Connect(chain(error))
    } else {
        Fault::Broken(chain(error))
    }
}

/// The innermost cause: the outer ones only repeat the address.
fn chain(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

fn local(path: PathBuf, offset: u64) -> Result<Answer, Fault> {
    use std::io::{ErrorKind, Read, Seek, SeekFrom};
    let mut file = std::fs::File::open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Fault::Absent,
        _ => Fault::Local(error),
    })?;
    file.seek(SeekFrom::Start(offset)).map_err(Fault::Local)?;
    let pieces = std::iter::from_fn(move || {
        let mut piece = vec![0; 1 << 18];
        match file.read(&mut piece) {
            Ok(0) => None,
            Ok(count) => {
                piece.truncate(count);
                Some(Ok(Bytes::from(piece)))
            }
            Err(error) => Some(Err(Fault::Local(error))),
        }
    });
    let body = Box::pin(stream::iter(pieces));
    Ok(Answer { offset, validators: Validators::default(), page: false, body })
}
