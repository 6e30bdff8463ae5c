//! What the rows about scanning need that the binary does not do alone.
//!
//! `scan match ADVISORIES INVENTORY` times matching, the first time and again; `scan affected DATA COUNT` writes an
//! inventory of so many packages that all have advisories; `scan corpus FOLDER BYTES FROM…` copies real files;
//! `scan secrets FOLDER` times the search for secrets.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use kiln_scan::advisories::osv::Advisory;
use kiln_scan::advisories::{AdvisoryDb, MatchOptions, match_packages};
use kiln_scan::secrets::{Allow, scan_folder};
use kiln_scan::{Ecosystem, Inventory, Package};
use serde_json::json;
use zip::ZipArchive;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Warm rounds, of which the middle one counts.
const ROUNDS: usize = 15;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let mode = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    match (mode.as_str(), rest.as_slice()) {
        ("match", [advisories, inventory]) => matching(Path::new(advisories), Path::new(inventory)),
        ("affected", [data, count]) => affected(Path::new(data), count.parse()?),
        ("corpus", [folder, bytes, from @ ..]) => corpus(Path::new(folder), bytes.parse()?, from),
        ("secrets", [folder]) => secrets(Path::new(folder)),
        // `cargo test` builds and runs this too, without arguments.
        _ => Ok(()),
    }
}

fn millis(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1000.0
}

fn matching(advisories: &Path, inventory: &Path) -> Outcome<()> {
    let inventory: Inventory = serde_json::from_slice(&fs::read(inventory)?)?;
    let begun = Instant::now();
    let db = AdvisoryDb::open(advisories)?;
    let found = match_packages(&db, &inventory.packages, &MatchOptions::default())?;
    let first = millis(begun);
    let mut warm = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        match_packages(&db, &inventory.packages, &MatchOptions::default())?;
        warm.push(millis(begun));
    }
    warm.sort_by(f64::total_cmp);
    let told = json!({
        "first": first,
        "warm": warm[ROUNDS / 2],
        "packages": inventory.packages.len(),
        "advisories": db.info().count,
        "findings": found.vulnerabilities.len(),
    });
    println!("{told}");
    Ok(())
}

/// As many advisories are known for no other packages.
const MANY: [&str; 4] = ["tensorflow", "django", "pillow", "ansible"];

fn affected(data: &Path, count: usize) -> Outcome<()> {
    let mut names: BTreeSet<(Ecosystem, String)> = BTreeSet::new();
    for entry in fs::read_dir(data)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "zip") {
            names.extend(named(&path)?);
        }
    }
    let many = MANY.map(|name| (Ecosystem::PyPi, name.to_owned()));
    let rest = names.into_iter().filter(|name| !many.contains(name));
    let chosen = many.iter().cloned().chain(rest).take(count);
    let packages: Vec<Package> = chosen.map(|(ecosystem, name)| package(ecosystem, name)).collect();
    if packages.len() != count {
        return Err(
            format!("{} has advisories about {} packages only", data.display(), packages.len()).into()
        );
    }
    println!("{}", serde_json::to_string(&Inventory { packages, ..Inventory::default() })?);
    Ok(())
}

/// Every how many advisories one is taken: what is known for many is more likely among them, as it is in images.
const EVERY: usize = 10;

/// What some of a database's advisories are about.
fn named(path: &Path) -> Outcome<BTreeSet<(Ecosystem, String)>> {
    let mut names = BTreeSet::new();
    let mut archive = ZipArchive::new(File::open(path)?)?;
    for index in (0..archive.len()).step_by(EVERY) {
        let mut text = Vec::new();
        archive.by_index(index)?.read_to_end(&mut text)?;
        let advisory = Advisory::parse(&text)?;
        let Some(affected) = advisory.affected.into_iter().next() else { continue };
        let ecosystem = match affected.package.ecosystem.as_str() {
            "Go" => Ecosystem::Go,
            "PyPI" => Ecosystem::PyPi,
            "crates.io" => Ecosystem::Cargo,
            _ => continue,
        };
        names.insert((ecosystem, affected.package.name));
    }
    Ok(names)
}

/// A version that most advisories of a package are about.
fn package(ecosystem: Ecosystem, name: String) -> Package {
    let version = "1.5.0".to_owned();
    let kind = match &ecosystem {
        Ecosystem::Go => "golang",
        Ecosystem::PyPi => "pypi",
        _ => "cargo",
    };
    Package {
        purl: format!("pkg:{kind}/{name}@{version}"),
        ecosystem,
        name,
        version,
        architecture: None,
        source: None,
        licenses: Vec::new(),
        locations: Vec::new(),
    }
}

/// Files in one folder of the corpus.
const FOLDER: usize = 1000;

/// Files are numbered: Trivy passes over everything whose path looks like a system's own (`usr/lib/`, `usr/share/`, Python's
/// and Node's folders), and would read next to nothing of it.
fn corpus(folder: &Path, wanted: u64, from: &[String]) -> Outcome<()> {
    let mut todo: Vec<PathBuf> = from.iter().map(PathBuf::from).collect();
    let (mut bytes, mut files) = (0, 0);
    while let Some(path) = todo.pop() {
        let Ok(found) = fs::symlink_metadata(&path) else { continue };
        if found.is_dir() {
            let mut inner: Vec<PathBuf> =
                fs::read_dir(&path)?.filter_map(|it| Some(it.ok()?.path())).collect();
            inner.sort();
            todo.extend(inner);
        } else if found.is_file() && bytes < wanted {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let into = folder.join((files / FOLDER).to_string());
            fs::create_dir_all(&into)?;
            bytes += fs::copy(&path, into.join(format!("{files}-{name}")))?;
            files += 1;
        }
    }
    println!("{bytes}");
    Ok(())
}

fn secrets(folder: &Path) -> Outcome<()> {
    let begun = Instant::now();
    let found = scan_folder(folder, &Allow::none())?;
    println!("{}", json!({ "millis": millis(begun), "findings": found.len() }));
    Ok(())
}
