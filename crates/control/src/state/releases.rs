//! The table of releases.

use kiln_model::{FleetId, Name, Release, ReleaseNumber};
use kiln_provider::{FleetSpec, Peer};
use rusqlite::{Connection, Row, params};

use super::StateError;
use super::sql::{self, Json};

const COLUMNS: &str = "environment, number, digest, content, peers, replicas, author, reason, created_ms";

/// A release as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// The release.
    pub release: Release,
    /// Ports of other services that its instances may call, as they were when it was made.
    pub peers: Vec<Peer>,
    /// Instances wanted of it, as of its last resize.
    pub replicas: u32,
}

impl Stored {
    /// What the provider is told.
    pub fn spec(&self) -> FleetSpec {
        FleetSpec { release: self.release.clone(), peers: self.peers.clone() }
    }

    /// The service's name.
    pub fn service(&self) -> &Name {
        &self.release.content.service.name
    }
}

/// Adds a release.
pub(crate) fn add(db: &Connection, stored: &Stored) -> Result<(), StateError> {
    let text = "INSERT INTO releases (environment, service, number, digest, content, peers, replicas, author, reason, created_ms)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let release = &stored.release;
    let values = params![
        release.environment.as_str(),
        stored.service().as_str(),
        release.number.0,
        release.digest.to_string(),
        Json(&release.content),
        Json(&stored.peers),
        stored.replicas,
        release.author,
        release.reason,
        release.created_ms,
    ];
    sql::run(db, "add a release", text, values).map(drop)
}

/// One release.
pub(crate) fn get(db: &Connection, fleet: &FleetId) -> Result<Option<Stored>, StateError> {
    let text = format!("SELECT {COLUMNS} FROM releases WHERE environment = ? AND service = ? AND number = ?");
    let key = params![fleet.environment.as_str(), fleet.service.as_str(), fleet.release.0];
    sql::first(db, "read a release", &text, key, read)
}

/// The newest releases of all services or of some, newest first.
pub(crate) fn newest(
    db: &Connection,
    environment: Option<&Name>,
    service: Option<&Name>,
    limit: u32,
) -> Result<Vec<Stored>, StateError> {
    let text = format!(
        "SELECT {COLUMNS} FROM releases WHERE (?1 IS NULL OR environment = ?1) AND (?2 IS NULL OR service = ?2)
         ORDER BY created_ms DESC, environment, service, number DESC LIMIT ?3"
    );
    let values = params![environment.map(Name::as_str), service.map(Name::as_str), limit];
    sql::all(db, "read releases", &text, values, read)
}

/// The number that the next release of a service gets.
pub(crate) fn next_number(
    db: &Connection,
    environment: &Name,
    service: &Name,
) -> Result<ReleaseNumber, StateError> {
    let text = "SELECT coalesce(max(number), 0) + 1 FROM releases WHERE environment = ? AND service = ?";
    let values = params![environment.as_str(), service.as_str()];
    let number = sql::first(db, "number a release", text, values, |row| row.get(0))?;
    Ok(ReleaseNumber(number.unwrap_or(1)))
}

/// Changes the number of instances wanted of a release.
pub(crate) fn resize(db: &Connection, fleet: &FleetId, replicas: u32) -> Result<(), StateError> {
    let text = "UPDATE releases SET replicas = ? WHERE environment = ? AND service = ? AND number = ?";
    let values = params![replicas, fleet.environment.as_str(), fleet.service.as_str(), fleet.release.0];
    sql::run(db, "resize a release", text, values).map(drop)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Stored> {
    let release = Release {
        environment: sql::name(row, "environment")?,
        number: sql::number(row, "number")?,
        digest: sql::digest(row, "digest")?,
        content: sql::json(row, "content")?,
        created_ms: row.get("created_ms")?,
        author: row.get("author")?,
        reason: row.get("reason")?,
    };
    Ok(Stored { release, peers: sql::json(row, "peers")?, replicas: row.get("replicas")? })
}
