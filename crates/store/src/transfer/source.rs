//! An archive to be imported, spread out in a temporary folder: only its regular files, links among them
//! followed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::error::at;
use crate::{EntryKind, Store, StoreError, TarError, TarReader, clean_path};

/// Files of a layout or archive by name.
pub(super) struct Source {
    /// As the person named it.
    pub(super) path: PathBuf,
    files: BTreeMap<Vec<u8>, PathBuf>,
    folder: Option<PathBuf>,
}

/// An archive holds at most this many files: two for each of 127 layers, with room.
const FILE_LIMIT: usize = 10_000;

impl Source {
    /// A folder on disk.
    pub(super) fn folder(path: &Path) -> Self {
        Self { path: path.into(), files: BTreeMap::new(), folder: Some(path.into()) }
    }

    /// A tar file, plain or compressed.
    pub(super) fn archive(store: &Store, path: &Path) -> Result<Self, StoreError> {
        let mut file = BufReader::with_capacity(1 << 17, File::open(path).map_err(at("open", path))?);
        let start = file.fill_buf().map_err(at("read", path))?;
        let stream: Box<dyn Read> = if start.starts_with(&[0x1f, 0x8b]) {
            Box::new(flate2::bufread::MultiGzDecoder::new(file))
        } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Box::new(zstd::Decoder::with_buffer(file).map_err(at("read", path))?)
        } else {
            Box::new(file)
        };
        let mut source = Self { path: path.into(), files: BTreeMap::new(), folder: None };
        source.spread(store, TarReader::new(stream))?;
        Ok(source)
    }

    fn spread(&mut self, store: &Store, mut tar: TarReader<Box<dyn Read>>) -> Result<(), StoreError> {
        let path = self.path.clone();
        let broken = |source: TarError| StoreError::Archive { path: path.clone(), source };
        let mut links: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut left = store.limits().layer_bytes.saturating_mul(2);
        while let Some(entry) = tar.next_entry().map_err(broken)? {
            let refused = |reason: String| StoreError::Import { path: path.clone(), reason };
            let name = clean_path(&entry.path).map_err(|error| refused(error.to_string()))?;
            if self.files.len() + links.len() > FILE_LIMIT {
                return Err(refused(format!("it holds more than {FILE_LIMIT} files")));
            }
            match entry.kind {
                EntryKind::Folder => {}
                EntryKind::File => {
                    left = left.checked_sub(entry.size).ok_or_else(|| refused("it is too large".into()))?;
                    let place = store.scratch()?;
                    let mut file = File::create_new(&place).map_err(at("make", &place))?;
                    io::copy(&mut tar, &mut file).map_err(at("unpack the archive to", &place))?;
                    self.files.insert(name, place);
                }
                // Docker once wrote equal layers as links to the first.
                EntryKind::Symlink => links.push((name.clone(), beside_of(&name, &entry.link))),
                EntryKind::Hardlink => links.push((name, clean_path(&entry.link).unwrap_or_default())),
                EntryKind::Device | EntryKind::Fifo => {
                    return Err(refused("it holds a device or a pipe".into()));
                }
            }
        }
        for (name, target) in links {
            if let Some(place) = self.files.get(&target).cloned() {
                self.files.insert(name, place);
            }
        }
        Ok(())
    }

    /// Whether there is a file of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.place(name).is_some_and(|path| path.is_file())
    }

    fn place(&self, name: &str) -> Option<PathBuf> {
        let clean = clean_path(name.as_bytes()).ok()?;
        match &self.folder {
            Some(folder) => Some(folder.join(String::from_utf8(clean).ok()?)),
            None => self.files.get(&clean).cloned(),
        }
    }

    /// Opens a file.
    pub(super) fn open(&self, name: &str) -> Result<File, StoreError> {
        let place = self.place(name).filter(|path| path.is_file());
        let place = place.ok_or_else(|| self.refuse(format!("it lacks {name}")))?;
        File::open(&place).map_err(at("open", &place))
    }

    /// Reads a small file.
    pub(super) fn read(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        const LIMIT: u64 = 32 << 20;
        let mut bytes = Vec::new();
        let mut file = self.open(name)?.take(LIMIT + 1);
        file.read_to_end(&mut bytes).map_err(at("read", &self.path))?;
        if bytes.len() as u64 > LIMIT {
            return Err(self.refuse(format!("its {name} is too large to be a document")));
        }
        Ok(bytes)
    }

    /// Reads and parses a JSON document.
    pub(super) fn json<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T, StoreError> {
        serde_json::from_slice(&self.read(name)?).map_err(|source| StoreError::Document {
            what: format!("{name} of {}", self.path.display()),
            source,
        })
    }

    pub(super) fn refuse(&self, reason: String) -> StoreError {
        StoreError::Import { path: self.path.clone(), reason }
    }

    /// Removes the temporary files.
    pub(super) fn close(self) {
        for place in self.files.values() {
            let _ = fs::remove_file(place);
        }
    }
}

/// The target of a link, from the folder of the link.
fn beside_of(name: &[u8], link: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = name.split(|b| *b == b'/').collect();
    parts.pop();
    for part in link.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join(&b'/')
}
