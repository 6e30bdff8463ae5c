//! Bakes that are stopped in the middle.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use kiln_store::Store;

use crate::kit::{Kitchen, Mount, bake_at, chain, is_root};

const TEXT: &str = "copy bin /bin\n copy app/ /srv/app\n run echo begun; sleep 0.2; mkdir -p /srv/made; dd if=/dev/zero of=/srv/made/big bs=1000000 count=5\n copy app/1 /x";

#[test]
fn killed_at_any_moment_the_next_bake_succeeds() {
    let kitchen = Kitchen::with_busybox();
    for number in 0..40 {
        kitchen.file(&format!("app/{number}"), vec![number; 200_000]);
    }
    let expected = kitchen.bake(TEXT).digest;
    let path = kitchen.folder.path().join("killed");
    for round in 0..12_u64 {
        let mut child = Command::new(env!("CARGO_BIN_EXE_kiln-sandbox-helper"))
            .arg("bake")
            .arg(kitchen.source())
            .arg(&path)
            .arg(TEXT)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Not a wait for a condition: the moment is what the test varies.
        std::thread::sleep(Duration::from_millis(round * 37));
        child.kill().unwrap();
        child.wait().unwrap();
        let store = Store::open(&path).unwrap();
        for entry in store.list().unwrap() {
            store.image(&entry.digest).unwrap();
        }
        for blob in fs::read_dir(path.join("blobs/sha256")).unwrap() {
            let name = blob.unwrap().file_name().into_string().unwrap();
            store.verify_blob(&format!("sha256:{name}").parse().unwrap()).unwrap();
        }
    }
    let store = Store::open(&path).unwrap();
    let request = Kitchen { store, ..kitchen };
    assert_eq!(request.bake(TEXT).digest, expected);
    let tmp = request.store.root().join("tmp");
    let sessions = fs::read_dir(tmp).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir());
    assert!(sessions.count() <= 1, "only our own temporary folder");
}

#[test]
fn a_full_disk_is_named_and_leaves_nothing_half_made() {
    if !is_root() {
        return;
    }
    let kitchen = Kitchen::with_busybox();
    let small = kitchen.folder.path().join("small");
    fs::create_dir(&small).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=3m", "kiln-test"])
        .arg(&small)
        .status()
        .unwrap();
    assert!(mounted.success());
    let mount = Mount(small.clone());
    let step = |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    let noise: Vec<u8> =
        std::iter::successors(Some(1), step).take(6_000_000).map(|n| (n >> 56) as u8).collect();
    kitchen.file("app/noise", noise).file("small/x", "1");
    let store = small.join("store");
    let error = bake_at(&kitchen.source(), &store, "copy app/ /srv").unwrap_err();
    let text = chain(error.as_ref());
    let after = bake_at(&kitchen.source(), &store, "copy small/ /srv");
    let left = fs::read_dir(store.join("blobs/sha256")).unwrap().count();
    drop(mount);
    assert!(text.contains("no space left") && text.contains("bytes free"), "{text}");
    after.unwrap_or_else(|error| panic!("the next bake succeeds: {}", chain(error.as_ref())));
    assert_eq!(left, 3, "layer, configuration, manifest of the second bake");
}
