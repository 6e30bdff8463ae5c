//! Kiln's data plane beside haproxy and nginx, each alone on one core.
//!
//! Load generator and backend share the first core, the proxy under test has the second. Requests per second of
//! processor time are counted too: they hold also where the generator is what limits the throughput.

mod load;
mod server;

use std::time::Duration;

use super::stats::median;
use super::{Aim, Bench, Row, Unit};
use crate::Error;
use load::Sample;
pub(super) use load::wrk;
use server::{Backend, Proxy};

/// What is spoken with the client.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Variant {
    Plain,
    Tls,
    Http2,
}

impl Variant {
    fn title(self) -> &'static str {
        match self {
            Self::Plain => "proxy, HTTP/1.1 keep-alive",
            Self::Tls => "proxy, HTTP/1.1 over TLS",
            Self::Http2 => "proxy, HTTP/2",
        }
    }

    fn how(self) -> &'static str {
        match self {
            Self::Plain => "wrk with 64 connections, answers of 6 bytes from nginx, keep-alive on both sides",
            Self::Tls => "the same over TLS 1.3 with an ECDSA P-256 certificate; connections stay open",
            Self::Http2 => "h2load with 16 connections of 4 streams, without TLS, HTTP/1.1 to the backend",
        }
    }
}

/// HTTP/1.1 without TLS.
pub(super) fn plain(bench: &Bench) -> Result<Vec<Row>, Error> {
    measure(bench, Variant::Plain)
}

/// HTTP/1.1 over TLS.
pub(super) fn tls(bench: &Bench) -> Result<Vec<Row>, Error> {
    measure(bench, Variant::Tls)
}

/// HTTP/2.
pub(super) fn http2(bench: &Bench) -> Result<Vec<Row>, Error> {
    measure(bench, Variant::Http2)
}

fn measure(bench: &Bench, variant: Variant) -> Result<Vec<Row>, Error> {
    let folder = bench.folder("proxy")?;
    let backend = Backend::start(&folder)?;
    let proxies = [
        server::kiln(bench, &folder, &backend, variant)?,
        server::haproxy(&folder, &backend, variant)?,
        server::nginx(&folder, &backend, variant)?,
    ];
    let length = Duration::from_secs(if bench.quick { 1 } else { 6 });
    let mut samples = [Vec::new(), Vec::new(), Vec::new()];
    for proxy in &proxies {
        load::run(proxy, variant, Duration::from_secs(1), &folder)?;
    }
    for _ in 0..bench.times(5) {
        for (index, proxy) in proxies.iter().enumerate() {
            samples[index].push(sample(proxy, variant, length, &folder)?);
        }
    }
    let middle =
        |index: usize, pick: fn(&Sample) -> f64| median(&samples[index].iter().map(pick).collect::<Vec<_>>());
    let row = |what: &str, unit, pick: fn(&Sample) -> f64, aim| Row {
        what: format!("{}: {what}", variant.title()),
        unit,
        kiln: Ok(middle(0, pick)),
        peers: vec![("haproxy", middle(1, pick)), ("nginx", middle(2, pick))],
        aims: vec![aim],
        how: variant.how().into(),
    };
    Ok(vec![
        row("requests per second on one core", Unit::PerSecond, |s| s.rate, Aim::AtLeast(1.0, "haproxy")),
        row(
            "requests per second of processor time",
            Unit::PerSecond,
            |s| s.requests / s.cpu,
            Aim::AtLeast(1.0, "haproxy"),
        ),
        row("99th percentile", Unit::Millis, |s| s.p99, Aim::AtMost(1.1, "haproxy")),
    ])
}

fn sample(
    proxy: &Proxy,
    variant: Variant,
    length: Duration,
    folder: &std::path::Path,
) -> Result<Sample, Error> {
    let before = proxy.cpu_seconds();
    let mut sample = load::run(proxy, variant, length, folder)?;
    sample.cpu = proxy.cpu_seconds() - before;
    if sample.errors > 0 {
        eprintln!("  {}: {} requests failed", proxy.name, sample.errors);
    }
    Ok(sample)
}
