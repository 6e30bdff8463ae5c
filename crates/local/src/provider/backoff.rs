//! How long to wait before the next instance takes the place of one that failed.

/// First wait, milliseconds: long enough not to spin, short enough that a single crash is not noticed.
const FIRST_MS: i64 = 100;
/// Longest wait, milliseconds.
const LONGEST_MS: i64 = 30_000;
/// An instance that was ready for so long, in milliseconds, shows that the release works: the count begins anew.
const PROVEN_MS: i64 = 10_000;

/// Failures of a fleet in a row: 100 ms after the first, doubling to 30 s; an instance that was ready for 10 s before
/// it failed counts as a first failure again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    until_ms: i64,
}

impl Backoff {
    /// An instance failed at `now`, having been ready since `ready_since` if at all.
    pub(super) fn failed(&mut self, now_ms: i64, ready_since_ms: Option<i64>) {
        if ready_since_ms.is_some_and(|since| now_ms - since >= PROVEN_MS) {
            self.failures = 0;
        }
        let wait = FIRST_MS.saturating_mul(1 << self.failures.min(20)).min(LONGEST_MS);
        self.failures = self.failures.saturating_add(1);
        self.until_ms = now_ms + wait;
    }

    /// The earliest time of the next start.
    pub(super) fn not_before_ms(&self) -> i64 {
        self.until_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_start_anew_after_a_proof() {
        let mut backoff = Backoff::default();
        let mut wait = |now, ready| {
            backoff.failed(now, ready);
            backoff.not_before_ms() - now
        };
        assert_eq!([wait(0, None), wait(1, None), wait(2, Some(1))], [100, 200, 400]);
        for _ in 0..40 {
            wait(3, None);
        }
        assert_eq!(wait(4, None), 30_000);
        assert_eq!(wait(20_000, Some(10_000)), 100);
    }
}
