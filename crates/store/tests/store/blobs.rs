//! Blobs, tags, damage, leftovers.

use std::fs;

use kiln_store::{Store, StoreError};

use crate::kit::{Layer, chain, image_of, put_image, put_layer, sha, store};

#[test]
fn a_blob_is_stored_once_and_read_back() {
    let (_folder, store) = store();
    let (digest, size) = store.put_bytes(b"hello").unwrap();
    assert_eq!((digest, size), (sha(b"hello"), 5));
    assert_eq!(store.put_blob(&mut &b"hello"[..]).unwrap(), (digest, 5));
    assert_eq!(store.read_verified(&digest).unwrap(), b"hello");
    assert_eq!(fs::read_dir(store.root().join("blobs/sha256")).unwrap().count(), 1);
    let missing = store.read_verified(&sha(b"other")).unwrap_err();
    assert!(matches!(missing, StoreError::Missing { .. }), "{missing}");
}

#[test]
fn damage_is_named_with_its_remedy() {
    let (folder, store) = store();
    let (digest, _) = store.put_bytes(b"hello").unwrap();
    fs::write(store.blob_path(&digest), b"hellO").unwrap();
    for error in [store.read_verified(&digest).unwrap_err(), store.verify_blob(&digest).unwrap_err()] {
        let text = error.to_string();
        assert!(text.contains(&digest.hex()) && text.contains("bake"), "{text}");
    }
    fs::write(store.root().join("index.json"), b"{\"schemaVersion\":2,\"manif").unwrap();
    let text = store.list().unwrap_err().to_string();
    assert!(text.contains("index.json") && text.contains("delete the file"), "{text}");
    fs::write(store.root().join("oci-layout"), b"nonsense").unwrap();
    let text = Store::open(&folder.path().join("store")).unwrap_err().to_string();
    assert!(text.contains("oci-layout"), "{text}");
    let foreign = folder.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("precious"), b"").unwrap();
    assert!(matches!(Store::open(&foreign), Err(StoreError::NotAStore { .. })));
}

#[test]
fn tags_move_and_images_are_found_by_prefix() {
    let (_folder, store) = store();
    let one = image_of(&store, Layer::new().file("a", "1"));
    let two = image_of(&store, Layer::new().file("a", "2"));
    let descriptor = |digest| kiln_store::Descriptor::new(kiln_store::oci::MANIFEST, digest, 1);
    store.tag("web", &descriptor(one)).unwrap();
    store.tag("web", &descriptor(two)).unwrap();
    assert_eq!(store.resolve("web").unwrap().digest, two);
    assert_eq!(store.resolve(&one.to_string()).unwrap().digest, one, "an untagged image is still found");
    assert_eq!(store.resolve(&one.hex()[..12]).unwrap().digest, one);
    assert!(store.untag("web").unwrap() && !store.untag("web").unwrap());
    assert_eq!(store.list().unwrap().len(), 2);
    store.tag("web", &descriptor(two)).unwrap();
    let text = store.resolve("wev").unwrap_err().to_string();
    assert!(text.contains("did you mean \"web\""), "{text}");
    for bad in ["", "a b", "../x", "sha256:12", &"x".repeat(200)] {
        assert!(matches!(store.tag(bad, &descriptor(two)), Err(StoreError::BadTag { .. })), "{bad}");
    }
    store.forget(&one).unwrap();
    assert!(store.resolve(&one.to_string()).is_err());
}

#[test]
fn many_processes_may_tag_at_once() {
    let (folder, store) = store();
    let image = image_of(&store, Layer::new().file("a", "1"));
    std::thread::scope(|scope| {
        for number in 0..8 {
            let path = folder.path().join("store");
            scope.spawn(move || {
                let store = Store::open(&path).unwrap();
                let descriptor = kiln_store::Descriptor::new(kiln_store::oci::MANIFEST, image, 1);
                store.tag(&format!("t{number}"), &descriptor).unwrap();
            });
        }
    });
    assert_eq!(store.list().unwrap().iter().filter(|entry| entry.tag().is_some()).count(), 8);
}

#[test]
fn leftovers_of_the_dead_go_and_those_of_the_living_stay() {
    let (folder, store) = store();
    let mine = store.scratch().unwrap();
    fs::write(&mine, b"x").unwrap();
    let tmp = store.root().join("tmp");
    fs::create_dir(tmp.join("999999-0")).unwrap();
    fs::write(tmp.join("999999-0/half"), b"x").unwrap();
    fs::write(tmp.join("999999-0.lock"), b"").unwrap();
    fs::create_dir_all(tmp.join("orphan/deep")).unwrap();
    let other = Store::open(&folder.path().join("store")).unwrap();
    assert!(mine.exists());
    assert!(
        !tmp.join("999999-0").exists() && !tmp.join("999999-0.lock").exists() && !tmp.join("orphan").exists()
    );
    drop((store, other));
    assert_eq!(fs::read_dir(&tmp).unwrap().count(), 0, "a process that ends cleans up");
}

