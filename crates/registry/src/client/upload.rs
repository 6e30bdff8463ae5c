//! Uploads of blobs: taken from another repository where that is possible, in one request when small, else as a
//! session that goes on where it was cut.
//!
//! A session is `POST` for a place, `PATCH` with `Content-Range` for the bytes, `PUT` with the digest to end it; each
//! answer says where the next request goes. After a cut, `GET` of that place says how many bytes arrived. A registry
//! that has forgotten the session gets a new one. Source: distribution specification 1.1, "Pushing blobs in chunks".

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use kiln_store::{Descriptor, Store, StoreError};
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, StatusCode, Url};

use super::auth::Scope;
use super::blob::{range_of, remote_stream};
use super::error::Task;
use super::manifest::text_of;
use super::progress::{Event, How, Progress};
use super::retry::Attempt;
use super::transport::{Call, Payload, Place, nonsense};
use super::{Client, RegistryError};

/// Bytes read from a file at a time.
const PIECE: u64 = 256 << 10;

/// The pieces that uploads are cut into when something on the way finds them too large: below the 100 MB that common
/// proxies allow.
const SMALLER: u64 = 64 << 20;

/// A cut after so many new bytes does not count as another failure in a row.
const HEADWAY: u64 = 1 << 20;

/// Where the bytes of a blob are.
#[derive(Clone)]
pub(super) enum Source {
    /// In a store.
    Store(Store),
    /// In memory.
    Memory(Bytes),
    /// In another repository.
    Remote(Client, Place),
}

impl Source {
    fn stream(
        &self,
        blob: &Descriptor,
        from: u64,
        length: u64,
    ) -> BoxStream<'static, std::io::Result<Bytes>> {
        match self {
            Self::Store(store) => file_stream(store.clone(), blob, from, length).boxed(),
            Self::Memory(bytes) => {
                let range = clamp(from, bytes.len())..clamp(from + length, bytes.len());
                futures_util::stream::iter([Ok(bytes.slice(range))]).boxed()
            }
            Self::Remote(client, place) => {
                cut(remote_stream(client.clone(), place.clone(), blob.clone(), from), length).boxed()
            }
        }
    }
}

fn clamp(number: u64, limit: usize) -> usize {
    usize::try_from(number).map_or(limit, |number| number.min(limit))
}

/// No more than `length` bytes of a stream.
fn cut(
    stream: impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    length: u64,
) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    stream.scan(length, |left, piece| {
        let piece = piece.map(|piece| piece.slice(..clamp(*left, piece.len())));
        if let Ok(piece) = &piece {
            *left -= piece.len() as u64;
        }
        let more = !matches!(&piece, Ok(piece) if piece.is_empty());
        futures_util::future::ready(more.then_some(piece))
    })
}

fn file_stream(
    store: Store,
    blob: &Descriptor,
    from: u64,
    length: u64,
) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send + use<> {
    let (state, digest) = ((None::<Arc<File>>, from), blob.digest);
    futures_util::stream::try_unfold(state, move |(file, at)| {
        let (store, left) = (store.clone(), from + length - at);
        async move {
            if left == 0 {
                return Ok(None);
            }
            let read = move || {
                let file = match file {
                    Some(file) => file,
                    None => Arc::new(store.open_blob(&digest).map_err(std::io::Error::other)?),
                };
                let mut piece = vec![0; clamp(left.min(PIECE), usize::MAX)];
                file.read_exact_at(&mut piece, at)?;
                Ok::<_, std::io::Error>((Bytes::from(piece), file))
            };
            let (piece, file) = tokio::task::spawn_blocking(read).await.map_err(std::io::Error::other)??;
            let at = at + piece.len() as u64;
            Ok(Some((piece, (Some(file), at))))
        }
    })
}

/// What there is to upload, and where to.
pub(super) struct Upload<'a> {
    pub(super) place: &'a Place,
    pub(super) blob: &'a Descriptor,
    pub(super) source: &'a Source,
    /// Repositories of the same registry that may have the blob.
    pub(super) mounts: &'a [Place],
    pub(super) progress: &'a Progress,
}

/// A session at the registry.
struct Session {
    url: Url,
    /// Bytes that the registry has.
    offset: u64,
    /// Bytes of one request.
    chunk: u64,
}

enum Begun {
    Mounted,
    Session(Session),
}

