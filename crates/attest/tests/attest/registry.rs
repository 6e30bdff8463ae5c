//! Debian's registry on a port of the system's choice.

use std::io::BufRead;
use std::process::{Child, Command, Stdio};

use kiln_model::Digest;
use kiln_store::Store;
use kiln_store::oci::{Descriptor, Manifest};
use tempfile::TempDir;

use crate::kit::{run, text};

pub(crate) struct Registry {
    child: Child,
    /// `127.0.0.1:port`.
    pub(crate) address: String,
    _data: TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    pub(crate) fn start() -> Self {
        let data = TempDir::new().unwrap();
        let config = data.path().join("config.yml");
        let yaml = format!(
            "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:0\n",
            data.path().join("data").display()
        );
        std::fs::write(&config, yaml).unwrap();
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = std::io::BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, rest) = line.split_once("listening on ")?;
            let end = rest.find(|c: char| !matches!(c, '0'..='9' | '.' | ':')).unwrap_or(rest.len());
            Some(rest[..end].to_owned())
        });
        let address = address.expect("the registry starts and says where it listens");
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address, _data: data }
    }

    /// Pushes an image straight out of the store: it is an OCI layout.
    pub(crate) fn push_image(&self, store: &Store, tag: &str, repository: &str) {
        let source = format!("oci:{}:{tag}", store.root().display());
        let target = format!("docker://{}/{repository}:{tag}", self.address);
        run("skopeo", &["--insecure-policy", "copy", "--dest-tls-verify=false", &source, &target]);
    }

    /// Pushes a manifest with its blobs under a tag.
    pub(crate) fn push(&self, store: &Store, manifest: &Digest, repository: &str, tag: &str) {
        let document: Manifest = store.read_json(manifest).unwrap();
        for blob in document.layers.iter().chain([&document.config]) {
            self.push_blob(store, &blob.digest, repository);
        }
        let url = format!("http://{}/v2/{repository}/manifests/{tag}", self.address);
        let kind = format!("Content-Type: {}", document.media_type.unwrap());
        let data = format!("@{}", text(&store.blob_path(manifest)));
        run("curl", &["-fsS", "-X", "PUT", "-H", &kind, "--data-binary", &data, &url]);
    }

    fn push_blob(&self, store: &Store, digest: &Digest, repository: &str) {
        let url = format!("http://{}/v2/{repository}/blobs/uploads/", self.address);
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
        let base = format!("http://{}/v2/{repository}", self.address);
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
