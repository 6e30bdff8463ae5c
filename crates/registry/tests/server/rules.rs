//! Immutable tags, quotas, images linked from the store, metrics.

use std::sync::{Arc, Mutex};

use kiln_registry::digest::ContentDigest;
use kiln_registry::name::MANIFEST;
use kiln_registry::server::{Deed, Quota, Registry, RegistryConfig, RegistryError, RepositoryRule, Rules};
use kiln_store::Descriptor;

use crate::kit::{image, start};

fn rule(repositories: &str, mutable: &[&str], quota: Quota) -> RepositoryRule {
    let mutable_tags = mutable.iter().map(|tag| (*tag).to_owned()).collect();
    RepositoryRule { repositories: repositories.into(), immutable: true, mutable_tags, quota }
}

#[tokio::test]
async fn a_tag_stays_where_it_points() {
    let server = start(|config| {
        config.rules = Rules::new(vec![rule("shop", &["latest"], Quota::default())]).unwrap();
    })
    .await;
    let digest = server.push_image("shop", "1", b"one").await;
    server.push_image("shop", "1", b"one").await;
    server.push_blob("shop", b"two").await;
    let refused = server.put_manifest("shop", "1", &image(b"two")).await.is(409);
    assert_eq!(refused.code(), "DENIED");
    let message = refused.message();
    for part in
        ["the tag 1 of shop is immutable", "rule for \"shop\"", &digest.to_string(), "push under a new tag"]
    {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(server.get("/v2/shop/manifests/1").await.header("docker-content-digest"), digest.to_string());
    assert_eq!(server.send("DELETE", "/v2/shop/manifests/1", &[], "").await.is(405).code(), "DENIED");
    server.send("DELETE", &format!("/v2/shop/manifests/{digest}"), &[], "").await.is(405);
    server.put_manifest("shop", "latest", &image(b"one")).await.is(201);
    server.put_manifest("shop", "latest", &image(b"two")).await.is(201);
    let moved = server.get("/v2/shop/manifests/latest").await.header("docker-content-digest").to_owned();
    assert_ne!(moved, digest.to_string(), "the cache forgot what the tag pointed at");
    let evidence = format!("sha256-{}.sig", digest.hex());
    server.put_manifest("shop", &evidence, &image(b"one")).await.is(201);
    server.put_manifest("shop", &evidence, &image(b"two")).await.is(201);
}

#[tokio::test]
async fn quotas_are_kept() {
    let quota = Quota { bytes: Some(2_000), tags: Some(1) };
    let server = start(|config| config.rules = Rules::new(vec![rule("**", &[], quota)]).unwrap()).await;
    server.push_image("shop", "1", b"one").await;
    let second = server.put_manifest("shop", "2", &image(b"one")).await.is(403);
    assert!(second.message().contains("its quota allows 1"), "{}", second.message());
    let large = vec![0; 2_000];
    let path = format!("/v2/shop/blobs/uploads/?digest={}", ContentDigest::sha256(&large));
    assert_eq!(server.send("POST", &path, &[], large.clone()).await.is(413).code(), "DENIED");
    let place =
        server.send("POST", "/v2/shop/blobs/uploads/", &[], "").await.is(202).header("location").to_owned();
    server.send("PATCH", &place, &[], large[..1_000].to_vec()).await.is(202);
    server.send("PATCH", &place, &[], large[1_000..].to_vec()).await.is(413);
    server.get(&place).await.is(404);
    server.push_blob("other", &[1; 1_900]).await;
}

#[tokio::test]
async fn an_image_of_the_store_is_linked_without_copying() {
    let server = start(|_| ()).await;
    let manifest = image(b"baked").to_string();
    for bytes in [&b"{}"[..], b"baked", manifest.as_bytes()] {
        server.store.put_bytes(bytes).unwrap();
    }
    let digest = ContentDigest::sha256(manifest.as_bytes()).as_sha256().unwrap();
    server.store.tag("shop", &Descriptor::new(MANIFEST, digest, manifest.len() as u64)).unwrap();
    let link = |tag: &'static str, digest: kiln_model::Digest| {
        let registry = server.registry.clone();
        let (repository, tag) = ("team/shop".parse().unwrap(), tag.parse().unwrap());
        tokio::task::spawn_blocking(move || registry.link("ada", &repository, &tag, &digest))
    };
    link("1", digest).await.unwrap().unwrap();
    link("1", digest).await.unwrap().unwrap();
    assert_eq!(server.get("/v2/team/shop/manifests/1").await.is(200).body, manifest);
    let layer = ContentDigest::sha256(b"baked");
    assert_eq!(server.get(&format!("/v2/team/shop/blobs/{layer}")).await.is(200).body, "baked");
    let other = image(b"absent").to_string();
    let (absent, _) = server.store.put_bytes(other.as_bytes()).unwrap();
    let error = link("2", absent).await.unwrap().unwrap_err().to_string();
    assert!(error.contains("the store has no blob"), "{error}");
    let (changed, _) = server.store.put_bytes(format!("{manifest} ").as_bytes()).unwrap();
    let error = link("1", changed).await.unwrap().unwrap_err().to_string();
    assert!(error.contains("immutable"), "{error}");
}

