//! Debian's registry, and the store's images in it.

use kiln_model::Digest;
use kiln_store::Store;
use kiln_store::oci::{Descriptor, Manifest};
use kiln_testkit::DockerRegistry;

use crate::kit::{run, text};

pub(crate) struct Registry {
    own: DockerRegistry,
}

impl Registry {
    pub(crate) fn start() -> Self {
        Self { own: DockerRegistry::start() }
    }

    /// `127.0.0.1:port`.
    pub(crate) fn address(&self) -> &str {
        &self.own.address
    }

    /// Pushes an image straight out of the store: it is an OCI layout.
    pub(crate) fn push_image(&self, store: &Store, tag: &str, repository: &str) {
        let source = format!("oci:{}:{tag}", store.root().display());
        let target = format!("docker://{}/{repository}:{tag}", self.own.address);
        run("skopeo", &["--insecure-policy", "copy", "--dest-tls-verify=false", &source, &target]);
    }

    /// Pushes a manifest with its blobs under a tag.
    pub(crate) fn push(&self, store: &Store, manifest: &Digest, repository: &str, tag: &str) {
        let document: Manifest = store.read_json(manifest).unwrap();
        for blob in document.layers.iter().chain([&document.config]) {
            self.push_blob(store, &blob.digest, repository);
        }
        let url = format!("http://{}/v2/{repository}/manifests/{tag}", self.own.address);
        let kind = format!("Content-Type: {}", document.media_type.unwrap());
        let data = format!("@{}", text(&store.blob_path(manifest)));
        run("curl", &["-fsS", "-X", "PUT", "-H", &kind, "--data-binary", &data, &url]);
    }

    fn push_blob(&self, store: &Store, digest: &Digest, repository: &str) {
        let url = format!("http://{}/v2/{repository}/blobs/uploads/", self.own.address);
        let headers = run("curl", &["-fsS", "-X", "POST", "-o", "/dev/null", "-D", "-", &url]);
        let place = headers.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("location").then(|| value.trim().to_owned())
        });
        let url = format!("{}&digest={digest}", place.expect("the registry says where to"));
        let data = format!("@{}", text(&store.blob_path(digest)));
        let kind = "Content-Type: application/octet-stream";
        run("curl", &["-fsS", "-X", "PUT", "-H", kind, "--data-binary", &data, &url]);
    }

    /// Takes a manifest with its blobs into a store.
    pub(crate) fn pull(&self, store: &Store, repository: &str, tag: &str) -> Descriptor {
        let base = format!("http://{}/v2/{repository}", self.own.address);
        let accept = format!("Accept: {}", kiln_store::oci::MANIFEST);
        let manifest = run("curl", &["-fsS", "-H", &accept, &format!("{base}/manifests/{tag}")]);
        let document: Manifest = serde_json::from_str(&manifest).unwrap();
        for blob in document.layers.iter().chain([&document.config]) {
            let bytes = run("curl", &["-fsSL", &format!("{base}/blobs/{}", blob.digest)]);
            assert_eq!(store.put_bytes(bytes.as_bytes()).unwrap().0, blob.digest);
        }
        let (digest, size) = store.put_bytes(manifest.as_bytes()).unwrap();
        Descriptor::new(kiln_store::oci::MANIFEST, digest, size)
    }
}
