//! The registry as a part of the product: on a home's store, with its acts on the ledger, and nothing collected that
//! runs or could be gone back to.
//!
//! It runs in `kiln serve`, or on its own in `kiln registry serve`; in both it is asked over a Unix socket, for only
//! one process can have it open.

mod acts;
mod collect;
mod embedded;
mod protect;
mod settings;

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use kiln_registry::name::Repository;
use kiln_registry::server::{CollectOptions, GcReport, Registry, RegistryError, Retention};
use tokio::net::TcpListener;

pub(crate) use embedded::Embedded;
pub use embedded::EmbeddedError;
pub use protect::needed_images;
pub use settings::{MirrorSettings, RegistrySettings, RetentionSettings, SettingsError, UserSettings};

use self::acts::{Bell, Scribe};
use crate::api::{
    CollectRequest, LinkAnswer, LinkRequest, RegistryAnswer, RegistryPlace, RepositoryStatus, TagStatus,
    TagsAnswer,
};
use crate::ops::ControlError;

/// Where a registry's things are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryHome {
    /// The image store that it shares.
    pub store: PathBuf,
    /// The folder of its own database.
    pub data: PathBuf,
    /// The home whose ledger records its acts.
    pub home: PathBuf,
}

impl RegistryHome {
    /// The registry of a home, on the home's store.
    pub fn of(home: &Path) -> Self {
        Self { store: home.join("store"), data: home.join("registry"), home: home.into() }
    }

    /// A registry with everything in a folder of its own, its acts on the home's ledger.
    pub fn apart(home: &Path, data: &Path) -> Self {
        Self { store: data.join("store"), data: data.into(), home: home.into() }
    }

    /// Whether the store is the home's, where instances run from.
    fn is_shared(&self) -> bool {
        self.store == self.home.join("store")
    }

    /// Whether there has been a registry.
    pub fn exists(&self) -> bool {
        self.data.join("registry.db").exists()
    }

    /// Where a registry that runs on its own is asked.
    pub fn socket(&self) -> PathBuf {
        self.data.join("registry.sock")
    }

    /// Its settings, unless others are named.
    pub fn settings(&self) -> PathBuf {
        self.data.join("config.json")
    }
}

/// An open registry. Clones are the same one.
#[derive(Clone, Debug)]
pub struct RegistryService {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    registry: Registry,
    place: RegistryHome,
    tls: bool,
    external_url: Option<String>,
    address: OnceLock<SocketAddr>,
    scribe: Scribe,
}

impl RegistryService {
    /// Opens a registry. May block.
    ///
    /// # Errors
    /// When another process has it open, a setting makes no sense, or the disk refuses.
    pub fn open(place: &RegistryHome, settings: &RegistrySettings) -> Result<Self, OpenError> {
        std::fs::create_dir_all(&place.data)
            .map_err(|source| OpenError::Folder { path: place.data.clone(), source })?;
        let mut config = settings.config(place)?;
        let bell = Arc::new(Bell::default());
        config.acts = Some(bell.told());
        let (tls, external_url) = (config.tls.is_some(), config.external_url.clone());
        let registry = Registry::open(config)?;
        let scribe = Scribe::start(registry.clone(), &place.home.join("ledger"), bell)?;
        let inner =
            Inner { registry, place: place.clone(), tls, external_url, address: OnceLock::new(), scribe };
        Ok(Self { inner: inner.into() })
    }

    /// Serves until `shutdown` is ready; collects once a day meanwhile.
    ///
    /// # Errors
    /// When the certificate cannot be used or the socket has no address.
    pub async fn serve(
        &self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), RegistryError> {
        self.listens_on(&listener);
        let daily = tokio::spawn(collect::daily(self.clone()));
        let served = self.inner.registry.serve(listener, shutdown).await;
        daily.abort();
        served
    }

    /// Remembers where it is reached, for those who ask before it serves.
    pub fn listens_on(&self, listener: &TcpListener) {
        if let Ok(address) = listener.local_addr() {
            let _ = self.inner.address.set(address);
        }
    }

    /// Where it is reached, once it serves.
    pub fn place(&self) -> Option<RegistryPlace> {
        let address = *self.inner.address.get()?;
        let scheme = if self.inner.tls { "https" } else { "http" };
        let url = self.inner.external_url.clone().unwrap_or_else(|| format!("{scheme}://{address}"));
        Some(RegistryPlace { url, address, pid: std::process::id() })
    }

