//! An image as people have them: Debian with 400 packages, and an application in Python, Node, Go and Rust.

use std::fs;
use std::path::Path;
use std::process::Command;

use kiln_model::Digest;
use kiln_store::Store;

use crate::kit::{self, Layer, needs, run};

const PACKAGES: &str = "python3-yaml,python3-requests,python3-setuptools,npm,git,ruby-rack,curl";
/// The name changes with what is in it.
const NAME: &str = "debian-app-1";

/// The image in a store of its own, made once per machine.
pub(crate) fn image() -> Option<(Store, Digest)> {
    if !needs(&["mmdebstrap", "pip", "npm", "crane", "objcopy"]) {
        return None;
    }
    let folder = kit::once(NAME, make);
    let store = Store::open(&folder.join("store")).unwrap();
    let image = store.tagged("test").unwrap().unwrap().digest;
    Some((store, image))
}

fn make(folder: &Path) {
    let store = Store::open(&folder.join("store")).unwrap();
    let root = folder.join("root.tar");
    run(Command::new("mmdebstrap")
        .args(["--variant=minbase", &format!("--include={PACKAGES}"), "bookworm"])
        .arg(&root));
    let base = kit::put_layer_from(&store, &mut fs::File::open(&root).unwrap());
    fs::remove_file(&root).unwrap();
    let app = folder.join("app");
    fs::create_dir_all(app.join("node")).unwrap();
    // Old releases on purpose: they do not change any more.
    run(Command::new("pip")
        .args(["install", "-q", "--no-compile", "--target"])
        .arg(app.join("python"))
        .args(["flask==2.3.3", "sqlalchemy==2.0.23", "cryptography==41.0.7"]));
    run(Command::new("npm")
        .args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"])
        .arg(app.join("node"))
        .args(["express@4.18.2", "lodash@4.17.21", "webpack@5.89.0"]));
    let application = Layer::new()
        .tree("app", &app)
        .program("usr/local/bin/crane", fs::read(kit::which("crane")).unwrap())
        .program("usr/local/bin/audited", kit::audited(folder))
        .bytes();
    fs::remove_dir_all(&app).unwrap();
    let application = kit::put_layer(&store, &application);
    let gone = Layer::new()
        .file("app/node/node_modules/.wh.lodash", "")
        .file("app/node/.wh.package-lock.json", "")
        .file("app/python/click/.wh..wh..opq", "");
    let gone = kit::put_layer(&store, &gone.bytes());
    kit::put_image(&store, &[base, application, gone]);
}
