//! The table of instances that are to be replaced because a person touched them or asked for it.

use kiln_model::{FleetId, InstanceId};
use rusqlite::types::Type;
use rusqlite::{Connection, Row, params};

use super::StateError;
use super::sql;

/// One instance that is to be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taint {
    /// Which.
    pub instance: InstanceId,
    /// Of which fleet.
    pub fleet: FleetId,
    /// Why.
    pub reason: String,
    /// Who.
    pub who: String,
    /// A person asked for it to be stopped, so it does not wait for the disruption budget.
    pub asked: bool,
    /// When.
    pub at_ms: i64,
}

/// Taints an instance; the first taint stays, but for being asked for.
pub(crate) fn add(db: &Connection, taint: &Taint) -> Result<(), StateError> {
    let text = "INSERT INTO taints (instance, fleet, reason, who, asked, at_ms) VALUES (?, ?, ?, ?, ?, ?)
                ON CONFLICT DO UPDATE SET asked = max(asked, excluded.asked)";
    let fleet = taint.fleet.to_string();
    let values = params![taint.instance.as_str(), fleet, taint.reason, taint.who, taint.asked, taint.at_ms];
    sql::run(db, "taint an instance", text, values).map(drop)
}

/// All taints.
pub(crate) fn all(db: &Connection) -> Result<Vec<Taint>, StateError> {
    let text = "SELECT instance, fleet, reason, who, asked, at_ms FROM taints ORDER BY at_ms, instance";
    sql::all(db, "read taints", text, [], read)
}

/// Forgets the taint of an instance that is gone.
pub(crate) fn remove(db: &Connection, instance: &InstanceId) -> Result<(), StateError> {
    sql::run(db, "forget a taint", "DELETE FROM taints WHERE instance = ?", [instance.as_str()]).map(drop)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Taint> {
    let fleet: String = row.get("fleet")?;
    let fleet = fleet
        .parse()
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(1, Type::Text, Box::new(error)))?;
    Ok(Taint {
        instance: InstanceId(row.get("instance")?),
        fleet,
        reason: row.get("reason")?,
        who: row.get("who")?,
        asked: row.get("asked")?,
        at_ms: row.get("at_ms")?,
    })
}
