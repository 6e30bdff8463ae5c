//! Packages against the store: which vulnerabilities are known of them.

mod fix;
mod merge;
mod ranges;
mod rate;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use jiff::Timestamp;
use kiln_model::Digest;
use serde::{Deserialize, Serialize};

use self::ranges::Known;
use super::osv::Reference;
use super::store::entry::{Scope, Told};
use super::{AdvisoryDb, AdvisoryError, names};
use crate::version::Scheme;
use crate::{Ecosystem, Location, Package, Score, Severity};

/// What counts as a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchOptions {
    /// Also report what is no vulnerability: crates that are unmaintained, unsound or have a notice.
    pub informational: bool,
    /// At most so many references are taken over into each finding.
    pub references: usize,
}

impl Default for MatchOptions {
    fn default() -> Self {
        Self { informational: true, references: 20 }
    }
}

/// The result of a match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// The digest of the store that was asked.
    pub database: Digest,
    /// The worst first; suppressed ones too.
    pub vulnerabilities: Vec<Vulnerability>,
    /// What could not be judged, which is not the same as being free of vulnerabilities.
    pub unjudged: Vec<Unjudged>,
}

/// A known vulnerability of a package in the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vulnerability {
    /// The CVE if there is one, else GitHub's name, else the database's own.
    pub id: String,
    /// All other names, sorted.
    pub aliases: Vec<String>,
    /// The advisories that this finding rests on, sorted.
    pub advisories: Vec<String>,
    /// The package.
    pub package: PackageRef,
    /// The worst of what the advisories say.
    pub severity: Severity,
    /// The highest CVSS score of the advisories.
    pub score: Option<Score>,
    /// The vector with that score.
    pub vector: Option<String>,
    /// `unmaintained`, `unsound` or `notice` when it is no vulnerability but a reason to look for another crate.
    pub informational: Option<String>,
    /// One line.
    pub summary: String,
    /// The earliest date of publication.
    pub published: Option<Timestamp>,
    /// The latest change.
    pub modified: Option<Timestamp>,
    /// The first version that none of the advisories calls affected.
    pub fixed: Option<String>,
    /// How to get it.
    pub how_to_fix: String,
    /// Where to read on.
    pub references: Vec<Reference>,
    /// Why it does not count, if it does not; the first reason that applies.
    pub suppressed: Option<Suppression>,
    /// What VEX statements say that does not suppress it: `affected` or `under_investigation`.
    pub vex_status: Option<String>,
}

/// Which package a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PackageRef {
    /// Package URL.
    pub purl: String,
    /// What kind it is.
    pub ecosystem: Ecosystem,
    /// Its name.
    pub name: String,
    /// Its installed version.
    pub version: String,
    /// Where it was found, sorted.
    pub locations: Vec<Location>,
}

/// Why a finding does not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppression {
    /// What decided it.
    pub by: Suppressor,
    /// The name of the statement: a VEX document's id, an advisory's id.
    pub source: String,
    /// Why, as it is written there.
    pub reason: String,
}

/// What decides that a finding does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Suppressor {
    /// The advisory itself, which is about other systems.
    Advisory,
    /// A VEX statement.
    Vex,
}

/// Something that no answer was found for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "why")]
pub enum Unjudged {
    /// The store has no advisories about an ecosystem.
    NoData {
        /// The ecosystem.
        ecosystem: Ecosystem,
        /// How many packages it concerns.
        packages: usize,
    },
    /// A version is none in its ecosystem, although there are advisories about the package.
    Version {
        /// The package.
        purl: String,
        /// Its version.
        version: String,
    },
}

impl std::fmt::Display for Unjudged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoData { ecosystem, packages } => {
                write!(
                    f,
                    "no advisories about {ecosystem} are on this machine; packages that were not looked up: {packages}"
                )
            }
            Self::Version { purl, version } => write!(f, "{version:?} is no version of its kind: {purl}"),
        }
    }
}

/// An advisory that affects a package.
#[derive(Debug)]
struct Hit {
    key: (usize, i64),
    text: Rc<Told>,
    known: Rc<Known>,
}

