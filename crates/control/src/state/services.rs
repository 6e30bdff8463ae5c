//! The table of services: which release serves.

use kiln_model::{FleetId, Name, ReleaseNumber};
use rusqlite::{Connection, Row, params};

use super::StateError;
use super::sql;

const COLUMNS: &str = "environment, service, project, current, previous, leaving";

/// One service in one environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// Environment.
    pub environment: Name,
    /// Name.
    pub service: Name,
    /// Project it is of.
    pub project: Name,
    /// The release that serves: the last one whose rollout succeeded. `None` before the first, and after `down`.
    pub current: Option<ReleaseNumber>,
    /// The release that served before.
    pub previous: Option<ReleaseNumber>,
    /// It was told to stop and something of it is still there.
    pub leaving: bool,
}

impl Pointer {
    /// The fleet of one of its releases.
    pub fn fleet(&self, release: ReleaseNumber) -> FleetId {
        FleetId { environment: self.environment.clone(), service: self.service.clone(), release }
    }
}

/// All services.
pub(crate) fn all(db: &Connection) -> Result<Vec<Pointer>, StateError> {
    let text = format!("SELECT {COLUMNS} FROM services ORDER BY environment, service");
    sql::all(db, "read services", &text, [], read)
}

/// One service.
pub(crate) fn get(
    db: &Connection,
    environment: &Name,
    service: &Name,
) -> Result<Option<Pointer>, StateError> {
    let text = format!("SELECT {COLUMNS} FROM services WHERE environment = ? AND service = ?");
    sql::first(db, "read a service", &text, params![environment.as_str(), service.as_str()], read)
}

/// Adds or changes a service.
pub(crate) fn put(db: &Connection, pointer: &Pointer) -> Result<(), StateError> {
    let text = "INSERT INTO services (environment, service, project, current, previous, leaving)
                VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
                project = excluded.project, current = excluded.current, previous = excluded.previous,
                leaving = excluded.leaving";
    let values = params![
        pointer.environment.as_str(),
        pointer.service.as_str(),
        pointer.project.as_str(),
        pointer.current.map(|release| release.0),
        pointer.previous.map(|release| release.0),
        pointer.leaving,
    ];
    sql::run(db, "write a service", text, values).map(drop)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Pointer> {
    Ok(Pointer {
        environment: sql::name(row, "environment")?,
        service: sql::name(row, "service")?,
        project: sql::name(row, "project")?,
        current: sql::maybe_number(row, "current")?,
        previous: sql::maybe_number(row, "previous")?,
        leaving: row.get("leaving")?,
    })
}
