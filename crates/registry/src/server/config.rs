//! What a registry is told: where its things are, which tags may move, how much repositories may hold, how long
//! unused things stay.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use globset::{Glob, GlobMatcher};
use kiln_store::Store;
use serde::{Deserialize, Serialize};

use super::RegistryError;
use super::acts::Told;
use super::auth::Access;
use super::mirror::Mirror;
use crate::name::{Repository, Tag};

/// Milliseconds since the Unix epoch.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The system's clock.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    })
}

/// Everything a registry needs to open.
#[derive(Clone)]
pub struct RegistryConfig {
    /// Where the bytes are. May be shared with bakes and runs: see [`super::Registry::collect`].
    pub store: Store,
    /// The folder of the registry's own database; made when missing.
    pub data: PathBuf,
    /// Which tags may move, and quotas.
    pub rules: Rules,
    /// Who may do what.
    pub access: Access,
    /// Certificate and key; without them the registry speaks plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Registries that this one caches.
    pub mirrors: Vec<Mirror>,
    /// How long unused things stay.
    pub retention: Retention,
    /// How clients reach this registry (`https://registry.example`), when that is not the `Host` they send.
    pub external_url: Option<String>,
    /// Who is told that there are acts to be taken; without anybody, none are kept.
    pub acts: Option<Told>,
    /// What time it is.
    pub clock: Clock,
}

impl RegistryConfig {
    /// A registry open to everybody who can connect, with immutable tags and no quotas.
    pub fn new(store: Store, data: impl Into<PathBuf>) -> Self {
        Self {
            store,
            data: data.into(),
            rules: Rules::default(),
            access: Access::open(),
            tls: None,
            mirrors: Vec::new(),
            retention: Retention::default(),
            external_url: None,
            acts: None,
            clock: system_clock(),
        }
    }
}

impl fmt::Debug for RegistryConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryConfig")
            .field("store", &self.store.root())
            .field("data", &self.data)
            .field("rules", &self.rules)
            .field("tls", &self.tls)
            .field("mirrors", &self.mirrors)
            .field("retention", &self.retention)
            .finish_non_exhaustive()
    }
}

/// PEM files for TLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The certificate, followed by those of its issuers.
    pub certificate: PathBuf,
    /// The private key: PKCS #8, PKCS #1 or SEC 1.
    pub key: PathBuf,
}

/// How long what nothing refers to stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Blobs that were pushed, mounted or asked for lately stay, for a manifest may be about to name them.
    pub grace: Duration,
    /// Manifests without a tag go after this; `None` keeps them for ever. Children of a kept index and referrers
    /// of a kept manifest stay in either case.
    pub untagged: Option<Duration>,
    /// Uploads that no request touched for so long are given up.
    pub uploads: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        let hour = Duration::from_secs(3600);
        Self { grace: hour, untagged: Some(24 * 7 * hour), uploads: 24 * hour }
    }
}

/// What one repository may hold. `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quota {
    /// Bytes of its blobs and manifests, each counted once per repository.
    pub bytes: Option<u64>,
    /// Number of tags.
    pub tags: Option<u64>,
}

/// The rule for the repositories that a glob matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepositoryRule {
    /// Matched against the whole name; `*` does not cross a `/`, `**` does.
    pub repositories: String,
    /// Whether a tag that exists stays where it points.
    #[serde(default = "yes")]
    pub immutable: bool,
    /// Globs of tags that may move all the same: `latest`, `cache-*`.
    #[serde(default)]
    pub mutable_tags: Vec<String>,
    /// What each of these repositories may hold.
    #[serde(default)]
    pub quota: Quota,
}

fn yes() -> bool {
    true
}

/// The rules, compiled. The first whose glob matches counts; without one, tags are immutable.
#[derive(Clone, Debug)]
pub struct Rules {
    rules: Arc<[Compiled]>,
}

#[derive(Debug)]
struct Compiled {
    glob: GlobMatcher,
    mutable: Vec<GlobMatcher>,
    rule: RepositoryRule,
}

