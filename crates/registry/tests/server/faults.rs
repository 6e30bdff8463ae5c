//! Cut connections, killed servers, full disks, pushes at once.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use kiln_registry::digest::ContentDigest;
use kiln_registry::server::{CollectOptions, Registry, RegistryConfig, Retention};
use kiln_store::Store;
use proptest::prelude::*;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use crate::kit::{client, image, send, start};

/// Sends the beginning of a request and hangs up.
async fn cut(address: SocketAddr, head: &str, body: &[u8], at: usize) {
    let mut whole = head.as_bytes().to_vec();
    whole.extend_from_slice(body);
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may refuse before everything is sent.
    let _ = stream.write_all(&whole[..at.min(whole.len())]).await;
    let _ = stream.shutdown().await;
    let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut Vec::new())).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_push_cut_anywhere_leaves_nothing_wrong_and_can_go_on(at in 0_usize..200_300, chunked: bool) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let server = start(|_| ()).await;
            let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
            let digest = ContentDigest::sha256(&bytes);
            let place = match chunked {
                true => server.send("POST", "/v2/a/blobs/uploads/", &[], "").await.is(202).header("location").to_owned(),
                false => format!("/v2/a/blobs/uploads/?digest={digest}"),
            };
            let method = if chunked { "PATCH" } else { "POST" };
            let head = format!("{method} {place} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", bytes.len());
            let whole = at >= head.len() + bytes.len();
            cut(server.address, &head, &bytes, at).await;
            let blob = format!("/v2/a/blobs/{digest}");
            let found = server.get(&blob).await;
            if found.status == 200 {
                assert!(whole && !chunked);
                assert_eq!(found.body, bytes);
            }
            if chunked {
                let status = server.get(&place).await.is(204);
                let last: usize = status.header("range").strip_prefix("0-").unwrap().parse().unwrap();
                // `0-0` is nothing or one byte; the next chunk finds out.
                let starts = if last == 0 { vec![0, 1] } else { vec![last + 1] };
                let mut went_on = last + 1 == bytes.len();
                for from in starts.into_iter().filter(|from| *from < bytes.len()) {
                    let range = format!("{from}-{}", bytes.len() - 1);
                    let headers = [("content-range", range.as_str())];
                    let rest = server.send("PATCH", &place, &headers, bytes[from..].to_vec()).await;
                    if !went_on {
                        went_on = rest.status == 202;
                    }
                }
                assert!(went_on, "from 0-{last}");
                server.send("PUT", &format!("{place}?digest={digest}"), &[], "").await.is(201);
                assert_eq!(server.get(&blob).await.is(200).body, bytes);
            }
            server.push_blob("a", &bytes).await;
            assert_eq!(server.get(&blob).await.is(200).body, bytes);
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushes_of_one_blob_at_once_all_succeed() {
    let server = Arc::new(start(|_| ()).await);
    let bytes = vec![9; 300_000];
    let pushes: Vec<_> = (0..8)
        .map(|n| {
            let (server, bytes) = (server.clone(), bytes.clone());
            tokio::spawn(async move { server.push_blob(&format!("r{}", n % 2), &bytes).await })
        })
        .collect();
    for push in pushes {
        let digest = push.await.unwrap();
        assert_eq!(server.get(&format!("/v2/r0/blobs/{digest}")).await.status.as_u16() / 100, 2);
    }
    assert_eq!(std::fs::read_dir(server.store.root().join("uploads")).unwrap().count(), 0);
}

/// A registry in a process of its own, to be killed.
#[tokio::test]
#[ignore = "not a test: the process that others start and kill"]
async fn process() {
    let folder = std::path::PathBuf::from(std::env::var_os("KILN_TEST_FOLDER").unwrap());
    let store = Store::open(&folder.join("store")).unwrap();
    let mut config = RegistryConfig::new(store, folder.join("registry"));
    let grace = Duration::from_millis(300);
    config.retention = Retention { grace, untagged: Some(Duration::ZERO), uploads: Duration::from_secs(600) };
    let registry = Registry::open(config).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("\naddress {}", listener.local_addr().unwrap());
    if std::env::var_os("KILN_TEST_COLLECT").is_some() {
        let registry = registry.clone();
        std::thread::spawn(move || {
            loop {
                registry.collect(&CollectOptions::default()).unwrap();
            }
        });
    }
    registry.serve(listener, std::future::pending()).await.unwrap();
}

async fn spawn(folder: &Path, collecting: bool) -> (Child, SocketAddr) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "faults::process", "--nocapture"]);
    command.env("KILN_TEST_FOLDER", folder).stdout(Stdio::piped()).kill_on_drop(true);
    if collecting {
        command.env("KILN_TEST_COLLECT", "1");
    }
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        if let Some(address) = line.strip_prefix("address ") {
            return (child, address.parse().unwrap());
        }
    }
    panic!("the registry's process ended");
}

