//! The table of contents that are not deployed again.

use kiln_model::{Digest, Name, ReleaseNumber};
use rusqlite::{Connection, Row, params};

use super::StateError;
use super::sql;

/// One quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantine {
    /// Where.
    pub environment: Name,
    /// Which service.
    pub service: Name,
    /// Digest of the content.
    pub digest: Digest,
    /// The release that failed.
    pub release: ReleaseNumber,
    /// Why.
    pub reason: String,
    /// Since when.
    pub at_ms: i64,
}

/// Puts a content into quarantine.
pub(crate) fn add(db: &Connection, quarantine: &Quarantine) -> Result<(), StateError> {
    let text = "INSERT INTO quarantine (environment, service, digest, release, reason, at_ms) VALUES (?, ?, ?, ?, ?, ?)
                ON CONFLICT DO NOTHING";
    let values = params![
        quarantine.environment.as_str(),
        quarantine.service.as_str(),
        quarantine.digest.to_string(),
        quarantine.release.0,
        quarantine.reason,
        quarantine.at_ms,
    ];
    sql::run(db, "add a quarantine", text, values).map(drop)
}

/// The quarantines of a service, oldest first.
pub(crate) fn of(db: &Connection, environment: &Name, service: &Name) -> Result<Vec<Quarantine>, StateError> {
    let text = "SELECT environment, service, digest, release, reason, at_ms FROM quarantine
                WHERE environment = ? AND service = ? ORDER BY at_ms";
    sql::all(db, "read quarantines", text, params![environment.as_str(), service.as_str()], read)
}

/// Lifts one.
pub(crate) fn lift(
    db: &Connection,
    environment: &Name,
    service: &Name,
    digest: &Digest,
) -> Result<bool, StateError> {
    let text = "DELETE FROM quarantine WHERE environment = ? AND service = ? AND digest = ?";
    let key = params![environment.as_str(), service.as_str(), digest.to_string()];
    Ok(sql::run(db, "lift a quarantine", text, key)? > 0)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Quarantine> {
    Ok(Quarantine {
        environment: sql::name(row, "environment")?,
        service: sql::name(row, "service")?,
        digest: sql::digest(row, "digest")?,
        release: sql::number(row, "release")?,
        reason: row.get("reason")?,
        at_ms: row.get("at_ms")?,
    })
}
