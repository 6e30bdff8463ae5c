//! Freeing space: what no tag, no caller and no recent work needs is removed, trees first, bytes last.
//!
//! Where a registry shares the store, blobs that no image of the store needs may be the registry's. Then its own
//! collection frees the bytes, after [`Store::release`], and [`Store::collect_trees`] frees the rest.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use kiln_model::Digest;
use serde::{Deserialize, Serialize};

use crate::error::at;
use crate::oci::{Descriptor, Manifest};
use crate::{Store, StoreError};

/// What a collection removed, or would remove.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// Images that were listed without a tag.
    pub images: Vec<Digest>,
    /// Extracted trees.
    pub trees: usize,
    /// Blobs.
    pub blobs: usize,
    /// Bytes of the blobs.
    pub bytes: u64,
}

/// What [`Store::release`] let go, and what is still needed.
#[derive(Clone, Debug)]
pub struct Released {
    /// Images that are not listed any more, or would not be.
    pub images: Vec<Digest>,
    /// The same of lists of evidence.
    pub lists: Vec<Digest>,
    needed: HashSet<Digest>,
}

impl Store {
    /// Removes images without a tag that are not among `keep` (what runs, what a rollback may need), their
    /// trees, the evidence about them, and the blobs that only they had. Blobs and trees younger than `grace` stay: a bake that is under
    /// way has not named its own yet, and a layer made lately is likely to be used again. With `dry_run`
    /// nothing is removed.
    pub fn collect(
        &self,
        keep: &HashSet<Digest>,
        grace: Duration,
        dry_run: bool,
    ) -> Result<Collected, StoreError> {
        let released = self.release(keep, grace, dry_run)?;
        let trees = self.collect_trees(&released, grace, dry_run)?;
        let mut collected = Collected { trees, ..Collected::default() };
        self.collect_blobs(&released.needed, grace, dry_run, &mut collected)?;
        collected.images = released.images;
        Ok(collected)
    }

    /// The first step of [`Store::collect`]: takes images and lists of evidence out of the index. No bytes go.
    ///
    /// # Errors
    /// When the index or the manifest of an image that stays cannot be read, or the index cannot be written.
    pub fn release(
        &self,
        keep: &HashSet<Digest>,
        grace: Duration,
        dry_run: bool,
    ) -> Result<Released, StoreError> {
        let entries = self.list()?;
        let gone = entries.iter().filter(|entry| entry.tag().is_none() && !keep.contains(&entry.digest));
        let images: Vec<Digest> = gone.map(|entry| entry.digest).collect();
        let kept = entries.iter().map(|entry| entry.digest).filter(|digest| !images.contains(digest));
        let needed = self.needed(kept.chain(keep.iter().copied()))?;
        if !dry_run {
            for image in &images {
                self.forget(image)?;
            }
        }
        let lists = self.collect_lists(&needed, grace, dry_run)?;
        Ok(Released { images, lists, needed })
    }

    /// These images with those of indexes that the store has, and the indexes.
    fn with_parts(
        &self,
        images: impl Iterator<Item = Digest>,
    ) -> Result<(Vec<Digest>, Vec<Digest>), StoreError> {
        let (mut manifests, mut indexes) = (Vec::new(), Vec::new());
        let mut left: Vec<Digest> = images.filter(|image| self.has(image)).collect();
        while let Some(image) = left.pop() {
            if manifests.contains(&image) || indexes.contains(&image) {
                continue;
            }
            match self.read_json::<Listing>(&image)?.manifests {
                Some(parts) => {
                    indexes.push(image);
                    left.extend(parts.iter().map(|part| part.digest).filter(|part| self.has(part)));
                }
                None => manifests.push(image),
            }
        }
        Ok((manifests, indexes))
    }

    /// Manifests, configurations and layers of these images, and of all evidence about them.
    fn needed(&self, images: impl Iterator<Item = Digest>) -> Result<HashSet<Digest>, StoreError> {
        let (images, indexes) = self.with_parts(images)?;
        let lists = self.all_lists(images.iter().chain(&indexes).copied())?;
        let mut needed: HashSet<Digest> = lists.iter().map(|list| list.entry.digest).chain(indexes).collect();
        let evidence = lists.iter().flat_map(|list| &list.manifests).map(|one| one.digest);
        for image in images.iter().copied().chain(evidence).filter(|image| self.has(image)) {
            needed.insert(image);
            let manifest: Manifest = self.read_json(&image)?;
            needed.insert(manifest.config.digest);
            needed.extend(manifest.layers.iter().map(|layer| layer.digest));
        }
        Ok(needed)
    }

    /// The second step: removes the extracted trees of what is not needed, and returns how many.
    ///
    /// # Errors
    /// When a tree cannot be locked or removed.
    pub fn collect_trees(
        &self,
        released: &Released,
        grace: Duration,
        dry_run: bool,
    ) -> Result<usize, StoreError> {
        let names: HashSet<String> = released.needed.iter().map(Digest::hex).collect();
        let mut trees = 0;
        for (path, name) in list(&self.root().join("trees"))? {
            let Some(tree) = name.strip_suffix(".json") else { continue };
            // Chains are shared between images and cheap to keep; they go with age alone.
            if names.contains(tree) || young(&path, grace) {
                continue;
            }
            trees += 1;
            if !dry_run {
                let _lock = self.lock(&format!("tree-{tree}"))?;
                self.discard(tree)?;
            }
        }
        Ok(trees)
    }

    fn collect_blobs(
        &self,
        needed: &HashSet<Digest>,
        grace: Duration,
        dry_run: bool,
        collected: &mut Collected,
    ) -> Result<(), StoreError> {
        let names: HashSet<String> = needed.iter().map(Digest::hex).collect();
        for (path, name) in list(&self.root().join("blobs/sha256"))? {
            if names.contains(&name) || young(&path, grace) {
                continue;
            }
            collected.blobs += 1;
            collected.bytes += fs::metadata(&path).map_or(0, |found| found.len());
            if !dry_run {
                fs::remove_file(&path).map_err(at("remove", &path))?;
            }
        }
        Ok(())
    }
}

/// What tells an index from a manifest.
#[derive(Deserialize)]
struct Listing {
    manifests: Option<Vec<Descriptor>>,
}

fn list(folder: &Path) -> Result<Vec<(std::path::PathBuf, String)>, StoreError> {
    let entries = fs::read_dir(folder).map_err(at("list", folder))?.filter_map(Result::ok);
    Ok(entries.map(|entry| (entry.path(), entry.file_name().to_string_lossy().into_owned())).collect())
}

/// Whether a file was written, or cannot be told not to have been written, within the grace.
pub(crate) fn young(path: &Path, grace: Duration) -> bool {
    let written = fs::metadata(path).and_then(|found| found.modified());
    let age = written.ok().and_then(|written| SystemTime::now().duration_since(written).ok());
    age.is_none_or(|age| age < grace)
}