#[tokio::test]
async fn metrics_and_health_are_told() {
    let server = start(|_| ()).await;
    server.push_image("shop", "1", b"one").await;
    server.get("/v2/shop/manifests/1").await.is(200);
    let text = String::from_utf8(server.get("/metrics").await.is(200).body.to_vec()).unwrap();
    for line in [
        "kiln_registry_requests_total{route=\"manifest\",method=\"GET\",status=\"200\"} 1",
        "kiln_registry_request_seconds_count{route=\"manifest\"} 2",
        "kiln_registry_tags 1",
        "kiln_registry_repositories 1",
    ] {
        assert!(text.lines().any(|one| one == line), "{line} is not in\n{text}");
    }
    assert_eq!(server.get("/healthz").await.is(200).json()["status"], "ok");
}

#[tokio::test]
async fn whoever_keeps_a_record_is_told_what_changed_and_nothing_else() {
    let rung: Arc<Mutex<usize>> = Arc::default();
    let bell = rung.clone();
    let server = start(|config| {
        let all = RepositoryRule {
            repositories: "**".into(),
            immutable: false,
            mutable_tags: vec![],
            quota: Quota::default(),
        };
        config.rules = Rules::new(vec![all]).unwrap();
        config.acts = Some(Arc::new(move || *bell.lock().unwrap() += 1));
    })
    .await;
    let next = || -> Vec<Deed> {
        let acts = server.registry.acts(100).unwrap();
        assert_eq!(acts, server.registry.acts(100).unwrap(), "they stay until they are taken");
        assert!(acts.iter().all(|(_, act)| act.who == "127.0.0.1" && act.at_ms > 0));
        assert!(acts.is_empty() || std::mem::take(&mut *rung.lock().unwrap()) > 0, "and that is told");
        for pair in acts.windows(2) {
            assert!(pair[0].0 < pair[1].0);
        }
        if let Some((last, _)) = acts.last() {
            let forget = || server.registry.forget_acts(*last).unwrap();
            std::thread::scope(|scope| scope.spawn(forget).join().unwrap());
        }
        acts.into_iter().map(|(_, act)| act.deed).collect()
    };
    let repository: kiln_registry::name::Repository = "team/shop".parse().unwrap();
    let tag: kiln_registry::name::Tag = "1".parse().unwrap();
    let pushed = |digest, tag| Deed::Pushed { repository: repository.clone(), digest, tag };
    let tagged =
        |digest, before| Deed::Tagged { repository: repository.clone(), tag: tag.clone(), digest, before };
    let one = server.push_image("team/shop", "1", b"one").await;
    assert_eq!(next(), [pushed(one, Some(tag.clone())), tagged(one, None)]);
    server.push_image("team/shop", "1", b"one").await;
    assert_eq!(next(), [], "nothing changed");
    let two = server.push_image("team/shop", "1", b"two").await;
    assert_eq!(next(), [pushed(two, Some(tag.clone())), tagged(two, Some(one))]);
    server.send("DELETE", "/v2/team/shop/manifests/1", &[], "").await.is(202);
    assert_eq!(next(), [Deed::Untagged { repository: repository.clone(), tag: tag.clone(), digest: two }]);
    server.send("DELETE", "/v2/team/shop/manifests/1", &[], "").await.is(404);
    server.put_manifest("team/shop", "1", &image(b"two")).await.is(201);
    assert_eq!(next(), [tagged(two, None)]);
    server.send("DELETE", &format!("/v2/team/shop/manifests/{two}"), &[], "").await.is(202);
    assert_eq!(next(), [Deed::Deleted { repository, digest: two, tags: vec![tag] }]);
}

#[tokio::test]
async fn a_second_process_is_told_who_has_the_registry() {
    let server = start(|_| ()).await;
    let folder = server.store.root().parent().unwrap().join("registry");
    let error = Registry::open(RegistryConfig::new(server.store.clone(), &folder)).unwrap_err();
    assert!(
        matches!(&error, RegistryError::InUse { pid: Some(pid), .. } if *pid == std::process::id()),
        "{error}"
    );
}
