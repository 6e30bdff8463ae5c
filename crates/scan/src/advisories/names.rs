//! Under which names packages are looked up: what OSV calls an ecosystem, and how each ecosystem reads names.

use crate::{Ecosystem, Package};

/// The key that an advisory's package is stored under.
pub(crate) fn stored(ecosystem: &str, name: &str) -> (String, String) {
    let base = ecosystem.split(':').next().unwrap_or_default();
    match base {
        // A registry's address may follow; the packages of all registries share their names.
        "PyPI" => (base.to_owned(), python(name)),
        "NuGet" | "Packagist" => (base.to_owned(), name.to_ascii_lowercase()),
        "Maven" | "Go" | "crates.io" | "npm" | "RubyGems" => (base.to_owned(), name.to_owned()),
        // `Red Hat:enterprise_linux:9::baseos`: what a release consists of counts as one.
        "Red Hat" => (red_hat(ecosystem), name.to_owned()),
        _ => (ecosystem.to_owned(), name.to_owned()),
    }
}

fn red_hat(ecosystem: &str) -> String {
    let mut parts = ecosystem.split(':').skip(1);
    match (parts.next(), parts.next()) {
        (Some("enterprise_linux"), Some(release)) => format!("Red Hat:{}", major(release)),
        _ => ecosystem.to_owned(),
    }
}

/// PEP 503.
fn python(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '-' | '_' | '.' if normal.ends_with('-') => {}
            '-' | '_' | '.' => normal.push('-'),
            other => normal.extend(other.to_lowercase()),
        }
    }
    normal
}

/// What to look for and how old what was found is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted<'a> {
    /// Stored ecosystems, any of which may have entries.
    pub(crate) ecosystems: Vec<String>,
    /// Stored names.
    pub(crate) names: Vec<String>,
    /// The version that advisories speak of.
    pub(crate) version: &'a str,
}

/// What advisories may say about a package; no ecosystems when OSV has no name for its distribution.
pub(crate) fn wanted(package: &Package) -> Wanted<'_> {
    let own = vec![package.name.clone()];
    let source = package.source.as_ref();
    let version = package.version.as_str();
    let plain = |ecosystem: &str| Wanted {
        ecosystems: vec![ecosystem.to_owned()],
        names: vec![stored(ecosystem, &package.name).1],
        version,
    };
    match &package.ecosystem {
        Ecosystem::Cargo => plain("crates.io"),
        Ecosystem::Go => plain("Go"),
        Ecosystem::PyPi => plain("PyPI"),
        Ecosystem::Npm => plain("npm"),
        Ecosystem::Maven => plain("Maven"),
        Ecosystem::Gem => plain("RubyGems"),
        Ecosystem::NuGet => plain("NuGet"),
        Ecosystem::Composer => plain("Packagist"),
        // Debian, Ubuntu and Alpine speak of source packages.
        Ecosystem::Dpkg(release) => {
            let (names, version) =
                source.map_or((own, version), |(name, version)| (vec![name.clone()], version.as_str()));
            Wanted { ecosystems: dpkg(release, version), names, version }
        }
        Ecosystem::Apk(release) => {
            let names = source.map_or(own, |(name, _)| vec![name.clone()]);
            Wanted { ecosystems: apk(release), names, version }
        }
        // Red Hat speaks of both, the others of source packages; both have the same version and release.
        Ecosystem::Rpm(release) => {
            let mut names = own;
            names.extend(source.map(|(name, _)| name.clone()).filter(|name| *name != package.name));
            Wanted { ecosystems: rpm(release), names, version }
        }
    }
}

fn split(release: &str) -> (&str, &str) {
    release.split_once(':').unwrap_or((release, ""))
}

fn major(version: &str) -> &str {
    version.split('.').next().unwrap_or_default()
}

fn dpkg(release: &str, version: &str) -> Vec<String> {
    match split(release) {
        ("debian", number) if !number.is_empty() => {
            vec!["Debian".to_owned(), format!("Debian:{}", major(number))]
        }
        ("ubuntu", number) if !number.is_empty() => {
            // Fixes of the paid extension have versions of their own.
            let pro = if version.contains("esm") { "Pro:" } else { "" };
            vec![format!("Ubuntu:{pro}{number}"), format!("Ubuntu:{pro}{number}:LTS")]
        }
        _ => Vec::new(),
    }
}

fn apk(release: &str) -> Vec<String> {
    match split(release) {
        ("alpine", "") => Vec::new(),
        ("alpine", number) => {
            let number: Vec<&str> = number.trim_start_matches('v').split('.').take(2).collect();
            vec![format!("Alpine:v{}", number.join("."))]
        }
        ("wolfi", _) => vec!["Wolfi".to_owned()],
        ("chainguard", _) => vec!["Chainguard".to_owned()],
        _ => Vec::new(),
    }
}

fn rpm(release: &str) -> Vec<String> {
    let (id, number) = split(release);
    let first = major(number);
    match id {
        _ if number.is_empty() => Vec::new(),
        "rhel" => vec![format!("Red Hat:{first}")],
        "rocky" => vec!["Rocky Linux".to_owned(), format!("Rocky Linux:{first}")],
        "almalinux" => vec!["AlmaLinux".to_owned(), format!("AlmaLinux:{first}")],
        "mageia" => vec![format!("Mageia:{first}")],
        "photon" => vec![format!("Photon OS:{number}")],
        "azurelinux" | "mariner" => vec![format!("Azure Linux:{first}")],
        "openEuler" => vec![format!("openEuler:{number}"), format!("openEuler:{number}-LTS")],
        "opensuse-leap" => vec![format!("openSUSE:Leap {number}")],
        "opensuse-tumbleweed" => vec!["openSUSE:Tumbleweed".to_owned()],
        "sles" => suse(number),
        _ => Vec::new(),
    }
}

/// SUSE's packages come from its modules, which have the server's version.
fn suse(number: &str) -> Vec<String> {
    let (first, pack) = number.split_once('.').unwrap_or((number, ""));
    let version = if pack.is_empty() { first.to_owned() } else { format!("{first} SP{pack}") };
    ["Server", "Module for Basesystem", "Module for Server Applications", "Module for Development Tools"]
        .map(|product| format!("SUSE:Linux Enterprise {product} {version}"))
        .to_vec()
}
