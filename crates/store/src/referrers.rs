//! Evidence about images: manifests that refer to another manifest.
//!
//! The manifests that refer to one subject are listed in an OCI image index, and `index.json` lists that index
//! under the tag `sha256-<hex of the subject>`: the referrers tag schema of distribution-spec 1.1. So the store stays
//! a layout that other tools understand, `index.json` grows by one entry per image however much evidence there is,
//! and adding evidence costs in proportion to what there is about that one image.
//!
//! A manifest is normally about its `subject`. Signatures made before OCI 1.1 (cosign's `sha256-<hex>.sig`) name
//! none; they are listed like the others, for whom they are about is then the lister's word. It is the signed
//! content that counts, and reading that is not this crate's work.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::time::Duration;

use kiln_model::Digest;

use crate::collect::young;
use crate::oci::{self, Descriptor, Index, Manifest, REF_NAME};
use crate::{Store, StoreError};

/// About one image there is no more evidence than this: listing it must stay cheap.
pub const REFERRERS_MAX: usize = 10_000;

/// Evidence about evidence (a signature over an SBOM) is followed so far.
pub(crate) const DEPTH: usize = 4;

/// How often a list that vanishes while it is read (it was just replaced) is looked up anew.
const TRIES: usize = 100;

/// The tag of the list of what refers to a manifest.
pub(crate) fn list_tag(subject: &Digest) -> String {
    format!("sha256-{}", subject.hex())
}

/// The subject, when a tag is that of a list of referrers.
pub(crate) fn list_subject(tag: &str) -> Option<Digest> {
    format!("sha256:{}", tag.strip_prefix("sha256-")?).parse().ok()
}

/// Whether an entry of `index.json` is a list of referrers.
pub(crate) fn is_list(entry: &Descriptor) -> bool {
    entry.is_index() && entry.tag().and_then(list_subject).is_some()
}

/// What refers to one subject.
#[derive(Debug)]
pub(crate) struct List {
    /// Its entry in `index.json`.
    pub(crate) entry: Descriptor,
    /// The list itself, an OCI index.
    pub(crate) bytes: Vec<u8>,
    /// What it lists.
    pub(crate) manifests: Vec<Descriptor>,
}

impl Store {
    /// Lists a manifest of the store as referring to a subject; whether the subject is there does not matter.
    /// The entry's artifact type and annotations are taken from the manifest. Listing it again changes nothing.
    pub fn add_referrer(&self, manifest: &Descriptor, subject: &Digest) -> Result<(), StoreError> {
        self.add_referrers(std::slice::from_ref(manifest), subject)
    }

    /// Lists several manifests at once.
    pub fn add_referrers(&self, manifests: &[Descriptor], subject: &Digest) -> Result<(), StoreError> {
        let fresh = manifests.iter().map(|one| self.referrer(one, subject)).collect::<Result<Vec<_>, _>>()?;
        let _lock = self.lock("referrers")?;
        let mut listed = self.referrers(subject)?;
        let before = listed.len();
        for one in fresh {
            if !listed.iter().any(|known| known.digest == one.digest) {
                listed.push(one);
            }
        }
        if listed.len() == before {
            return Ok(());
        }
        if listed.len() > REFERRERS_MAX {
            return Err(StoreError::TooManyReferrers { subject: *subject, limit: REFERRERS_MAX });
        }
        self.write_referrers(subject, listed)
    }

    /// Takes manifests off the list of what refers to a subject. Their blobs stay until they are collected.
    pub fn remove_referrers(&self, gone: &HashSet<Digest>, subject: &Digest) -> Result<(), StoreError> {
        let _lock = self.lock("referrers")?;
        let listed = self.referrers(subject)?;
        let left: Vec<Descriptor> =
            listed.iter().filter(|one| !gone.contains(&one.digest)).cloned().collect();
        if left.len() == listed.len() { Ok(()) } else { self.write_referrers(subject, left) }
    }

    /// What refers to a subject, in the order of digests; empty when nothing does.
    pub fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, StoreError> {
        let Some(entry) = self.referrers_list(subject)? else { return Ok(Vec::new()) };
        Ok(self.read_list(subject, entry)?.map_or_else(Vec::new, |list| list.manifests))
    }