#[tokio::test]
async fn a_killed_server_loses_no_acknowledged_byte() {
    let folder = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 249) as u8).collect();
    let digest = ContentDigest::sha256(&bytes);
    let (mut child, address) = spawn(folder.path(), false).await;
    let http = client();
    let begun = send(&http, address, "POST", "/v2/a/blobs/uploads/", &[], "").await.unwrap().is(202);
    let place = begun.header("location").to_owned();
    send(&http, address, "PATCH", &place, &[], bytes[..2_000_000].to_vec()).await.unwrap().is(202);
    child.start_kill().unwrap();
    child.wait().await.unwrap();
    let (mut child, address) = spawn(folder.path(), false).await;
    let status = send(&http, address, "GET", &place, &[], "").await.unwrap().is(204);
    assert_eq!(status.header("range"), "0-1999999");
    let put = format!("{place}?digest={digest}");
    send(&http, address, "PUT", &put, &[], bytes[2_000_000..].to_vec()).await.unwrap().is(201);
    child.start_kill().unwrap();
    child.wait().await.unwrap();
    let (_child, address) = spawn(folder.path(), false).await;
    let got = send(&http, address, "GET", &format!("/v2/a/blobs/{digest}"), &[], "").await.unwrap().is(200);
    assert_eq!(got.body, bytes);
}

#[tokio::test]
async fn kills_among_pushes_and_collections_lose_nothing_that_has_a_tag() {
    let folder = tempfile::tempdir().unwrap();
    let http = client();
    let mut acknowledged: Vec<u8> = Vec::new();
    for life in 0..4_u8 {
        let (mut child, address) = spawn(folder.path(), true).await;
        for seed in &acknowledged {
            let path = format!("/v2/a/manifests/t{seed}");
            let got = send(&http, address, "GET", &path, &[], "").await.unwrap().is(200);
            assert_eq!(got.body, image(&[*seed; 5_000]).to_string());
            let path = format!("/v2/a/blobs/{}", ContentDigest::sha256(&[*seed; 5_000]));
            assert_eq!(
                send(&http, address, "GET", &path, &[], "").await.unwrap().is(200).body,
                [*seed; 5_000][..]
            );
        }
        // In each life at another point of the work; the pushes go on until they notice.
        let (count, mut reached) = tokio::sync::watch::channel(0);
        let killer = tokio::spawn(async move {
            let _ = reached.wait_for(|count| *count >= 5 + 7 * life).await;
            child.start_kill().unwrap();
            child.wait().await.unwrap();
        });
        for seed in life * 60..(life + 1) * 60 {
            if push(&http, address, seed).await.is_none() {
                break;
            }
            acknowledged.push(seed);
            count.send_modify(|count| *count += 1);
        }
        drop(count);
        killer.await.unwrap();
    }
    assert!(acknowledged.len() >= 5 + 12 + 19 + 26);
}

type Http = hyper_util::client::legacy::Client<
    hyper_util::client::legacy::connect::HttpConnector,
    http_body_util::Full<bytes::Bytes>,
>;

/// Pushes an image under `t<seed>`; `None` when it was not acknowledged. With so short a grace a blob may go before
/// its manifest comes; the push is then done again, as a client would.
async fn push(http: &Http, address: SocketAddr, seed: u8) -> Option<()> {
    let manifest = image(&[seed; 5_000]);
    let kind = [("content-type", kiln_registry::name::MANIFEST)];
    loop {
        for bytes in [&b"{}"[..], &[seed; 5_000]] {
            let path = format!("/v2/a/blobs/uploads/?digest={}", ContentDigest::sha256(bytes));
            send(http, address, "POST", &path, &[], bytes.to_vec()).await.ok()?.is(201);
        }
        let path = format!("/v2/a/manifests/t{seed}");
        let put = send(http, address, "PUT", &path, &kind, manifest.to_string()).await.ok()?;
        if put.status == 201 {
            return Some(());
        }
        assert_eq!(put.code(), "MANIFEST_BLOB_UNKNOWN");
    }
}

struct Mounted(std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_a_push_and_keeps_serving() {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "root is needed in CI");
        eprintln!("skipped: root is needed to mount a small disk");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mount = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=8m", "kiln-registry-test"])
        .arg(folder.path())
        .status();
    assert!(mount.unwrap().success());
    let _mounted = Mounted(folder.path().to_owned());
    let store = Store::open(&folder.path().join("store")).unwrap();
    let data = folder.path().join("registry");
    let server = start(|config| *config = RegistryConfig::new(store.clone(), data)).await;
    let digest = server.push_image("a", "1", b"before").await;
    let large = vec![3; 16 << 20];
    let path = format!("/v2/a/blobs/uploads/?digest={}", ContentDigest::sha256(&large));
    let full = server.send("POST", &path, &[], large.clone()).await.is(507);
    assert!(full.message().contains("no space left"), "{}", full.message());
    let place =
        server.send("POST", "/v2/a/blobs/uploads/", &[], "").await.is(202).header("location").to_owned();
    server.send("PATCH", &place, &[], large.clone()).await.is(507);
    assert_eq!(std::fs::read_dir(store.root().join("uploads")).unwrap().count(), 0, "nothing fills the disk");
    server.get(&format!("/v2/a/manifests/{digest}")).await.is(200);
    server.push_image("a", "2", b"after").await;
}
