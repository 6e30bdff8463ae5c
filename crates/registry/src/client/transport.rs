//! One request to a registry: where to, in the clear or not, with which credentials, along which redirects, and how
//! long to wait for it.
//!
//! Credentials go to the registry itself and to the place where it says that its tokens are, to nobody else: a
//! redirect to another host goes without them. What began encrypted never goes on in the clear.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Method, Response, StatusCode, Url};

use super::auth::{Asked, Door, Login, Scope};
use super::error::{Task, cause};
use super::progress::{Event, Progress};
use super::retry::{Attempt, retry_after};
use super::{Options, RegistryError};
use crate::name::{ImageReference, Repository};

/// Redirects that are followed. Registries need one, to their storage.
const REDIRECTS: usize = 5;

/// No more of an error's text is read.
const REFUSAL_LIMIT: usize = 16 << 10;

/// A repository of a registry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Host and perhaps port.
    pub registry: String,
    /// The repository there.
    pub repository: Repository,
}

impl Place {
    /// Where an image is.
    pub fn of(image: &ImageReference) -> Self {
        Self { registry: image.registry.clone(), repository: image.repository.clone() }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)
    }
}

/// What goes along with a request.
pub(super) enum Payload<'a> {
    Nothing,
    Bytes(Bytes),
    /// A body that is made anew for each attempt, and its length; the counter grows while it is read.
    Stream {
        length: u64,
        sent: Arc<AtomicU64>,
        open: &'a (dyn Fn() -> reqwest::Body + Sync),
    },
}

/// A request.
pub(super) struct Call<'a> {
    pub(super) task: &'a Task,
    pub(super) place: &'a Place,
    pub(super) scope: &'a Scope,
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) payload: Payload<'a>,
    /// How long the answer may take after the last byte was sent.
    pub(super) patience: Duration,
}

impl<'a> Call<'a> {
    /// The same call without a body and with other headers.
    pub(super) fn with_headers(&self, headers: HeaderMap) -> Call<'a> {
        let Self { task, place, scope, patience, .. } = *self;
        let (method, url, payload) = (self.method.clone(), self.url.clone(), Payload::Nothing);
        Call { task, place, scope, method, url, headers, payload, patience }
    }
}

pub(super) struct Transport {
    http: reqwest::Client,
    pub(super) options: Options,
    doors: Mutex<HashMap<String, Arc<Door>>>,
    logins: tokio::sync::Mutex<HashMap<Place, Login>>,
}

