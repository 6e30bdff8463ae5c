//! Asking a registry.

use std::io::Write;
use std::time::Duration;

use futures_util::StreamExt;
use kiln_model::Digest;
use kiln_store::oci::{self, Descriptor};
use kiln_store::{Staged, Store, at};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;

use super::auth::{Challenge, Credentials, challenge, stored};
use super::{Reference, RegistryError};

/// Manifests are refused beyond this, as registries do (4 MiB in the distribution specification).
const MANIFEST_LIMIT: usize = 4 << 20;

/// How often one thing is asked for.
const ATTEMPTS: u32 = 4;

/// Before the first repetition; doubles each time.
const BACK_OFF: Duration = Duration::from_millis(250);

/// A connection to the registry of one reference.
pub(crate) struct Client {
    http: reqwest::Client,
    reference: Reference,
    credentials: Option<Credentials>,
    authorization: Mutex<Option<HeaderValue>>,
}

#[derive(Deserialize)]
struct Token {
    #[serde(alias = "access_token")]
    token: String,
}

/// One failed attempt, and whether another makes sense.
struct Attempt {
    error: RegistryError,
    again: bool,
}

impl Client {
    pub(crate) fn new(reference: Reference) -> Result<Self, RegistryError> {
        let http = kiln_outbound::client()
            .map_err(|source| RegistryError::Client { reason: chain(&source) })?
            .connect_timeout(Duration::from_secs(15))
            .read_timeout(Duration::from_secs(60))
            .build()
            .map_err(|source| RegistryError::Client { reason: chain(&source) })?;
        let credentials = stored(&reference.host);
        Ok(Self { http, reference, credentials, authorization: Mutex::new(None) })
    }

    /// Gets a manifest or index by what the reference says, or by a digest. Returns its bytes and media type.
    pub(crate) async fn manifest(
        &self,
        digest: Option<&Digest>,
    ) -> Result<(Vec<u8>, Descriptor), RegistryError> {
        let version = digest.map_or_else(|| self.reference.version(), ToString::to_string);
        let what = format!("the manifest of {}", self.reference);
        let wanted = digest.copied().or(self.reference.digest);
        self.repeat(|| self.manifest_once(&version, &what, wanted)).await
    }

    async fn manifest_once(
        &self,
        version: &str,
        what: &str,
        wanted: Option<Digest>,
    ) -> Result<(Vec<u8>, Descriptor), Attempt> {
        let types = [oci::MANIFEST, oci::INDEX, oci::DOCKER_MANIFEST, oci::DOCKER_INDEX].join(", ");
        let answer = self.get(&format!("manifests/{version}"), &types, what).await?;
        let header =
            answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let mut bytes = Vec::new();
        let mut stream = answer.bytes_stream();
        while let Some(piece) = stream.next().await {
            bytes.extend_from_slice(&piece.map_err(|error| self.transport(what, &error))?);
            if bytes.len() > MANIFEST_LIMIT {
                return Err(self.document(what, "it is larger than 4 MiB".into()));
            }
        }
        let actual = Digest::from_bytes(Sha256::digest(&bytes).into());
        if let Some(expected) = wanted.filter(|wanted| *wanted != actual) {
            let (what, host) = (what.to_owned(), self.reference.host.clone());
            return Err(Attempt {
                error: RegistryError::Digest { what, host, expected, actual },
                again: false,
            });
        }
        let media_type = media_type(&bytes, header.as_deref())
            .ok_or_else(|| self.document(what, "it is neither a manifest nor an index".into()))?;
        let descriptor = Descriptor::new(&media_type, actual, bytes.len() as u64);
        Ok((bytes, descriptor))
    }

    /// Downloads a blob into the store's temporary files and checks it.
    pub(crate) async fn blob(&self, store: &Store, blob: &Descriptor) -> Result<Staged, RegistryError> {
        let what = format!("blob {} of {}", blob.digest, self.reference);
        self.repeat(|| self.blob_once(store, blob, &what)).await
    }

