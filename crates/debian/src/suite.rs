//! The signed indices of a wish: which suites, from where, verified, as compact indices.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::cache::Cache;
use crate::download::{self, Wanted};
use crate::error::{Attempt, Error};
use crate::fetch::blocking;
use crate::index::Index;
use crate::keyring::Keyring;
use crate::lock::{Archive, LockedSuite};
use crate::release::Release;
use crate::request::{Event, Progress, Request};
use crate::transport::{Transport, Validators};

/// An InRelease file is a few hundred kilobytes; anything near this is something else.
const RELEASE_LIMIT: u64 = 32 << 20;

/// One suite, read.
pub(crate) struct Suite {
    pub(crate) locked: LockedSuite,
    /// One per component.
    pub(crate) indices: Vec<Index>,
}

/// The suites of a wish, in the order in which equal versions are preferred.
pub(crate) fn names(suite: &str, updates: bool) -> Vec<(Archive, String)> {
    let mut names = vec![(Archive::Debian, suite.to_owned())];
    // Development suites have neither.
    if updates && !matches!(suite, "sid" | "unstable" | "experimental" | "rc-buggy") {
        names.push((Archive::Debian, format!("{suite}-updates")));
        names.push((Archive::Security, format!("{suite}-security")));
    }
    names
}

/// Everything that reading a suite needs.
pub(crate) struct Reader<'a> {
    pub(crate) request: &'a Request<'a>,
    pub(crate) transport: &'a Transport,
    pub(crate) cache: &'a Cache,
    pub(crate) keyring: &'a Arc<Keyring>,
    pub(crate) architecture: &'a str,
    pub(crate) progress: &'a dyn Progress,
}

/// What `releases/` holds.
#[derive(Serialize, Deserialize)]
struct Kept {
    url: String,
    validators: Validators,
    text: String,
}

impl Reader<'_> {
    /// Reads and verifies one suite.
    pub(crate) async fn read(&self, archive: Archive, name: &str) -> Result<Suite, Error> {
        self.progress.event(Event::Index { suite: name });
        let sources = self.request.mirrors.sources(self.request.base.mirror.as_deref(), archive, name)?;
        let mut roots = sources.roots.clone();
        if !sources.configured {
            let now = Timestamp::from_second(self.request.now).unwrap_or_default();
            roots.extend(self.request.mirrors.snapshot(archive, now));
        }
        if roots.is_empty() {
            return Err(Error::NoMirror { archive, suite: name.to_owned() });
        }
        let mut attempts = Vec::new();
        for root in &roots {
            match self.read_at(root, archive, name, sources.stale, &mut attempts).await {
                Ok(Some(suite)) => return Ok(suite),
                Ok(None) => {}
                // The last mirror's error is the one to show.
                Err(error) if Some(root) == roots.last() => return Err(error),
                Err(error) => self.progress.event(Event::Retry { url: root, why: &error.to_string() }),
            }
        }
        Err(Error::release(name, self.request.base, &attempts))
    }

    async fn read_at(
        &self,
        root: &str,
        archive: Archive,
        name: &str,
        stale: bool,
        attempts: &mut Vec<Attempt>,
    ) -> Result<Option<Suite>, Error> {
        let url = format!("{root}/dists/{name}/InRelease");
        let Some((kept, fresh)) = self.in_release(&url, attempts).await? else { return Ok(None) };
        let (keyring, now) = (self.keyring.clone(), self.request.now);
        let judged = (url.clone(), kept.text.clone());
        let text = blocking(move || keyring.verify(&judged.0, judged.1.as_bytes(), now)).await??;
        let release = Release::parse(&url, &text)?;
        release.check(&url, name, if stale { None } else { Some(self.request.now) })?;
        if fresh && let Ok(bytes) = serde_json::to_vec(&kept) {
            self.cache.write("releases", &crate::lock::sha256(url.as_bytes()), &bytes)?;
        }
        let mut indices = Vec::new();
        for component in self.request.components() {
            indices.push(self.index(root, name, &release, &component).await?);
        }
        let locked = LockedSuite {
            suite: name.to_owned(),
            archive,
            date: release.date,
            in_release: crate::lock::sha256(kept.text.as_bytes()),
        };
        Ok(Some(Suite { locked, indices }))
    }

    /// The InRelease file: from the mirror when it changed (then true), else as it is kept.
    async fn in_release(
        &self,
        url: &str,
        attempts: &mut Vec<Attempt>,
    ) -> Result<Option<(Kept, bool)>, Error> {
        let name = crate::lock::sha256(url.as_bytes());
        let kept = self.cache.read("releases", &name)?;
        let kept: Option<Kept> = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if self.request.offline {
            return match kept {
                Some(kept) => Ok(Some((kept, false))),
                None => Err(Error::Offline { what: format!("the index {url}") }),
            };
        }
        let mut wait = self.transport.timeouts.back_off;
        for attempt in 1.. {
            let known = kept.as_ref().map(|kept| &kept.validators);
            let fault = match self.ask(url, known).await {
                Ok(None) => return Ok(kept.map(|kept| (kept, false))),
                Ok(Some((validators, text))) => {
                    return Ok(Some((Kept { url: url.to_owned(), validators, text }, true)));
                }
                Err(fault) => fault,
            };
            if !fault.passes() || attempt >= self.transport.timeouts.attempts {
                attempts.push(Attempt { url: url.to_owned(), fault });
                break;
            }
            self.progress.event(Event::Retry { url, why: &fault.to_string() });
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        Ok(None)
    }

    async fn ask(
        &self,
        url: &str,
        known: Option<&Validators>,
    ) -> Result<Option<(Validators, String)>, crate::transport::Fault> {
        let Some(mut answer) = self.transport.get(url, 0, known).await? else { return Ok(None) };
        let bytes = answer.read(RELEASE_LIMIT).await?;
        // What is no text fails its signature check with a better message than here.
        Ok(Some((answer.validators.clone(), String::from_utf8_lossy(&bytes).into_owned())))
    }

    /// The compact index of a component, from the cache when the signed digest is known there.
    async fn index(
        &self,
        root: &str,
        suite: &str,
        release: &Release,
        component: &str,
    ) -> Result<Index, Error> {
        let file = release.packages(suite, component, self.architecture)?;
        if file.size == 0 {
            return Ok(Index::default());
        }
        let key = format!("{}-{}", file.sha256, self.architecture);
        let (cache, name) = (self.cache.clone(), key.clone());
        let known =
            blocking(move || cache.read("indices", &name).map(|found| found.and_then(Index::from_compact)));
        if let Some(index) = known.await?? {
            return Ok(index);
        }
        if self.request.offline {
            return Err(Error::Offline { what: format!("the package list of {suite}/{component}") });
        }
        let what = format!("package list of {suite}/{component}");
        let partial = self.cache.path("partial", &format!("{}.index", file.sha256))?;
        let urls = file.urls(root, suite, release.by_hash);
        let wanted =
            Wanted { what: &what, path: &file.path, urls: &urls, size: file.size, sha256: &file.sha256 };
        let bytes = download::to_memory(self.transport, wanted, self.progress, &partial).await?;
        let (path, architecture) = (file.path.clone(), self.architecture.to_owned());
        let index = blocking(move || Index::read(&path, &bytes, &architecture)).await??;
        self.cache.write("indices", &key, index.compact())?;
        Ok(index)
    }
}