impl Transport {
    pub(super) fn new(options: Options) -> Result<Self, RegistryError> {
        let builder = match &options.authority {
            Some(path) => kiln_outbound::client_trusting(path)?,
            None => {
                kiln_outbound::client().map_err(|error| RegistryError::Client { reason: cause(&error) })?
            }
        };
        let http = builder
            .connect_timeout(options.connect)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| RegistryError::Client { reason: cause(&error) })?;
        Ok(Self { http, options, doors: Mutex::default(), logins: tokio::sync::Mutex::default() })
    }

    pub(super) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Who one is at a place. Helpers are asked once.
    pub(super) async fn login(&self, place: &Place) -> Result<Login, RegistryError> {
        if let Some(login) = &self.options.login {
            return Ok(login.clone());
        }
        let mut logins = self.logins.lock().await;
        if let Some(known) = logins.get(place) {
            return Ok(known.clone());
        }
        let found = self.options.keys.find(&place.registry, place.repository.as_str()).await?;
        logins.insert(place.clone(), found.clone());
        Ok(found)
    }

    fn door(&self, place: &Place) -> Arc<Door> {
        let mut doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        doors.entry(place.registry.clone()).or_default().clone()
    }

    /// An address in a repository.
    pub(super) fn url(&self, task: &Task, place: &Place, path: &str) -> Result<Url, RegistryError> {
        let text = format!("{}/v2/{}/{path}", self.base(&place.registry), place.repository);
        Url::parse(&text)
            .map_err(|error| RegistryError::Document { task: task.clone(), reason: error.to_string() })
    }

    fn base(&self, registry: &str) -> String {
        let host = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
        let clear = self.options.plain_http || (self.options.authority.is_none() && is_loopback(registry));
        format!("{}://{host}", if clear { "http" } else { "https" })
    }

    /// Whether credentials for a registry may go to an address.
    fn is_own(&self, place: &Place, url: &Url) -> bool {
        Url::parse(&self.base(&place.registry)).is_ok_and(|base| base.origin() == url.origin())
    }

    /// Fails when an encrypted registry sends one into the clear.
    fn guard(&self, task: &Task, place: &Place, url: &Url) -> Result<(), RegistryError> {
        let encrypted = self.base(&place.registry).starts_with("https");
        if url.scheme() == "https" || (url.scheme() == "http" && !encrypted) {
            return Ok(());
        }
        let target = format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default());
        Err(RegistryError::Clear { task: task.clone(), target })
    }

    /// Where a registry says that its tokens are.
    pub(super) fn realm(&self, task: &Task, place: &Place, realm: &str) -> Result<Url, Attempt> {
        let url = Url::parse(realm).map_err(|error| nonsense(task, format!("its realm: {error}")))?;
        self.guard(task, place, &url).map_err(Attempt::last)?;
        Ok(url)
    }

    /// Where an answer says to go on.
    pub(super) fn location(&self, call: &Call<'_>, answer: &Response) -> Result<Url, Attempt> {
        let header = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let text = header.ok_or_else(|| nonsense(call.task, "it has no Location header".into()))?;
        let url = answer.url().join(text);
        let url = url.map_err(|error| nonsense(call.task, format!("its Location: {error}")))?;
        self.guard(call.task, call.place, &url).map_err(Attempt::last)?;
        Ok(url)
    }

    /// Sends a request, answers a challenge once, follows redirects of what only reads. Any other answer than 401 is
    /// returned as it is.
    pub(super) async fn call(&self, call: &Call<'_>) -> Result<Response, Attempt> {
        let mut url = call.url.clone();
        for _ in 0..=REDIRECTS {
            let answer = self.known(call, &url).await?;
            let reads = call.method == Method::GET || call.method == Method::HEAD;
            if !(answer.status().is_redirection() && reads && answer.headers().contains_key(LOCATION)) {
                return Ok(answer);
            }
            url = self.location(call, &answer)?;
        }
        Err(Attempt::last(RegistryError::Redirects { task: call.task.clone(), limit: REDIRECTS }))
    }

    /// The same without the redirects.
    async fn known(&self, call: &Call<'_>, url: &Url) -> Result<Response, Attempt> {
        if !self.is_own(call.place, url) {
            return self.once(call, url, None).await;
        }
        let door = self.door(call.place);
        let shown = door.pass(call.scope).await;
        let first = self.once(call, url, shown.as_ref()).await?;
        if first.status() != StatusCode::UNAUTHORIZED {
            return Ok(first);
        }
        let asked = Asked { place: call.place, scope: call.scope, task: call.task };
        let Some(pass) = door.answer(self, &asked, &first, shown.as_ref()).await? else {
            return Err(self.refused(call.task, first).await);
        };
        let second = self.once(call, url, Some(&pass)).await?;
        if second.status() == StatusCode::UNAUTHORIZED {
            return Err(self.refused(call.task, second).await);
        }
        Ok(second)
    }

    async fn once(
        &self,
        call: &Call<'_>,
        url: &Url,
        pass: Option<&HeaderValue>,
    ) -> Result<Response, Attempt> {
        let mut request = self.http.request(call.method.clone(), url.clone()).headers(call.headers.clone());
        if let Some(value) = pass {
            request = request.header(AUTHORIZATION, value);
        }
        let mut sent = None;
        match &call.payload {
            Payload::Nothing if call.method != Method::GET && call.method != Method::HEAD => {
                request = request.header(CONTENT_LENGTH, 0);
            }
            Payload::Nothing => {}
            Payload::Bytes(bytes) => request = request.body(bytes.clone()),
            Payload::Stream { length, sent: counter, open } => {
                sent = Some(counter.clone());
                request = request.header(CONTENT_LENGTH, *length).body(open());
            }
        }
        let answered = request.send();
        tokio::pin!(answered);
        let mut before = 0;
        loop {
            match tokio::time::timeout(call.patience, &mut answered).await {
                Ok(result) => return result.map_err(|error| broken(call.task, &error)),
                Err(_) => {
                    let now = sent.as_ref().map_or(0, |sent| sent.load(Ordering::Relaxed));
                    if now == before {
                        return Err(silent(call.task, call.patience));
                    }
                    before = now;
                }
            }
        }
    }

    /// The next bytes of an answer, or its end.
    pub(super) async fn next(&self, task: &Task, stream: &mut Incoming) -> Result<Option<Bytes>, Attempt> {
        match tokio::time::timeout(self.options.idle, stream.next()).await {
            Ok(piece) => piece.transpose().map_err(|error| broken(task, &error)),
            Err(_) => Err(silent(task, self.options.idle)),
        }
    }

    /// An answer that says no, with the registry's words.
    pub(super) async fn refused(&self, task: &Task, answer: Response) -> Attempt {
        let status = answer.status();
        let fleeting = status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED;
        let again =
            fleeting || status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::REQUEST_TIMEOUT;
        let after = retry_after(answer.headers());
        let words = bounded(self, task, answer, REFUSAL_LIMIT).await.unwrap_or_default();
        let error =
            RegistryError::Refused { task: task.clone(), status: status.as_u16(), detail: words_of(&words) };
        Attempt { error: error.into(), again, after }
    }

    /// Attempts until it goes well, or cannot, or often enough.
    pub(super) async fn repeat<T, F: Future<Output = Result<T, Attempt>>>(
        &self,
        task: &Task,
        progress: &Progress,
        act: impl Fn() -> F,
    ) -> Result<T, RegistryError> {
        let mut failed = 0;
        loop {
            match act().await {
                Ok(done) => return Ok(done),
                Err(attempt) => self.bear(task, progress, attempt, &mut failed).await?,
            }
        }
    }

    /// Takes a failed attempt: the error when there is to be no other, else waits. `failed` counts them.
    pub(super) async fn bear(
        &self,
        task: &Task,
        progress: &Progress,
        attempt: Attempt,
        failed: &mut u32,
    ) -> Result<(), RegistryError> {
        let retry = &self.options.retry;
        *failed += 1;
        if !attempt.again || *failed >= retry.attempts {
            return Err(*attempt.error);
        }
        let salt = task.what.bytes().fold(0_u64, |sum, b| sum.wrapping_mul(31).wrapping_add(b.into()));
        let pause = retry.pause(*failed - 1, attempt.after, salt);
        progress.tell(Event::Retry { why: attempt.error.to_string(), pause });
        retry.wait(pause).await;
        Ok(())
    }
}

