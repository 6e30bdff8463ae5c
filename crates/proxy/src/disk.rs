//! What the data plane keeps in its folder: a lock, its process id, and the last table it acknowledged.
//!
//! `lock` is held with flock(2) for the life of the process and contains its process id. `table.json` is a
//! [`Kept`]; it is replaced by a rename after an fsync, so it is always whole.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::error::ProxyError;
use crate::table::{Bind, RouteTable};

/// What survives a restart.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// The last table.
    pub(crate) table: RouteTable,
    /// The addresses that listeners with port 0 got, to take them again.
    pub(crate) bound: Vec<(Bind, SocketAddr)>,
}

/// The folder, locked.
pub(crate) struct Disk {
    dir: PathBuf,
    lock: File,
}

impl Disk {
    /// Locks the folder for this process; makes it when missing.
    pub(crate) fn lock(dir: &Path) -> Result<Self, ProxyError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| ProxyError::Dir { path, source }
        };
        fs::create_dir_all(dir).map_err(failed(dir))?;
        let path = dir.join("lock");
        let mut lock = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(failed(&path))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                let _ = lock.read_to_string(&mut pid);
                let pid = if pid.trim().is_empty() { "unknown".into() } else { pid.trim().into() };
                return Err(ProxyError::Locked { path: dir.into(), pid });
            }
            Err(error) => return Err(failed(&path)(error.into())),
        }
        Self { dir: dir.into(), lock }.signed()
    }

    /// Takes the lock that another process holds and handed over.
    pub(crate) fn adopt(dir: &Path, lock: File) -> Result<Self, ProxyError> {
        Self { dir: dir.into(), lock }.signed()
    }

    fn signed(self) -> Result<Self, ProxyError> {
        use std::os::unix::fs::FileExt;
        let pid = format!("{}\n", std::process::id());
        let signed = self.lock.set_len(0).and_then(|()| self.lock.write_all_at(pid.as_bytes(), 0));
        signed.map_err(|source| ProxyError::Dir { path: self.dir.join("lock"), source })?;
        Ok(self)
    }

    /// The lock, to hand it over.
    pub(crate) fn lock_file(&self) -> &File {
        &self.lock
    }

    /// Where the table is kept.
    pub(crate) fn table_path(&self) -> PathBuf {
        self.dir.join("table.json")
    }

    /// The last table. One that cannot be read is put aside, and said so.
    pub(crate) fn load(&self) -> Option<Kept> {
        let path = self.table_path();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "cannot read the last route table; starting without routes");
                return None;
            }
        };
        match serde_json::from_slice(&text) {
            Ok(kept) => Some(kept),
            Err(error) => {
                let aside = self.free_name();
                let moved = fs::rename(&path, &aside);
                tracing::error!(
                    path = %path.display(), aside = %aside.display(), moved = moved.is_ok(), %error,
                    "the last route table is damaged; it was put aside, and the data plane starts without routes \
                     until `kiln serve` sends a table"
                );
                None
            }
        }
    }

    fn free_name(&self) -> PathBuf {
        let name = |number| self.dir.join(format!("table.json.damaged-{number}"));
        (1_u32..).map(name).find(|path| !path.exists()).unwrap_or_else(|| name(0))
    }

    /// Replaces the kept table; when this returns, it survives a power failure.
    pub(crate) fn save(&self, kept: &Kept) -> io::Result<()> {
        let path = self.table_path();
        let temporary = self.dir.join("table.json.new");
        let mut file = File::create(&temporary)?;
        file.write_all(&serde_json::to_vec(kept)?)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        File::open(&self.dir)?.sync_all()
    }
}
