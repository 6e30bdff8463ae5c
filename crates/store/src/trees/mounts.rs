//! The mount points that a sandbox needs in a tree that it may not write.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::StoreError;
use crate::error::at;

const FOLDERS: [(&str, u32); 6] =
    [("proc", 0o755), ("sys", 0o755), ("dev", 0o755), ("run", 0o755), ("tmp", 0o1777), ("etc", 0o755)];
const FILES: [&str; 3] = ["etc/hosts", "etc/hostname", "etc/resolv.conf"];

/// Adds what is absent. Returns the paths that were added.
pub(super) fn add(root: &Path, volumes: &[String]) -> Result<Vec<String>, StoreError> {
    let mut added = Vec::new();
    for (name, mode) in FOLDERS {
        folder(root, name, mode, &mut added)?;
    }
    for volume in volumes {
        let clean = crate::clean_path(volume.trim_start_matches('/').as_bytes());
        // A volume at the root, or with a name that no path can have, is for the runtime to refuse.
        if let Some(path) = clean.ok().and_then(|path| String::from_utf8(path).ok()) {
            folder(root, &path, 0o755, &mut added)?;
        }
    }
    for name in FILES {
        file(root, name, &mut added)?;
    }
    Ok(added)
}

fn folder(root: &Path, name: &str, mode: u32, added: &mut Vec<String>) -> Result<(), StoreError> {
    let mut path = PathBuf::from(root);
    let parts: Vec<&str> = name.split('/').collect();
    for (depth, part) in parts.iter().enumerate() {
        path.push(part);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => continue,
            // A link or a file in the way is the image's own decision; the runtime says what it thinks of it.
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(at("look at", &path)(error)),
        }
        fs::create_dir(&path).map_err(at("make folder", &path))?;
        let last = depth + 1 == parts.len();
        let mode = if last { mode } else { 0o755 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map_err(at("set the mode of", &path))?;
        added.push(parts[..=depth].join("/"));
    }
    Ok(())
}

/// A link (such as resolv.conf into /run) would lead a mount astray: it gives way to an empty file.
fn file(root: &Path, name: &str, added: &mut Vec<String>) -> Result<(), StoreError> {
    let path = root.join(name);
    if !fs::symlink_metadata(root.join("etc")).is_ok_and(|found| found.is_dir()) {
        return Ok(());
    }
    match fs::symlink_metadata(&path) {
        Ok(found) if found.is_symlink() => fs::remove_file(&path).map_err(at("replace", &path))?,
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(at("look at", &path)(error)),
    }
    fs::write(&path, b"").map_err(at("make", &path))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).map_err(at("set the mode of", &path))?;
    added.push(name.into());
    Ok(())
}
