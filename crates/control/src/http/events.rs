//! The stream of events, one JSON object per line. An empty line now and then shows that the stream is alive.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use kiln_provider::Provider;
use tokio::sync::watch;

use super::Desk;
use crate::api::{EventsQuery, ShutdownRequest};
use crate::event::Event;
use crate::ops::ControlError;
use crate::reconcile::Control;
use crate::traffic::Traffic;

/// So many events are read at once.
const PAGE: u32 = 256;

/// Between two signs of life.
const ALIVE: Duration = Duration::from_secs(15);

pub(super) async fn events<P: Provider, T: Traffic>(
    State(desk): State<Desk<P, T>>,
    Query(query): Query<EventsQuery>,
) -> Response {
    let reader = Reader {
        grown: desk.control.state().last_event(),
        ended: desk.shutdown.subscribe(),
        control: desk.control,
        query,
        page: VecDeque::new(),
    };
    let lines = stream::unfold(reader, |mut reader| async move {
        let line = reader.next().await?;
        Some((Ok::<_, Infallible>(line), reader))
    });
    ([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}

struct Reader<P, T> {
    control: Control<P, T>,
    query: EventsQuery,
    page: VecDeque<Event>,
    grown: watch::Receiver<i64>,
    ended: watch::Receiver<Option<ShutdownRequest>>,
}

impl<P: Provider, T: Traffic> Reader<P, T> {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            while let Some(event) = self.page.pop_front() {
                if self.wanted(&event) {
                    let mut line = serde_json::to_vec(&event).ok()?;
                    line.push(b'\n');
                    return Some(line.into());
                }
            }
            // Marked as seen before reading, so that what is appended meanwhile wakes the wait below.
            self.grown.mark_unchanged();
            if self.read().await.ok()? {
                continue;
            }
            if !self.query.follow {
                return None;
            }
            tokio::select! {
                grown = self.grown.changed() => grown.ok()?,
                _ = self.ended.wait_for(Option::is_some) => return None,
                () = tokio::time::sleep(ALIVE) => return Some(Bytes::from_static(b"\n")),
            }
        }
    }

    /// Whether there was anything more.
    async fn read(&mut self) -> Result<bool, ControlError> {
        let events = self.control.events(self.query.after, PAGE).await?;
        if let Some(last) = events.last() {
            self.query.after = last.id;
        }
        self.page = events.into();
        Ok(!self.page.is_empty())
    }

    fn wanted(&self, event: &Event) -> bool {
        self.query.environment.as_ref().is_none_or(|wanted| *wanted == event.environment)
            && self.query.service.as_ref().is_none_or(|wanted| *wanted == event.service)
    }
}