fn silent(task: &Task, waited: Duration) -> Attempt {
    let reason = format!("it was silent for {} s", waited.as_secs_f32());
    Attempt::again(RegistryError::Transport { task: task.clone(), reason })
}

/// A connection that failed.
pub(super) fn broken(task: &Task, error: &reqwest::Error) -> Attempt {
    let reason = if error.is_timeout() { "it does not answer in time".into() } else { cause(error) };
    let final_word =
        error.is_builder() || reason.contains("certificate") || reason.contains("corrupt message");
    Attempt {
        error: RegistryError::Transport { task: task.clone(), reason }.into(),
        again: !final_word,
        after: None,
    }
}

/// An answer that makes no sense.
pub(super) fn nonsense(task: &Task, reason: String) -> Attempt {
    Attempt::last(RegistryError::Document { task: task.clone(), reason })
}

/// The body of an answer as it comes.
pub(super) type Incoming = futures_util::stream::BoxStream<'static, reqwest::Result<Bytes>>;

/// The body of an answer.
pub(super) fn incoming(answer: Response) -> Incoming {
    answer.bytes_stream().boxed()
}

/// Reads an answer that must fit into memory.
pub(super) async fn bounded(
    transport: &Transport,
    task: &Task,
    answer: Response,
    limit: usize,
) -> Result<Vec<u8>, Attempt> {
    let mut bytes = Vec::new();
    let mut stream = incoming(answer);
    while let Some(piece) = transport.next(task, &mut stream).await? {
        bytes.extend_from_slice(&piece);
        if bytes.len() > limit {
            return Err(nonsense(task, format!("it is larger than {} KiB", limit >> 10)));
        }
    }
    Ok(bytes)
}

