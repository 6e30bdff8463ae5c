//! Images out and in again, also through other programs.

use std::fs;
use std::path::Path;
use std::process::Command;

use kiln_model::Digest;
use kiln_store::oci::Execution;
use kiln_store::{Change, Format, Store};

use crate::kit::{Layer, chain, has_program, put_image_with, put_layer, store};

fn sample(store: &Store) -> Digest {
    let one = put_layer(store, &Layer::new().folder("srv").file("srv/a", "hello").bytes());
    let two = put_layer(store, &Layer::new().file("srv/b", "world").symlink("srv/c", "b").bytes());
    let execution = Execution { entrypoint: Some(vec!["/srv/a".into()]), ..Execution::default() };
    let image = put_image_with(store, &[one, two], execution);
    store.tag("sample", &image).unwrap();
    image.digest
}

const FORMATS: [(Format, &str); 3] =
    [(Format::OciLayout, "layout"), (Format::OciArchive, "oci.tar"), (Format::DockerArchive, "docker.tar")];

#[test]
fn every_format_comes_back_and_is_the_same_every_time() {
    let (folder, store) = store();
    let image = sample(&store);
    for (format, name) in FORMATS {
        let (first, second) = (folder.path().join(name), folder.path().join(format!("again-{name}")));
        store.export(&image, format, &first, Some("sample")).unwrap();
        store.export(&image, format, &second, Some("sample")).unwrap();
        if first.is_file() {
            assert_eq!(fs::read(&first).unwrap(), fs::read(&second).unwrap(), "{name}");
        }
        let other = Store::open(&folder.path().join(format!("other-{name}"))).unwrap();
        let back = other.import(&first).unwrap();
        let tree = other.tree(&back.digest).unwrap();
        assert_eq!(fs::read_to_string(tree.join("srv/c")).unwrap(), "world", "{name}");
        assert!(back.tag().unwrap().starts_with("sample"), "{name}");
        if format != Format::DockerArchive {
            assert_eq!(back.digest, image, "{name}");
        }
        let text = store.export(&image, format, &first, None).unwrap_err().to_string();
        assert!(text.contains(name), "{text}");
    }
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn skopeo_reads_every_format() {
    if !has_program("skopeo") {
        return;
    }
    let (folder, store) = store();
    let image = sample(&store);
    for ((format, name), transport) in FORMATS.into_iter().zip(["oci", "oci-archive", "docker-archive"]) {
        let path = folder.path().join(name);
        store.export(&image, format, &path, Some("sample")).unwrap();
        let source = format!("{transport}:{}", path.display());
        let text = run("skopeo", &["inspect", &source]);
        assert!(text.contains("\"Architecture\""), "{text}");
        let target = folder.path().join(format!("copy-{name}"));
        run("skopeo", &["--insecure-policy", "copy", &source, &format!("dir:{}", target.display())]);
        let text = run("skopeo", &["inspect", "--config", &source]);
        assert!(text.contains("/srv/a"), "{text}");
    }
}

#[test]
fn other_programs_find_the_layout_valid() {
    let (folder, store) = store();
    let image = sample(&store);
    let path = folder.path().join("layout");
    store.export(&image, Format::OciLayout, &path, Some("sample")).unwrap();
    if has_program("oci-image-tool") {
        run(
            "oci-image-tool",
            &["validate", "--type", "image", "--ref", "name=sample", path.to_str().unwrap()],
        );
        let own = store.root().to_str().unwrap();
        run("oci-image-tool", &["validate", "--type", "image", "--ref", "name=sample", own]);
    }
    if has_program("umoci") {
        let target = folder.path().join("bundle");
        run(
            "umoci",
            &[
                "unpack",
                "--rootless",
                "--image",
                &format!("{}:sample", path.display()),
                target.to_str().unwrap(),
            ],
        );
        assert_eq!(fs::read_to_string(target.join("rootfs/srv/a")).unwrap(), "hello");
    }
}

#[test]
fn what_others_write_is_imported() {
    if !has_program("skopeo") {
        return;
    }
    let (folder, store) = store();
    let image = sample(&store);
    let path = folder.path().join("layout");
    store.export(&image, Format::OciLayout, &path, Some("sample")).unwrap();
    for (transport, name) in [("docker-archive", "d.tar"), ("oci-archive", "o.tar"), ("oci", "o")] {
        let made = folder.path().join(name);
        let target = format!("{transport}:{}:made:1", made.display());
        run("skopeo", &["--insecure-policy", "copy", &format!("oci:{}:sample", path.display()), &target]);
        if name == "d.tar" {
            run("gzip", &["-k", made.to_str().unwrap()]);
            let other = Store::open(&folder.path().join("gz")).unwrap();
            other.import(Path::new(&format!("{}.gz", made.display()))).unwrap();
        }
        let other = Store::open(&folder.path().join(format!("from-{name}"))).unwrap();
        let back = other.import(&made).unwrap_or_else(|error| panic!("{name}: {}", chain(&error)));
        let tree = other.tree(&back.digest).unwrap();
        assert_eq!(fs::read_to_string(tree.join("srv/a")).unwrap(), "hello");
    }
}

#[test]
fn nonsense_is_not_imported() {
    let (folder, store) = store();
    let image = sample(&store);
    let junk = folder.path().join("junk.tar");
    fs::write(&junk, b"this is no archive, only text that is long enough to be looked at".repeat(20))
        .unwrap();
    assert!(store.import(&junk).is_err());
    assert!(store.import(&folder.path().join("absent")).unwrap_err().to_string().contains("absent"));
    let path = folder.path().join("layout");
    store.export(&image, Format::OciLayout, &path, Some("sample")).unwrap();
    let text = store.import(&folder.path().join("layout:other")).unwrap_err().to_string();
    assert!(text.contains("sample"), "{text}");
    let blob = fs::read_dir(path.join("blobs/sha256")).unwrap().next().unwrap().unwrap().path();
    fs::write(&blob, b"altered").unwrap();
    let other = Store::open(&folder.path().join("other")).unwrap();
    assert!(other.import(&path).is_err());
    assert!(other.list().unwrap().is_empty());
}

#[test]
fn differences_are_named() {
    let (_folder, store) = store();
    let image = |layer: Layer| {
        let layer = put_layer(&store, &layer.bytes());
        put_image_with(&store, &[layer], Execution::default()).digest
    };
    let one = image(Layer::new().file("same", "1").file("changed", "1").file("gone", "1"));
    let two = image(Layer::new().file("same", "1").file("changed", "two").file("new", "1"));
    let found = store.diff(&one, &two).unwrap();
    let short: Vec<_> = found.iter().map(|d| (d.path.as_str(), d.change, d.what.as_slice())).collect();
    assert_eq!(
        short,
        [
            ("/changed", Change::Changed, &["content", "size"][..]),
            ("/gone", Change::Removed, &[]),
            ("/new", Change::Added, &[]),
        ]
    );
    assert!(store.diff(&one, &one).unwrap().is_empty());
    let listed = store.images().unwrap();
    assert!(listed.iter().all(|image| image.problem.is_none()));
    assert_eq!(store.history(&one).unwrap().len(), 1);
}
