//! A package that was found in an image.

use kiln_model::Digest;
use serde::{Deserialize, Serialize};

/// Which packages belong together: where names and versions have one meaning and one order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ecosystem {
    /// Packages of a distribution that uses dpkg; `ID:VERSION_ID` of os-release, such as `debian:12`, `ubuntu:24.04`.
    Dpkg(String),
    /// Packages of a distribution that uses apk, such as `alpine:3.20`.
    Apk(String),
    /// Packages of a distribution that uses RPM, such as `fedora:41`.
    Rpm(String),
    /// Rust crates.
    Cargo,
    /// Go modules; `stdlib` is the tool chain's own.
    Go,
    /// Python distributions.
    PyPi,
    /// Node packages.
    Npm,
    /// Java artefacts, named `group:artifact`.
    Maven,
    /// Ruby gems.
    Gem,
    /// .NET packages.
    NuGet,
    /// PHP packages.
    Composer,
}

/// Where a package was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Location {
    /// Path in the image without a leading slash.
    pub path: String,
    /// The layer's blob; `None` when a plain folder was read.
    pub layer: Option<Digest>,
}

/// One package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Package {
    /// What kind it is.
    pub ecosystem: Ecosystem,
    /// Its name as its ecosystem writes it.
    pub name: String,
    /// Its version as its ecosystem writes it.
    pub version: String,
    /// Processor architecture, where packages have one.
    pub architecture: Option<String>,
    /// Name and version of the source package that it was built from, where its ecosystem has such.
    pub source: Option<(String, String)>,
    /// Licences as they are declared, SPDX expressions where that is what is declared.
    pub licenses: Vec<String>,
    /// Package URL (purl specification), which identifies it in SBOMs.
    pub purl: String,
    /// Where it was found, sorted.
    pub locations: Vec<Location>,
}

impl std::fmt::Display for Ecosystem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dpkg(distribution) | Self::Apk(distribution) | Self::Rpm(distribution) => {
                f.write_str(distribution)
            }
            Self::Cargo => f.write_str("Rust crates"),
            Self::Go => f.write_str("Go modules"),
            Self::PyPi => f.write_str("Python packages"),
            Self::Npm => f.write_str("Node packages"),
            Self::Maven => f.write_str("Java artefacts"),
            Self::Gem => f.write_str("Ruby gems"),
            Self::NuGet => f.write_str(".NET packages"),
            Self::Composer => f.write_str("PHP packages"),
        }
    }
}
