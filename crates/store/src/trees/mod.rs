//! Extracted root file systems.
//!
//! `trees/<hex of manifest>` is an image's tree with the mount points a sandbox needs; `trees/chain-<hex>` is
//! the tree of some layers as they are. Both are read-only once they have their name. Beside each lies
//! `<name>.json`, which says which layers are in it; a tree without it is unfinished and made anew.
//!
//! Trees share files by hard links with a tree of the first layers of the same image, so that a new version of
//! the last layer costs only that layer. Files are never changed in place.
//!
//! Extraction does not wait for the disk. A tree is trusted only during the boot it was made in; after a power
//! cut it is made anew from the blobs, which are verified again.

mod build;
mod extract;
mod folders;
mod mounts;
mod resolve;

use std::fs;
use std::path::PathBuf;

use kiln_model::Digest;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::at;
use crate::oci::{ImageFile, Manifest};
use crate::{LayerRef, Store, StoreError, remove_tree};

/// What is in a finished tree.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    /// Its layers, lowest first.
    diff_ids: Vec<Digest>,
    /// Paths that no layer has: mount points.
    extras: Vec<String>,
    /// The boot it was made in.
    boot: String,
}

/// A layer smaller than this is not worth a tree of its own to share files with.
const SHARE_FROM: u64 = 1 << 20;

impl Store {
    /// Reads an image's manifest and configuration, and pairs its layers with their uncompressed digests.
    pub fn image(&self, manifest: &Digest) -> Result<Image, StoreError> {
        let document: Manifest = self.read_json(manifest)?;
        let file: ImageFile = self.read_json(&document.config.digest)?;
        if document.layers.len() != file.rootfs.diff_ids.len() {
            let reason = format!(
                "its manifest has {} layers, its configuration {}",
                document.layers.len(),
                file.rootfs.diff_ids.len()
            );
            return Err(self.damaged(manifest, reason));
        }
        let layers = document.layers.iter().cloned().zip(file.rootfs.diff_ids.iter().copied());
        let layers = layers.map(|(blob, diff_id)| LayerRef { blob, diff_id }).collect();
        Ok(Image { manifest: document, file, layers })
    }

    /// The image's root file system, extracted once. The folder must only be read.
    ///
    /// It holds every mount point that a sandbox needs: `proc`, `sys`, `dev`, `run`, `tmp`, the files
    /// `etc/hosts`, `etc/hostname` and `etc/resolv.conf`, the image's volumes and its working folder.
    pub fn tree(&self, manifest: &Digest) -> Result<PathBuf, StoreError> {
        let name = manifest.hex();
        if let Some(path) = self.finished(&name) {
            return Ok(path);
        }
        let image = self.image(manifest)?;
        let config = image.file.config.unwrap_or_default();
        let mut folders: Vec<String> = config.volumes.unwrap_or_default().into_keys().collect();
        // Docker makes a working folder that no layer has; a read-only root cannot do so later.
        folders.extend(config.working_dir);
        self.ensure_tree(&name, &image.layers, Some(&folders))
    }

    /// The tree of some layers as they are, without mount points. The folder must only be read.
    pub fn chain_tree(&self, layers: &[LayerRef]) -> Result<PathBuf, StoreError> {
        let name = chain_name(layers);
        match self.finished(&name) {
            Some(path) => Ok(path),
            None => self.ensure_tree(&name, layers, None),
        }
    }

    /// Removes an image's tree; it will be extracted again when it is needed. The caller knows that nothing
    /// runs from it.
    pub fn drop_tree(&self, manifest: &Digest) -> Result<(), StoreError> {
        let name = manifest.hex();
        let _lock = self.lock(&format!("tree-{name}"))?;
        self.discard(&name)
    }

    fn finished(&self, name: &str) -> Option<PathBuf> {
        let record = self.record(name)?;
        let path = self.root().join("trees").join(name);
        (record.boot == boot() && path.is_dir()).then_some(path)
    }

