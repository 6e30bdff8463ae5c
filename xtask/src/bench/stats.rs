//! Numbers out of repetitions.

use std::time::{Duration, Instant};

use crate::{Cmd, Error};

/// The middle value; of an even number the mean of the two in the middle. 0 for nothing.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[half],
        _ => f64::midpoint(sorted[half - 1], sorted[half]),
    }
}

/// The value below which `share` (0 to 1) of all values lie. 0 for nothing.
pub(super) fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    // Positions in a list of measurements: far below 2^52, never negative.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let at = (last as f64 * share).ceil() as usize;
    values.get(at).copied().unwrap_or_default()
}

/// Milliseconds.
pub(super) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// How long a command takes, in milliseconds; it must succeed.
pub(super) fn time(command: &Cmd) -> Result<f64, Error> {
    let begun = Instant::now();
    command.read()?;
    Ok(millis(begun.elapsed()))
}

/// Repeats a measurement.
pub(super) fn repeat(
    times: usize,
    mut measure: impl FnMut(usize) -> Result<f64, Error>,
) -> Result<Vec<f64>, Error> {
    (0..times).map(&mut measure).collect()
}

/// Tries until it succeeds, for at most so long.
pub(super) fn wait<T>(
    what: &str,
    limit: Duration,
    mut attempt: impl FnMut() -> Option<T>,
) -> Result<T, Error> {
    let begun = Instant::now();
    loop {
        if let Some(found) = attempt() {
            return Ok(found);
        }
        if begun.elapsed() > limit {
            return Err(Error::Measure { what: what.into(), why: format!("not there after {limit:?}") });
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_quantiles() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median(&[]).abs() < 1e-9);
        let mut hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert!((quantile(&mut hundred, 0.99) - 100.0).abs() < 1.5);
        assert!((quantile(&mut hundred, 0.5) - 51.0).abs() < 1.5);
    }
}
