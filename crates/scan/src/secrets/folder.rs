//! Secrets in a folder.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::engine::{engine, findings};
use super::rules::Context;
use super::windows::{SHAPE, Windows};
use super::{Allow, Place, SecretFinding, SecretsError};

/// Searches all files below a folder, or one file. Links are not followed; devices, pipes and sockets are left out.
/// Paths in the findings are relative to the folder. Sorted by place.
///
/// # Errors
///
/// When a file or folder cannot be read.
pub fn scan_folder(root: &Path, allow: &Allow) -> Result<Vec<SecretFinding>, SecretsError> {
    let files = files(root)?;
    let next = AtomicUsize::new(0);
    let found = std::thread::scope(|scope| {
        let search = || -> Result<Vec<SecretFinding>, SecretsError> {
            let mut found = Vec::new();
            while let Some((path, size)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                found.extend(file(root, path, *size).map_err(|source| read_error(path, source))?);
            }
            Ok(found)
        };
        let threads: Vec<_> = (0..super::threads()).map(|_| scope.spawn(search)).collect();
        let mut found = Vec::new();
        for thread in threads {
            match thread.join() {
                Ok(some) => found.extend(some?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok::<_, SecretsError>(found)
    });
    let mut found = found?;
    found.sort();
    found.dedup();
    allow.apply(&mut found);
    Ok(found)
}

fn read_error(path: &Path, source: io::Error) -> SecretsError {
    SecretsError::Read { path: path.to_owned(), source }
}

/// All regular files with their lengths.
fn files(root: &Path) -> Result<Vec<(PathBuf, u64)>, SecretsError> {
    let mut files = Vec::new();
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        let error = |source| read_error(&path, source);
        let kind = std::fs::symlink_metadata(&path).map_err(error)?;
        if kind.is_dir() {
            for entry in std::fs::read_dir(&path).map_err(error)? {
                left.push(entry.map_err(error)?.path());
            }
        } else if kind.is_file() {
            files.push((path, kind.len()));
        }
    }
    Ok(files)
}

fn file(root: &Path, path: &Path, size: u64) -> io::Result<Vec<SecretFinding>> {
    let shown = path.strip_prefix(root).ok().filter(|rest| !rest.as_os_str().is_empty());
    let shown =
        shown.or_else(|| path.file_name().map(Path::new)).unwrap_or(path).to_string_lossy().into_owned();
    let mut windows = Windows::new(File::open(path)?, SHAPE, size);
    let mut found = Vec::new();
    while let Some(window) = windows.next()? {
        found.extend(engine().search(&window, Context::File(&shown)));
    }
    Ok(findings(found, Some(&shown), &|line| Place::File {
        path: shown.clone(),
        line,
        layer: None,
        visible: true,
    }))
}
