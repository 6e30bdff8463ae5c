//! Counters, and their text for Prometheus (text format 0.0.4).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::db::Totals;

/// Upper bounds of the latency buckets in seconds: from a cached manifest to a large layer.
const BOUNDS: [f64; 10] = [0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 10.0, 60.0];

/// What one registry did since it was opened.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<(&'static str, &'static str, u16), u64>>,
    latencies: Mutex<BTreeMap<&'static str, Latency>>,
    sent: AtomicU64,
    received: AtomicU64,
    freed: AtomicU64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Latency {
    buckets: [u64; BOUNDS.len()],
    count: u64,
    seconds: f64,
}

/// Storage as it is when the metrics are asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Storage {
    pub(crate) totals: Totals,
    pub(crate) uploads: i64,
    pub(crate) free: u64,
}

impl Metrics {
    /// Counts a request that was answered (its head; a body may still be on its way).
    pub(crate) fn answered(&self, method: &http::Method, route: &'static str, status: u16, took: Duration) {
        // Only known methods, so that a client cannot make rows.
        let method = match method.as_str() {
            "GET" => "GET",
            "HEAD" => "HEAD",
            "PUT" => "PUT",
            "POST" => "POST",
            "PATCH" => "PATCH",
            "DELETE" => "DELETE",
            _ => "other",
        };
        let lock = || self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *lock().entry((route, method, status)).or_default() += 1;
        let mut latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        let latency = latencies.entry(route).or_default();
        let seconds = took.as_secs_f64();
        latency.count += 1;
        latency.seconds += seconds;
        if let Some(bucket) = BOUNDS.iter().position(|bound| seconds <= *bound) {
            latency.buckets[bucket] += 1;
        }
    }

    pub(crate) fn sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn freed(&self, bytes: u64) {
        self.freed.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Everything as text.
    pub(crate) fn text(&self, storage: &Storage) -> String {
        let mut out = String::with_capacity(4096);
        head(&mut out, "kiln_registry_requests_total", "counter", "Requests answered.");
        for ((route, method, status), count) in &*self.requests.lock().unwrap_or_else(PoisonError::into_inner)
        {
            let labels = format!("route=\"{route}\",method=\"{method}\",status=\"{status}\"");
            let _ = writeln!(out, "kiln_registry_requests_total{{{labels}}} {count}");
        }
        let name = "kiln_registry_request_seconds";
        head(&mut out, name, "histogram", "Time to the head of the answer.");
        for (route, latency) in &*self.latencies.lock().unwrap_or_else(PoisonError::into_inner) {
            latency.write(&mut out, name, route);
        }
        let totals = storage.totals;
        for (name, kind, help, value) in [
            (
                "sent_bytes_total",
                "counter",
                "Bytes of blobs and manifests sent.",
                self.sent.load(Ordering::Relaxed),
            ),
            (
                "received_bytes_total",
                "counter",
                "Bytes of uploads received.",
                self.received.load(Ordering::Relaxed),
            ),
            (
                "freed_bytes_total",
                "counter",
                "Bytes freed by garbage collection.",
                self.freed.load(Ordering::Relaxed),
            ),
            ("uploads", "gauge", "Uploads under way.", u64::try_from(storage.uploads).unwrap_or(0)),
            ("repositories", "gauge", "Repositories.", totals.repositories),
            ("manifests", "gauge", "Manifests in all repositories.", totals.manifests),
            ("tags", "gauge", "Tags in all repositories.", totals.tags),
            (
                "linked_bytes",
                "gauge",
                "Bytes of all repositories, shared ones counted in each.",
                totals.linked_bytes,
            ),
            ("free_bytes", "gauge", "Bytes free on the disk of the store.", storage.free),
        ] {
            let name = format!("kiln_registry_{name}");
            head(&mut out, &name, kind, help);
            let _ = writeln!(out, "{name} {value}");
        }
        out
    }
}

impl Latency {
    fn write(&self, out: &mut String, name: &str, route: &str) {
        let mut below = 0;
        for (bound, count) in BOUNDS.iter().zip(self.buckets) {
            below += count;
            let _ = writeln!(out, "{name}_bucket{{route=\"{route}\",le=\"{bound}\"}} {below}");
        }
        let _ = writeln!(out, "{name}_bucket{{route=\"{route}\",le=\"+Inf\"}} {}", self.count);
        let _ = writeln!(out, "{name}_sum{{route=\"{route}\"}} {}", self.seconds);
        let _ = writeln!(out, "{name}_count{{route=\"{route}\"}} {}", self.count);
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}
