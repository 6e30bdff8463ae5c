//! Acts, from the transaction that did them until somebody took them.

use rusqlite::{Connection, params};

use super::Tx;
use super::sql::{all, first, run};
use crate::server::acts::{Act, Author, Deed};
use crate::server::error::DbError;

/// Writes down what is done in the same transaction.
pub(crate) fn note(tx: &Tx<'_>, author: &Author, deed: &Deed) -> Result<(), DbError> {
    const ACT: &str = "write an act down";
    let deed = serde_json::to_string(deed).map_err(|error| DbError::Query {
        act: ACT,
        source: std::sync::Arc::new(rusqlite::Error::ToSqlConversionFailure(error.into())),
    })?;
    let text = "INSERT INTO act (at_ms, who, deed) VALUES (?1, ?2, ?3)";
    run(tx, ACT, text, params![author.at_ms, author.who, deed]).map(drop)
}

/// The oldest acts, with their numbers.
pub(crate) fn acts(db: &Connection, limit: u32) -> Result<Vec<(u64, Act)>, DbError> {
    let text = "SELECT id, at_ms, who, deed FROM act ORDER BY id LIMIT ?1";
    all(db, "read acts", text, params![limit], |row| {
        let deed: String = row.get(3)?;
        let deed = serde_json::from_str(&deed).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(3, rusqlite::types::Type::Text, error.into())
        })?;
        Ok((row.get(0)?, Act { at_ms: row.get(1)?, who: row.get(2)?, deed }))
    })
}

/// Removes the acts up to a number, which somebody took.
pub(crate) fn forget_acts(tx: &Tx<'_>, last: u64) -> Result<(), DbError> {
    run(tx, "forget acts", "DELETE FROM act WHERE id <= ?1", params![last]).map(drop)
}

/// The database's own name.
pub(crate) fn identity(db: &Connection) -> Result<String, DbError> {
    let found = first(db, "read the database's name", "SELECT name FROM identity", [], |row| row.get(0))?;
    Ok(found.unwrap_or_default())
}