impl Client {
    /// Sees to it that a repository has a blob.
    pub(super) async fn upload(&self, upload: &Upload<'_>) -> Result<How, RegistryError> {
        let Upload { place, blob, .. } = upload;
        let mount = upload.mounts.iter().find(|from| from.registry == place.registry && from != place);
        let scope = Scope::push(place);
        if self.has_blob(place, blob, &scope).await? {
            return Ok(How::Present);
        }
        let scope = mount.map_or_else(|| scope.clone(), |from| scope.clone().and_pull(from));
        let task = Task::at("send", place, format_args!("blob {}", blob.digest));
        let mut failed = 0;
        let mut state =
            State { mount, scope: &scope, task: &task, session: None, smaller: false, tried: false };
        loop {
            let before = state.session.as_ref().map_or(0, |session| session.offset);
            match self.attempt(upload, &mut state).await {
                Ok(how) => return Ok(how),
                Err(attempt) => {
                    let attempt = self.judge(upload, &mut state, attempt);
                    let after = state.session.as_ref().map_or(0, |session| session.offset);
                    if after.saturating_sub(before) >= HEADWAY {
                        failed = 0;
                    }
                    self.transport.bear(&task, upload.progress, attempt, &mut failed).await?;
                }
            }
        }
    }

    async fn attempt(&self, upload: &Upload<'_>, state: &mut State<'_>) -> Result<How, Attempt> {
        if state.session.is_none() {
            // The registry may have had all of it when the connection was cut.
            if state.tried
                && self.has_blob(upload.place, upload.blob, state.scope).await.map_err(Attempt::last)?
            {
                return Ok(How::Moved);
            }
            state.tried = true;
            match self.begin(upload, state).await? {
                Begun::Mounted => return Ok(How::Mounted),
                Begun::Session(session) => state.session = Some(session),
            }
        } else {
            self.ask(upload, state).await?;
        }
        let small = upload.blob.size <= self.transport.options.monolithic;
        let Some(session) = &mut state.session else { return Ok(How::Present) };
        if small && session.offset == 0 {
            self.end(upload, state, true).await?;
            return Ok(How::Moved);
        }
        while session.offset < upload.blob.size {
            self.patch(upload, state.task, state.scope, session).await?;
        }
        self.end(upload, state, false).await?;
        Ok(How::Moved)
    }

    /// `POST`: the registry takes the blob from its other repository, or says where to send it.
    async fn begin(&self, upload: &Upload<'_>, state: &State<'_>) -> Result<Begun, Attempt> {
        let path = "blobs/uploads/";
        let call = self.plain(state.task, upload.place, state.scope, Method::POST, path);
        let mut call = call.map_err(Attempt::last)?;
        if let Some(from) = state.mount {
            let pairs = [("mount", upload.blob.digest.to_string()), ("from", from.repository.to_string())];
            call.url.query_pairs_mut().extend_pairs(pairs);
        }
        let answer = self.transport.call(&call).await?;
        match answer.status() {
            StatusCode::CREATED if state.mount.is_some() => Ok(Begun::Mounted),
            StatusCode::ACCEPTED | StatusCode::CREATED => {
                let url = self.transport.location(&call, &answer)?;
                let smallest =
                    text_of(answer.headers(), "oci-chunk-min-length").and_then(|text| text.parse().ok());
                let chunk = self.transport.options.chunk.or(state.smaller.then_some(SMALLER));
                let chunk = chunk.unwrap_or(u64::MAX).max(smallest.unwrap_or(1)).max(1);
                Ok(Begun::Session(Session { url, offset: 0, chunk }))
            }
            _ => Err(self.transport.refused(state.task, answer).await),
        }
    }

    /// `GET` of the session: how far it is.
    async fn ask(&self, upload: &Upload<'_>, state: &mut State<'_>) -> Result<(), Attempt> {
        let Some(session) = &mut state.session else { return Ok(()) };
        let call = self.follow(upload, state.task, state.scope, Method::GET, session.url.clone());
        let answer = self.transport.call(&call).await?;
        let range = text_of(answer.headers(), RANGE.as_str()).and_then(|text| range_of(&text));
        if !matches!(answer.status(), StatusCode::NO_CONTENT | StatusCode::OK | StatusCode::ACCEPTED) {
            return Err(self.transport.refused(state.task, answer).await);
        }
        if let Ok(url) = self.transport.location(&call, &answer) {
            session.url = url;
        }
        // `0-0` is one byte or none: implementations differ, and sending a byte twice would be wrong.
        let arrived = match range {
            Some((0, last)) if last > 0 => last + 1,
            Some((0, 0)) | None => 0,
            Some(_) => {
                return Err(nonsense(state.task, "its Range does not begin at 0".into()));
            }
        };
        if arrived > upload.blob.size || (range == Some((0, 0)) && session.offset > 0) {
            // Begun anew it may do better.
            let reason = "it has other bytes than were sent".into();
            return Err(Attempt::again(RegistryError::Document { task: state.task.clone(), reason }));
        }
        session.offset = arrived;
        Ok(())
    }

