//! What the registry's rows need that no other program does.
//!
//! `registry fill-kiln HOME IMAGES LOOSE` and `registry fill-docker FOLDER IMAGES LOOSE` put as many images of five
//! blobs under a tag each, and as many blobs that nothing names, on the disk: the first through Kiln's library, the
//! second in the layout of docker-registry's file system driver. Both hold the same bytes.
//!
//! `registry load ADDRESS IMAGES UNTIL` pulls those images and pushes others until the file UNTIL is there. It prints
//! `ready` once every client has done something, and at the end how much was done and what failed.

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use kiln_registry::digest::ContentDigest;
use kiln_registry::server::{Registry, RegistryConfig};
use kiln_store::Store;
use serde_json::json;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Blobs of an image beside its manifest: a configuration and layers.
const BLOBS: usize = 5;
/// Writers at once; the database takes what waits into one commit.
const WRITERS: usize = 16;
/// Clients that pull, and that push, while the registry collects.
const PULLERS: usize = 4;
const PUSHERS: usize = 2;
/// Loose blobs are older than any push under way could be.
const AGE: Duration = Duration::from_secs(2 * 3600);

fn main() -> Outcome<()> {
    // `cargo bench` adds flags of its own.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let [mode, folder, images, loose] = &args[..] else {
        return Err(
            "registry fill-kiln|fill-docker FOLDER IMAGES LOOSE, or registry load ADDRESS IMAGES UNTIL"
                .into(),
        );
    };
    if mode == "load" {
        return load(folder, images.parse()?, Path::new(loose));
    }
    let (folder, images, loose) = (Path::new(folder), images.parse()?, loose.parse()?);
    match mode.as_str() {
        "fill-kiln" => kiln(folder, images, loose),
        "fill-docker" => docker(folder, images, loose),
        other => Err(format!("there is no mode {other}").into()),
    }
}

/// An image's blobs, and its manifest as the last.
fn image(number: usize) -> Vec<Vec<u8>> {
    let mut blobs: Vec<Vec<u8>> =
        (0..BLOBS).map(|part| format!("{{\"image\":{number},\"part\":{part}}}").into_bytes()).collect();
    let entry = |index: usize, kind: &str| json!({ "mediaType": kind, "digest": ContentDigest::sha256(&blobs[index]), "size": blobs[index].len() });
    let layers: Vec<_> =
        (1..BLOBS).map(|index| entry(index, "application/vnd.oci.image.layer.v1.tar")).collect();
    let config = entry(0, "application/vnd.oci.image.config.v1+json");
    let kind = kiln_registry::name::MANIFEST;
    let manifest = json!({ "schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers });
    blobs.push(manifest.to_string().into_bytes());
    blobs
}

fn loose_blob(number: usize) -> Vec<u8> {
    format!("loose {number}").into_bytes()
}

/// Does something with every number below `count`, by several threads.
fn every(count: usize, work: impl Fn(usize) -> Outcome<()> + Sync) -> Outcome<()> {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let one = || -> Outcome<()> {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok(());
                }
                work(number)?;
            }
        };
        let threads: Vec<_> = (0..WRITERS).map(|_| scope.spawn(one)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a writer broke off")?)
    })
}

fn kiln(home: &Path, images: usize, loose: usize) -> Outcome<()> {
    let store = Store::open(&home.join("store"))?;
    let registry = Registry::open(RegistryConfig::new(store.clone(), home.join("registry")))?;
    let put = |bytes: &[u8]| -> Outcome<kiln_model::Digest> {
        let digest = ContentDigest::sha256(bytes).as_sha256().ok_or("a SHA-256")?;
        fs::write(store.blob_path(&digest), bytes)?;
        Ok(digest)
    };
    let repository = "bench/many".parse()?;
    every(images, |number| {
        let mut manifest = None;
        for blob in image(number) {
            manifest = Some(put(&blob)?);
        }
        let manifest = manifest.ok_or("a manifest")?;
        Ok(registry.link("bench", &repository, &format!("v{number}").parse()?, &manifest)?)
    })?;
    let old = SystemTime::now() - AGE;
    every(loose, |number| {
        let digest = put(&loose_blob(number))?;
        Ok(fs::File::options().write(true).open(store.blob_path(&digest))?.set_modified(old)?)
    })
}

fn docker(folder: &Path, images: usize, loose: usize) -> Outcome<()> {
    let root = folder.join("docker/registry/v2");
    let put = |bytes: &[u8]| -> Outcome<ContentDigest> {
        let digest = ContentDigest::sha256(bytes);
        let hex = digest.hex();
        write(root.join("blobs/sha256").join(&hex[..2]).join(&hex).join("data"), bytes)?;
        Ok(digest)
    };
    let repository = root.join("repositories/bench/many");
    let link =
        |path: PathBuf, digest: &ContentDigest| write(path.join("link"), digest.to_string().as_bytes());
    every(images, |number| {
        let blobs = image(number);
        for (index, blob) in blobs.iter().enumerate() {
            let digest = put(blob)?;
            if index < BLOBS {
                link(repository.join("_layers/sha256").join(digest.hex()), &digest)?;
                continue;
            }
            link(repository.join("_manifests/revisions/sha256").join(digest.hex()), &digest)?;
            let tag = repository.join(format!("_manifests/tags/v{number}"));
            link(tag.join("current"), &digest)?;
            link(tag.join("index/sha256").join(digest.hex()), &digest)?;
        }
        Ok(())
    })?;
    every(loose, |number| put(&loose_blob(number)).map(drop))
}

