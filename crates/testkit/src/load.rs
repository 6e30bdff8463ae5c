//! Constant HTTP load over keep-alive connections, counting what got lost.
//!
//! Every connection is a thread of its own that sends one request after the other at a steady pace and reads each
//! answer to its end. A request counts as failed when it could not be sent, was not answered wholly, or was answered
//! with 5xx. There is no retry: what a patient client would hide is what a test wants to see. Only a connection that
//! the server had closed by an answer's `Connection: close` is renewed without counting.
//!
//! Beside them there may be clients of other kinds: a connection for each request, requests that take long, and
//! WebSockets, which are lost when they end without a Close frame.

mod http;
mod report;
mod websocket;
mod worker;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

pub use http::{Response, get};
pub use report::{LoadReport, WebSockets};
use worker::{Client, Kind};

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
    /// Whether each keep-alive connection sends back the cookies that it was given, as a browser does.
    pub cookies: bool,
    /// Clients of other kinds.
    pub others: Others,
}

/// Clients beside the keep-alive connections, each a thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Others {
    /// Open a connection for each of their requests, ten a second.
    pub fresh: usize,
    /// Ask for this path again and again: something that takes long to be answered.
    pub slow: Vec<String>,
    /// Send a message over a WebSocket to `/ws` every 50 ms and wait for its echo. When it is ended in good form they
    /// begin another one.
    pub websockets: usize,
    /// After so many echoes a client ends its WebSocket by itself; 0 is never.
    pub messages: u32,
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
            cookies: false,
            others: Others::default(),
        }
    }

    /// Begins. The load goes on until [`Load::stop`].
    pub fn start(self) -> Load {
        let shared = Arc::new(Shared::default());
        let (begun, begun_at) = (Instant::now(), SystemTime::now());
        let mut kinds = vec![Kind::KeepAlive; self.connections.max(1)];
        kinds.extend(vec![Kind::Fresh; self.others.fresh]);
        kinds.extend(self.others.slow.iter().cloned().map(Kind::Slow));
        let mut workers: Vec<JoinHandle<LoadReport>> = kinds
            .into_iter()
            .enumerate()
            .map(|(index, kind)| {
                let mut client = Client::new(&self, kind, index, shared.clone(), begun);
                std::thread::spawn(move || {
                    client.work();
                    client.report
                })
            })
            .collect();
        workers.extend((0..self.others.websockets).map(|_| {
            let (plan, shared) = (self.clone(), shared.clone());
            std::thread::spawn(move || websocket::work(&plan, &shared, begun))
        }));
        Load { shared, workers, begun, begun_at }
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
    begun_at: SystemTime,
}

impl Load {
    /// How long it has been going on: the clock of [`LoadReport::failed_at`].
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

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
        report.failed_at.sort_unstable_by_key(|during| during.start);
        report.took = self.begun.elapsed();
        report.begun_at = self.begun_at;
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
