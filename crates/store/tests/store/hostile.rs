//! Layers that want to get out, or to get in the way. Each is refused with its own error, and nothing is left.

use std::fs;
use std::path::Path;

use kiln_store::{LayerError, Limits, Store, StoreError, TarError};
use tar::EntryType;

use crate::kit::{Layer, chain, gzip, image_of, put_image, put_layer, sha, store};

/// The refusal, with the assurance that nothing got out and nothing stayed.
fn refusal(layer: Layer) -> LayerError {
    let (folder, store) = store();
    let image = image_of(&store, layer);
    let result = store.tree(&image);
    assert!(!folder.path().join("escaped").exists() && !Path::new("/tmp/kiln-escaped").exists());
    assert!(fs::read_dir(store.root().join("trees")).unwrap().next().is_none(), "half a tree stays");
    let tmp = fs::read_dir(store.root().join("tmp")).unwrap().filter_map(Result::ok);
    for session in tmp.filter(|entry| entry.path().is_dir()) {
        assert!(fs::read_dir(session.path()).unwrap().next().is_none(), "temporary files stay");
    }
    match result {
        Err(StoreError::Layer { source, .. }) => source,
        Err(other) => panic!("another error: {}", chain(&other)),
        Ok(tree) => panic!("accepted: {}", tree.display()),
    }
}

macro_rules! refused {
    ($layer:expr, $pattern:pat) => {
        let error = refusal($layer);
        assert!(matches!(error, $pattern), "{}", chain(&error));
    };
}

#[test]
fn names_that_lead_out() {
    for name in ["../escaped", "a/../../escaped", "..", "a/..", "/tmp/kiln-escaped", "./../escaped"] {
        refused!(Layer::new().file(name, "x"), LayerError::Name { .. });
    }
    refused!(
        Layer::new().file(&"x".repeat(100), "x").file(&format!("{}/{}", "d".repeat(40), ".."), "x"),
        LayerError::Name { .. }
    );
}

#[test]
fn entries_below_links_of_the_same_layer() {
    for target in ["..", "../..", "/tmp", "/", "etc", "."] {
        refused!(
            Layer::new().symlink("evil", target).file("evil/kiln-escaped", "x"),
            LayerError::BelowLink { .. }
        );
    }
    refused!(
        Layer::new().folder("a").symlink("a/b", "../..").folder("a/b/c").file("a/b/c/escaped", "x"),
        LayerError::BelowLink { .. }
    );
}

#[test]
fn links_of_lower_layers_that_lead_out() {
    let (_folder, store) = store();
    let lower = put_layer(&store, &Layer::new().symlink("evil", "../../../../tmp").bytes());
    let upper = put_layer(&store, &Layer::new().file("evil/kiln-escaped", "x").bytes());
    let error = store.tree(&put_image(&store, &[lower, upper])).unwrap_err();
    assert!(
        matches!(error, StoreError::Layer { source: LayerError::Escape { .. }, .. }),
        "{}",
        chain(&error)
    );
    assert!(!Path::new("/tmp/kiln-escaped").exists());
    let lower = put_layer(&store, &Layer::new().symlink("a", "b").symlink("b", "a").bytes());
    let upper = put_layer(&store, &Layer::new().file("a/x", "x").bytes());
    assert!(store.tree(&put_image(&store, &[lower, upper])).is_err(), "a loop");
}

#[test]
fn an_absolute_link_of_a_lower_layer_stays_inside() {
    let (_folder, store) = store();
    let lower = put_layer(&store, &Layer::new().folder("tmp").symlink("out", "/tmp").bytes());
    let upper = put_layer(&store, &Layer::new().file("out/kiln-escaped", "x").bytes());
    let tree = store.tree(&put_image(&store, &[lower, upper])).unwrap();
    assert!(tree.join("tmp/kiln-escaped").exists() && !Path::new("/tmp/kiln-escaped").exists());
}

#[test]
fn hard_links_out_of_the_tree() {
    for target in ["../../../../etc/passwd", "/../etc/passwd", "nothing", "", "self", "folder"] {
        let layer = Layer::new().folder("folder").hardlink("self", target);
        refused!(layer, LayerError::Hardlink { .. });
    }
    refused!(
        Layer::new().symlink("evil", "/etc").hardlink("stolen", "evil/passwd"),
        LayerError::BelowLink { .. }
    );
    // A leading slash is the image's root, not the host's.
    refused!(Layer::new().hardlink("stolen", "/etc/passwd"), LayerError::Hardlink { .. });
}

#[test]
fn a_hard_link_to_a_link_does_not_reach_through_it() {
    let (_folder, store) = store();
    let layer = Layer::new().symlink("evil", "/etc/passwd").hardlink("stolen", "evil");
    let tree = store.tree(&image_of(&store, layer)).unwrap();
    assert!(fs::symlink_metadata(tree.join("stolen")).unwrap().is_symlink());
}

#[test]
fn devices_and_pipes() {
    refused!(Layer::new().header("null", EntryType::Char, "", b"", 0o666), LayerError::Device { .. });
    refused!(Layer::new().header("sda", EntryType::Block, "", b"", 0o666), LayerError::Device { .. });
    refused!(Layer::new().header("pipe", EntryType::Fifo, "", b"", 0o666), LayerError::Fifo { .. });
}

