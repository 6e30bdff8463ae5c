//! Opening a .deb (deb(5)): an `ar` of a version, a control archive and a data archive.
//!
//! The data archive is decompressed once, into the cache as a plain tar file with the control archive's members
//! behind it; beside it lies a JSON index of where every file's bytes are. Nothing is ever extracted to names that
//! a package chose. What a package must not hold is refused here: see [`entries`].

mod decompress;
mod entries;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Error;
use crate::cache::{Cache, temporary};
use crate::lock::LockedPackage;
pub(crate) use entries::{Entry, EntryKind};

/// Changes when the index or the file beside it does.
const FORMAT: u32 = 1;

/// A control archive is scripts and lists; libreoffice's largest is under a megabyte.
const CONTROL_LIMIT: u64 = 64 << 20;

/// An unpacked package.
#[derive(Clone, Debug)]
pub(crate) struct Package {
    pub(crate) locked: LockedPackage,
    /// The file with all bytes.
    pub(crate) file: Arc<PathBuf>,
    index: PackageIndex,
}

/// What the cache keeps beside a package's bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct PackageIndex {
    format: u32,
    /// Bytes of the file and their SHA-256.
    size: u64,
    sha256: String,
    /// Members of the control archive: first byte and length.
    control: BTreeMap<String, (u64, u64)>,
    entries: Vec<Entry>,
}

