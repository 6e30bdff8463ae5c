//! A clock that stands until it is moved.

use std::sync::Arc;

use tokio::sync::watch;

/// Milliseconds since the Unix epoch, moved by hand. Clones are the same clock.
#[derive(Clone, Debug)]
pub struct FakeClock(Arc<watch::Sender<i64>>);

impl FakeClock {
    /// A clock that stands at `now_ms`.
    pub fn new(now_ms: i64) -> Self {
        Self(Arc::new(watch::Sender::new(now_ms)))
    }

    /// The time, milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> i64 {
        *self.0.borrow()
    }

    /// Moves the clock on.
    pub fn advance(&self, millis: u64) {
        self.0.send_modify(|now| *now = now.saturating_add_unsigned(millis));
    }

    /// Waits until the clock is moved the next time.
    pub async fn moved(&self) {
        // The sender lives as long as the clock, so waiting can only end by a move.
        let _ = self.0.subscribe().changed().await;
    }
}

impl Default for FakeClock {
    /// 2026-01-01 00:00 UTC.
    fn default() -> Self {
        Self::new(1_767_225_600_000)
    }
}
