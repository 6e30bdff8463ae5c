//! Where the registry is, what it is told on the command line, and the way to one that runs.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use kiln_control::api::{CollectAnswer, CollectRequest, LinkAnswer, LinkRequest};
use kiln_control::api::{ErrorKind, RegistryAnswer, TagsAnswer};
use kiln_control::client::{Client, ClientError};
use kiln_control::registry::{MirrorSettings, OpenError, SettingsError, UserSettings};
use kiln_control::{ControlError, RegistryHome, RegistryService, RegistrySettings};
use kiln_model::Bytes;
use kiln_registry::name::Repository;
use kiln_registry::server::{Action, Grant, Quota, RepositoryRule, TlsFiles};

use crate::context::wait;
use crate::control::failure;
use crate::error::{Failure, Kind, Result};
use crate::home::Home;

/// A control plane opens its registry before it answers: in between it finds its instances again.
const STARTING: Duration = Duration::from_secs(10);

/// Which registry.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct PlaceArgs {
    /// Folder of a registry that stands apart from the home's images; the home's own registry unless given
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Settings as JSON; config.json in the registry's folder unless given
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

impl PlaceArgs {
    /// Its folders.
    pub(crate) fn home(&self) -> Result<RegistryHome> {
        let home = Home::find()?;
        Ok(match &self.data {
            Some(data) => RegistryHome::apart(home.path(), &std::path::absolute(data)?),
            None => RegistryHome::of(home.path()),
        })
    }

    /// Its settings.
    pub(crate) fn settings(&self, place: &RegistryHome) -> Result<RegistrySettings> {
        let read = match &self.config {
            Some(file) => RegistrySettings::read(file),
            None => RegistrySettings::of(place),
        };
        read.map_err(|error| misset(&error))
    }
}

/// What a registry is told beside, or in place of, its settings.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct SettingArgs {
    /// Certificate in PEM, followed by those of its issuers; with --tls-key, HTTPS is served
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Who may log in: lines as `htpasswd -B` writes them. Without --grant they may do everything, others nothing
    #[arg(long, value_name = "FILE")]
    users: Option<PathBuf>,
    /// What a user (`*` for everybody who logged in) may do: `ada:team/**:pull,push,delete`
    #[arg(long, value_name = "USER:REPOSITORIES:ACTIONS", value_parser = grant)]
    grant: Vec<Grant>,
    /// Let everybody pull, also those who do not log in
    #[arg(long)]
    anonymous_pull: bool,
    /// Let tags move in some repositories: `dev/**:*`, `**:latest`. All others stay where they are. The first glob that
    /// matches a repository counts, of --mutable and --quota together
    #[arg(long, value_name = "REPOSITORIES:TAGS", value_parser = mutable)]
    mutable: Vec<(String, String)>,
    /// What a repository may hold: `team/**:20GiB`
    #[arg(long, value_name = "REPOSITORIES:SIZE", value_parser = quota)]
    quota: Vec<(String, u64)>,
    /// Cache another registry: `docker.io=https://registry-1.docker.io` serves its library/debian as
    /// docker.io/library/debian
    #[arg(long, value_name = "PREFIX=URL", value_parser = mirror)]
    mirror: Vec<MirrorSettings>,
}

impl SettingArgs {
    /// Puts them on top of the settings.
    pub(crate) fn onto(&self, settings: &mut RegistrySettings) -> Result<()> {
        if let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) {
            settings.tls = Some(TlsFiles { certificate: certificate.clone(), key: key.clone() });
        }
        if let Some(users) = &self.users {
            let (grants, token_life) = (Vec::new(), None);
            settings.access = Some(UserSettings { users: users.clone(), grants, token_life });
        }
        let mut grants = self.grant.clone();
        if self.anonymous_pull {
            let (user, repositories) = ("anonymous".into(), "**".into());
            grants.push(Grant { user, repositories, actions: vec![Action::Pull] });
        }
        match &mut settings.access {
            Some(access) => access.grants.extend(grants),
            None if grants.is_empty() => {}
            None => {
                return Err(Failure::new(
                    Kind::Failed,
                    "grants mean nothing where everybody may do everything",
                )
                .hint("name who may log in: `--users FILE`, made by `htpasswd -B -c FILE USER`"));
            }
        }
        // What is said now comes before what the file says.
        let file = std::mem::take(&mut settings.rules);
        settings.rules = self.rules().into_iter().chain(file).collect();
        settings.mirrors.splice(0..0, self.mirror.clone());
        Ok(())
    }

    /// One rule for each glob, in the order in which they were first named.
    fn rules(&self) -> Vec<RepositoryRule> {
        let mut rules: Vec<RepositoryRule> = Vec::new();
        let globs = self.mutable.iter().map(|(glob, _)| glob).chain(self.quota.iter().map(|(glob, _)| glob));
        for glob in globs {
            if rules.iter().any(|rule| rule.repositories == *glob) {
                continue;
            }
            let tags = self.mutable.iter().filter(|(own, _)| own == glob).map(|(_, tags)| tags.clone());
            let bytes = self.quota.iter().find(|(own, _)| own == glob).map(|(_, bytes)| *bytes);
            rules.push(RepositoryRule {
                repositories: glob.clone(),
                immutable: true,
                mutable_tags: tags.collect(),
                quota: Quota { bytes, tags: None },
            });
        }
        rules
    }
}

