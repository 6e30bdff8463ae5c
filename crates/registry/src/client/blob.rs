//! Blobs: whether a registry has one, and downloads that go on where they were cut.
//!
//! A blob goes through a bounded queue to a thread that writes it and takes its digest, so that several blobs use
//! several cores. It gets its name in the store only when length and digest are right.

use std::io::Write;

use bytes::Bytes;
use kiln_model::Digest;
use kiln_store::{BlobWriter, Descriptor, Store, StoreError, at};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::auth::Scope;
use super::error::Task;
use super::manifest::text_of;
use super::progress::{Event, Progress};
use super::retry::Attempt;
use super::transport::{Call, Incoming, Place, incoming, nonsense};
use super::{Client, RegistryError};

/// Pieces between network and disk; one is 16 KiB or a little more.
const QUEUE: usize = 64;

/// A cut after so many new bytes does not count as another failure in a row.
const HEADWAY: u64 = 1 << 20;

/// The thread that writes a blob.
struct Writer {
    pieces: mpsc::Sender<Bytes>,
    thread: JoinHandle<Result<BlobWriter, StoreError>>,
}

impl Writer {
    fn begin(store: &Store) -> Result<Self, StoreError> {
        let mut writer = store.writer()?;
        let (pieces, mut queue) = mpsc::channel::<Bytes>(QUEUE);
        let thread = tokio::task::spawn_blocking(move || {
            let path = writer.path().to_owned();
            while let Some(piece) = queue.blocking_recv() {
                writer.write_all(&piece).map_err(at("write", &path))?;
            }
            Ok(writer)
        });
        Ok(Self { pieces, thread })
    }

