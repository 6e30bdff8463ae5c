//! The four categories of the distribution specification: pull, push, content discovery, content management.

use kiln_registry::digest::{Algorithm, ContentDigest};
use kiln_registry::name::{INDEX, MANIFEST};
use kiln_registry::server::{Quota, RepositoryRule, Rules};
use serde_json::json;

use crate::kit::{Server, descriptor, image, start};

/// A registry whose tags may move and go.
async fn free() -> Server {
    start(|config| {
        let rule = RepositoryRule {
            repositories: "**".into(),
            immutable: false,
            mutable_tags: vec![],
            quota: Quota::default(),
        };
        config.rules = Rules::new(vec![rule]).unwrap();
    })
    .await
}

#[tokio::test]
async fn pull() {
    let server = free().await;
    let layer = vec![7; 100_000];
    let digest = server.push_image("team/shop", "1.0", &layer).await;
    server.get("/v2/").await.is(200);
    for reference in ["1.0".to_owned(), digest.to_string()] {
        let path = format!("/v2/team/shop/manifests/{reference}");
        let got = server.get(&path).await.is(200);
        assert_eq!(ContentDigest::sha256(&got.body), digest);
        assert_eq!(got.header("docker-content-digest"), digest.to_string());
        assert_eq!(got.header("content-type"), MANIFEST);
        let head = server.send("HEAD", &path, &[], "").await.is(200);
        assert!(head.body.is_empty());
        assert_eq!(head.header("content-length"), got.body.len().to_string());
        let etag = got.header("etag").to_owned();
        server.send("GET", &path, &[("if-none-match", &etag)], "").await.is(304);
        server.send("GET", &path, &[("accept", INDEX)], "").await.is(406);
        server.send("GET", &path, &[("accept", &format!("{INDEX}, {MANIFEST};q=0.5"))], "").await.is(200);
    }
    let (blob, small) = (ContentDigest::sha256(&layer), ContentDigest::sha256(b"{}"));
    for (digest, bytes) in [(blob, &layer[..]), (small, b"{}")] {
        let path = format!("/v2/team/shop/blobs/{digest}");
        let got = server.get(&path).await.is(200);
        assert_eq!(got.body, bytes);
        let head = server.send("HEAD", &path, &[], "").await.is(200);
        assert_eq!(head.header("content-length"), bytes.len().to_string());
        let part = server.send("GET", &path, &[("range", "bytes=1-")], "").await.is(206);
        assert_eq!(part.body, &bytes[1..]);
        assert_eq!(part.header("content-range"), format!("bytes 1-{}/{}", bytes.len() - 1, bytes.len()));
        let outside = server.send("GET", &path, &[("range", "bytes=200000-")], "").await.is(416);
        assert_eq!(outside.header("content-range"), format!("bytes */{}", bytes.len()));
        let etag = got.header("etag").to_owned();
        server.send("GET", &path, &[("if-none-match", &etag)], "").await.is(304);
    }
    let none = ContentDigest::sha256(b"none");
    assert_eq!(server.get("/v2/team/shop/manifests/2.0").await.is(404).code(), "MANIFEST_UNKNOWN");
    assert_eq!(
        server.get(&format!("/v2/team/shop/manifests/{none}")).await.is(404).code(),
        "MANIFEST_UNKNOWN"
    );
    assert_eq!(server.get(&format!("/v2/team/shop/blobs/{none}")).await.is(404).code(), "BLOB_UNKNOWN");
    assert_eq!(server.get(&format!("/v2/other/blobs/{blob}")).await.is(404).code(), "BLOB_UNKNOWN");
    assert_eq!(server.get("/v2/Bad/manifests/1").await.is(400).code(), "NAME_INVALID");
    assert_eq!(server.get("/v2/a/blobs/sha256:1").await.is(400).code(), "DIGEST_INVALID");
    assert_eq!(
        server.send("PATCH", "/v2/a/manifests/1", &[], "").await.is(405).header("allow"),
        "GET, HEAD, PUT, DELETE"
    );
}

#[tokio::test]
async fn push_in_chunks_resumes_where_it_ended() {
    let server = free().await;
    let bytes: Vec<u8> = (0..=255).cycle().take(50_000).collect();
    let digest = ContentDigest::sha256(&bytes);
    let begun = server.send("POST", "/v2/a/b/blobs/uploads/", &[], "").await.is(202);
    let place = begun.header("location").to_owned();
    assert!(!begun.header("docker-upload-uuid").is_empty());
    let first =
        server.send("PATCH", &place, &[("content-range", "0-19999")], bytes[..20_000].to_vec()).await.is(202);
    assert_eq!(first.header("range"), "0-19999");
    let early =
        server.send("PATCH", &place, &[("content-range", "30000-49999")], bytes[30_000..].to_vec()).await;
    assert_eq!(early.is(416).header("range"), "0-19999");
    assert_eq!(server.get(&place).await.is(204).header("range"), "0-19999");
    let wrong = server.send("PATCH", &place, &[("content-range", "20000-20001")], vec![0; 3]).await.is(400);
    assert_eq!(wrong.code(), "SIZE_INVALID");
    server
        .send("PATCH", &place, &[("content-range", "20000-39999")], bytes[20_000..40_000].to_vec())
        .await
        .is(202);
    let done =
        server.send("PUT", &format!("{place}?digest={digest}"), &[], bytes[40_000..].to_vec()).await.is(201);
    assert_eq!(done.header("location"), format!("/v2/a/b/blobs/{digest}"));
    assert_eq!(server.get(&format!("/v2/a/b/blobs/{digest}")).await.is(200).body, bytes);
    assert_eq!(server.get(&place).await.is(404).code(), "BLOB_UPLOAD_UNKNOWN");
}

