//! The table of fleets: what is wanted of the provider and of the data plane.

use kiln_model::{FleetId, Name, ReleaseNumber};
use rusqlite::{Connection, Row, params};

use super::StateError;
use super::sql;

/// What is wanted of one fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// Which.
    pub fleet: FleetId,
    /// Instances.
    pub size: u32,
    /// Percent of the service's traffic.
    pub weight: u8,
}

/// All fleets that are not forgotten, by environment, service and release.
pub(crate) fn all(db: &Connection) -> Result<Vec<Desired>, StateError> {
    let text = "SELECT environment, service, release, size, weight FROM fleets ORDER BY environment, service, release";
    sql::all(db, "read fleets", text, [], read)
}

/// The fleets of one service.
pub(crate) fn of(db: &Connection, environment: &Name, service: &Name) -> Result<Vec<Desired>, StateError> {
    let text = "SELECT environment, service, release, size, weight FROM fleets
                WHERE environment = ? AND service = ? ORDER BY release";
    sql::all(db, "read fleets", text, params![environment.as_str(), service.as_str()], read)
}

/// Adds or changes a fleet.
pub(crate) fn put(db: &Connection, desired: &Desired) -> Result<(), StateError> {
    let text = "INSERT INTO fleets (environment, service, release, size, weight) VALUES (?, ?, ?, ?, ?)
                ON CONFLICT DO UPDATE SET size = excluded.size, weight = excluded.weight
                WHERE size <> excluded.size OR weight <> excluded.weight";
    let fleet = &desired.fleet;
    let values = params![
        fleet.environment.as_str(),
        fleet.service.as_str(),
        fleet.release.0,
        desired.size,
        desired.weight
    ];
    sql::run(db, "write a fleet", text, values).map(drop)
}

/// Forgets a fleet.
pub(crate) fn remove(db: &Connection, fleet: &FleetId) -> Result<(), StateError> {
    let text = "DELETE FROM fleets WHERE environment = ? AND service = ? AND release = ?";
    let key = params![fleet.environment.as_str(), fleet.service.as_str(), fleet.release.0];
    sql::run(db, "forget a fleet", text, key).map(drop)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Desired> {
    let fleet = FleetId {
        environment: sql::name(row, "environment")?,
        service: sql::name(row, "service")?,
        release: row.get("release").map(ReleaseNumber)?,
    };
    Ok(Desired { fleet, size: row.get("size")?, weight: row.get("weight")? })
}
