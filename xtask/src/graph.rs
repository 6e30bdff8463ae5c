//! The crate graph: which workspace crate uses which, as `cargo metadata` sees it, as text that is committed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;

use crate::{Error, cargo, root};

/// The committed picture.
pub fn file() -> PathBuf {
    root().join("docs/crate-graph.txt")
}

/// What `cargo metadata` says, without asking the network.
pub fn metadata(with_dependencies: bool) -> Result<Value, Error> {
    let mut command = cargo().args(["metadata", "--format-version", "1"]);
    if with_dependencies {
        command = command.args(["--filter-platform", "x86_64-unknown-linux-gnu"]);
    } else {
        command = command.arg("--no-deps");
    }
    let text = command.read()?;
    serde_json::from_str(&text)
        .map_err(|error| Error::Measure { what: "the crate graph".into(), why: error.to_string() })
}

/// Edges between workspace crates: for each crate, those it is built from and those only its tests use.
pub type Edges = BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)>;

/// Reads the edges out of [`metadata`].
pub fn edges(metadata: &Value) -> Edges {
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let local = |package: &&Value| package["source"].is_null();
    let names: BTreeSet<&str> = packages.iter().filter(local).filter_map(|p| p["name"].as_str()).collect();
    let mut edges = Edges::new();
    for package in packages.iter().filter(local) {
        let (built, tested) = edges.entry(text(&package["name"])).or_default();
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let name = text(&dependency["name"]);
            if !names.contains(name.as_str()) {
                continue;
            }
            if dependency["kind"] == "dev" {
                tested.insert(name)
            } else {
                built.insert(name)
            };
        }
    }
    edges
}

/// The committed form: one line per crate, `crate -> what it is built from [tests: what only its tests use]`.
pub fn render(edges: &Edges) -> String {
    let mut out = String::from("# Written by `cargo xtask docs`; a test compares it with the manifests.\n");
    for (name, (built, tested)) in edges {
        out.push_str(name);
        out.push_str(" ->");
        for dependency in built {
            out.push(' ');
            out.push_str(dependency);
        }
        let only: Vec<&str> = tested.difference(built).map(String::as_str).collect();
        if !only.is_empty() {
            out.push_str(&format!(" [tests: {}]", only.join(" ")));
        }
        out.push('\n');
    }
    out
}

/// The names of all crates that `name` is built from, near and far, tests left out; from [`metadata`] with
/// dependencies.
pub fn closure(metadata: &Value, name: &str) -> BTreeSet<String> {
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let names: BTreeMap<&str, &str> =
        packages.iter().filter_map(|p| Some((p["id"].as_str()?, p["name"].as_str()?))).collect();
    let nodes = metadata["resolve"]["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let by_id: BTreeMap<&str, &Value> = nodes.iter().filter_map(|n| Some((n["id"].as_str()?, n))).collect();
    let start = names.iter().find(|(_, candidate)| **candidate == name).map(|(id, _)| *id);
    let mut seen = BTreeSet::new();
    let mut queue: Vec<&str> = start.into_iter().collect();
    while let Some(id) = queue.pop() {
        for dependency in by_id.get(id).and_then(|node| node["deps"].as_array()).into_iter().flatten() {
            let kinds = dependency["dep_kinds"].as_array().map(Vec::as_slice).unwrap_or_default();
            let linked = kinds.iter().any(|kind| kind["kind"].is_null());
            let Some(package) = dependency["pkg"].as_str().filter(|_| linked) else { continue };
            if seen.insert(package) {
                queue.push(package);
            }
        }
    }
    seen.into_iter().filter_map(|id| names.get(id).map(ToString::to_string)).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
