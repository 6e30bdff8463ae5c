//! Temporary places inside the store. Each process that writes holds one folder `tmp/<name>` under a lock on
//! `tmp/<name>.lock`; a folder whose lock is free belongs to a dead process and is removed by the next one.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::StoreError;
use crate::error::at;

/// A process's own temporary folder; removed when dropped.
#[derive(Debug)]
pub(crate) struct Session {
    folder: PathBuf,
    lock_path: PathBuf,
    _lock: File,
    next: AtomicU64,
}

impl Session {
    /// Makes and locks a fresh folder below `tmp`.
    pub(crate) fn begin(tmp: &Path) -> Result<Self, StoreError> {
        for attempt in 0_u32.. {
            let name = format!("{}-{attempt}", std::process::id());
            let lock_path = tmp.join(format!("{name}.lock"));
            let Some(lock) = claim(&lock_path).map_err(at("lock", &lock_path))? else { continue };
            let folder = tmp.join(name);
            remove_tree(&folder)?;
            fs::create_dir(&folder).map_err(at("make folder", &folder))?;
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))
                .map_err(at("protect", &folder))?;
            return Ok(Self { folder, lock_path, _lock: lock, next: AtomicU64::new(0) });
        }
        unreachable!("every number of an unbounded range was taken")
    }

    /// A path in the folder that was not given out before.
    pub(crate) fn fresh(&self) -> PathBuf {
        self.folder.join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if remove_tree(&self.folder).is_ok() {
            let _ = fs::remove_file(&self.lock_path);
        }
    }
}

fn claim(path: &Path) -> io::Result<Option<File>> {
    let options = File::options().create_new(true).write(true).mode(0o600).open(path);
    let file = match options {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
        Err(error) => return Err(error),
    };
    // Between creation and lock a cleaner may have taken the file for a dead process's and unlinked it.
    match file.try_lock() {
        Ok(()) if file.metadata()?.nlink() > 0 => Ok(Some(file)),
        Ok(()) | Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Removes the temporary folders of dead processes. Returns how many there were.
pub(crate) fn clean(tmp: &Path) -> Result<usize, StoreError> {
    let mut removed = 0;
    for entry in fs::read_dir(tmp).map_err(at("list", tmp))? {
        let path = entry.map_err(at("list", tmp))?.path();
        if path.extension().is_some_and(|extension| extension == "lock") {
            removed += usize::from(clean_locked(&path)?);
        } else if !path.with_extension("lock").exists() {
            remove_tree(&path)?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn clean_locked(lock_path: &Path) -> Result<bool, StoreError> {
    let Ok(lock) = File::open(lock_path) else { return Ok(false) };
    if lock.try_lock().is_err() {
        return Ok(false);
    }
    remove_tree(&lock_path.with_extension(""))?;
    fs::remove_file(lock_path).map_err(at("remove", lock_path))?;
    Ok(true)
}

/// Removes a file or folder with all it holds, also folders that forbid their owner to write. Absence is fine.
pub fn remove_tree(path: &Path) -> Result<(), StoreError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(at("look at", path)(error)),
        Ok(found) if !found.is_dir() => return fs::remove_file(path).map_err(at("remove", path)),
        Ok(_) => {}
    }
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path).map_err(at("make writable", path))?;
            fs::remove_dir_all(path).map_err(at("remove", path))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(at("remove", path)),
    }
}

fn open_up(folder: &Path) -> io::Result<()> {
    let mode = fs::symlink_metadata(folder)?.permissions().mode();
    if mode & 0o700 != 0o700 {
        fs::set_permissions(folder, fs::Permissions::from_mode(mode | 0o700))?;
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}
