//! What a registry is told, as a file: JSON, every part of it optional.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kiln_model::Span;
use kiln_registry::client::{Client, Options, Remote};
use kiln_registry::server::{
    Access, Action, Grant, Mirror, RegistryConfig, RegistryError, RepositoryRule, Retention, Rules, TlsFiles,
};
use kiln_store::{Store, StoreError};
use serde::{Deserialize, Serialize};

use super::RegistryHome;

/// A settings file larger than this is a mistake.
const LARGEST: u64 = 1 << 20;
/// How long a tag of another registry is served without asking there again.
const FRESHNESS: Span = Span::from_secs(300);
/// How long a token is good for.
const TOKEN_LIFE: Span = Span::from_secs(300);

/// A registry's settings. Paths are relative to the folder of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegistrySettings {
    /// Where to listen, when nobody says so elsewhere.
    pub listen: Option<String>,
    /// Certificate and key.
    pub tls: Option<TlsFiles>,
    /// How clients reach it, when that is not the `Host` that they send.
    pub external_url: Option<String>,
    /// Who may log in, and do what. Everybody may do everything unless given.
    pub access: Option<UserSettings>,
    /// Which tags may move, and quotas. The first whose glob matches counts.
    pub rules: Vec<RepositoryRule>,
    /// How long unused things stay.
    pub retention: RetentionSettings,
    /// Registries to cache.
    pub mirrors: Vec<MirrorSettings>,
}

/// Users and what they may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserSettings {
    /// Lines of `name:hash`, as `htpasswd -B` writes them.
    pub users: PathBuf,
    /// Who may do what; everything for everybody who logged in unless given.
    #[serde(default)]
    pub grants: Vec<Grant>,
    /// How long a token is good for.
    #[serde(default)]
    pub token_life: Option<Span>,
}

/// How long unused things stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionSettings {
    /// Blobs that no manifest names; an hour unless given.
    pub grace: Option<Span>,
    /// Manifests without a tag; a week unless given.
    pub untagged: Option<Span>,
    /// Keep manifests without a tag for ever.
    pub keep_untagged: bool,
    /// Uploads that nobody touches; a day unless given.
    pub uploads: Option<Span>,
}

/// A registry to cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MirrorSettings {
    /// What the names of its repositories begin with here; empty for all.
    #[serde(default)]
    pub prefix: String,
    /// `https://registry.example`.
    pub upstream: String,
    /// How long a tag is served without asking there again; five minutes unless given.
    #[serde(default)]
    pub freshness: Option<Span>,
}

/// Why settings make no sense.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read the registry's settings {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("the registry's settings {} make no sense", path.display())]
    Parse {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// An upstream that is no address of a registry.
    #[error("{url:?} is not the address of a registry")]
    Upstream {
        /// What was written.
        url: String,
    },
    /// The client for an upstream cannot be made.
    #[error("cannot prepare the client for {url}")]
    Client {
        /// The upstream.
        url: String,
        /// Why.
        #[source]
        source: Box<kiln_registry::client::RegistryError>,
    },
    /// Access or rules.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The image store cannot be opened.
    #[error("the image store of the registry cannot be used")]
    Store(#[from] StoreError),
}

impl SettingsError {
    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Upstream { .. } => {
                Some("write `https://registry.example`, with a port if need be and no path".into())
            }
            Self::Registry(RegistryError::Glob { .. }) => {
                Some("`*` stays within one part of a name, `**` crosses slashes".into())
            }
            Self::Registry(RegistryError::Users { .. }) => {
                Some("`htpasswd -B -c FILE USER` writes such a file".into())
            }
            _ => None,
        }
    }
}

