//! Archives of OSV documents, with bounds on everything that they claim and hold.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use zip::ZipArchive;

use super::Limits;
use crate::advisories::AdvisoryError;
use crate::advisories::store::build::Member;

/// An open archive.
pub(super) struct Archive {
    zip: ZipArchive<BufReader<File>>,
    from: String,
    label: String,
    path: std::path::PathBuf,
    limits: Limits,
    unpacked: u64,
}

impl Archive {
    /// `label` is the archive's part in the names of its members.
    pub(super) fn open(path: &Path, label: &str, limits: Limits) -> Result<Self, AdvisoryError> {
        let mut file = File::open(path).map_err(AdvisoryError::file("open", path))?;
        let from = path.display().to_string();
        // The list of members is read into memory, so its claimed length is looked at first.
        let claimed = claimed(&mut file).map_err(AdvisoryError::file("read", path))?;
        if claimed > limits.documents {
            return Err(AdvisoryError::TooLarge {
                what: "the number of files",
                from,
                limit: limits.documents,
            });
        }
        let zip = ZipArchive::new(BufReader::new(file))
            .map_err(|source| AdvisoryError::Archive { path: path.to_owned(), source })?;
        Ok(Self { zip, from, label: label.to_owned(), path: path.to_owned(), limits, unpacked: 0 })
    }

    pub(super) fn len(&self) -> usize {
        self.zip.len()
    }

    /// What the archive says of a file; `None` for what is no document.
    pub(super) fn member(&mut self, index: usize) -> Result<Option<Member>, AdvisoryError> {
        let file = self
            .zip
            .by_index_raw(index)
            .map_err(|source| AdvisoryError::Archive { path: self.path.clone(), source })?;
        let Ok(name) = file.name() else { return Ok(None) };
        let document = file.is_file() && name.ends_with(".json");
        let path = format!("{}!{name}", self.label);
        Ok(document.then(|| Member { path, crc: file.crc32(), size: file.size() }))
    }

    /// Unpacks a file; its checksum is compared on the way.
    pub(super) fn read(&mut self, index: usize) -> Result<Vec<u8>, AdvisoryError> {
        let limit = self.limits.document.min(self.limits.unpacked.saturating_sub(self.unpacked));
        let file = self
            .zip
            .by_index(index)
            .map_err(|source| AdvisoryError::Archive { path: self.path.clone(), source })?;
        let name = file.name().map(std::borrow::Cow::into_owned).unwrap_or_default();
        let mut bytes = Vec::new();
        // Never more than was allowed, whatever size the archive claims.
        file.take(limit + 1).read_to_end(&mut bytes).map_err(|source| AdvisoryError::File {
            act: "unpack",
            path: self.path.join(&name),
            source,
        })?;
        if bytes.len() as u64 > limit {
            let (what, limit) = match limit == self.limits.document {
                true => ("a document", limit),
                false => ("the unpacked size", self.limits.unpacked),
            };
            return Err(AdvisoryError::TooLarge { what, from: format!("{}!{name}", self.from), limit });
        }
        self.unpacked += bytes.len() as u64;
        Ok(bytes)
    }
}

/// The largest number of members that any end-of-central-directory record in the file's last 65,557 bytes claims
/// (PKWARE APPNOTE 4.3.14 to 4.3.16; the classic record has 22 bytes and a comment of at most 65,535).
fn claimed(file: &mut File) -> std::io::Result<u64> {
    const TAIL: u64 = 22 + 65_535 + 20 + 56;
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    file.by_ref().take(TAIL).read_to_end(&mut tail)?;
    file.seek(SeekFrom::Start(0))?;
    let mut most = 0;
    for (at, window) in tail.windows(4).enumerate() {
        let number = |offset: usize, size: usize| {
            let bytes = tail.get(at + offset..at + offset + size)?;
            Some(bytes.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)))
        };
        let count = match window {
            // A count of 65,535 means that the larger record has it.
            b"PK\x05\x06" => number(10, 2).filter(|count| *count != 0xFFFF),
            b"PK\x06\x06" => number(32, 8),
            _ => None,
        };
        most = most.max(count.unwrap_or(0));
    }
    Ok(most)
}