impl Hit {
    fn scopes(&self) -> &[Scope] {
        &self.known.scopes
    }
}

/// Finds what is known against packages.
///
/// # Errors
/// When the store cannot be read.
pub fn match_packages(
    db: &AdvisoryDb,
    packages: &[Package],
    options: &MatchOptions,
) -> Result<Findings, AdvisoryError> {
    let mut search = Search { db, candidates: HashMap::new(), texts: HashMap::new() };
    let mut vulnerabilities = Vec::new();
    let mut unjudged = BTreeSet::new();
    for package in distinct(packages) {
        let hits = search.hits(&package, &mut unjudged)?;
        vulnerabilities.extend(merge::groups(&hits).iter().map(|group| finding(&package, group, options)));
    }
    if !options.informational {
        vulnerabilities.retain(|finding| finding.informational.is_none());
    }
    vulnerabilities.sort_by(|left, right| order(left).cmp(&order(right)));
    let mut unjudged: Vec<Unjudged> = unjudged.into_iter().collect();
    unjudged.extend(uncovered(db, packages)?);
    unjudged.sort();
    Ok(Findings { database: db.digest(), vulnerabilities, unjudged })
}

/// The worst first, then by name and package.
fn order(finding: &Vulnerability) -> (Reverse<Severity>, Reverse<Option<Score>>, &str, &PackageRef) {
    (Reverse(finding.severity), Reverse(finding.score), &finding.id, &finding.package)
}

/// Every package once, with all places where it is.
fn distinct(packages: &[Package]) -> Vec<Package> {
    let mut known: BTreeMap<_, Package> = BTreeMap::new();
    for package in packages {
        let key = (&package.ecosystem, &package.name, &package.version, &package.purl, &package.source);
        match known.entry(key) {
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(package.clone());
            }
            std::collections::btree_map::Entry::Occupied(mut entry) => {
                entry.get_mut().locations.extend(package.locations.iter().cloned());
            }
        }
    }
    let mut packages: Vec<Package> = known.into_values().collect();
    for package in &mut packages {
        package.locations.sort();
        package.locations.dedup();
    }
    packages
}

/// Ecosystems that the store says nothing about at all.
fn uncovered(db: &AdvisoryDb, packages: &[Package]) -> Result<Vec<Unjudged>, AdvisoryError> {
    let mut counts: BTreeMap<&Ecosystem, (usize, Vec<String>)> = BTreeMap::new();
    for package in packages {
        let entry = counts.entry(&package.ecosystem).or_default();
        entry.0 += 1;
        entry.1 = names::wanted(package).ecosystems;
    }
    let mut missing = Vec::new();
    for (ecosystem, (packages, keys)) in counts {
        let mut covered = false;
        for key in &keys {
            covered = covered || db.covers(key)?;
        }
        if !covered {
            missing.push(Unjudged::NoData { ecosystem: ecosystem.clone(), packages });
        }
    }
    Ok(missing)
}

type Candidates = Rc<Vec<((usize, i64), Rc<Known>)>>;

/// Many packages share their source package, so what was read is kept during one match.
struct Search<'a> {
    db: &'a AdvisoryDb,
    candidates: HashMap<(String, String), Candidates>,
    texts: HashMap<(usize, i64), Rc<Told>>,
}

