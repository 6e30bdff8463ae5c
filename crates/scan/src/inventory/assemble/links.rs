//! What packages have to do with each other: who needs whom, and who brought whom.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::super::Family;
use super::super::overlay::Overlay;
use super::super::wanted::Kind;
use super::Place;

/// Packages of one name that are looked at; a crafted image could have as many of one name as it likes.
const CANDIDATES: usize = 64;

/// Purls that a purl needs. A need that nothing in the image meets is left out.
pub(super) fn dependencies(places: &[Place]) -> BTreeMap<String, BTreeSet<String>> {
    let mut index: HashMap<(Family, &str), Vec<&Place>> = HashMap::new();
    for place in places {
        let found = place.finding();
        let names = std::iter::once(&found.name).chain(&found.offers);
        for name in names {
            let list = index.entry((found.family, name)).or_default();
            if list.len() < CANDIDATES && !list.iter().any(|known| std::ptr::eq(*known, place)) {
                list.push(place);
            }
        }
    }
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for place in places {
        for any in &place.finding().needs {
            let met = any.iter().find_map(|name| index.get(&(place.finding().family, name.as_str())));
            let Some(target) = met.and_then(|candidates| nearest(place, candidates)) else { continue };
            if target.purl != place.purl {
                found.entry(place.purl.clone()).or_default().insert(target.purl.clone());
            }
        }
    }
    found
}

/// Of several packages with one name, the one that lies nearest: in the same file, then with the most folders in
/// common, then the highest up. That is how Node looks for modules, and it keeps environments of Python and
/// programs apart.
fn nearest<'a>(from: &Place, candidates: &[&'a Place]) -> Option<&'a Place> {
    let best = candidates.iter().max_by_key(|place| {
        let shared = if place.path == from.path { usize::MAX } else { common(&place.path, &from.path) };
        (shared, std::cmp::Reverse(place.path.len()), std::cmp::Reverse(&place.purl))
    });
    best.copied()
}

/// Length of the folders that two paths share.
fn common(one: &str, other: &str) -> usize {
    let same = one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    one.as_bytes()[..same].iter().rposition(|byte| *byte == b'/').unwrap_or(0)
}

/// Which packages of the distribution brought a package of a language, when they brought all its places.
pub(super) fn providers(places: &[Place], overlay: &mut Overlay) -> BTreeMap<String, BTreeSet<String>> {
    let of_language = |place: &&Place| !place.finding().family.of_distribution();
    let paths: HashSet<&str> = places.iter().filter(of_language).map(|place| place.path.as_str()).collect();
    if paths.is_empty() {
        return BTreeMap::new();
    }
    let mut owners: HashMap<String, String> = HashMap::new();
    for (purl, files) in file_lists(places, overlay) {
        for file in files {
            let path = overlay.resolve(file.as_bytes());
            if let Ok(path) = std::str::from_utf8(&path)
                && paths.contains(path)
            {
                owners.insert(path.to_owned(), purl.clone());
            }
        }
    }
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut others: HashSet<&str> = HashSet::new();
    for place in places.iter().filter(of_language) {
        match owners.get(&place.path) {
            Some(owner) => _ = found.entry(place.purl.clone()).or_default().insert(owner.clone()),
            None => _ = others.insert(&place.purl),
        }
    }
    found.retain(|purl, _| !others.contains(purl.as_str()));
    found
}

/// The files of each package of the distribution. dpkg keeps them apart from the package, by name.
fn file_lists(places: &[Place], overlay: &Overlay) -> Vec<(String, Vec<String>)> {
    let of_system = places.iter().filter(|place| place.finding().family.of_distribution());
    let mut lists: Vec<(String, Vec<String>)> = of_system
        .clone()
        .filter(|place| !place.finding().files.is_empty())
        .map(|place| (place.purl.clone(), place.finding().files.clone()))
        .collect();
    let dpkg = of_system.filter(|place| place.finding().family == Family::Dpkg);
    let purls: HashMap<&str, &String> =
        dpkg.map(|place| (place.finding().name.as_str(), &place.purl)).collect();
    for (path, told) in overlay.files.iter().filter(|(_, told)| told.kind == Kind::DpkgFiles) {
        let path = String::from_utf8_lossy(path);
        let file = path.rsplit('/').next().unwrap_or_default();
        let name = file.strip_suffix(".list").or_else(|| file.strip_suffix(".md5sums")).unwrap_or(file);
        // `NAME:ARCH.list` for packages that may be installed for several architectures.
        let name = name.split(':').next().unwrap_or(name);
        if let Some(purl) = purls.get(name) {
            lists.push(((*purl).clone(), told.findings.files.clone()));
        }
    }
    lists
}
