//! Other projects' tools against this registry.

use std::path::Path;
use std::process::Output;

use kiln_registry::digest::ContentDigest;
use serde_json::json;
use tokio::process::Command;

use crate::access::access;
use crate::kit::{Server, has, start};

/// Writes an OCI layout with one image of two layers that hold a file each, gzip as all tools expect.
fn layout(folder: &Path) {
    let blobs = folder.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let put = |kind: &str, bytes: &[u8]| {
        let digest = ContentDigest::sha256(bytes);
        std::fs::write(blobs.join(digest.hex()), bytes).unwrap();
        json!({ "mediaType": kind, "digest": digest, "size": bytes.len() })
    };
    let mut layers = Vec::new();
    let mut plain = Vec::new();
    for (name, fill) in [("one", 1_u8), ("two", 2)] {
        let work = tempfile::tempdir().unwrap();
        std::fs::write(work.path().join(name), vec![fill; 3 << 20]).unwrap();
        let tar = |flags: &str| {
            let output = std::process::Command::new("tar")
                .args(["--owner=0", "--group=0", "--mtime=@0", flags, "-", "-C"])
                .arg(work.path())
                .arg(name)
                .output();
            output.unwrap().stdout
        };
        plain.push(ContentDigest::sha256(&tar("-cf")));
        layers.push(put("application/vnd.oci.image.layer.v1.tar", &tar("-cf")));
    }
    let config =
        json!({ "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": plain } });
    let config = put("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
    let kind = kiln_registry::name::MANIFEST;
    let manifest = json!({ "schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers });
    let entry = put(kind, manifest.to_string().as_bytes());
    let index = json!({ "schemaVersion": 2, "manifests": [entry] });
    std::fs::write(folder.join("index.json"), index.to_string()).unwrap();
    std::fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

async fn run(home: &Path, program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).env("HOME", home).output().await;
    let output = output.unwrap();
    let shown = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {shown}");
    output
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn skopeo_pushes_copies_lists_and_logs_in() {
    if !has("skopeo") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let source = home.path().join("source");
    layout(&source);
    let server = start(|config| config.access = access(home.path())).await;
    let (from, back) =
        (format!("oci:{}", source.display()), format!("oci:{}", home.path().join("back").display()));
    let name = |path: &str| format!("docker://{}/{path}", server.address);
    let ada = "--dest-creds=ada:secret";
    run(home.path(), "skopeo", &["copy", "--dest-tls-verify=false", ada, &from, &name("team/shop:1")]).await;
    let both = ["copy", "--src-tls-verify=false", "--dest-tls-verify=false", "--src-creds=ada:secret", ada];
    let (first, second) = (name("team/shop:1"), name("team/copy:1"));
    run(home.path(), "skopeo", &[&both[..], &[&first, &second]].concat()).await;
    let bob = "--src-creds=bob:hidden";
    run(home.path(), "skopeo", &["copy", "--src-tls-verify=false", bob, &second, &back]).await;
    let list = run(
        home.path(),
        "skopeo",
        &["list-tags", "--tls-verify=false", "--creds=bob:hidden", &name("team/shop")],
    )
    .await;
    assert!(String::from_utf8_lossy(&list.stdout).contains("\"1\""));
    let digests = |folder: &Path| std::fs::read_dir(folder.join("blobs/sha256")).unwrap().count();
    assert_eq!(digests(&home.path().join("back")), digests(&source));
    let denied = Command::new("skopeo")
        .args(["copy", "--dest-tls-verify=false", "--dest-creds=bob:hidden", &from, &name("team/shop:2")])
        .output()
        .await
        .unwrap();
    assert!(!denied.status.success());
    let auth = home.path().join("auth.json").display().to_string();
    let host = server.address.to_string();
    let login = ["login", "--tls-verify=false", "--authfile", &auth, "-u", "ada", "-p", "secret", &host];
    run(home.path(), "skopeo", &login).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn skopeo_shows_why_a_tag_does_not_move() {
    if !has("skopeo") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let source = home.path().join("source");
    layout(&source);
    let server = start(|_| ()).await;
    server.push_image("shop", "1", b"another").await;
    let target = format!("docker://{}/shop:1", server.address);
    let from = format!("oci:{}", source.display());
    let output = Command::new("skopeo")
        .args(["copy", "--dest-tls-verify=false", &from, &target])
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("the tag 1 of shop is immutable"), "{said}");
}

/// A registry with `shop:1` pushed by skopeo, and a folder for a tool's own things.
async fn stocked() -> (Server, tempfile::TempDir) {
    let home = tempfile::tempdir().unwrap();
    let source = home.path().join("source");
    layout(&source);
    let server = start(|_| ()).await;
    let (from, target) = (format!("oci:{}", source.display()), format!("docker://{}/shop:1", server.address));
    run(home.path(), "skopeo", &["copy", "--dest-tls-verify=false", &from, &target]).await;
    (server, home)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buildah_and_podman_pull_and_push() {
    if !has("skopeo") {
        return;
    }
    let (server, home) = stocked().await;
    let path = |name: &str| home.path().join(name).display().to_string();
    for program in ["buildah", "podman"] {
        if !has(program) {
            continue;
        }
        let (root, work) = (path(&format!("{program}-root")), path(&format!("{program}-run")));
        let own = ["--root", root.as_str(), "--runroot", work.as_str(), "--storage-driver", "vfs"];
        let image = format!("{}/shop:1", server.address);
        let pulled =
            run(home.path(), program, &[&own[..], &["pull", "--tls-verify=false", &image]].concat()).await;
        let id = String::from_utf8_lossy(&pulled.stdout).trim().to_owned();
        let target = format!("docker://{}/{program}:2", server.address);
        run(home.path(), program, &[&own[..], &["push", "--tls-verify=false", &id, &target]].concat()).await;
        run(home.path(), program, &[&own[..], &["rmi", &id]].concat()).await;
        let image = format!("{}/{program}:2", server.address);
        run(home.path(), program, &[&own[..], &["pull", "--tls-verify=false", &image]].concat()).await;
        server.get(&format!("/v2/{program}/manifests/2")).await.is(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crane_copies_lists_and_deletes() {
    if !has("crane") || !has("skopeo") {
        return;
    }
    let (server, home) = stocked().await;
    let name = |text: &str| format!("{}/{text}", server.address);
    run(home.path(), "crane", &["copy", "--insecure", &name("shop:1"), &name("copy:1")]).await;
    let listed = run(home.path(), "crane", &["ls", "--insecure", &name("copy")]).await;
    assert_eq!(listed.stdout, b"1\n");
    let repositories =
        run(home.path(), "crane", &["catalog", "--insecure", &server.address.to_string()]).await;
    assert_eq!(repositories.stdout, b"copy\nshop\n");
    let file = home.path().join("image.tar").display().to_string();
    run(home.path(), "crane", &["pull", "--insecure", &name("copy:1"), &file]).await;
    run(home.path(), "crane", &["push", "--insecure", &file, &name("pushed:1")]).await;
    run(home.path(), "crane", &["validate", "--insecure", "--remote", &name("pushed:1")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oras_attaches_and_discovers() {
    if !has("oras") || !has("skopeo") {
        return;
    }
    let (server, home) = stocked().await;
    let image = format!("{}/shop:1", server.address);
    let file = home.path().join("sbom.json");
    std::fs::write(&file, "{}").unwrap();
    let layer = format!("{}:application/json", file.display());
    let attach =
        ["attach", "--plain-http", "--disable-path-validation", "--artifact-type", "x/sbom", &image, &layer];
    run(home.path(), "oras", &attach).await;
    let found = run(home.path(), "oras", &["discover", "--plain-http", "-o", "json", &image]).await;
    assert!(String::from_utf8_lossy(&found.stdout).contains("x/sbom"));
    let subject = server.get("/v2/shop/manifests/1").await.is(200).header("docker-content-digest").to_owned();
    let listed = server.get(&format!("/v2/shop/referrers/{subject}")).await.is(200).json();
    assert_eq!(listed["manifests"][0]["artifactType"], "x/sbom");
    assert_eq!(
        server.get("/v2/shop/tags/list").await.json()["tags"],
        json!(["1"]),
        "no fallback tag was needed"
    );
}