impl Search<'_> {
    fn hits(
        &mut self,
        package: &Package,
        unjudged: &mut BTreeSet<Unjudged>,
    ) -> Result<Vec<Hit>, AdvisoryError> {
        let wanted = names::wanted(package);
        let scheme = Scheme::of(&package.ecosystem);
        let mut hits: Vec<Hit> = Vec::new();
        let mut any = false;
        for ecosystem in &wanted.ecosystems {
            for name in &wanted.names {
                for (key, known) in self.candidates(scheme, ecosystem, name)?.iter() {
                    any = true;
                    let twice = hits.iter().any(|hit| hit.key == *key);
                    if !twice && known.affects(wanted.version) {
                        hits.push(Hit { key: *key, text: self.text(*key)?, known: Rc::clone(known) });
                    }
                }
            }
        }
        if any && scheme.parse(wanted.version).is_err() {
            let (purl, version) = (package.purl.clone(), wanted.version.to_owned());
            unjudged.insert(Unjudged::Version { purl, version });
        }
        Ok(hits)
    }

    fn candidates(
        &mut self,
        scheme: Scheme,
        ecosystem: &str,
        name: &str,
    ) -> Result<Candidates, AdvisoryError> {
        let key = (ecosystem.to_owned(), name.to_owned());
        if let Some(known) = self.candidates.get(&key) {
            return Ok(Rc::clone(known));
        }
        let mut found = Vec::new();
        for candidate in self.db.candidates(ecosystem, name)? {
            found.push((candidate.key, Rc::new(Known::new(scheme, candidate.scopes))));
        }
        let found = Rc::new(found);
        self.candidates.insert(key, Rc::clone(&found));
        Ok(found)
    }

    fn text(&mut self, key: (usize, i64)) -> Result<Rc<Told>, AdvisoryError> {
        if let Some(known) = self.texts.get(&key) {
            return Ok(Rc::clone(known));
        }
        let text = Rc::new(self.db.text(key)?);
        self.texts.insert(key, Rc::clone(&text));
        Ok(text)
    }
}

fn finding(package: &Package, group: &merge::Group<'_>, options: &MatchOptions) -> Vulnerability {
    let id = merge::preferred(&group.ids);
    let rated = rate::rate(group);
    let fixed = fixed(package, group);
    let texts = || group.hits.iter().map(|hit| &hit.text);
    let mut references: Vec<Reference> = texts().flat_map(|text| text.references.iter().cloned()).collect();
    references.sort();
    references.dedup_by(|left, right| left.url == right.url);
    references.truncate(options.references);
    let mut advisories: Vec<String> = texts().map(|text| text.id.clone()).collect();
    advisories.dedup();
    Vulnerability {
        aliases: group.ids.iter().filter(|other| **other != id).cloned().collect(),
        advisories,
        package: PackageRef {
            purl: package.purl.clone(),
            ecosystem: package.ecosystem.clone(),
            name: package.name.clone(),
            version: package.version.clone(),
            locations: package.locations.clone(),
        },
        severity: rated.severity,
        score: rated.score,
        vector: rated.vector,
        informational: rated.informational,
        summary: summary(group),
        published: texts().filter_map(|text| text.published).min(),
        modified: texts().filter_map(|text| text.modified).max(),
        how_to_fix: fix::how(package, fixed.as_deref()),
        fixed,
        references,
        suppressed: elsewhere(group),
        vex_status: None,
        id,
    }
}

/// The first version that all advisories call fixed.
fn fixed(package: &Package, group: &merge::Group<'_>) -> Option<String> {
    let scheme = Scheme::of(&package.ecosystem);
    let version = names::wanted(package).version;
    let known: Vec<&Known> = group.hits.iter().map(|hit| hit.known.as_ref()).collect();
    ranges::fix(scheme, &known, version)
}

/// The first summary, else the beginning of the first long text, on one line.
fn summary(group: &merge::Group<'_>) -> String {
    let texts = || group.hits.iter().map(|hit| &hit.text);
    let given = texts().map(|text| &text.summary).find(|summary| !summary.is_empty());
    let long = || texts().map(|text| &text.beginning).find(|beginning| !beginning.is_empty());
    given.or_else(long).cloned().unwrap_or_default()
}

/// Images are Linux: an advisory that names only other systems does not count.
fn elsewhere(group: &merge::Group<'_>) -> Option<Suppression> {
    let mut scopes = group.hits.iter().flat_map(|hit| hit.scopes().iter().map(move |scope| (hit, scope)));
    let other = |systems: &[String]| !systems.is_empty() && !systems.iter().any(|system| system == "linux");
    let (hit, first) = scopes.next()?;
    let all = other(&first.systems) && scopes.all(|(_, scope)| other(&scope.systems));
    all.then(|| Suppression {
        by: Suppressor::Advisory,
        source: hit.text.id.clone(),
        reason: format!("it concerns {} only, images are Linux", first.systems.join(", ")),
    })
}
