//! RPM's databases: SQLite (rpm 4.16 and later), ndb (SUSE), and Berkeley DB (before). Each is a box of the same
//! headers, see `header`.

mod bdb;
mod header;
mod ndb;
mod sqlite;

use super::{Finding, Findings, limits};

pub(crate) use bdb::read as bdb;
pub(crate) use ndb::read as ndb;
pub(crate) use sqlite::{log as sqlite_log, read as sqlite};

/// Collects headers; what cannot be read is counted and said.
#[derive(Default)]
struct Headers {
    packages: Vec<Finding>,
    unreadable: u64,
    first: Option<&'static str>,
}

impl Headers {
    /// False when there are too many.
    fn push(&mut self, blob: &[u8]) -> bool {
        match header::read(blob) {
            Ok(Some(found)) => self.packages.push(found),
            Ok(None) => {}
            Err(reason) => self.fault(reason),
        }
        (self.packages.len() as u64) < limits::PACKAGES && self.unreadable < limits::PACKAGES
    }

    fn fault(&mut self, reason: &'static str) {
        self.unreadable += 1;
        self.first.get_or_insert(reason);
    }

    fn findings(self) -> Findings {
        let mut findings = Findings::of(self.packages);
        if let Some(first) = self.first {
            let count = self.unreadable;
            findings.problems.push(format!("{count} of its package headers cannot be read (first: {first})"));
        }
        findings
    }
}

/// One header, whatever it is, for tests with any bytes.
#[cfg(test)]
pub(crate) fn header(blob: &[u8]) {
    Headers::default().push(blob);
}
