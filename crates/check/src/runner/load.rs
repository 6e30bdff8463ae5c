//! Requests at a constant rate over kept connections. Each request has a time at which it is due; its time counts from
//! then, so that an instance that stalls is not excused for the requests that could not be sent meanwhile.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kiln_model::{LoadCheck, Protocol, Span};
use kiln_provider::Endpoint;
use tokio::time::{Instant, sleep_until, timeout};

use crate::connect::{Connector, Direct};
use crate::finding::{Finding, Judge};
use crate::live::http::{self, Asked};
use crate::live::place;
use crate::{Target, millis};

/// So much of a body is read.
const LONGEST_BODY: usize = 4 << 20;

/// What came of some requests.
#[derive(Debug, Default)]
struct Tally {
    times: Vec<Duration>,
    failed: u64,
    /// What the first failure was.
    why: Option<String>,
}

pub(crate) async fn run(wanted: &LoadCheck, target: &Target<'_>, limit: Span) -> Result<(), Finding> {
    let what = format!("load on {}", wanted.get);
    let (_, protocol, endpoint) =
        place(&what, wanted.port.as_ref(), target, |protocol| protocol != Protocol::Tcp)?;
    let connections = wanted.connections.max(1);
    let total = u64::from(wanted.rate) * wanted.duration.millis() / 1000;
    let began = Instant::now();
    let workers = (0..u64::from(connections)).map(|number| {
        let worker = Worker {
            path: wanted.get.clone(),
            protocol,
            endpoint: endpoint.clone(),
            limit: limit.duration(),
            began,
            between: Duration::from_secs(1) / wanted.rate.max(1),
        };
        tokio::spawn(worker.run(number, u64::from(connections), total.max(1)))
    });
    let mut tally = Tally::default();
    for worker in workers.collect::<Vec<_>>() {
        if let Ok(part) = worker.await {
            tally.times.extend(part.times);
            tally.failed += part.failed;
            tally.why = tally.why.or(part.why);
        }
    }
    judge(wanted, &what, tally)
}

fn judge(wanted: &LoadCheck, what: &str, mut tally: Tally) -> Result<(), Finding> {
    let total = tally.times.len() as u64 + tally.failed;
    let rate = if total == 0 { 1.0 } else { tally.failed as f64 / total as f64 };
    let mut judge = Judge::new(what);
    let why = tally.why.map(|why| format!(", such as: {why}")).unwrap_or_default();
    judge.that(
        rate <= wanted.max_error_rate,
        format_args!("at most {}% of requests to fail", wanted.max_error_rate * 100.0),
        format_args!("{} of {total} failed{why}", tally.failed),
    );
    if let Some(max) = wanted.max_p99 {
        tally.times.sort_unstable();
        let p99 = percentile(&tally.times, 99);
        let found = p99.map_or_else(|| "no answer at all".into(), |p99| format!("{}ms", millis(p99)));
        judge.that(
            p99.is_some_and(|p99| p99 <= max.duration()),
            format_args!("99 of 100 answers within {max}"),
            found,
        );
    }
    judge.verdict()
}

/// The smallest time that so many of 100 are not above (nearest rank).
fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

struct Worker {
    path: String,
    protocol: Protocol,
    endpoint: Endpoint,
    limit: Duration,
    began: Instant,
    /// Time between two requests of all workers.
    between: Duration,
}

enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

impl Worker {
    /// Sends every `step`th request, from `first` on.
    async fn run(self, first: u64, step: u64, total: u64) -> Tally {
        let mut tally = Tally::default();
        let mut sender = None;
        let mut number = first;
        while number < total {
            let due = self.began + self.between.mul_f64(number as f64);
            sleep_until(due).await;
            let outcome = timeout(self.limit, self.send(&mut sender)).await;
            match outcome.unwrap_or_else(|_| Err(format!("no answer within {}ms", millis(self.limit)))) {
                Ok(()) => tally.times.push(due.elapsed()),
                Err(why) => {
                    sender = None;
                    tally.failed += 1;
                    tally.why.get_or_insert(why);
                }
            }
            number += step;
        }
        tally
    }

    async fn send(&self, sender: &mut Option<Sender>) -> Result<(), String> {
        let headers = std::collections::BTreeMap::new();
        let asked =
            Asked { method: "GET", path: &self.path, headers: &headers, body: None, protocol: self.protocol };
        let http2 = self.protocol == Protocol::H2c;
        let request = http::request(&asked, http2, false).map_err(|finding| finding.found)?;
        let mut open = match sender.take() {
            Some(open) if open.is_open() => open,
            _ => self.connect(http2).await?,
        };
        let tell = |error: hyper::Error| crate::finding::chain(&error);
        let answer = match &mut open {
            Sender::One(sender) => sender.send_request(request).await.map_err(tell)?,
            Sender::Two(sender) => sender.send_request(request).await.map_err(tell)?,
        };
        let status = answer.status().as_u16();
        Limited::new(answer.into_body(), LONGEST_BODY).collect().await.map_err(|error| error.to_string())?;
        if let Sender::One(sender) = &mut open {
            // Not ready any more: the server closes after this answer, and the next request gets a new connection.
            if sender.ready().await.is_err() {
                return graded(status);
            }
        }
        *sender = Some(open);
        graded(status)
    }

    async fn connect(&self, http2: bool) -> Result<Sender, String> {
        let stream = Direct.connect(&self.endpoint).await.map_err(|error| error.to_string())?;
        let stream = TokioIo::new(stream);
        let tell = |error: hyper::Error| crate::finding::chain(&error);
        if http2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.map_err(tell)?;
            tokio::spawn(connection);
            return Ok(Sender::Two(sender));
        }
        let (sender, connection) = http1::handshake(stream).await.map_err(tell)?;
        tokio::spawn(connection);
        Ok(Sender::One(sender))
    }
}

impl Sender {
    fn is_open(&self) -> bool {
        match self {
            Self::One(sender) => !sender.is_closed(),
            Self::Two(sender) => !sender.is_closed(),
        }
    }
}

fn graded(status: u16) -> Result<(), String> {
    if status >= 500 { Err(format!("status {status}")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&times, 99), Some(Duration::from_millis(198)));
        assert_eq!(percentile(&times[..1], 99), Some(Duration::from_millis(1)));
        assert_eq!(percentile(&[], 99), None);
    }
}