impl Package {
    /// What it installs, in the archive's order.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.index.entries
    }

    /// The names of the control archive's members.
    pub(crate) fn control_names(&self) -> impl Iterator<Item = &str> {
        self.index.control.keys().map(String::as_str)
    }

    /// A member of the control archive, such as `postinst`.
    pub(crate) fn control(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let Some((offset, length)) = self.index.control.get(name) else { return Ok(None) };
        let mut bytes = vec![0; usize::try_from(*length).unwrap_or_default()];
        File::open(self.file.as_path())
            .and_then(|file| file.read_exact_at(&mut bytes, *offset))
            .map_err(|source| Error::file("read", &self.file, source))?;
        Ok(Some(bytes))
    }

    /// A member of the control archive as text.
    pub(crate) fn control_text(&self, name: &str) -> Result<Option<String>, Error> {
        Ok(self.control(name)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The package from the cache, if it is there and intact.
    pub(crate) fn cached(cache: &Cache, locked: &LockedPackage) -> Result<Option<Self>, Error> {
        let Some(bytes) = cache.read("packages", &format!("{}.json", locked.sha256))? else {
            return Ok(None);
        };
        let Ok(index) = serde_json::from_slice::<PackageIndex>(&bytes) else { return Ok(None) };
        if index.format != FORMAT {
            return Ok(None);
        }
        let path = cache.path("packages", &format!("{}.tar", locked.sha256))?;
        let Ok(file) = File::open(&path) else { return Ok(None) };
        let intact = file.metadata().is_ok_and(|found| found.len() == index.size)
            && digest(file).is_ok_and(|found| found == index.sha256);
        Ok(intact.then(|| Self { locked: locked.clone(), file: Arc::new(path), index }))
    }

    /// Opens a verified .deb and puts it into the cache.
    pub(crate) fn unpack(cache: &Cache, locked: &LockedPackage, deb: File) -> Result<Self, Error> {
        let path = cache.path("packages", &format!("{}.tar", locked.sha256))?;
        let temporary = temporary(&path);
        let unpacked = write(&temporary, locked, deb);
        let index = unpacked.inspect_err(|_| drop(fs::remove_file(&temporary)))?;
        fs::rename(&temporary, &path).map_err(|source| Error::file("write", &path, source))?;
        let text = serde_json::to_vec(&index).map_err(|error| broken(locked, &error.to_string()))?;
        cache.write("packages", &format!("{}.json", locked.sha256), &text)?;
        Ok(Self { locked: locked.clone(), file: Arc::new(path), index })
    }
}

/// The error of a package that is not as it must be.
pub(crate) fn broken(locked: &LockedPackage, reason: &str) -> Error {
    Error::Package { name: locked.name.clone(), version: locked.version.clone(), reason: reason.to_owned() }
}

/// Letters, digits and `+-.` only: usable as part of a file name.
pub(crate) fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(['.', '-'])
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

fn write(path: &Path, locked: &LockedPackage, deb: File) -> Result<PackageIndex, Error> {
    let wrong = |error: std::io::Error| broken(locked, &error.to_string());
    let own = |source| Error::file("write", path, source);
    let mut file = File::options().read(true).write(true).create_new(true).open(path).map_err(own)?;
    let mut control = BTreeMap::new();
    let mut data = None;
    let mut archive = ar::Archive::new(std::io::BufReader::new(deb));
    let mut members = 0;
    while let Some(member) = archive.next_entry() {
        let member = member.map_err(wrong)?;
        let name = String::from_utf8_lossy(member.header().identifier()).trim_end_matches('/').to_owned();
        members += 1;
        match (members, name.as_str()) {
            (1, "debian-binary") => version(member).map_err(wrong)?,
            (1, _) => return Err(broken(locked, "it does not begin as a Debian package does")),
            (_, name) if name.starts_with("control.tar") && control.is_empty() => {
                control = read_control(decompress::reader(name, member).map_err(wrong)?).map_err(wrong)?;
            }
            (_, name) if name.starts_with("data.tar") && data.is_none() => {
                let limit = decompress::limit(locked.size);
                let reader = decompress::reader(name, member).map_err(wrong)?.take(limit + 1);
                data = Some(copy(reader, &file, limit, locked, path)?);
            }
            // Members with an underscore may be ignored.
            (_, name) if name.starts_with('_') => {}
            (_, name) => return Err(broken(locked, &format!("it has an unexpected part {name:?}"))),
        }
    }
    let (mut size, mut hasher) = data.ok_or_else(|| broken(locked, "it has no data archive"))?;
    let entries = entries::read(&mut file, locked)?;
    let mut members = BTreeMap::new();
    file.seek(SeekFrom::Start(size)).map_err(own)?;
    for (name, bytes) in control {
        file.write_all(&bytes).map_err(own)?;
        hasher.update(&bytes);
        members.insert(name, (size, bytes.len() as u64));
        size += bytes.len() as u64;
    }
    let sha256 = hex::encode(hasher.finalize());
    Ok(PackageIndex { format: FORMAT, size, sha256, control: members, entries })
}

/// Decompresses into the file; the size and the running digest.
fn copy(
    mut reader: impl Read,
    file: &File,
    limit: u64,
    locked: &LockedPackage,
    path: &Path,
) -> Result<(u64, Sha256), Error> {
    let mut writer = BufWriter::with_capacity(1 << 18, file);
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 17];
    let mut size = 0;
    loop {
        let count = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(broken(locked, &error.to_string())),
        };
        size += count as u64;
        if size > limit {
            return Err(broken(locked, &format!("it unpacks to more than {limit} bytes")));
        }
        hasher.update(&buffer[..count]);
        writer.write_all(&buffer[..count]).map_err(|source| Error::file("write", path, source))?;
    }
    writer.flush().map_err(|source| Error::file("write", path, source))?;
    Ok((size, hasher))
}

fn version(mut member: impl Read) -> std::io::Result<()> {
    let mut text = String::new();
    member.by_ref().take(64).read_to_string(&mut text)?;
    match text.starts_with("2.") {
        true => Ok(()),
        false => Err(std::io::Error::other(format!("it is of the unknown format {:?}", text.trim()))),
    }
}

fn read_control(reader: impl Read) -> std::io::Result<BTreeMap<String, Vec<u8>>> {
    let mut members = BTreeMap::new();
    let mut archive = tar::Archive::new(reader.take(CONTROL_LIMIT));
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let name = path.trim_start_matches("./").trim_end_matches('/');
        if !entry.header().entry_type().is_file() || !is_plain_name(name) {
            continue;
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        members.insert(name.to_owned(), bytes);
    }
    match members.contains_key("control") {
        true => Ok(members),
        false => Err(std::io::Error::other("it has no control file")),
    }
}

fn digest(mut file: File) -> std::io::Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            count => hasher.update(&buffer[..count]),
        }
    }
}
