//! Unix sockets at paths of any length.
//!
//! The kernel takes at most 108 bytes (`sockaddr_un`, unix(7)), and a home may lie deeper. Longer paths are reached
//! through an open descriptor of the folder: `/proc/self/fd/N/name`.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use tokio::net::{UnixListener, UnixStream};

/// 108 bytes with the final zero, and a margin.
const LONGEST: usize = 100;

/// A path that fits, and the descriptor that must stay open while it is used.
fn fitting(path: &Path) -> io::Result<(PathBuf, Option<OwnedFd>)> {
    if path.as_os_str().len() <= LONGEST {
        return Ok((path.into(), None));
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(folder, flags, Mode::empty())?;
    let short = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
    Ok((short, Some(folder)))
}

/// Connects to a Unix socket.
///
/// # Errors
/// Those of `connect`(2), and of opening the folder when the path is long.
pub(crate) async fn connect(path: &Path) -> io::Result<UnixStream> {
    let (short, _open) = fitting(path)?;
    UnixStream::connect(short).await
}

/// Listens on a Unix socket that only its owner may use; a stale file in its place is removed. The caller holds the
/// lock that says that nobody else listens there.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let (short, _open) = fitting(path)?;
    let listener = UnixListener::bind(short)?;
    rustix::fs::chmod(path, Mode::RUSR | Mode::WUSR)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn long_paths_are_reached_and_private() {
        let home = tempfile::TempDir::new().unwrap();
        let deep = home.path().join("d".repeat(90)).join("e".repeat(90));
        std::fs::create_dir_all(&deep).unwrap();
        for folder in [home.path(), &deep] {
            let path = folder.join("s.sock");
            std::fs::write(&path, "stale").unwrap();
            let listener = listen(&path).unwrap();
            let (near, far) = tokio::join!(connect(&path), listener.accept());
            near.unwrap();
            far.unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
}
