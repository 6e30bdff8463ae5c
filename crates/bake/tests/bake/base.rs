//! Images on other images: from disk, and from a real registry.

use kiln_bake::Outcome;
use kiln_model::{Base, OciBase, Recipe};
use kiln_store::Format;
use kiln_testkit::DockerRegistry;

use crate::kit::{Kitchen, chain, has_program, recipe, run, steps};

fn on(reference: &str, text: &str) -> Recipe {
    let base = Base::Oci(OciBase { reference: reference.into() });
    Recipe { base, steps: steps(text), ..recipe("web") }
}

/// A kitchen with a base image `base` in its store: a user, an environment, an entrypoint.
fn with_base() -> (Kitchen, kiln_model::Digest) {
    let kitchen = Kitchen::new();
    kitchen.file("etc/passwd", "svc:x:77:78::/:\n").file("app", "1");
    let mut base = recipe("base");
    base.steps = steps("copy etc /etc");
    base.config.env.insert("FROM_BASE".into(), "1".into());
    base.config.entrypoint = vec!["/app".into()];
    base.config.labels.insert("a".into(), "b".into());
    let digest = kitchen.try_recipe(base).unwrap().digest;
    (kitchen, digest)
}

#[test]
fn a_base_comes_from_a_layout_or_an_archive() {
    let (kitchen, base) = with_base();
    for (format, name) in [
        (Format::OciLayout, "layout"),
        (Format::OciArchive, "base.tar"),
        (Format::DockerArchive, "docker.tar"),
    ] {
        kitchen.store.export(&base, format, &kitchen.source().join(name), Some("base")).unwrap();
        let baked = kitchen.try_recipe(on(&format!("./{name}"), "copy app /srv/app owner=svc")).unwrap();
        let image = kitchen.store.image(&baked.digest).unwrap();
        let contents = kitchen.store.contents(&image.layers, false).unwrap();
        let entry = &contents.items[&b"srv/app"[..]].entry;
        assert_eq!((entry.uid, entry.gid), (77, 78), "the base's users are known");
        let execution = image.file.config.unwrap();
        assert!(execution.env.unwrap().contains(&"FROM_BASE=1".to_owned()));
        assert_eq!(execution.entrypoint.unwrap(), ["/app"]);
        assert_eq!(execution.labels.unwrap()["a"], "b");
        let again = kitchen.try_recipe(on(&format!("./{name}"), "copy app /srv/app owner=svc")).unwrap();
        assert!(again.steps.iter().all(|step| step.outcome == Outcome::Cached));
    }
    assert!(!kitchen.source().join("kiln.lock").exists(), "what lies on this disk is source, not locked");
    let text = chain(&kitchen.try_recipe(on("./absent.tar", "")).unwrap_err());
    assert!(text.contains("absent.tar"), "{text}");
}

fn push(kitchen: &Kitchen, image: &kiln_model::Digest, folder: &str, reference: &str) {
    let path = kitchen.folder.path().join(folder);
    kitchen.store.export(image, Format::OciLayout, &path, Some("x")).unwrap();
    let (source, target) = (format!("oci:{}:x", path.display()), format!("docker://{reference}"));
    run("skopeo", &["--insecure-policy", "copy", "--dest-tls-verify=false", &source, &target]);
}

#[test]
fn a_base_comes_from_a_registry_and_stays_what_it_was() {
    if !has_program("docker-registry") || !has_program("skopeo") {
        return;
    }
    let (mut kitchen, base) = with_base();
    let registry = DockerRegistry::start();
    let reference = format!("{}/acme/base:1", registry.address);
    push(&kitchen, &base, "one", &reference);
    let wanted = on(&reference, "copy app /srv/app");
    kitchen.store = kiln_store::Store::open(&kitchen.folder.path().join("second")).unwrap();
    let text = chain(&kitchen.try_recipe(wanted.clone()).unwrap_err());
    assert!(text.contains("offline"), "{text}");
    kitchen.offline = false;
    let baked = kitchen.try_recipe(wanted.clone()).unwrap_or_else(|error| panic!("{}", chain(&error)));
    let lock = std::fs::read_to_string(kitchen.source().join("kiln.lock")).unwrap();
    assert!(lock.contains(&base.to_string()), "{lock}");
    assert!(kitchen.tree(&baked).join("etc/passwd").exists());

    // The tag moves; the lock does not.
    let store = std::mem::replace(
        &mut kitchen.store,
        kiln_store::Store::open(&kitchen.folder.path().join("store")).unwrap(),
    );
    kitchen.file("etc/group", "x:x:1:\n");
    let mut other = recipe("base");
    other.steps = steps("copy etc /etc");
    let other = kitchen.try_recipe(other).unwrap().digest;
    push(&kitchen, &other, "two", &reference);
    kitchen.store = store;
    assert_eq!(kitchen.try_recipe(wanted.clone()).unwrap().digest, baked.digest);
    kitchen.store = kiln_store::Store::open(&kitchen.folder.path().join("third")).unwrap();
    assert_eq!(
        kitchen.try_recipe(wanted.clone()).unwrap().digest,
        baked.digest,
        "from the lock, on another machine"
    );

    // Another reference in the spec does not fit the lock.
    let moved = on(&format!("{}/acme/base@{base}", registry.address), "copy app /srv/app");
    let text = chain(&kitchen.try_recipe(moved.clone()).unwrap_err());
    assert!(text.contains("kiln lock"), "{text}");
    kitchen.auto_lock = true;
    assert_eq!(kitchen.try_recipe(moved).unwrap().digest.to_string().len(), 71);
    kitchen.try_recipe(wanted.clone()).unwrap_or_else(|error| panic!("{}", chain(&error)));
    let lock = std::fs::read_to_string(kitchen.source().join("kiln.lock")).unwrap();
    assert!(lock.contains(&other.to_string()), "the tag was resolved anew since the reference had changed");
    kitchen.offline = true;
    kitchen.try_recipe(wanted).unwrap();
    let absent = on(&format!("{}/acme/absent:1", registry.address), "");
    std::fs::remove_file(kitchen.source().join("kiln.lock")).unwrap();
    kitchen.offline = false;
    let text = chain(&kitchen.try_recipe(absent).unwrap_err());
    assert!(text.contains("404") && text.contains("tag"), "{text}");
}
