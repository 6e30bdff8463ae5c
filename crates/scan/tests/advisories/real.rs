//! The real advisories: all of them are read, and known cases are found.

use std::time::Instant;

use kiln_scan::advisories::{AdvisoryDb, MatchOptions, match_packages};
use kiln_scan::{Ecosystem, Package, Severity};

use super::kit::{findings, package, real_store};

#[test]
fn all_are_read() {
    let Some(store) = real_store() else { return };
    let db = AdvisoryDb::open(store).unwrap();
    db.verify().unwrap();
    let info = db.info();
    let counts: Vec<(&str, u64)> =
        info.sources.iter().map(|source| (source.name.as_str(), source.count)).collect();
    assert_eq!(counts, [("osv/Go", 4_291), ("osv/PyPI", 2_661), ("osv/RustSec", 1_206)]);
}

/// What the databases' own pages say of these versions.
#[test]
fn known_cases() {
    let Some(store) = real_store() else { return };
    let ids = |package: Package| {
        let found = findings(store, &[package]).vulnerabilities;
        found.into_iter().map(|one| (one.id, one.fixed.unwrap_or_default(), one.severity)).collect::<Vec<_>>()
    };
    let has = |package: Package, id: &str, fixed: &str| {
        let found = ids(package.clone());
        assert!(found.iter().any(|one| one.0 == id && one.1 == fixed), "{}: {found:?}", package.purl);
    };
    has(package(Ecosystem::Cargo, "time", "0.1.43"), "CVE-2020-26235", "0.2.0");
    has(package(Ecosystem::Cargo, "time", "0.2.10"), "CVE-2020-26235", "0.2.23");
    has(package(Ecosystem::Go, "github.com/gin-gonic/gin", "v1.5.0"), "CVE-2020-36567", "1.6.0");
    has(package(Ecosystem::PyPi, "Jinja2", "2.10"), "CVE-2019-10906", "2.10.1");
    let clean = ids(package(Ecosystem::Go, "github.com/gin-gonic/gin", "v1.5.1"));
    assert!(clean.iter().any(|one| one.0 == "CVE-2020-36567"), "1.5.1 is before 1.6.0");
    assert!(!ids(package(Ecosystem::PyPi, "jinja2", "2.10.1")).iter().any(|one| one.0 == "CVE-2019-10906"));
    // The tool chain of a Go program.
    let old = ids(package(Ecosystem::Go, "stdlib", "go1.20.0"));
    assert!(old.len() > 30, "{}", old.len());
    assert!(ids(package(Ecosystem::Go, "stdlib", "go1.99.0")).len() < 5);
    let smallvec = ids(package(Ecosystem::Cargo, "smallvec", "0.6.0"));
    assert!(smallvec.iter().any(|one| one.2 >= Severity::High), "{smallvec:?}");
}

/// 400 packages, a third of each ecosystem, most of them with advisories.
fn packages() -> Vec<Package> {
    let go = [
        "stdlib",
        "golang.org/x/net",
        "golang.org/x/crypto",
        "github.com/gin-gonic/gin",
        "github.com/docker/docker",
    ];
    let python =
        ["django", "pillow", "ansible", "tensorflow", "jinja2", "requests", "urllib3", "cryptography"];
    let rust = ["time", "smallvec", "hyper", "tokio", "openssl", "regex", "rustls", "crossbeam-deque"];
    let mut packages = Vec::new();
    for n in 0..400 / 21 + 1 {
        let version = format!("1.{n}.0");
        packages.extend(go.iter().map(|name| package(Ecosystem::Go, name, &format!("v{version}"))));
        packages.extend(python.iter().map(|name| package(Ecosystem::PyPi, name, &version)));
        packages.extend(rust.iter().map(|name| package(Ecosystem::Cargo, name, &version)));
    }
    packages.truncate(400);
    packages
}

/// The figures go to the output; the bounds that were agreed on are measured in a release build.
#[test]
fn speed_is_shown() {
    let Some(store) = real_store() else { return };
    let packages = packages();
    for round in ["first", "second", "third"] {
        let start = Instant::now();
        let db = AdvisoryDb::open(store).unwrap();
        let found = match_packages(&db, &packages, &MatchOptions::default()).unwrap();
        println!(
            "{round}: {} findings of {} packages in {:?}",
            found.vulnerabilities.len(),
            packages.len(),
            start.elapsed()
        );
        assert!(found.vulnerabilities.len() > 400);
    }
}