#[test]
fn names_given_twice() {
    refused!(Layer::new().file("a", "1").file("a", "2"), LayerError::Duplicate { .. });
    refused!(Layer::new().file("a", "1").file("./a", "2"), LayerError::Duplicate { .. });
    refused!(Layer::new().file("a", "1").symlink("a", "/etc"), LayerError::Duplicate { .. });
    refused!(Layer::new().folder("a").file("a", "2"), LayerError::Duplicate { .. });
    refused!(Layer::new().file(".wh.a", "").file(".wh.a", ""), LayerError::Duplicate { .. });
}

#[test]
fn a_file_as_a_parent() {
    refused!(Layer::new().file("a", "1").file("a/b", "2"), LayerError::BelowFile { .. });
}

#[test]
fn whiteouts_of_what_is_outside() {
    refused!(Layer::new().file(".wh...", ""), LayerError::Name { .. });
    refused!(Layer::new().file(".wh..", ""), LayerError::Name { .. });
    refused!(Layer::new().file(".wh.", ""), LayerError::Name { .. });
    refused!(Layer::new().symlink("evil", "..").file("evil/.wh.store", ""), LayerError::BelowLink { .. });
}

#[test]
fn sparse_and_vendor_entries() {
    refused!(
        Layer::new().header("s", EntryType::GNUSparse, "", b"", 0o644),
        LayerError::Tar(TarError::Unsupported { .. })
    );
    let record = b"22 GNU.sparse.major=1\n";
    refused!(
        Layer::new().header("x", EntryType::XHeader, "", record, 0o644).file("s", "x"),
        LayerError::Tar(TarError::Unsupported { .. })
    );
    refused!(
        Layer::new().header("v", EntryType::new(b'V'), "", b"", 0o644),
        LayerError::Tar(TarError::Unsupported { .. })
    );
}

#[test]
fn absurd_headers() {
    let long = vec![b'a'; 2 << 20];
    refused!(
        Layer::new().header("x", EntryType::GNULongName, "", &long, 0o644).file("s", "x"),
        LayerError::Tar(TarError::LongExtension { .. })
    );
    let name = vec![b'n'; 300];
    refused!(
        Layer::new().header("x", EntryType::GNULongName, "", &name, 0o644).file("s", "x"),
        LayerError::Name { .. }
    );
    let deep = b"dd/".repeat(1500);
    refused!(
        Layer::new().header("x", EntryType::GNULongName, "", &deep, 0o644).file("s", "x"),
        LayerError::Name { .. }
    );
    for broken in [
        &b"9 path=\n"[..],
        b"99 path=a\n",
        b"x path=a\n",
        b"9 pathaa\n",
        b"18 size=-1000000\n",
        b"12 size=zz\n",
    ] {
        let layer = Layer::new().header("x", EntryType::XHeader, "", broken, 0o644).file("s", "x");
        let error = refusal(layer);
        assert!(matches!(error, LayerError::Tar(_) | LayerError::Name { .. }), "{}", chain(&error));
    }
}

#[test]
fn archives_cut_short_or_altered() {
    let (_folder, store) = store();
    let whole = Layer::new().file("a", &"x".repeat(2000)).file("b", "y").bytes();
    for length in [1, 511, 513, 700, 1024, 3000] {
        let layer = put_layer(&store, &whole[..length]);
        let error = store.tree(&put_image(&store, &[layer])).unwrap_err();
        assert!(matches!(error, StoreError::Layer { .. }), "{length}: {}", chain(&error));
    }
    let mut altered = whole;
    altered[3] ^= 1;
    let layer = put_layer(&store, &altered);
    let text = chain(&store.tree(&put_image(&store, &[layer])).unwrap_err());
    assert!(text.contains("checksum"), "{text}");
}

#[test]
fn bombs() {
    let folder = tempfile::TempDir::new().unwrap();
    let limits = Limits { layer_bytes: 64 << 20, layer_entries: 100, ratio: 50, ratio_after: 1 << 20 };
    let store = Store::open_with(&folder.path().join("store"), limits).unwrap();
    let refusal = |tar: Vec<u8>| match store.tree(&put_image(&store, &[put_layer(&store, &tar)])) {
        Err(StoreError::Layer { source, .. }) => source,
        other => panic!("{other:?}"),
    };
    let zeros = String::from_utf8(vec![0; 8 << 20]).unwrap();
    assert!(matches!(refusal(Layer::new().file("zeros", &zeros).bytes()), LayerError::Bomb { .. }));
    let many = (0..101).fold(Layer::new(), |layer, number| layer.file(&format!("f{number}"), ""));
    assert!(matches!(refusal(many.bytes()), LayerError::TooManyEntries { limit: 100 }));
    // The limit counts what really comes out, not what a header says.
    let noise: Vec<u8> =
        (0_u32..(70 << 20) / 4).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let mut tar = Layer::new().file("a", "").bytes();
    tar.extend_from_slice(&noise);
    assert!(matches!(refusal(tar), LayerError::TooLarge { .. }));
    let nested = gzip(&gzip(&vec![0; 1 << 20]));
    let (digest, size) = store.put_bytes(&nested).unwrap();
    let layer = kiln_store::LayerRef {
        blob: kiln_store::Descriptor::new(kiln_store::oci::LAYER_GZIP, digest, size),
        diff_id: sha(&gzip(&vec![0; 1 << 20])),
    };
    assert!(store.tree(&put_image(&store, &[layer])).is_err(), "gzip in gzip is no tar");
}
