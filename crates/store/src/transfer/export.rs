//! Images out. Equal images make equal files: no times, no owners, sorted names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use kiln_model::Digest;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::beside;
use super::import::blob_name;
use crate::error::at;
use crate::oci::{self, Descriptor, Index, REF_NAME};
use crate::referrers::List;
use crate::{Entry, EntryKind, Image, LayerRef, Store, StoreError, TarWriter, remove_tree};

/// How an image is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// A folder with `oci-layout`, `index.json` and `blobs/`.
    OciLayout,
    /// The same as a tar file.
    OciArchive,
    /// What `docker load` reads.
    DockerArchive,
}

/// What an export wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Layers and configuration.
    pub blobs: usize,
    /// Bytes of these in the store; the same in the export unless Docker's form has the layers unpacked.
    pub bytes: u64,
    /// Manifests of evidence about the image. Docker's form has none.
    pub evidence: usize,
}

const LAYOUT: &[u8] = b"{\"imageLayoutVersion\":\"1.0.0\"}";

impl Store {
    /// Writes an image to a path where nothing is yet. `name` is the tag it has there; Docker gets
    /// `NAME:latest` when the name has no tag of its own. The path appears only when all of it is written.
    pub fn export(
        &self,
        image: &Digest,
        format: Format,
        to: &Path,
        name: Option<&str>,
    ) -> Result<Exported, StoreError> {
        self.export_with(image, format, to, name, true)
    }

    /// The same, leaving behind what the store has of evidence about the image unless it is wanted.
    pub fn export_with(
        &self,
        image: &Digest,
        format: Format,
        to: &Path,
        name: Option<&str>,
        evidence: bool,
    ) -> Result<Exported, StoreError> {
        if fs::symlink_metadata(to).is_ok() {
            let reason = io::Error::new(
                io::ErrorKind::AlreadyExists,
                "something is there; remove it or name another path",
            );
            return Err(at("export to", to)(reason));
        }
        let documents = self.image(image)?;
        let carried = match format {
            Format::OciLayout | Format::OciArchive if evidence => self.evidence_of(image)?,
            _ => Default::default(),
        };
        let temporary = beside(to);
        remove_tree(&temporary)?;
        let result = match format {
            Format::OciLayout => self.export_layout(image, &documents, &carried, &temporary, name),
            Format::OciArchive => self.export_archive(image, &documents, &carried, &temporary, name),
            Format::DockerArchive => self.export_docker(&documents, &temporary, name),
        };
        if let Err(error) = result {
            let _ = remove_tree(&temporary);
            return Err(error);
        }
        fs::rename(&temporary, to).map_err(at("write", to))?;
        let blobs = documents.layers.iter().map(|layer| &layer.blob).chain([&documents.manifest.config]);
        let blobs: BTreeMap<Digest, u64> = blobs.map(|blob| (blob.digest, blob.size)).collect();
        let evidence = carried.1.iter().map(|list| list.manifests.len()).sum();
        Ok(Exported { blobs: blobs.len(), bytes: blobs.values().sum(), evidence })
    }

    fn export_layout(
        &self,
        image: &Digest,
        documents: &Image,
        evidence: &Evidence,
        to: &Path,
        name: Option<&str>,
    ) -> Result<(), StoreError> {
        let blobs = to.join("blobs/sha256");
        fs::create_dir_all(&blobs).map_err(at("make folder", &blobs))?;
        let lists = &evidence.1;
        for digest in all_blobs(image, documents, evidence) {
            let path = blobs.join(digest.hex());
            let mut file = File::create_new(&path).map_err(at("make", &path))?;
            self.copy_verified(&digest, &mut file, &path)?;
        }
        let write = |name: &str, bytes: &[u8]| {
            let path = to.join(name);
            fs::write(&path, bytes).map_err(at("write", &path))
        };
        for list in lists {
            write(&blob_name(&list.entry.digest), &list.bytes)?;
        }
        write("oci-layout", LAYOUT)?;
        write("index.json", &self.index_of(image, name, lists)?)
    }

    fn export_archive(
        &self,
        image: &Digest,
        documents: &Image,
        evidence: &Evidence,
        to: &Path,
        name: Option<&str>,
    ) -> Result<(), StoreError> {
        let file = File::create_new(to).map_err(at("make", to))?;
        let mut tar = TarWriter::new(BufWriter::with_capacity(1 << 18, file));
        let full = |source| at("write", to)(source);
        for folder in ["blobs", "blobs/sha256"] {
            tar.append(&folder_entry(folder), &mut io::empty()).map_err(full)?;
        }
        let lists = &evidence.1;
        for digest in all_blobs(image, documents, evidence) {
            let path = self.blob_path(&digest);
            let size = fs::metadata(&path).map_err(|_| StoreError::Missing { digest })?.len();
            let mut source = Verifying { inner: self.open_blob(&digest)?, hash: Sha256::new() };
            let entry = file_entry(&blob_name(&digest), size);
            tar.append(&entry, &mut source).map_err(full)?;
            self.check(&digest, source.hash)?;
        }
        let index = self.index_of(image, name, lists)?;
        let lists = lists.iter().map(|list| (blob_name(&list.entry.digest), list.bytes.as_slice()));
        let own = [("index.json".to_owned(), index.as_slice()), ("oci-layout".to_owned(), LAYOUT)];
        for (name, bytes) in lists.chain(own) {
            tar.append(&file_entry(&name, bytes.len() as u64), &mut &bytes[..]).map_err(full)?;
        }
        finish(tar, to)
    }