#[tokio::test]
async fn push_refuses_what_is_wrong() {
    let server = free().await;
    let none = ContentDigest::sha256(b"none");
    let path = format!("/v2/a/blobs/uploads/?digest={none}");
    assert_eq!(server.send("POST", &path, &[], "some").await.is(400).code(), "DIGEST_INVALID");
    let place =
        server.send("POST", "/v2/a/blobs/uploads/", &[], "").await.is(202).header("location").to_owned();
    assert_eq!(server.send("PUT", &place, &[], "some").await.is(400).code(), "DIGEST_INVALID");
    assert_eq!(
        server.send("PUT", &format!("{place}?digest={none}"), &[], "some").await.is(400).code(),
        "DIGEST_INVALID"
    );
    let elsewhere = place.replace("/v2/a/", "/v2/b/");
    assert_eq!(server.get(&elsewhere).await.is(404).code(), "BLOB_UPLOAD_UNKNOWN");
    let place =
        server.send("POST", "/v2/a/blobs/uploads/", &[], "").await.is(202).header("location").to_owned();
    server.send("DELETE", &place, &[], "").await.is(204);
    assert_eq!(server.send("PATCH", &place, &[], "x").await.is(404).code(), "BLOB_UPLOAD_UNKNOWN");
    assert_eq!(std::fs::read_dir(server.store.root().join("uploads")).unwrap().count(), 0);

    let lacking = server.put_manifest("a", "1", &image(b"layer")).await.is(400);
    assert_eq!(lacking.code(), "MANIFEST_BLOB_UNKNOWN");
    server.push_blob("a", b"{}").await;
    server.push_blob("a", b"layer").await;
    let mut lying = image(b"layer");
    lying["layers"][0]["size"] = json!(6);
    assert_eq!(server.put_manifest("a", "1", &lying).await.is(400).code(), "SIZE_INVALID");
    assert_eq!(
        server.put_manifest("a", &none.to_string(), &image(b"layer")).await.is(400).code(),
        "DIGEST_INVALID"
    );
    let headers = [("content-type", MANIFEST)];
    assert_eq!(
        server.send("PUT", "/v2/a/manifests/1", &headers, "{").await.is(400).code(),
        "MANIFEST_INVALID"
    );
    let large = server.send("PUT", "/v2/a/manifests/1", &headers, vec![b' '; 5 << 20]).await.is(413);
    assert_eq!(large.code(), "MANIFEST_INVALID");
    let index =
        json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(MANIFEST, b"none")] });
    assert_eq!(server.put_manifest("a", "1", &index).await.is(400).code(), "MANIFEST_BLOB_UNKNOWN");
}

#[tokio::test]
async fn push_mounts_and_knows_both_algorithms() {
    let server = free().await;
    let digest = server.push_blob("from", b"shared").await;
    let path = format!("/v2/to/blobs/uploads/?mount={digest}&from=from");
    assert_eq!(
        server.send("POST", &path, &[], "").await.is(201).header("location"),
        format!("/v2/to/blobs/{digest}")
    );
    server.send("POST", &format!("/v2/too/blobs/uploads/?mount={digest}"), &[], "").await.is(201);
    assert_eq!(server.get(&format!("/v2/too/blobs/{digest}")).await.is(200).body, "shared");
    server.send("POST", &format!("/v2/x/blobs/uploads/?mount={digest}&from=nowhere"), &[], "").await.is(202);

    for way in ["one", "two"] {
        let bytes = format!("long {way}").into_bytes();
        let long = ContentDigest::of(Algorithm::Sha512, &bytes);
        let place = match way {
            "one" => format!("/v2/to/blobs/uploads/?digest={long}"),
            _ => {
                let begun = server.send("POST", "/v2/to/blobs/uploads/", &[], "").await.is(202);
                format!("{}?digest={long}", begun.header("location"))
            }
        };
        let method = if way == "one" { "POST" } else { "PUT" };
        server.send(method, &place, &[], bytes.clone()).await.is(201);
        assert_eq!(server.get(&format!("/v2/to/blobs/{long}")).await.is(200).body, bytes);
        assert!(server.file(&long).is_file());
    }
    server.push_blob("to", b"{}").await;
    let manifest = image(b"shared");
    let named = ContentDigest::of(Algorithm::Sha512, manifest.to_string().as_bytes());
    server.put_manifest("to", &named.to_string(), &manifest).await.is(201);
    let got = server.get(&format!("/v2/to/manifests/{named}")).await.is(200);
    assert_eq!(got.header("docker-content-digest"), named.to_string());
}

