//! A cache of another registry.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use kiln_registry::digest::ContentDigest;
use kiln_registry::name::{MANIFEST, Reference, Repository};
use kiln_registry::server::{Mirror, Upstream, UpstreamBlob, UpstreamError, UpstreamManifest, system_clock};

use crate::kit::{Server, image, start};

/// An upstream with one image, `library/debian:12`.
#[derive(Debug, Default)]
struct Fake {
    away: AtomicBool,
    lies: AtomicBool,
    second: AtomicBool,
    blobs: AtomicUsize,
    manifests: AtomicUsize,
}

const LAYER: usize = 1_000_000;

impl Fake {
    fn layer(&self) -> Vec<u8> {
        vec![if self.second.load(Ordering::SeqCst) { 2 } else { 1 }; LAYER]
    }

    fn up(&self) -> Result<(), UpstreamError> {
        let gone = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        if self.away.load(Ordering::SeqCst) { Err(UpstreamError::Away(gone.into())) } else { Ok(()) }
    }
}

impl Upstream for Fake {
    fn manifest<'a>(
        &'a self,
        repository: &'a Repository,
        reference: &'a Reference,
    ) -> BoxFuture<'a, Result<UpstreamManifest, UpstreamError>> {
        Box::pin(async move {
            self.up()?;
            self.manifests.fetch_add(1, Ordering::SeqCst);
            let known = repository.as_str() == "library/debian" && reference.to_string() == "12";
            let bytes = Bytes::from(image(&self.layer()).to_string());
            let manifest = UpstreamManifest { media_type: MANIFEST.into(), bytes };
            known.then_some(manifest).ok_or(UpstreamError::NotFound)
        })
    }

    fn blob<'a>(
        &'a self,
        _: &'a Repository,
        digest: &'a ContentDigest,
    ) -> BoxFuture<'a, Result<UpstreamBlob, UpstreamError>> {
        Box::pin(async move {
            self.up()?;
            self.blobs.fetch_add(1, Ordering::SeqCst);
            let mut layer = self.layer();
            if ContentDigest::sha256(&layer) != *digest {
                return Err(UpstreamError::NotFound);
            }
            if self.lies.load(Ordering::SeqCst) {
                layer[LAYER / 2] ^= 1;
            }
            let pieces: Vec<_> =
                layer.chunks(70_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
            Ok(UpstreamBlob { size: Some(LAYER as u64), bytes: futures_util::stream::iter(pieces).boxed() })
        })
    }
}

async fn mirrored() -> (Server, Arc<Fake>, Arc<AtomicU64>) {
    let (fake, ahead) = (Arc::new(Fake::default()), Arc::new(AtomicU64::new(0)));
    let (system, shift, upstream) = (system_clock(), ahead.clone(), fake.clone());
    let server = start(|config| {
        config.clock = Arc::new(move || system() + shift.load(Ordering::SeqCst));
        let freshness = Duration::from_secs(60);
        config.mirrors = vec![Mirror { prefix: "docker.io".into(), upstream, freshness }];
    })
    .await;
    (server, fake, ahead)
}

const TAG: &str = "/v2/docker.io/library/debian/manifests/12";

#[tokio::test]
async fn what_was_pulled_once_stays_when_the_upstream_goes() {
    let (server, fake, ahead) = mirrored().await;
    let first = server.get(TAG).await.is(200);
    let layer = fake.layer();
    let path = format!("/v2/docker.io/library/debian/blobs/{}", ContentDigest::sha256(&layer));
    let (one, two) = tokio::join!(server.get(&path), server.get(&path));
    assert_eq!(one.is(200).body, layer);
    assert_eq!(two.is(200).body, layer);
    assert_eq!(server.get(&path).await.is(200).body, layer);
    assert_eq!(fake.blobs.load(Ordering::SeqCst), 1, "everybody shares one download");
    server.get(TAG).await.is(200);
    assert_eq!(fake.manifests.load(Ordering::SeqCst), 1, "fresh");
    ahead.store(61_000, Ordering::SeqCst);
    fake.away.store(true, Ordering::SeqCst);
    assert_eq!(server.get(TAG).await.is(200).body, first.body);
    assert_eq!(server.get(&path).await.is(200).body, layer);
    server.get("/v2/docker.io/library/debian/manifests/13").await.is(502);
    fake.away.store(false, Ordering::SeqCst);
    fake.second.store(true, Ordering::SeqCst);
    let moved = server.get(TAG).await.is(200);
    assert_ne!(moved.body, first.body, "the upstream decides where its tags point");
    assert_eq!(
        server.get("/v2/docker.io/library/debian/manifests/13").await.is(404).code(),
        "MANIFEST_UNKNOWN"
    );
    let none = ContentDigest::sha256(b"none");
    server.get(&format!("/v2/docker.io/library/debian/blobs/{none}")).await.is(404);
    server.send("POST", "/v2/docker.io/a/blobs/uploads/", &[], "").await.is(405);
    server.push_image("own", "1", b"own").await;
}

#[tokio::test]
async fn a_lying_upstream_is_never_believed() {
    let (server, fake, _) = mirrored().await;
    fake.lies.store(true, Ordering::SeqCst);
    let digest = ContentDigest::sha256(&fake.layer());
    let path = format!("/v2/docker.io/library/debian/blobs/{digest}");
    let broken = crate::kit::send(&server.client, server.address, "GET", &path, &[], "").await;
    assert!(broken.is_err() || broken.is_ok_and(|answer| answer.status != 200), "no whole answer");
    assert!(!server.file(&digest).exists());
    fake.lies.store(false, Ordering::SeqCst);
    assert_eq!(server.get(&path).await.is(200).body, fake.layer());
}
