//! Load, and what it cost.

use std::error::Error;
use std::process::Command;

use crate::peers::{Ports, Running};

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// HTTP/1.1, 64 kept connections.
    Http1,
    /// The same under TLS.
    Tls,
    /// HTTP/2 with prior knowledge, 16 connections with 8 streams each.
    Http2,
}

/// One measurement.
pub(crate) struct Sample {
    /// Requests per second.
    pub(crate) rate: f64,
    /// Processor time of the proxy per request, in microseconds.
    pub(crate) micros: f64,
    /// 99th percentile in milliseconds.
    pub(crate) p99: f64,
    /// Peak resident memory of the proxy in megabytes.
    pub(crate) memory: f64,
}

/// Requests and p99 in milliseconds.
pub(crate) struct Outcome {
    requests: f64,
    p99: f64,
}

/// Loads a proxy and says what it cost.
pub(crate) fn sample(kind: Kind, peer: &Running, seconds: u32) -> Result<Sample, Box<dyn Error>> {
    let before = peer.processor_time()?;
    let outcome = run(kind, peer.ports, seconds)?;
    let used = peer.processor_time()? - before;
    Ok(Sample {
        rate: outcome.requests / f64::from(seconds),
        micros: used * 1e6 / outcome.requests.max(1.0),
        p99: outcome.p99,
        memory: peer.peak_memory()?,
    })
}

/// Loads a proxy for some seconds.
pub(crate) fn run(kind: Kind, ports: Ports, seconds: u32) -> Result<Outcome, Box<dyn Error>> {
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]);
    match kind {
        Kind::Http1 | Kind::Tls => {
            let (scheme, port) = if kind == Kind::Tls { ("https", ports.tls) } else { ("http", ports.http) };
            command.args(["wrk", "-t1", "-c64", "--latency", &format!("-d{seconds}s")]);
            command.arg(format!("{scheme}://127.0.0.1:{port}/"));
        }
        Kind::Http2 => {
            command.args(["h2load", "-t1", "-c16", "-m8", &format!("-D{seconds}")]);
            command.args(["--log-file=/dev/null", &format!("http://127.0.0.1:{}/", ports.http2)]);
        }
    }
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let outcome = if kind == Kind::Http2 { read_h2load(&text) } else { read_wrk(&text) };
    outcome
        .ok_or_else(|| format!("the load failed: {text}{}", String::from_utf8_lossy(&output.stderr)).into())
}

fn read_wrk(text: &str) -> Option<Outcome> {
    if text.contains("Socket errors") || text.contains("Non-2xx") {
        return None;
    }
    let line =
        |begins: &str| text.lines().map(str::trim).find_map(|line| line.strip_prefix(begins).map(str::trim));
    let requests = text.lines().find(|line| line.contains("requests in"))?.split_whitespace().next()?;
    Some(Outcome { requests: requests.parse().ok()?, p99: millis(line("99%")?)? })
}

fn read_h2load(text: &str) -> Option<Outcome> {
    let line = text.lines().find(|line| line.starts_with("requests:"))?;
    let number = |word: &str| {
        let words: Vec<&str> = line.split([' ', ',']).filter(|word| !word.is_empty()).collect();
        let at = words.iter().position(|other| *other == word)?;
        words[at - 1].parse::<f64>().ok()
    };
    if number("errored")? > 0.0 {
        return None;
    }
    // h2load 1.52 knows no percentiles: its largest time stands in, for all alike.
    let times: Vec<&str> =
        text.lines().find(|line| line.starts_with("time for request:"))?.split_whitespace().collect();
    Some(Outcome { requests: number("succeeded")?, p99: millis(times[4])? })
}

fn millis(text: &str) -> Option<f64> {
    let digits = text.find(|c: char| c.is_alphabetic())?;
    let number: f64 = text[..digits].parse().ok()?;
    match &text[digits..] {
        "us" => Some(number / 1e3),
        "ms" => Some(number),
        "s" => Some(number * 1e3),
        _ => None,
    }
}