    /// The registry and its repositories. May block.
    ///
    /// # Errors
    /// When the database fails.
    pub fn about(&self) -> Result<RegistryAnswer, ControlError> {
        let found = self.inner.registry.repositories()?.into_iter();
        let repositories = found.map(|one| RepositoryStatus {
            name: one.name,
            tags: one.tags,
            manifests: one.manifests,
            bytes: one.bytes,
        });
        Ok(RegistryAnswer {
            place: self.place(),
            data: self.inner.place.data.clone(),
            repositories: repositories.collect(),
        })
    }

    /// A repository's tags. May block.
    ///
    /// # Errors
    /// When there is no such repository, or the database fails.
    pub fn tags(&self, repository: &Repository) -> Result<TagsAnswer, ControlError> {
        let found = self.inner.registry.tags(repository)?;
        let found = found.ok_or_else(|| ControlError::NoRepository(repository.clone()))?.into_iter();
        let tags = found.map(|one| TagStatus {
            tag: one.tag,
            digest: one.digest,
            media_type: one.media_type,
            set_ms: one.set_ms,
        });
        Ok(TagsAnswer { repository: repository.clone(), tags: tags.collect() })
    }

    /// Frees what nothing needs. May block for long.
    ///
    /// # Errors
    /// When it cannot be told what is needed, or the disk or the database fail.
    pub fn collect(&self, request: &CollectRequest) -> Result<GcReport, ControlError> {
        let own = *self.inner.registry.retention();
        let retention = Retention {
            grace: request.grace.map_or(own.grace, kiln_model::Span::duration),
            untagged: own.untagged.filter(|_| !request.keep_manifests),
            ..own
        };
        let options = CollectOptions {
            dry_run: request.dry_run,
            who: request.author.clone(),
            protect: protect::of(&self.inner.place),
            leaving: request.leaving.iter().copied().collect(),
            retention: Some(retention),
        };
        Ok(self.inner.registry.collect(&options)?)
    }

    /// Makes an image of the store a repository's. May block.
    ///
    /// # Errors
    /// When the store lacks something of it, or the tag's rule or a quota forbids it.
    pub fn link(&self, request: &LinkRequest) -> Result<LinkAnswer, ControlError> {
        let LinkRequest { image, repository, tag, author } = request;
        self.inner.registry.link(author, repository, tag, image)?;
        let host = |url: String| url.split_once("://").map(|(_, host)| host.trim_end_matches('/').to_owned());
        let host = self.place().and_then(|place| host(place.url));
        Ok(LinkAnswer {
            image: *image,
            repository: repository.clone(),
            tag: tag.clone(),
            reference: host.map(|host| format!("{host}/{repository}:{tag}")),
        })
    }

    /// Waits until every act so far is on the ledger, or the log says why not; some seconds at most. May block.
    pub fn flush(&self) {
        self.inner.scribe.flush();
    }
}

/// Why a registry cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its folder cannot be made.
    #[error("cannot make the registry's folder {}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// A setting makes no sense.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The ledger cannot be opened.
    #[error("the ledger that records the registry's acts cannot be opened")]
    Ledger(#[from] kiln_attest::ledger::LedgerError),
    /// The thread that writes the ledger cannot be started.
    #[error("the system does not let the registry run")]
    System(#[source] std::io::Error),
    /// The registry refused.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl OpenError {
    /// Whether another process has it open.
    pub fn in_use(&self) -> bool {
        matches!(self, Self::Registry(RegistryError::InUse { .. }))
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Registry(RegistryError::InUse { .. }) => Some(
                "stop that process, or ask it: `kiln registry list` shows where it listens; \
                 `--data DIR` makes another registry"
                    .into(),
            ),
            Self::Registry(RegistryError::Glob { .. }) => {
                Some("`*` stays within one part of a name, `**` crosses slashes".into())
            }
            Self::Registry(RegistryError::Users { .. }) => {
                Some("`htpasswd -B -c FILE USER` writes such a file".into())
            }
            Self::Settings(error) => error.hint(),
            _ => None,
        }
    }
}
