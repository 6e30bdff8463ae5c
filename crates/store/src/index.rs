//! `index.json`: which images the store holds, and their tags.
//!
//! A tag is the annotation `org.opencontainers.image.ref.name` of an entry. An image that lost its last tag
//! keeps an entry without one, so that it is still found by digest until it is collected. Lists of evidence
//! (see `referrers`) have entries too, and are no images: nothing here shows them.

use std::fs;
use std::io;

use kiln_model::Digest;

use crate::error::at;
use crate::oci::{self, Descriptor, Index, REF_NAME};
use crate::referrers::{is_list, list_subject};
use crate::{Store, StoreError};

impl Store {
    /// All entries: tagged ones by tag, then untagged ones. An image with two tags appears twice.
    pub fn list(&self) -> Result<Vec<Descriptor>, StoreError> {
        let mut entries = self.read_index()?.manifests;
        entries.retain(|entry| !is_list(entry));
        Ok(entries)
    }

    /// Points a tag at an image, away from what it pointed at.
    pub fn tag(&self, tag: &str, image: &Descriptor) -> Result<(), StoreError> {
        check_tag(tag)?;
        if !self.has(&image.digest) {
            return Err(StoreError::Missing { digest: image.digest });
        }
        if self.tagged(tag)?.is_some_and(|present| present.digest == image.digest) {
            return Ok(());
        }
        let mut entry = image.clone();
        entry.annotations.insert(REF_NAME.into(), tag.into());
        self.change_index(|index| {
            strip_tag(index, tag);
            index.manifests.push(entry);
        })
    }

    /// Lists an image without giving it a tag, so that it is found by digest.
    pub fn keep(&self, image: &Descriptor) -> Result<(), StoreError> {
        if self.list()?.iter().any(|entry| entry.digest == image.digest) {
            return Ok(());
        }
        let mut entry = image.clone();
        entry.annotations.remove(REF_NAME);
        self.change_index(|index| index.manifests.push(entry))
    }

    /// Removes a tag; the image stays. Returns whether there was such a tag.
    pub fn untag(&self, tag: &str) -> Result<bool, StoreError> {
        if self.tagged(tag)?.is_none() {
            return Ok(false);
        }
        self.change_index(|index| strip_tag(index, tag))?;
        Ok(true)
    }

    /// What a tag points at.
    pub fn tagged(&self, tag: &str) -> Result<Option<Descriptor>, StoreError> {
        Ok(self.list()?.into_iter().find(|entry| entry.tag() == Some(tag)))
    }

    /// Finds an image by tag, digest (`sha256:…` or hex) or a prefix of the hex digits of at least four.
    pub fn resolve(&self, reference: &str) -> Result<Descriptor, StoreError> {
        let entries = self.list()?;
        if let Some(entry) = entries.iter().find(|entry| entry.tag() == Some(reference)) {
            return Ok(entry.clone());
        }
        let prefix = reference.strip_prefix("sha256:").unwrap_or(reference);
        let mut found: Vec<&Descriptor> = Vec::new();
        if prefix.len() >= 4 {
            for entry in entries.iter().filter(|entry| entry.digest.hex().starts_with(prefix)) {
                if !found.iter().any(|other| other.digest == entry.digest) {
                    found.push(entry);
                }
            }
        }
        match found.as_slice() {
            [one] => Ok((*one).clone()),
            [] => Err(StoreError::NoSuchImage {
                reference: reference.into(),
                nearest: nearest(reference, &entries),
            }),
            several => Err(StoreError::Ambiguous { prefix: reference.into(), count: several.len() }),
        }
    }

    /// The image that can be looked into on this machine: the one that is named, or that of an index for this
    /// machine's platform.
    ///
    /// # Errors
    /// When the index cannot be read, or has none.
    pub fn for_host(&self, named: Descriptor) -> Result<Descriptor, StoreError> {
        if !named.is_index() {
            return Ok(named);
        }
        let index: Index = self.read_json(&named.digest)?;
        let own = index.for_host().filter(|own| !own.is_index()).cloned();
        own.ok_or_else(|| StoreError::NoPlatform {
            index: named.digest,
            wanted: format!("linux/{}", oci::host_architecture()),
            known: index.platforms().join(", "),
        })
    }

    /// Takes an image and its tags off the list. Its blobs stay until they are collected.
    pub fn forget(&self, image: &Digest) -> Result<(), StoreError> {
        self.change_index(|index| index.manifests.retain(|entry| entry.digest != *image))
    }

    /// Puts a list of referrers in place of the one of this tag, or takes that away.
    pub(crate) fn set_list(&self, tag: &str, list: Option<Descriptor>) -> Result<(), StoreError> {
        self.change_index(|index| {
            index.manifests.retain(|entry| !(is_list(entry) && entry.tag() == Some(tag)));
            index.manifests.extend(list);
        })
    }

    pub(crate) fn read_index(&self) -> Result<Index, StoreError> {
        let path = self.root().join("index.json");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Index::default()),
            Err(error) => return Err(at("read", &path)(error)),
        };
        serde_json::from_slice(&bytes).map_err(|error| StoreError::Corrupt {
            path,
            reason: error.to_string(),
            remedy: "delete the file and bake again: images keep their digests, only tags are lost",
        })
    }

    pub(crate) fn change_index(&self, change: impl FnOnce(&mut Index)) -> Result<(), StoreError> {
        let _lock = self.lock("index")?;
        let mut index = self.read_index()?;
        change(&mut index);
        normalise(&mut index);
        let mut bytes = serde_json::to_vec(&index)
            .map_err(|source| StoreError::Document { what: "index.json".into(), source })?;
        bytes.push(b'\n');
        self.replace(&self.root().join("index.json"), &bytes, true)
    }
}

fn strip_tag(index: &mut Index, tag: &str) {
    for entry in &mut index.manifests {
        if entry.tag() == Some(tag) {
            entry.annotations.remove(REF_NAME);
        }
    }
}

/// Sorts, and drops entries without a tag when the image is listed with one.
fn normalise(index: &mut Index) {
    let key = |entry: &Descriptor| (entry.tag().is_none(), entry.tag().map(str::to_owned), entry.digest);
    index.manifests.sort_by_key(key);
    let mut kept: Vec<Descriptor> = Vec::with_capacity(index.manifests.len());
    let mut known = std::collections::HashSet::new();
    for entry in index.manifests.drain(..) {
        if known.insert(entry.digest) || entry.tag().is_some() {
            kept.push(entry);
        }
    }
    index.manifests = kept;
}

fn check_tag(tag: &str) -> Result<(), StoreError> {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b"_.-/:".contains(&b);
    let good = (1..=128).contains(&tag.len())
        && tag.as_bytes()[0].is_ascii_alphanumeric()
        && tag.bytes().all(inner)
        && !tag.starts_with("sha256:")
        && list_subject(tag).is_none();
    if good { Ok(()) } else { Err(StoreError::BadTag { tag: tag.chars().take(150).collect() }) }
}

/// The tag that shares the longest beginning, when it shares at least half of what was asked for.
fn nearest(reference: &str, entries: &[Descriptor]) -> Option<String> {
    let shared = |tag: &str| tag.bytes().zip(reference.bytes()).take_while(|(a, b)| a == b).count();
    let best = entries.iter().filter_map(Descriptor::tag).max_by_key(|tag| shared(tag))?;
    (shared(best) * 2 >= reference.len() && shared(best) > 0).then(|| best.to_owned())
}