    /// Waits until everything is written.
    async fn end(self) -> Result<BlobWriter, StoreError> {
        drop(self.pieces);
        match self.thread.await {
            Ok(result) => result,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

/// How far a download has come.
struct Course<'a> {
    task: &'a Task,
    blob: &'a Descriptor,
    progress: &'a Progress,
    received: u64,
    writer: Option<Writer>,
}

impl Client {
    /// Whether a repository has a blob of this length.
    pub(super) async fn has_blob(
        &self,
        place: &Place,
        blob: &Descriptor,
        scope: &Scope,
    ) -> Result<bool, RegistryError> {
        let task = Task::at("look for", place, format_args!("blob {}", blob.digest));
        let call = self.plain(&task, place, scope, Method::HEAD, &format!("blobs/{}", blob.digest))?;
        let head = || async {
            let answer = self.transport.call(&call).await?;
            match answer.status() {
                StatusCode::NOT_FOUND => Ok(false),
                status if status.is_success() => {
                    let length = text_of(answer.headers(), CONTENT_LENGTH.as_str());
                    Ok(length.and_then(|text| text.parse().ok()).is_none_or(|size: u64| size == blob.size))
                }
                _ => Err(self.transport.refused(&task, answer).await),
            }
        };
        self.transport.repeat(&task, &Progress::none(), head).await
    }

    /// Downloads a blob into the store, where it has its name afterwards. One that is there already is not asked for.
    pub(super) async fn download(
        &self,
        place: &Place,
        store: &Store,
        blob: &Descriptor,
        progress: &Progress,
    ) -> Result<(), RegistryError> {
        let task = Task::at("get", place, format_args!("blob {}", blob.digest));
        let scope = Scope::pull(place);
        let call = self.plain(&task, place, &scope, Method::GET, &format!("blobs/{}", blob.digest))?;
        let mut course = Course { task: &task, blob, progress, received: 0, writer: None };
        let mut failed = 0;
        loop {
            let before = course.received;
            let attempt = match self.go_on(&call, store, &mut course).await {
                Ok(()) => match self.close(store, &mut course).await {
                    Ok(()) => return Ok(()),
                    Err(attempt) => attempt,
                },
                Err(attempt) => attempt,
            };
            if course.received.saturating_sub(before) >= HEADWAY {
                failed = 0;
            }
            self.transport.bear(&task, progress, attempt, &mut failed).await?;
        }
    }

    /// Receives from where the last attempt ended to the blob's end.
    async fn go_on(&self, call: &Call<'_>, store: &Store, course: &mut Course<'_>) -> Result<(), Attempt> {
        if course.writer.is_none() {
            course.writer = Some(Writer::begin(store).map_err(Attempt::last)?);
        }
        if course.received == course.blob.size {
            return Ok(());
        }
        let (answer, mut skip) = self.open_from(call, course.received, course.blob.size).await?;
        let mut stream = incoming(answer);
        while let Some(mut piece) = self.transport.next(course.task, &mut stream).await? {
            if skip > 0 {
                let known = skip.min(piece.len() as u64);
                skip -= known;
                piece = piece.slice(usize::try_from(known).unwrap_or(piece.len())..);
            }
            course.take(piece).await?;
        }
        if course.received == course.blob.size {
            return Ok(());
        }
        let (task, expected, actual) = (course.task.clone(), course.blob.size, course.received);
        Err(Attempt::again(RegistryError::Length { task, expected, actual }))
    }

    /// Opens a blob from a byte on. A registry that cannot do so sends all of it: the second value is how many bytes
    /// are to be passed over.
    pub(super) async fn open_from(
        &self,
        call: &Call<'_>,
        from: u64,
        size: u64,
    ) -> Result<(Response, u64), Attempt> {
        let mut headers = call.headers.clone();
        if from > 0 {
            let range = HeaderValue::try_from(format!("bytes={from}-"));
            headers.insert(RANGE, range.map_err(|error| nonsense(call.task, error.to_string()))?);
        }
        let mut answer = self.transport.call(&call.with_headers(headers)).await?;
        if from > 0 && answer.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            answer = self.transport.call(call).await?;
        }
        match answer.status() {
            StatusCode::PARTIAL_CONTENT if from > 0 => {
                let said = text_of(answer.headers(), CONTENT_RANGE.as_str());
                let good = said.as_deref().and_then(range_of).is_some_and(|(start, _)| start == from);
                if good {
                    return Ok((answer, 0));
                }
                let reason =
                    format!("it was asked for the bytes from {from} on and sends {said:?} of {size}");
                Err(nonsense(call.task, reason))
            }
            status if status == StatusCode::OK => Ok((answer, from)),
            _ => Err(self.transport.refused(call.task, answer).await),
        }
    }

    /// Checks what was received and gives it its name; begins anew when it is wrong.
    async fn close(&self, store: &Store, course: &mut Course<'_>) -> Result<(), Attempt> {
        let Some(writer) = course.writer.take() else { return Ok(()) };
        let staged = writer.end().await.map_err(Attempt::last)?.finish();
        let actual = staged.digest();
        if actual != course.blob.digest {
            course.progress.tell(Event::Lost { count: course.received });
            course.received = 0;
            return Err(wrong(course.task, &course.blob.digest, actual));
        }
        let store = store.clone();
        let committed = tokio::task::spawn_blocking(move || store.commit(vec![staged])).await;
        match committed {
            Ok(result) => result.map_err(Attempt::last),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

fn wrong(task: &Task, expected: &Digest, actual: Digest) -> Attempt {
    let (expected, actual) = (expected.to_string(), actual.to_string());
    // Something on the way may have damaged them; the same again is a broken or hostile registry.
    Attempt::again(RegistryError::Digest { task: task.clone(), expected, actual })
}

impl Course<'_> {
    async fn take(&mut self, piece: Bytes) -> Result<(), Attempt> {
        let length = piece.len() as u64;
        if length > self.blob.size - self.received {
            let (task, expected) = (self.task.clone(), self.blob.size);
            let actual = self.received + length;
            return Err(Attempt::last(RegistryError::Length { task, expected, actual }));
        }
        let Some(writer) = &self.writer else { return Ok(()) };
        if writer.pieces.send(piece).await.is_err() {
            // The thread ended because it cannot write; its own error says why.
            let ended = self.writer.take().map(Writer::end);
            let Some(ended) = ended else { return Ok(()) };
            let error = ended.await.err();
            return Err(Attempt::last(error.map_or_else(
                || RegistryError::Client { reason: "the thread that writes has ended".into() },
                RegistryError::from,
            )));
        }
        self.received += length;
        self.progress.tell(Event::Bytes { count: length });
        Ok(())
    }
}

/// First and last byte of `bytes 5-9/10`, or of the `0-9` that upload answers have.
pub(super) fn range_of(text: &str) -> Option<(u64, u64)> {
    let text = text.trim();
    let text = text.strip_prefix("bytes").unwrap_or(text).trim_start_matches(['=', ' ']);
    let (first, rest) = text.split_once('-')?;
    let last = rest.split('/').next().unwrap_or_default();
    Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
}

/// A blob of another repository, read piece by piece from any byte on.
pub(super) fn remote_stream(
    client: Client,
    place: Place,
    blob: Descriptor,
    from: u64,
) -> impl futures_util::Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
    enum State {
        Closed(u64),
        Open(Incoming, u64),
    }
    let task = Task::at("get", &place, format_args!("blob {}", blob.digest));
    let scope = Scope::pull(&place);
    let step = move |state: State| {
        let (client, place, blob, task, scope) =
            (client.clone(), place.clone(), blob.clone(), task.clone(), scope.clone());
        async move {
            let io = |attempt: Attempt| std::io::Error::other(attempt.error.to_string());
            let (mut stream, mut skip) = match state {
                State::Open(stream, skip) => (stream, skip),
                State::Closed(from) => {
                    let path = format!("blobs/{}", blob.digest);
                    let call = client
                        .plain(&task, &place, &scope, Method::GET, &path)
                        .map_err(std::io::Error::other)?;
                    let (answer, skip) = client.open_from(&call, from, blob.size).await.map_err(io)?;
                    (incoming(answer), skip)
                }
            };
            loop {
                let Some(mut piece) = client.transport.next(&task, &mut stream).await.map_err(io)? else {
                    return Ok(None);
                };
                if skip > 0 {
                    let known = skip.min(piece.len() as u64);
                    skip -= known;
                    piece = piece.slice(usize::try_from(known).unwrap_or(piece.len())..);
                }
                if !piece.is_empty() {
                    return Ok(Some((piece, State::Open(stream, skip))));
                }
            }
        }
    };
    futures_util::stream::try_unfold(State::Closed(from), step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        assert_eq!(range_of("bytes 5-9/10"), Some((5, 9)));
        assert_eq!(range_of("bytes 5-9/*"), Some((5, 9)));
        assert_eq!(range_of("0-41"), Some((0, 41)));
        assert_eq!(range_of("bytes=0-41"), Some((0, 41)));
        for none in ["", "x", "5", "bytes */10", "-5"] {
            assert_eq!(range_of(none), None, "{none}");
        }
    }
}
