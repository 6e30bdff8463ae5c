//! The real advisories: all of them are read, and known cases are found.

use std::collections::BTreeSet;
use std::io::Read as _;
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

/// 400 packages of the three ecosystems, every one with advisories, and some that are known for many.
fn packages() -> Vec<Package> {
    let real = super::kit::real().unwrap();
    let mut names = BTreeSet::new();
    for file in ["Go.zip", "PyPI.zip", "RustSec.zip"] {
        let mut zip = zip::ZipArchive::new(std::fs::File::open(real.join(file)).unwrap()).unwrap();
        for index in (0..zip.len()).step_by(10) {
            let mut text = String::new();
            zip.by_index(index).unwrap().read_to_string(&mut text).unwrap();
            let advisory: serde_json::Value = serde_json::from_str(&text).unwrap();
            let package = &advisory["affected"][0]["package"];
            let ecosystem = match package["ecosystem"].as_str().unwrap() {
                "Go" => Ecosystem::Go,
                "PyPI" => Ecosystem::PyPi,
                _ => Ecosystem::Cargo,
            };
            names.insert((ecosystem, package["name"].as_str().unwrap().to_owned()));
        }
    }
    let many = ["tensorflow", "django", "pillow", "ansible"].map(|name| (Ecosystem::PyPi, name.to_owned()));
    let names = many.into_iter().chain(names);
    names.take(400).map(|(ecosystem, name)| package(ecosystem, &name, "1.5.0")).collect()
}

/// The figures go to the output; the bounds that were agreed on are measured in a release build.
#[test]
fn speed_is_shown() {
    let Some(store) = real_store() else { return };
    let worst = packages();
    // An ordinary image: one package in four has ever had an advisory.
    let ordinary: Vec<Package> = (0..400)
        .map(|n| match n % 4 {
            0 => worst[n].clone(),
            _ => package(Ecosystem::Go, &format!("example.org/module-{n}"), "v1.0.0"),
        })
        .collect();
    for (name, packages, least) in [("ordinary", &ordinary, 100), ("all with advisories", &worst, 400)] {
        for round in 1..=3 {
            let start = Instant::now();
            let db = AdvisoryDb::open(store).unwrap();
            let found =
                match_packages(&db, packages, &MatchOptions::default()).unwrap().vulnerabilities.len();
            println!(
                "{name}, round {round}: {found} findings of {} packages in {:?}",
                packages.len(),
                start.elapsed()
            );
            assert!(found > least);
        }
    }
}
