//! All packages there are: the lists of all suites, by name and by what they provide.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use debversion::Version;

use crate::index::{Index, Row};
use crate::lock::Archive;
use crate::relation::{self, Group, Relation};

/// One package of one archive.
#[derive(Clone, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) row: Row<'a>,
    pub(crate) archive: Archive,
}

impl Entry<'_> {
    /// Its version; what is no version sorts below all others.
    pub(crate) fn version(&self) -> Version {
        self.row.version().parse().unwrap_or_else(|_| Version {
            epoch: None,
            upstream_version: "0~~".to_owned(),
            debian_revision: None,
        })
    }
}

/// The packages of an architecture in all suites of a wish.
#[derive(Debug)]
pub(crate) struct Universe<'a> {
    architecture: &'a str,
    entries: Vec<Entry<'a>>,
    /// Newest first.
    by_name: HashMap<&'a str, Vec<usize>>,
    /// Provided name to the package and the text of its promise.
    providers: HashMap<&'a str, Vec<(usize, &'a str)>>,
    essential: BTreeMap<&'a str, ()>,
}

impl<'a> Universe<'a> {
    pub(crate) fn new(architecture: &'a str, lists: impl IntoIterator<Item = (Archive, &'a Index)>) -> Self {
        let mut universe = Self {
            architecture,
            entries: Vec::new(),
            by_name: HashMap::new(),
            providers: HashMap::new(),
            essential: BTreeMap::new(),
        };
        for (archive, index) in lists {
            for row in index.rows() {
                universe.add(Entry { row, archive });
            }
        }
        let entries = &universe.entries;
        for numbers in universe.by_name.values_mut().filter(|numbers| numbers.len() > 1) {
            numbers.sort_by_cached_key(|number| std::cmp::Reverse(entries[*number].version()));
        }
        universe
    }

    fn add(&mut self, entry: Entry<'a>) {
        let row = entry.row;
        let known = self.by_name.entry(row.name()).or_default();
        // A point release brings what an update brought before.
        if known.iter().any(|number| self.entries[*number].row.version() == row.version()) {
            return;
        }
        let number = self.entries.len();
        known.push(number);
        for promise in row.provides().split(',').map(str::trim).filter(|promise| !promise.is_empty()) {
            let end = promise.find([' ', '(', ':']).unwrap_or(promise.len());
            self.providers.entry(&promise[..end]).or_default().push((number, promise));
        }
        if row.essential() {
            self.essential.insert(row.name(), ());
        }
        self.entries.push(entry);
    }

    pub(crate) fn entry(&self, number: usize) -> &Entry<'a> {
        &self.entries[number]
    }

    /// Names of the packages marked essential, sorted.
    pub(crate) fn essential(&self) -> impl Iterator<Item = &'a str> {
        self.essential.keys().copied()
    }

    /// Names of all packages.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.by_name.keys().copied()
    }

    /// The versions of a real package, newest first.
    pub(crate) fn versions(&self, name: &str) -> &[usize] {
        self.by_name.get(name).map_or(&[], Vec::as_slice)
    }

    /// Packages of *other* names that fulfil a relation by `Provides`, grouped by name, best first.
    pub(crate) fn providers(&self, relation: &Relation) -> Vec<(&'a str, Vec<usize>)> {
        let mut found: BTreeMap<(bool, u8, &str), Vec<usize>> = BTreeMap::new();
        for (number, promise) in self.providers.get(relation.name.as_str()).into_iter().flatten() {
            let row = &self.entries[*number].row;
            if row.name() == relation.name || !self.qualifies(relation, row) || !promised(promise, relation) {
                continue;
            }
            let newest = &self.entries[self.by_name[row.name()][0]].row;
            let key = (!newest.essential(), newest.priority(), row.name());
            found.entry(key).or_default().push(*number);
        }
        found.into_iter().map(|((_, _, name), numbers)| (name, numbers)).collect()
    }

    /// Whether a package fulfils the architecture part of a relation: `:any` takes those that allow it.
    pub(crate) fn qualifies(&self, relation: &Relation, row: &Row<'_>) -> bool {
        match relation.qualifier.as_deref() {
            None | Some("native") => true,
            Some("any") => row.multi_arch() == "allowed",
            Some(architecture) => architecture == self.architecture,
        }
    }

    /// Whether a set of packages fulfils a relation.
    pub(crate) fn satisfied(&self, group: &Group, chosen: &BTreeSet<usize>) -> bool {
        group.iter().any(|relation| {
            let real = self.versions(&relation.name).iter().any(|number| {
                let entry = self.entry(*number);
                chosen.contains(number)
                    && self.qualifies(relation, &entry.row)
                    && relation.bound.as_ref().is_none_or(|bound| bound.holds(&entry.version()))
            });
            let provided = || {
                let providers = self.providers(relation);
                providers.iter().flat_map(|(_, numbers)| numbers).any(|number| chosen.contains(number))
            };
            real || provided()
        })
    }
}

/// Whether a promise (`name` or `name (= version)`) fulfils a relation: one with a version needs one with a version.
fn promised(promise: &str, relation: &Relation) -> bool {
    let Some(bound) = &relation.bound else { return true };
    let Some(groups) = relation::parse(promise) else { return false };
    let version = groups.first().and_then(|group| group.first()?.bound.as_ref());
    version.is_some_and(|promised| bound.holds(&promised.version))
}
