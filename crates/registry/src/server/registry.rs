//! An open registry.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use http::HeaderValue;
use tokio::sync::watch;

use super::acts::{Act, Author};
use super::auth::Signer;
use super::cache::{Caches, Served};
use super::config::RegistryConfig;
use super::db::{self, Database, ListedTag, NewManifest, RepositorySummary, TagChange};
use super::document::{Document, MANIFEST_LIMIT};
use super::error::{ApiError, Code, DbError, RegistryError, file};
use super::hold;
use super::http as endpoints;
use super::metrics::Metrics;
use super::mirror::Mirror;
use super::storage::Storage;
use super::upload::Uploads;
use crate::digest::ContentDigest;
use crate::name::{Reference, Repository, Tag};

/// An open registry. Cloning is cheap; all clones are the same registry. One process at a time opens a registry's
/// folder.
#[derive(Clone)]
pub struct Registry {
    pub(crate) inner: Arc<Inner>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("config", &self.inner.config).finish_non_exhaustive()
    }
}

type Fetches = HashMap<(Repository, ContentDigest), watch::Receiver<endpoints::Progress>>;

pub(crate) struct Inner {
    pub(crate) config: RegistryConfig,
    pub(crate) storage: Storage,
    pub(crate) db: Database,
    pub(crate) caches: Arc<Caches>,
    pub(crate) uploads: Uploads,
    pub(crate) signer: Signer,
    pub(crate) metrics: Arc<Metrics>,
    /// Blobs on their way from an upstream.
    pub(crate) fetches: Mutex<Fetches>,
    /// One collection at a time.
    pub(crate) collecting: Mutex<()>,
    /// Given up last, when the database is closed.
    _held: std::fs::File,
}

impl Registry {
    /// Opens a registry, making its folder and database when there are none.
    ///
    /// # Errors
    /// When a folder cannot be made, another process has the registry open, or the database cannot be opened or is of a newer version.
    pub fn open(config: RegistryConfig) -> Result<Self, RegistryError> {
        std::fs::create_dir_all(&config.data).map_err(file("make folder", &config.data))?;
        let held = hold::take(&config.data)?;
        let storage = Storage::open(config.store.clone())?;
        let caches = Arc::new(Caches::new());
        let db = Database::open(&config.data.join("registry.db"), caches.clone())?;
        let signer = Signer::open(&config.data.join("token.key"))?;
        let uploads = Uploads::new(storage.clone());
        let inner = Inner {
            config,
            storage,
            db,
            caches,
            uploads,
            signer,
            metrics: Arc::default(),
            fetches: Mutex::default(),
            collecting: Mutex::default(),
            _held: held,
        };
        Ok(Self { inner: inner.into() })
    }

    /// The endpoints, to be served by somebody else: `/v2/…`, `/token`, `/metrics` and `/healthz`.
    pub fn router(&self) -> Router {
        endpoints::router(self.inner.clone())
    }

    /// How long unused things stay.
    pub fn retention(&self) -> &super::Retention {
        &self.inner.config.retention
    }

    /// Repositories with a manifest, by name. May block.
    ///
    /// # Errors
    /// When the database fails.
    pub fn repositories(&self) -> Result<Vec<RepositorySummary>, RegistryError> {
        Ok(self.inner.db.read_blocking(|db, _| db::summaries(db))?)
    }

    /// The tags of a repository, by name; `None` when there is no such repository. May block.
    ///
    /// # Errors
    /// When the database fails.
    pub fn tags(&self, repository: &Repository) -> Result<Option<Vec<ListedTag>>, RegistryError> {
        let found = self.inner.db.read_blocking(|db, _| {
            let exists = db::repository_exists(db, repository)?;
            exists.then(|| db::listed_tags(db, repository)).transpose()
        });
        Ok(found?)
    }

    /// What was done and not taken yet, oldest first, with numbers that grow. May block.
    ///
    /// # Errors
    /// When the database fails.
    pub fn acts(&self, limit: u32) -> Result<Vec<(u64, Act)>, RegistryError> {
        Ok(self.inner.db.read_blocking(|db, _| db::acts(db, limit))?)
    }

    /// Forgets the acts up to a number, which are on record elsewhere. May block.
    ///
    /// # Errors
    /// When the database fails.
    pub fn forget_acts(&self, last: u64) -> Result<(), RegistryError> {
        Ok(self.inner.db.write_blocking::<_, DbError, _>(move |tx| db::forget_acts(tx, last))?)
    }

