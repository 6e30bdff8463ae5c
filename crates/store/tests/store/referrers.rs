//! Evidence beside images: listed, kept, collected, carried along.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use kiln_model::Digest;
use kiln_store::oci::{self, Descriptor, Index, Manifest};
use kiln_store::{Format, Store, StoreError};

use crate::kit::{self, Layer, image_of, put_image_with, put_layer};

fn tagged_image(store: &Store, tag: &str) -> Digest {
    let layer = put_layer(store, &Layer::new().file("etc/name", tag).bytes());
    let image = put_image_with(store, &[layer], oci::Execution::default());
    store.tag(tag, &image).unwrap();
    image.digest
}

/// A manifest about `subject` whose one layer holds `text`.
fn evidence(store: &Store, subject: Option<&Digest>, text: &str) -> Descriptor {
    let (empty, size) = store.put_bytes(oci::EMPTY_BYTES).unwrap();
    let (layer, length) = store.put_bytes(text.as_bytes()).unwrap();
    let layers = vec![Descriptor::new("text/plain", layer, length)];
    let mut manifest = Manifest::new(Descriptor::new(oci::EMPTY, empty, size), layers);
    manifest.artifact_type = Some("application/example".into());
    manifest.subject = subject.map(|digest| Descriptor::new(oci::MANIFEST, *digest, 7));
    manifest.annotations = BTreeMap::from([("said".to_owned(), text.to_owned())]);
    let (digest, size) = store.put_bytes(&serde_json::to_vec(&manifest).unwrap()).unwrap();
    Descriptor::new(oci::MANIFEST, digest, size)
}

fn add(store: &Store, subject: &Digest, text: &str) -> Digest {
    let one = evidence(store, Some(subject), text);
    store.add_referrer(&one, subject).unwrap();
    one.digest
}

fn digests(store: &Store, subject: &Digest) -> HashSet<Digest> {
    store.referrers(subject).unwrap().iter().map(|one| one.digest).collect()
}

#[test]
fn what_is_added_is_listed_once_and_is_no_image() {
    let (folder, store) = kit::store();
    let image = tagged_image(&store, "web");
    assert!(store.referrers(&image).unwrap().is_empty());
    let one = add(&store, &image, "one");
    let two = add(&store, &image, "two");
    assert_eq!(add(&store, &image, "one"), one);
    assert_eq!(digests(&store, &image), HashSet::from([one, two]));
    let listed = store.referrers(&image).unwrap().into_iter().find(|entry| entry.digest == one).unwrap();
    assert_eq!(listed.artifact_type.as_deref(), Some("application/example"));
    assert_eq!(listed.annotations["said"], "one");
    assert_eq!(store.list().unwrap().len(), 1, "evidence is not listed among images");
    assert!(matches!(store.resolve(&one.to_string()), Err(StoreError::NoSuchImage { .. })));
    // It is on disk, and another process sees it.
    let other = Store::open(&folder.path().join("store")).unwrap();
    assert_eq!(digests(&other, &image), HashSet::from([one, two]));
}

#[test]
fn the_index_stays_small_and_its_lists_are_those_of_the_distribution_specification() {
    let (folder, store) = kit::store();
    let image = tagged_image(&store, "web");
    let blobs = || std::fs::read_dir(folder.path().join("store/blobs/sha256")).unwrap().count();
    add(&store, &image, "0");
    let before = blobs();
    for number in 1..40 {
        add(&store, &image, &number.to_string());
    }
    assert_eq!(blobs() - before, 2 * 39, "a manifest and a layer each, and no former lists");
    let index = std::fs::read(folder.path().join("store/index.json")).unwrap();
    let index: Index = serde_json::from_slice(&index).unwrap();
    assert_eq!(index.manifests.len(), 2);
    let list = index.manifests.iter().find(|entry| entry.is_index()).unwrap();
    assert_eq!(list.tag(), Some(format!("sha256-{}", image.hex()).as_str()));
    assert_eq!(store.read_json::<Index>(&list.digest).unwrap().manifests.len(), 40);
    let error = store.tag(&format!("sha256-{}", image.hex()), &Descriptor::new(oci::MANIFEST, image, 1));
    assert!(matches!(error, Err(StoreError::BadTag { .. })), "such tags are the store's own");
}

#[test]
fn evidence_about_another_image_is_refused() {
    let (_folder, store) = kit::store();
    let (one, two) = (tagged_image(&store, "one"), tagged_image(&store, "two"));
    let about = evidence(&store, Some(&one), "said");
    let error = store.add_referrer(&about, &two).unwrap_err();
    assert!(matches!(error, StoreError::Mismatch { .. }), "{error}");
    assert!(store.referrers(&two).unwrap().is_empty());
    // What names nothing (cosign's signatures) is about what the lister says.
    let old = evidence(&store, None, "signature");
    store.add_referrer(&old, &two).unwrap();
    assert_eq!(digests(&store, &two), HashSet::from([old.digest]));
}

