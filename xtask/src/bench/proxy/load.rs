//! The load generators and what they print.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::Variant;
use super::server::{Proxy, pinned};
use crate::Error;
use crate::bench::stats::quantile;

/// One measurement.
#[derive(Debug, Default, PartialEq)]
pub(in crate::bench) struct Sample {
    /// Requests per second.
    pub(in crate::bench) rate: f64,
    /// Requests in all.
    pub(super) requests: f64,
    /// 99th percentile, milliseconds.
    pub(in crate::bench) p99: f64,
    /// Requests without a good answer.
    pub(in crate::bench) errors: u64,
    /// Processor time of the proxy, seconds.
    pub(super) cpu: f64,
}

pub(super) fn run(proxy: &Proxy, variant: Variant, length: Duration, folder: &Path) -> Result<Sample, Error> {
    let seconds = length.as_secs().to_string();
    let bad = |text: &str| Error::Measure { what: proxy.name.into(), why: format!("cannot read: {text}") };
    if variant == Variant::Http2 {
        let log = folder.join("h2load.log");
        drop(fs::remove_file(&log));
        let command = pinned(0, "h2load")
            .args(["-t", "1", "-c", "16", "-m", "4", "-D", &seconds, "--log-file"])
            .arg(&log)
            .arg(&proxy.url);
        let text = command.read()?;
        let log = fs::read_to_string(&log).map_err(Error::file("read", &log))?;
        return h2load(&text, &log).ok_or_else(|| bad(&text));
    }
    let command =
        pinned(0, "wrk").args(["-t", "1", "-c", "64", "-d", &format!("{seconds}s"), "--latency", &proxy.url]);
    let text = command.read()?;
    wrk(&text).ok_or_else(|| bad(&text))
}

/// What wrk prints with `--latency`.
pub(in crate::bench) fn wrk(text: &str) -> Option<Sample> {
    let field = |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name)).map(str::trim);
    let requests = text.lines().find_map(|line| line.trim().split_once(" requests in "))?.0;
    let number =
        |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0);
    let errors = field("Socket errors:").map_or(0, |line| line.split(',').map(number).sum::<u64>())
        + field("Non-2xx or 3xx responses:").map_or(0, number);
    Some(Sample {
        rate: field("Requests/sec:")?.parse().ok()?,
        requests: requests.parse().ok()?,
        p99: duration(field("99%")?)?,
        errors,
        cpu: 0.0,
    })
}

/// `3.02ms`, `812.00us`, `1.10s` in milliseconds.
fn duration(text: &str) -> Option<f64> {
    let unit = text.find(|c: char| c.is_ascii_alphabetic())?;
    let factor = match &text[unit..] {
        "us" => 0.001,
        "ms" => 1.0,
        "s" => 1000.0,
        "m" => 60_000.0,
        _ => return None,
    };
    text[..unit].parse::<f64>().ok().map(|number| number * factor)
}

/// `log` has a line per request: begin in microseconds, status, microseconds to the end of the answer.
fn h2load(text: &str, log: &str) -> Option<Sample> {
    let line = text.lines().find_map(|line| line.strip_prefix("finished in "))?;
    let rate = line.split(", ").nth(1)?.strip_suffix(" req/s")?.parse().ok()?;
    let counts = text.lines().find_map(|line| line.strip_prefix("requests: "))?;
    let count = |word: &str| {
        let part = counts.split(", ").find(|part| part.ends_with(word))?;
        part.split(' ').next()?.parse::<u32>().ok()
    };
    let mut times: Vec<f64> = log
        .lines()
        .filter_map(|line| line.split('\t').nth(2)?.trim().parse::<f64>().ok())
        .map(|micros| micros / 1000.0)
        .collect();
    Some(Sample {
        rate,
        requests: count("succeeded")?.into(),
        p99: quantile(&mut times, 0.99),
        errors: u64::from(count("failed")?) + u64::from(count("errored")?),
        cpu: 0.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_wrk_prints() {
        let text = "Running 6s test @ http://127.0.0.1:1/\n  1 threads and 64 connections\n  Thread Stats   Avg\n    \
                    Latency     1.47ms\n  Latency Distribution\n     50%    1.40ms\n     99%    3.02ms\n  258121 requests in 6.00s, \
                    40.37MB read\n  Socket errors: connect 0, read 3, write 0, timeout 1\nRequests/sec:  43012.55\n";
        let sample = wrk(text).unwrap();
        assert_eq!(sample, Sample { rate: 43012.55, requests: 258_121.0, p99: 3.02, errors: 4, cpu: 0.0 });
    }

    #[test]
    fn reads_what_h2load_prints() {
        let text = "finished in 6.00s, 30012.50 req/s, 1.10MB/s\nrequests: 180075 total, 180139 started, 180075 done, 180070 \
                    succeeded, 5 failed, 0 errored, 0 timeout\n";
        let sample = h2load(text, "1\t200\t1500\n2\t200\t2500\n").unwrap();
        assert_eq!(sample, Sample { rate: 30012.5, requests: 180_070.0, p99: 2.5, errors: 5, cpu: 0.0 });
    }
}