    /// `PATCH`: the next bytes.
    async fn patch(
        &self,
        upload: &Upload<'_>,
        task: &Task,
        scope: &Scope,
        session: &mut Session,
    ) -> Result<(), Attempt> {
        let length = session.chunk.min(upload.blob.size - session.offset);
        let end = session.offset + length;
        let mut call = self.follow(upload, task, scope, Method::PATCH, session.url.clone());
        call.headers = octets();
        let range = HeaderValue::try_from(format!("{}-{}", session.offset, end - 1));
        call.headers.insert(CONTENT_RANGE, range.map_err(|error| nonsense(task, error.to_string()))?);
        let sent = Arc::new(AtomicU64::new(0));
        let open = || body(upload, session.offset, length, &sent);
        call.payload = Payload::Stream { length, sent: sent.clone(), open: &open };
        let result = self.transport.call(&call).await;
        let answer = match result {
            Ok(answer) if answer.status().is_success() => answer,
            other => {
                upload.progress.tell(Event::Lost { count: sent.load(Ordering::Relaxed) });
                return match other {
                    Ok(answer) => Err(self.transport.refused(task, answer).await),
                    Err(attempt) => Err(attempt),
                };
            }
        };
        let next = self.transport.location(&call, &answer)?;
        let arrived = text_of(answer.headers(), RANGE.as_str()).and_then(|text| range_of(&text));
        let arrived = arrived.map_or(end, |(_, last)| last + 1);
        if arrived <= session.offset || arrived > end {
            return Err(nonsense(task, format!("it has {arrived} bytes after {end} were sent")));
        }
        session.url = next;
        session.offset = arrived;
        Ok(())
    }

    /// `PUT` with the digest: ends the session, with all bytes when there are few.
    async fn end(&self, upload: &Upload<'_>, state: &State<'_>, whole: bool) -> Result<(), Attempt> {
        let Some(session) = &state.session else { return Ok(()) };
        let mut url = session.url.clone();
        url.query_pairs_mut().append_pair("digest", &upload.blob.digest.to_string());
        let mut call = self.follow(upload, state.task, state.scope, Method::PUT, url);
        call.headers = octets();
        call.patience = self.transport.options.settle;
        let sent = Arc::new(AtomicU64::new(0));
        let open = || body(upload, 0, upload.blob.size, &sent);
        if whole {
            call.payload = Payload::Stream { length: upload.blob.size, sent: sent.clone(), open: &open };
        }
        match self.transport.call(&call).await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            other => {
                upload.progress.tell(Event::Lost { count: sent.load(Ordering::Relaxed) });
                match other {
                    Ok(answer) => Err(self.transport.refused(state.task, answer).await),
                    Err(attempt) => Err(attempt),
                }
            }
        }
    }

    fn follow<'a>(
        &self,
        upload: &Upload<'a>,
        task: &'a Task,
        scope: &'a Scope,
        method: Method,
        url: Url,
    ) -> Call<'a> {
        let (headers, patience) = (HeaderMap::new(), self.transport.options.idle);
        Call { task, place: upload.place, scope, method, url, headers, payload: Payload::Nothing, patience }
    }

    /// What a failed attempt means for the next one.
    fn judge(&self, upload: &Upload<'_>, state: &mut State<'_>, attempt: Attempt) -> Attempt {
        let Some(status) = attempt.error.status() else {
            // A cut: the session may go on. Small blobs have none that would.
            if upload.blob.size <= self.transport.options.monolithic {
                state.session = None;
            }
            if matches!(*attempt.error, RegistryError::Document { .. }) {
                state.session = None;
            }
            return attempt;
        };
        if attempt.again {
            // An overloaded registry keeps its sessions.
            return attempt;
        }
        let had_session = state.session.take().is_some();
        let large = upload.blob.size > SMALLER;
        let again = match status {
            400 if had_session && let Some(error) = damaged(upload) => return Attempt::last(error),
            // It has forgotten the session, or has other bytes of it than it said.
            400 | 404 | 416 => had_session,
            413 => !std::mem::replace(&mut state.smaller, true) && large,
            _ => false,
        };
        // A mount that is refused is no reason not to send the bytes.
        let mount = if had_session { None } else { state.mount.take() };
        let again = again || (mount.is_some() && (400..=404).contains(&status));
        Attempt { again, ..attempt }
    }
}

/// What is wrong with the store's own bytes.
fn damaged(upload: &Upload<'_>) -> Option<StoreError> {
    let Source::Store(store) = upload.source else { return None };
    store.verify_blob(&upload.blob.digest).err()
}

/// What an upload remembers between attempts.
struct State<'a> {
    mount: Option<&'a Place>,
    scope: &'a Scope,
    task: &'a Task,
    session: Option<Session>,
    smaller: bool,
    tried: bool,
}

fn octets() -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))])
}

/// A request's body that tells how it goes.
fn body(upload: &Upload<'_>, from: u64, length: u64, sent: &Arc<AtomicU64>) -> reqwest::Body {
    sent.store(0, Ordering::Relaxed);
    let (sent, progress) = (sent.clone(), upload.progress.clone());
    let stream = upload.source.stream(upload.blob, from, length).inspect(move |piece| {
        if let Ok(piece) = piece {
            let count = piece.len() as u64;
            sent.fetch_add(count, Ordering::Relaxed);
            progress.tell(Event::Bytes { count });
        }
    });
    reqwest::Body::wrap_stream(stream)
}
