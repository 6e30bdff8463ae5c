//! `rpmdb.sqlite`: a table `Packages (hnum INTEGER PRIMARY KEY, blob BLOB)`. The database is opened in memory from
//! the image's bytes, and only when that table is a plain one: views, virtual tables and computed columns of a
//! crafted file would run code of its choosing for as long as it likes.

use rusqlite::limits::Limit;
use rusqlite::{Connection, OptionalExtension};

use super::super::Findings;
use super::Headers;

/// One header; the largest of real packages (kernel sources) are below 16 MiB.
const LARGEST_HEADER: i32 = 64 << 20;

pub(crate) fn read(mut bytes: Vec<u8>) -> Findings {
    if !bytes.starts_with(b"SQLite format 3\0") || bytes.len() < 100 {
        return Findings::problem("it is not an SQLite database");
    }
    // Bytes 18 and 19 say that a write-ahead log belongs to the file. In memory there is none; what it holds, if
    // it holds anything, is a problem of its own (`log`).
    bytes[18] = 1;
    bytes[19] = 1;
    let mut headers = Headers::default();
    let result = packages(&bytes, &mut headers);
    let mut findings = headers.findings();
    if let Err(error) = result {
        findings.problems.push(format!("SQLite cannot read it: {error}"));
    }
    findings
}

fn packages(bytes: &[u8], headers: &mut Headers) -> rusqlite::Result<()> {
    let mut connection = Connection::open_in_memory()?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, LARGEST_HEADER)?;
    connection.deserialize_read_exact("main", bytes, bytes.len(), true)?;
    connection
        .execute_batch("PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0;")?;
    let plain = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'Packages' AND rootpage > 0";
    let plain: Option<i64> = connection.query_row(plain, [], |row| row.get(0)).optional()?;
    let computed = "SELECT count(*) FROM pragma_table_xinfo('Packages') WHERE hidden <> 0";
    let computed: i64 = connection.query_row(computed, [], |row| row.get(0))?;
    if plain.is_none() || computed != 0 {
        headers.fault("it has no plain table Packages");
        return Ok(());
    }
    let mut statement = connection.prepare("SELECT blob FROM Packages NOT INDEXED")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if !headers.push(row.get_ref(0)?.as_blob().unwrap_or_default()) {
            break;
        }
    }
    Ok(())
}

/// A write-ahead log that is not empty holds changes that the database lacks.
pub(crate) fn log(bytes: &[u8]) -> Findings {
    if bytes.is_empty() {
        return Findings::default();
    }
    Findings::problem(
        "changes wait here that are not in rpmdb.sqlite yet; run `rpmdb --rebuilddb` when the image is built",
    )
}
