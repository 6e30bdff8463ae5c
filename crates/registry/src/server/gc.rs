//! Online garbage collection.
//!
//! Four steps, each of which may be cut off and done again:
//!
//! 1. Uploads that nobody touched for long are given up.
//! 2. Manifests that nothing needs leave their repositories: no tag, no index, no subject, no protection.
//! 3. Blobs that no manifest of their repository names leave it.
//! 4. Files of digests that no repository has, that no image of the store needs, and that nobody was told about
//!    lately, are removed.
//!
//! Steps 2 and 3 are writes of the database, which decides alone about what it removes: a manifest that is pushed
//! meanwhile is either written before, and keeps its blobs, or after, and is told that a blob is missing. A client
//! cannot be told so about a blob that it was told is there, for that was leased before it was told. Step 4 takes
//! the lock that a push of the same digest takes, and asks the database again under it.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::acts::Deed;
use super::config::Retention;
use super::db::{self, Holder, Kept, Removed};
use super::error::{DbError, file};
use super::upload::modified;
use super::{Registry, RegistryError};
use crate::digest::{Algorithm, ContentDigest};

/// Names the images that must stay whatever the registry knows of them: what runs, environments, the rollback
/// window, pins. Asked at the beginning and once more before files go.
pub type Protect = Arc<dyn Fn() -> Result<HashSet<kiln_model::Digest>, ProtectError> + Send + Sync>;

/// Why it cannot be told what must stay. Nothing is collected then.
pub type ProtectError = Box<dyn std::error::Error + Send + Sync>;

/// Links that one write of step 3 removes: some 20 ms, so that pushes hardly wait.
const LINKS: u64 = 1_000;
/// The largest manifest that is followed.
const DOCUMENT: u64 = 32 << 20;

/// How to collect.
#[derive(Clone)]
pub struct CollectOptions {
    /// Only tell what would go.
    pub dry_run: bool,
    /// Who asked for it, for the record.
    pub who: String,
    /// What must stay.
    pub protect: Protect,
    /// Images that the store still lists but is about to forget: they keep nothing.
    pub leaving: HashSet<kiln_model::Digest>,
    /// Other times than the registry's own.
    pub retention: Option<Retention>,
}

impl Default for CollectOptions {
    fn default() -> Self {
        Self {
            dry_run: false,
            who: "kiln".into(),
            protect: Arc::new(|| Ok(HashSet::new())),
            leaving: HashSet::new(),
            retention: None,
        }
    }
}

impl std::fmt::Debug for CollectOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { dry_run, who, retention, .. } = self;
        f.debug_struct("CollectOptions")
            .field("dry_run", dry_run)
            .field("who", who)
            .field("retention", retention)
            .finish_non_exhaustive()
    }
}

/// A file that went, or would go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freed {
    /// What it was the bytes of.
    pub digest: ContentDigest,
    /// How many.
    pub bytes: u64,
}

/// How many files stay, by what keeps them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptFiles {
    /// A repository has them.
    pub linked: u64,
    /// Images of the store need them.
    pub store: u64,
    /// They belong to what is protected.
    pub protected: u64,
    /// A client was told lately that they are there.
    pub leased: u64,
    /// They are younger than the grace.
    pub young: u64,
}

/// What a collection did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcReport {
    /// Whether it only says what would go.
    pub dry_run: bool,
    /// Uploads given up, and their bytes.
    pub uploads: Vec<(String, u64)>,
    /// Manifests that left their repositories.
    pub manifests: Vec<Removed>,
    /// Blobs that left their repositories.
    pub links: Vec<Removed>,
    /// Files removed.
    pub files: Vec<Freed>,
    /// Bytes of uploads and files together.
    pub bytes: u64,
    /// Manifests without a tag that stay, and why.
    pub kept: Vec<Kept>,
    /// Why the other files stay.
    pub kept_files: KeptFiles,
}

impl GcReport {
    /// Whether anything went, or would go.
    pub fn changed(&self) -> bool {
        !(self.uploads.is_empty()
            && self.manifests.is_empty()
            && self.links.is_empty()
            && self.files.is_empty())
    }

