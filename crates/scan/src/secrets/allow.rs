//! Findings that may be there.

use globset::{Glob, GlobBuilder, GlobMatcher};
use kiln_model::{AllowedSecret, Policy};

use super::{SecretFinding, SecretsError};

/// An allow list.
#[derive(Clone, Debug, Default)]
pub struct Allow {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    rule: Option<String>,
    path: Option<GlobMatcher>,
    fingerprint: Option<String>,
    reason: String,
}

impl Allow {
    /// Nothing is allowed.
    pub fn none() -> Self {
        Self::default()
    }

    /// What a policy allows.
    ///
    /// # Errors
    ///
    /// When a path is no glob; a spec with one does not load.
    pub fn of(policy: &Policy) -> Result<Self, SecretsError> {
        Self::new(&policy.allowed_secrets)
    }

    /// A list of its own.
    ///
    /// # Errors
    ///
    /// When a path is no glob, or an entry allows everything.
    pub fn new(allowed: &[AllowedSecret]) -> Result<Self, SecretsError> {
        let entries = allowed.iter().map(entry).collect::<Result<_, _>>()?;
        Ok(Self { entries })
    }

    /// Marks what is allowed.
    pub(crate) fn apply(&self, findings: &mut [SecretFinding]) {
        for finding in findings {
            finding.allowed =
                self.entries.iter().find(|entry| entry.fits(finding)).map(|entry| entry.reason.clone());
        }
    }
}

fn entry(allowed: &AllowedSecret) -> Result<Entry, SecretsError> {
    if allowed.rule.is_none() && allowed.path.is_none() && allowed.fingerprint.is_none() {
        return Err(SecretsError::AllowsAll { name: allowed.name.clone() });
    }
    let glob = |path: &String| {
        let built: Result<Glob, _> =
            GlobBuilder::new(path.trim_start_matches('/')).literal_separator(true).build();
        built
            .map(|glob| glob.compile_matcher())
            .map_err(|source| SecretsError::Glob { path: path.clone(), source })
    };
    Ok(Entry {
        rule: allowed.rule.clone(),
        path: allowed.path.as_ref().map(glob).transpose()?,
        fingerprint: allowed.fingerprint.clone(),
        reason: allowed.reason.clone(),
    })
}

impl Entry {
    fn fits(&self, finding: &SecretFinding) -> bool {
        let path = finding.place.path();
        self.rule.as_ref().is_none_or(|rule| *rule == finding.rule)
            && self.path.as_ref().is_none_or(|glob| path.is_some_and(|path| glob.is_match(path)))
            && self.fingerprint.as_ref().is_none_or(|print| *print == finding.fingerprint)
    }
}