    fn record(&self, name: &str) -> Option<Record> {
        let bytes = fs::read(self.root().join("trees").join(format!("{name}.json"))).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    pub(crate) fn discard(&self, name: &str) -> Result<(), StoreError> {
        let trees = self.root().join("trees");
        remove_tree(&trees.join(format!("{name}.json")))?;
        let path = trees.join(name);
        if !path.exists() {
            return Ok(());
        }
        // Renamed first: an interrupted removal must not leave half a tree under the name.
        let grave = self.scratch()?;
        fs::rename(&path, &grave).map_err(at("move away", &path))?;
        remove_tree(&grave)
    }

    fn ensure_tree(
        &self,
        name: &str,
        layers: &[LayerRef],
        volumes: Option<&[String]>,
    ) -> Result<PathBuf, StoreError> {
        let _lock = self.lock(&format!("tree-{name}"))?;
        if let Some(path) = self.finished(name) {
            return Ok(path);
        }
        self.discard(name)?;
        self.share_base(layers)?;
        let path = self.root().join("trees").join(name);
        let (built, extras) = self.build(layers, volumes)?;
        fs::rename(&built, &path).map_err(at("finish the tree", &path))?;
        let record =
            Record { diff_ids: layers.iter().map(|layer| layer.diff_id).collect(), extras, boot: boot() };
        let bytes = serde_json::to_vec(&record)
            .map_err(|source| StoreError::Document { what: "a tree's record".into(), source })?;
        self.replace(&path.with_file_name(format!("{name}.json")), &bytes, false)?;
        Ok(path)
    }

    /// Sees to it that the layers up to the largest have a tree of their own, when others follow.
    fn share_base(&self, layers: &[LayerRef]) -> Result<(), StoreError> {
        let Some((largest, layer)) = layers.iter().enumerate().max_by_key(|(_, layer)| layer.blob.size)
        else {
            return Ok(());
        };
        if largest + 1 == layers.len() || layer.blob.size < SHARE_FROM {
            return Ok(());
        }
        if self.donor(layers).is_none_or(|(_, record)| record.diff_ids.len() <= largest) {
            self.chain_tree(&layers[..=largest])?;
        }
        Ok(())
    }

    /// The finished tree with the most of the first layers.
    fn donor(&self, layers: &[LayerRef]) -> Option<(PathBuf, Record)> {
        let names = fs::read_dir(self.root().join("trees")).ok()?.filter_map(Result::ok);
        let names =
            names.filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".json")?.to_owned()));
        let fits = |record: &Record| {
            !record.diff_ids.is_empty()
                && record.diff_ids.len() <= layers.len()
                && record.diff_ids.iter().zip(layers).all(|(have, want)| *have == want.diff_id)
        };
        let records = names.filter_map(|name| Some((self.finished(&name)?, self.record(&name)?)));
        records.filter(|(_, record)| fits(record)).max_by_key(|(_, record)| record.diff_ids.len())
    }
}

/// An image's documents, read and verified.
#[derive(Clone, Debug)]
pub struct Image {
    /// The manifest.
    pub manifest: Manifest,
    /// The configuration.
    pub file: ImageFile,
    /// The layers with their uncompressed digests, lowest first.
    pub layers: Vec<LayerRef>,
}

/// The image specification's ChainID, as a name.
fn chain_name(layers: &[LayerRef]) -> String {
    let chain = layers.iter().fold(None, |chain: Option<Digest>, layer| {
        Some(match chain {
            None => layer.diff_id,
            Some(below) => {
                let text = format!("{below} {}", layer.diff_id);
                Digest::from_bytes(Sha256::digest(text.as_bytes()).into())
            }
        })
    });
    format!("chain-{}", chain.map_or_else(|| "empty".into(), |digest| digest.hex()))
}

/// The identity of the present boot; empty where the system does not tell.
fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}