    fn deed(&self) -> Deed {
        Deed::Collected {
            manifests: self.manifests.len(),
            files: self.files.len(),
            uploads: self.uploads.len(),
            bytes: self.bytes,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Store,
    Protected,
}

/// The times that decide, in milliseconds since the epoch.
#[derive(Clone, Copy)]
struct Cuts {
    grace: u64,
    leases: u64,
    untagged: Option<u64>,
    uploads: u64,
}

impl Cuts {
    fn new(now: u64, retention: &Retention) -> Self {
        let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let before = |time| now.saturating_sub(millis(time));
        Self {
            grace: before(retention.grace),
            leases: before(retention.grace.saturating_mul(2)),
            untagged: retention.untagged.map(before),
            uploads: before(retention.uploads),
        }
    }
}

/// What steps 2 and 3 find. As an error it undoes the write that found it.
#[derive(Default)]
struct Sweep {
    manifests: Vec<Removed>,
    kept: Vec<Kept>,
    links: Vec<Removed>,
    linked: HashSet<ContentDigest>,
}

enum Undo {
    Failed(DbError),
    Found(Sweep),
}

impl From<DbError> for Undo {
    fn from(error: DbError) -> Self {
        Self::Failed(error)
    }
}

impl Registry {
    /// Frees what nothing needs, while everything else goes on; see the module's words. May block for long. A
    /// second collection waits for the first.
    ///
    /// # Errors
    /// When a manifest that must stay cannot be read (its layers would be taken for garbage), or the disk or the
    /// database fail. What was freed until then is freed.
    pub fn collect(&self, options: &CollectOptions) -> Result<GcReport, RegistryError> {
        let inner = &self.inner;
        let _alone = inner.collecting();
        let cuts = Cuts::new(inner.now(), options.retention.as_ref().unwrap_or(&inner.config.retention));
        let folder = inner.storage.uploads().to_owned();
        let uploads = inner.uploads.expire(cuts.uploads, options.dry_run);
        let uploads = uploads.map_err(file("clean", &folder))?;
        let protect = || (options.protect)().map_err(RegistryError::Protect);
        let protected = self.closure(&protect()?, Why::Protected)?;
        let sweep = self.sweep(cuts, protected.keys().copied().collect(), options.dry_run)?;
        let mut report = GcReport {
            dry_run: options.dry_run,
            bytes: uploads.iter().map(|(_, bytes)| bytes).sum(),
            uploads,
            manifests: sweep.manifests,
            links: sweep.links,
            kept: sweep.kept,
            ..GcReport::default()
        };
        // What was baked or started meanwhile counts too.
        let mut needed = protected;
        let listed = inner.storage.store().list()?.into_iter().map(|image| image.digest);
        let listed = listed.filter(|image| !options.leaving.contains(image)).collect();
        needed.extend(self.closure(&listed, Why::Store)?);
        needed.extend(self.closure(&protect()?, Why::Protected)?);
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            self.free(algorithm, cuts, &sweep.linked, &needed, &mut report)?;
        }
        if !options.dry_run {
            let deed = inner.author(&options.who).filter(|_| report.changed()).map(|it| (it, report.deed()));
            inner.db.write_blocking::<_, DbError, _>(move |tx| {
                if let Some((author, deed)) = &deed {
                    db::note(tx, author, deed)?;
                }
                db::expire_leases(tx, cuts.leases)
            })?;
            inner.tell();
        }
        report.files.sort_by_key(|freed| freed.digest);
        inner.metrics.freed(if options.dry_run { 0 } else { report.bytes });
        Ok(report)
    }

    /// Steps 2 and 3.
    fn sweep(
        &self,
        cuts: Cuts,
        protected: HashSet<ContentDigest>,
        dry_run: bool,
    ) -> Result<Sweep, RegistryError> {
        let database = &self.inner.db;
        if dry_run {
            // Done for real and undone, so that it cannot differ from what would be done.
            let found = database.write_blocking::<(), Undo, _>(move |tx| {
                let (manifests, kept) = db::sweep_manifests(tx, cuts.untagged, cuts.leases, &protected)?;
                let links = db::sweep_links(tx, cuts.grace, cuts.leases, i64::MAX.unsigned_abs())?;
                let linked = db::linked_digests(tx)?;
                Err(Undo::Found(Sweep { manifests, kept, links, linked }))
            });
            return match found {
                Err(Undo::Found(sweep)) => Ok(sweep),
                Err(Undo::Failed(error)) => Err(error.into()),
                Ok(()) => Ok(Sweep::default()),
            };
        }
        let swept = database.write_blocking::<_, DbError, _>(move |tx| {
            db::sweep_manifests(tx, cuts.untagged, cuts.leases, &protected)
        });
        let (manifests, kept) = swept?;
        let mut links = Vec::new();
        loop {
            let some = database.write_blocking::<_, DbError, _>(move |tx| {
                db::sweep_links(tx, cuts.grace, cuts.leases, LINKS)
            })?;
            if some.is_empty() {
                break;
            }
            links.extend(some);
        }
        let linked = database.read_blocking(|db, _| db::linked_digests(db))?;
        Ok(Sweep { manifests, kept, links, linked })
    }

    /// Step 4 for the files of one algorithm.
    fn free(
        &self,
        algorithm: Algorithm,
        cuts: Cuts,
        linked: &HashSet<ContentDigest>,
        needed: &HashMap<ContentDigest, Why>,
        report: &mut GcReport,
    ) -> Result<(), RegistryError> {
        let folder = self.inner.storage.folder(algorithm);
        for entry in fs::read_dir(&folder).map_err(file("list", &folder))? {
            let entry = entry.map_err(file("list", &folder))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // What is not named like a blob is not the registry's to remove.
            let Ok(digest) = format!("{}:{name}", algorithm.name()).parse::<ContentDigest>() else {
                continue;
            };
            let kept = &mut report.kept_files;
            let counter = match needed.get(&digest) {
                _ if linked.contains(&digest) => Some(&mut kept.linked),
                Some(Why::Store) => Some(&mut kept.store),
                Some(Why::Protected) => Some(&mut kept.protected),
                None => None,
            };
            match counter {
                Some(counter) => *counter += 1,
                None => self.free_one(&entry.path(), digest, cuts, report)?,
            }
        }
        Ok(())
    }

    fn free_one(
        &self,
        path: &Path,
        digest: ContentDigest,
        cuts: Cuts,
        report: &mut GcReport,
    ) -> Result<(), RegistryError> {
        let inner = &self.inner;
        let _held = inner.storage.lock_blocking(&digest);
        let Ok(found) = fs::metadata(path) else { return Ok(()) };
        if modified(&found) >= cuts.grace {
            report.kept_files.young += 1;
            return Ok(());
        }
        // In a dry run the links that would go are still there, and `linked` knew that they would.
        let holder = inner.db.read_blocking(|db, _| db::holder(db, &digest, cuts.leases))?;
        match holder {
            Some(Holder::Linked) if !report.dry_run => {
                report.kept_files.linked += 1;
                return Ok(());
            }
            Some(Holder::Leased) => {
                report.kept_files.leased += 1;
                return Ok(());
            }
            _ => {}
        }
        if !report.dry_run && !self.remove(path, cuts)? {
            report.kept_files.young += 1;
            return Ok(());
        }
        inner.caches.small.remove(&digest);
        report.bytes += found.len();
        report.files.push(Freed { digest, bytes: found.len() });
        Ok(())
    }

    /// Removes a file unless a bake found and touched it at the last moment: under its other name it is looked at
    /// once more, and a bake that looks for it from then on does not find it.
    fn remove(&self, path: &Path, cuts: Cuts) -> Result<bool, RegistryError> {
        let aside = self.inner.storage.store().scratch()?;
        fs::rename(path, &aside).map_err(file("remove", path))?;
        let touched = fs::metadata(&aside).map_or(u64::MAX, |found| modified(&found)) >= cuts.grace;
        if touched {
            fs::rename(&aside, path).map_err(file("put back", path))?;
            return Ok(false);
        }
        fs::remove_file(&aside).map_err(file("remove", &aside))?;
        Ok(true)
    }

    /// Everything that images need, themselves included. One that is not here needs nothing.
    fn closure(
        &self,
        images: &HashSet<kiln_model::Digest>,
        why: Why,
    ) -> Result<HashMap<ContentDigest, Why>, RegistryError> {
        let mut needed = HashMap::new();
        let mut queue: Vec<ContentDigest> = images.iter().map(|image| ContentDigest::from(*image)).collect();
        while let Some(digest) = queue.pop() {
            if needed.insert(digest, why).is_some() {
                continue;
            }
            let path = self.inner.storage.path(&digest);
            let bytes =
                self.inner.storage.read(&digest, DOCUMENT).map_err(file("read the manifest", &path))?;
            let Some(bytes) = bytes else { continue };
            let (manifests, others) = named(&bytes);
            needed.extend(others.into_iter().map(|other| (other, why)));
            queue.extend(manifests);
        }
        Ok(needed)
    }
}

/// What a manifest or index names: other manifests, and everything else. Lenient, for it must miss nothing.
fn named(bytes: &[u8]) -> (Vec<ContentDigest>, Vec<ContentDigest>) {
    let document: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let digest = |one: &Value| one.get("digest")?.as_str()?.parse::<ContentDigest>().ok();
    let list = |key: &str| {
        let found = document.get(key).and_then(Value::as_array);
        found.into_iter().flatten().filter_map(digest).collect::<Vec<_>>()
    };
    let mut others = list("layers");
    others.extend(list("blobs"));
    others.extend(document.get("config").and_then(digest));
    (list("manifests"), others)
}