#[test]
fn an_unfinished_tree_is_made_anew() {
    let (_folder, store) = store();
    let image = image_of(&store, Layer::new().file("a", "1").file("b", "2"));
    let tree = store.tree(&image).unwrap();
    fs::remove_file(tree.with_file_name(format!("{}.json", image.hex()))).unwrap();
    fs::remove_file(tree.join("b")).unwrap();
    assert_eq!(fs::read_to_string(store.tree(&image).unwrap().join("b")).unwrap(), "2");
}

#[test]
fn a_tree_of_another_boot_is_made_anew() {
    let (_folder, store) = store();
    let image = image_of(&store, Layer::new().file("a", "1"));
    let tree = store.tree(&image).unwrap();
    let record = tree.with_file_name(format!("{}.json", image.hex()));
    let text = fs::read_to_string(&record).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    fs::write(&record, text.replace(boot.trim(), "another")).unwrap();
    fs::write(tree.join("a"), "").unwrap();
    assert_eq!(fs::read_to_string(store.tree(&image).unwrap().join("a")).unwrap(), "1");
}

#[test]
fn wrong_digests_and_lengths_are_refused() {
    let (_folder, store) = store();
    let tar = Layer::new().file("a", "1").bytes();
    let mut layer = put_layer(&store, &tar);
    layer.diff_id = sha(b"something else");
    let text = chain(&store.tree(&put_image(&store, &[layer.clone()])).unwrap_err());
    assert!(text.contains("uncompressed content"), "{text}");
    let mut layer = put_layer(&store, &tar);
    layer.blob.size += 1;
    let text = chain(&store.tree(&put_image(&store, &[layer])).unwrap_err());
    assert!(text.contains("bytes, its manifest says"), "{text}");
    let layer = put_layer(&store, &tar);
    let path = store.blob_path(&layer.blob.digest);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(&path, bytes).unwrap();
    let error = store.tree(&put_image(&store, &[layer])).unwrap_err();
    assert!(chain(&error).contains("sha256") || chain(&error).contains("damaged"), "{}", chain(&error));
    assert!(fs::read_dir(store.root().join("trees")).unwrap().next().is_none(), "no half tree stays");
}

#[test]
fn an_index_keeps_those_of_its_images_that_are_here() {
    let (_folder, store) = store();
    let own = |text: &str| put_layer(&store, &Layer::new().file("own", text).bytes());
    let descriptor = |digest| kiln_store::Descriptor::new(kiln_store::oci::MANIFEST, digest, 1);
    let (here, other) = (put_image(&store, &[own("a")]), put_image(&store, &[own("b")]));
    let manifests = vec![descriptor(here), descriptor(sha(b"elsewhere"))];
    let index = kiln_store::oci::Index { manifests, ..Default::default() };
    let (digest, size) = store.put_bytes(&serde_json::to_vec(&index).unwrap()).unwrap();
    store.tag("all", &kiln_store::Descriptor::new(kiln_store::oci::INDEX, digest, size)).unwrap();
    let none = std::collections::HashSet::new();
    store.collect(&none, std::time::Duration::ZERO, false).unwrap();
    assert!(store.has(&digest) && store.image(&here).is_ok() && !store.has(&other));
    assert!(store.has(&store.image(&here).unwrap().layers[0].blob.digest));
}

#[test]
fn collecting_frees_what_nobody_needs_and_nothing_else() {
    let (_folder, store) = store();
    let shared = put_layer(&store, &Layer::new().file("shared", "x").bytes());
    let own = |text: &str| put_layer(&store, &Layer::new().file("own", text).bytes());
    let descriptor = |digest| kiln_store::Descriptor::new(kiln_store::oci::MANIFEST, digest, 1);
    let images: Vec<_> =
        ["a", "b", "c"].iter().map(|text| put_image(&store, &[shared.clone(), own(text)])).collect();
    for image in &images {
        // Each takes the tag from the one before.
        store.tag("web", &descriptor(*image)).unwrap();
        store.tree(image).unwrap();
    }
    let running = std::collections::HashSet::from([images[1]]);
    let hour = std::time::Duration::from_secs(3600);
    let nothing = store.collect(&running, hour, false).unwrap();
    assert_eq!((nothing.blobs, nothing.trees), (0, 0), "all of it is young");
    store.keep(&descriptor(images[0])).unwrap();
    let now = std::time::Duration::ZERO;
    let planned = store.collect(&running, now, true).unwrap();
    assert!(store.has(&images[0]), "a dry run removes nothing");
    let done = store.collect(&running, now, false).unwrap();
    assert_eq!(planned, done);
    assert_eq!((done.images.as_slice(), done.blobs, done.trees), (&images[..1], 3, 1));
    for image in &images[1..] {
        store.drop_tree(image).unwrap();
        assert!(store.tree(image).unwrap().join("shared").exists());
    }
    assert!(store.resolve(&images[0].to_string()).is_err());
}
