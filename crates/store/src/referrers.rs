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

use std::collections::HashSet;
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
        for _ in 0..TRIES {
            let Some(list) = self.referrers_list(subject)? else { return Ok(Vec::new()) };
            match self.read_json::<Index>(&list.digest) {
                Ok(index) => return Ok(index.manifests),
                // Replaced since `index.json` was read.
                Err(StoreError::Missing { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let list = self.referrers_list(subject)?;
        Err(StoreError::Missing { digest: list.map_or(*subject, |list| list.digest) })
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

    /// The manifests that refer to these, those that refer to them, and so on; and the lists of all these.
    pub(crate) fn all_referrers(
        &self,
        subjects: impl Iterator<Item = Digest>,
    ) -> Result<(Vec<Descriptor>, Vec<Descriptor>), StoreError> {
        let (mut manifests, mut lists) = (Vec::new(), Vec::new());
        let mut next: Vec<Digest> = subjects.collect();
        let mut known: HashSet<Digest> = next.iter().copied().collect();
        for _ in 0..DEPTH {
            let mut found = Vec::new();
            for subject in std::mem::take(&mut next) {
                let Some(list) = self.referrers_list(&subject)? else { continue };
                lists.push(list);
                found.extend(self.referrers(&subject)?.into_iter().filter(|one| known.insert(one.digest)));
            }
            if found.is_empty() {
                break;
            }
            next.extend(found.iter().map(|one| one.digest));
            manifests.append(&mut found);
        }
        Ok((manifests, lists))
    }

    /// Drops the lists of subjects that are not kept, unless somebody made them just now.
    pub(crate) fn collect_lists(
        &self,
        needed: &HashSet<Digest>,
        grace: Duration,
        dry_run: bool,
    ) -> Result<(), StoreError> {
        let orphaned = |entry: &Descriptor| {
            is_list(entry)
                && entry.tag().and_then(list_subject).is_some_and(|subject| !needed.contains(&subject))
                && !young(&self.blob_path(&entry.digest), grace)
        };
        if dry_run || !self.read_index()?.manifests.iter().any(orphaned) {
            return Ok(());
        }
        let _lock = self.lock("referrers")?;
        self.change_index(|index| index.manifests.retain(|entry| !orphaned(entry)))
    }
}
