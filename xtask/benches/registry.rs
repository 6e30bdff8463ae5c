//! What the registry's rows need that no other program does.
//!
//! `registry fill-kiln HOME IMAGES LOOSE` and `registry fill-docker FOLDER IMAGES LOOSE` put as many images of five
//! blobs under a tag each, and as many blobs that nothing names, on the disk: the first through Kiln's library, the
//! second in the layout of docker-registry's file system driver. Both hold the same bytes.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use kiln_registry::digest::ContentDigest;
use kiln_registry::server::{Registry, RegistryConfig};
use kiln_store::Store;
use serde_json::json;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Blobs of an image beside its manifest: a configuration and layers.
const BLOBS: usize = 5;
/// Writers at once; the database takes what waits into one commit.
const WRITERS: usize = 16;

fn main() -> Outcome<()> {
    // `cargo bench` adds flags of its own.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let [mode, folder, images, loose] = &args[..] else {
        return Err("registry fill-kiln|fill-docker FOLDER IMAGES LOOSE".into());
    };
    let (folder, images, loose) = (Path::new(folder), images.parse()?, loose.parse()?);
    match mode.as_str() {
        "fill-kiln" => kiln(folder, images, loose),
        "fill-docker" => docker(folder, images, loose),
        other => Err(format!("there is no mode {other}").into()),
    }
}

/// An image's blobs, and its manifest as the last.
fn image(number: usize) -> Vec<Vec<u8>> {
    let mut blobs: Vec<Vec<u8>> =
        (0..BLOBS).map(|part| format!("{{\"image\":{number},\"part\":{part}}}").into_bytes()).collect();
    let entry = |index: usize, kind: &str| json!({ "mediaType": kind, "digest": ContentDigest::sha256(&blobs[index]), "size": blobs[index].len() });
    let layers: Vec<_> =
        (1..BLOBS).map(|index| entry(index, "application/vnd.oci.image.layer.v1.tar")).collect();
    let config = entry(0, "application/vnd.oci.image.config.v1+json");
    let kind = kiln_registry::name::MANIFEST;
    let manifest = json!({ "schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers });
    blobs.push(manifest.to_string().into_bytes());
    blobs
}

fn loose_blob(number: usize) -> Vec<u8> {
    format!("loose {number}").into_bytes()
}

/// Does something with every number below `count`, by several threads.
fn every(count: usize, work: impl Fn(usize) -> Outcome<()> + Sync) -> Outcome<()> {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let one = || -> Outcome<()> {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok(());
                }
                work(number)?;
            }
        };
        let threads: Vec<_> = (0..WRITERS).map(|_| scope.spawn(one)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a writer broke off")?)
    })
}

fn kiln(home: &Path, images: usize, loose: usize) -> Outcome<()> {
    let store = Store::open(&home.join("store"))?;
    let registry = Registry::open(RegistryConfig::new(store.clone(), home.join("registry")))?;
    let put = |bytes: &[u8]| -> Outcome<kiln_model::Digest> {
        let digest = ContentDigest::sha256(bytes).as_sha256().ok_or("a SHA-256")?;
        fs::write(store.blob_path(&digest), bytes)?;
        Ok(digest)
    };
    let repository = "bench/many".parse()?;
    every(images, |number| {
        let mut manifest = None;
        for blob in image(number) {
            manifest = Some(put(&blob)?);
        }
        let manifest = manifest.ok_or("a manifest")?;
        Ok(registry.link("bench", &repository, &format!("v{number}").parse()?, &manifest)?)
    })?;
    every(loose, |number| put(&loose_blob(number)).map(drop))
}

fn docker(folder: &Path, images: usize, loose: usize) -> Outcome<()> {
    let root = folder.join("docker/registry/v2");
    let put = |bytes: &[u8]| -> Outcome<ContentDigest> {
        let digest = ContentDigest::sha256(bytes);
        let hex = digest.hex();
        write(root.join("blobs/sha256").join(&hex[..2]).join(&hex).join("data"), bytes)?;
        Ok(digest)
    };
    let repository = root.join("repositories/bench/many");
    let link =
        |path: PathBuf, digest: &ContentDigest| write(path.join("link"), digest.to_string().as_bytes());
    every(images, |number| {
        let blobs = image(number);
        for (index, blob) in blobs.iter().enumerate() {
            let digest = put(blob)?;
            if index < BLOBS {
                link(repository.join("_layers/sha256").join(digest.hex()), &digest)?;
                continue;
            }
            link(repository.join("_manifests/revisions/sha256").join(digest.hex()), &digest)?;
            let tag = repository.join(format!("_manifests/tags/v{number}"));
            link(tag.join("current"), &digest)?;
            link(tag.join("index/sha256").join(digest.hex()), &digest)?;
        }
        Ok(())
    })?;
    every(loose, |number| put(&loose_blob(number)).map(drop))
}

fn write(path: PathBuf, bytes: &[u8]) -> Outcome<()> {
    fs::create_dir_all(path.parent().ok_or("a folder")?)?;
    Ok(fs::write(path, bytes)?)
}
