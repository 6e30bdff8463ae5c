//! What a person asks about images: which there are, what is in one, how it came to be, how two differ.

use std::collections::BTreeMap;

use kiln_model::Digest;
use serde::Serialize;

use crate::contents::Item;
use crate::oci::{Descriptor, ImageFile, Index, Manifest};
use crate::{EntryKind, Store, StoreError};

/// One image of the store, or an index of images for several platforms.
#[derive(Clone, Debug, Serialize)]
pub struct ImageInfo {
    /// Digest of the manifest or index.
    pub digest: Digest,
    /// Its tags, sorted.
    pub tags: Vec<String>,
    /// RFC 3339 time from the configuration; of an index, that of this machine's image.
    pub created: Option<String>,
    /// Such as `amd64`; an index has platforms instead.
    pub architecture: Option<String>,
    /// What an index has images for, such as `linux/amd64`; empty for a single image.
    pub platforms: Vec<String>,
    /// Bytes of all its blobs that are here.
    pub size: u64,
    /// Number of layers; of an index, those of this machine's image.
    pub layers: usize,
    /// Why its documents cannot be read, when they cannot.
    pub problem: Option<String>,
}

/// An image's documents.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// Digest of the manifest.
    pub digest: Digest,
    /// Its tags, sorted.
    pub tags: Vec<String>,
    /// Bytes of all its blobs.
    pub size: u64,
    /// The manifest.
    pub manifest: Manifest,
    /// The configuration.
    pub config: ImageFile,
}

/// One step of an image's history.
#[derive(Clone, Debug, Serialize)]
pub struct HistoryLine {
    /// RFC 3339 time.
    pub created: Option<String>,
    /// What was done.
    pub created_by: Option<String>,
    /// The layer it made.
    pub layer: Option<Digest>,
    /// Bytes of the layer as stored.
    pub size: u64,
}

/// One path in which two images differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Absolute path in the image.
    pub path: String,
    /// What became of it.
    pub change: Change,
    /// In what it differs: `kind`, `content`, `size`, `mode`, `owner`, `target`, `time`, `attributes`.
    pub what: Vec<&'static str>,
    /// As it was.
    pub before: Option<Side>,
    /// As it is.
    pub after: Option<Side>,
}

/// What became of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Only the second image has it.
    Added,
    /// Only the first image has it.
    Removed,
    /// Both have it, differently.
    Changed,
}

/// One side of a difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Side {
    /// `file`, `folder`, `link` or `hard link`.
    pub kind: &'static str,
    /// Bytes.
    pub size: u64,
    /// Four octal digits.
    pub mode: String,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Target of a link.
    pub target: Option<String>,
    /// Digest of a file's content.
    pub content: Option<Digest>,
}

impl Store {
    /// All images, tagged ones by tag first. One whose documents are damaged is listed with its problem.
    pub fn images(&self) -> Result<Vec<ImageInfo>, StoreError> {
        let mut images: Vec<ImageInfo> = Vec::new();
        for entry in self.list()? {
            let tag = entry.tag().map(str::to_owned);
            match images.iter_mut().find(|image| image.digest == entry.digest) {
                Some(image) => image.tags.extend(tag),
                None => images.push(self.info(&entry, tag)),
            }
        }
        Ok(images)
    }

    fn info(&self, entry: &Descriptor, tag: Option<String>) -> ImageInfo {
        let mut info = ImageInfo {
            digest: entry.digest,
            tags: tag.into_iter().collect(),
            created: None,
            architecture: None,
            platforms: Vec::new(),
            size: 0,
            layers: 0,
            problem: None,
        };
        let described =
            if entry.is_index() { self.describe_index(&mut info) } else { self.describe(&mut info) };
        info.problem = described.err().map(|error| error.to_string());
        info
    }

    fn describe(&self, info: &mut ImageInfo) -> Result<(), StoreError> {
        let image = self.image(&info.digest)?;
        info.size = total([&image.manifest]);
        info.layers = image.layers.len();
        info.created = image.file.created;
        info.architecture = Some(image.file.architecture);
        Ok(())
    }

    fn describe_index(&self, info: &mut ImageInfo) -> Result<(), StoreError> {
        let index: Index = self.read_json(&info.digest)?;
        info.platforms = index.platforms();
        let here = |entry: &&Descriptor| !entry.is_index() && self.has(&entry.digest);
        let manifests = index.manifests.iter().filter(here).map(|entry| self.read_json(&entry.digest));
        let manifests = manifests.collect::<Result<Vec<Manifest>, _>>()?;
        info.size = total(&manifests);
        if let Some(own) = index.for_host().filter(here) {
            let image = self.image(&own.digest)?;
            info.layers = image.layers.len();
            info.created = image.file.created;
        }
        Ok(())
    }

