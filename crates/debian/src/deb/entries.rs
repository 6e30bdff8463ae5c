//! What a data archive installs, judged before anything is made of it.
//!
//! Refused: absolute names and `..`; device nodes, pipes and anything else that is no file, folder or link; a name
//! that occurs twice (folders may); a name below something that is no folder; hard links to what the package does
//! not hold; symbolic links that climb above the root.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek, SeekFrom};

use serde::{Deserialize, Serialize};

use super::broken;
use crate::Error;
use crate::lock::LockedPackage;

/// One name that a package installs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Relative to the root, without `./` or a slash at the end; empty for the root itself.
    #[serde(with = "bytes")]
    pub(crate) path: Vec<u8>,
    pub(crate) kind: EntryKind,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum EntryKind {
    Folder,
    /// First byte in the package's file, and length.
    File(u64, u64),
    Symlink(#[serde(with = "bytes")] Vec<u8>),
    /// The package's other name of the file.
    Hardlink(#[serde(with = "bytes")] Vec<u8>),
}

/// Names are bytes; JSON has text. Every byte becomes the character of its number.
mod bytes {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&bytes.iter().map(|b| char::from(*b)).collect::<String>())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.chars().map(|c| u8::try_from(c).map_err(D::Error::custom)).collect()
    }
}

/// Reads and judges the plain tar archive at the start of a file.
pub(super) fn read(file: &mut File, locked: &LockedPackage) -> Result<Vec<Entry>, Error> {
    let wrong = |error: std::io::Error| broken(locked, &error.to_string());
    file.seek(SeekFrom::Start(0)).map_err(wrong)?;
    let mut archive = tar::Archive::new(file);
    let mut entries = Vec::new();
    for entry in archive.entries_with_seek().map_err(wrong)? {
        let entry = entry.map_err(wrong)?;
        let header = entry.header();
        let kind = header.entry_type();
        if kind == tar::EntryType::XGlobalHeader {
            continue;
        }
        let shown = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let refuse = |why: &str| broken(locked, &format!("its file {shown:?} {why}"));
        let path = clean(&entry.path_bytes()).ok_or_else(|| refuse("has a name that leaves the root"))?;
        let link = || entry.link_name_bytes().map(std::borrow::Cow::into_owned).unwrap_or_default();
        let kind = match kind {
            tar::EntryType::Directory => EntryKind::Folder,
            tar::EntryType::Regular => EntryKind::File(entry.raw_file_position(), entry.size()),
            tar::EntryType::Symlink => {
                let target = link();
                if !stays(&path, &target) {
                    return Err(refuse("is a symbolic link that leaves the root"));
                }
                EntryKind::Symlink(target)
            }
            tar::EntryType::Link => {
                EntryKind::Hardlink(clean(&link()).ok_or_else(|| refuse("is a link that leaves the root"))?)
            }
            _ => return Err(refuse("is neither file, folder nor link")),
        };
        let number = |value: std::io::Result<u64>| {
            value.ok().and_then(|value| u32::try_from(value).ok()).ok_or_else(|| refuse("has a broken owner"))
        };
        entries.push(Entry {
            mode: header.mode().map_err(wrong)? & 0o7777,
            uid: number(header.uid())?,
            gid: number(header.gid())?,
            mtime: i64::try_from(header.mtime().map_err(wrong)?).map_err(|_| refuse("has a broken time"))?,
            path,
            kind,
        });
    }
    judge(&entries, locked)?;
    Ok(entries)
}

/// A name without `./` and slashes at the end; `None` when it is absolute or climbs.
fn clean(name: &[u8]) -> Option<Vec<u8>> {
    if name.first() == Some(&b'/') || name.contains(&0) {
        return None;
    }
    let parts: Vec<&[u8]> =
        name.split(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
    (!parts.contains(&b"..".as_slice())).then(|| parts.join(&b'/'))
}

/// Whether a link's target is inside the root when it is followed by name.
fn stays(path: &[u8], target: &[u8]) -> bool {
    if target.is_empty() || target.contains(&0) {
        return false;
    }
    let mut depth = match target.first() {
        Some(b'/') => 0,
        _ => path.split(|b| *b == b'/').count() - 1,
    };
    for part in target.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." if depth == 0 => return false,
            b".." => depth -= 1,
            _ => depth += 1,
        }
    }
    true
}

fn judge(entries: &[Entry], locked: &LockedPackage) -> Result<(), Error> {
    let mut kinds: BTreeMap<&[u8], &EntryKind> = BTreeMap::new();
    for entry in entries {
        let refuse = |why: &str| {
            let path = String::from_utf8_lossy(&entry.path).into_owned();
            Err(broken(locked, &format!("its file {path:?} {why}")))
        };
        let folder = entry.kind == EntryKind::Folder;
        if entry.path.is_empty() && !folder {
            return refuse("would be the root");
        }
        match kinds.insert(&entry.path, &entry.kind) {
            Some(EntryKind::Folder) if folder => {}
            Some(_) => return refuse("occurs twice"),
            None => {}
        }
        if let EntryKind::Hardlink(target) = &entry.kind
            && !matches!(kinds.get(target.as_slice()), Some(EntryKind::File(..)))
        {
            return refuse("is a hard link to a file the package does not hold");
        }
    }
    for path in kinds.keys() {
        let above = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| &path[..at]);
        for parent in above {
            if !matches!(kinds.get(parent), None | Some(EntryKind::Folder)) {
                let path = String::from_utf8_lossy(path);
                return Err(broken(
                    locked,
                    &format!("its file {path:?} is below something that is no folder"),
                ));
            }
        }
    }
    Ok(())
}
