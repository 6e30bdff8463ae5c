//! Raw TCP: a connection is one request.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;

use crate::conn::Control;
use crate::io::ClientIo;
use crate::live::{Attempts, LiveBackend, LiveMode};
use crate::relay::Relay;
use crate::target::Lease;
use crate::upstream;
use crate::worker::Worker;

/// Instances tried for one connection.
const TRIES: usize = 4;

/// Carries a client's connection to an instance.
pub(crate) async fn relay(worker: &Rc<Worker>, control: &Control, client: ClientIo) {
    control.activity.busy(true);
    let started = Instant::now();
    let mut attempts = Attempts::default();
    for _ in 0..TRIES {
        let Some((backend, fleet, lease)) = choose(worker, control.slot, &mut attempts) else { return };
        let stats = Arc::clone(&backend.fleets[fleet].stats);
        let target = lease.target();
        match upstream::connect(worker, target).await {
            Ok(instance) => {
                target.succeeded();
                // Raw bytes have no status; a connection that was made counts as a good answer.
                stats.answered(worker.index, StatusCode::OK, started.elapsed());
                let watch = worker.ticker.watch(backend.idle_timeout);
                let _ = Relay::raw(client, instance).run(&watch, backend.idle_timeout).await;
                return;
            }
            Err(_) => {
                let now = worker.shared.now();
                let others = || backend.fleets[fleet].others(target, now);
                target.failed(now, &worker.shared.ejecting, others);
                attempts.tried.push(target.key);
                if attempts.tried.len() == TRIES || !more(&backend, &mut attempts) {
                    stats.failed(worker.index);
                    return;
                }
            }
        }
    }
}

fn more(backend: &LiveBackend, attempts: &mut Attempts) -> bool {
    backend.choose(attempts, 0).is_ok()
}

fn choose(worker: &Worker, slot: usize, attempts: &mut Attempts) -> Option<(Arc<LiveBackend>, usize, Lease)> {
    let now = worker.now();
    let claimed = worker.claim(|live| {
        let Some(LiveMode::Tcp(backend)) = live.listeners.get(&slot).map(|listener| &listener.mode) else {
            return Err(());
        };
        let choice = backend.choose(attempts, now).map_err(drop)?;
        Ok(((Arc::clone(backend), choice.fleet), Arc::clone(choice.target)))
    });
    let ((backend, fleet), lease) = claimed.ok()?;
    Some((backend, fleet, lease))
}
