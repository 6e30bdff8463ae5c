//! What came of the load.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use super::{Response, Shared};

/// Most kinds of failures that are told.
const TOLD: usize = 20;

/// What came of the load.
#[derive(Clone, Debug)]
pub struct LoadReport {
    /// Requests answered wholly, whatever the status.
    pub answered: u64,
    /// Requests lost or answered with 5xx.
    pub failed: u64,
    /// What failed, how often, and when for the first time since the beginning.
    pub failures: BTreeMap<String, (u64, Duration)>,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Answers by the first line of the body (at most 100 characters): which release answered.
    pub answers: BTreeMap<String, u64>,
    /// For each such line, when it came first, and when the last request was sent that it answered, since the beginning.
    pub spans: BTreeMap<String, (Duration, Duration)>,
    /// From when each failed request was sent to when it was seen to have failed, since the beginning, in the order of
    /// the former; for a WebSocket that was cut, both are when that was seen.
    pub failed_at: Vec<Range<Duration>>,
    /// WebSockets.
    pub websockets: WebSockets,
    /// Time to the end of each answer, ascending.
    pub latencies: Vec<Duration>,
    /// From the beginning to the end.
    pub took: Duration,
    /// When it began.
    pub begun_at: SystemTime,
}

/// What came of the WebSockets. Those that were cut are failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WebSockets {
    /// Opened.
    pub opened: u64,
    /// Messages that came back.
    pub echoed: u64,
    /// Ended by the server's Close frame.
    pub told: u64,
    /// Ended by the client.
    pub ended: u64,
}

impl Default for LoadReport {
    fn default() -> Self {
        Self {
            answered: 0,
            failed: 0,
            failures: BTreeMap::new(),
            statuses: BTreeMap::new(),
            answers: BTreeMap::new(),
            spans: BTreeMap::new(),
            failed_at: Vec::new(),
            websockets: WebSockets::default(),
            latencies: Vec::new(),
            took: Duration::ZERO,
            begun_at: SystemTime::UNIX_EPOCH,
        }
    }
}

impl LoadReport {
    /// The latency that `share` (0 to 1) of the answers did not exceed.
    pub fn percentile(&self, share: f64) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        let index = (share.clamp(0.0, 1.0) * last as f64).round() as usize;
        self.latencies.get(index).copied().unwrap_or_default()
    }

    /// Answers whose first line begins with `words`.
    pub fn count(&self, words: &str) -> u64 {
        self.answers.iter().filter(|(line, _)| line.starts_with(words)).map(|(_, count)| count).sum()
    }

    /// When the first answer came whose first line begins with `words`, and when the last request was sent that was
    /// answered so, since the beginning.
    pub fn span(&self, words: &str) -> Option<(Duration, Duration)> {
        let spans = self.spans.iter().filter(|(line, _)| line.starts_with(words));
        spans.map(|(_, span)| *span).reduce(|one, next| (one.0.min(next.0), one.1.max(next.1)))
    }

    /// Asserts that requests were answered and none was lost.
    ///
    /// # Panics
    /// With the report, when one was.
    #[track_caller]
    pub fn assert_lossless(&self) {
        assert!(self.answered > 0, "no request was answered at all: {self}");
        assert_eq!(self.failed, 0, "requests were lost: {self}");
    }

    pub(super) fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.failed += other.failed;
        for (what, (count, first)) in other.failures {
            self.failed(what, count, first);
        }
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        for (answer, count) in other.answers {
            *self.answers.entry(answer).or_default() += count;
        }
        for (answer, span) in other.spans {
            self.spanned(answer, span);
        }
        self.failed_at.extend(other.failed_at);
        self.websockets.opened += other.websockets.opened;
        self.websockets.echoed += other.websockets.echoed;
        self.websockets.told += other.websockets.told;
        self.websockets.ended += other.websockets.ended;
        self.latencies.extend(other.latencies);
    }

    fn spanned(&mut self, answer: String, (first, last): (Duration, Duration)) {
        let span = self.spans.entry(answer).or_insert((first, last));
        *span = (span.0.min(first), span.1.max(last));
    }

    /// Counts an answer that came at `since` and took so long.
    pub(super) fn answer(&mut self, shared: &Shared, since: Duration, took: Duration, response: &Response) {
        self.answered += 1;
        shared.answered.fetch_add(1, Ordering::Relaxed);
        self.latencies.push(took);
        *self.statuses.entry(response.status).or_default() += 1;
        let line: String = response.text().lines().next().unwrap_or_default().chars().take(100).collect();
        *self.answers.entry(line.clone()).or_default() += 1;
        self.spanned(line, (since, since.saturating_sub(took)));
        if response.status >= 500 {
            let during = since.saturating_sub(took)..since;
            self.fail(shared, during, &format!("status {}", response.status));
        }
    }

    pub(super) fn fail(&mut self, shared: &Shared, during: Range<Duration>, what: &dyn fmt::Display) {
        self.failed += 1;
        let first = during.start;
        self.failed_at.push(during);
        shared.failed.fetch_add(1, Ordering::Relaxed);
        self.failed(what.to_string(), 1, first);
    }

    fn failed(&mut self, what: String, count: u64, first: Duration) {
        let known = self.failures.entry(what).or_insert((0, first));
        *known = (known.0 + count, known.1.min(first));
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p50, p99, max) = (self.percentile(0.5), self.percentile(0.99), self.percentile(1.0));
        writeln!(f, "{} answered, {} failed in {:?}", self.answered, self.failed, self.took)?;
        writeln!(f, "latency p50 {p50:?}, p99 {p99:?}, max {max:?}; statuses {:?}", self.statuses)?;
        writeln!(f, "answers {:?}", self.answers)?;
        if self.websockets != WebSockets::default() {
            writeln!(f, "{:?}", self.websockets)?;
        }
        for (what, (count, first)) in self.failures.iter().take(TOLD) {
            writeln!(f, "  {count} times, first after {first:?}: {what}")?;
        }
        Ok(())
    }
}
