//! Numbers as people read them.

/// A measured share: two digits that count, such as `6.0 %`, `0.52 %` or `34 %`.
pub(super) fn percent(part: f64, whole: u64) -> String {
    let value = if whole == 0 { 0.0 } else { part / whole as f64 * 100.0 };
    match value {
        v if v >= 9.95 || v == 0.0 => format!("{v:.0} %"),
        v if v >= 0.995 => format!("{v:.1} %"),
        v if v >= 0.0995 => format!("{v:.2} %"),
        v => format!("{} %", (v * 1e4).round() / 1e4),
    }
}

/// A share that somebody wrote down: no digits that they did not write.
pub(super) fn plain_percent(share: f64) -> String {
    format!("{} %", (share * 1e8).round() / 1e6)
}

/// A number of requests with its noun.
pub(super) fn requests(count: u64) -> String {
    if count == 1 { "1 request".into() } else { format!("{count} requests") }
}

/// A latency.
pub(super) fn micros(value: u64) -> String {
    match value {
        0..1_000 => format!("{value} µs"),
        1_000..10_000 => format!("{:.1} ms", value as f64 / 1e3),
        10_000..1_000_000 => format!("{:.0} ms", value as f64 / 1e3),
        _ => format!("{:.1} s", value as f64 / 1e6),
    }
}

/// How sure a rejection is; the end of its sentence.
pub(super) fn sureness(false_alarm: f64) -> String {
    format!("(chance of a false alarm below {})", plain_percent(false_alarm))
}
