//! Small helpers between Rust's types and SQLite's.

use kiln_model::{Digest, Name, ReleaseNumber};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, Params, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::StateError;

/// Names what was being done when a statement failed.
pub(super) fn act(act: &'static str) -> impl FnOnce(rusqlite::Error) -> StateError {
    move |source| StateError::Query { act, source }
}

/// A value kept as JSON text.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromSql for Json<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?).map(Self).map_err(FromSqlError::other)
    }
}

impl<T: Serialize> ToSql for Json<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let text = serde_json::to_string(&self.0);
        text.map(ToSqlOutput::from).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
    }
}

/// A word of the model kept as plain text.
pub(super) struct Word<T>(pub(super) T);

impl FromSql for Word<Name> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Name::new(value.as_str()?).map(Self).map_err(FromSqlError::other)
    }
}

impl FromSql for Word<Digest> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map(Self).map_err(FromSqlError::other)
    }
}

pub(super) fn name(row: &Row<'_>, column: &str) -> rusqlite::Result<Name> {
    row.get::<_, Word<Name>>(column).map(|word| word.0)
}

pub(super) fn digest(row: &Row<'_>, column: &str) -> rusqlite::Result<Digest> {
    row.get::<_, Word<Digest>>(column).map(|word| word.0)
}

pub(super) fn number(row: &Row<'_>, column: &str) -> rusqlite::Result<ReleaseNumber> {
    row.get::<_, u64>(column).map(ReleaseNumber)
}

pub(super) fn maybe_number(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<ReleaseNumber>> {
    Ok(row.get::<_, Option<u64>>(column)?.map(ReleaseNumber))
}

pub(super) fn json<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    row.get::<_, Json<T>>(column).map(|json| json.0)
}

/// Executes a statement and tells how many rows it changed.
pub(super) fn run(
    db: &Connection,
    doing: &'static str,
    text: &str,
    values: impl Params,
) -> Result<usize, StateError> {
    db.prepare_cached(text).and_then(|mut statement| statement.execute(values)).map_err(act(doing))
}

/// All rows of a query.
pub(super) fn all<T>(
    db: &Connection,
    doing: &'static str,
    text: &str,
    values: impl Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, StateError> {
    let rows = || db.prepare_cached(text)?.query_map(values, read)?.collect::<rusqlite::Result<Vec<T>>>();
    rows().map_err(act(doing))
}

/// The first row of a query, if any.
pub(super) fn first<T>(
    db: &Connection,
    doing: &'static str,
    text: &str,
    values: impl Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Option<T>, StateError> {
    Ok(all(db, doing, text, values, read)?.into_iter().next())
}
