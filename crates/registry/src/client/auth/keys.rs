//! Credentials as `docker login`, `podman login` and their helpers keep them.
//!
//! Files, in this order: the one that `REGISTRY_AUTH_FILE` names (then no other), `$XDG_RUNTIME_DIR/containers/auth.json`,
//! `$XDG_CONFIG_HOME/containers/auth.json` (`~/.config`), and Docker's `$DOCKER_CONFIG/config.json` (`~/.docker`). In each,
//! the helper that is configured for the registry is asked first (`credHelpers`, then `credsStore`), then `auths`, whose
//! longest fitting name wins (podman's may end in a part of a repository's name). The first file that knows the registry
//! decides. Source: containers-auth.json(5) and the documentation of `docker login`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::Deserialize;

use super::helper;
use crate::client::RegistryError;

/// A file of credentials is refused beyond this.
const FILE_LIMIT: u64 = 1 << 20;

/// The registry that `docker.io` stands for, as `docker login` calls it.
const HUB: &str = "https://index.docker.io/v1/";

/// What proves who one is.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// Nothing does.
    Anonymous,
    /// A user and his password.
    Password {
        /// The user.
        user: String,
        /// His password.
        password: String,
    },
    /// A token that is exchanged for others (OAuth 2's refresh token).
    Identity(String),
    /// A token that is shown to the registry as it is.
    Token(String),
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Password { .. } => "Password",
            Self::Identity(_) => "Identity",
            Self::Token(_) => "Token",
        })
    }
}

/// Where credentials are looked for.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    files: Vec<PathBuf>,
    /// Folders of helpers before those of `PATH`.
    path: Option<OsString>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Config {
    auths: BTreeMap<String, Entry>,
    creds_store: String,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

impl Keys {
    /// None are looked for.
    pub fn none() -> Self {
        Self::default()
    }

    /// Where this process's environment says.
    pub fn from_process() -> Self {
        Self::from_environment(|name| std::env::var_os(name).filter(|value| !value.is_empty()))
    }

    /// Where an environment says.
    pub fn from_environment(get: impl Fn(&str) -> Option<OsString>) -> Self {
        let folder = |name: &str| get(name).map(PathBuf::from);
        if let Some(file) = folder("REGISTRY_AUTH_FILE") {
            return Self { files: vec![file], path: get("PATH") };
        }
        let home = folder("HOME");
        let under_home = |name: &str| home.as_ref().map(|home| home.join(name));
        let containers = |folder: PathBuf| folder.join("containers/auth.json");
        let files = [
            folder("XDG_RUNTIME_DIR").map(containers),
            folder("XDG_CONFIG_HOME").or_else(|| under_home(".config")).map(containers),
            folder("DOCKER_CONFIG")
                .or_else(|| under_home(".docker"))
                .map(|folder| folder.join("config.json")),
        ];
        Self { files: files.into_iter().flatten().collect(), path: get("PATH") }
    }

    /// What there is for a repository of a registry.
    ///
    /// # Errors
    /// When a file or helper that is configured cannot be used: going on as nobody would hide the cause.
    pub async fn find(&self, registry: &str, repository: &str) -> Result<Login, RegistryError> {
        for file in &self.files {
            let fault = |reason: String| RegistryError::Credentials {
                host: registry.into(),
                from: file.clone(),
                reason,
            };
            let Some(config) = read(file).map_err(fault)? else { continue };
            if let Some(name) = config.helper(registry) {
                let server = if registry == "docker.io" { HUB } else { registry };
                if let Some(login) = helper::ask(name, server, registry, self.path.as_deref()).await? {
                    return Ok(login);
                }
            }
            if let Some((name, entry)) = config.entry(registry, repository) {
                let wrong = || fault(format!("the entry {name:?} of `auths` cannot be understood"));
                if let Some(login) = entry.login().ok_or_else(wrong)? {
                    return Ok(login);
                }
            }
        }
        Ok(Login::Anonymous)
    }
}

fn read(path: &Path) -> Result<Option<Config>, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_LIMIT + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) if bytes.len() as u64 > FILE_LIMIT => Err("the file is larger than 1 MiB".into()),
        Ok(_) => serde_json::from_slice(&bytes).map(Some).map_err(|error| error.to_string()),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error.to_string()),
    }
}

impl Config {
    fn helper(&self, registry: &str) -> Option<&str> {
        let own = self.cred_helpers.iter().find(|(name, _)| same_registry(name, registry));
        let name = own.map_or(self.creds_store.as_str(), |(_, helper)| helper);
        (!name.is_empty()).then_some(name)
    }

