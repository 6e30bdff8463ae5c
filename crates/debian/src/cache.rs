//! The cache folder: files appear in it whole, under names that say what they hold.
//!
//! ```text
//! releases/<sha256 of the address>       the last verified InRelease of an address, and its validators
//! indices/<sha256 of the Packages file>  the compact index of a component
//! partial/<sha256>.deb                   downloads under way; continued by the next run
//! packages/<sha256>.{tar,json}           unpacked packages
//! ```

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::Error;

/// The cache folder of one request.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    root: PathBuf,
}

impl Cache {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// A path in the cache, with its folder made.
    pub(crate) fn path(&self, folder: &str, name: &str) -> Result<PathBuf, Error> {
        let folder = self.root.join(folder);
        fs::create_dir_all(&folder).map_err(|source| Error::file("create", &folder, source))?;
        Ok(folder.join(name))
    }

    /// The bytes of a file, when it is there.
    pub(crate) fn read(&self, folder: &str, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let path = self.root.join(folder).join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::file("read", &path, source)),
        }
    }

    /// Removes what killed runs left behind; `now` is in seconds since the Unix epoch.
    pub(crate) fn sweep(&self, now: i64) {
        let old = |path: &Path| {
            let modified = fs::metadata(path).ok().map(|metadata| metadata.mtime());
            modified.is_some_and(|modified| modified < now - ABANDONED)
        };
        for folder in ["releases", "indices", "partial", "packages"] {
            let entries = fs::read_dir(self.root.join(folder)).into_iter().flatten().flatten();
            for path in entries.map(|entry| entry.path()) {
                let temporary = path.extension().is_some_and(|ending| ending == "tmp");
                if temporary && old(&path) {
                    fs::remove_file(path).ok();
                }
            }
        }
    }

    /// Makes a file appear with these bytes.
    pub(crate) fn write(&self, folder: &str, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.path(folder, name)?;
        let temporary = temporary(&path);
        let written = File::create(&temporary).and_then(|mut file| file.write_all(bytes));
        written
            .and_then(|()| fs::rename(&temporary, &path))
            .map_err(|source| Error::file("write", &path, source))
    }
}

/// After this many seconds a temporary file is nobody's any more.
const ABANDONED: i64 = 24 * 3600;

/// A name beside `path` that no other process or thread uses.
pub(crate) fn temporary(path: &Path) -> PathBuf {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}-{number}.tmp", std::process::id()));
    path.with_file_name(name)
}