fn grant(text: &str) -> std::result::Result<Grant, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let [user, repositories, actions] = parts[..] else {
        return Err("write USER:REPOSITORIES:ACTIONS, such as `ada:team/**:pull,push`".into());
    };
    let action = |name: &str| {
        let known = Action::ALL.into_iter().find(|action| action.name() == name);
        known.ok_or_else(|| format!("{name:?} is no action; there are pull, push and delete"))
    };
    let actions = actions.split(',').map(action).collect::<std::result::Result<_, _>>()?;
    Ok(Grant { user: user.into(), repositories: repositories.into(), actions })
}

fn mutable(text: &str) -> std::result::Result<(String, String), String> {
    let split = text.split_once(':').filter(|(glob, tags)| !glob.is_empty() && !tags.is_empty());
    let (glob, tags) = split.ok_or("write REPOSITORIES:TAGS, such as `**:latest`")?;
    Ok((glob.into(), tags.into()))
}

fn quota(text: &str) -> std::result::Result<(String, u64), String> {
    let (glob, size) = text.split_once(':').ok_or("write REPOSITORIES:SIZE, such as `team/**:20GiB`")?;
    let size: Bytes = size.parse().map_err(|error: kiln_model::QuantityError| error.to_string())?;
    Ok((glob.into(), size.get()))
}

fn mirror(text: &str) -> std::result::Result<MirrorSettings, String> {
    let (prefix, upstream) =
        text.split_once('=').ok_or("write PREFIX=URL, such as `hub=https://a.example`")?;
    Ok(MirrorSettings { prefix: prefix.into(), upstream: upstream.into(), freshness: None })
}

fn misset(error: &SettingsError) -> Failure {
    with_hint(Failure::from_error(Kind::Failed, error), error.hint())
}

