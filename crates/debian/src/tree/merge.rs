//! All packages' files in one tree.
//!
//! Names go through the links of merged `/usr`, of `/var/run` and `/var/lock`, and through every symbolic link of a
//! package that another package has files below: as they would on disk. Where two packages hold the same file, the
//! one that `Replaces` the other has it; folders belong to everybody, and the first package says how they are.

use std::collections::BTreeMap;

use kiln_store::{Content, Kind, Node};

use super::builder::Builder;
use crate::Error;
use crate::deb::{Entry, EntryKind, Package};
use crate::relation::{self, Relation};

/// What is a link into `/usr` everywhere since Debian 12.
const MERGED: [&str; 7] = ["bin", "lib", "lib32", "lib64", "libo32", "libx32", "sbin"];

/// Links that base-files makes when it is configured.
const MOVED: [(&str, &str); 2] = [("var/lock", "run/lock"), ("var/run", "run")];

/// A name to what it stands for.
type Aliases = BTreeMap<Vec<u8>, Vec<u8>>;

/// Merges; the order of the packages does not matter.
pub(super) fn merge(packages: &[Package], epoch: i64) -> Result<Builder, Error> {
    let mut packages: Vec<&Package> = packages.iter().collect();
    packages.sort_by_key(|package| (package.locked.name != "base-files", package.locked.name.clone()));
    let aliases = aliases(&packages);
    let mut merge =
        Merge { builder: Builder::new(epoch), aliases, owners: BTreeMap::new(), packages: &packages };
    for (number, package) in packages.iter().enumerate() {
        for entry in package.entries() {
            merge.add(number, package, entry)?;
        }
    }
    let Merge { mut builder, .. } = merge;
    for name in MERGED {
        let target = format!("usr/{name}");
        if builder.tree.nodes.contains_key(target.as_bytes()) || matches!(name, "bin" | "sbin" | "lib") {
            builder.folder(&target, 0o755);
            builder.tree.nodes.remove(name.as_bytes());
            builder.link(name, target);
        }
    }
    Ok(builder)
}

struct Merge<'a> {
    builder: Builder,
    aliases: Aliases,
    /// Which package a file is of.
    owners: BTreeMap<Vec<u8>, usize>,
    packages: &'a [&'a Package],
}

impl Merge<'_> {
    fn add(&mut self, number: usize, package: &Package, entry: &Entry) -> Result<(), Error> {
        let folder = entry.kind == EntryKind::Folder;
        let path = resolve(&self.aliases, &entry.path, folder);
        if path.is_empty() || (!folder && self.aliases.contains_key(&path)) {
            // The root is everybody's, and a link that names are resolved through is added once.
            return if path.is_empty() || self.is_alias(&path, &entry.kind) {
                Ok(())
            } else {
                self.taken(number, &path)
            };
        }
        let kind = match &entry.kind {
            EntryKind::Folder => Kind::Folder,
            EntryKind::File(offset, len) => {
                Kind::File(Content::Slice { path: package.file.clone(), offset: *offset, len: *len })
            }
            EntryKind::Symlink(target) => Kind::Symlink(target.clone()),
            EntryKind::Hardlink(target) => Kind::Hardlink(resolve(&self.aliases, target, false)),
        };
        let node = Node {
            kind,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            mtime: entry.mtime,
            xattrs: BTreeMap::new(),
        };
        if folder {
            if self.owners.contains_key(&path) {
                return self.taken(number, &path);
            }
            self.builder.tree.nodes.entry(path).or_insert(node);
            return Ok(());
        }
        match self.owners.get(&path) {
            Some(owner) if replaces(package, self.packages[*owner])? => {}
            Some(owner) if replaces(self.packages[*owner], package)? => return Ok(()),
            Some(_) => return self.taken(number, &path),
            None if self.builder.tree.nodes.contains_key(&path) => return self.taken(number, &path),
            None => {}
        }
        self.owners.insert(path.clone(), number);
        self.builder.tree.nodes.insert(path, node);
        Ok(())
    }

    /// Whether an entry is the very link that an alias stands for; it is then in the tree.
    fn is_alias(&mut self, path: &[u8], kind: &EntryKind) -> bool {
        let EntryKind::Symlink(target) = kind else { return false };
        let stands = self.aliases.get(path).cloned().unwrap_or_default();
        if follow(path, target) != stands {
            return false;
        }
        let node = Node {
            kind: Kind::Symlink(target.clone()),
            mode: 0o777,
            uid: 0,
            gid: 0,
            mtime: self.builder.epoch,
            xattrs: BTreeMap::new(),
        };
        self.builder.tree.nodes.entry(path.to_vec()).or_insert(node);
        true
    }

    fn taken(&self, number: usize, path: &[u8]) -> Result<(), Error> {
        let below = |entry: &Entry| resolve(&self.aliases, &entry.path, false) == path;
        let holder = self
            .owners
            .get(path)
            .copied()
            .or_else(|| self.packages.iter().position(|package| package.entries().iter().any(below)));
        Err(Error::FileConflict {
            path: String::from_utf8_lossy(path).into_owned(),
            first: holder.map_or_else(String::new, |holder| self.packages[holder].locked.name.clone()),
            second: self.packages[number].locked.name.clone(),
        })
    }
}

