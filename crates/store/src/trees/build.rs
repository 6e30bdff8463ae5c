//! Building one tree in a temporary folder.

use std::collections::HashSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::extract::Extractor;
use super::folders::Meta;
use super::mounts;
use super::resolve::join;
use crate::error::at;
use crate::{LayerError, LayerRef, Store, StoreError, TarReader, remove_tree};

impl Store {
    /// Extracts layers, sharing files with the best finished tree. `volumes` is given for an image's own tree,
    /// which gets its mount points; returns the folder and what was added to it.
    pub(super) fn build(
        &self,
        layers: &[LayerRef],
        volumes: Option<&[String]>,
    ) -> Result<(PathBuf, Vec<String>), StoreError> {
        if let Some((donor, record)) = self.donor(layers) {
            // The donor may be collected meanwhile, or have as many links as the file system allows.
            if let Ok(built) =
                self.fill(layers, volumes, Some((&donor, &record.extras, record.diff_ids.len())))
            {
                return Ok(built);
            }
        }
        self.fill(layers, volumes, None)
    }

    fn fill(
        &self,
        layers: &[LayerRef],
        volumes: Option<&[String]>,
        donor: Option<(&Path, &[String], usize)>,
    ) -> Result<(PathBuf, Vec<String>), StoreError> {
        let root = self.scratch()?;
        fs::create_dir(&root).map_err(at("make folder", &root))?;
        let result = self.fill_folder(&root, layers, volumes, donor);
        if result.is_err() {
            let _ = remove_tree(&root);
        }
        Ok((root, result?))
    }

    fn fill_folder(
        &self,
        root: &Path,
        layers: &[LayerRef],
        volumes: Option<&[String]>,
        donor: Option<(&Path, &[String], usize)>,
    ) -> Result<Vec<String>, StoreError> {
        let place = |source| StoreError::Layer {
            digest: layers
                .first()
                .map_or_else(|| kiln_model::Digest::from_bytes([0; 32]), |layer| layer.blob.digest),
            source,
        };
        let mut extractor = Extractor::new(root).map_err(place)?;
        extractor.folders.set(b"", Meta { mode: 0o755, ..Meta::default() });
        let mut done = 0;
        if let Some((tree, extras, count)) = donor {
            let extras: HashSet<&[u8]> = extras.iter().map(String::as_bytes).collect();
            clone(tree, root, b"", &extras, &mut extractor)?;
            done = count;
        }
        for layer in &layers[done..] {
            self.extract_layer(&mut extractor, layer)?;
        }
        let added = match volumes {
            Some(volumes) => mounts::add(root, volumes)?,
            None => Vec::new(),
        };
        extractor.finish().map_err(place)?;
        Ok(added)
    }

    fn extract_layer(&self, extractor: &mut Extractor, layer: &LayerRef) -> Result<(), StoreError> {
        let mut tar = TarReader::new(self.open_layer(layer)?);
        let result = extractor.layer(&mut tar, self.limits());
        let mut stream = tar.into_inner();
        match result {
            Ok(()) => stream.finish(self, layer),
            Err(error) => {
                let source = stream.tripped().unwrap_or(error);
                Err(self.layer_fault(layer, source))
            }
        }
    }

    /// A full disk is no fault of the layer.
    fn layer_fault(&self, layer: &LayerRef, source: LayerError) -> StoreError {
        match source {
            LayerError::Io { act, source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                at(act, &self.root().join("trees"))(source)
            }
            source => StoreError::Layer { digest: layer.blob.digest, source },
        }
    }
}

/// Makes the folders of another tree and links its files, leaving out what no layer has.
fn clone(
    from: &Path,
    to: &Path,
    path: &[u8],
    extras: &HashSet<&[u8]>,
    extractor: &mut Extractor,
) -> Result<(), StoreError> {
    let found = fs::symlink_metadata(from).map_err(at("look at", from))?;
    extractor.folders.set(path, folder_meta(from, &found));
    for entry in fs::read_dir(from).map_err(at("list", from))? {
        let entry = entry.map_err(at("list", from))?;
        let child = join(path, entry.file_name().as_bytes());
        if extras.contains(child.as_slice()) {
            continue;
        }
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().map_err(at("look at", &source))?.is_dir() {
            fs::create_dir(&target).map_err(at("make folder", &target))?;
            clone(&source, &target, &child, extras, extractor)?;
        } else {
            fs::hard_link(&source, &target).map_err(at("link", &target))?;
        }
    }
    Ok(())
}

fn folder_meta(path: &Path, found: &fs::Metadata) -> Meta {
    let mut meta = Meta {
        mode: found.mode() & 0o7777,
        uid: found.uid(),
        gid: found.gid(),
        mtime: found.mtime(),
        ..Meta::default()
    };
    let mut names = Vec::with_capacity(256);
    if rustix::fs::llistxattr(path, rustix::buffer::spare_capacity(&mut names)).is_ok() {
        for name in names.split(|b| *b == 0).filter_map(|name| std::str::from_utf8(name).ok()) {
            let mut value = Vec::with_capacity(4096);
            if !name.is_empty()
                && rustix::fs::lgetxattr(path, name, rustix::buffer::spare_capacity(&mut value)).is_ok()
            {
                meta.xattrs.insert(name.into(), value);
            }
        }
    }
    meta
}
