//! Garbage collection, alone and among pushes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use kiln_registry::digest::ContentDigest;
use kiln_registry::name::{INDEX, MANIFEST};
use kiln_registry::server::{
    CollectOptions, GcReport, Quota, RepositoryRule, Retention, Rules, system_clock,
};
use kiln_store::Descriptor;
use serde_json::json;

use crate::kit::{Server, age, descriptor, image, start};

const DAY: u64 = 86_400_000;

/// A registry whose tags may move, and the milliseconds its clock is ahead.
async fn free(retention: Retention) -> (Server, Arc<AtomicU64>) {
    let ahead = Arc::new(AtomicU64::new(0));
    let (system, shift) = (system_clock(), ahead.clone());
    let server = start(|config| {
        let all = RepositoryRule {
            repositories: "**".into(),
            immutable: false,
            mutable_tags: vec![],
            quota: Quota::default(),
        };
        config.rules = Rules::new(vec![all]).unwrap();
        config.retention = retention;
        config.clock = Arc::new(move || system() + shift.load(Ordering::SeqCst));
    })
    .await;
    (server, ahead)
}

async fn collect(server: &Server, options: CollectOptions) -> GcReport {
    let registry = server.registry.clone();
    tokio::task::spawn_blocking(move || registry.collect(&options)).await.unwrap().unwrap()
}

fn dry() -> CollectOptions {
    CollectOptions { dry_run: true, ..CollectOptions::default() }
}

#[tokio::test]
async fn what_nothing_needs_goes_and_a_dry_run_says_so_before() {
    let (server, ahead) = free(Retention::default()).await;
    server.push_image("shop", "1", b"kept").await;
    let gone = server.push_image("shop", "2", b"gone").await;
    server.push_blob("shop", b"never named").await;
    let place =
        server.send("POST", "/v2/shop/blobs/uploads/", &[], "").await.is(202).header("location").to_owned();
    server.send("DELETE", "/v2/shop/manifests/2", &[], "").await.is(202);
    let report = collect(&server, dry()).await;
    assert_eq!((report.files.len(), report.manifests.len(), report.links.len()), (0, 0, 0), "all is young");
    assert_eq!(report.kept.len(), 1);
    assert!(report.kept[0].reason.contains("younger"));

    ahead.store(8 * DAY, Ordering::SeqCst);
    let planned = collect(&server, dry()).await;
    server.get("/v2/shop/manifests/1").await.is(200);
    server.get(&format!("/v2/shop/manifests/{gone}")).await.is(200);
    server.get(&place).await.is(204);
    let done = collect(&server, CollectOptions::default()).await;
    assert_eq!(GcReport { dry_run: false, ..planned }, done);
    assert_eq!(done.manifests[0].digest, gone);
    let mut freed: Vec<_> = done.files.iter().map(|freed| freed.digest).collect();
    let mut expected = vec![gone, ContentDigest::sha256(b"gone"), ContentDigest::sha256(b"never named")];
    freed.sort();
    expected.sort();
    assert_eq!(freed, expected);
    assert_eq!(done.uploads.len(), 1);
    assert_eq!(done.kept_files.linked, 3);
    server.get(&format!("/v2/shop/manifests/{gone}")).await.is(404);
    server.get(&format!("/v2/shop/blobs/{}", ContentDigest::sha256(b"gone"))).await.is(404);
    server.get(&place).await.is(404);
    assert!(!server.file(&gone).exists());
    let again = collect(&server, CollectOptions::default()).await;
    assert_eq!((again.files.len(), again.bytes), (0, 0));
}

