//! Users, tokens, grants, TLS.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kiln_registry::server::{Access, Action, Grant, TlsFiles};

use crate::kit::{Server, start};

fn grant(user: &str, repositories: &str, actions: &[Action]) -> Grant {
    Grant { user: user.into(), repositories: repositories.into(), actions: actions.to_vec() }
}

/// Ada may do everything with `team/**`, Bob reads it, everybody reads `public/*`.
pub(crate) fn access(folder: &std::path::Path) -> Access {
    let users = folder.join("users");
    let line = |name: &str, password: &str| format!("{name}:{}\n", bcrypt::hash(password, 4).unwrap());
    std::fs::write(&users, line("ada", "secret") + &line("bob", "hidden")).unwrap();
    let grants = vec![
        grant("ada", "team/**", &Action::ALL),
        grant("ada", "public/*", &Action::ALL),
        grant("bob", "team/**", &[Action::Pull]),
        grant("anonymous", "public/*", &[Action::Pull]),
    ];
    Access::restricted(&users, grants, Duration::from_secs(300)).unwrap()
}

async fn restricted() -> (Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let server = start(|config| config.access = access(folder.path())).await;
    (server, folder)
}

fn basic(user: &str) -> String {
    format!("Basic {}", STANDARD.encode(user))
}

impl Server {
    async fn status(&self, method: &str, path: &str, authorization: &str) -> u16 {
        let headers = [("authorization", authorization)];
        let headers = if authorization.is_empty() { &headers[..0] } else { &headers[..] };
        self.send(method, path, headers, "").await.status.as_u16()
    }

    async fn token(&self, user: &str, scope: &str) -> String {
        let headers = [("authorization", user)];
        let headers = if user.is_empty() { &headers[..0] } else { &headers[..] };
        let answer = self.send("GET", &format!("/token?service=x&scope={scope}"), headers, "").await.is(200);
        format!("Bearer {}", answer.json()["token"].as_str().unwrap())
    }
}

const TAGS: &str = "/v2/team/shop/tags/list";
const UPLOADS: &str = "/v2/team/shop/blobs/uploads/";

#[tokio::test]
async fn passwords_give_what_was_granted() {
    let (server, _folder) = restricted().await;
    let asked = server.get("/v2/").await.is(401);
    assert_eq!(asked.code(), "UNAUTHORIZED");
    let challenge = asked.header("www-authenticate");
    assert!(
        challenge.starts_with(&format!("Bearer realm=\"http://{}/token\"", server.address)),
        "{challenge}"
    );
    assert_eq!(server.status("GET", "/v2/", &basic("ada:secret")).await, 200);
    for wrong in ["ada:hidden", "eve:secret", "ada:"] {
        assert_eq!(server.status("GET", "/v2/", &basic(wrong)).await, 401, "{wrong}");
    }
    assert_eq!(server.status("POST", UPLOADS, &basic("bob:hidden")).await, 403);
    assert_eq!(server.status("POST", UPLOADS, &basic("ada:secret")).await, 202);
    assert_eq!(server.status("GET", TAGS, &basic("bob:hidden")).await, 404, "allowed, and nothing there");
    assert_eq!(server.status("POST", "/v2/other/blobs/uploads/", &basic("ada:secret")).await, 403);
    let refused = server.get(TAGS).await.is(401);
    assert!(refused.header("www-authenticate").contains("scope=\"repository:team/shop:pull\""));
    assert_eq!(server.status("GET", "/v2/public/a/tags/list", "").await, 404, "anonymous reading");
    assert_eq!(server.status("POST", "/v2/public/a/blobs/uploads/", "").await, 401);
}

#[tokio::test]
async fn tokens_give_what_they_were_made_for() {
    let (server, _folder) = restricted().await;
    let (ada, bob) = (basic("ada:secret"), basic("bob:hidden"));
    let push = server.token(&ada, "repository:team/shop:pull,push").await;
    assert_eq!(server.status("POST", UPLOADS, &push).await, 202);
    assert_eq!(server.status("GET", "/v2/", &push).await, 200);
    assert_eq!(
        server.status("POST", "/v2/team/other/blobs/uploads/", &push).await,
        401,
        "another repository"
    );
    assert_eq!(server.status("DELETE", "/v2/team/shop/manifests/1", &push).await, 401, "not asked for");
    let read = server.token(&bob, "repository:team/shop:pull,push").await;
    assert_eq!(server.status("GET", TAGS, &read).await, 404);
    assert_eq!(server.status("POST", UPLOADS, &read).await, 403, "asked for, not granted");
    let nobody = server.token("", "repository:public/a:pull").await;
    assert_eq!(server.status("GET", "/v2/public/a/tags/list", &nobody).await, 404);
    assert_eq!(server.status("GET", TAGS, &nobody).await, 401);
    assert_eq!(server.status("GET", "/v2/", &format!("{push}x")).await, 401, "forged");
    assert_eq!(server.status("GET", "/v2/_catalog", &push).await, 401);
    let catalog = server.token(&ada, "registry:catalog:*").await;
    assert_eq!(server.status("GET", "/v2/_catalog", &catalog).await, 200);
    let form = "grant_type=password&username=ada&password=secret&scope=repository%3Ateam%2Fshop%3Apull";
    let kind = [("content-type", "application/x-www-form-urlencoded")];
    let answer = server.send("POST", "/token", &kind, form).await.is(200);
    let token = format!("Bearer {}", answer.json()["access_token"].as_str().unwrap());
    assert_eq!(server.status("GET", TAGS, &token).await, 404);
    server.send("POST", "/token", &kind, form.replace("secret", "guess")).await.is(401);
}

#[tokio::test]
async fn blobs_are_mounted_only_from_where_they_may_be_read() {
    let (server, _folder) = restricted().await;
    let ada = basic("ada:secret");
    let digest = kiln_registry::digest::ContentDigest::sha256(b"x");
    let path = format!("/v2/public/a/blobs/uploads/?digest={digest}");
    server.send("POST", &path, &[("authorization", &ada)], "x").await.is(201);
    let scoped = server.token(&ada, "repository:team/b:pull,push").await;
    let mount = |from: &str| format!("/v2/team/b/blobs/uploads/?mount={digest}&from={from}");
    assert_eq!(
        server.status("POST", &mount("public/a"), &scoped).await,
        202,
        "the token does not read there"
    );
    let both = server.token(&ada, "repository:team/b:pull,push%20repository:public/a:pull").await;
    assert_eq!(server.status("POST", &mount("public/a"), &both).await, 201);
}

#[tokio::test]
async fn tls_is_spoken_with_a_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let files = TlsFiles { certificate: certificate.clone(), key };
    let server = start(|config| config.tls = Some(files)).await;
    let url = format!("https://localhost:{}/v2/", server.address.port());
    let output = tokio::process::Command::new("curl")
        .args(["-sS", "--fail", "--noproxy", "*", "--resolve"])
        .arg(format!("localhost:{}:127.0.0.1", server.address.port()))
        .arg("--cacert")
        .args([certificate.as_os_str(), url.as_ref()])
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout, b"{}");
}
