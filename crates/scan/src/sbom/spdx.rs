//! SPDX 2.3 as JSON. Files are not listed: packages were found through databases, and say where.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::license::{self, Declared};
use super::{Subject, TOOL, short, uuid};
use crate::inventory::image_purl;
use crate::{Algorithm, Checksum, Inventory, Package};

const NONE: &str = "NOASSERTION";
const DOCUMENT: &str = "SPDXRef-DOCUMENT";
const ROOT: &str = "SPDXRef-Image";
const SYSTEM: &str = "SPDXRef-Distribution";
/// The time that stands for none: SPDX demands one.
const NO_TIME: &str = "1970-01-01T00:00:00Z";
/// Documents are not fetched from their namespace; it only has to be one of its own. `.invalid` says so (RFC 2606).
const NAMESPACE: &str = "https://kiln.invalid/spdx";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    spdx_version: &'static str,
    data_license: &'static str,
    #[serde(rename = "SPDXID")]
    id: &'static str,
    name: String,
    document_namespace: String,
    creation_info: CreationInfo,
    #[serde(skip_serializing_if = "String::is_empty")]
    comment: String,
    packages: Vec<Entry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    has_extracted_licensing_infos: Vec<Extracted>,
    relationships: Vec<Relationship>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CreationInfo {
    created: String,
    creators: [String; 1],
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(rename = "SPDXID")]
    id: String,
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    version_info: String,
    supplier: &'static str,
    download_location: &'static str,
    files_analyzed: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checksums: Vec<Sum>,
    #[serde(skip_serializing_if = "String::is_empty")]
    source_info: String,
    license_concluded: &'static str,
    license_declared: String,
    copyright_text: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    comment: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    external_refs: Vec<ExternalRef>,
    primary_package_purpose: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sum {
    algorithm: &'static str,
    checksum_value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExternalRef {
    reference_category: &'static str,
    reference_type: &'static str,
    reference_locator: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Extracted {
    license_id: String,
    extracted_text: String,
    name: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Relationship {
    spdx_element_id: String,
    relationship_type: &'static str,
    related_spdx_element: String,
}

/// The inventory as an SPDX document, with a line break at its end. What could not be read stands in the document's
/// comment.
pub fn spdx(inventory: &Inventory, subject: &Subject<'_>) -> String {
    let mut texts = BTreeMap::new();
    let mut packages = vec![root(inventory, subject)];
    packages.extend(system(inventory));
    packages.extend(inventory.packages.iter().map(|package| entry(inventory, package, &mut texts)));
    let extracted = texts.into_iter().map(|(license_id, name)| Extracted {
        license_id,
        extracted_text: format!("Declared as: {name}"),
        name,
    });
    let (tool, version) = TOOL;
    let mut document = Document {
        spdx_version: "SPDX-2.3",
        data_license: "CC0-1.0",
        id: DOCUMENT,
        name: subject.name.to_owned(),
        document_namespace: String::new(),
        creation_info: CreationInfo {
            created: subject.time(inventory).unwrap_or_else(|| NO_TIME.into()),
            creators: [format!("Tool: {tool}-{version}")],
        },
        comment: inventory.problems.iter().map(|text| format!("not read: {text}\n")).collect(),
        packages,
        has_extracted_licensing_infos: extracted.collect(),
        relationships: relationships(inventory),
    };
    let name = plain(short(subject.name));
    document.document_namespace = format!("{NAMESPACE}/{name}-{}", uuid(text(&document).as_bytes()));
    text(&document)
}

fn text(document: &Document) -> String {
    // Plain structures with texts as keys: there is nothing that could fail.
    let mut text = serde_json::to_string_pretty(document).unwrap_or_default();
    text.push('\n');
    text
}

fn blank(id: impl Into<String>, name: &str, purpose: &'static str) -> Entry {
    Entry {
        id: id.into(),
        name: name.to_owned(),
        supplier: NONE,
        download_location: NONE,
        license_concluded: NONE,
        license_declared: NONE.into(),
        copyright_text: NONE,
        primary_package_purpose: purpose,
        ..Entry::default()
    }
}

fn purl(locator: String) -> ExternalRef {
    ExternalRef { reference_category: "PACKAGE-MANAGER", reference_type: "purl", reference_locator: locator }
}

fn root(inventory: &Inventory, subject: &Subject<'_>) -> Entry {
    let Some(image) = inventory.image else { return blank(ROOT, subject.name, "ARCHIVE") };
    Entry {
        version_info: image.to_string(),
        checksums: vec![Sum { algorithm: "SHA256", checksum_value: image.hex() }],
        external_refs: vec![purl(image_purl(short(subject.name), &image))],
        ..blank(ROOT, subject.name, "CONTAINER")
    }
}

fn system(inventory: &Inventory) -> Option<Entry> {
    let system = inventory.distribution.as_ref()?;
    Some(Entry {
        version_info: system.version_id.clone().unwrap_or_default(),
        comment: system.pretty_name.clone().unwrap_or_default(),
        ..blank(SYSTEM, &system.id, "OPERATING-SYSTEM")
    })
}

fn entry(inventory: &Inventory, package: &Package, texts: &mut BTreeMap<String, String>) -> Entry {
    let checksums = inventory.checksums.get(&package.purl).into_iter().flatten();
    let places = package.locations.iter().map(|place| match place.layer {
        Some(layer) => format!("{} in layer {layer}", place.path),
        None => place.path.clone(),
    });
    let source = package.source.as_ref().map(|(name, version)| format!("built from {name} {version}"));
    Entry {
        version_info: package.version.clone(),
        checksums: checksums.map(sum).collect(),
        source_info: source.unwrap_or_default(),
        license_declared: licenses(&package.licenses, texts),
        comment: format!("found in {}", places.collect::<Vec<_>>().join(", ")),
        external_refs: vec![purl(package.purl.clone())],
        ..blank(id(package), &package.name, "LIBRARY")
    }
}

fn sum(checksum: &Checksum) -> Sum {
    let algorithm = match checksum.algorithm {
        Algorithm::Sha1 => "SHA1",
        Algorithm::Sha512 => "SHA512",
    };
    Sum { algorithm, checksum_value: checksum.value.clone() }
}

/// Readable, and with a part of the purl's digest its own.
fn id(package: &Package) -> String {
    format!("SPDXRef-Package-{}-{}", plain(&package.name), mark(&package.purl))
}

fn mark(text: &str) -> String {
    hex::encode(&Sha256::digest(text.as_bytes())[..8])
}

/// Identifiers are of letters, digits, `.` and `-`.
fn plain(text: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    text.chars().take(60).map(allowed).collect()
}

/// One expression; names become references, whose texts are collected.
fn licenses(texts: &[String], references: &mut BTreeMap<String, String>) -> String {
    let parts = license::all(texts).into_iter().map(|one| match one {
        Declared::Id(text) | Declared::Expression(text) => text,
        Declared::Name(name) => {
            let id = format!("LicenseRef-{}-{}", plain(&name), mark(&name));
            references.insert(id.clone(), name);
            id
        }
    });
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { NONE.into() } else { license::join(&parts) }
}

fn relationships(inventory: &Inventory) -> Vec<Relationship> {
    let relate = |one: &str, relationship_type, other: &str| Relationship {
        spdx_element_id: one.to_owned(),
        relationship_type,
        related_spdx_element: other.to_owned(),
    };
    let ids: HashMap<&str, String> =
        inventory.packages.iter().map(|package| (package.purl.as_str(), id(package))).collect();
    let mut list = vec![relate(DOCUMENT, "DESCRIBES", ROOT)];
    list.extend(inventory.distribution.iter().map(|_| relate(ROOT, "CONTAINS", SYSTEM)));
    list.extend(inventory.packages.iter().map(|package| relate(ROOT, "CONTAINS", &id(package))));
    let pair = &|one: &str, other: &str| Some((ids.get(one)?.as_str(), ids.get(other)?.as_str()));
    for (package, needs) in &inventory.dependencies {
        let pairs = needs.iter().filter_map(|need| pair(package, need));
        list.extend(pairs.map(|(one, other)| relate(one, "DEPENDS_ON", other)));
    }
    let brought = inventory.providers.iter().flat_map(|(package, providers)| {
        providers.iter().filter_map(move |provider| pair(provider, package))
    });
    list.extend(brought.map(|(provider, package)| relate(provider, "CONTAINS", package)));
    list
}