fn with_hint(failure: Failure, hint: Option<String>) -> Failure {
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// A registry that does not open, with what to do about it.
pub(crate) fn unopened(error: &OpenError) -> Failure {
    let kind = if error.in_use() { Kind::Refused } else { Kind::Failed };
    with_hint(Failure::from_error(kind, error), error.hint())
}

/// The way to a registry: asked where it runs, else opened here.
pub(crate) enum Way {
    /// It runs, in the control plane or on its own.
    Asked(Client),
    /// Nobody had it open.
    Own(RegistryService),
}

impl Way {
    /// Finds it.
    pub(crate) fn find(place: &RegistryHome, args: &PlaceArgs) -> Result<Self> {
        let embedded = (args.data.is_none()).then(|| place.home.join("run/serve.sock"));
        let sockets: Vec<PathBuf> = embedded.into_iter().chain([place.socket()]).collect();
        let settings = args.settings(place)?;
        let begun = Instant::now();
        loop {
            if let Some(client) = asked(&sockets)? {
                return Ok(Self::Asked(client));
            }
            match RegistryService::open(place, &settings) {
                // Whoever has it is just starting, or ending.
                Err(error) if error.in_use() && begun.elapsed() < STARTING => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                opened => return opened.map(Self::Own).map_err(|error| unopened(&error)),
            }
        }
    }

    /// The same where there must be a registry already.
    pub(crate) fn existing(args: &PlaceArgs) -> Result<Self> {
        let place = args.home()?;
        if !place.exists() {
            return Err(Failure::new(
                Kind::NotFound,
                format!("there is no registry in {}", place.data.display()),
            )
            .hint("`kiln registry serve` makes one; `kiln registry link` puts an image into it"));
        }
        Self::find(&place, args)
    }

    pub(crate) fn about(&self) -> Result<RegistryAnswer> {
        match self {
            Self::Asked(client) => wait(async { client.registry().await.map_err(failure) }),
            Self::Own(registry) => registry.about().map_err(|error| refused(&error)),
        }
    }

    pub(crate) fn tags(&self, repository: &Repository) -> Result<TagsAnswer> {
        match self {
            Self::Asked(client) => wait(async { client.registry_tags(repository).await.map_err(failure) }),
            Self::Own(registry) => registry.tags(repository).map_err(|error| refused(&error)),
        }
    }

    pub(crate) fn collect(&self, request: &CollectRequest) -> Result<CollectAnswer> {
        match self {
            Self::Asked(client) => wait(async { client.collect_registry(request).await.map_err(failure) }),
            Self::Own(registry) => {
                let answer = registry.collect(request).map_err(|error| refused(&error));
                registry.flush();
                answer
            }
        }
    }

    pub(crate) fn link(&self, request: &LinkRequest) -> Result<LinkAnswer> {
        match self {
            Self::Asked(client) => wait(async { client.link(request).await.map_err(failure) }),
            Self::Own(registry) => {
                let answer = registry.link(request).map_err(|error| refused(&error));
                registry.flush();
                answer
            }
        }
    }
}

/// The first registry that answers.
fn asked(sockets: &[PathBuf]) -> Result<Option<Client>> {
    for socket in sockets {
        let client = Client::new(socket);
        match wait(async { Ok(client.registry().await) })? {
            Ok(_) => return Ok(Some(client)),
            Err(ClientError::NotRunning { .. }) => {}
            Err(ClientError::Refused(body)) if body.kind == ErrorKind::NotFound => {}
            Err(error) => return Err(failure(error)),
        }
    }
    Ok(None)
}

/// The same words as over the socket.
fn refused(error: &ControlError) -> Failure {
    failure(ClientError::Refused(Box::new(error.body())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_on_the_command_line_is_read_or_taught() {
        let read = grant("ada:team/**:pull,push").unwrap();
        assert_eq!((read.user.as_str(), read.repositories.as_str()), ("ada", "team/**"));
        assert_eq!(read.actions, [Action::Pull, Action::Push]);
        assert!(grant("ada:x").unwrap_err().contains("USER:REPOSITORIES:ACTIONS"));
        assert!(grant("ada:x:eat").unwrap_err().contains("pull, push and delete"));
        assert_eq!(mutable("**:cache-*").unwrap(), ("**".into(), "cache-*".into()));
        assert!(mutable("latest").is_err() && mutable("a:").is_err());
        assert_eq!(quota("a/*:2GiB").unwrap(), ("a/*".into(), 2 << 30));
        assert!(quota("a").is_err() && quota("a:many").is_err());
        assert_eq!(mirror("hub=https://a.example").unwrap().upstream, "https://a.example");
        assert!(mirror("hub").is_err());
    }

    #[test]
    fn flags_of_one_glob_are_one_rule_before_the_files() {
        let args = SettingArgs {
            mutable: vec![("a".into(), "x".into()), ("b".into(), "y".into()), ("a".into(), "z".into())],
            quota: vec![("b".into(), 7), ("c".into(), 8)],
            ..SettingArgs::default()
        };
        let mut settings = RegistrySettings { rules: args.rules(), ..RegistrySettings::default() };
        settings.rules.truncate(1);
        settings.rules[0].repositories = "file".into();
        args.onto(&mut settings).unwrap();
        let told: Vec<_> = settings
            .rules
            .iter()
            .map(|rule| (rule.repositories.as_str(), rule.mutable_tags.join(" "), rule.quota.bytes))
            .collect();
        let expected = [("a", "x z", None), ("b", "y", Some(7)), ("c", "", Some(8)), ("file", "x z", None)];
        assert_eq!(told, expected.map(|(glob, tags, bytes)| (glob, tags.to_owned(), bytes)));
        assert!(SettingArgs { anonymous_pull: true, ..args }.onto(&mut settings).is_err());
    }
}
