//! Watching the data plane: that it answers, which table is in force, and whether draining instances are done.

use std::time::Duration;

use kiln_provider::Provider;
use kiln_proxy::Status;

use super::Control;
use crate::traffic::{Traffic, TrafficError};

/// Between two looks while instances drain. Under load the data plane has news with every request that ends.
const BUSY: Duration = Duration::from_millis(10);

/// Between two looks while a rollout is judged by counters, which change with every request.
const MEASURE: Duration = Duration::from_millis(200);

/// Between two looks otherwise; a drain that begins ends the rest.
const IDLE: Duration = Duration::from_secs(1);

/// Between two attempts while it does not answer.
const LOST: Duration = Duration::from_millis(50);

/// A person who asks waits no longer for the data plane's counters.
const ANSWER: Duration = Duration::from_secs(1);

const WATCH: &str = "watch the data plane";

impl<P: Provider, T: Traffic> Control<P, T> {
    pub(super) async fn watch_plane(&self) {
        loop {
            if let Err(error) = self.follow_plane().await {
                self.trouble(WATCH, &error);
                self.take(None);
                tokio::time::sleep(LOST).await;
            } else {
                self.rest().await;
            }
        }
    }

    /// Takes what is so now, and then the next change. After a rest it may be another process, whose count of changes
    /// begins anew, so the count is never carried over.
    async fn follow_plane(&self) -> Result<(), TrafficError> {
        let now = self.inner.traffic.status().await?;
        let seq = now.seq;
        self.memory().fine(WATCH);
        self.take(Some(now));
        let measuring = self.memory().measuring;
        tokio::select! {
            next = self.inner.traffic.status_after(seq) => self.take(Some(next?)),
            () = tokio::time::sleep(MEASURE), if measuring => {}
            () = self.inner.hurry.notified() => {}
        }
        Ok(())
    }

    /// Asks anew, for what no change is told of: counters and requests under way. Falls back on what was told last.
    pub(crate) async fn fresh_status(&self) -> Option<Status> {
        let asked = tokio::time::timeout(ANSWER, self.inner.traffic.status()).await;
        match asked {
            Ok(Ok(status)) => Some(status),
            Ok(Err(_)) | Err(_) => self.memory().status().cloned(),
        }
    }

    fn take(&self, told: Option<Status>) {
        let look = self.memory().saw(told);
        if look {
            self.look();
        }
    }

    async fn rest(&self) {
        let (draining, measuring) = {
            let memory = self.memory();
            (memory.draining, memory.measuring)
        };
        if draining || measuring {
            return tokio::time::sleep(if draining { BUSY } else { MEASURE }).await;
        }
        tokio::select! {
            () = tokio::time::sleep(IDLE) => {}
            () = self.inner.hurry.notified() => {}
        }
    }
}
