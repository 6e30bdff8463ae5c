//! Stopping services.

use kiln_model::Name;
use kiln_provider::Provider;
use rusqlite::Connection;

use super::back::Open;
use super::{ControlError, pointer};
use crate::api::{DownAnswer, DownRequest};
use crate::event::What;
use crate::reconcile::{Control, World, append, cancel};
use crate::state::{Pointer, events, services};
use crate::traffic::Traffic;

impl<P: Provider, T: Traffic> Control<P, T> {
    /// Stops services, callers before those that they call: nothing is to serve, and every instance drains and goes.
    /// Releases, history and volumes stay.
    pub async fn down(&self, request: DownRequest) -> Result<DownAnswer, ControlError> {
        self.intend(move |db, now| down(db, &request, now)).await
    }
}

fn down(db: &Connection, request: &DownRequest, now: i64) -> Result<DownAnswer, ControlError> {
    let after = events::last(db)?;
    if let (Some(environment), Some(service)) = (&request.environment, &request.service) {
        pointer(db, environment, service)?;
    }
    let meant = |wanted: &Option<Name>, is: &Name| wanted.as_ref().is_none_or(|wanted| wanted == is);
    let world = World::load(db)?;
    let mut stopped = Vec::new();
    for pointer in services::all(db)? {
        let chosen = meant(&request.environment, &pointer.environment)
            && meant(&request.service, &pointer.service)
            && meant(&request.project, &pointer.project);
        if chosen && stop(db, request, &world, &pointer, now)? {
            stopped.push((pointer.environment, pointer.service));
        }
    }
    Ok(DownAnswer { services: stopped, after })
}

/// Returns whether there was anything to stop.
fn stop(
    db: &Connection,
    request: &DownRequest,
    world: &World,
    pointer: &Pointer,
    now: i64,
) -> Result<bool, ControlError> {
    let open = Open::of(db, pointer)?;
    let (environment, service) = (&pointer.environment, &pointer.service);
    let own =
        |it: &crate::state::Desired| it.fleet.environment == *environment && it.fleet.service == *service;
    let there = world.fleets.iter().any(own) || open.active.is_some() || open.waiting.is_some();
    if !there || pointer.leaving && open.active.is_none() && open.waiting.is_none() {
        return Ok(false);
    }
    let release = open.active.as_ref().map(|entry| entry.fleet.release);
    for mut entry in [open.waiting, open.active].into_iter().flatten() {
        cancel(db, &mut entry, format!("{} stopped the service", request.author), now)?;
    }
    let previous = pointer.current.or(pointer.previous);
    let left = Pointer { current: None, previous, leaving: true, ..pointer.clone() };
    services::put(db, &left)?;
    let about = pointer.fleet(pointer.current.or(release).unwrap_or(kiln_model::ReleaseNumber(0)));
    append(db, &about, None, &request.author, now, &What::Down { reason: request.reason.clone() })?;
    Ok(true)
}
