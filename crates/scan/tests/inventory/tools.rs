//! Other tools' lists, in a form in which they can be compared.

use std::collections::BTreeSet;
use std::process::Command;

use kiln_scan::Inventory;
use kiln_store::Store;
use tempfile::TempDir;

use crate::kit::run;

/// A package as all tools can be compared: type and full name of its purl, version with epoch, and where it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Known {
    pub kind: String,
    pub name: String,
    pub version: String,
}

impl Known {
    pub(crate) fn of_purl(purl: &str) -> Self {
        let decode =
            |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned();
        let rest = purl.strip_prefix("pkg:").unwrap_or_else(|| panic!("{purl} is no purl"));
        // Syft gives what follows the third part of a Go module's name as the subpath.
        let (rest, below) = rest.split_once('#').unwrap_or((rest, ""));
        let (rest, qualifiers) = rest.split_once('?').unwrap_or((rest, ""));
        let (kind, rest) = rest.split_once('/').unwrap();
        let (name, version) = rest.rsplit_once('@').unwrap_or((rest, ""));
        let epoch = qualifiers.split('&').find_map(|one| one.strip_prefix("epoch="));
        let epoch = epoch.map(|epoch| format!("{epoch}:")).unwrap_or_default();
        // What the distribution is called is not compared: peers differ for images without os-release.
        let system = matches!(kind, "deb" | "rpm" | "apk");
        let name = if system { name.rsplit('/').next().unwrap() } else { name };
        let version = match decode(version) {
            // No release, and Trivy's way of writing the version of Go.
            version if version == "(devel)" => String::new(),
            version if kind == "golang" && name == "stdlib" => version.trim_start_matches('v').to_owned(),
            version => format!("{epoch}{version}"),
        };
        // And it leaves capitals, which the specification wants small.
        let module = format!("{}/{below}", name.to_lowercase());
        let name = if kind == "golang" { module.trim_end_matches('/') } else { name };
        Self { kind: kind.into(), name: decode(name), version }
    }
}

pub(crate) fn ours(inventory: &Inventory) -> BTreeSet<Known> {
    inventory.packages.iter().map(|package| Known::of_purl(&package.purl)).collect()
}

/// What Syft lists, with the places.
pub(crate) fn syft(store: &Store) -> Vec<(Known, Vec<String>)> {
    let mut command = Command::new("syft");
    command.env("SYFT_CHECK_FOR_APP_UPDATE", "false").args(["scan", "-q", "-o", "json"]);
    // For images it looks at .NET's libraries instead, which Kiln's test images do not have.
    command.args(["--select-catalogers", "+dotnet-deps-cataloger"]);
    command.arg(format!("oci-dir:{}", store.root().display()));
    let document: serde_json::Value = serde_json::from_slice(&run(&mut command)).unwrap();
    let place = |one: &serde_json::Value| one["path"].as_str().unwrap().to_owned();
    let known = |one: &serde_json::Value| {
        let purl = one["purl"].as_str().filter(|purl| !purl.is_empty())?;
        let places = one["locations"].as_array().unwrap().iter().map(place).collect();
        Some((Known::of_purl(purl), places))
    };
    document["artifacts"].as_array().unwrap().iter().filter_map(known).collect()
}

/// What Trivy lists, with the places. Its own CycloneDX needs no vulnerability database.
pub(crate) fn trivy(store: &Store) -> Vec<(Known, Vec<String>)> {
    let cache = TempDir::new().unwrap();
    let mut command = Command::new("trivy");
    command.arg("--cache-dir").arg(cache.path());
    command.args([
        "image",
        "-q",
        "--offline-scan",
        "--skip-version-check",
        "--format",
        "cyclonedx",
        "--input",
    ]);
    command.arg(store.root());
    let document: serde_json::Value = serde_json::from_slice(&run(&mut command)).unwrap();
    let known = |one: &serde_json::Value| {
        let purl = one["purl"].as_str()?;
        let properties = one["properties"].as_array().into_iter().flatten();
        let places = properties.filter(|one| one["name"] == "aquasecurity:trivy:FilePath");
        let places = places.map(|one| one["value"].as_str().unwrap().to_owned()).collect();
        Some((Known::of_purl(purl), places))
    };
    document["components"].as_array().unwrap().iter().filter_map(known).collect()
}
