//! What later layers do to what earlier ones hold.

use std::fs;

use kiln_scan::{ScanError, inventory, inventory_of_folder};
use kiln_store::{Limits, Store};
use tempfile::TempDir;

use crate::kit::{DEBIAN, Layer, dpkg, find, image_of, list, names, put_image, put_layer, store};

const STATUS: &str = "var/lib/dpkg/status";
const METADATA: &str = "Name: six\nVersion: 1.16.0\n\n";

fn base() -> Layer {
    Layer::new()
        .file("usr/lib/os-release", DEBIAN)
        .symlink("etc/os-release", "../usr/lib/os-release")
        .file(STATUS, dpkg(&[("bash", "5.2-1"), ("libc6", "2.36-9")]))
        .file("opt/py/six-1.16.0.dist-info/METADATA", METADATA)
}

#[test]
fn the_last_database_counts() {
    let found = list([base(), Layer::new().file(STATUS, dpkg(&[("bash", "5.2-2")]))]);
    assert_eq!(names(&found), ["bash@5.2-2", "six@1.16.0"]);
    assert_eq!(found.distribution.as_ref().unwrap().ecosystem(), "debian:12");
    assert!(find(&found, "bash").purl.contains("distro=debian-12"));
}

#[test]
fn whiteouts_hide_what_is_below_and_only_that() {
    let gone = Layer::new().file("opt/.wh.py", "");
    assert_eq!(names(&list([base(), gone])), ["bash@5.2-1", "libc6@2.36-9"]);
    // An opaque folder keeps what its own layer puts into it, before or after the marker.
    let other = "Name: attrs\nVersion: 23.1.0\n\n";
    let opaque =
        Layer::new().file("opt/py/attrs-23.1.0.dist-info/METADATA", other).file("opt/py/.wh..wh..opq", "");
    assert_eq!(names(&list([base(), opaque])), ["bash@5.2-1", "libc6@2.36-9", "attrs@23.1.0"]);
    let file = Layer::new().file("var/lib/dpkg/.wh.status", "");
    assert_eq!(names(&list([base(), file])), ["six@1.16.0"]);
}

#[test]
fn another_kind_of_file_takes_the_place() {
    for over in [Layer::new().file("opt/py", "x"), Layer::new().symlink("opt/py", "/nowhere")] {
        assert_eq!(names(&list([base(), over])), ["bash@5.2-1", "libc6@2.36-9"]);
    }
    // A folder over a folder hides nothing.
    assert_eq!(names(&list([base(), Layer::new().folder("opt/py")])).len(), 3);
}

#[test]
fn paths_lead_through_links_of_lower_layers() {
    let linked = Layer::new().symlink("var/lib/dpkg", "../../usr/dpkg").folder("usr/dpkg");
    let database = Layer::new().file(STATUS, dpkg(&[("bash", "1")]));
    let found = list([linked, database]);
    assert_eq!(find(&found, "bash").locations[0].path, "usr/dpkg/status");
    let hidden = Layer::new().symlink("var/lib/dpkg", "../../usr/dpkg");
    let database = Layer::new().file(STATUS, dpkg(&[("bash", "1")]));
    let gone = Layer::new().file("usr/dpkg/.wh.status", "");
    assert_eq!(names(&list([hidden, database, gone])), Vec::<String>::new());
}

#[test]
fn hard_links_tell_what_their_other_name_does_not() {
    // As pnpm and uv lay out their caches: the content stands under a name that says nothing.
    let cached = || {
        Layer::new()
            .file("cache/ab12", METADATA)
            .hardlink("opt/six-1.16.0.dist-info/METADATA", "cache/ab12")
            .hardlink("srv/six-1.16.0.dist-info/METADATA", "opt/six-1.16.0.dist-info/METADATA")
    };
    let found = list([cached()]);
    let places: Vec<_> = find(&found, "six").locations.iter().map(|place| place.path.as_str()).collect();
    assert_eq!(places, ["opt/six-1.16.0.dist-info/METADATA", "srv/six-1.16.0.dist-info/METADATA"]);
    let gone = list([cached(), Layer::new().file(".wh.opt", "").file(".wh.cache", "")]);
    assert_eq!(find(&gone, "six").locations.len(), 1);
}

#[test]
fn one_package_in_two_places_is_one_with_two_locations() {
    let found = list([base(), Layer::new().file("srv/six-1.16.0.dist-info/METADATA", METADATA)]);
    let six = find(&found, "six");
    assert_eq!(six.locations.len(), 2);
    assert_ne!(six.locations[0].layer, six.locations[1].layer);
}

#[test]
fn what_cannot_be_read_is_said() {
    let broken = Layer::new()
        .file("var/lib/rpm/rpmdb.sqlite", "SQLite format 3\0 and then nothing")
        .file("usr/lib/sysimage/rpm/Packages.db", "x")
        .file("var/lib/rpm/Packages", vec![0; 8192])
        .file("app/vendor/composer/installed.json", "{")
        .file("app/node_modules/a/package.json", "[]")
        .file("lib/apk/db/installed", "V:1\n")
        .file("app/a.jar", "no zip");
    let found = list([broken, Layer::new().file(STATUS, dpkg(&[("bash", "1")]))]);
    let starts: Vec<_> = found.problems.iter().map(|text| text.split(':').next().unwrap()).collect();
    let expected = [
        "app/a.jar",
        "app/node_modules/a/package.json",
        "app/vendor/composer/installed.json",
        "lib/apk/db/installed",
        "there is no os-release",
        "usr/lib/sysimage/rpm/Packages.db",
        "var/lib/rpm/Packages",
        "var/lib/rpm/rpmdb.sqlite",
    ];
    assert_eq!(starts, expected, "{:#?}", found.problems);
}

#[test]
fn damaged_layers_and_bombs_are_errors() {
    let (_folder, store) = store();
    let image = image_of(&store, [base()]);
    let layer = store.image(&image).unwrap().layers.remove(0);
    let path = store.blob_path(&layer.blob.digest);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(inventory(&store, &image).is_err());

    let folder = TempDir::new().unwrap();
    let limits = Limits { ratio: 50, ratio_after: 1 << 20, ..Limits::default() };
    let store = Store::open_with(&folder.path().join("store"), limits).unwrap();
    let bomb = put_layer(&store, &Layer::new().file("zeros", vec![0; 8 << 20]).bytes());
    let image = put_image(&store, &[bomb]);
    let error = inventory(&store, &image).unwrap_err();
    let ScanError::Store(source) = error else { panic!("{error:?}") };
    assert!(std::error::Error::source(&source).unwrap().to_string().contains("decompression bombs"));
}

#[test]
fn a_folder_is_listed_like_an_image_of_it() {
    let folder = TempDir::new().unwrap();
    tar::Archive::new(&base().bytes()[..]).unpack(folder.path()).unwrap();
    std::os::unix::fs::symlink("/", folder.path().join("out")).unwrap();
    fs::create_dir_all(folder.path().join("proc/x.dist-info")).unwrap();
    fs::write(folder.path().join("proc/x.dist-info/METADATA"), METADATA).unwrap();
    let found = inventory_of_folder(folder.path()).unwrap();
    assert_eq!(names(&found), names(&list([base()])));
    assert_eq!(find(&found, "six").locations[0].layer, None);
    let error = inventory_of_folder(&folder.path().join("none")).unwrap_err();
    assert!(error.to_string().starts_with("cannot list "), "{error}");
}
