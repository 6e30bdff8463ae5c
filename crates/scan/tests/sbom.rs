//! SBOMs that strict validators accept, always the same bytes.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up shall fail")]

#[path = "inventory/big.rs"]
mod big;
#[path = "inventory/kit.rs"]
#[expect(dead_code, reason = "shared with the tests of the inventory")]
mod kit;

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use kiln_scan::{Inventory, Subject, cyclonedx, inventory, inventory_of_folder, spdx};
use serde_json::Value;
use tempfile::TempDir;

use kit::{DEBIAN, Layer, dpkg, list, needs, run};

const SUBJECT: Subject<'static> = Subject { name: "shop/api", created: None };

const STRICT: &str = "
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from cyclonedx.model.bom import Bom
import json
text = open(sys.argv[1]).read()
errors = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
if errors: sys.exit(str(errors))
# And it can be read as a model: every reference leads somewhere.
Bom.from_json(json.loads(text)).validate()
";

fn validate(inventory: &Inventory) {
    if !needs(&["pyspdxtools", "python"]) {
        return;
    }
    let folder = TempDir::new().unwrap();
    let (bom, document) = (folder.path().join("bom.cdx.json"), folder.path().join("sbom.spdx.json"));
    fs::write(&bom, cyclonedx(inventory, &SUBJECT)).unwrap();
    fs::write(&document, spdx(inventory, &SUBJECT)).unwrap();
    run(Command::new("python").args(["-c", STRICT]).arg(&bom));
    run(Command::new("pyspdxtools").arg("-i").arg(&document));
}

/// One of everything that has a place of its own in the documents.
fn sample() -> Inventory {
    let copyright = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nLicense: GPL-2+ or Artistic\n\nLicense: Expat\n";
    let node = r#"{"name":"@scope/thing","version":"1.0.0","license":"SEE LICENSE IN \"x\"","dependencies":{"dep":"*"}}"#;
    let dep = r#"{"name":"dep","version":"2.0.0+b","license":"(MIT OR Apache-2.0)"}"#;
    let lock =
        format!(r#"{{"packages":{{"node_modules/dep":{{"integrity":"sha512-{}=="}}}}}}"#, "A".repeat(86));
    list([Layer::new()
        .file("etc/os-release", DEBIAN)
        .file("var/lib/dpkg/status", dpkg(&[("bash", "1:5.2~rc1-1+b1"), ("libc6", "2.36-9")]))
        .file("var/lib/dpkg/info/bash.list", "/.\n/opt/six-1.16.0.dist-info/METADATA\n")
        .file("usr/share/doc/bash/copyright", copyright)
        .file("opt/six-1.16.0.dist-info/METADATA", "Name: six\nVersion: 1.16.0\nLicense: MIT\n")
        .file("app/node_modules/@scope/thing/package.json", node)
        .file("app/node_modules/dep/package.json", dep)
        .file("app/node_modules/.package-lock.json", lock)
        .file("app/node_modules/broken/package.json", "{")])
}

#[test]
fn strict_validators_accept_documents_of_everything() {
    let inventory = sample();
    assert_eq!(inventory.packages.len(), 5);
    validate(&inventory);
}

#[test]
fn strict_validators_accept_documents_of_nothing_and_of_folders() {
    validate(&Inventory::default());
    let folder = TempDir::new().unwrap();
    fs::create_dir_all(folder.path().join("six-1.dist-info")).unwrap();
    fs::write(folder.path().join("six-1.dist-info/METADATA"), "Name: six\nVersion: 1\n").unwrap();
    validate(&inventory_of_folder(folder.path()).unwrap());
}

#[test]
fn strict_validators_accept_documents_of_a_real_image() {
    let Some((store, image)) = big::image() else { return };
    validate(&inventory(&store, &image).unwrap());
}

#[test]
fn documents_tell_licences_relations_digests_and_places() {
    let inventory = sample();
    let bom: Value = serde_json::from_str(&cyclonedx(&inventory, &SUBJECT)).unwrap();
    let component = |name: &str| {
        let list = bom["components"].as_array().unwrap();
        list.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("no {name}")).clone()
    };
    let expression = "MIT AND (GPL-2.0-or-later OR Artistic-1.0-Perl)";
    assert_eq!(component("bash")["licenses"][0]["expression"], expression);
    assert_eq!(component("six")["licenses"][0]["license"]["id"], "MIT");
    assert_eq!(component("thing")["licenses"][0]["license"]["name"], "SEE LICENSE IN \"x\"");
    assert_eq!(component("thing")["group"], "@scope");
    assert_eq!(component("dep")["hashes"][0]["alg"], "SHA-512");
    assert_eq!(component("dep")["purl"], "pkg:npm/dep@2.0.0%2Bb");
    let properties = component("six")["properties"].to_string();
    assert!(
        properties.contains("kiln:provided-by") && properties.contains("opt/six-1.16.0.dist-info/METADATA")
    );
    assert!(properties.contains(&inventory.packages[0].locations[0].layer.unwrap().to_string()));
    let root = &bom["metadata"]["component"];
    assert_eq!(root["version"], inventory.image.unwrap().to_string());
    assert_eq!(bom["metadata"]["timestamp"], "2024-05-06T07:08:09Z");
    assert_eq!(bom["compositions"][0]["aggregate"], "incomplete");
    assert!(bom["metadata"]["properties"].to_string().contains("broken/package.json"));

    let document: Value = serde_json::from_str(&spdx(&inventory, &SUBJECT)).unwrap();
    let kinds: BTreeSet<&str> = document["relationships"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["relationshipType"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, BTreeSet::from(["CONTAINS", "DEPENDS_ON", "DESCRIBES"]));
    let packages = document["packages"].as_array().unwrap();
    let bash = packages.iter().find(|one| one["name"] == "bash").unwrap();
    assert_eq!(bash["licenseDeclared"], expression);
    assert_eq!(document["hasExtractedLicensingInfos"].as_array().unwrap().len(), 1);
}

#[test]
fn equal_inventories_are_equal_bytes_and_others_have_other_names() {
    let (one, other) = (sample(), sample());
    assert_eq!(cyclonedx(&one, &SUBJECT), cyclonedx(&other, &SUBJECT));
    assert_eq!(spdx(&one, &SUBJECT), spdx(&other, &SUBJECT));
    let serial = |inventory: &Inventory, subject: &Subject<'_>| {
        let bom: Value = serde_json::from_str(&cyclonedx(inventory, subject)).unwrap();
        let document: Value = serde_json::from_str(&spdx(inventory, subject)).unwrap();
        (bom["serialNumber"].clone(), document["documentNamespace"].clone())
    };
    let later = Subject { created: Some("2025-01-01T00:00:00+01:00"), ..SUBJECT };
    assert_ne!(serial(&one, &SUBJECT), serial(&one, &later));
    assert_ne!(serial(&one, &SUBJECT), serial(&Inventory::default(), &SUBJECT));
    assert!(spdx(&one, &later).contains("\"created\": \"2024-12-31T23:00:00Z\""));
}
