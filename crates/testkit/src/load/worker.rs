//! One client that sends requests.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::http::Connection;
use super::{LoadPlan, LoadReport, Response, Shared};

/// Between two requests of a client that opens a connection for each.
const FRESH: Duration = Duration::from_millis(100);

/// After a failure: whoever is refused at once must not count for thousands.
const REST: Duration = Duration::from_millis(10);

/// What a client does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Many requests over one connection.
    KeepAlive,
    /// A connection for each request.
    Fresh,
    /// A path that takes long, one request after the other.
    Slow(String),
}

/// A client and what it has seen.
pub(super) struct Client {
    plan: LoadPlan,
    kind: Kind,
    shared: Arc<Shared>,
    begun: Instant,
    pace: Duration,
    due: Instant,
    cookie: Option<String>,
    pub(super) report: LoadReport,
}

impl Client {
    pub(super) fn new(
        plan: &LoadPlan,
        kind: Kind,
        index: usize,
        shared: Arc<Shared>,
        begun: Instant,
    ) -> Self {
        let connections = plan.connections.max(1) as f64;
        let pace = match (&kind, plan.rate) {
            (Kind::Fresh, _) => FRESH,
            (Kind::Slow(_), _) | (Kind::KeepAlive, 0) => Duration::ZERO,
            (Kind::KeepAlive, rate) => Duration::from_secs_f64(connections / f64::from(rate)),
        };
        // Spread over the first interval, so that the connections do not ask in step.
        let due = begun + pace.mul_f64((index as f64 / connections).fract());
        Self {
            plan: plan.clone(),
            kind,
            shared,
            begun,
            pace,
            due,
            cookie: None,
            report: LoadReport::default(),
        }
    }

    pub(super) fn work(&mut self) {
        let mut connection: Option<Connection> = None;
        while !self.shared.stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            if now < self.due {
                std::thread::sleep((self.due - now).min(Duration::from_millis(50)));
                continue;
            }
            let late = now > self.due + Duration::from_secs(1);
            self.due = if late { now + self.pace } else { self.due + self.pace };
            match self.ask(connection.take()) {
                Err(error) => {
                    self.report.fail(&self.shared, now - self.begun..self.begun.elapsed(), &error);
                    self.rest();
                }
                Ok((open, response)) => {
                    connection = Some(open).filter(|_| !response.closes && self.kind != Kind::Fresh);
                    let took = now.elapsed();
                    self.report.answer(&self.shared, now - self.begun + took, took, &response);
                    if response.status >= 500 {
                        self.rest();
                    }
                }
            }
        }
    }

    fn rest(&mut self) {
        self.due = self.due.max(Instant::now() + REST);
    }

    fn ask(&mut self, open: Option<Connection>) -> io::Result<(Connection, Response)> {
        let mut connection = open.map_or_else(|| Connection::open(self.plan.addr, self.plan.timeout), Ok)?;
        let path = match &self.kind {
            Kind::Slow(path) => path,
            Kind::KeepAlive | Kind::Fresh => &self.plan.path,
        };
        let cookie = self.cookie.as_deref().map(|cookie| ("cookie", cookie));
        connection.send(&self.plan.host, path, cookie.as_slice())?;
        let response = connection.receive()?;
        if self.plan.cookies
            && let Some(set) = response.header("set-cookie")
        {
            self.cookie = set.split(';').next().map(str::to_owned);
        }
        Ok((connection, response))
    }
}
