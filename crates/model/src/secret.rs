//! Secrets: where a value is that is no part of any spec, image, release or record.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `secret "DATABASE_URL" { from = "vault://kv/web#url" }` in a service: what its instances get, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Secret {
    /// Where it is. `None` in a spec means that the environment says it; in a release it is always there.
    pub from: Option<SecretRef>,
    /// How instances get it.
    #[serde(default)]
    pub delivery: Delivery,
}

/// How instances get a secret. Neither way touches a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// As environment variable of the secret's name. One newline at the end of the value, which editors and `echo`
    /// leave, is taken off.
    #[default]
    Env,
    /// As `/run/secrets/NAME`, byte for byte, readable by the image's user alone and kept in memory.
    File,
}

/// Where a secret is, written as in a spec. It names the value and never holds it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretRef {
    /// `file:///run/keys/db`, or `file:keys/db` below the folder of the spec.
    File {
        /// Absolute in a release.
        path: String,
    },
    /// `env://DATABASE_URL`: a variable of the control plane's own environment.
    Env {
        /// The variable.
        name: String,
    },
    /// `vault://kv/web?version=3#url`: a field of a secret in a key-value engine of Vault or OpenBao.
    Vault {
        /// Mount and path, without the `data/` that the second version of the engine puts between them.
        path: String,
        /// Version; the newest when `None`.
        version: Option<u64>,
        /// Field.
        field: String,
    },
}

/// Why a text says of no secret where it is. What may be the secret itself is never repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretRefError {
    /// It does not begin with a known word.
    #[error("this does not say where the secret is")]
    Unknown,
    /// What follows does not fit.
    #[error("{text:?} is not complete: {lacks}")]
    Shape {
        /// The text.
        text: String,
        /// What it lacks, and how it is written.
        lacks: &'static str,
    },
}

impl SecretRef {
    /// One example of each kind.
    pub const EXAMPLES: [&'static str; 3] =
        ["file:///run/keys/database-url", "env://DATABASE_URL", "vault://kv/web#url"];
}

/// Whether programs can be given a variable of this name: letters, digits and underscores, no digit first.
pub fn is_env_name(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !text.starts_with(|first: char| first.is_ascii_digit()) && !text.is_empty() && text.bytes().all(good)
}

impl FromStr for SecretRef {
    type Err = SecretRefError;

    fn from_str(text: &str) -> Result<Self, SecretRefError> {
        let shape = |lacks| SecretRefError::Shape { text: text.into(), lacks };
        if text.contains(char::is_control) {
            return Err(SecretRefError::Unknown);
        }
        match text.split_once(':').ok_or(SecretRefError::Unknown)? {
            ("file", rest) => {
                let path = match rest.strip_prefix("//") {
                    Some(absolute) if absolute.starts_with('/') => absolute,
                    Some(_) => {
                        return Err(shape("an absolute path has three slashes, file:///run/keys/name"));
                    }
                    None => rest,
                };
                let names_a_file =
                    path.rsplit('/').next().is_some_and(|name| !matches!(name, "" | "." | ".."));
                match names_a_file {
                    true => Ok(Self::File { path: path.into() }),
                    false => Err(shape("it names no file, as file:///run/keys/name does")),
                }
            }
            ("env", rest) => match rest.strip_prefix("//").filter(|name| is_env_name(name)) {
                Some(name) => Ok(Self::Env { name: name.into() }),
                None => Err(shape("it names no variable, as env://DATABASE_URL does")),
            },
            ("vault", rest) => vault(rest.strip_prefix("//").unwrap_or_default()).map_err(shape),
            _ => Err(SecretRefError::Unknown),
        }
    }
}

fn vault(rest: &str) -> Result<SecretRef, &'static str> {
    let (place, field) = rest.split_once('#').unwrap_or((rest, ""));
    if field.is_empty() {
        return Err("it names no field, as vault://kv/web#url does");
    }
    let (path, version) = match place.split_once('?') {
        None => (place, None),
        Some((path, query)) => {
            let number = query.strip_prefix("version=").and_then(|number| number.parse().ok());
            let known = number.filter(|number| *number > 0);
            (path, Some(known.ok_or("after the question mark stands version=NUMBER")?))
        }
    };
    let plain = |part: &str| {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~@+=:".contains(&byte);
        !matches!(part, "" | "." | "..") && part.bytes().all(good)
    };
    if !path.contains('/') || !path.split('/').all(plain) {
        return Err("it names no mount and path, as vault://kv/web#url does");
    }
    Ok(SecretRef::Vault { path: path.into(), version, field: field.into() })
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path } if path.starts_with('/') => write!(f, "file://{path}"),
            Self::File { path } => write!(f, "file:{path}"),
            Self::Env { name } => write!(f, "env://{name}"),
            Self::Vault { path, version: None, field } => write!(f, "vault://{path}#{field}"),
            Self::Vault { path, version: Some(version), field } => {
                write!(f, "vault://{path}?version={version}#{field}")
            }
        }
    }
}

impl Serialize for SecretRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for SecretRef {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SecretRef".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "examples": Self::EXAMPLES })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let more = ["file:keys/db", "file:/etc/key", "vault://kv/team/web?version=3#api key"];
        for text in SecretRef::EXAMPLES.into_iter().chain(more) {
            let read: SecretRef = text.parse().unwrap();
            let shown = read.to_string();
            assert_eq!(shown.parse::<SecretRef>().unwrap(), read, "{text}");
            assert!(shown == text || text == "file:/etc/key", "{text} became {shown}");
        }
    }

    #[test]
    fn what_names_no_secret_is_refused_with_how_it_is_written() {
        for text in ["", "hunter2", "postgres://db/shop", "valt://kv/web#url", "file:\n"] {
            assert!(matches!(text.parse::<SecretRef>(), Err(SecretRefError::Unknown)), "{text}");
        }
        let wrong = [
            "file:",
            "file:///",
            "file://run/keys",
            "file:keys/..",
            "env:NAME",
            "env://",
            "env://A B",
            "env://1",
            "vault://kv/web",
            "vault://kv#url",
            "vault:kv/web#url",
            "vault://kv/../x#url",
            "vault://kv/w%62#url",
            "vault://kv/web?version=0#url",
            "vault://kv/web?v=1#url",
        ];
        for text in wrong {
            assert!(matches!(text.parse::<SecretRef>(), Err(SecretRefError::Shape { .. })), "{text}");
        }
    }
}
