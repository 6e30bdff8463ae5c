//! CycloneDX 1.6 as JSON (ECMA-424). Order of fields is that of the specification.

use serde::Serialize;

use super::license::{self, Declared};
use super::{Subject, TOOL, short, split, uuid};
use crate::inventory::image_purl;
use crate::{Algorithm, Checksum, Inventory, Package};

/// What the image is called within the document.
const ROOT: &str = "image";
const SYSTEM: &str = "distribution";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Bom<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    bom_format: &'static str,
    spec_version: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    serial_number: String,
    version: u32,
    metadata: Metadata<'a>,
    components: Vec<Component<'a>>,
    dependencies: Vec<Dependency<'a>>,
    compositions: [Composition; 1],
}

#[derive(Serialize)]
struct Metadata<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
    tools: Tools<'a>,
    component: Component<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    properties: Vec<Property>,
}

#[derive(Serialize)]
struct Tools<'a> {
    components: [Component<'a>; 1],
}

#[derive(Default, Serialize)]
struct Component<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "bom-ref", skip_serializing_if = "str::is_empty")]
    reference: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    name: &'a str,
    #[serde(skip_serializing_if = "String::is_empty")]
    version: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hashes: Vec<Hash>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    licenses: Vec<Licensed>,
    #[serde(skip_serializing_if = "String::is_empty")]
    purl: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    properties: Vec<Property>,
}

#[derive(Serialize)]
struct Hash {
    alg: &'static str,
    content: String,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Licensed {
    License(License),
    Expression(String),
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum License {
    Id(String),
    Name(String),
}

#[derive(Serialize)]
struct Property {
    name: String,
    value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Dependency<'a> {
    #[serde(rename = "ref")]
    reference: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    depends_on: Vec<&'a str>,
}

/// Whether the list is known to be whole.
#[derive(Serialize)]
struct Composition {
    aggregate: &'static str,
    assemblies: [&'static str; 1],
}

/// The inventory as a CycloneDX document, with a line break at its end.
///
/// `kiln:location:N:path` and `…:layer` say where a package was found, `kiln:source:name` and `…:version` what it
/// was built from, `kiln:provided-by` which packages of the distribution brought it. What could not be read stands
/// in the metadata as `kiln:problem`, and the composition is then `incomplete`.
pub fn cyclonedx(inventory: &Inventory, subject: &Subject<'_>) -> String {
    let mut bom = Bom {
        schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
        bom_format: "CycloneDX",
        spec_version: "1.6",
        serial_number: String::new(),
        version: 1,
        metadata: metadata(inventory, subject),
        components: components(inventory),
        dependencies: dependencies(inventory),
        compositions: [Composition {
            aggregate: if inventory.problems.is_empty() { "complete" } else { "incomplete" },
            assemblies: [ROOT],
        }],
    };
    bom.serial_number = format!("urn:uuid:{}", uuid(text(&bom).as_bytes()));
    text(&bom)
}

fn text(bom: &Bom<'_>) -> String {
    // Plain structures with texts as keys: there is nothing that could fail.
    let mut text = serde_json::to_string_pretty(bom).unwrap_or_default();
    text.push('\n');
    text
}

fn metadata<'a>(inventory: &Inventory, subject: &Subject<'a>) -> Metadata<'a> {
    let mut root =
        Component { kind: "container", reference: ROOT, name: subject.name, ..Component::default() };
    if let Some(image) = inventory.image {
        root.version = image.to_string();
        root.hashes = vec![Hash { alg: "SHA-256", content: image.hex() }];
        root.purl = image_purl(short(subject.name), &image);
    } else {
        root.kind = "file";
    }
    let (name, version) = TOOL;
    let tool = Component { kind: "application", name, version: version.into(), ..Component::default() };
    Metadata {
        timestamp: subject.time(inventory),
        tools: Tools { components: [tool] },
        component: root,
        properties: inventory.problems.iter().map(|text| property("kiln:problem", text)).collect(),
    }
}

fn property(name: impl Into<String>, value: impl Into<String>) -> Property {
    Property { name: name.into(), value: value.into() }
}

fn components(inventory: &Inventory) -> Vec<Component<'_>> {
    let system = inventory.distribution.iter().map(|system| Component {
        kind: "operating-system",
        reference: SYSTEM,
        name: &system.id,
        version: system.version_id.clone().unwrap_or_default(),
        description: system.pretty_name.as_deref().unwrap_or_default(),
        ..Component::default()
    });
    system.chain(inventory.packages.iter().map(|package| component(inventory, package))).collect()
}

fn component<'a>(inventory: &'a Inventory, package: &'a Package) -> Component<'a> {
    let (group, name) = split(package);
    let checksums = inventory.checksums.get(&package.purl).into_iter().flatten();
    Component {
        kind: "library",
        reference: &package.purl,
        group,
        name,
        version: package.version.clone(),
        hashes: checksums.map(hash).collect(),
        licenses: licenses(&package.licenses),
        purl: package.purl.clone(),
        properties: properties(inventory, package),
        ..Component::default()
    }
}

fn hash(checksum: &Checksum) -> Hash {
    let alg = match checksum.algorithm {
        Algorithm::Sha1 => "SHA-1",
        Algorithm::Sha512 => "SHA-512",
    };
    Hash { alg, content: checksum.value.clone() }
}

/// Either one expression or a list of licences, never both: the schema allows no mixture.
fn licenses(texts: &[String]) -> Vec<Licensed> {
    let declared = license::all(texts);
    let expressions: Option<Vec<String>> = declared
        .iter()
        .map(|one| match one {
            Declared::Id(text) | Declared::Expression(text) => Some(text.clone()),
            Declared::Name(_) => None,
        })
        .collect();
    match (expressions, declared.as_slice()) {
        (_, [] | [Declared::Id(_)]) | (None, _) => declared.into_iter().map(licensed).collect(),
        (Some(parts), _) => vec![Licensed::Expression(license::join(&parts))],
    }
}

fn licensed(declared: Declared) -> Licensed {
    Licensed::License(match declared {
        Declared::Id(id) => License::Id(id),
        Declared::Expression(name) | Declared::Name(name) => License::Name(name),
    })
}

fn properties(inventory: &Inventory, package: &Package) -> Vec<Property> {
    let mut list = Vec::new();
    for (number, location) in package.locations.iter().enumerate() {
        list.push(property(format!("kiln:location:{number}:path"), &location.path));
        if let Some(layer) = location.layer {
            list.push(property(format!("kiln:location:{number}:layer"), layer.to_string()));
        }
    }
    if let Some((name, version)) = &package.source {
        list.push(property("kiln:source:name", name));
        list.push(property("kiln:source:version", version));
    }
    let providers = inventory.providers.get(&package.purl).into_iter().flatten();
    list.extend(providers.map(|provider| property("kiln:provided-by", provider)));
    list
}

fn dependencies(inventory: &Inventory) -> Vec<Dependency<'_>> {
    let system = inventory.distribution.iter().map(|_| SYSTEM);
    let all = system.clone().chain(inventory.packages.iter().map(|package| package.purl.as_str()));
    let root = Dependency { reference: ROOT, depends_on: all.collect() };
    let system = system.map(|reference| Dependency { reference, depends_on: Vec::new() });
    let packages = inventory.packages.iter().map(|package| {
        let needs = inventory.dependencies.get(&package.purl).into_iter().flatten();
        Dependency { reference: &package.purl, depends_on: needs.map(String::as_str).collect() }
    });
    std::iter::once(root).chain(system).chain(packages).collect()
}
