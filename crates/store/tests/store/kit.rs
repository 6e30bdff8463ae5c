//! Making layers and images by hand, with a tar writer that is not ours.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use kiln_model::Digest;
use kiln_store::oci::{self, Descriptor, Execution, ImageFile, Manifest, RootFs};
use kiln_store::{LayerRef, Store};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

pub(crate) fn store() -> (TempDir, Store) {
    let folder = TempDir::new().unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    (folder, store)
}

pub(crate) fn sha(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::digest(bytes).into())
}

/// A tar file in the making. Names are written as they are, however bad.
pub(crate) struct Layer(Builder<Vec<u8>>);

impl Layer {
    pub(crate) fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    pub(crate) fn header(
        mut self,
        name: &str,
        kind: EntryType,
        link: &str,
        content: &[u8],
        mode: u32,
    ) -> Self {
        let mut header = Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    pub(crate) fn file(self, name: &str, content: &str) -> Self {
        self.header(name, EntryType::Regular, "", content.as_bytes(), 0o644)
    }

    pub(crate) fn folder(self, name: &str) -> Self {
        self.header(name, EntryType::Directory, "", b"", 0o755)
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.header(name, EntryType::Symlink, target, b"", 0o777)
    }

    pub(crate) fn hardlink(self, name: &str, target: &str) -> Self {
        self.header(name, EntryType::Link, target, b"", 0o644)
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Stores a tar as a gzip layer.
pub(crate) fn put_layer(store: &Store, tar: &[u8]) -> LayerRef {
    let (digest, size) = store.put_bytes(&gzip(tar)).unwrap();
    LayerRef { blob: Descriptor::new(oci::LAYER_GZIP, digest, size), diff_id: sha(tar) }
}

/// Stores an image of these layers.
pub(crate) fn put_image(store: &Store, layers: &[LayerRef]) -> Digest {
    put_image_with(store, layers, Execution::default()).digest
}

pub(crate) fn put_image_with(store: &Store, layers: &[LayerRef], execution: Execution) -> Descriptor {
    let file = ImageFile {
        created: None,
        architecture: oci::host_architecture().into(),
        variant: None,
        os: "linux".into(),
        config: Some(execution),
        rootfs: RootFs {
            kind: "layers".into(),
            diff_ids: layers.iter().map(|layer| layer.diff_id).collect(),
        },
        history: Vec::new(),
    };
    let (digest, size) = store.put_bytes(&serde_json::to_vec(&file).unwrap()).unwrap();
    let layers = layers.iter().map(|layer| layer.blob.clone()).collect();
    let manifest = Manifest::new(Descriptor::new(oci::CONFIG, digest, size), layers);
    let (digest, size) = store.put_bytes(&serde_json::to_vec(&manifest).unwrap()).unwrap();
    Descriptor::new(oci::MANIFEST, digest, size)
}

/// An image of one layer.
pub(crate) fn image_of(store: &Store, layer: Layer) -> Digest {
    let layer = put_layer(store, &layer.bytes());
    put_image(store, &[layer])
}

pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// Whether a program is here; in CI it must be.
pub(crate) fn has_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
    if !found {
        assert!(std::env::var_os("CI").is_none(), "{name} is needed in CI: apt-get install {name}");
        eprintln!("skipped: {name} is not installed");
    }
    found
}