fn write(path: PathBuf, bytes: &[u8]) -> Outcome<()> {
    fs::create_dir_all(path.parent().ok_or("a folder")?)?;
    Ok(fs::write(path, bytes)?)
}

/// A connection that is kept, and made anew when it broke.
struct Connection<'a> {
    address: &'a str,
    open: Option<BufReader<TcpStream>>,
}

impl Connection<'_> {
    fn ask(&mut self, method: &str, path: &str, kind: &str, body: &[u8]) -> Outcome<(u16, Vec<u8>)> {
        let mut stream = match self.open.take() {
            Some(stream) => stream,
            None => BufReader::new(TcpStream::connect(self.address)?),
        };
        stream.get_ref().set_nodelay(true)?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.get_mut().write_all(&[head.as_bytes(), body].concat())?;
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let status =
            line.split(' ').nth(1).and_then(|text| text.parse().ok()).ok_or("an answer without a status")?;
        let mut length = 0;
        loop {
            line.clear();
            stream.read_line(&mut line)?;
            match line.trim_end().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.parse()?;
                }
                Some(_) => {}
                None => break,
            }
        }
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer)?;
        self.open = Some(stream);
        Ok((status, answer))
    }

    fn expect(&mut self, wanted: u16, method: &str, path: &str, kind: &str, body: &[u8]) -> Outcome<Vec<u8>> {
        let (status, answer) = self.ask(method, path, kind, body)?;
        if status == wanted {
            return Ok(answer);
        }
        Err(format!("{method} {path}: {status} {}", String::from_utf8_lossy(&answer)).into())
    }

    fn get(&mut self, path: &str, expected: &[u8]) -> Outcome<()> {
        let found = self.expect(200, "GET", path, "", b"")?;
        if found == expected { Ok(()) } else { Err(format!("GET {path}: other bytes").into()) }
    }

    /// An image of this repository, and one of its blobs.
    fn pull(&mut self, repository: &str, number: usize) -> Outcome<()> {
        let blobs = image(number);
        self.get(&format!("/v2/{repository}/manifests/v{number}"), &blobs[BLOBS])?;
        let part = number % BLOBS;
        let digest = ContentDigest::sha256(&blobs[part]);
        self.get(&format!("/v2/{repository}/blobs/{digest}"), &blobs[part])
    }

    fn push(&mut self, repository: &str, number: usize) -> Outcome<()> {
        let blobs = image(number);
        for blob in &blobs[..BLOBS] {
            let path = format!("/v2/{repository}/blobs/uploads/?digest={}", ContentDigest::sha256(blob));
            self.expect(201, "POST", &path, "application/octet-stream", blob)?;
        }
        let path = format!("/v2/{repository}/manifests/v{number}");
        self.expect(201, "PUT", &path, kiln_registry::name::MANIFEST, &blobs[BLOBS]).map(drop)
    }
}

/// Requests of several clients until the file `until` is there.
fn load(address: &str, images: usize, until: &Path) -> Outcome<()> {
    let (pulls, pushes, errors) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(Vec::new()));
    let begun = Barrier::new(PULLERS + PUSHERS + 1);
    let told = |outcome: Outcome<()>, done: &AtomicUsize| match outcome {
        Ok(()) => drop(done.fetch_add(1, Ordering::Relaxed)),
        Err(error) => errors.lock().unwrap_or_else(PoisonError::into_inner).push(error.to_string()),
    };
    let client = |index: usize| {
        let mut connection = Connection { address, open: None };
        for round in 0.. {
            if index < PULLERS {
                // A prime step visits all of them before it comes back.
                told(connection.pull("bench/many", (index + round * 7_919) % images), &pulls);
            } else {
                let number = (index + 1) * 100_000_000 + round;
                let pushed = connection.push("bench/pushed", number);
                let pulled = pushed.and_then(|()| connection.pull("bench/pushed", number));
                told(pulled, &pushes);
            }
            if round == 0 {
                begun.wait();
            }
            if until.exists() {
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        let client = &client;
        for index in 0..PULLERS + PUSHERS {
            scope.spawn(move || client(index));
        }
        begun.wait();
        println!("ready");
    });
    let errors = errors.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (pulls, pushes) = (pulls.into_inner(), pushes.into_inner());
    println!(
        "{}",
        json!({ "pulls": pulls, "pushes": pushes, "errors": errors.len(), "first": errors.first() })
    );
    Ok(())
}
