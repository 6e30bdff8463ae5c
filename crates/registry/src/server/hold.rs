//! One process at a time has a registry open.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::RegistryError;
use super::error::file;

/// Takes the folder until the value is dropped, however the process ends: the lock is the kernel's. The process's
/// number stands in the file for people.
pub(crate) fn take(data: &Path) -> Result<File, RegistryError> {
    let path = data.join("registry.lock");
    let opened = File::options().create(true).truncate(false).read(true).write(true).open(&path);
    let mut held = opened.map_err(file("lock", &path))?;
    if flock(&held, FlockOperation::NonBlockingLockExclusive).is_err() {
        let pid = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
        return Err(RegistryError::InUse { data: data.into(), pid });
    }
    held.set_len(0).and_then(|()| writeln!(held, "{}", std::process::id())).map_err(file("write", &path))?;
    Ok(held)
}