#[test]
fn evidence_is_kept_with_its_image_and_goes_with_it() {
    let (_folder, store) = kit::store();
    let (kept, gone) = (tagged_image(&store, "kept"), tagged_image(&store, "gone"));
    let about_kept = add(&store, &kept, "kept");
    let about_that = add(&store, &about_kept, "about evidence");
    let about_gone = add(&store, &gone, "gone");
    store.untag("gone").unwrap();
    let dry = store.collect(&HashSet::new(), Duration::ZERO, true).unwrap();
    assert_eq!(digests(&store, &gone), HashSet::from([about_gone]), "a dry run removes nothing");
    let done = store.collect(&HashSet::new(), Duration::ZERO, false).unwrap();
    assert_eq!((dry.blobs, dry.images), (done.blobs, done.images.clone()));
    assert_eq!(done.images, [gone]);
    assert!(!store.has(&about_gone) && store.referrers(&gone).unwrap().is_empty());
    assert_eq!(digests(&store, &kept), HashSet::from([about_kept]));
    assert_eq!(digests(&store, &about_kept), HashSet::from([about_that]));
    for digest in [about_kept, about_that] {
        let manifest: Manifest = store.read_json(&digest).unwrap();
        assert!(store.has(&manifest.config.digest) && store.has(&manifest.layers[0].digest));
    }
}

#[test]
fn evidence_that_was_just_made_about_nothing_listed_has_its_grace() {
    let (_folder, store) = kit::store();
    let image = image_of(&store, Layer::new().file("a", "b"));
    let one = add(&store, &image, "made while the image is being named");
    store.collect(&HashSet::new(), Duration::from_secs(3600), false).unwrap();
    assert_eq!(digests(&store, &image), HashSet::from([one]));
    assert!(store.has(&one));
    store.collect(&HashSet::new(), Duration::ZERO, false).unwrap();
    assert!(store.referrers(&image).unwrap().is_empty());
}

#[test]
fn evidence_travels_with_its_image() {
    let (folder, store) = kit::store();
    let image = tagged_image(&store, "web");
    let one = add(&store, &image, "one");
    let nested = add(&store, &one, "about one");
    tagged_image(&store, "another");
    for (format, name) in [(Format::OciLayout, "layout"), (Format::OciArchive, "archive.tar")] {
        let path = folder.path().join(name);
        store.export(&image, format, &path, Some("web:1")).unwrap();
        let other = Store::open(&folder.path().join(format!("{name}-store"))).unwrap();
        let taken = other.import(&path).unwrap();
        assert_eq!((taken.digest, taken.tag()), (image, Some("web:1")));
        assert_eq!(digests(&other, &image), HashSet::from([one]));
        assert_eq!(digests(&other, &one), HashSet::from([nested]));
        assert_eq!(other.list().unwrap().len(), 1);
        let manifest: Manifest = other.read_json(&one).unwrap();
        assert_eq!(other.read_verified(&manifest.layers[0].digest).unwrap(), b"one");
    }
}

#[test]
fn evidence_that_other_tools_listed_is_taken_too() {
    let (folder, store) = kit::store();
    let image = tagged_image(&store, "web");
    let plain = evidence(&store, Some(&image), "with a subject, as oras lists it");
    let signed = evidence(&store, None, "without, as cosign tags it");
    let path = folder.path().join("layout");
    store.export(&image, Format::OciLayout, &path, Some("web:1")).unwrap();
    for one in [&plain, &signed] {
        let manifest: Manifest = store.read_json(&one.digest).unwrap();
        for digest in [one.digest, manifest.config.digest, manifest.layers[0].digest] {
            let name = format!("blobs/sha256/{}", digest.hex());
            std::fs::copy(store.blob_path(&digest), path.join(name)).unwrap();
        }
    }
    let index_path = path.join("index.json");
    let mut index: Index = serde_json::from_slice(&std::fs::read(&index_path).unwrap()).unwrap();
    let mut tagged = signed.clone();
    tagged.annotations.insert(oci::REF_NAME.into(), format!("sha256-{}.sig", image.hex()));
    index.manifests.extend([plain.clone(), tagged]);
    std::fs::write(&index_path, serde_json::to_vec(&index).unwrap()).unwrap();
    let other = Store::open(&folder.path().join("other")).unwrap();
    assert_eq!(other.import(&path).unwrap().digest, image);
    assert_eq!(digests(&other, &image), HashSet::from([plain.digest, signed.digest]));
}

#[test]
fn those_who_add_at_once_lose_nothing() {
    let (folder, store) = kit::store();
    let image = tagged_image(&store, "web");
    let root = folder.path().join("store");
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let root = &root;
            scope.spawn(move || {
                let store = Store::open(root).unwrap();
                for number in 0..10 {
                    add(&store, &image, &format!("{worker} {number}"));
                    store.referrers(&image).unwrap();
                }
            });
        }
    });
    assert_eq!(store.referrers(&image).unwrap().len(), 40);
}

#[test]
fn a_list_can_be_shortened() {
    let (_folder, store) = kit::store();
    let image = tagged_image(&store, "web");
    let (one, two) = (add(&store, &image, "one"), add(&store, &image, "two"));
    store.remove_referrers(&HashSet::from([one]), &image).unwrap();
    assert_eq!(digests(&store, &image), HashSet::from([two]));
    store.remove_referrers(&HashSet::from([two]), &image).unwrap();
    assert!(store.referrers(&image).unwrap().is_empty());
    assert_eq!(store.list().unwrap().len(), 1);
}
