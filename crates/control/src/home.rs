//! The control plane's part of a home: one control plane at a time, and its process id for people.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use crate::api::ShutdownRequest;
use crate::client::Client;
use crate::serve::ServeError;

/// How long a control plane that is to be replaced may take to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// A home that is this process's own until the value is dropped, however the process ends.
#[derive(Debug)]
pub(crate) struct Home {
    path: PathBuf,
    _lock: File,
}

impl Home {
    /// Makes the folders and takes the lock.
    pub(crate) async fn take(path: &Path, replace: bool) -> Result<Self, ServeError> {
        for folder in ["", "run", "state", "log"] {
            let folder = path.join(folder);
            make(&folder).map_err(|source| ServeError::File {
                act: "make the folder",
                path: folder,
                source,
            })?;
        }
        let lock = path.join("run/serve.lock");
        let fail = |source| ServeError::File { act: "lock", path: lock.clone(), source };
        let file = File::options().create(true).truncate(false).write(true).open(&lock).map_err(fail)?;
        let own = |file: &File| flock(file, FlockOperation::NonBlockingLockExclusive).is_ok();
        if !own(&file) {
            if !replace {
                return Err(ServeError::Running { pid: pid(path), home: path.into() });
            }
            let _ = Client::of_home(path).shutdown(&ShutdownRequest::default()).await;
            let freed = async {
                while !own(&file) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            let freed = tokio::time::timeout(PATIENCE, freed).await;
            freed.map_err(|_| ServeError::Running { pid: pid(path), home: path.into() })?;
        }
        let home = Self { path: path.into(), _lock: file };
        home.write_pid()?;
        Ok(home)
    }

    fn write_pid(&self) -> Result<(), ServeError> {
        let path = self.path.join("run/serve.pid");
        let fresh = self.path.join("run/serve.pid.new");
        let written = fs::write(&fresh, format!("{}\n", std::process::id()));
        let renamed = written.and_then(|()| fs::rename(&fresh, &path));
        renamed.map_err(|source| ServeError::File { act: "write", path, source })
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path.join("run/serve.sock")
    }

    pub(crate) fn proxy_socket(&self) -> PathBuf {
        self.path.join("run/proxy.sock")
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.path.join("state/kiln.db")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path.join("store")
    }
}

impl Drop for Home {
    /// The lock tells whether somebody serves; the two files are only for those who look.
    fn drop(&mut self) {
        let _ = fs::remove_file(self.socket());
        let _ = fs::remove_file(self.path.join("run/serve.pid"));
    }
}

fn pid(home: &Path) -> Option<u32> {
    fs::read_to_string(home.join("run/serve.pid")).ok()?.trim().parse().ok()
}

/// Private folders; those that are there stay as they are.
fn make(path: &Path) -> io::Result<()> {
    let private = path.file_name().is_some_and(|name| name == "run" || name == "state");
    let mode = if private { 0o700 } else { 0o755 };
    DirBuilder::new().recursive(true).mode(mode).create(path)
}
