//! How bad a known vulnerability is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The qualitative severity rating scale of CVSS v3.1 and v4.0, with `Unknown` for advisories that give none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Nobody said.
    #[default]
    Unknown,
    /// 0.0.
    None,
    /// 0.1 to 3.9.
    Low,
    /// 4.0 to 6.9.
    Medium,
    /// 7.0 to 8.9.
    High,
    /// 9.0 to 10.0.
    Critical,
}

impl Severity {
    /// What a database's own word for a severity means: GitHub's and Ubuntu's words, Debian's urgencies and Red Hat's
    /// ratings. A word that none of them uses says nothing.
    pub fn from_word(word: &str) -> Self {
        // Debian writes `low**` for what it only assumes.
        match word.trim().trim_end_matches('*').to_ascii_lowercase().as_str() {
            "critical" => Self::Critical,
            "high" | "important" => Self::High,
            "medium" | "moderate" => Self::Medium,
            "low" | "minor" => Self::Low,
            "none" | "negligible" | "unimportant" => Self::None,
            _ => Self::Unknown,
        }
    }
}

/// A CVSS score in tenths, 0 to 100: exact, ordered, written as a number such as `9.8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Score(u8);

/// Why a text is not a CVSS vector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{vector:?} is not a CVSS vector of version 2.0, 3.0, 3.1 or 4.0: {reason}")]
pub struct ScoreError {
    vector: String,
    reason: String,
}

impl Score {
    /// A score from its tenths; more than 100 count as 100.
    pub const fn from_tenths(tenths: u8) -> Self {
        Self(if tenths > 100 { 100 } else { tenths })
    }

    /// The rating that the specifications give to this score (v3.1 section 5, v4.0 section 6).
    pub const fn severity(self) -> Severity {
        match self.0 {
            0 => Severity::None,
            1..=39 => Severity::Low,
            40..=69 => Severity::Medium,
            70..=89 => Severity::High,
            _ => Severity::Critical,
        }
    }

    /// The score as a number, 0.0 to 10.0.
    pub fn value(self) -> f64 {
        f64::from(self.0) / 10.0
    }

    /// Computes the score of a CVSS vector of version 2.0, 3.0, 3.1 or 4.0.
    ///
    /// # Errors
    /// When the text is no such vector.
    pub fn of_vector(vector: &str) -> Result<Self, ScoreError> {
        let shown = || vector.chars().take(200).collect::<String>();
        if vector.len() > 400 {
            return Err(ScoreError { vector: shown(), reason: "it is longer than 400 bytes".to_owned() });
        }
        let parsed = cvss::Cvss::from_str(vector)
            .map_err(|error| ScoreError { vector: shown(), reason: error.to_string() })?;
        if let Some(metric) = missing(&parsed, vector) {
            return Err(ScoreError { vector: shown(), reason: format!("it has no {metric}") });
        }
        let tenths = (parsed.score() * 10.0).round();
        // Between 0 and 100 by the specification; a cast from floats saturates.
        Ok(Self::from_tenths(tenths as u8))
    }
}

/// A base metric that a vector lacks although its version requires it; the parser itself insists on v4.0's only.
fn missing(parsed: &cvss::Cvss, vector: &str) -> Option<&'static str> {
    let required: &[&'static str] = match parsed {
        cvss::Cvss::CvssV20(_) => &["AV", "AC", "Au", "C", "I", "A"],
        cvss::Cvss::CvssV30(_) | cvss::Cvss::CvssV31(_) => &["AV", "AC", "PR", "UI", "S", "C", "I", "A"],
        _ => &[],
    };
    let has = |metric: &str| vector.split('/').any(|part| part.split(':').next() == Some(metric));
    required.iter().copied().find(|metric| !has(metric))
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 / 10, self.0 % 10)
    }
}

impl Serialize for Score {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.value())
    }
}

impl<'de> Deserialize<'de> for Score {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = f64::deserialize(deserializer)?;
        if !(0.0..=10.0).contains(&value) {
            return Err(serde::de::Error::custom("a CVSS score lies between 0.0 and 10.0"));
        }
        Ok(Self::from_tenths((value * 10.0).round() as u8))
    }
}
