//! The collection that nobody has to ask for.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::RegistryService;
use crate::api::CollectRequest;
use crate::event::KILN;

/// What has no tag stays a week; a day more is no great matter, and a disk does not fill in one.
const EVERY: Duration = Duration::from_secs(24 * 3600);
/// After a start others have more to do. A machine that is restarted every night gets its collection all the same.
const FIRST: Duration = Duration::from_secs(600);

/// Collects once a day.
pub(super) async fn daily(service: RegistryService) {
    let mut ticks = interval_at(Instant::now() + FIRST, EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let service = service.clone();
        let request = CollectRequest { author: KILN.into(), ..CollectRequest::default() };
        match tokio::task::spawn_blocking(move || service.collect(&request)).await {
            Ok(Ok(report)) => {
                tracing::info!(
                    files = report.files.len(),
                    bytes = report.bytes,
                    "the registry was collected"
                );
            }
            Ok(Err(error)) => {
                let why = crate::error::chain(&error);
                tracing::error!(why, "the registry could not be collected; it is tried again tomorrow");
            }
            Err(error) => tracing::error!(%error, "the registry's collection broke off"),
        }
    }
}
