//! What the rows about scanning need that the binary does not do alone.
//!
//! `scan match ADVISORIES INVENTORY` times matching, the first time and again; `scan corpus FOLDER BYTES FROM…` copies real
//! files; `scan secrets FOLDER` times the search for secrets.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use kiln_scan::Inventory;
use kiln_scan::advisories::{AdvisoryDb, MatchOptions, match_packages};
use kiln_scan::secrets::{Allow, scan_folder};
use serde_json::json;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Warm rounds, of which the middle one counts.
const ROUNDS: usize = 15;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let mode = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    match (mode.as_str(), rest.as_slice()) {
        ("match", [advisories, inventory]) => matching(Path::new(advisories), Path::new(inventory)),
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

fn corpus(folder: &Path, wanted: u64, from: &[String]) -> Outcome<()> {
    let mut todo: Vec<PathBuf> = from.iter().map(PathBuf::from).collect();
    let mut bytes = 0;
    while let Some(path) = todo.pop() {
        let Ok(found) = fs::symlink_metadata(&path) else { continue };
        if found.is_dir() {
            let mut inner: Vec<PathBuf> =
                fs::read_dir(&path)?.filter_map(|it| Some(it.ok()?.path())).collect();
            inner.sort();
            todo.extend(inner);
        } else if found.is_file() && bytes < wanted {
            let target = folder.join(path.strip_prefix("/")?);
            fs::create_dir_all(target.parent().unwrap_or(folder))?;
            bytes += fs::copy(&path, &target)?;
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
