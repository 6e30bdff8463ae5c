//! Raw TCP: a connection is one request.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;

use crate::conn::Control;
use crate::hold::{Gap, Wait};
use crate::io::ClientIo;
use crate::live::{Attempts, LiveBackend, LiveMode};
use crate::relay::Relay;
use crate::target::Lease;
use crate::upstream;
use crate::worker::Worker;

/// Instances tried for one connection.
const TRIES: usize = 4;

/// Carries a client's connection to an instance.
pub(crate) async fn relay(worker: &Rc<Worker>, control: &Control, mut client: ClientIo) {
    control.activity.busy(true);
    let started = Instant::now();
    let mut attempts = Attempts::default();
    for _ in 0..TRIES {
        let chosen = choose_or_wait(worker, control.slot, &mut client, &mut attempts).await;
        let Some((backend, fleet, lease)) = chosen else { return };
        let stats = Arc::clone(&backend.fleets[fleet].stats);
        let target = lease.target();
        match upstream::connect(worker, target).await {
            Ok(instance) => {
                target.succeeded();
                // Raw bytes have no status; a connection that was made counts as a good answer.
                let took = started.elapsed().saturating_sub(attempts.held);
                stats.answered(worker.index, StatusCode::OK, took);
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

type Chosen = (Arc<LiveBackend>, usize, Lease);

/// Holds a connection that no instance can take, until one can.
async fn choose_or_wait(
    worker: &Worker,
    slot: usize,
    client: &mut ClientIo,
    attempts: &mut Attempts,
) -> Option<Chosen> {
    let mut wait = None;
    loop {
        let gap = match choose(worker, slot, attempts) {
            Ok(chosen) => {
                attempts.held += wait.as_ref().map(Wait::elapsed).unwrap_or_default();
                return Some(chosen);
            }
            Err(gap) => gap?,
        };
        let wait = wait.get_or_insert_with(Wait::new);
        let there = tokio::select! {
            there = wait.next_table(worker, &gap) => there,
            () = client.left() => false,
        };
        if !there {
            return None;
        }
    }
}

fn choose(worker: &Worker, slot: usize, attempts: &mut Attempts) -> Result<Chosen, Option<Gap>> {
    let now = worker.now();
    let claimed = worker.claim(|live| {
        let Some(LiveMode::Tcp(backend)) = live.listeners.get(&slot).map(|listener| &listener.mode) else {
            return Err(None);
        };
        let choice = backend.choose(attempts, now).map_err(|_| backend.gap(live.generation))?;
        Ok(((Arc::clone(backend), choice.fleet), Arc::clone(choice.target)))
    });
    claimed.map(|((backend, fleet), lease)| (backend, fleet, lease))
}