impl RegistrySettings {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or says what is not known.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let read = |source| SettingsError::Read { path: path.into(), source };
        if std::fs::metadata(path).map_err(read)?.len() > LARGEST {
            return Err(read(std::io::Error::other("it is larger than 1 MiB")));
        }
        let bytes = std::fs::read(path).map_err(read)?;
        let parsed = serde_json::from_slice(&bytes);
        let mut settings: Self =
            parsed.map_err(|source| SettingsError::Parse { path: path.into(), source })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        if let Some(tls) = &mut settings.tls {
            tls.certificate = folder.join(&tls.certificate);
            tls.key = folder.join(&tls.key);
        }
        if let Some(access) = &mut settings.access {
            access.users = folder.join(&access.users);
        }
        Ok(settings)
    }

    /// Reads the file of a registry's own folder; nothing is set when there is none.
    ///
    /// # Errors
    /// As [`RegistrySettings::read`].
    pub fn of(place: &RegistryHome) -> Result<Self, SettingsError> {
        let path = place.settings();
        if path.exists() { Self::read(&path) } else { Ok(Self::default()) }
    }

    /// What the registry opens with.
    pub(super) fn config(&self, place: &RegistryHome) -> Result<RegistryConfig, SettingsError> {
        let mut config = RegistryConfig::new(Store::open(&place.store)?, &place.data);
        config.rules = Rules::new(self.rules.clone())?;
        config.access = self.access()?;
        config.tls.clone_from(&self.tls);
        config.external_url.clone_from(&self.external_url);
        config.retention = self.retention.times();
        config.mirrors = self.mirrors.iter().map(MirrorSettings::mirror).collect::<Result<_, _>>()?;
        Ok(config)
    }

    fn access(&self) -> Result<Access, SettingsError> {
        let Some(access) = &self.access else { return Ok(Access::open()) };
        let everything =
            || Grant { user: "*".into(), repositories: "**".into(), actions: Action::ALL.to_vec() };
        let named = access.grants.iter().any(|grant| grant.user != "anonymous");
        let mut grants = access.grants.clone();
        grants.extend((!named).then(everything));
        let life = access.token_life.unwrap_or(TOKEN_LIFE).duration();
        Ok(Access::restricted(&access.users, grants, life)?)
    }
}

impl RetentionSettings {
    fn times(&self) -> Retention {
        let usual = Retention::default();
        let or = |given: Option<Span>, usual: Duration| given.map_or(usual, Span::duration);
        Retention {
            grace: or(self.grace, usual.grace),
            untagged: match self.keep_untagged {
                true => None,
                false => self.untagged.map(Span::duration).or(usual.untagged),
            },
            uploads: or(self.uploads, usual.uploads),
        }
    }
}

impl MirrorSettings {
    fn mirror(&self) -> Result<Mirror, SettingsError> {
        let wrong = || SettingsError::Upstream { url: self.upstream.clone() };
        let (scheme, host) = self.upstream.split_once("://").ok_or_else(wrong)?;
        let host = host.trim_end_matches('/');
        if !matches!(scheme, "http" | "https") || host.is_empty() || host.contains(['/', '@', '?', '#']) {
            return Err(wrong());
        }
        let options = Options { plain_http: scheme == "http", ..Options::default() };
        let client = Client::new(options)
            .map_err(|source| SettingsError::Client { url: self.upstream.clone(), source: source.into() })?;
        Ok(Mirror {
            prefix: self.prefix.trim_end_matches('/').to_owned(),
            upstream: Arc::new(Remote::new(client, host)),
            freshness: self.freshness.unwrap_or(FRESHNESS).duration(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Result<RegistrySettings, SettingsError> {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, text).unwrap();
        RegistrySettings::read(&path)
    }

    #[test]
    fn a_file_is_read_with_paths_beside_it_and_nothing_unknown() {
        let settings = written(
            r#"{"access": {"users": "people", "grants": [{"user": "ada", "repositories": "**", "actions": ["pull"]}]},
                "tls": {"certificate": "c.pem", "key": "/etc/k.pem"},
                "rules": [{"repositories": "dev/**", "immutable": false, "quota": {"bytes": 5}}],
                "retention": {"untagged": "3d"}, "mirrors": [{"prefix": "docker.io", "upstream": "https://a.example"}]}"#,
        );
        let settings = settings.unwrap();
        let tls = settings.tls.unwrap();
        assert!(tls.certificate.is_absolute() && tls.certificate.ends_with("c.pem"));
        assert_eq!(tls.key, Path::new("/etc/k.pem"));
        assert!(settings.access.unwrap().users.is_absolute());
        assert_eq!(settings.retention.times().untagged, Some(Duration::from_secs(3 * 24 * 3600)));
        assert_eq!(settings.retention.times().grace, Duration::from_secs(3600));
        for wrong in ["", "5", r#"{"port": 5}"#, r#"{"rules": [{"repositories": 3}]}"#] {
            assert!(matches!(written(wrong), Err(SettingsError::Parse { .. })), "{wrong}");
        }
    }

    #[test]
    fn an_upstream_is_a_host_with_a_scheme() {
        let mirror = |upstream: &str| {
            MirrorSettings { prefix: "hub/".into(), upstream: upstream.into(), freshness: None }.mirror()
        };
        assert_eq!(mirror("https://registry.example:5000/").unwrap().prefix, "hub");
        for wrong in ["registry.example", "ftp://a", "https://", "https://a/v2", "https://u@a"] {
            assert!(matches!(mirror(wrong), Err(SettingsError::Upstream { .. })), "{wrong}");
        }
    }
}