    fn export_docker(&self, documents: &Image, to: &Path, name: Option<&str>) -> Result<(), StoreError> {
        let file = File::create_new(to).map_err(at("make", to))?;
        let mut tar = TarWriter::new(BufWriter::with_capacity(1 << 18, file));
        let full = |source| at("write", to)(source);
        let config = documents.manifest.config.digest;
        let bytes = self.read_verified(&config)?;
        let config_name = format!("{}.json", config.hex());
        tar.append(&file_entry(&config_name, bytes.len() as u64), &mut bytes.as_slice()).map_err(full)?;
        let mut written = BTreeSet::new();
        for layer in documents.layers.iter().filter(|layer| written.insert(layer.diff_id)) {
            let (mut unpacked, size) = self.unpacked(layer)?;
            tar.append(&folder_entry(&layer.diff_id.hex()), &mut io::empty()).map_err(full)?;
            tar.append(&file_entry(&layer_name(layer), size), &mut unpacked).map_err(full)?;
        }
        let list = [DockerEntry {
            config: config_name,
            repo_tags: name.map(docker_tag).into_iter().collect(),
            layers: documents.layers.iter().map(layer_name).collect(),
        }];
        let bytes = json("the archive's manifest", &list)?;
        tar.append(&file_entry("manifest.json", bytes.len() as u64), &mut bytes.as_slice()).map_err(full)?;
        finish(tar, to)
    }

    /// A layer uncompressed in a temporary file (a tar header needs the length first), verified.
    fn unpacked(&self, layer: &LayerRef) -> Result<(File, u64), StoreError> {
        let path = self.scratch()?;
        let mut file =
            File::options().create_new(true).read(true).write(true).open(&path).map_err(at("make", &path))?;
        // No name is needed any more; the space is free as soon as the file is closed.
        fs::remove_file(&path).map_err(at("remove", &path))?;
        let mut stream = self.open_layer(layer)?;
        let size = io::copy(&mut stream, &mut file).map_err(|error| match stream.tripped() {
            Some(source) => StoreError::Layer { digest: layer.blob.digest, source },
            None => at("unpack a layer to", &path)(error),
        })?;
        stream.finish(self, layer)?;
        io::Seek::rewind(&mut file).map_err(at("read", &path))?;
        Ok((file, size))
    }

    fn copy_verified(&self, digest: &Digest, sink: &mut File, path: &Path) -> Result<(), StoreError> {
        let mut source = Verifying { inner: self.open_blob(digest)?, hash: Sha256::new() };
        let mut sink = BufWriter::with_capacity(1 << 18, sink);
        io::copy(&mut source, &mut sink).and_then(|_| sink.flush()).map_err(at("write", path))?;
        self.check(digest, source.hash)
    }

    fn check(&self, digest: &Digest, hash: Sha256) -> Result<(), StoreError> {
        let actual = Digest::from_bytes(hash.finalize().into());
        if actual == *digest {
            return Ok(());
        }
        Err(self.damaged(digest, format!("its content has the digest {actual}")))
    }

    fn index_of(&self, image: &Digest, name: Option<&str>, lists: &[List]) -> Result<Vec<u8>, StoreError> {
        let path = self.blob_path(image);
        let size = fs::metadata(&path).map_err(at("look at", &path))?.len();
        let known = self.list()?.into_iter().find(|entry| entry.digest == *image);
        let media_type = known.map_or_else(|| oci::MANIFEST.to_owned(), |entry| entry.media_type);
        let mut entry = Descriptor::new(&media_type, *image, size);
        entry.annotations =
            name.map(|name| (REF_NAME.to_owned(), name.to_owned())).into_iter().collect::<BTreeMap<_, _>>();
        let manifests = std::iter::once(entry).chain(lists.iter().map(|list| list.entry.clone())).collect();
        json("the index", &Index { manifests, ..Index::default() })
    }
}

/// Blobs of the store, and the lists that name them.
type Evidence = (BTreeSet<Digest>, Vec<List>);

/// The blobs of an export besides its index and the lists of evidence.
fn all_blobs(image: &Digest, documents: &Image, (evidence, _): &Evidence) -> BTreeSet<Digest> {
    let mut blobs = evidence.clone();
    blobs.extend(documents.layers.iter().map(|layer| layer.blob.digest));
    blobs.extend([*image, documents.manifest.config.digest]);
    blobs
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerEntry {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

struct Verifying<R> {
    inner: R,
    hash: Sha256,
}

impl<R: Read> Read for Verifying<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}

fn layer_name(layer: &LayerRef) -> String {
    format!("{}/layer.tar", layer.diff_id.hex())
}

/// Docker wants a tag, and no capitals in what is before it.
fn docker_tag(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    match name.rsplit_once(':').filter(|_| last.contains(':')) {
        Some((repository, tag)) => format!("{}:{tag}", repository.to_lowercase()),
        None => format!("{}:latest", name.to_lowercase()),
    }
}

fn file_entry(name: &str, size: u64) -> Entry {
    Entry { path: name.as_bytes().to_vec(), size, mode: 0o644, ..Entry::default() }
}

fn folder_entry(name: &str) -> Entry {
    Entry { path: name.as_bytes().to_vec(), kind: EntryKind::Folder, mode: 0o755, ..Entry::default() }
}

fn finish(tar: TarWriter<BufWriter<File>>, to: &Path) -> Result<(), StoreError> {
    let result = tar.finish().and_then(|writer| writer.into_inner().map_err(io::IntoInnerError::into_error));
    result.and_then(|file| file.sync_all()).map_err(at("write", to))
}

fn json<T: Serialize>(what: &str, value: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|source| StoreError::Document { what: what.into(), source })
}
