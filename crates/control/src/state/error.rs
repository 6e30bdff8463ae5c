//! What can go wrong with the state database.

use std::path::PathBuf;

/// Why the state cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The file cannot be opened or made.
    #[error("cannot open the state database {path}")]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// The folder cannot be made.
    #[error("cannot make the folder of the state database {path}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is no database, or a part of it is broken.
    #[error("the state database {path} is damaged: {detail}")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What SQLite says.
        detail: String,
    },
    /// A newer Kiln has written it.
    #[error("the state database {path} was written by a newer kiln (schema {found}, this one knows {known})")]
    Newer {
        /// Which.
        path: PathBuf,
        /// Its schema.
        found: usize,
        /// The newest schema this program knows.
        known: usize,
    },
    /// A migration failed; the database is as it was.
    #[error("cannot migrate the state database {path}")]
    Migrate {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite_migration::Error,
    },
    /// A copy could not be kept.
    #[error("cannot keep a copy of the state database as {path}")]
    Backup {
        /// Where the copy was to be.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// A statement failed.
    #[error("cannot {act} in the state database")]
    Query {
        /// Verb phrase.
        act: &'static str,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// The thread could not be started.
    #[error("cannot start the state database's thread")]
    Thread {
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The thread has ended.
    #[error("the state database's thread has ended")]
    Closed,
}

impl StateError {
    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Damaged { path, .. } => format!(
                "move {0}, {0}-wal and {0}-shm away, copy {0}.backup (the state at the last start) to {0}, and start \
                 again; instances and the proxy go on meanwhile",
                path.display()
            ),
            Self::Newer { path, .. } => format!(
                "run the newer kiln again, or move {} away to start afresh; the file was not changed",
                path.display()
            ),
            Self::Migrate { path, .. } => {
                format!(
                    "the database is as it was; report this and go on with the kiln that wrote {}",
                    path.display()
                )
            }
            Self::Open { .. } | Self::Folder { .. } | Self::Backup { .. } | Self::Query { .. } => {
                "check that the disk is not full and that the file and its folder are yours to write".into()
            }
            Self::Thread { .. } | Self::Closed => "start `kiln serve` again; its state is whole".into(),
        }
    }
}
