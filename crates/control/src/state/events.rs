//! The table of events.

use kiln_model::{FleetId, Name, ReleaseNumber};
use rusqlite::{Connection, Row, params};

use super::StateError;
use super::sql::{self, Json};
use crate::event::{Event, KILN, RolloutId, What};

const COLUMNS: &str = "id, at_ms, environment, service, release, rollout, who, what";

/// What an event is about, without its number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About<'a> {
    pub(crate) environment: &'a Name,
    pub(crate) service: &'a Name,
    pub(crate) release: Option<ReleaseNumber>,
    pub(crate) rollout: Option<RolloutId>,
    pub(crate) who: &'a str,
    pub(crate) at_ms: i64,
}

/// Appends an event.
pub(crate) fn append(db: &Connection, about: About<'_>, what: &What) -> Result<(), StateError> {
    let text = "INSERT INTO events (at_ms, environment, service, release, rollout, who, what) VALUES (?, ?, ?, ?, ?, ?, ?)";
    let release = about.release.map(|release| release.0);
    let (environment, service) = (about.environment.as_str(), about.service.as_str());
    let values = params![about.at_ms, environment, service, release, about.rollout, about.who, Json(what)];
    sql::run(db, "append an event", text, values).map(drop)
}

/// The id of the last event; 0 when there is none.
pub(crate) fn last(db: &Connection) -> Result<i64, StateError> {
    let text = "SELECT coalesce(max(id), 0) FROM events";
    Ok(sql::first(db, "read the last event", text, [], |row| row.get(0))?.unwrap_or(0))
}

/// At most `limit` events with an id above `after`, oldest first.
pub(crate) fn after(db: &Connection, after: i64, limit: u32) -> Result<Vec<Event>, StateError> {
    let text = format!("SELECT {COLUMNS} FROM events WHERE id > ? ORDER BY id LIMIT ?");
    sql::all(db, "read events", &text, params![after, limit], read)
}

/// What people did to a release, oldest first.
pub(crate) fn acts(db: &Connection, fleet: &FleetId) -> Result<Vec<Event>, StateError> {
    let text = format!(
        "SELECT {COLUMNS} FROM events WHERE environment = ? AND service = ? AND release = ? AND who <> ? ORDER BY id"
    );
    let values = params![fleet.environment.as_str(), fleet.service.as_str(), fleet.release.0, KILN];
    let mut all = sql::all(db, "read events", &text, values, read)?;
    all.retain(|event| event.what.is_act());
    Ok(all)
}

/// Instances of a fleet that failed within a time.
pub(crate) fn failures(
    db: &Connection,
    fleet: &FleetId,
    from_ms: i64,
    until_ms: i64,
) -> Result<u64, StateError> {
    let text = "SELECT count(*) FROM events WHERE environment = ? AND service = ? AND release = ?
                AND at_ms >= ? AND at_ms <= ? AND what ->> 'kind' = 'instance-failed'";
    let values =
        params![fleet.environment.as_str(), fleet.service.as_str(), fleet.release.0, from_ms, until_ms];
    Ok(sql::first(db, "count failures", text, values, |row| row.get(0))?.unwrap_or(0))
}

/// When a service was last told to stop.
pub(crate) fn stopped(
    db: &Connection,
    environment: &Name,
    service: &Name,
) -> Result<Option<i64>, StateError> {
    let text = "SELECT at_ms FROM events WHERE environment = ? AND service = ? AND what ->> 'kind' = 'down'
                ORDER BY id DESC LIMIT 1";
    let values = params![environment.as_str(), service.as_str()];
    sql::first(db, "read when a service was stopped", text, values, |row| row.get(0))
}

fn read(row: &Row<'_>) -> rusqlite::Result<Event> {
    Ok(Event {
        id: row.get("id")?,
        at_ms: row.get("at_ms")?,
        environment: sql::name(row, "environment")?,
        service: sql::name(row, "service")?,
        release: sql::maybe_number(row, "release")?,
        rollout: row.get("rollout")?,
        who: row.get("who")?,
        what: sql::json(row, "what")?,
    })
}