    /// Reads the list of a subject, which may be replaced meanwhile.
    fn read_list(&self, subject: &Digest, mut entry: Descriptor) -> Result<Option<List>, StoreError> {
        for _ in 0..TRIES {
            match self.read_verified(&entry.digest) {
                Ok(bytes) => {
                    let index: Index =
                        serde_json::from_slice(&bytes).map_err(|source| StoreError::Document {
                            what: format!("the list of evidence {}", entry.digest),
                            source,
                        })?;
                    return Ok(Some(List { entry, bytes, manifests: index.manifests }));
                }
                Err(StoreError::Missing { .. }) => match self.referrers_list(subject)? {
                    Some(now) => entry = now,
                    None => return Ok(None),
                },
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::Missing { digest: entry.digest })
    }

    /// The entry of `index.json` for the list of what refers to a subject.
    pub(crate) fn referrers_list(&self, subject: &Digest) -> Result<Option<Descriptor>, StoreError> {
        let tag = list_tag(subject);
        let index = self.read_index()?;
        Ok(index.manifests.into_iter().find(|entry| is_list(entry) && entry.tag() == Some(&tag)))
    }

    fn referrer(&self, manifest: &Descriptor, subject: &Digest) -> Result<Descriptor, StoreError> {
        let document: Manifest = self.read_json(&manifest.digest)?;
        if let Some(named) = document.subject.as_ref().filter(|named| named.digest != *subject) {
            return Err(StoreError::Mismatch {
                what: format!("the subject of {}", manifest.digest),
                expected: subject.to_string(),
                actual: named.digest.to_string(),
            });
        }
        let media_type = document.media_type.clone().unwrap_or_else(|| oci::MANIFEST.into());
        let mut entry = Descriptor::new(&media_type, manifest.digest, manifest.size);
        entry.artifact_type = Some(document.kind().to_owned());
        entry.annotations = document.annotations;
        Ok(entry)
    }

    /// Under the lock `referrers`: replaces the list, or removes it when it is to be empty.
    fn write_referrers(&self, subject: &Digest, mut manifests: Vec<Descriptor>) -> Result<(), StoreError> {
        let former = self.referrers_list(subject)?;
        manifests.sort_by_key(|entry| entry.digest);
        let mut entry = None;
        if !manifests.is_empty() {
            let bytes = serde_json::to_vec(&Index { manifests, ..Index::default() })
                .map_err(|source| StoreError::Document { what: "a list of referrers".into(), source })?;
            let (digest, size) = self.put_bytes(&bytes)?;
            let mut list = Descriptor::new(oci::INDEX, digest, size);
            list.annotations.insert(REF_NAME.into(), list_tag(subject));
            entry = Some(list);
        }
        let kept = entry.as_ref().map(|list| list.digest);
        self.set_list(&list_tag(subject), entry)?;
        if let Some(former) = former.filter(|former| Some(former.digest) != kept) {
            // Nobody else names it, and a thousand of them would weigh more than all the evidence.
            let _ = fs::remove_file(self.blob_path(&former.digest));
        }
        Ok(())
    }

    /// The lists of what refers to these manifests, of what refers to that, and so on.
    pub(crate) fn all_lists(&self, subjects: impl Iterator<Item = Digest>) -> Result<Vec<List>, StoreError> {
        let listed = self.read_index()?.manifests.into_iter().filter(is_list);
        let entries: HashMap<Digest, Descriptor> =
            listed.filter_map(|entry| Some((entry.tag().and_then(list_subject)?, entry))).collect();
        let mut lists: Vec<List> = Vec::new();
        let mut next: Vec<Digest> = subjects.collect();
        let mut known: HashSet<Digest> = next.iter().copied().collect();
        for _ in 0..DEPTH {
            for subject in std::mem::take(&mut next) {
                let Some(entry) = entries.get(&subject) else { continue };
                let Some(list) = self.read_list(&subject, entry.clone())? else { continue };
                next.extend(list.manifests.iter().map(|one| one.digest).filter(|one| known.insert(*one)));
                lists.push(list);
            }
        }
        Ok(lists)
    }

    /// Drops the lists of subjects that are not kept, unless somebody made them just now. Returns them.
    pub(crate) fn collect_lists(
        &self,
        needed: &HashSet<Digest>,
        grace: Duration,
        dry_run: bool,
    ) -> Result<Vec<Digest>, StoreError> {
        let orphaned = |entry: &Descriptor| {
            is_list(entry)
                && entry.tag().and_then(list_subject).is_some_and(|subject| !needed.contains(&subject))
                && !young(&self.blob_path(&entry.digest), grace)
        };
        let found = || -> Result<Vec<Digest>, StoreError> {
            let index = self.read_index()?;
            Ok(index.manifests.iter().filter(|entry| orphaned(entry)).map(|entry| entry.digest).collect())
        };
        let gone = found()?;
        if dry_run || gone.is_empty() {
            return Ok(gone);
        }
        let _lock = self.lock("referrers")?;
        let gone = found()?;
        self.change_index(|index| index.manifests.retain(|entry| !gone.contains(&entry.digest)))?;
        Ok(gone)
    }
}