#[tokio::test]
async fn children_referrers_protected_and_baked_images_stay() {
    let (server, ahead) = free(Retention::default()).await;
    let child = server.push_image("shop", "c", b"child").await;
    let child_entry = descriptor(MANIFEST, image(b"child").to_string().as_bytes());
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [child_entry] });
    server.put_manifest("shop", "all", &index).await.is(201);
    server.send("DELETE", "/v2/shop/manifests/c", &[], "").await.is(202);
    server.push_blob("shop", b"sbom").await;
    let about = |subject: &ContentDigest| {
        let mut manifest = image(b"sbom");
        manifest["subject"] = json!({ "mediaType": MANIFEST, "digest": subject, "size": 3 });
        let digest = ContentDigest::sha256(manifest.to_string().as_bytes());
        (manifest, digest)
    };
    let (evidence, evidence_digest) = about(&child);
    server.put_manifest("shop", &evidence_digest.to_string(), &evidence).await.is(201);
    let (orphan, orphan_digest) = about(&ContentDigest::sha256(b"nothing"));
    server.put_manifest("shop", &orphan_digest.to_string(), &orphan).await.is(201);
    let running = server.push_image("shop", "r", b"running").await;
    server.send("DELETE", "/v2/shop/manifests/r", &[], "").await.is(202);

    let baked = image(b"baked").to_string();
    for bytes in [&b"{}"[..], b"baked", baked.as_bytes(), b"left over"] {
        let (digest, _) = server.store.put_bytes(bytes).unwrap();
        age(&server.file(&digest.into()));
    }
    let digest = ContentDigest::sha256(baked.as_bytes()).as_sha256().unwrap();
    server.store.tag("baked", &Descriptor::new(MANIFEST, digest, baked.len() as u64)).unwrap();

    ahead.store(30 * DAY, Ordering::SeqCst);
    let protected = running.as_sha256().unwrap();
    let protect = Arc::new(move || Ok([protected].into()));
    let report = collect(&server, CollectOptions { protect, ..CollectOptions::default() }).await;
    let reason =
        |digest| report.kept.iter().find(|kept| kept.digest == digest).map(|kept| kept.reason.clone());
    assert!(reason(child).unwrap().contains("an index"));
    assert!(reason(evidence_digest).unwrap().contains("about"));
    assert!(reason(running).unwrap().contains("protected"));
    assert_eq!(report.manifests.iter().map(|gone| gone.digest).collect::<Vec<_>>(), [orphan_digest]);
    for kept in [child, evidence_digest, running] {
        server.get(&format!("/v2/shop/manifests/{kept}")).await.is(200);
    }
    assert!(server.store.has(&digest) && server.file(&ContentDigest::sha256(b"baked")).exists());
    assert!(!server.file(&ContentDigest::sha256(b"left over")).exists());
    assert!(server.file(&ContentDigest::sha256(b"running")).exists());
}

#[tokio::test]
async fn a_blob_that_somebody_was_told_of_stays_for_the_grace() {
    let (server, ahead) = free(Retention::default()).await;
    let digest = server.push_blob("shop", b"layer").await;
    age(&server.file(&digest));
    ahead.store(DAY, Ordering::SeqCst);
    server.send("HEAD", &format!("/v2/shop/blobs/{digest}"), &[], "").await.is(200);
    let report = collect(&server, CollectOptions::default()).await;
    assert_eq!((report.files.len(), report.links.len()), (0, 0));
    server.push_blob("shop", b"{}").await;
    server.put_manifest("shop", "1", &image(b"layer")).await.is(201);
    assert_eq!(server.get(&format!("/v2/shop/blobs/{digest}")).await.is(200).body, "layer");
}

/// Pushes as real clients do: asks whether a blob is there, and sends it only when it is not. What a client was told
/// is there must still be there when its manifest comes. Returns whether it was.
async fn push_as_clients_do(server: &Server, tag: &str, layer: &[u8]) -> bool {
    let mut known = false;
    for bytes in [b"{}", layer] {
        let path = format!("/v2/shop/blobs/{}", ContentDigest::sha256(bytes));
        known = server.send("HEAD", &path, &[], "").await.status == 200;
        if !known {
            server.push_blob("shop", bytes).await;
        }
    }
    server.put_manifest("shop", tag, &image(layer)).await.is(201);
    known
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_push_loses_anything_to_a_collection_beside_it() {
    let (server, ahead) = free(Retention::default()).await;
    let server = Arc::new(server);
    let layer = |number: u16| number.to_be_bytes().repeat(500);
    for number in 0..200 {
        server.push_blob("shop", &layer(number)).await;
    }
    // Every blob is old from here on, though no upload is; only what somebody asks for or pushes anew may stay.
    ahead.store(DAY / 2, Ordering::SeqCst);
    let pushing = Arc::new(AtomicBool::new(true));
    let pushers: Vec<_> = (0..4_u16)
        .map(|pusher| {
            let server = server.clone();
            tokio::spawn(async move {
                let mut known = 0;
                for round in 0..50 {
                    // Each has its own, and one that all have.
                    let number = if round % 10 == 0 { round } else { round * 4 + pusher };
                    let (layer, tag) = (layer(number), format!("t{pusher}-{round}"));
                    known += usize::from(push_as_clients_do(&server, &tag, &layer).await);
                    let got = server.get(&format!("/v2/shop/manifests/{tag}")).await.is(200);
                    assert_eq!(got.body, image(&layer).to_string());
                    let path = format!("/v2/shop/blobs/{}", ContentDigest::sha256(&layer));
                    assert_eq!(server.get(&path).await.is(200).body, &layer[..]);
                }
                known
            })
        })
        .collect();
    let collector = {
        let (server, pushing) = (server.clone(), pushing.clone());
        tokio::spawn(async move {
            let mut freed = 0;
            while pushing.load(Ordering::SeqCst) {
                freed += collect(&server, CollectOptions::default()).await.files.len();
            }
            freed
        })
    };
    let mut known = 0;
    for pusher in pushers {
        known += pusher.await.unwrap();
    }
    pushing.store(false, Ordering::SeqCst);
    let freed = collector.await.unwrap();
    assert!(freed > 0 && known > 0, "{freed} files went, {known} were found");
}
