//! Where packages come from: the spec, the environment, the host's apt, and last the Debian snapshot service.
//!
//! Only the roots of archives are taken from the host (the folders that hold `dists/` and `pool/`), never its keys,
//! pins or components.

mod apt;
mod error;

use std::path::Path;

use jiff::Timestamp;

use crate::lock::Archive;
use crate::request::Timeouts;
pub use error::MirrorsError;

/// The Debian project's archive of everything it ever published: the one host this crate knows by name.
const SNAPSHOT: &str = "https://snapshot.debian.org/archive";

/// Known mirrors; made by [`Mirrors::discover`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirrors {
    /// Roots from the environment, in order.
    environment: Vec<Root>,
    /// The host's apt sources, in order.
    apt: Vec<apt::Source>,
    /// The host's administrator said that mirrors may be older than their `Valid-Until`.
    stale: bool,
    /// The snapshot service's root; `None` leaves it out.
    snapshot: Option<String>,
    timeouts: Timeouts,
}

/// The root of one archive, without a slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Root {
    archive: Archive,
    url: String,
}

/// Where one archive of one suite is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sources {
    /// Roots in the order they are asked.
    pub(crate) roots: Vec<String>,
    /// Whether an expired index is taken.
    pub(crate) stale: bool,
    /// Whether the roots were named by a person or the host.
    pub(crate) configured: bool,
}

impl Mirrors {
    /// The variable that names mirrors: one or several addresses or folders, separated by blanks. One of which the
    /// last path segment contains `security` is a root of `debian-security`.
    pub const VARIABLE: &str = "KILN_DEBIAN_MIRROR";

    /// Finds mirrors by the environment and by apt's configuration in `etc` (usually `/etc`).
    ///
    /// # Errors
    /// When [`Mirrors::VARIABLE`] holds something that is neither an address nor a folder. apt's files are read
    /// leniently: what is not understood is left out.
    pub fn discover(variable: impl Fn(&str) -> Option<String>, etc: &Path) -> Result<Self, MirrorsError> {
        let mut environment = Vec::new();
        for word in variable(Self::VARIABLE).unwrap_or_default().split_whitespace() {
            environment.extend(roots(word).map_err(|error| error.named_by(Self::VARIABLE))?);
        }
        let host = apt::Host::read(etc);
        Ok(Self {
            environment,
            apt: host.sources,
            stale: host.stale,
            snapshot: Some(SNAPSHOT.to_owned()),
            timeouts: Timeouts::default(),
        })
    }

    /// Mirrors without the host and without the snapshot service: only what the spec or this text names.
    ///
    /// # Errors
    /// As [`Mirrors::discover`].
    pub fn only(text: &str) -> Result<Self, MirrorsError> {
        let mut mirrors = Self::default();
        for word in text.split_whitespace() {
            mirrors.environment.extend(roots(word)?);
        }
        Ok(mirrors)
    }

    /// Asks this address instead of the snapshot service (its `archive` folder).
    pub fn with_snapshot(mut self, root: Option<String>) -> Self {
        self.snapshot = root;
        self
    }

    /// Waits this long for mirrors.
    pub fn with_timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    pub(crate) fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    /// The roots for one archive: the first of spec, environment and apt that names any.
    pub(crate) fn sources(
        &self,
        spec: Option<&str>,
        archive: Archive,
        suite: &str,
    ) -> Result<Sources, MirrorsError> {
        if let Some(text) = spec {
            let roots = roots(text).map_err(|error| error.named_by("the spec's mirror"))?;
            return Ok(Sources { roots: of(&roots, archive), stale: false, configured: true });
        }
        let environment = of(&self.environment, archive);
        if !environment.is_empty() {
            return Ok(Sources { roots: environment, stale: self.stale, configured: true });
        }
        let roots = apt::roots(&self.apt, archive, suite);
        let configured = !roots.is_empty();
        Ok(Sources { roots, stale: self.stale, configured })
    }

    /// The snapshot service's root of an archive as it was at a time.
    pub(crate) fn snapshot(&self, archive: Archive, at: Timestamp) -> Option<String> {
        let root = self.snapshot.as_ref()?;
        Some(format!("{root}/{archive}/{}", at.strftime("%Y%m%dT%H%M%SZ")))
    }
}

fn of(roots: &[Root], archive: Archive) -> Vec<String> {
    roots.iter().filter(|root| root.archive == archive).map(|root| root.url.clone()).collect()
}

/// The roots that one address stands for. `…/debian` also stands for `…/debian-security` beside it, as on
/// nearly every mirror.
fn roots(text: &str) -> Result<Vec<Root>, MirrorsError> {
    let url = address(text)?;
    let (parent, last) = url.rsplit_once('/').unwrap_or(("", &url));
    if last.contains("security") {
        return Ok(vec![Root { archive: Archive::Security, url }]);
    }
    let security = format!("{parent}/{last}-security");
    Ok(vec![Root { archive: Archive::Debian, url }, Root { archive: Archive::Security, url: security }])
}

/// An `http`, `https` or `file` address without a slash at the end; a plain absolute path becomes one.
fn address(text: &str) -> Result<String, MirrorsError> {
    let text = text.trim().trim_end_matches('/');
    if text.starts_with('/') {
        return Ok(format!("file://{text}"));
    }
    let rest = ["http://", "https://", "file:///"].iter().find_map(|scheme| text.strip_prefix(scheme));
    match rest {
        Some(rest) if !rest.is_empty() && !rest.contains(char::is_whitespace) => Ok(text.to_owned()),
        _ => Err(MirrorsError::new(text)),
    }
}

#[cfg(test)]
mod tests;