    fn entry(&self, registry: &str, repository: &str) -> Option<(&str, &Entry)> {
        let whole = format!("{registry}/{repository}");
        let part = |name: &str| {
            whole.strip_prefix(name).is_some_and(|rest| rest.starts_with('/') || rest.is_empty())
        };
        let fits = |name: &&String| same_registry(name, registry) || part(name);
        let longest =
            self.auths.keys().filter(fits).max_by_key(|name| if part(name) { name.len() } else { 0 })?;
        self.auths.get(longest).map(|entry| (longest.as_str(), entry))
    }
}

/// Whether an entry's name (perhaps an address) is this registry's.
fn same_registry(name: &str, registry: &str) -> bool {
    let bare = name.trim_start_matches("https://").trim_start_matches("http://");
    let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
    if registry == "docker.io" {
        return ["docker.io", "index.docker.io", "registry-1.docker.io"].contains(&host);
    }
    host == registry && matches!(path, "" | "v1" | "v1/" | "v2" | "v2/")
}

impl Entry {
    /// `None` when it cannot be understood, `Some(None)` when it is empty (a helper keeps the rest).
    fn login(&self) -> Option<Option<Login>> {
        if !self.identitytoken.is_empty() {
            return Some(Some(Login::Identity(self.identitytoken.clone())));
        }
        if !self.registrytoken.is_empty() {
            return Some(Some(Login::Token(self.registrytoken.clone())));
        }
        if self.auth.is_empty() {
            let known = !self.username.is_empty();
            let login = || Login::Password { user: self.username.clone(), password: self.password.clone() };
            return Some(known.then(login));
        }
        let text = self.auth.trim();
        let bytes = STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        // Docker has ended passwords with a zero byte.
        let (user, password) = text.trim_end_matches('\0').split_once(':')?;
        Some(Some(Login::Password { user: user.into(), password: password.into() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        serde_json::from_str(text).unwrap()
    }

    fn password(entry: Option<(&str, &Entry)>) -> (String, String) {
        match entry.unwrap().1.login() {
            Some(Some(Login::Password { user, password })) => (user, password),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn entries_are_found_by_registry() {
        let found = config(
            r#"{"auths":{"https://reg.example/v1/":{"auth":"dXNlcjpwYTpzcw=="},"other":{},
                "https://index.docker.io/v1/":{"username":"a","password":"b"}}}"#,
        );
        assert_eq!(password(found.entry("reg.example", "x")), ("user".into(), "pa:ss".into()));
        assert_eq!(password(found.entry("docker.io", "library/debian")), ("a".into(), "b".into()));
        assert!(found.entry("nowhere", "x").is_none());
        assert!(found.entry("eg.example", "x").is_none(), "a name that only ends alike");
        assert_eq!(found.entry("other", "x").unwrap().1.login(), Some(None));
    }

    #[test]
    fn the_longest_name_wins() {
        let found = config(
            r#"{"auths":{"reg.example":{"username":"all"},"reg.example/team":{"username":"team"},
                "reg.example/team/shop":{"username":"shop"},"reg.example/te":{"username":"wrong"}}}"#,
        );
        let user = |repository| password(found.entry("reg.example", repository)).0;
        assert_eq!(user("team/shop"), "shop");
        assert_eq!(user("team/other"), "team");
        assert_eq!(user("elsewhere"), "all");
    }

    #[test]
    fn helpers_are_chosen_by_registry() {
        let found = config(r#"{"credsStore":"all","credHelpers":{"reg.example":"one","none.example":""}}"#);
        assert_eq!(found.helper("reg.example"), Some("one"));
        assert_eq!(found.helper("docker.io"), Some("all"));
        assert_eq!(found.helper("none.example"), None);
    }

    #[test]
    fn the_environment_says_where() {
        let keys = |pairs: &[(&str, &str)]| {
            let get =
                |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
            Keys::from_environment(get).files
        };
        let home = keys(&[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/run/user/7")]);
        let expected =
            ["/run/user/7/containers/auth.json", "/h/.config/containers/auth.json", "/h/.docker/config.json"];
        assert_eq!(home, expected.map(PathBuf::from));
        let docker = keys(&[("HOME", "/h"), ("DOCKER_CONFIG", "/d")]);
        assert_eq!(docker.last().unwrap(), Path::new("/d/config.json"));
        assert_eq!(keys(&[("HOME", "/h"), ("REGISTRY_AUTH_FILE", "/f")]), [PathBuf::from("/f")]);
    }
}
