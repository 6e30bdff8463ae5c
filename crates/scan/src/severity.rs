//! How bad a known vulnerability is.

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
