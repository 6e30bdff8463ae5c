//! The table of rollouts.

use kiln_model::{FleetId, Freeze, Name, ReleaseNumber};
use kiln_rollout::Rollout;
use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};

use super::StateError;
use super::sql::{self, Json};
use crate::event::{Progress, Purpose, RolloutId};

const COLUMNS: &str = "id, environment, service, release, old, purpose, status, engine, after, progress, blameless, rules, reason, author, created_ms, ended_ms";

/// Where a rollout stands, seen from outside of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutState {
    /// Others come first.
    Waiting,
    /// Under way, forwards or back.
    Running,
    /// Waits for a person; its fleets stay as they are.
    Failed,
    /// Its release serves.
    Succeeded,
    /// The release from before serves again.
    RolledBack,
    /// Given up before it began, or by `down`.
    Cancelled,
}

/// One rollout as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its number.
    pub id: RolloutId,
    /// The fleet it brings.
    pub fleet: FleetId,
    /// The release it leaves, once it has begun.
    pub old: Option<ReleaseNumber>,
    /// Why it is made.
    pub purpose: Purpose,
    /// Where it stands.
    pub status: RolloutState,
    /// The engine's memory, once it has begun.
    pub engine: Option<Rollout>,
    /// Rollouts that must succeed first.
    pub after: Vec<RolloutId>,
    /// What was last seen of its fleets.
    pub progress: Option<Progress>,
    /// It was turned back by a person or by something outside of its content.
    pub blameless: bool,
    /// What holds for it beside its release.
    pub rules: Rules,
    /// Why it goes back, failed or was cancelled.
    pub reason: Option<String>,
    /// Who asked for it.
    pub author: String,
    /// When it was asked for.
    pub created_ms: i64,
    /// When it ended.
    pub ended_ms: Option<i64>,
}

/// What holds for a rollout beside its release: how it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rules {
    /// The first rollout of those that were asked for together: what fails takes back those that came before it.
    pub group: Option<RolloutId>,
    /// When no stage may begin.
    pub freezes: Vec<Freeze>,
    /// Why it passes freezes.
    pub emergency: Option<String>,
}

/// Adds a rollout and tells its number; `entry.id` is not looked at.
pub(crate) fn add(db: &Connection, entry: &Entry) -> Result<RolloutId, StateError> {
    let text =
        "INSERT INTO rollouts (environment, service, release, old, purpose, status, engine, after, progress,
                blameless, rules, reason, author, created_ms, ended_ms)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let values = params![
        entry.fleet.environment.as_str(),
        entry.fleet.service.as_str(),
        entry.fleet.release.0,
        entry.old.map(|old| old.0),
        word(entry.purpose),
        word(entry.status),
        entry.engine.as_ref().map(Json),
        Json(&entry.after),
        entry.progress.as_ref().map(Json),
        entry.blameless,
        Json(&entry.rules),
        entry.reason,
        entry.author,
        entry.created_ms,
        entry.ended_ms,
    ];
    sql::run(db, "add a rollout", text, values)?;
    Ok(db.last_insert_rowid())
}

/// Writes what changes in a rollout's life.
pub(crate) fn update(db: &Connection, entry: &Entry) -> Result<(), StateError> {
    let text = "UPDATE rollouts SET old = ?, status = ?, engine = ?, progress = ?, blameless = ?, rules = ?,
                reason = ?, ended_ms = ? WHERE id = ?";
    let values = params![
        entry.old.map(|old| old.0),
        word(entry.status),
        entry.engine.as_ref().map(Json),
        entry.progress.as_ref().map(Json),
        entry.blameless,
        Json(&entry.rules),
        entry.reason,
        entry.ended_ms,
        entry.id,
    ];
    sql::run(db, "write a rollout", text, values).map(drop)
}

/// Rollouts that wait, run or wait for a person, oldest first.
pub(crate) fn open(db: &Connection) -> Result<Vec<Entry>, StateError> {
    let text = format!(
        "SELECT {COLUMNS} FROM rollouts WHERE status IN ('running', 'failed')
         UNION ALL SELECT {COLUMNS} FROM rollouts WHERE status = 'waiting' ORDER BY id"
    );
    sql::all(db, "read rollouts", &text, [], read)
}