/// The messages of an error document (distribution specification, "Error Codes") as one line that is safe to print.
fn words_of(bytes: &[u8]) -> String {
    let document: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
    let word = |error: &serde_json::Value| {
        let text =
            |name: &str| error.get(name).and_then(serde_json::Value::as_str).filter(|text| !text.is_empty());
        text("message").or_else(|| text("code")).map(str::to_owned)
    };
    let errors = document.get("errors").and_then(serde_json::Value::as_array);
    let words: Vec<String> = errors.into_iter().flatten().filter_map(word).collect();
    words.join(", ").chars().filter(|c| !c.is_control()).take(300).collect()
}

/// Whether a registry is on this machine.
pub(super) fn is_loopback(registry: &str) -> bool {
    let host = match registry.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => registry.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::super::Keys;
    use super::*;

    fn transport(options: Options) -> Transport {
        Transport::new(Options { keys: Keys::none(), ..options }).unwrap()
    }

    fn place(text: &str) -> Place {
        Place::of(&text.parse().unwrap())
    }

    fn task() -> Task {
        Task { act: "get", what: "x".into(), host: "h".into() }
    }

    #[test]
    fn only_this_machine_is_spoken_to_in_the_clear() {
        let url = |transport: &Transport, text: &str| {
            transport.url(&task(), &place(text), "tags/list").unwrap().to_string()
        };
        let usual = transport(Options::default());
        assert_eq!(url(&usual, "ghcr.io/acme/web"), "https://ghcr.io/v2/acme/web/tags/list");
        assert_eq!(url(&usual, "debian"), "https://registry-1.docker.io/v2/library/debian/tags/list");
        assert_eq!(url(&usual, "localhost:5000/web"), "http://localhost:5000/v2/web/tags/list");
        assert_eq!(url(&usual, "[::1]:5000/web"), "http://[::1]:5000/v2/web/tags/list");
        assert_eq!(url(&usual, "localhost.example.com/a"), "https://localhost.example.com/v2/a/tags/list");
        let plain = transport(Options { plain_http: true, ..Options::default() });
        assert_eq!(url(&plain, "reg.example/web"), "http://reg.example/v2/web/tags/list");
    }

    #[test]
    fn credentials_stay_and_encryption_too() {
        let usual = transport(Options::default());
        let own = |text: &str| usual.is_own(&place("reg.example/a"), &Url::parse(text).unwrap());
        assert!(own("https://reg.example/v2/x"));
        for other in ["https://reg.example:8443/x", "https://s3.example/x", "http://reg.example/x"] {
            assert!(!own(other), "{other}");
        }
        let guard =
            |registry: &str, url: &str| usual.guard(&task(), &place(registry), &Url::parse(url).unwrap());
        assert!(guard("reg.example/a", "https://other.example/").is_ok());
        assert!(guard("localhost:5000/a", "http://127.0.0.1:1/").is_ok());
        let text = guard("reg.example/a", "http://reg.example/").unwrap_err().to_string();
        assert!(text.contains("http://reg.example") && text.contains("not encrypted"), "{text}");
        assert!(guard("localhost/a", "file:///etc/passwd").is_err());
    }

    #[test]
    fn words_of_a_registry_cannot_play_with_the_terminal() {
        let text = r#"{"errors":[{"code":"DENIED","message":"no\u001b[2J way"},{"code":"X"}]}"#;
        assert_eq!(words_of(text.as_bytes()), "no[2J way, X");
        assert_eq!(words_of(b"<html>"), "");
    }
}
