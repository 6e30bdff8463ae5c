//! Digests of source files, remembered by what `stat` says about them.
//!
//! A remembered digest is used only when device, inode, size, modification and change time are all the same,
//! and when the file was already at rest when it was hashed: a file changed again within the clock's grain
//! would look the same.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use kiln_model::Digest;
use kiln_store::Store;
use sha2::{Digest as _, Sha256};

/// Begins the file that remembers; another beginning is another format.
const MAGIC: &[u8; 8] = b"kilnsta1";

/// A file must have been at rest for so long. Kernel time stamps step by at most 10 ms.
const REST_NANOS: i128 = 100_000_000;

/// The same where times have whole seconds only, as on some network and FAT file systems (2 s).
const COARSE_REST_NANOS: i128 = 2_100_000_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp {
    dev: u64,
    ino: u64,
    size: u64,
    mtime: i128,
    ctime: i128,
}

impl Stamp {
    fn of(found: &Metadata) -> Self {
        let nanos = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        Self {
            dev: found.dev(),
            ino: found.ino(),
            size: found.size(),
            mtime: nanos(found.mtime(), found.mtime_nsec()),
            ctime: nanos(found.ctime(), found.ctime_nsec()),
        }
    }

    fn at_rest(&self, now: i128) -> bool {
        let last = self.mtime.max(self.ctime);
        let coarse = self.mtime % 1_000_000_000 == 0 && self.ctime % 1_000_000_000 == 0;
        now - last > if coarse { COARSE_REST_NANOS } else { REST_NANOS }
    }
}

/// Digests of the files below one folder.
#[derive(Debug)]
pub(crate) struct FileHashes {
    path: PathBuf,
    known: HashMap<Vec<u8>, (Stamp, Digest)>,
    changed: bool,
    now: i128,
}

impl FileHashes {
    /// Loads what is remembered about a source folder. Damage is the same as nothing remembered.
    pub(crate) fn load(store: &Store, source: &Path) -> Self {
        let name = hex::encode(&Sha256::digest(source.as_os_str().as_bytes())[..16]);
        let path = store.cache().join("files").join(name);
        let known = fs::read(&path).ok().and_then(|bytes| decode(&bytes)).unwrap_or_default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i128);
        Self { path, known, changed: false, now }
    }

    /// The digest and length of a file. `Ok(None)`: it was written to while it was read.
    pub(crate) fn digest(&mut self, path: &Path) -> io::Result<Option<(Digest, u64)>> {
        let key = path.as_os_str().as_bytes();
        let stamp = Stamp::of(&fs::metadata(path)?);
        if let Some((known, digest)) = self.known.get(key)
            && *known == stamp
        {
            return Ok(Some((*digest, stamp.size)));
        }
        for _ in 0..3 {
            let mut file = File::open(path)?;
            let before = Stamp::of(&file.metadata()?);
            let digest = hash_all(&mut file)?;
            if Stamp::of(&file.metadata()?) == before {
                self.remember(key, before, digest);
                return Ok(Some((digest, before.size)));
            }
        }
        Ok(None)
    }

    fn remember(&mut self, key: &[u8], stamp: Stamp, digest: Digest) {
        if stamp.at_rest(self.now) {
            self.known.insert(key.to_vec(), (stamp, digest));
            self.changed = true;
        } else {
            self.changed |= self.known.remove(key).is_some();
        }
    }

    /// Writes down what was learned. Failing to costs only time in the next bake.
    pub(crate) fn save(&self, store: &Store) {
        if !self.changed {
            return;
        }
        if let Some(folder) = self.path.parent() {
            let _ = fs::create_dir_all(folder);
        }
        let _ = store.replace(&self.path, &encode(&self.known), false);
    }
}

fn hash_all(file: &mut File) -> io::Result<Digest> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(Digest::from_bytes(hash.finalize().into())),
            Ok(read) => hash.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Magic, then per file: length of the path, the path, the stamp's five numbers, the digest; then the SHA-256
/// of it all.
fn encode(known: &HashMap<Vec<u8>, (Stamp, Digest)>) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    for (path, (stamp, digest)) in known {
        let length = u32::try_from(path.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(path);
        for number in [stamp.dev, stamp.ino, stamp.size] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&stamp.mtime.to_le_bytes());
        bytes.extend_from_slice(&stamp.ctime.to_le_bytes());
        bytes.extend_from_slice(digest.as_bytes());
    }
    let sum = Sha256::digest(&bytes);
    bytes.extend_from_slice(&sum);
    bytes
}

fn decode(bytes: &[u8]) -> Option<HashMap<Vec<u8>, (Stamp, Digest)>> {
    let (body, sum) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
    if Sha256::digest(body)[..] != *sum {
        return None;
    }
    let mut rest = body.strip_prefix(MAGIC)?;
    let mut known = HashMap::new();
    while !rest.is_empty() {
        let length = u32::from_le_bytes(take(&mut rest)?);
        let (path, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        rest = after;
        let mut number = || Some(u64::from_le_bytes(take(&mut rest)?));
        let (dev, ino, size) = (number()?, number()?, number()?);
        let (mtime, ctime) = (i128::from_le_bytes(take(&mut rest)?), i128::from_le_bytes(take(&mut rest)?));
        let digest = Digest::from_bytes(take(&mut rest)?);
        known.insert(path.to_vec(), (Stamp { dev, ino, size, mtime, ctime }, digest));
    }
    Some(known)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_survives_the_disk_and_damage_forgets_it() {
        let stamp = Stamp { dev: 1, ino: 2, size: 3, mtime: 4, ctime: -5 };
        let known = HashMap::from([(b"a/b".to_vec(), (stamp, Digest::from_bytes([7; 32])))]);
        let mut bytes = encode(&known);
        assert_eq!(decode(&bytes).unwrap(), known);
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        assert!(decode(&bytes).is_none());
        assert!(decode(&bytes[..20]).is_none());
    }

    #[test]
    fn a_file_written_just_now_is_not_trusted() {
        let second = 1_000_000_000;
        let stamp = |mtime, ctime| Stamp { dev: 0, ino: 0, size: 0, mtime, ctime };
        assert!(!stamp(5 * second + 1, 5 * second + 1).at_rest(5 * second + 50_000_000));
        assert!(stamp(5 * second + 1, 5 * second + 1).at_rest(6 * second));
        assert!(!stamp(5 * second, 5 * second).at_rest(7 * second));
        assert!(!stamp(5 * second, 9 * second).at_rest(6 * second));
    }
}
