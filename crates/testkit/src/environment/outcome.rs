//! What a command left, and what a test says about it.

use std::fmt;
use std::time::Duration;

/// The outcome of one command.
#[derive(Clone, Debug)]
pub struct RunOutcome {
    /// The command, for messages.
    pub line: String,
    /// Exit status; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

impl RunOutcome {
    /// Asserts that it ended with 0.
    ///
    /// # Panics
    /// With all that it printed, when it did not.
    #[track_caller]
    pub fn success(&self) -> &Self {
        assert_eq!(self.code, Some(0), "a command should have succeeded\n{self}");
        self
    }

    /// Asserts that it ended with another status than 0, without a panic and not by a signal.
    ///
    /// # Panics
    /// With all that it printed, when it did not.
    #[track_caller]
    pub fn failure(&self) -> &Self {
        assert!(self.code.is_some_and(|code| code != 0), "a command should have failed\n{self}");
        assert!(!self.stderr.contains("panicked at"), "a command panicked\n{self}");
        self
    }

    /// Asserts the exit status.
    ///
    /// # Panics
    /// With all that it printed, when it is another.
    #[track_caller]
    pub fn code(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "a command ended with another status\n{self}");
        self
    }

    /// Asserts that standard output contains a text.
    ///
    /// # Panics
    /// With all that it printed, when it does not.
    #[track_caller]
    pub fn stdout_has(&self, text: &str) -> &Self {
        assert!(self.stdout.contains(text), "standard output lacks {text:?}\n{self}");
        self
    }

    /// Asserts that standard error contains a text.
    ///
    /// # Panics
    /// With all that it printed, when it does not.
    #[track_caller]
    pub fn stderr_has(&self, text: &str) -> &Self {
        assert!(self.stderr.contains(text), "standard error lacks {text:?}\n{self}");
        self
    }

    /// Standard output as one JSON value.
    ///
    /// # Panics
    /// With all that it printed, when it is none.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("standard output is not JSON: {error}\n{self}"))
    }

    /// Standard output as one JSON value per line.
    ///
    /// # Panics
    /// With all that it printed, when a line is none.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<serde_json::Value> {
        let parse = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?} is not JSON: {error}\n{self}"))
        };
        self.stdout.lines().map(parse).collect()
    }
}

impl fmt::Display for RunOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code.map_or_else(|| "a signal".into(), |code| format!("status {code}"));
        writeln!(f, "{} ended with {code} after {:?}", self.line, self.took)?;
        writeln!(f, "--- standard output\n{}", self.stdout.trim_end())?;
        write!(f, "--- standard error\n{}", self.stderr.trim_end())
    }
}