    /// An image's documents, verified.
    pub fn inspect(&self, image: &Digest) -> Result<Inspection, StoreError> {
        let documents = self.image(image)?;
        let entries = self.list()?.into_iter().filter(|entry| entry.digest == *image);
        Ok(Inspection {
            digest: *image,
            tags: entries.filter_map(|entry| entry.tag().map(str::to_owned)).collect(),
            size: total([&documents.manifest]),
            manifest: documents.manifest,
            config: documents.file,
        })
    }

    /// How an image came to be, the oldest step first.
    pub fn history(&self, image: &Digest) -> Result<Vec<HistoryLine>, StoreError> {
        let documents = self.image(image)?;
        let mut layers = documents.layers.iter();
        let mut lines: Vec<HistoryLine> = Vec::new();
        for step in documents.file.history {
            let layer = if step.empty_layer { None } else { layers.next() };
            lines.push(HistoryLine {
                created: step.created,
                created_by: step.created_by,
                layer: layer.map(|layer| layer.blob.digest),
                size: layer.map_or(0, |layer| layer.blob.size),
            });
        }
        // Some builders write no history; their layers are still worth a line.
        lines.extend(layers.map(|layer| HistoryLine {
            created: None,
            created_by: None,
            layer: Some(layer.blob.digest),
            size: layer.blob.size,
        }));
        Ok(lines)
    }

    /// The paths in which two images differ, sorted. Times count only where nothing else differs.
    pub fn diff(&self, before: &Digest, after: &Digest) -> Result<Vec<Difference>, StoreError> {
        let (before, after) = (self.image(before)?.layers, self.image(after)?.layers);
        let before = self.contents(&before, true)?.items;
        let after = self.contents(&after, true)?.items;
        let mut differences = Vec::new();
        for (path, old) in &before {
            match after.get(path) {
                None => differences.push(difference(path, Change::Removed, Some(old), None)),
                Some(new) => {
                    let found = difference(path, Change::Changed, Some(old), Some(new));
                    differences.extend(Some(found).filter(|found| !found.what.is_empty()));
                }
            }
        }
        let added = after.iter().filter(|(path, _)| !before.contains_key(*path));
        differences.extend(added.map(|(path, new)| difference(path, Change::Added, None, Some(new))));
        differences.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(differences)
    }
}

fn total<'m>(manifests: impl IntoIterator<Item = &'m Manifest>) -> u64 {
    let blobs = manifests.into_iter().flat_map(|manifest| manifest.layers.iter().chain([&manifest.config]));
    let unique: BTreeMap<Digest, u64> = blobs.map(|blob| (blob.digest, blob.size)).collect();
    unique.values().sum()
}

fn difference(path: &[u8], change: Change, before: Option<&Item>, after: Option<&Item>) -> Difference {
    let what = match (before, after) {
        (Some(old), Some(new)) => differing(old, new),
        _ => Vec::new(),
    };
    Difference {
        path: format!("/{}", String::from_utf8_lossy(path)),
        change,
        what,
        before: before.map(side),
        after: after.map(side),
    }
}

fn differing(old: &Item, new: &Item) -> Vec<&'static str> {
    let (a, b) = (&old.entry, &new.entry);
    let mut what = Vec::new();
    let mut note = |differs: bool, name| {
        if differs {
            what.push(name);
        }
    };
    note(a.kind != b.kind, "kind");
    note(old.content != new.content, "content");
    note(a.size != b.size, "size");
    note(a.mode != b.mode, "mode");
    note((a.uid, a.gid) != (b.uid, b.gid), "owner");
    note(a.link != b.link, "target");
    note(a.xattrs != b.xattrs, "attributes");
    if what.is_empty() && a.mtime != b.mtime {
        what.push("time");
    }
    what
}

fn side(item: &Item) -> Side {
    let entry = &item.entry;
    let kind = match entry.kind {
        EntryKind::Folder => "folder",
        EntryKind::Symlink => "link",
        EntryKind::Hardlink => "hard link",
        EntryKind::File | EntryKind::Device | EntryKind::Fifo => "file",
    };
    Side {
        kind,
        size: entry.size,
        mode: format!("{:04o}", entry.mode),
        uid: entry.uid,
        gid: entry.gid,
        target: Some(String::from_utf8_lossy(&entry.link).into_owned()).filter(|target| !target.is_empty()),
        content: item.content,
    }
}
