//! Names and identities.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A name that a person gave in the spec: 1 to 63 lower-case letters, digits and inner hyphens, beginning
/// with a letter (RFC 1035 label), so that it can be a host name, a tag and a path component everywhere.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Name(#[schemars(regex(pattern = r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$"))] String);

/// Why a text is not a [`Name`].
#[derive(Debug, thiserror::Error)]
#[error(
    "{text:?} cannot be a name: use 1 to 63 lower-case letters, digits and inner hyphens, beginning with a letter"
)]
pub struct NameError {
    text: String,
}

impl Name {
    /// Checks and wraps a name.
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        let bytes = text.as_bytes();
        let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
        let good = (1..=63).contains(&bytes.len())
            && bytes[0].is_ascii_lowercase()
            && bytes.iter().all(inner)
            && bytes[bytes.len() - 1] != b'-';
        if good { Ok(Self(text)) } else { Err(NameError { text }) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// The number of a release, counted from 1 within one service and environment.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct ReleaseNumber(pub u64);

impl fmt::Display for ReleaseNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The identity of a fleet: the one release it runs. Written (also in JSON) as `environment/service/release`,
/// such as `dev/web/7`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FleetId {
    /// The environment the fleet runs in.
    pub environment: Name,
    /// The service the fleet is a part of.
    pub service: Name,
    /// The release that every instance of the fleet runs.
    pub release: ReleaseNumber,
}

impl fmt::Display for FleetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.environment, self.service, self.release)
    }
}

impl std::str::FromStr for FleetId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let error = || NameError { text: text.into() };
        let mut parts = text.split('/');
        let (Some(environment), Some(service), Some(release), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(error());
        };
        Ok(Self {
            environment: Name::new(environment)?,
            service: Name::new(service)?,
            release: ReleaseNumber(release.parse().map_err(|_| error())?),
        })
    }
}

impl Serialize for FleetId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FleetId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for FleetId {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FleetId".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": "^[a-z][-a-z0-9]*/[a-z][-a-z0-9]*/[0-9]+$"})
    }
}

/// The identity of an instance, unique for ever: `service-release-suffix` with a random suffix of eight
/// characters from `[0-9a-z]`, such as `web-7-k3v9x0qd`. Also its host name.
#[derive(
    Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct InstanceId(pub String);

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl InstanceId {
    /// The identity as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
