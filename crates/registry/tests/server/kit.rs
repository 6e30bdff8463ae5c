//! A registry on a free port, and a plain HTTP client.

use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kiln_registry::digest::ContentDigest;
use kiln_registry::name::MANIFEST;
use kiln_registry::server::{Registry, RegistryConfig};
use kiln_store::Store;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

pub(crate) struct Server {
    pub(crate) registry: Registry,
    pub(crate) store: Store,
    pub(crate) address: SocketAddr,
    pub(crate) client: Client<HttpConnector, Full<Bytes>>,
    stop: Option<oneshot::Sender<()>>,
    _folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The code of the first error.
    pub(crate) fn code(&self) -> String {
        self.json()["errors"][0]["code"].as_str().unwrap().to_owned()
    }

    pub(crate) fn message(&self) -> String {
        self.json()["errors"][0]["message"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.body));
        self
    }
}

/// A registry as a change of the plain configuration makes it.
pub(crate) async fn start(change: impl FnOnce(&mut RegistryConfig)) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    let mut config = RegistryConfig::new(store.clone(), folder.path().join("registry"));
    change(&mut config);
    let registry = Registry::open(config).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let served = registry.clone();
    tokio::spawn(async move {
        served.serve(listener, async { drop(stopped.await) }).await.unwrap();
    });
    Server { registry, store, address, client: client(), stop: Some(stop), _folder: folder }
}

pub(crate) fn client() -> Client<HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new()).build_http()
}

/// Sends a request to a server that may be another process.
pub(crate) async fn send(
    client: &Client<HttpConnector, Full<Bytes>>,
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Result<Answer, String> {
    let mut request =
        Request::builder().method(method.parse::<Method>().unwrap()).uri(format!("http://{address}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into())).unwrap();
    let response = client.request(request).await.map_err(|error| format!("{error:?}"))?;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map_err(|error| format!("{error:?}"))?.to_bytes();
    Ok(Answer { status: parts.status, headers: parts.headers, body })
}

impl Server {
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        send(&self.client, self.address, method, path, headers, body).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    pub(crate) async fn push_blob(&self, repository: &str, bytes: &[u8]) -> ContentDigest {
        let digest = ContentDigest::sha256(bytes);
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        self.send("POST", &path, &[], bytes.to_vec()).await.is(201);
        digest
    }

    pub(crate) async fn put_manifest(&self, repository: &str, reference: &str, manifest: &Value) -> Answer {
        let path = format!("/v2/{repository}/manifests/{reference}");
        let kind = manifest["mediaType"].as_str().unwrap().to_owned();
        self.send("PUT", &path, &[("content-type", &kind)], manifest.to_string()).await
    }

    /// Pushes an image of one layer and returns the digest of its manifest.
    pub(crate) async fn push_image(&self, repository: &str, tag: &str, layer: &[u8]) -> ContentDigest {
        self.push_blob(repository, b"{}").await;
        self.push_blob(repository, layer).await;
        let manifest = image(layer);
        self.put_manifest(repository, tag, &manifest).await.is(201);
        ContentDigest::sha256(manifest.to_string().as_bytes())
    }

    pub(crate) fn file(&self, digest: &ContentDigest) -> std::path::PathBuf {
        self.store.root().join("blobs").join(digest.algorithm().name()).join(digest.hex())
    }
}

/// A manifest of one layer with the configuration `{}`.
pub(crate) fn image(layer: &[u8]) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", b"{}"),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
    })
}

pub(crate) fn descriptor(kind: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": kind, "digest": ContentDigest::sha256(bytes), "size": bytes.len() })
}

/// Whether a program is here; in CI it must be.
pub(crate) fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if !found {
        assert!(std::env::var_os("CI").is_none(), "{program} is needed in CI");
        eprintln!("skipped: {program} is not installed");
    }
    found
}

/// Makes a file look old to garbage collection.
pub(crate) fn age(path: &Path) {
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    std::fs::File::options().append(true).open(path).unwrap().set_modified(old).unwrap();
}
