//! Constant HTTP load over keep-alive connections, counting what got lost.
//!
//! Every connection is a thread of its own that sends one request after the other at a steady pace and reads each
//! answer to its end. A request counts as failed when it could not be sent, was not answered wholly, or was answered
//! with 5xx. There is no retry: what a patient client would hide is what a test wants to see. Only a connection that
//! the server had closed by an answer's `Connection: close` is renewed without counting.

mod http;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use http::Connection;
pub use http::{Response, get};

/// Most failures that are told one by one.
const TOLD: usize = 20;

/// What is asked, and how often.
#[derive(Clone, Debug)]
pub struct LoadPlan {
    /// Where.
    pub addr: SocketAddr,
    /// Host header.
    pub host: String,
    /// Path and query.
    pub path: String,
    /// Connections, each with a thread.
    pub connections: usize,
    /// Requests a second over all connections; 0 is as fast as answers come.
    pub rate: u32,
    /// How long one request may take.
    pub timeout: Duration,
}

impl LoadPlan {
    /// `GET /` with 8 connections, 400 requests a second in all, 60 s for each.
    pub fn new(addr: SocketAddr) -> Self {
        Self {
            addr,
            host: addr.to_string(),
            path: "/".into(),
            connections: 8,
            rate: 400,
            timeout: Duration::from_secs(60),
        }
    }

    /// Begins. The load goes on until [`Load::stop`].
    pub fn start(self) -> Load {
        let shared = Arc::new(Shared::default());
        let workers = (0..self.connections.max(1))
            .map(|index| {
                let (plan, shared) = (self.clone(), shared.clone());
                std::thread::spawn(move || work(&plan, index, &shared))
            })
            .collect();
        Load { shared, workers, begun: Instant::now() }
    }
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    answered: AtomicU64,
    failed: AtomicU64,
}

/// Load under way. Dropping it ends it.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<LoadReport>>,
    begun: Instant,
}

impl Load {
    /// Requests answered so far.
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Requests failed so far.
    pub fn failed(&self) -> u64 {
        self.shared.failed.load(Ordering::Relaxed)
    }

    /// Lets the requests under way finish and tells what came of all.
    ///
    /// # Panics
    /// When a worker did.
    pub fn stop(mut self) -> LoadReport {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut report = LoadReport::default();
        for worker in self.workers.drain(..) {
            report.add(worker.join().expect("a worker of the load generator"));
        }
        report.latencies.sort_unstable();
        report.took = self.begun.elapsed();
        report
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for worker in self.workers.drain(..) {
            // A panic of a worker was printed; dropping must not panic again.
            let _ = worker.join();
        }
    }
}

/// What came of the load.
#[derive(Clone, Debug, Default)]
pub struct LoadReport {
    /// Requests answered wholly, whatever the status.
    pub answered: u64,
    /// Requests lost or answered with 5xx.
    pub failed: u64,
    /// The first failures, with the time since the beginning.
    pub failures: Vec<String>,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Answers by the first line of the body (at most 100 characters): which release answered.
    pub answers: BTreeMap<String, u64>,
    /// Time to the end of each answer, ascending.
    pub latencies: Vec<Duration>,
    /// From the beginning to the end.
    pub took: Duration,
}

impl LoadReport {
    /// The latency that `share` (0 to 1) of the answers did not exceed.
    pub fn percentile(&self, share: f64) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        let index = (share.clamp(0.0, 1.0) * last as f64).round() as usize;
        self.latencies.get(index).copied().unwrap_or_default()
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

    fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.failed += other.failed;
        self.failures.extend(other.failures);
        self.failures.truncate(TOLD);
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        for (answer, count) in other.answers {
            *self.answers.entry(answer).or_default() += count;
        }
        self.latencies.extend(other.latencies);
    }

    fn fail(&mut self, shared: &Shared, since: Duration, what: &dyn fmt::Display) {
        self.failed += 1;
        shared.failed.fetch_add(1, Ordering::Relaxed);
        if self.failures.len() < TOLD {
            self.failures.push(format!("after {since:?}: {what}"));
        }
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p50, p99, max) = (self.percentile(0.5), self.percentile(0.99), self.percentile(1.0));
        writeln!(f, "{} answered, {} failed in {:?}", self.answered, self.failed, self.took)?;
        writeln!(f, "latency p50 {p50:?}, p99 {p99:?}, max {max:?}; statuses {:?}", self.statuses)?;
        writeln!(f, "answers {:?}", self.answers)?;
        self.failures.iter().try_for_each(|failure| writeln!(f, "  {failure}"))
    }
}

fn work(plan: &LoadPlan, index: usize, shared: &Shared) -> LoadReport {
    let begun = Instant::now();
    let mut report = LoadReport::default();
    let mut connection: Option<Connection> = None;
    let pace = match plan.rate {
        0 => Duration::ZERO,
        rate => Duration::from_secs_f64(plan.connections.max(1) as f64 / f64::from(rate)),
    };
    // Spread over the first interval, so that the connections do not ask in step.
    let mut due = begun + pace.mul_f64(index as f64 / plan.connections.max(1) as f64);
    while !shared.stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        if now < due {
            std::thread::sleep((due - now).min(Duration::from_millis(50)));
            continue;
        }
        due = if now > due + Duration::from_secs(1) { now + pace } else { due + pace };
        let asked = connection.take().map_or_else(|| Connection::open(plan.addr, plan.timeout), Ok).and_then(
            |mut connection| {
                let response = connection.get(&plan.host, &plan.path)?;
                Ok((connection, response))
            },
        );
        match asked {
            Err(error) => report.fail(shared, begun.elapsed(), &error),
            Ok((open, response)) => {
                connection = Some(open).filter(|_| !response.closes);
                report.answered += 1;
                shared.answered.fetch_add(1, Ordering::Relaxed);
                report.latencies.push(now.elapsed());
                *report.statuses.entry(response.status).or_default() += 1;
                let line = response.text().lines().next().unwrap_or_default().chars().take(100).collect();
                *report.answers.entry(line).or_default() += 1;
                if response.status >= 500 {
                    report.fail(shared, begun.elapsed(), &format!("status {}", response.status));
                }
            }
        }
    }
    report
}