impl Default for Rules {
    fn default() -> Self {
        Self { rules: [].into() }
    }
}

impl Rules {
    /// Compiles rules.
    ///
    /// # Errors
    /// When a glob is not one.
    pub fn new(rules: Vec<RepositoryRule>) -> Result<Self, RegistryError> {
        let compile = |rule: RepositoryRule| {
            let tags = rule.mutable_tags.iter().map(|tag| glob(tag, "tags"));
            let mutable = tags.collect::<Result<_, _>>()?;
            Ok(Compiled { glob: glob(&rule.repositories, "repositories")?, mutable, rule })
        };
        let compiled: Result<Vec<_>, RegistryError> = rules.into_iter().map(compile).collect();
        Ok(Self { rules: compiled?.into() })
    }

    fn rule(&self, repository: &Repository) -> Option<&Compiled> {
        self.rules.iter().find(|rule| rule.glob.is_match(repository.as_str()))
    }

    /// The glob of the rule that forbids this tag to move, or `None` when it may.
    pub fn forbids_moving(&self, repository: &Repository, tag: &Tag) -> Option<String> {
        if belongs_to_digest(tag) {
            return None;
        }
        let Some(rule) = self.rule(repository) else { return Some("** (the default)".into()) };
        let free = !rule.rule.immutable || rule.mutable.iter().any(|glob| glob.is_match(tag.as_str()));
        (!free).then(|| rule.rule.repositories.clone())
    }

    /// What a repository may hold.
    pub fn quota(&self, repository: &Repository) -> Quota {
        self.rule(repository).map(|rule| rule.rule.quota).unwrap_or_default()
    }
}

/// A glob where `*` stays within one part of a name.
pub(crate) fn glob(text: &str, what: &'static str) -> Result<GlobMatcher, RegistryError> {
    let built = globset::GlobBuilder::new(text).literal_separator(true).build();
    let glob: Glob = built.map_err(|source| RegistryError::Glob { glob: text.into(), what, source })?;
    Ok(glob.compile_matcher())
}

/// Tags that tools derive from a digest and rewrite when evidence is added: cosign's `sha256-<hex>.sig`, `.att`
/// and `.sbom`, and the referrers tag schema's `sha256-<hex>` of the distribution specification.
fn belongs_to_digest(tag: &Tag) -> bool {
    let Some(rest) = tag.as_str().strip_prefix("sha256-") else { return false };
    let digits = rest.bytes().take_while(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')).count();
    digits == 64 && matches!(&rest[64..], "" | ".sig" | ".att" | ".sbom")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forbids(rules: &Rules, repository: &str, tag: &str) -> bool {
        rules.forbids_moving(&repository.parse().unwrap(), &tag.parse().unwrap()).is_some()
    }

    #[test]
    fn tags_stay_unless_a_rule_or_their_purpose_lets_them_move() {
        let rule = |glob: &str, immutable, tags: &[&str]| RepositoryRule {
            repositories: glob.into(),
            immutable,
            mutable_tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            quota: Quota::default(),
        };
        let rules = Rules::new(vec![rule("dev/**", false, &[]), rule("*", true, &["latest", "cache-*"])]);
        let rules = rules.unwrap();
        assert!(!forbids(&rules, "dev/a/b", "1"));
        assert!(forbids(&rules, "shop", "1"));
        assert!(!forbids(&rules, "shop", "latest"));
        assert!(!forbids(&rules, "shop", "cache-x"));
        assert!(forbids(&rules, "team/shop", "latest"), "no rule matches, so the default holds");
        let evidence = format!("sha256-{}", "a".repeat(64));
        for (tag, moves) in [("", true), (".sig", true), (".att", true), (".sbom", true), (".exe", false)] {
            assert_eq!(!forbids(&rules, "shop", &format!("{evidence}{tag}")), moves, "{tag}");
        }
        assert!(forbids(&rules, "shop", "sha256-abc"));
        assert!(Rules::new(vec![rule("[", true, &[])]).is_err());
    }
}
