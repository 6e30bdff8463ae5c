//! Repositories and what they hold in all.

use rusqlite::{Connection, params};

use super::sql::{first, run};
use crate::name::Repository;
use crate::server::error::DbError;

/// The repository's number, made when there is none yet.
pub(crate) fn ensure_repository(db: &Connection, name: &Repository) -> Result<i64, DbError> {
    run(db, "add a repository", "INSERT INTO repository (name) VALUES (?1) ON CONFLICT DO NOTHING", [name])?;
    let id = number(db, name)?;
    id.ok_or(DbError::Closed)
}

pub(super) fn number(db: &Connection, name: &Repository) -> Result<Option<i64>, DbError> {
    first(db, "find a repository", "SELECT id FROM repository WHERE name = ?1", [name], |row| row.get(0))
}

/// Whether anything was ever pushed into a repository.
pub(crate) fn repository_exists(db: &Connection, name: &Repository) -> Result<bool, DbError> {
    Ok(number(db, name)?.is_some())
}

/// Bytes and tags that a repository holds.
pub(crate) fn usage(db: &Connection, name: &Repository) -> Result<(u64, u64), DbError> {
    let text = "SELECT bytes, tags FROM repository WHERE name = ?1";
    let found = first(db, "measure a repository", text, [name], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(found.unwrap_or_default())
}

/// What all repositories hold, for the metrics.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) repositories: u64,
    pub(crate) manifests: u64,
    pub(crate) tags: u64,
    /// A blob linked into two repositories counts twice: what it would be without sharing.
    pub(crate) linked_bytes: u64,
}

/// Counts everything.
pub(crate) fn totals(db: &Connection) -> Result<Totals, DbError> {
    let text = "SELECT count(*), (SELECT count(*) FROM manifest), coalesce(sum(tags), 0), coalesce(sum(bytes), 0) \
                FROM repository";
    let read = |row: &rusqlite::Row<'_>| {
        Ok(Totals {
            repositories: row.get(0)?,
            manifests: row.get(1)?,
            tags: row.get(2)?,
            linked_bytes: row.get(3)?,
        })
    };
    Ok(first(db, "count repositories", text, params![], read)?.unwrap_or_default())
}
