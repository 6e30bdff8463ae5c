//! What the client's tests share: a client whose waiting is only noted, images, a fake registry with all of an image.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kiln_model::Digest;
use kiln_registry::client::{Client, Keys, Options, Place, Retry};
use kiln_registry::name::ImageReference;
use kiln_store::oci::{self, Descriptor, Manifest};
use kiln_store::{Store, StoreError};
use sha2::{Digest as _, Sha256};

use crate::wire::{Ask, Body, Reply, Wire, reply};

/// Pauses that were asked for.
pub(crate) type Pauses = Arc<Mutex<Vec<Duration>>>;

/// Options for a client that waits for nothing and knows nobody.
pub(crate) fn options() -> (Options, Pauses) {
    let pauses = Pauses::default();
    let noted = pauses.clone();
    let retry = Retry::default().with_sleep(move |pause| {
        noted.lock().unwrap().push(pause);
        Box::pin(std::future::ready(()))
    });
    (Options { retry, keys: Keys::none(), login: None, ..Options::default() }, pauses)
}

pub(crate) fn client() -> Client {
    Client::new(options().0).unwrap()
}

pub(crate) fn image(text: &str) -> ImageReference {
    text.parse().unwrap()
}

pub(crate) fn place(text: &str) -> Place {
    Place::of(&image(text))
}

pub(crate) struct Home {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) store: Store,
}

pub(crate) fn home() -> Home {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    Home { folder, store }
}

pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::digest(bytes).into())
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

/// Bytes that no compression and no accident makes equal.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(length).collect()
}

/// Blobs and manifests by digest, before they are anywhere.
#[derive(Clone, Default)]
pub(crate) struct Parts {
    pub(crate) blobs: BTreeMap<String, Vec<u8>>,
    pub(crate) manifests: BTreeMap<String, Vec<u8>>,
}

impl Parts {
    pub(crate) fn blob(&mut self, media_type: &str, bytes: &[u8]) -> Descriptor {
        let digest = sha256(bytes);
        self.blobs.insert(digest.to_string(), bytes.into());
        Descriptor::new(media_type, digest, bytes.len() as u64)
    }

    pub(crate) fn manifest<T: serde::Serialize>(&mut self, media_type: &str, document: &T) -> Descriptor {
        let bytes = serde_json::to_vec(document).unwrap();
        let digest = sha256(&bytes);
        let descriptor = Descriptor::new(media_type, digest, bytes.len() as u64);
        self.manifests.insert(digest.to_string(), bytes);
        descriptor
    }

    /// An image with these layers, whose bytes need not be tar files.
    pub(crate) fn image(&mut self, architecture: &str, layers: &[Vec<u8>]) -> Descriptor {
        let blobs = layers.iter().map(|layer| self.blob(oci::LAYER, layer)).collect();
        self.image_of(architecture, layers, blobs)
    }

    /// The same with compressed layers, which every tool can read.
    pub(crate) fn gzip_image(&mut self, architecture: &str, layers: &[Vec<u8>]) -> Descriptor {
        let mut pack = |layer: &Vec<u8>| {
            let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packed.write_all(layer).unwrap();
            self.blob(oci::LAYER_GZIP, &packed.finish().unwrap())
        };
        let blobs = layers.iter().map(&mut pack).collect();
        self.image_of(architecture, layers, blobs)
    }

    fn image_of(&mut self, architecture: &str, layers: &[Vec<u8>], blobs: Vec<Descriptor>) -> Descriptor {
        let diff_ids: Vec<String> = layers.iter().map(|layer| sha256(layer).to_string()).collect();
        let config = serde_json::json!({
            "architecture": architecture, "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": [],
        });
        let config = self.blob(oci::CONFIG, &serde_json::to_vec(&config).unwrap());
        self.manifest(oci::MANIFEST, &Manifest::new(config, blobs))
    }

    /// An envelope about a manifest, as Kiln writes it.
    pub(crate) fn evidence(&mut self, subject: &Descriptor, text: &str) -> Descriptor {
        let config = self.blob(oci::EMPTY, b"{}");
        let envelope = self.blob("application/vnd.dsse.envelope.v1+json", text.as_bytes());
        let manifest = Manifest {
            artifact_type: Some("application/vnd.in-toto+json".into()),
            subject: Some(subject.clone()),
            ..Manifest::new(config, vec![envelope])
        };
        self.manifest(oci::MANIFEST, &manifest)
    }

    /// Everything into a store.
    pub(crate) fn store(&self, store: &Store) -> Result<(), StoreError> {
        for bytes in self.blobs.values().chain(self.manifests.values()) {
            store.put_bytes(bytes)?;
        }
        Ok(())
    }

    /// What a well-behaved registry answers to somebody who reads.
    pub(crate) fn answer(&self, ask: &Ask) -> Reply {
        let last = ask.path.rsplit('/').next().unwrap_or_default();
        if ask.path.contains("/manifests/") {
            return self.manifests.get(last).map_or(reply(404), |bytes| {
                let document: serde_json::Value = serde_json::from_slice(bytes).unwrap();
                let kind = document["mediaType"].as_str().unwrap_or(oci::MANIFEST).to_owned();
                reply(200)
                    .header("Content-Type", kind)
                    .header("Docker-Content-Digest", sha256(bytes))
                    .body(bytes.clone())
            });
        }
        let Some(bytes) = self.blobs.get(last).filter(|_| ask.path.contains("/blobs/")) else {
            return reply(404);
        };
        ranged(ask, bytes)
    }

    /// A registry that has all this and can only be read.
    pub(crate) fn serve(
        self,
        before: impl Fn(&Ask, &mut Body<'_>) -> Option<Reply> + Send + Sync + 'static,
    ) -> Wire {
        Wire::serve(move |ask, body| before(ask, body).unwrap_or_else(|| self.answer(ask)))
    }
}

/// Bytes from where they are asked for on.
pub(crate) fn ranged(ask: &Ask, bytes: &[u8]) -> Reply {
    let from = ask.from();
    if from == 0 {
        return reply(200).body(bytes);
    }
    let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
    reply(206).header("Content-Range", range).body(&bytes[from..])
}

pub(crate) fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(work)
}
