//! Images and folders made by hand.

use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use kiln_model::Digest;
use kiln_scan::secrets::{Allow, SecretFinding, scan_folder};
use kiln_store::oci::{self, Descriptor, Execution, History, ImageFile, Manifest, RootFs};
use kiln_store::{LayerRef, Store};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

pub(crate) fn store() -> (TempDir, Store) {
    let folder = TempDir::new().unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    (folder, store)
}

/// A layer of files, as gzip.
pub(crate) fn layer(store: &Store, files: &[(&str, &[u8])]) -> LayerRef {
    let mut tar = Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        tar.append_data(&mut header, path, *content).unwrap();
    }
    let tar = tar.into_inner().unwrap();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    std::io::Write::write_all(&mut encoder, &tar).unwrap();
    let (digest, size) = store.put_bytes(&encoder.finish().unwrap()).unwrap();
    let diff_id = Digest::from_bytes(Sha256::digest(&tar).into());
    LayerRef { blob: Descriptor::new(oci::LAYER_GZIP, digest, size), diff_id }
}

pub(crate) fn image(store: &Store, layers: &[LayerRef], config: Execution, history: Vec<History>) -> Digest {
    let file = ImageFile {
        created: None,
        architecture: "amd64".into(),
        variant: None,
        os: "linux".into(),
        config: Some(config),
        rootfs: RootFs { kind: "layers".into(), diff_ids: layers.iter().map(|l| l.diff_id).collect() },
        history,
    };
    let (digest, size) = store.put_bytes(&serde_json::to_vec(&file).unwrap()).unwrap();
    let config = Descriptor::new(oci::CONFIG, digest, size);
    let manifest = Manifest::new(config, layers.iter().map(|layer| layer.blob.clone()).collect());
    store.put_bytes(&serde_json::to_vec(&manifest).unwrap()).unwrap().0
}

/// The findings in one file with this path and content.
pub(crate) fn in_file(path: &str, content: &[u8]) -> Vec<SecretFinding> {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join(path);
    std::fs::create_dir_all(file.parent().unwrap_or(Path::new("/"))).unwrap();
    std::fs::write(file, content).unwrap();
    scan_folder(folder.path(), &Allow::none()).unwrap()
}
