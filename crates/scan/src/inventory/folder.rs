//! Reading a plain folder as a root file system.

use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;

use super::overlay::{Overlay, Told};
use super::wanted::Kind;
use super::{ScanError, limits, read};

/// Files and folders that are looked at; as many as a layer may have.
const ENTRIES: u64 = 2_000_000;
/// `O_NOFOLLOW | O_NONBLOCK`: what was a file a moment ago may be a link or a pipe now.
const SAFE: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK);

struct Walk {
    root: PathBuf,
    overlay: Overlay,
    files: Vec<(Vec<u8>, Kind)>,
    seen: u64,
}

pub(crate) fn read(root: &Path) -> Result<Overlay, ScanError> {
    let mut walk = Walk { root: root.into(), overlay: Overlay::default(), files: Vec::new(), seen: 0 };
    let mut folders = vec![Vec::new()];
    while let Some(folder) = folders.pop() {
        match walk.list(&folder, &mut folders) {
            Err(ScanError::Io { source, .. }) if !folder.is_empty() => {
                walk.problem(&folder, &format!("the folder cannot be listed: {source}"));
            }
            result => result?,
        }
    }
    walk.read_files()?;
    Ok(walk.overlay)
}

impl Walk {
    fn list(&mut self, folder: &[u8], folders: &mut Vec<Vec<u8>>) -> Result<(), ScanError> {
        let path = self.place(folder);
        let failed = |source| ScanError::Io { act: "list", path: path.clone(), source };
        for entry in fs::read_dir(&path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            self.seen += 1;
            if self.seen > ENTRIES {
                let what = self.root.display().to_string();
                return Err(ScanError::TooMany { what, things: "files", limit: ENTRIES });
            }
            let name = entry.file_name().into_vec();
            let below = if folder.is_empty() { name } else { [folder, b"/", &name].concat() };
            self.entry(below, &entry, folders);
        }
        Ok(())
    }

    fn entry(&mut self, path: Vec<u8>, entry: &fs::DirEntry, folders: &mut Vec<Vec<u8>>) {
        let Ok(kind) = entry.file_type() else { return };
        if kind.is_dir() {
            if !matches!(&path[..], b"proc" | b"sys" | b"dev") {
                folders.push(path);
            }
        } else if kind.is_symlink() {
            if let Ok(target) = fs::read_link(entry.path()) {
                self.overlay.links.insert(path, target.into_os_string().into_vec());
            }
        } else if kind.is_file()
            && let Ok(metadata) = entry.metadata()
            && let Some(kind) = read::kind(&path, metadata.mode(), metadata.len())
        {
            self.files.push((path, kind));
        }
    }

    fn read_files(&mut self) -> Result<(), ScanError> {
        let files = std::mem::take(&mut self.files);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let share = files.len().div_ceil(threads).max(1);
        let this = &*self;
        let read: Vec<_> = std::thread::scope(|scope| {
            let work = |part: &[(Vec<u8>, Kind)]| {
                part.iter().map(|(path, kind)| this.read_file(path, *kind)).collect::<Vec<_>>()
            };
            let helpers: Vec<_> = files.chunks(share).map(|part| scope.spawn(move || work(part))).collect();
            helpers.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
        });
        let died = |_| ScanError::Died { what: self.root.display().to_string() };
        let read = read.into_iter().collect::<Result<Vec<_>, _>>().map_err(died)?;
        let mut packages = 0;
        for ((path, kind), result) in files.into_iter().zip(read.into_iter().flatten()) {
            match result {
                Ok(findings) => {
                    packages += findings.packages.len() as u64;
                    if !findings.is_empty() {
                        self.overlay.files.insert(path, Told::new(0, kind, Arc::new(findings)));
                    }
                }
                Err(error) => self.problem(&path, &format!("it cannot be read: {error}")),
            }
        }
        if packages > limits::PACKAGES {
            let what = self.root.display().to_string();
            return Err(ScanError::TooMany { what, things: "packages", limit: limits::PACKAGES });
        }
        Ok(())
    }

    fn read_file(&self, path: &[u8], kind: Kind) -> std::io::Result<super::Findings> {
        let mut file =
            File::options().read(true).custom_flags(SAFE.bits().cast_signed()).open(self.place(path))?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(std::io::Error::other("it is not a file any more"));
        }
        read::file(kind, path, metadata.len(), &mut file)
    }

    fn place(&self, path: &[u8]) -> PathBuf {
        self.root.join(std::ffi::OsStr::from_bytes(path))
    }

    fn problem(&mut self, path: &[u8], text: &str) {
        self.overlay.problems.push(format!("{}: {text}", String::from_utf8_lossy(path)));
    }
}
