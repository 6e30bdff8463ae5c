//! .NET: `APP.deps.json`, which the SDK writes beside an application: what it needs at run time. Source: dotnet's
//! runtime-configuration-file.md.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{Family, Finding, Findings, node};

#[derive(Deserialize)]
struct Deps {
    #[serde(default)]
    libraries: BTreeMap<String, Library>,
    #[serde(default)]
    targets: BTreeMap<String, BTreeMap<String, Target>>,
}

#[derive(Deserialize)]
struct Library {
    #[serde(rename = "type", default)]
    kind: String,
    sha512: Option<String>,
}

#[derive(Deserialize)]
struct Target {
    #[serde(default)]
    dependencies: BTreeMap<String, Value>,
}

pub(crate) fn deps(bytes: &[u8]) -> Findings {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let deps: Deps = match serde_json::from_slice(bytes) {
        Ok(deps) => deps,
        Err(error) => return Findings::problem(format!("it is not a deps.json: {error}")),
    };
    let found = deps.libraries.iter().filter_map(|(key, library)| {
        // Projects are the application itself, references are files beside it: neither has a version in NuGet.
        if library.kind != "package" && library.kind != "runtimepack" {
            return None;
        }
        let (name, version) = key.split_once('/')?;
        let name = name.strip_prefix("runtimepack.").unwrap_or(name);
        let mut found = Finding::new(Family::NuGet, name, version);
        found.checksums = library.sha512.as_deref().and_then(node::integrity).into_iter().collect();
        let targets = deps.targets.values().filter_map(|target| target.get(key));
        found.needs =
            targets.flat_map(|one| one.dependencies.keys()).map(|name| vec![name.clone()]).collect();
        Some(found)
    });
    Findings::of(found.collect())
}
