//! What an environment requires of an image before it is deployed there.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Name, Span};

/// One piece of evidence that must be there, written as in a spec: `tested`, `scanned`, `scanned(24h)`, `built-from`,
/// `signed`, `signed(release)`, `soaked(staging, 30m)`, `approved(2)`, `approved(1, alice, bob)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// Provenance: what was built, from which inputs, by which builder.
    BuiltFrom,
    /// All checks of the image hold.
    Tested,
    /// The scan passes the policy.
    Scanned {
        /// The scan may be no older.
        within: Option<Span>,
    },
    /// Signed.
    Signed {
        /// By each of these keys; by any trusted key when there is none.
        by: Vec<Name>,
    },
    /// Ran without trouble elsewhere before.
    Soaked {
        /// Where.
        environment: Name,
        /// How long.
        time: Span,
    },
    /// People said yes.
    Approved {
        /// How many different ones.
        count: u32,
        /// Of these; of any when there is none.
        by: Vec<String>,
    },
}

/// Why a text is no requirement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequirementError {
    /// No such evidence.
    #[error("there is no evidence called {0:?}")]
    Unknown(String),
    /// A bracket is missing.
    #[error("{0:?} has no closing bracket")]
    Bracket(String),
    /// What is in the brackets does not fit.
    #[error("{text:?} is not complete")]
    Shape {
        /// The text.
        text: String,
        /// How it is written.
        example: &'static str,
    },
}

impl Requirement {
    /// The words that requirements begin with.
    pub const KINDS: [&'static str; 6] = ["built-from", "tested", "scanned", "signed", "soaked", "approved"];
}

impl FromStr for Requirement {
    type Err = RequirementError;

    fn from_str(text: &str) -> Result<Self, RequirementError> {
        let (kind, arguments) = match text.split_once('(') {
            None => (text, Vec::new()),
            Some((kind, rest)) => {
                let inner = rest.trim_end().strip_suffix(')');
                let inner = inner.ok_or_else(|| RequirementError::Bracket(text.into()))?;
                (kind, inner.split(',').map(str::trim).collect())
            }
        };
        let shape = |example| RequirementError::Shape { text: text.into(), example };
        let name = |word: &str, example| Name::new(word).map_err(|_| shape(example));
        match (kind.trim(), arguments.as_slice()) {
            ("built-from", []) => Ok(Self::BuiltFrom),
            ("built-from", _) => Err(shape("built-from")),
            ("tested", []) => Ok(Self::Tested),
            ("tested", _) => Err(shape("tested")),
            ("scanned", []) => Ok(Self::Scanned { within: None }),
            ("scanned", [age]) => {
                let within = age.parse().map_err(|_| shape("scanned(24h)"))?;
                Ok(Self::Scanned { within: Some(within) })
            }
            ("scanned", _) => Err(shape("scanned(24h)")),
            ("signed", keys) => {
                let by = keys.iter().map(|key| name(key, "signed(release)")).collect::<Result<_, _>>()?;
                Ok(Self::Signed { by })
            }
            ("soaked", [environment, time]) => {
                let example = "soaked(staging, 30m)";
                let time = time.parse().map_err(|_| shape(example))?;
                Ok(Self::Soaked { environment: name(environment, example)?, time })
            }
            ("soaked", _) => Err(shape("soaked(staging, 30m)")),
            ("approved", [count, by @ ..]) => {
                let example = "approved(1)";
                let count = count.parse().ok().filter(|count| *count > 0).ok_or_else(|| shape(example))?;
                if by.iter().any(|person| person.is_empty()) {
                    return Err(shape("approved(1, alice, bob)"));
                }
                Ok(Self::Approved { count, by: by.iter().map(|person| (*person).to_owned()).collect() })
            }
            ("approved", _) => Err(shape("approved(1)")),
            (other, _) => Err(RequirementError::Unknown(other.into())),
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltFrom => f.write_str("built-from"),
            Self::Tested => f.write_str("tested"),
            Self::Scanned { within: None } => f.write_str("scanned"),
            Self::Scanned { within: Some(age) } => write!(f, "scanned({age})"),
            Self::Signed { by } if by.is_empty() => f.write_str("signed"),
            Self::Signed { by } => {
                let by: Vec<&str> = by.iter().map(Name::as_str).collect();
                write!(f, "signed({})", by.join(", "))
            }
            Self::Soaked { environment, time } => write!(f, "soaked({environment}, {time})"),
            Self::Approved { count, by } if by.is_empty() => write!(f, "approved({count})"),
            Self::Approved { count, by } => write!(f, "approved({count}, {})", by.join(", ")),
        }
    }
}

impl Serialize for Requirement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Requirement {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Requirement {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Requirement".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "examples": ["tested", "scanned(24h)", "soaked(staging, 30m)"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for text in [
            "built-from",
            "tested",
            "scanned",
            "scanned(12h)",
            "signed",
            "signed(release, qa)",
            "soaked(staging, 30m)",
            "approved(2)",
            "approved(1, alice, bob)",
        ] {
            assert_eq!(text.parse::<Requirement>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        for text in
            ["testet", "tested(1)", "approved", "approved(0)", "soaked(staging)", "scanned(x)", "signed(", ""]
        {
            assert!(text.parse::<Requirement>().is_err(), "{text}");
        }
    }
}