    async fn blob_once(&self, store: &Store, blob: &Descriptor, what: &str) -> Result<Staged, Attempt> {
        let answer = self.get(&format!("blobs/{}", blob.digest), "*/*", what).await?;
        let mut writer = store.writer().map_err(Attempt::last)?;
        let path = writer.path().to_owned();
        let mut left = blob.size;
        let mut stream = answer.bytes_stream();
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(|error| self.transport(what, &error))?;
            left = left
                .checked_sub(piece.len() as u64)
                .ok_or_else(|| self.document(what, format!("it is longer than {} bytes", blob.size)))?;
            writer.write_all(&piece).map_err(|error| Attempt::last(at("write", &path)(error)))?;
        }
        let staged = writer.finish();
        let actual = staged.digest();
        staged.expect(what, &blob.digest, Some(blob.size)).map_err(|_| Attempt {
            error: RegistryError::Digest {
                what: what.into(),
                host: self.reference.host.clone(),
                expected: blob.digest,
                actual,
            },
            // A connection cut short ends like this too.
            again: true,
        })
    }

    async fn repeat<T, F: Future<Output = Result<T, Attempt>>>(
        &self,
        act: impl Fn() -> F,
    ) -> Result<T, RegistryError> {
        let mut pause = BACK_OFF;
        for _ in 1..ATTEMPTS {
            match act().await {
                Ok(done) => return Ok(done),
                Err(attempt) if !attempt.again => return Err(attempt.error),
                Err(_) => tokio::time::sleep(pause).await,
            }
            pause *= 2;
        }
        act().await.map_err(|attempt| attempt.error)
    }

    async fn get(&self, path: &str, accept: &str, what: &str) -> Result<Response, Attempt> {
        let url = format!("{}/{path}", self.reference.base());
        let known = self.authorization.lock().await.clone();
        let first = self.send(&url, accept, known, what).await?;
        let answer = if first.status() == StatusCode::UNAUTHORIZED {
            let Some(authorization) = self.authorize(&first, what).await? else {
                return Err(self.refused(&first, what));
            };
            *self.authorization.lock().await = Some(authorization.clone());
            self.send(&url, accept, Some(authorization), what).await?
        } else {
            first
        };
        if answer.status().is_success() { Ok(answer) } else { Err(self.refused(&answer, what)) }
    }

    async fn send(
        &self,
        url: &str,
        accept: &str,
        authorization: Option<HeaderValue>,
        what: &str,
    ) -> Result<Response, Attempt> {
        let mut request = self.http.get(url).header(ACCEPT, accept);
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        request.send().await.map_err(|error| self.transport(what, &error))
    }

    /// Answers a challenge; `None` when there is nothing to answer with.
    async fn authorize(&self, answer: &Response, what: &str) -> Result<Option<HeaderValue>, Attempt> {
        let headers = answer.headers().get_all(WWW_AUTHENTICATE).iter();
        let found = headers.filter_map(|value| challenge(value.to_str().ok()?)).next();
        match found {
            None => Ok(None),
            Some(Challenge::Basic) => {
                let Some(credentials) = &self.credentials else { return Ok(None) };
                let request = self
                    .http
                    .get("http://localhost/")
                    .basic_auth(&credentials.user, Some(&credentials.password));
                let built = request.build().map_err(|error| self.transport(what, &error))?;
                Ok(built.headers().get(AUTHORIZATION).cloned())
            }
            Some(Challenge::Bearer { realm, parameters }) => {
                self.token(&realm, &parameters, what).await.map(Some)
            }
        }
    }

    async fn token(
        &self,
        realm: &str,
        parameters: &[(String, String)],
        what: &str,
    ) -> Result<HeaderValue, Attempt> {
        let mut url = reqwest::Url::parse(realm).map_err(|error| self.document(what, error.to_string()))?;
        url.query_pairs_mut().extend_pairs(parameters);
        let mut request = self.http.get(url);
        if let Some(credentials) = &self.credentials {
            request = request.basic_auth(&credentials.user, Some(&credentials.password));
        }
        let answer = request.send().await.map_err(|error| self.transport(what, &error))?;
        if !answer.status().is_success() {
            return Err(self.refused(&answer, what));
        }
        let token: Token = answer.json().await.map_err(|error| self.transport(what, &error))?;
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.token))
            .map_err(|error| self.document(what, error.to_string()))?;
        value.set_sensitive(true);
        Ok(value)
    }

    fn transport(&self, what: &str, error: &reqwest::Error) -> Attempt {
        let (what, host) = (what.to_owned(), self.reference.host.clone());
        Attempt {
            error: RegistryError::Transport { what, host, reason: chain(error) },
            again: !error.is_builder(),
        }
    }

    fn document(&self, what: &str, reason: String) -> Attempt {
        let (what, host) = (what.to_owned(), self.reference.host.clone());
        Attempt { error: RegistryError::Document { what, host, reason }, again: false }
    }

    fn refused(&self, answer: &Response, what: &str) -> Attempt {
        let status = answer.status();
        let again = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
        let (what, host) = (what.to_owned(), self.reference.host.clone());
        Attempt { error: RegistryError::Refused { what, host, status: status.as_u16() }, again }
    }
}

impl Attempt {
    fn last(error: impl Into<RegistryError>) -> Self {
        Self { error: error.into(), again: false }
    }
}

/// What a document is: its own word first, then the registry's, then its shape.
fn media_type(bytes: &[u8], header: Option<&str>) -> Option<String> {
    let document: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    let known = [oci::MANIFEST, oci::INDEX, oci::DOCKER_MANIFEST, oci::DOCKER_INDEX];
    let own = document.get("mediaType").and_then(serde_json::Value::as_str);
    let header = header.map(|value| value.split(';').next().unwrap_or_default().trim());
    if let Some(word) = own.or(header).filter(|word| known.contains(word)) {
        return Some(word.to_owned());
    }
    let shape = if document.get("manifests").is_some() { oci::INDEX } else { oci::MANIFEST };
    (document.get("manifests").is_some() || document.get("layers").is_some()).then(|| shape.to_owned())
}

/// An error with its causes, without the address (which may hold a token).
fn chain(error: &dyn std::error::Error) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        words.push(cause.to_string());
        next = cause.source();
    }
    words.last().cloned().unwrap_or_default()
}
