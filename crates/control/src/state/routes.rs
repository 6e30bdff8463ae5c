//! The route table that was last handed to the data plane.

use kiln_proxy::RouteTable;
use rusqlite::{Connection, params};

use super::StateError;
use super::sql::{self, Json};

/// The last one; an empty table of version 0 when there was none.
pub(crate) fn get(db: &Connection) -> Result<RouteTable, StateError> {
    let text = "SELECT content FROM routes";
    let table = sql::first(db, "read the routes", text, [], |row| sql::json(row, "content"))?;
    Ok(table.unwrap_or_default())
}

/// Replaces it.
pub(crate) fn put(db: &Connection, table: &RouteTable) -> Result<(), StateError> {
    let text = "INSERT INTO routes (only_row, version, content) VALUES (1, ?, ?)
                ON CONFLICT DO UPDATE SET version = excluded.version, content = excluded.content";
    sql::run(db, "write the routes", text, params![table.version, Json(table)]).map(drop)
}
