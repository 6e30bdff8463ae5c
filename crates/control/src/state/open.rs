//! Opening the database: checks, backups, migrations.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};
use rusqlite_migration::{M, Migrations};

use super::StateError;

/// Every schema there has been, oldest first. A step that was released is never edited.
const STEPS: [&str; 1] = [include_str!("schema.sql")];

/// A database above this size is not copied at every start: 32 MiB take about 50 ms.
const COPIED_UP_TO: u64 = 32 << 20;

pub(super) fn open(path: &Path) -> Result<Connection, StateError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|source| StateError::Folder { path: folder.into(), source })?;
    }
    let mut connection = connect(path).map_err(|source| failure(path, source))?;
    let found = schema(&connection).map_err(|source| failure(path, source))?;
    if found > STEPS.len() {
        return Err(StateError::Newer { path: path.into(), found, known: STEPS.len() });
    }
    if found > 0 {
        check(&connection, path)?;
        keep_copies(&connection, path, found)?;
    }
    let steps = Migrations::new(STEPS.iter().map(|step| M::up(step)).collect());
    steps.to_latest(&mut connection).map_err(|source| StateError::Migrate { path: path.into(), source })?;
    Ok(connection)
}

/// Looks into the database beside whoever has it open, without changing it. `None` when there is none yet.
pub(crate) fn read<R>(
    path: &Path,
    look: impl FnOnce(&Connection) -> Result<R, StateError>,
) -> Result<Option<R>, StateError> {
    if !path.exists() {
        return Ok(None);
    }
    let mut connection = connect(path).map_err(|source| failure(path, source))?;
    let found = schema(&connection).map_err(|source| failure(path, source))?;
    match found {
        0 => return Ok(None),
        _ if found > STEPS.len() => {
            return Err(StateError::Newer { path: path.into(), found, known: STEPS.len() });
        }
        // No control plane of this version has run here, so none runs now: the state is brought up to date first.
        _ if found < STEPS.len() => connection = open(path)?,
        _ => {}
    }
    let view = connection.transaction().map_err(super::sql::act("begin a transaction"))?;
    look(&view).map(Some)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn schema(connection: &Connection) -> rusqlite::Result<usize> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

fn check(connection: &Connection, path: &Path) -> Result<(), StateError> {
    let verdict = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    match verdict.map_err(|source| failure(path, source))?.as_str() {
        "ok" => Ok(()),
        detail => Err(StateError::Damaged { path: path.into(), detail: detail.into() }),
    }
}

fn failure(path: &Path, source: rusqlite::Error) -> StateError {
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            StateError::Damaged { path: path.into(), detail: source.to_string() }
        }
        _ => StateError::Open { path: path.into(), source },
    }
}

/// The copies are made from a database that was just found whole.
fn keep_copies(connection: &Connection, path: &Path, found: usize) -> Result<(), StateError> {
    if found < STEPS.len() {
        copy(connection, &beside(path, &format!("schema-{found}.backup")))?;
    }
    if fs::metadata(path).is_ok_and(|meta| meta.len() <= COPIED_UP_TO) {
        copy(connection, &beside(path, "backup"))?;
    }
    Ok(())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

/// Written beside and renamed, so that a crash leaves the copy from before.
fn copy(connection: &Connection, target: &Path) -> Result<(), StateError> {
    let fresh = beside(target, "new");
    let _ = fs::remove_file(&fresh);
    let made = connection.execute("VACUUM INTO ?1", [fresh.to_string_lossy()]);
    made.map_err(|source| StateError::Backup { path: target.into(), source })?;
    let renamed = fs::rename(&fresh, target);
    renamed.map_err(|source| StateError::Folder { path: target.into(), source })?;
    Ok(())
}