/// The links that names are resolved through.
fn aliases(packages: &[&Package]) -> Aliases {
    let mut aliases: Aliases =
        MERGED.iter().map(|name| (name.as_bytes().to_vec(), format!("usr/{name}").into_bytes())).collect();
    aliases.extend(MOVED.iter().map(|(from, to)| (from.as_bytes().to_vec(), to.as_bytes().to_vec())));
    let mut folders: BTreeMap<Vec<u8>, ()> = BTreeMap::new();
    for entry in packages.iter().flat_map(|package| package.entries()) {
        if entry.kind == EntryKind::Folder {
            folders.insert(resolve(&aliases, &entry.path, true), ());
        }
    }
    let fixed = aliases.clone();
    for entry in packages.iter().flat_map(|package| package.entries()) {
        let EntryKind::Symlink(target) = &entry.kind else { continue };
        let path = resolve(&fixed, &entry.path, false);
        if folders.contains_key(&path) && !fixed.contains_key(&path) {
            let target = follow(&path, target);
            aliases.insert(path, target);
        }
    }
    aliases
}

/// A name after the aliases on its way; the last part itself only when it is a folder.
fn resolve(aliases: &Aliases, path: &[u8], folder: bool) -> Vec<u8> {
    let mut path = path.to_vec();
    // Aliases may lead to aliases; a circle ends somewhere on it.
    'again: for _ in 0..40 {
        let ends = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at);
        let ends: Vec<usize> = ends.chain(folder.then_some(path.len())).collect();
        for end in ends {
            if let Some(target) = aliases.get(&path[..end]) {
                path = [target.as_slice(), &path[end..]].concat();
                continue 'again;
            }
        }
        break;
    }
    path
}

/// Where a symbolic link leads, by name alone.
fn follow(path: &[u8], target: &[u8]) -> Vec<u8> {
    let mut place: Vec<&[u8]> = match target.first() {
        Some(b'/') => Vec::new(),
        _ => path.split(|b| *b == b'/').collect(),
    };
    place.pop();
    for part in target.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(place.pop()),
            part => place.push(part),
        }
    }
    place.join(&b'/')
}

/// Whether a package says that it replaces files of another.
fn replaces(package: &Package, other: &Package) -> Result<bool, Error> {
    let control = package.control_text("control")?.unwrap_or_default();
    let Some(field) = field(&control, "Replaces") else { return Ok(false) };
    let Some(groups) = relation::parse(&field) else { return Ok(false) };
    let names = |relation: &Relation| {
        relation.name == other.locked.name
            && relation
                .bound
                .as_ref()
                .is_none_or(|bound| other.locked.version.parse().is_ok_and(|version| bound.holds(&version)))
    };
    Ok(groups.iter().flatten().any(names))
}

/// A field of a control file, with its lines joined.
pub(super) fn field(control: &str, name: &str) -> Option<String> {
    let mut lines = control.lines();
    let first = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let more = lines.take_while(|line| line.starts_with([' ', '\t']));
    Some(std::iter::once(first).chain(more).map(str::trim).collect::<Vec<_>>().join(" "))
}
