//! Unix sockets behind paths that are longer than a socket address has room for.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

/// A socket address has room for 108 bytes (unix(7)); from here on the detour is taken.
const LONGEST: usize = 100;

/// A path that fits, as long as this lives.
pub(crate) struct ShortPath {
    _folder: Option<OwnedFd>,
    path: PathBuf,
}

impl ShortPath {
    /// `path` itself, or its name below `/proc/self/fd/…` of its folder.
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        if path.as_os_str().len() <= LONGEST {
            return Ok(Self { _folder: None, path: path.into() });
        }
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no socket"));
        };
        let folder =
            rustix::fs::open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let short = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
        Ok(Self { _folder: Some(folder), path: short })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}
