//! Layers on layers: whiteouts, replaced kinds, shared files, mount points.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use kiln_store::oci::{Empty, Execution};
use kiln_store::{Kind, Store};
use tar::EntryType;

use crate::kit::{Layer, image_of, put_image, put_image_with, put_layer, store};

fn tree_of(store: &Store, layers: Vec<Layer>) -> std::path::PathBuf {
    let layers: Vec<_> = layers.into_iter().map(|layer| put_layer(store, &layer.bytes())).collect();
    store.tree(&put_image(store, &layers)).unwrap()
}

fn list(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn whiteouts_hide_lower_layers_only() {
    let (_folder, store) = store();
    let lower = Layer::new()
        .folder("d")
        .file("d/old", "1")
        .file("d/kept", "1")
        .file("gone", "1")
        .folder("e")
        .file("e/x", "1");
    // Whatever the order in the layer: what it brings itself stays.
    let upper = Layer::new()
        .file("d/new", "2")
        .file("d/.wh.old", "")
        .file(".wh.gone", "")
        .file("e/y", "2")
        .file("e/.wh..wh..opq", "");
    let tree = tree_of(&store, vec![lower, upper]);
    assert_eq!(list(&tree.join("d")), ["kept", "new"]);
    assert_eq!(list(&tree.join("e")), ["y"]);
    assert!(!tree.join("gone").exists());
}

#[test]
fn an_opaque_folder_keeps_what_is_new_deep_inside() {
    let (_folder, store) = store();
    let lower = Layer::new().folder("a").folder("a/b").file("a/b/old", "1").file("a/x", "1");
    let upper = Layer::new().folder("a").folder("a/b").file("a/b/new", "2").file("a/.wh..wh..opq", "");
    let tree = tree_of(&store, vec![lower, upper]);
    assert_eq!(list(&tree.join("a")), ["b"]);
    assert_eq!(list(&tree.join("a/b")), ["new"]);
}

#[test]
fn a_later_layer_may_change_the_kind_of_anything() {
    let (_folder, store) = store();
    let lower = Layer::new().folder("a").file("a/x", "1").file("b", "1").symlink("c", "a").symlink("d", "b");
    let upper =
        Layer::new().file("a", "2").folder("b").file("b/y", "2").folder("c").file("c/z", "2").file("d", "3");
    let tree = tree_of(&store, vec![lower, upper]);
    assert_eq!(fs::read_to_string(tree.join("a")).unwrap(), "2");
    assert_eq!(list(&tree.join("b")), ["y"]);
    assert_eq!(list(&tree.join("c")), ["z"]);
    assert_eq!(fs::read_to_string(tree.join("d")).unwrap(), "3");
}

#[test]
fn hard_links_share_and_modes_and_times_are_kept() {
    let (_folder, store) = store();
    let layer = Layer::new()
        .header("set", EntryType::Regular, "", b"x", 0o4755)
        .hardlink("other", "set")
        .header("sticky", EntryType::Directory, "", b"", 0o1777)
        .header("closed", EntryType::Directory, "", b"", 0o555)
        .file("closed/inside", "y");
    let tree = tree_of(&store, vec![layer]);
    let (set, other) = (fs::metadata(tree.join("set")).unwrap(), fs::metadata(tree.join("other")).unwrap());
    assert_eq!(set.ino(), other.ino());
    assert_eq!(set.mode() & 0o7777, 0o4755);
    assert_eq!(set.mtime(), 1_000_000_000);
    assert_eq!(fs::metadata(tree.join("sticky")).unwrap().mode() & 0o7777, 0o1777);
    let closed = fs::metadata(tree.join("closed")).unwrap();
    assert_eq!((closed.mode() & 0o7777, closed.mtime()), (0o555, 1_000_000_000));
}

#[test]
fn a_tree_has_the_mount_points_of_a_sandbox() {
    let (_folder, store) = store();
    let layer =
        Layer::new().folder("etc").symlink("etc/resolv.conf", "../run/resolv.conf").file("etc/hosts", "mine");
    let volumes = BTreeMap::from([("/var/lib/shop".to_owned(), Empty {})]);
    let execution =
        Execution { volumes: Some(volumes), working_dir: Some("/srv/app".into()), ..Execution::default() };
    let layer = put_layer(&store, &layer.bytes());
    let tree = store.tree(&put_image_with(&store, &[layer], execution).digest).unwrap();
    for folder in ["proc", "sys", "dev", "run", "tmp", "etc", "var/lib/shop", "srv/app"] {
        assert!(tree.join(folder).is_dir(), "{folder}");
    }
    assert_eq!(fs::metadata(tree.join("tmp")).unwrap().permissions().mode() & 0o7777, 0o1777);
    assert!(fs::symlink_metadata(tree.join("etc/resolv.conf")).unwrap().is_file());
    assert_eq!(fs::read_to_string(tree.join("etc/hosts")).unwrap(), "mine");
}

#[test]
fn images_with_a_common_base_share_its_files_and_nothing_else() {
    let (_folder, store) = store();
    let step = |state: &u64| {
        Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
    };
    let numbers = std::iter::successors(Some(1), step).take(2 << 20);
    let noise: String = numbers.map(|n| char::from(32 + (n >> 40) as u8 % 90)).collect();
    let base =
        put_layer(&store, &Layer::new().folder("lib").file("lib/big", &noise).file("lib/x", "base").bytes());
    assert!(base.blob.size > 1 << 20, "large enough to be shared: {}", base.blob.size);
    let trees: Vec<_> = ["one", "two"]
        .iter()
        .map(|text| {
            let top = put_layer(&store, &Layer::new().file("lib/x", text).file("own", text).bytes());
            store.tree(&put_image(&store, &[base.clone(), top])).unwrap()
        })
        .collect();
    let ino = |path: &Path| fs::metadata(path).unwrap().ino();
    assert_eq!(ino(&trees[0].join("lib/big")), ino(&trees[1].join("lib/big")));
    for (tree, text) in trees.iter().zip(["one", "two"]) {
        assert_eq!(fs::read_to_string(tree.join("lib/x")).unwrap(), text);
        assert_eq!(fs::read_to_string(tree.join("own")).unwrap(), text);
        assert_eq!(fs::metadata(tree.join("lib")).unwrap().mode() & 0o7777, 0o755);
    }
    let plain = store.chain_tree(&[base]).unwrap();
    assert_eq!(fs::read_to_string(plain.join("lib/x")).unwrap(), "base");
    assert!(!plain.join("proc").exists(), "a chain has what its layers have");
}

#[test]
fn two_threads_that_want_one_tree_get_the_same() {
    let (_folder, store) = store();
    let layer = (0..200).fold(Layer::new(), |layer, n| layer.file(&format!("f{n}"), "x"));
    let image = image_of(&store, layer);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(|| store.tree(&image).unwrap())).collect();
        for thread in threads {
            assert_eq!(
                list(&thread.join().unwrap()).iter().filter(|name| name.starts_with('f')).count(),
                200
            );
        }
    });
}

#[test]
fn contents_agree_with_the_extracted_tree() {
    let (_folder, store) = store();
    let lower = Layer::new()
        .folder("usr")
        .folder("usr/bin")
        .symlink("bin", "usr/bin")
        .file("usr/bin/a", "1")
        .file("x", "1");
    let upper = Layer::new().file("bin/b", "22").hardlink("bin/c", "bin/b").file(".wh.x", "");
    let layers = [put_layer(&store, &lower.bytes()), put_layer(&store, &upper.bytes())];
    let image = put_image(&store, &layers);
    let tree = store.image_tree(&image).unwrap();
    let names: Vec<String> = tree.nodes.keys().map(|path| String::from_utf8(path.clone()).unwrap()).collect();
    assert_eq!(names, ["bin", "usr", "usr/bin", "usr/bin/a", "usr/bin/b", "usr/bin/c"]);
    let Kind::File(content) = &tree.nodes[&b"usr/bin/b"[..]].kind else { panic!("no file") };
    assert_eq!(&content.read().unwrap()[..], b"22");
    assert!(matches!(&tree.nodes[&b"usr/bin/c"[..]].kind, Kind::Hardlink(target) if target == b"usr/bin/b"));
}
