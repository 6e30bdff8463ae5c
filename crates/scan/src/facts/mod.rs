//! What an image is like, as far as a policy asks: sizes, ages, the user, files that give rights.

use jiff::Timestamp;
use kiln_model::{Digest, ImageConfig};
use kiln_store::oci::{Execution, ImageFile};
use kiln_store::{Entry, EntryKind, Image, Store, StoreError};
use serde::{Deserialize, Serialize};

/// The label in which Kiln keeps what an image says about how to run it.
pub(crate) const CONFIG_LABEL: &str = "dev.kiln.config";

/// As many files of one kind are listed; the count is of all.
const MOST_FILES: usize = 500;

/// Facts about an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Digest of the manifest.
    pub image: Digest,
    /// Bytes of all layers as they are stored, which is compressed.
    pub size: u64,
    /// Bytes of all files of the image as it runs.
    pub unpacked: u64,
    /// Number of layers.
    pub layers: usize,
    /// Number of regular files.
    pub files: u64,
    /// When it was made, by its own word.
    pub created: Option<Timestamp>,
    /// When the newest layer of its base was made, by the history's word. Of a base of packages: when Kiln made it.
    pub base_created: Option<Timestamp>,
    /// The user of the configuration; `None` is root.
    pub user: Option<String>,
    /// Whether the program runs as root.
    pub root: bool,
    /// Whether the image says how to tell its health.
    pub health_check: bool,
    /// Files with setuid, setgid or capabilities.
    pub privileged: FileList,
    /// Files that everybody may write, and such folders without the sticky bit.
    pub world_writable: FileList,
}

/// Some files of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileList {
    /// How many there are.
    pub count: u64,
    /// The first 500, by path.
    pub files: Vec<FileFact>,
}

/// One file of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFact {
    /// Path in the image without a leading slash.
    pub path: String,
    /// Four octal digits.
    pub mode: String,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Whether it has capabilities.
    pub capabilities: bool,
}

/// Reads an image's documents and layers.
///
/// # Errors
///
/// When one of them cannot be read or is damaged.
pub fn facts(store: &Store, image: &Digest) -> Result<Facts, StoreError> {
    let documents = store.image(image)?;
    let contents = store.contents(&documents.layers, false)?;
    let mut facts = of_documents(*image, &documents);
    for (path, item) in &contents.items {
        let entry = &item.entry;
        if entry.kind == EntryKind::File {
            facts.files += 1;
            facts.unpacked += entry.size;
        }
        if gives_rights(entry) {
            facts.privileged.add(path, entry);
        }
        if anybody_writes(entry) {
            facts.world_writable.add(path, entry);
        }
    }
    Ok(facts)
}

fn of_documents(image: Digest, documents: &Image) -> Facts {
    let config = documents.file.config.clone().unwrap_or_default();
    let user = config.user.clone().filter(|user| !user.is_empty());
    Facts {
        image,
        size: documents.layers.iter().map(|layer| layer.blob.size).sum(),
        unpacked: 0,
        layers: documents.layers.len(),
        files: 0,
        created: time(documents.file.created.as_deref()),
        base_created: base_created(&documents.file),
        root: is_root(user.as_deref()),
        user,
        health_check: has_health_check(&config),
        privileged: FileList::default(),
        world_writable: FileList::default(),
    }
}

fn time(text: Option<&str>) -> Option<Timestamp> {
    text?.parse().ok()
}

/// What stands in the history before Kiln's own steps is the base's; where all steps are Kiln's, the first is.
fn base_created(file: &ImageFile) -> Option<Timestamp> {
    let own = |step: &&kiln_store::oci::History| {
        step.created_by.as_deref().is_some_and(|by| by.starts_with("kiln: "))
    };
    let first = file.history.iter().position(|step| own(&step))?;
    let base = &file.history[..first];
    let steps = if base.is_empty() { &file.history[..=first] } else { base };
    steps.iter().filter_map(|step| time(step.created.as_deref())).max()
}

fn is_root(user: Option<&str>) -> bool {
    let name = user.and_then(|user| user.split(':').next()).unwrap_or("root");
    matches!(name, "" | "root") || name.parse::<u32>() == Ok(0)
}

fn has_health_check(config: &Execution) -> bool {
    let docker = config
        .healthcheck
        .as_ref()
        .is_some_and(|check| check.test.first().is_some_and(|kind| kind != "NONE" && !kind.is_empty()));
    let label = config.labels.as_ref().and_then(|labels| labels.get(CONFIG_LABEL));
    let kiln = label.and_then(|text| serde_json::from_str::<ImageConfig>(text).ok());
    docker || kiln.is_some_and(|config| config.health.is_some())
}

fn gives_rights(entry: &Entry) -> bool {
    entry.kind == EntryKind::File
        && (entry.mode & 0o6000 != 0 || entry.xattrs.contains_key("security.capability"))
}

fn anybody_writes(entry: &Entry) -> bool {
    let writable = entry.mode & 0o002 != 0;
    match entry.kind {
        EntryKind::File => writable,
        EntryKind::Folder => writable && entry.mode & 0o1000 == 0,
        _ => false,
    }
}

impl FileList {
    fn add(&mut self, path: &[u8], entry: &Entry) {
        self.count += 1;
        if self.files.len() < MOST_FILES {
            self.files.push(FileFact {
                path: String::from_utf8_lossy(path).into_owned(),
                mode: format!("{:04o}", entry.mode),
                uid: entry.uid,
                gid: entry.gid,
                capabilities: entry.xattrs.contains_key("security.capability"),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_several_names() {
        for user in [None, Some(""), Some("root"), Some("0"), Some("0:0"), Some("00"), Some("root:www")] {
            assert!(is_root(user), "{user:?}");
        }
        for user in ["www-data", "1000", "1000:0", "rooty"] {
            assert!(!is_root(Some(user)), "{user}");
        }
    }
}
