//! The same images, listed by Syft and by Trivy. Every difference has a rule here that says why.

use std::collections::BTreeSet;
use std::fs;

use kiln_model::Digest;
use kiln_scan::{Ecosystem, Inventory, inventory};
use kiln_store::Store;

use crate::big;
use crate::kit::{DEBIAN, Layer, image_of, needs, store, which};
use crate::tools::{Known, ours, syft, trivy};

/// Fails with the packages that only one lists and no rule explains.
fn compare(
    ours: &BTreeSet<Known>,
    theirs: &[(Known, Vec<String>)],
    explained: impl Fn(&Known, &[String]) -> bool,
) {
    let names: BTreeSet<&Known> = theirs.iter().map(|(known, _)| known).collect();
    let theirs: Vec<_> =
        theirs.iter().filter(|(known, places)| !ours.contains(known) && !explained(known, places)).collect();
    let ours: Vec<_> = ours.iter().filter(|known| !names.contains(known) && !explained(known, &[])).collect();
    assert!(theirs.is_empty() && ours.is_empty(), "only theirs: {theirs:#?}\nonly ours: {ours:#?}");
}

/// A package.json below a package in node_modules that is not that package's own marks a folder of its files
/// (`terser/dist`, `fast-uri/benchmark`): nothing was installed there. Both peers list it.
fn folder_of_a_package(known: &Known, places: &[String]) -> bool {
    let inside = |place: &String| {
        let (_, inside) = place.rsplit_once("node_modules/").unwrap_or_default();
        let inside = inside.trim_end_matches("package.json").trim_end_matches('/');
        inside.split('/').count() > if inside.starts_with('@') { 2 } else { 1 }
    };
    known.kind == "npm" && !places.is_empty() && places.iter().all(inside)
}

/// Without a version it cannot be matched with anything; Syft lists it.
fn without_version(known: &Known, places: &[String]) -> bool {
    matches!(known.kind.as_str(), "npm" | "maven") && known.version.is_empty() && !places.is_empty()
}

/// A project in a deps.json is the application that the file is about, not a package of NuGet; both peers list it.
/// `Shop` is the one in these tests.
fn project(known: &Known) -> bool {
    known.kind == "nuget" && known.name == "Shop"
}

/// Archives without pom.properties are named by guesses. Syft takes the name of javax.inject from its bundle's title
/// (`inject`), Kiln from its file, and leaves directives (`;singleton=true`) in names, which are not part of them.
fn guessed(known: &Known) -> bool {
    let named = ["inject/inject", "javax.inject/javax.inject"].contains(&known.name.as_str());
    known.kind == "maven" && (named || known.name.contains(";singleton=true"))
}

/// A Go program that was built without modules (as Debian builds them) names no module; Syft takes the folder of its
/// main package for one.
fn named_by_path(known: &Known, places: &[String]) -> bool {
    known.kind == "golang" && known.version.is_empty() && !places.is_empty()
}

/// What came in a package of the distribution, Trivy leaves out; Kiln lists it and says who brought it.
fn brought(inventory: &Inventory) -> BTreeSet<Known> {
    inventory.providers.keys().map(|purl| Known::of_purl(purl)).collect()
}

pub(crate) fn as_syft(store: &Store, image: &Digest) {
    let inventory = inventory(store, image).unwrap();
    compare(&ours(&inventory), &syft(store), |known, places| {
        folder_of_a_package(known, places)
            || without_version(known, places)
            || project(known)
            || guessed(known)
            || named_by_path(known, places)
    });
}

pub(crate) fn as_trivy(store: &Store, image: &Digest) {
    let inventory = inventory(store, image).unwrap();
    let brought = brought(&inventory);
    compare(&ours(&inventory), &trivy(store), |known, places| {
        folder_of_a_package(known, places) || project(known) || brought.contains(known)
    });
}

#[test]
fn a_debian_image_is_listed_as_syft_lists_it() {
    let Some((store, image)) = big::image().filter(|_| needs(&["syft"])) else { return };
    as_syft(&store, &image);
}

#[test]
fn a_debian_image_is_listed_as_trivy_lists_it() {
    let Some((store, image)) = big::image().filter(|_| needs(&["trivy"])) else { return };
    as_trivy(&store, &image);
}

#[test]
fn the_modules_of_a_go_program_are_listed_as_both_list_them() {
    if !needs(&["trivy", "syft"]) {
        return;
    }
    let (_folder, store) = store();
    let program = fs::read(which("trivy")).unwrap();
    let image =
        image_of(&store, [Layer::new().file("etc/os-release", DEBIAN).program("usr/bin/trivy", program)]);
    let inventory = inventory(&store, &image).unwrap();
    assert!(inventory.packages.iter().filter(|package| package.ecosystem == Ecosystem::Go).count() > 200);
    as_syft(&store, &image);
    as_trivy(&store, &image);
}

#[test]
fn a_debian_image_is_read_whole_and_the_same_each_time() {
    let Some((store, image)) = big::image() else { return };
    let first = inventory(&store, &image).unwrap();
    assert_eq!(first.problems, Vec::<String>::new());
    assert_eq!(first, inventory(&store, &image).unwrap());
    // What the last layer deletes is gone; what came from Debian says so.
    let has = |name: &str| first.packages.iter().any(|package| package.purl.starts_with(name));
    let at =
        |path: &str| first.packages.iter().flat_map(|one| &one.locations).any(|place| place.path == path);
    assert!(has("pkg:npm/express@4.18.2") && at("app/node/node_modules/express/package.json"));
    assert!(!at("app/node/node_modules/lodash/package.json"));
    assert!(has("pkg:cargo/serde@1.0.193") && !has("pkg:cargo/cc@"));
    let yaml = first.providers.iter().find(|(purl, _)| purl.starts_with("pkg:pypi/pyyaml@")).unwrap();
    assert!(yaml.1.first().unwrap().starts_with("pkg:deb/debian/python3-yaml@"), "{yaml:?}");
    let flask = first.dependencies.iter().find(|(purl, _)| purl.starts_with("pkg:pypi/flask@")).unwrap();
    assert!(flask.1.iter().any(|purl| purl.starts_with("pkg:pypi/werkzeug@")), "{flask:?}");
    let express =
        first.checksums.iter().find(|(purl, _)| purl.starts_with("pkg:npm/express@4.18.2")).unwrap();
    assert_eq!(express.1.first().unwrap().value.len(), 128);
    let json = serde_json::to_string(&first).unwrap();
    assert_eq!(serde_json::from_str::<Inventory>(&json).unwrap(), first);
}
