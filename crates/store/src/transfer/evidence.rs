//! Evidence goes with its image, out and in. A layout lists it as the store does (see `referrers`); taken in is also
//! what other tools write: manifests with a subject among the entries of `index.json`, and cosign's tags.

use std::collections::{BTreeSet, HashSet};

use kiln_model::Digest;

use super::source::Source;
use crate::oci::{Descriptor, Index, Manifest};
use crate::referrers::{DEPTH, List, REFERRERS_MAX, is_list, list_subject, list_tag};
use crate::{Store, StoreError};

/// Manifests that are larger are not looked into for a subject: that of an image of 127 layers has 40 KiB.
const MANIFEST_LIMIT: u64 = 4 << 20;

impl Store {
    /// All evidence about an image, and all evidence about that: its blobs, and the lists, which are taken as they
    /// are now.
    pub(super) fn evidence_of(&self, image: &Digest) -> Result<(BTreeSet<Digest>, Vec<List>), StoreError> {
        let lists = self.all_lists(std::iter::once(*image))?;
        let mut blobs = BTreeSet::new();
        for one in lists.iter().flat_map(|list| &list.manifests) {
            let manifest: Manifest = self.read_json(&one.digest)?;
            blobs.insert(one.digest);
            blobs.insert(manifest.config.digest);
            blobs.extend(manifest.layers.iter().map(|layer| layer.digest));
        }
        Ok((blobs, lists))
    }

    /// Takes the evidence about an image, and the evidence about that.
    pub(super) fn take_evidence(
        &self,
        source: &Source,
        entries: &[Descriptor],
        image: &Digest,
    ) -> Result<(), StoreError> {
        let mut subjects = vec![*image];
        let mut known: HashSet<Digest> = HashSet::from([*image]);
        for _ in 0..DEPTH {
            let mut next = Vec::new();
            for subject in subjects {
                let found = about(source, entries, &subject)?;
                for one in &found {
                    self.take_manifest(source, one)?;
                }
                self.add_referrers(&found, &subject)?;
                next.extend(found.iter().map(|one| one.digest).filter(|digest| known.insert(*digest)));
            }
            if next.is_empty() {
                break;
            }
            subjects = next;
        }
        Ok(())
    }

    fn take_manifest(&self, source: &Source, manifest: &Descriptor) -> Result<(), StoreError> {
        let document: Manifest = source.json(&super::import::blob_name(&manifest.digest))?;
        for blob in document.layers.iter().chain([&document.config, manifest]) {
            self.take_blob(source, blob)?;
        }
        Ok(())
    }
}

/// Whether an entry of a layout is there for evidence rather than for an image; `alone` says that there is nothing
/// else it could be confused with.
pub(super) fn is_evidence(source: &Source, entry: &Descriptor, alone: bool) -> bool {
    is_list(entry)
        || entry.artifact_type.is_some()
        || entry.tag().and_then(cosign_subject).is_some()
        || (!alone && subject_of(source, entry).is_some())
}

/// What a layout lists about a subject.
fn about(source: &Source, entries: &[Descriptor], subject: &Digest) -> Result<Vec<Descriptor>, StoreError> {
    let mut found = Vec::new();
    for entry in entries {
        if is_list(entry) {
            if entry.tag() == Some(&list_tag(subject)) {
                let list: Index = source.json(&super::import::blob_name(&entry.digest))?;
                found.extend(list.manifests);
            }
        } else if entry.tag().and_then(cosign_subject).as_ref() == Some(subject)
            || subject_of(source, entry).as_ref() == Some(subject)
        {
            found.push(entry.clone());
        }
    }
    if found.len() > REFERRERS_MAX {
        return Err(source.refuse(format!("it holds more than {REFERRERS_MAX} pieces of evidence")));
    }
    Ok(found)
}

/// The subject, when a tag is one under which cosign keeps signatures and attestations.
fn cosign_subject(tag: &str) -> Option<Digest> {
    let (tag, kind) = tag.rsplit_once('.')?;
    list_subject(tag).filter(|_| ["sig", "att", "sbom"].contains(&kind))
}

fn subject_of(source: &Source, entry: &Descriptor) -> Option<Digest> {
    if entry.is_index() || entry.size > MANIFEST_LIMIT {
        return None;
    }
    let manifest: Manifest = source.json(&super::import::blob_name(&entry.digest)).ok()?;
    Some(manifest.subject?.digest)
}
