//! Sources that are files: which there are, and what each is called.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use kiln_model::Digest;
use sha2::{Digest as _, Sha256};

use super::{Input, Limits, Part};
use crate::advisories::AdvisoryError;

/// Exports are two levels deep, GitHub's database six.
const MAX_DEPTH: usize = 12;

/// Finds the sources in a folder, an archive or a document, one for each ecosystem.
pub(super) fn osv(path: &Path, limits: Limits) -> Result<Vec<Input>, AdvisoryError> {
    let mut found: BTreeMap<String, Vec<Part>> = BTreeMap::new();
    let meta = std::fs::metadata(path).map_err(AdvisoryError::file("read", path))?;
    if meta.is_dir() {
        let mut left = limits.documents;
        walk(path, path, 0, &mut left, &mut found)?;
    } else if let Some((name, part)) = part(path.parent().unwrap_or(path), path) {
        found.insert(name, vec![part]);
    }
    if found.is_empty() {
        let hint =
            ": expected <ecosystem>/all.zip, <ecosystem>.zip or OSV documents ending in .json".to_owned();
        return Err(AdvisoryError::NoAdvisories { from: path.display().to_string(), hint });
    }
    found
        .into_iter()
        .map(|(ecosystem, parts)| {
            input(format!("osv/{ecosystem}"), path.display().to_string(), parts, limits)
        })
        .collect()
}

fn walk(
    root: &Path,
    folder: &Path,
    depth: usize,
    left: &mut u64,
    found: &mut BTreeMap<String, Vec<Part>>,
) -> Result<(), AdvisoryError> {
    let entries = std::fs::read_dir(folder).map_err(AdvisoryError::file("read", folder))?;
    for entry in entries {
        let entry = entry.map_err(AdvisoryError::file("read", folder))?;
        let kind = entry.file_type().map_err(AdvisoryError::file("read", &entry.path()))?;
        if kind.is_dir() && depth < MAX_DEPTH {
            walk(root, &entry.path(), depth + 1, left, found)?;
        } else if kind.is_file()
            && let Some((name, part)) = part(root, &entry.path())
        {
            *left = left.checked_sub(1).ok_or_else(|| AdvisoryError::TooLarge {
                what: "the number of files",
                from: root.display().to_string(),
                limit: found.values().map(|parts| parts.len() as u64).sum(),
            })?;
            found.entry(name).or_default().push(part);
        }
    }
    Ok(())
}

/// A file's ecosystem: the archive's own name, else the first folder below the root, else the root's name.
fn part(root: &Path, path: &Path) -> Option<(String, Part)> {
    let text = |name: Option<&std::ffi::OsStr>| name.map(|name| name.to_string_lossy().into_owned());
    let below = path.strip_prefix(root).unwrap_or(path);
    let folder = || match below.components().count() {
        0 | 1 => text(root.file_name()).unwrap_or_else(|| "local".to_owned()),
        _ => text(below.iter().next()).unwrap_or_default(),
    };
    match path.extension()?.to_str()? {
        "zip" => {
            let stem = text(path.file_stem())?;
            Some((if stem == "all" { folder() } else { stem }, Part::Zip(path.to_owned())))
        }
        "json" => Some((folder(), Part::Json(path.to_owned()))),
        _ => None,
    }
}

/// Debian's tracker in a file.
pub(super) fn debian(path: &str, limits: Limits) -> Result<Vec<Input>, AdvisoryError> {
    let parts = vec![Part::Debian(PathBuf::from(path))];
    Ok(vec![input("debian".to_owned(), path.to_owned(), parts, limits)?])
}

/// Alpine's databases in a file or a folder.
pub(super) fn alpine(path: &str, limits: Limits) -> Result<Vec<Input>, AdvisoryError> {
    let mut found = BTreeMap::new();
    let root = Path::new(path);
    if root.is_dir() {
        walk(root, root, 0, &mut { limits.documents }, &mut found)?;
    } else {
        found.insert(String::new(), vec![Part::Json(root.to_owned())]);
    }
    let mut files: Vec<PathBuf> = found
        .into_values()
        .flatten()
        .filter_map(|part| if let Part::Json(file) = part { Some(file) } else { None })
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|file| {
            let name = super::alpine::name(&file, limits)?;
            input(name, file.display().to_string(), vec![Part::Alpine(file)], limits)
        })
        .collect()
}

/// Sums the files of a source.
pub(super) fn input(
    name: String,
    origin: String,
    mut parts: Vec<Part>,
    limits: Limits,
) -> Result<Input, AdvisoryError> {
    parts.sort();
    let mut hash = Sha256::new();
    for part in &parts {
        hash.update(sum(part.path(), limits)?);
    }
    let raw = Digest::from_bytes(hash.finalize().into());
    Ok(Input { name, origin, raw, etag: None, served: None, parts })
}

impl Part {
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Zip(path) | Self::Json(path) | Self::Debian(path) | Self::Alpine(path) => path,
        }
    }
}

fn sum(path: &Path, limits: Limits) -> Result<[u8; 32], AdvisoryError> {
    let mut file = open(path, limits)?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; 1 << 16];
    loop {
        match file.read(&mut piece).map_err(AdvisoryError::file("read", path))? {
            0 => return Ok(hash.finalize().into()),
            count => hash.update(&piece[..count]),
        }
    }
}

/// Opens a file that is not larger than the limit.
pub(super) fn open(path: &Path, limits: Limits) -> Result<File, AdvisoryError> {
    let file = File::open(path).map_err(AdvisoryError::file("open", path))?;
    let length = file.metadata().map_err(AdvisoryError::file("read", path))?.len();
    if length > limits.file {
        let from = path.display().to_string();
        return Err(AdvisoryError::TooLarge { what: "the size", from, limit: limits.file });
    }
    Ok(file)
}
