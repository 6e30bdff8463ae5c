//! Node: `package.json` of installed packages, and npm's `node_modules/.package-lock.json` for their digests.

use std::collections::BTreeMap;

use base64::Engine;
use serde::Deserialize;
use serde_json::Value;

use super::{Algorithm, Checksum, Family, Finding, Findings};

/// Fields are taken as they come: a package.json of twenty years ago has any of them in any form.
#[derive(Deserialize)]
struct Manifest {
    name: Option<Value>,
    version: Option<Value>,
    license: Option<Value>,
    licenses: Option<Value>,
    dependencies: Option<Value>,
}

pub(crate) fn package(bytes: &[u8]) -> Findings {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let manifest: Manifest = match serde_json::from_slice(bytes) {
        Ok(manifest) => manifest,
        Err(error) => return Findings::problem(format!("it is not a package.json: {error}")),
    };
    let text = |value: &Option<Value>| value.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
    let (name, version) = (text(&manifest.name), text(&manifest.version));
    if name.is_empty() || version.is_empty() {
        // A marker (`{"type": "module"}`) or an application without a name.
        return Findings::default();
    }
    let mut found = Finding::new(Family::Npm, name, version);
    let declared = [&manifest.license, &manifest.licenses];
    found.licenses = declared.into_iter().flatten().flat_map(licenses).collect();
    let needs = manifest.dependencies.as_ref().and_then(Value::as_object).into_iter().flatten();
    found.needs = needs.map(|(name, _)| vec![name.clone()]).collect();
    Findings::of(vec![found])
}

/// `"MIT"`, `{"type": "MIT"}`, or a list of either.
fn licenses(value: &Value) -> Vec<String> {
    match value {
        Value::String(name) => vec![name.clone()],
        Value::Object(one) => {
            let name = one.get("type").or(one.get("name")).and_then(Value::as_str);
            name.map(str::to_owned).into_iter().collect()
        }
        Value::Array(several) => several.iter().filter(|one| !one.is_array()).flat_map(licenses).collect(),
        _ => Vec::new(),
    }
}

#[derive(Deserialize)]
struct Lock {
    #[serde(default)]
    packages: BTreeMap<String, Locked>,
}

#[derive(Deserialize)]
struct Locked {
    integrity: Option<Value>,
}

pub(crate) fn lock(bytes: &[u8]) -> Findings {
    let lock: Lock = match serde_json::from_slice(bytes) {
        Ok(lock) => lock,
        Err(error) => return Findings::problem(format!("it is not npm's record of packages: {error}")),
    };
    let digests = lock.packages.into_iter().filter_map(|(folder, one)| {
        let checksum = integrity(one.integrity?.as_str()?)?;
        Some((folder.strip_prefix("node_modules/")?.to_owned(), checksum))
    });
    Findings { digests: digests.collect(), ..Findings::default() }
}

/// Subresource integrity: `sha512-BASE64`, several separated by spaces.
pub(crate) fn integrity(text: &str) -> Option<Checksum> {
    let encoded = text.split_whitespace().find_map(|one| one.strip_prefix("sha512-"))?;
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).ok()?;
    (bytes.len() == 64).then(|| Checksum { algorithm: Algorithm::Sha512, value: hex::encode(bytes) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_come_in_all_forms() {
        let text =
            r#"{"name":"@a/b","version":"1.0.0","licenses":[{"type":"MIT"},"ISC"],"dependencies":{"c":"*"}}"#;
        let found = &package(text.as_bytes()).packages[0];
        assert_eq!((found.name.as_str(), found.licenses.join(" ").as_str()), ("@a/b", "MIT ISC"));
        assert_eq!(found.needs, [["c"]]);
        assert!(package(br#"{"type":"module"}"#).is_empty());
        assert_eq!(package(b"{").problems.len(), 1);
    }
}
