//! What is told about a secret. The secret itself is in none of it.

use kiln_model::Digest;
use serde::{Deserialize, Serialize};

use crate::Severity;

/// A secret that was found, without its text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SecretFinding {
    /// Where.
    pub place: Place,
    /// Identifier of the rule, such as `github-token`.
    pub rule: String,
    /// What it is: "GitHub token".
    pub title: String,
    /// How bad it is that somebody has it.
    pub severity: Severity,
    /// How sure it is that it is one.
    pub confidence: Confidence,
    /// At most its first four characters, only where every such secret begins so, and its length; nothing else.
    pub redacted: String,
    /// 16 hex digits that stay the same over bakes: of the secret where that has too much entropy to be guessed, else
    /// of the place.
    pub fingerprint: String,
    /// More about it that is not secret, such as the account of an AWS key.
    pub note: Option<String>,
    /// What to do.
    pub fix: String,
    /// Why it may be there, when an allow list says so.
    pub allowed: Option<String>,
}

/// How sure it is that a finding is a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// Its name or surroundings say so, or it lies among tests and examples.
    Possible,
    /// Its form is that of one issuer's secrets.
    Likely,
    /// A checksum or its inner structure fits.
    Proven,
}

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Place {
    /// In a file.
    File {
        /// Path in the image without a leading slash.
        path: String,
        /// From 1.
        line: u64,
        /// The layer's blob; `None` when a plain folder was read.
        layer: Option<Digest>,
        /// Whether the file is in the image as it runs. A file that a later layer deletes or replaces is not, and can
        /// still be read by whoever has the image.
        visible: bool,
    },
    /// In the value of an environment variable of the configuration.
    Environment {
        /// Its name.
        name: String,
    },
    /// In the value of a label of the configuration.
    Label {
        /// Its name.
        name: String,
    },
    /// In a command line of the configuration.
    Command {
        /// `entrypoint`, `cmd` or `healthcheck`.
        which: String,
    },
    /// In the history of the configuration.
    History {
        /// From 1, the oldest first.
        step: usize,
    },
}

impl Place {
    /// The path, of a file.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::File { path, .. } => Some(path),
            _ => None,
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File { path, line, layer, visible } => {
                write!(f, "/{path}:{line}")?;
                if let (Some(layer), false) = (layer, visible) {
                    write!(f, ", deleted or replaced later, but still in layer {}", layer.short())?;
                }
                Ok(())
            }
            Self::Environment { name } => write!(f, "environment variable {name}"),
            Self::Label { name } => write!(f, "label {name}"),
            Self::Command { which } => write!(f, "{which} of the image"),
            Self::History { step } => write!(f, "step {step} of the image's history"),
        }
    }
}
