//! The orders of versions, one for each ecosystem, each a total order.
//!
//! A version is parsed once and compared often. What an ecosystem would not accept as a version is an error here and
//! never a guess: the caller says that it could not judge. Nothing here knows advisories.

mod apk;
mod composer;
mod gem;
mod maven;
mod nuget;
mod semantic;

use std::cmp::Ordering;

use crate::Ecosystem;

/// A version longer than this is refused: real ones have up to 100 characters, and the orders that nest recurse.
const MAX_LENGTH: usize = 256;

/// Whose rules decide which of two versions is newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// `deb-version(7)`.
    Dpkg,
    /// apk-tools 3, `apk-package(5)`.
    Apk,
    /// `rpm-version(7)`, with epoch and release.
    Rpm,
    /// Semantic Versioning 2.0: Cargo and npm; also every OSV range of type `SEMVER`.
    Semantic,
    /// Semantic Versioning as Go writes it: `v1.2.3+incompatible`, pseudo-versions, and `go1.22rc1` of the tool chain.
    Go,
    /// PEP 440.
    Python,
    /// Maven's `ComparableVersion`.
    Maven,
    /// `Gem::Version`.
    Gem,
    /// NuGet: Semantic Versioning with a fourth number and labels without case.
    NuGet,
    /// Composer's normalised versions in the order of PHP's `version_compare`.
    Composer,
}

impl Scheme {
    /// The rules that an ecosystem's packages follow.
    pub fn of(ecosystem: &Ecosystem) -> Self {
        match ecosystem {
            Ecosystem::Dpkg(_) => Self::Dpkg,
            Ecosystem::Apk(_) => Self::Apk,
            Ecosystem::Rpm(_) => Self::Rpm,
            Ecosystem::Cargo | Ecosystem::Npm => Self::Semantic,
            Ecosystem::Go => Self::Go,
            Ecosystem::PyPi => Self::Python,
            Ecosystem::Maven => Self::Maven,
            Ecosystem::Gem => Self::Gem,
            Ecosystem::NuGet => Self::NuGet,
            Ecosystem::Composer => Self::Composer,
        }
    }

    /// Reads a version.
    ///
    /// # Errors
    /// When the ecosystem would not accept the text as a version.
    pub fn parse(self, text: &str) -> Result<Version, VersionError> {
        let error = || VersionError { scheme: self, text: text.chars().take(MAX_LENGTH).collect() };
        let trimmed = text.trim();
        if trimmed.is_empty() || trimmed.len() > MAX_LENGTH || trimmed.chars().any(char::is_control) {
            return Err(error());
        }
        let key = match self {
            Self::Dpkg => trimmed.parse().ok().map(Key::Dpkg),
            Self::Apk => apk::Apk::parse(trimmed).map(Key::Apk),
            Self::Rpm => rpm(trimmed).map(Key::Rpm),
            Self::Semantic => semantic::Semantic::parse(trimmed).map(Key::Semantic),
            Self::Go => semantic::Semantic::parse_go(trimmed).map(Key::Semantic),
            Self::Python => trimmed.parse().ok().map(Key::Python),
            Self::Maven => Some(Key::Maven(maven::Maven::parse(trimmed))),
            Self::Gem => gem::Gem::parse(trimmed).map(Key::Gem),
            Self::NuGet => nuget::NuGet::parse(trimmed).map(Key::NuGet),
            Self::Composer => composer::Composer::parse(trimmed).map(Key::Composer),
        };
        key.map(Version).ok_or_else(error)
    }

    /// Which of two versions is newer.
    ///
    /// # Errors
    /// When one of them is no version of this scheme.
    pub fn compare(self, left: &str, right: &str) -> Result<Ordering, VersionError> {
        Ok(self.parse(left)?.cmp(&self.parse(right)?))
    }
}

/// A text that is no version of its ecosystem.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a version in the sense of {scheme:?}")]
pub struct VersionError {
    scheme: Scheme,
    text: String,
}

/// A version that can be compared with others of its scheme. Two texts may be one version (`1.0` and `1.0.0` in PEP 440).
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(Key);

/// Versions of different schemes never meet; that they have an order nevertheless keeps it total.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Dpkg(debversion::Version),
    Apk(apk::Apk),
    Rpm(rpm_version::Evr<'static>),
    Semantic(semantic::Semantic),
    Python(pep440_rs::Version),
    Maven(maven::Maven),
    Gem(gem::Gem),
    NuGet(nuget::NuGet),
    Composer(composer::Composer),
}

/// `[epoch:]version[-release]`; rpm refuses white space and an epoch that is no number.
fn rpm(text: &str) -> Option<rpm_version::Evr<'static>> {
    let (epoch, version, release) = rpm_version::Evr::parse_values(text);
    let good = !text.contains(char::is_whitespace) && epoch.bytes().all(|b| b.is_ascii_digit());
    let epoch = if epoch.is_empty() { "0" } else { epoch };
    (good && !version.is_empty())
        .then(|| rpm_version::Evr::new(epoch.to_owned(), version.to_owned(), release.to_owned()))
}

/// A number of any length as it is compared: without leading zeros, the longer one is greater.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Number {
    length: usize,
    digits: String,
}

impl Number {
    fn new(digits: &str) -> Self {
        let digits = digits.trim_start_matches('0').to_owned();
        Self { length: digits.len(), digits }
    }

    fn zero() -> Self {
        Self::new("")
    }

    fn is_zero(&self) -> bool {
        self.length == 0
    }
}
