//! Images in. Everything is checked against the digest it goes by before it gets a name in the store.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use kiln_model::Digest;
use serde::Deserialize;

use super::evidence::is_evidence;
use super::source::Source;
use crate::oci::{self, Descriptor, ImageFile, Index, Manifest, REF_NAME};
use crate::{LayerRef, Store, StoreError};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerEntry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Store {
    /// Takes an image from an OCI layout folder, an OCI archive or a Docker archive (plain, gzip or zstd).
    /// `PATH:TAG` chooses where there are several; of an image for several platforms, this machine's is taken.
    /// The result has the name that the image had there as its tag; the store lists the image without one.
    pub fn import(&self, path: &Path) -> Result<Descriptor, StoreError> {
        let (path, tag) = split_tag(path);
        let found = fs::metadata(&path).map_err(crate::at("import", &path))?;
        let source = if found.is_dir() { Source::folder(&path) } else { Source::archive(self, &path)? };
        let result = if source.has("oci-layout") && source.has("index.json") {
            self.import_oci(&source, tag.as_deref())
        } else if source.has("manifest.json") {
            self.import_docker(&source, tag.as_deref())
        } else {
            Err(source.refuse(
                "it is neither an OCI layout nor a Docker archive (no index.json, no manifest.json)".into(),
            ))
        };
        source.close();
        let image = result?;
        self.keep(&image)?;
        Ok(image)
    }

    fn import_oci(&self, source: &Source, tag: Option<&str>) -> Result<Descriptor, StoreError> {
        let index: Index = source.json("index.json")?;
        let named = choose(source, &index.manifests, tag)?;
        let mut image = named.clone();
        for _ in 0..4 {
            if !image.is_index() {
                break;
            }
            let inner: Index = source.json(&blob_name(&image.digest))?;
            image = inner.for_host().ok_or_else(|| source.refuse(no_platform(&inner)))?.clone();
        }
        let bytes = source.read(&blob_name(&image.digest))?;
        let manifest: Manifest = serde_json::from_slice(&bytes)
            .map_err(|source| StoreError::Document { what: format!("manifest {}", image.digest), source })?;
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            self.take_blob(source, blob)?;
        }
        self.take_blob(source, &image)?;
        self.take_evidence(source, &index.manifests, &image.digest)?;
        image.annotations = named.annotations;
        image.platform = None;
        Ok(image)
    }

    pub(super) fn take_blob(&self, source: &Source, blob: &Descriptor) -> Result<(), StoreError> {
        if self.has_sized(blob) {
            return Ok(());
        }
        let mut file = source.open(&blob_name(&blob.digest))?;
        let staged =
            self.stage(&mut file)?.expect(&format!("blob {}", blob.digest), &blob.digest, Some(blob.size))?;
        self.commit(vec![staged])
    }

    fn import_docker(&self, source: &Source, tag: Option<&str>) -> Result<Descriptor, StoreError> {
        let entries: Vec<DockerEntry> = source.json("manifest.json")?;
        let has_tag = |entry: &&DockerEntry| {
            let tags = entry.repo_tags.iter().flatten();
            tag.is_none_or(|tag| {
                tags.clone().any(|known| known == tag || known.split(':').next() == Some(tag))
            })
        };
        let fitting: Vec<&DockerEntry> = entries.iter().filter(has_tag).collect();
        let [entry] = fitting.as_slice() else {
            let names: Vec<&str> =
                entries.iter().flat_map(|e| e.repo_tags.iter().flatten()).map(String::as_str).collect();
            return Err(source.refuse(which(&names)));
        };
        let config = source.read(&entry.config)?;
        let file: ImageFile = serde_json::from_slice(&config)
            .map_err(|source| StoreError::Document { what: entry.config.clone(), source })?;
        if file.rootfs.diff_ids.len() != entry.layers.len() {
            return Err(
                source.refuse("its configuration has another number of layers than its manifest".into())
            );
        }
        let mut layers = Vec::new();
        for (name, diff_id) in entry.layers.iter().zip(&file.rootfs.diff_ids) {
            layers.push(self.take_layer(source, name, *diff_id)?);
        }
        let (digest, size) = self.put_bytes(&config)?;
        let manifest = Manifest::new(Descriptor::new(oci::CONFIG, digest, size), layers);
        let bytes = serde_json::to_vec(&manifest)
            .map_err(|source| StoreError::Document { what: "a manifest".into(), source })?;
        let (digest, size) = self.put_bytes(&bytes)?;
        let mut image = Descriptor::new(oci::MANIFEST, digest, size);
        if let Some(name) = entry.repo_tags.iter().flatten().next() {
            image.annotations.insert(REF_NAME.into(), name.clone());
        }
        Ok(image)
    }

    /// Takes a layer as it is, compressed or not, and checks its uncompressed digest.
    fn take_layer(&self, source: &Source, name: &str, diff_id: Digest) -> Result<Descriptor, StoreError> {
        let mut start = [0; 4];
        let read = source.open(name)?.read(&mut start).map_err(crate::at("read", &source.path))?;
        let media_type = match &start[..read] {
            [0x1f, 0x8b, ..] => oci::LAYER_GZIP,
            [0x28, 0xb5, 0x2f, 0xfd] => oci::LAYER_ZSTD,
            _ => oci::LAYER,
        };
        let (digest, size) = self.put_blob(&mut source.open(name)?)?;
        let blob = Descriptor::new(media_type, digest, size);
        let layer = LayerRef { blob: blob.clone(), diff_id };
        self.open_layer(&layer)?.finish(self, &layer)?;
        Ok(blob)
    }
}