/// Rollouts of a service that succeeded, oldest first.
pub(crate) fn succeeded(
    db: &Connection,
    environment: &Name,
    service: &Name,
) -> Result<Vec<Entry>, StateError> {
    let text = format!(
        "SELECT {COLUMNS} FROM rollouts WHERE environment = ? AND service = ? AND status = 'succeeded' ORDER BY id"
    );
    sql::all(db, "read rollouts", &text, params![environment.as_str(), service.as_str()], read)
}

/// One rollout.
pub(crate) fn get(db: &Connection, id: RolloutId) -> Result<Option<Entry>, StateError> {
    let text = format!("SELECT {COLUMNS} FROM rollouts WHERE id = ?");
    sql::first(db, "read a rollout", &text, [id], read)
}

/// The rollout of a service that waits.
pub(crate) fn waiting(
    db: &Connection,
    environment: &Name,
    service: &Name,
) -> Result<Option<Entry>, StateError> {
    let text = format!(
        "SELECT {COLUMNS} FROM rollouts WHERE environment = ? AND service = ? AND status = 'waiting'"
    );
    sql::first(db, "read a rollout", &text, params![environment.as_str(), service.as_str()], read)
}

/// The rollout of a service that runs or waits for a person.
pub(crate) fn active(
    db: &Connection,
    environment: &Name,
    service: &Name,
) -> Result<Option<Entry>, StateError> {
    let text = format!(
        "SELECT {COLUMNS} FROM rollouts WHERE environment = ? AND service = ? AND status IN ('running', 'failed')"
    );
    sql::first(db, "read a rollout", &text, params![environment.as_str(), service.as_str()], read)
}

/// The rollout of a service that was asked for last.
pub(crate) fn last(db: &Connection, environment: &Name, service: &Name) -> Result<Option<Entry>, StateError> {
    let text = format!(
        "SELECT {COLUMNS} FROM rollouts WHERE environment = ? AND service = ? ORDER BY id DESC LIMIT 1"
    );
    sql::first(db, "read a rollout", &text, params![environment.as_str(), service.as_str()], read)
}

/// The rollouts that were to bring a release, oldest first.
pub(crate) fn of_release(db: &Connection, fleet: &FleetId) -> Result<Vec<Entry>, StateError> {
    let text = format!(
        "SELECT {COLUMNS} FROM rollouts WHERE environment = ? AND service = ? AND release = ? ORDER BY id"
    );
    let key = params![fleet.environment.as_str(), fleet.service.as_str(), fleet.release.0];
    sql::all(db, "read rollouts", &text, key, read)
}

/// The rollouts that were asked for together, oldest first.
pub(crate) fn of_group(db: &Connection, group: RolloutId) -> Result<Vec<Entry>, StateError> {
    let text = format!("SELECT {COLUMNS} FROM rollouts WHERE json_extract(rules, '$.group') = ? ORDER BY id");
    sql::all(db, "read rollouts", &text, [group], read)
}

/// The kebab-case word that serde gives a variant without fields.
fn word(variant: impl Serialize) -> String {
    serde_json::to_value(variant).ok().and_then(|value| value.as_str().map(Into::into)).unwrap_or_default()
}

fn variant<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_value(text.into()).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into())
    })
}

fn read(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        id: row.get("id")?,
        fleet: FleetId {
            environment: sql::name(row, "environment")?,
            service: sql::name(row, "service")?,
            release: sql::number(row, "release")?,
        },
        old: sql::maybe_number(row, "old")?,
        purpose: variant(row, "purpose")?,
        status: variant(row, "status")?,
        engine: row.get::<_, Option<Json<Rollout>>>("engine")?.map(|json| json.0),
        after: sql::json(row, "after")?,
        progress: row.get::<_, Option<Json<Progress>>>("progress")?.map(|json| json.0),
        blameless: row.get("blameless")?,
        rules: sql::json(row, "rules")?,
        reason: row.get("reason")?,
        author: row.get("author")?,
        created_ms: row.get("created_ms")?,
        ended_ms: row.get("ended_ms")?,
    })
}
