//! Why a check does not hold, told to people.

use kiln_model::Name;
use kiln_provider::ProviderError;

use crate::LIMIT;

/// Longest piece of a body or of an output that is shown.
const EXCERPT: usize = 200;

/// Why a check does not hold.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The image has no such port, or none that speaks HTTP.
    #[error("there is no {}; name one of the image's HTTP ports in the check", port.as_ref().map_or_else(|| "HTTP port".into(), |port| format!("port {port:?}")))]
    NoPort {
        /// The port asked for.
        port: Option<Name>,
    },
    /// The instance's port cannot be reached.
    #[error("cannot connect to port {port} of the instance")]
    Connect {
        /// Which.
        port: Name,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The conversation broke off.
    #[error("GET {path} was not answered")]
    Http {
        /// Which path.
        path: String,
        /// Why.
        #[source]
        source: hyper::Error,
    },
    /// The path is not one.
    #[error("GET {path} cannot be asked; write an absolute path such as \"/\"")]
    Path {
        /// As written.
        path: String,
        /// Why.
        #[source]
        source: http::Error,
    },
    /// Another status.
    #[error("GET {path} answered {found}, expected {expected}; its body begins {body:?}")]
    Status {
        /// Which path.
        path: String,
        /// Expected status.
        expected: u16,
        /// Status found.
        found: u16,
        /// The beginning of the body.
        body: String,
    },
    /// The body lacks the text.
    #[error("GET {path} answered without the expected text {expected:?}; its body begins {body:?}")]
    Body {
        /// Which path.
        path: String,
        /// Expected text.
        expected: String,
        /// The beginning of the body.
        body: String,
    },
    /// The command could not be executed.
    #[error("cannot execute {command} in the instance")]
    Exec {
        /// The command.
        command: String,
        /// Why.
        #[source]
        source: ProviderError,
    },
    /// Another exit status.
    #[error("{command} exited with {found}, expected {expected}; it printed {output:?}")]
    Exit {
        /// The command.
        command: String,
        /// Expected status.
        expected: i32,
        /// Status found.
        found: i32,
        /// The end of what it printed.
        output: String,
    },
    /// The output lacks the text.
    #[error("{command} printed {output:?} without the expected text {expected:?}")]
    Output {
        /// The command.
        command: String,
        /// Expected text.
        expected: String,
        /// The end of what it printed.
        output: String,
    },
    /// Too slow.
    #[error("{what} took longer than {} s", LIMIT.as_secs())]
    Slow {
        /// The request or the command.
        what: String,
    },
}

/// The beginning of a text, cut at a character's border.
pub(crate) fn beginning(text: &str) -> String {
    match text.char_indices().nth(EXCERPT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The end of a text, cut at a character's border.
pub(crate) fn end(text: &str) -> String {
    let text = text.trim_end();
    match text.char_indices().rev().nth(EXCERPT - 1) {
        Some((begin, _)) if begin > 0 => format!("…{}", &text[begin..]),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_are_cut_between_characters() {
        assert_eq!(beginning("short"), "short");
        assert_eq!(end("short\n"), "short");
        let long = "ä".repeat(300);
        assert_eq!(beginning(&long), format!("{}…", "ä".repeat(200)));
        assert_eq!(end(&long), format!("…{}", "ä".repeat(200)));
    }
}
