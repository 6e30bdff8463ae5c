//! What can go wrong around Kiln.

use std::path::PathBuf;

/// An error of this tool.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line makes no sense.
    #[error("{0}")]
    Usage(String),
    /// A program could not be started at all.
    #[error("cannot start {program}")]
    Start {
        /// The program, and where, when that is what is wrong.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A program ended badly.
    #[error("{line} ended with {status}{said}")]
    Failed {
        /// The command line.
        line: String,
        /// How it ended.
        status: String,
        /// The end of what it printed, on lines of its own; empty when it printed to the terminal itself.
        said: String,
    },
    /// A file could not be read or written.
    #[error("cannot {act} {}", path.display())]
    File {
        /// Verb.
        act: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The machine lacks something that only a person can give.
    #[error("{0}")]
    Machine(String),
    /// Tests failed; the runner has said which.
    #[error("tests failed")]
    Tests(u8),
    /// A measurement could not be taken.
    #[error("cannot measure {what}: {why}")]
    Measure {
        /// The row or the peer.
        what: String,
        /// Why not.
        why: String,
    },
}

impl Error {
    /// A closure that wraps an input/output error with the act and the path.
    pub fn file(act: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { act, path, source }
    }
}
