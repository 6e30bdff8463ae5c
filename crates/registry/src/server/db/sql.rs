//! Small helpers between Rust's types and SQLite's.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Params, Row};

use crate::digest::ContentDigest;
use crate::name::{Repository, Tag};
use crate::server::error::{DbError, query};

impl ToSql for ContentDigest {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Blob(self.as_bytes())))
    }
}

impl FromSql for ContentDigest {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::from_raw(value.as_blob()?).ok_or(FromSqlError::InvalidType)
    }
}

macro_rules! text_in_sql {
    ($name:ident) => {
        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::Borrowed(ValueRef::Text(self.as_str().as_bytes())))
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                value.as_str()?.parse().map_err(FromSqlError::other)
            }
        }
    };
}

text_in_sql!(Repository);
text_in_sql!(Tag);

/// Executes a statement and tells how many rows it changed.
pub(super) fn run(
    db: &Connection,
    act: &'static str,
    text: &str,
    values: impl Params,
) -> Result<usize, DbError> {
    db.prepare_cached(text).and_then(|mut statement| statement.execute(values)).map_err(query(act))
}

/// All rows of a query.
pub(super) fn all<T>(
    db: &Connection,
    act: &'static str,
    text: &str,
    values: impl Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, DbError> {
    let rows = || db.prepare_cached(text)?.query_map(values, read)?.collect::<rusqlite::Result<Vec<T>>>();
    rows().map_err(query(act))
}

/// The first row of a query, if any.
pub(super) fn first<T>(
    db: &Connection,
    act: &'static str,
    text: &str,
    values: impl Params,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Option<T>, DbError> {
    let row = || db.prepare_cached(text)?.query_row(values, read).optional();
    row().map_err(query(act))
}
