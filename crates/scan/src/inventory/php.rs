//! PHP: `vendor/composer/installed.json`: a list of packages (Composer 1) or an object with one (Composer 2).

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Algorithm, Checksum, Family, Finding, Findings};

#[derive(Deserialize)]
#[serde(untagged)]
enum Installed {
    Listed { packages: Vec<Package> },
    Bare(Vec<Package>),
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    #[serde(default)]
    license: Vec<String>,
    #[serde(default)]
    require: Option<Value>,
    dist: Option<Map<String, Value>>,
}

pub(crate) fn installed(bytes: &[u8]) -> Findings {
    let packages = match serde_json::from_slice(bytes) {
        Ok(Installed::Listed { packages } | Installed::Bare(packages)) => packages,
        Err(error) => return Findings::problem(format!("it is not Composer's list of packages: {error}")),
    };
    Findings::of(packages.into_iter().map(finding).collect())
}

fn finding(package: Package) -> Finding {
    let mut found = Finding::new(Family::Composer, package.name, package.version);
    found.licenses = package.license;
    let needs = package.require.as_ref().and_then(Value::as_object).into_iter().flatten();
    found.needs = needs.map(|(name, _)| vec![name.clone()]).collect();
    let sum = package.dist.as_ref().and_then(|dist| dist.get("shasum")).and_then(Value::as_str);
    let sum = sum.filter(|sum| sum.len() == 40 && sum.bytes().all(|b| b.is_ascii_hexdigit()));
    let checksum = |sum: &str| Checksum { algorithm: Algorithm::Sha1, value: sum.to_ascii_lowercase() };
    found.checksums = sum.map(checksum).into_iter().collect();
    found
}