#[tokio::test]
async fn content_discovery() {
    let server = free().await;
    let subject = server.push_image("shop", "b", b"layer").await;
    for tag in ["a", "c", "B"] {
        server.push_image("shop", tag, b"layer").await;
    }
    let all = server.get("/v2/shop/tags/list").await.is(200);
    assert_eq!(all.json(), json!({ "name": "shop", "tags": ["B", "a", "b", "c"] }));
    let page = server.get("/v2/shop/tags/list?n=2").await.is(200);
    assert_eq!(page.json()["tags"], json!(["B", "a"]));
    let link = page.header("link");
    let next = link.strip_prefix('<').unwrap().split('>').next().unwrap().to_owned();
    assert!(link.ends_with("; rel=\"next\""), "{link}");
    let rest = server.get(&next).await.is(200);
    assert_eq!(rest.json()["tags"], json!(["b", "c"]));
    assert_eq!(rest.header("link"), "");
    assert_eq!(server.get("/v2/shop/tags/list?n=0").await.is(200).json()["tags"], json!([]));
    assert_eq!(server.get("/v2/none/tags/list").await.is(404).code(), "NAME_UNKNOWN");

    server.push_image("apple", "1", b"layer").await;
    assert_eq!(server.get("/v2/_catalog").await.json()["repositories"], json!(["apple", "shop"]));
    let page = server.get("/v2/_catalog?n=1").await.is(200);
    assert_eq!(page.json()["repositories"], json!(["apple"]));
    assert!(page.header("link").contains("last=apple"));

    let path = format!("/v2/shop/referrers/{subject}");
    let empty = server.get(&path).await.is(200);
    assert_eq!(empty.header("content-type"), INDEX);
    assert_eq!(empty.json()["manifests"], json!([]));
    server.push_blob("shop", b"sbom").await;
    for (kind, note) in [("x/sbom", "one"), ("x/signature", "two")] {
        let mut manifest = image(b"sbom");
        manifest["artifactType"] = json!(kind);
        manifest["subject"] = json!({ "mediaType": MANIFEST, "digest": subject, "size": 3 });
        manifest["annotations"] = json!({ "note": note });
        let digest = ContentDigest::sha256(manifest.to_string().as_bytes());
        let put = server.put_manifest("shop", &digest.to_string(), &manifest).await.is(201);
        assert_eq!(put.header("oci-subject"), subject.to_string());
    }
    assert_eq!(server.get(&path).await.is(200).json()["manifests"].as_array().unwrap().len(), 2);
    let some = server.get(&format!("{path}?artifactType=x%2Fsbom")).await.is(200);
    assert_eq!(some.header("oci-filters-applied"), "artifactType");
    let list = some.json()["manifests"].as_array().unwrap().clone();
    assert_eq!((list.len(), &list[0]["annotations"]["note"]), (1, &json!("one")));
    assert_eq!(list[0]["artifactType"], "x/sbom");
    let page = server.get(&format!("{path}?n=1")).await.is(200);
    let next = page.header("link").trim_start_matches('<').split('>').next().unwrap().to_owned();
    assert_eq!(server.get(&next).await.is(200).json()["manifests"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn content_management() {
    let server = free().await;
    let digest = server.push_image("shop", "1", b"layer").await;
    server.push_image("shop", "2", b"layer").await;
    let blob = ContentDigest::sha256(b"layer");
    let by_digest = format!("/v2/shop/manifests/{digest}");
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(MANIFEST, image(b"layer").to_string().as_bytes())] });
    server.put_manifest("shop", "all", &index).await.is(201);
    assert!(
        server.send("DELETE", &by_digest, &[], "").await.is(405).message().contains("delete the index first")
    );
    let index_digest = ContentDigest::sha256(index.to_string().as_bytes());
    server.send("DELETE", &format!("/v2/shop/manifests/{index_digest}"), &[], "").await.is(202);
    server.get("/v2/shop/manifests/all").await.is(404);

    server.send("DELETE", "/v2/shop/manifests/1", &[], "").await.is(202);
    server.get("/v2/shop/manifests/1").await.is(404);
    server.get("/v2/shop/manifests/2").await.is(200);
    server.send("DELETE", "/v2/shop/manifests/1", &[], "").await.is(404);
    let path = format!("/v2/shop/blobs/{blob}");
    assert!(
        server.send("DELETE", &path, &[], "").await.is(405).message().contains("delete the manifest first")
    );
    server.send("DELETE", &by_digest, &[], "").await.is(202);
    server.get(&by_digest).await.is(404);
    server.get("/v2/shop/manifests/2").await.is(404);
    server.send("DELETE", &path, &[], "").await.is(202);
    server.get(&path).await.is(404);
    server.send("DELETE", &path, &[], "").await.is(404);
    assert_eq!(server.get("/v2/shop/tags/list").await.is(200).json()["tags"], json!([]));
}