impl Index {
    /// The entry for this machine: Linux and its architecture. An entry that names no platform fits any.
    pub fn for_host(&self) -> Option<&Descriptor> {
        let architecture = oci::host_architecture();
        let fits = |entry: &&Descriptor| {
            entry.platform.as_ref().is_some_and(|p| p.os == "linux" && p.architecture == architecture)
        };
        self.manifests
            .iter()
            .find(fits)
            .or_else(|| self.manifests.iter().find(|entry| entry.platform.is_none()))
    }

    /// What it has images for. Builders list attestations as images for `unknown`.
    pub fn platforms(&self) -> Vec<String> {
        let named = self.manifests.iter().filter_map(|entry| entry.platform.as_ref());
        named.filter(|platform| platform.os != "unknown").map(ToString::to_string).collect()
    }
}

fn no_platform(index: &Index) -> String {
    let known = index.platforms().join(", ");
    format!("it has no image for linux/{}, only for {known}", oci::host_architecture())
}

fn choose(source: &Source, entries: &[Descriptor], tag: Option<&str>) -> Result<Descriptor, StoreError> {
    let mut entries: Vec<Descriptor> =
        entries.iter().filter(|entry| !is_evidence(source, entry, true)).cloned().collect();
    if entries.len() > 1 {
        entries.retain(|entry| !is_evidence(source, entry, false));
    }
    let names: Vec<String> = entries.iter().filter_map(|entry| entry.tag().map(str::to_owned)).collect();
    let mut fitting: Vec<Descriptor> =
        entries.into_iter().filter(|entry| tag.is_none_or(|tag| entry.tag() == Some(tag))).collect();
    fitting.dedup_by_key(|entry| entry.digest);
    match (fitting.pop(), fitting.is_empty()) {
        (Some(one), true) => Ok(one),
        _ => Err(source.refuse(which(&names.iter().map(String::as_str).collect::<Vec<_>>()))),
    }
}

fn which(names: &[&str]) -> String {
    if names.is_empty() {
        return "it does not hold exactly one image".into();
    }
    format!("name one of its images as PATH:TAG; it has {}", names.join(", "))
}

pub(super) fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// `PATH:TAG`, when there is no file of that whole name.
fn split_tag(path: &Path) -> (PathBuf, Option<String>) {
    if path.exists() {
        return (path.into(), None);
    }
    let Some(text) = path.to_str() else { return (path.into(), None) };
    // The tag may itself hold a colon: the shortest prefix that exists is the path.
    let colons = text.match_indices(':').map(|(at, _)| at);
    for at in colons {
        if Path::new(&text[..at]).exists() {
            return (text[..at].into(), Some(text[at + 1..].to_owned()));
        }
    }
    (path.into(), None)
}