    /// The name that this registry's database was given when it was made. The numbers of acts are its own. May block.
    ///
    /// # Errors
    /// When the database fails.
    pub fn identity(&self) -> Result<String, RegistryError> {
        Ok(self.inner.db.read_blocking(|db, _| db::identity(db))?)
    }

    /// Makes an image of the store a repository's, under a tag, without copying its bytes. `who` asked for it. May
    /// block.
    ///
    /// # Errors
    /// When something that the image names is not in the store, or the tag's rule or the quota forbids it.
    pub fn link(
        &self,
        who: &str,
        repository: &Repository,
        tag: &Tag,
        manifest: &kiln_model::Digest,
    ) -> Result<(), RegistryError> {
        let (inner, digest) = (&self.inner, ContentDigest::from(*manifest));
        let author = inner.author(who);
        let mut parts = Vec::new();
        let lacks = |digest: ContentDigest, reason: String| RegistryError::Link {
            digest,
            repository: repository.clone(),
            reason,
        };
        self.gather(digest, &mut parts, &mut HashSet::new(), &lacks)?;
        let (name, tag, rules) = (repository.clone(), tag.clone(), inner.config.rules.clone());
        let now = inner.now();
        let reference = Reference::Tag(tag.clone());
        let written = inner.db.write_blocking(move |tx| {
            let mut is_new = false;
            let quota = rules.quota(&name);
            for (digest, size, document) in &parts {
                match document {
                    None => db::link_blob(tx, &name, digest, *size, quota, now)?,
                    Some(document) => {
                        let new = NewManifest {
                            repository: &name,
                            digest: *digest,
                            document,
                            size: *size,
                            quota,
                            now,
                        };
                        // The last one is the image itself.
                        is_new = db::save_manifest(tx, &new)?;
                    }
                }
            }
            let change = TagChange { repository: &name, tag: &tag, digest, rules: Some(&rules), now };
            let saved = endpoints::Saved { new: is_new, before: db::set_tag(tx, &change)? };
            endpoints::note_saved(tx, author.as_ref(), &name, &reference, digest, saved)?;
            Ok(())
        });
        written.map_err(|error: ApiError| lacks(digest, error.message))?;
        inner.tell();
        Ok(())
    }

    /// A manifest and all it names, parts before wholes. Each is leased first and then looked for under its lock,
    /// so that a collection under way either sees the lease or has removed it already.
    fn gather(
        &self,
        digest: ContentDigest,
        parts: &mut Vec<(ContentDigest, u64, Option<Document>)>,
        seen: &mut HashSet<ContentDigest>,
        lacks: &dyn Fn(ContentDigest, String) -> RegistryError,
    ) -> Result<(), RegistryError> {
        if !seen.insert(digest) {
            return Ok(());
        }
        let bytes = self.leased(digest, |storage| storage.read(&digest, MANIFEST_LIMIT as u64))?;
        let bytes = bytes.map_err(|error| lacks(digest, error.to_string()))?;
        let bytes = bytes.ok_or_else(|| lacks(digest, "the store has no such manifest".into()))?;
        let document = Document::parse(None, &bytes).map_err(|error| lacks(digest, error.message))?;
        for child in &document.children {
            if child.is_manifest {
                self.gather(child.digest, parts, seen, lacks)?;
            } else if seen.insert(child.digest) {
                let size = self.leased(child.digest, |storage| storage.size(&child.digest))?;
                match size {
                    Some(size) if size == child.size => parts.push((child.digest, size, None)),
                    _ => return Err(lacks(digest, format!("the store has no blob {}", child.digest))),
                }
            }
        }
        parts.push((digest, bytes.len() as u64, Some(document)));
        Ok(())
    }

    fn leased<R>(&self, digest: ContentDigest, look: impl FnOnce(&Storage) -> R) -> Result<R, RegistryError> {
        let now = self.inner.now();
        self.inner.db.write_blocking::<_, DbError, _>(move |tx| db::lease(tx, &digest, now))?;
        let _held = self.inner.storage.lock_blocking(&digest);
        Ok(look(&self.inner.storage))
    }
}

impl Inner {
    pub(crate) fn now(&self) -> u64 {
        (self.config.clock)()
    }

    /// Who acts now; none when no record is kept.
    pub(crate) fn author(&self, who: &str) -> Option<Author> {
        self.config.acts.as_ref().map(|_| Author { at_ms: self.now(), who: who.into() })
    }

    /// Tells that there may be acts to be taken.
    pub(crate) fn tell(&self) {
        if let Some(told) = &self.config.acts {
            told();
        }
    }

