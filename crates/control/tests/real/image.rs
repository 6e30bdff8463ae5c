//! An image with one static program, put into a home's store by hand.

use std::path::Path;
use std::process::Command;

use kiln_model::Digest;
use kiln_store::oci::{CONFIG, LAYER, MANIFEST};
use kiln_store::{Descriptor, Entry, Store, TarWriter};
use sha2::Digest as _;

/// Compiles the program and stores the image.
pub(crate) fn make(home: &Path) -> Digest {
    let program = home.join("server");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/server.c");
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let status = Command::new(compiler)
        .args(["-static", "-O2", "-pthread", "-o"])
        .args([&program, &source])
        .status()
        .unwrap();
    assert!(status.success(), "a C compiler and a static C library are needed");
    let store = Store::open(&home.join("store")).unwrap();
    let layer = tar(&std::fs::read(program).unwrap());
    let diff_id = Digest::from_bytes(sha2::Sha256::digest(&layer).into());
    let layer = blob(&store, LAYER, &layer);
    let config = serde_json::json!({
        "architecture": kiln_store::oci::host_architecture(),
        "os": "linux",
        "config": {"Entrypoint": ["/server"]},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    });
    let config = blob(&store, CONFIG, config.to_string().as_bytes());
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer],
    });
    let manifest = blob(&store, MANIFEST, manifest.to_string().as_bytes());
    store.keep(&manifest).unwrap();
    manifest.digest
}

fn blob(store: &Store, media_type: &str, bytes: &[u8]) -> Descriptor {
    let (digest, size) = store.put_bytes(bytes).unwrap();
    Descriptor::new(media_type, digest, size)
}

fn tar(program: &[u8]) -> Vec<u8> {
    let entry =
        Entry { path: b"server".to_vec(), mode: 0o755, size: program.len() as u64, ..Entry::default() };
    let mut writer = TarWriter::new(Vec::new());
    writer.append(&entry, &mut &program[..]).unwrap();
    writer.finish().unwrap()
}
