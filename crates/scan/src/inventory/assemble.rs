//! From findings to the inventory: names become purls, the same package in several places becomes one with several
//! locations, and what other files know of a package (licences, digests, who brought it) is joined to it.

mod links;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kiln_model::Digest;

use super::overlay::Overlay;
use super::wanted::Kind;
use super::{Checksum, Distribution, Family, Finding, Findings, Inventory, limits, purl};
use crate::{Ecosystem, Location, Package};

/// Packages by purl, and what is known on the way.
struct Draft {
    distribution: Distribution,
    packages: BTreeMap<String, Package>,
    checksums: BTreeMap<String, BTreeSet<Checksum>>,
    /// Every finding with its purl and the file it is from.
    places: Vec<Place>,
    problems: BTreeSet<String>,
}

/// One finding of one file.
struct Place {
    purl: String,
    path: String,
    findings: Arc<Findings>,
    index: usize,
}

impl Place {
    fn finding(&self) -> &Finding {
        &self.findings.packages[self.index]
    }
}

/// Makes the inventory of what is left after all layers. `digest` names a layer by its number.
pub(crate) fn assemble(mut overlay: Overlay, digest: impl Fn(usize) -> Option<Digest>) -> Inventory {
    let distribution = distribution(&overlay);
    let mut draft = Draft {
        distribution: distribution.clone().unwrap_or_default(),
        packages: BTreeMap::new(),
        checksums: BTreeMap::new(),
        places: Vec::new(),
        problems: overlay.problems.iter().cloned().collect(),
    };
    for (path, told) in &overlay.files {
        let path = String::from_utf8_lossy(path).into_owned();
        draft.problems.extend(told.findings.problems.iter().map(|text| format!("{path}: {text}")));
        draft.add(&path, digest(told.layer), &told.findings);
    }
    draft.licenses(&overlay);
    draft.digests(&overlay);
    if distribution.is_none() && draft.places.iter().any(|place| place.finding().family.of_distribution()) {
        draft
            .problems
            .insert("there is no os-release: nobody says which distribution the packages are of".into());
    }
    let dependencies = links::dependencies(&draft.places);
    let providers = links::providers(&draft.places, &mut overlay);
    let mut packages: Vec<Package> = draft.packages.into_values().collect();
    packages.sort();
    Inventory {
        distribution,
        packages,
        dependencies,
        providers,
        checksums: draft.checksums,
        problems: shorten(draft.problems),
        ..Inventory::default()
    }
}

/// The one of the administrator counts before the one of the vendor (os-release(5)).
fn distribution(overlay: &Overlay) -> Option<Distribution> {
    let read = |path: &[u8]| overlay.files.get(path)?.findings.distribution.clone();
    read(b"etc/os-release").or_else(|| read(b"usr/lib/os-release"))
}

fn shorten(problems: BTreeSet<String>) -> Vec<String> {
    let more = problems.len().saturating_sub(limits::PROBLEMS);
    let mut list: Vec<String> = problems.into_iter().take(limits::PROBLEMS).collect();
    if more > 0 {
        list.push(format!("… and {more} more"));
    }
    list
}

impl Draft {
    fn add(&mut self, path: &str, layer: Option<Digest>, findings: &Arc<Findings>) {
        for (index, found) in findings.packages.iter().enumerate() {
            let purl = purl::of(found, &self.distribution);
            let inside = found.inside.as_ref().map(|inside| format!("{path}!/{inside}"));
            let location = Location { path: inside.unwrap_or_else(|| path.to_owned()), layer };
            match self.packages.get_mut(&purl) {
                Some(package) => merge(package, found, location),
                None => {
                    let package = package(found, &purl, &self.distribution, location);
                    self.packages.insert(purl.clone(), package);
                }
            }
            if !found.checksums.is_empty() {
                self.checksums.entry(purl.clone()).or_default().extend(found.checksums.iter().cloned());
            }
            self.places.push(Place { purl, path: path.to_owned(), findings: findings.clone(), index });
        }
    }

    /// Debian's licences are in the package's documentation, whose folder may be a link to another's.
    fn licenses(&mut self, overlay: &Overlay) {
        let dpkg = |package: &&mut Package| matches!(package.ecosystem, Ecosystem::Dpkg(_));
        for package in self.packages.values_mut().filter(dpkg) {
            let folder = format!("usr/share/doc/{}", package.name);
            let Some(mut path) = overlay.resolve_folder(folder.as_bytes()) else { continue };
            path.extend_from_slice(b"/copyright");
            if let Some(told) = overlay.files.get(&path).filter(|told| told.kind == Kind::Copyright) {
                package.licenses.clone_from(&told.findings.licenses);
            }
        }
    }

    /// npm's record is about the packages beside it.
    fn digests(&mut self, overlay: &Overlay) {
        let locks = overlay.files.iter().filter(|(_, told)| told.kind == Kind::NodeLock);
        let mut known = BTreeMap::new();
        for (path, told) in locks {
            let path = String::from_utf8_lossy(path);
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            for (below, checksum) in &told.findings.digests {
                known.insert(format!("{folder}/{below}/package.json"), checksum);
            }
        }
        for place in &self.places {
            if let Some(checksum) = known.get(&place.path) {
                self.checksums.entry(place.purl.clone()).or_default().insert((*checksum).clone());
            }
        }
    }
}

fn package(found: &Finding, purl: &str, distribution: &Distribution, location: Location) -> Package {
    let mut licenses = found.licenses.clone();
    licenses.sort();
    licenses.dedup();
    Package {
        ecosystem: ecosystem(found.family, distribution),
        name: found.name.clone(),
        version: found.version.clone(),
        architecture: found.architecture.clone(),
        source: found.source.clone(),
        licenses,
        purl: purl.to_owned(),
        locations: vec![location],
    }
}

/// The same package found again. Which licences are declared can differ (an archive with and without manifest).
fn merge(package: &mut Package, found: &Finding, location: Location) {
    if let Err(at) = package.locations.binary_search(&location) {
        package.locations.insert(at, location);
    }
    for license in &found.licenses {
        if let Err(at) = package.licenses.binary_search(license) {
            package.licenses.insert(at, license.clone());
        }
    }
}

fn ecosystem(family: Family, distribution: &Distribution) -> Ecosystem {
    match family {
        Family::Dpkg => Ecosystem::Dpkg(distribution.ecosystem()),
        Family::Apk => Ecosystem::Apk(distribution.ecosystem()),
        Family::Rpm => Ecosystem::Rpm(distribution.ecosystem()),
        Family::Cargo => Ecosystem::Cargo,
        Family::Go => Ecosystem::Go,
        Family::PyPi => Ecosystem::PyPi,
        Family::Npm => Ecosystem::Npm,
        Family::Maven => Ecosystem::Maven,
        Family::Gem => Ecosystem::Gem,
        Family::NuGet => Ecosystem::NuGet,
        Family::Composer => Ecosystem::Composer,
    }
}