    pub(crate) fn grace(&self) -> u64 {
        u64::try_from(self.config.retention.grace.as_millis()).unwrap_or(u64::MAX)
    }

    /// Where clients reach this registry, without a slash at the end.
    pub(crate) fn base_url(&self, host: Option<&str>) -> String {
        if let Some(url) = &self.config.external_url {
            return url.trim_end_matches('/').to_owned();
        }
        let plain = |text: &&str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b));
        let host = host.filter(plain).unwrap_or("localhost");
        let scheme = if self.config.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{host}")
    }

    pub(crate) fn mirror_of(&self, repository: &Repository) -> Option<&Mirror> {
        self.config.mirrors.iter().find(|mirror| mirror.upstream_name(repository).is_some())
    }

    pub(crate) fn not_a_mirror(&self, repository: &Repository) -> Result<(), ApiError> {
        if self.mirror_of(repository).is_none() {
            return Ok(());
        }
        let message = format!("{repository} is a cache of another registry; push there");
        Err(ApiError::undeletable(message))
    }

    /// Promises that what a digest names stays for the grace when it is there: written down before anybody is told
    /// so. A promise younger than the grace is not renewed; collections keep it for twice as long.
    pub(crate) async fn lease(&self, digest: &ContentDigest) -> Result<(), ApiError> {
        let now = self.now();
        let fresh = |since: u64| now < since.saturating_add(self.grace().max(1));
        if self.caches.leases.get(digest).is_some_and(fresh) {
            return Ok(());
        }
        let digest = *digest;
        self.db.write::<_, DbError, _>(move |tx| db::lease(tx, &digest, now)).await?;
        self.caches.leases.insert(digest, now);
        Ok(())
    }

    /// The size of a blob that a repository links.
    pub(crate) async fn blob_size(
        &self,
        repository: &Repository,
        digest: &ContentDigest,
    ) -> Result<Option<u64>, ApiError> {
        let key = (repository.clone(), *digest);
        if let Some(size) = self.caches.links.get(&key) {
            return Ok(Some(size));
        }
        let found = self.db.read(move |db, caches| {
            let size = db::blob_size(db, &key.0, &key.1)?;
            if let Some(size) = size {
                caches.links.insert(key, size);
            }
            Ok(size)
        });
        Ok(found.await?)
    }

    /// A manifest, from an upstream where the repository is a cache of one.
    pub(crate) async fn manifest(
        self: &Arc<Self>,
        repository: &Repository,
        reference: &Reference,
    ) -> Result<Arc<Served>, ApiError> {
        if let Some(mirror) = self.mirror_of(repository) {
            return endpoints::mirrored_manifest(self, mirror, repository, reference).await;
        }
        let found = self.local_manifest(repository, reference).await?;
        found.ok_or_else(|| {
            ApiError::missing(Code::ManifestUnknown, format!("{repository} has no manifest {reference}"))
        })
    }

    /// A manifest that is here.
    pub(crate) async fn local_manifest(
        &self,
        repository: &Repository,
        reference: &Reference,
    ) -> Result<Option<Arc<Served>>, ApiError> {
        let key = (repository.clone(), reference.clone());
        if let Some(known) = self.caches.manifests.get(&key) {
            return Ok(Some(known));
        }
        let storage = self.storage.clone();
        let found = self.db.read(move |db, caches| {
            let (digest, checked) = match &key.1 {
                Reference::Digest(digest) => (*digest, 0),
                Reference::Tag(tag) => match db::resolve_tag(db, &key.0, tag)? {
                    Some(found) => found,
                    None => return Ok(None),
                },
            };
            let Some((media_type, size)) = db::manifest(db, &key.0, &digest)? else { return Ok(None) };
            let bytes = match storage.read(&digest, size) {
                Ok(Some(bytes)) => bytes,
                failed => {
                    tracing::error!(?failed, repository = %key.0, %digest, "a manifest's file cannot be served");
                    return Ok(None);
                }
            };
            let text = |text: &str| HeaderValue::from_str(text).ok();
            let (Some(media_type), Some(digest_text)) = (text(&media_type), text(&digest.to_string())) else {
                return Ok(None);
            };
            let served = Arc::new(Served { media_type, digest_text, bytes: bytes.into(), checked });
            caches.manifests.insert(key, served.clone());
            Ok(Some(served))
        });
        Ok(found.await?)
    }

    pub(crate) fn collecting(&self) -> std::sync::MutexGuard<'_, ()> {
        self.collecting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
