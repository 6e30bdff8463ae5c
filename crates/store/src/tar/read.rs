//! The reader.

use std::collections::BTreeMap;
use std::io::{self, Read};

use super::BLOCK;

/// Long names and extended headers larger than this are refused. Linux paths end at 4 KiB, one xattr at 64 KiB.
const EXTENSION_LIMIT: u64 = 1 << 20;

/// One entry as it stands in the archive; nothing about it is checked but its form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The name as written.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since the Unix epoch.
    pub mtime: i64,
    /// Bytes of content that follow.
    pub size: u64,
    /// Target of a symbolic or hard link as written.
    pub link: Vec<u8>,
    /// Extended attributes (`SCHILY.xattr.*`).
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    #[default]
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Symlink,
    /// Another name of an earlier file.
    Hardlink,
    /// A character or block device.
    Device,
    /// A named pipe.
    Fifo,
}

/// Why bytes are not a tar archive that Kiln reads.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TarError {
    /// The bytes could not be had (or, of a compressed archive, not be decompressed).
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    /// The archive ends inside an entry.
    #[error("the archive ends inside {what}")]
    Truncated {
        /// Inside what.
        what: String,
    },
    /// A header's own sum does not fit.
    #[error("the archive has a header with a wrong checksum at byte {offset}")]
    Checksum {
        /// Where the header begins.
        offset: u64,
    },
    /// A field cannot be read.
    #[error("the archive has a header with an unreadable {field} at byte {offset}")]
    Field {
        /// Which field.
        field: &'static str,
        /// Where the header begins.
        offset: u64,
    },
    /// A name or extended header is absurdly long.
    #[error("the archive has an extended header of {size} bytes; the limit is {EXTENSION_LIMIT}")]
    LongExtension {
        /// Its length.
        size: u64,
    },
    /// A kind of entry that images do not carry.
    #[error(
        "the archive has an entry of the unsupported kind {kind:?} ({name}); sparse, multi-volume and vendor entries are refused"
    )]
    Unsupported {
        /// Its type character.
        kind: char,
        /// Its name.
        name: String,
    },
}

/// Reads entries one after the other. After [`TarReader::next_entry`] the entry's content is what [`Read`]
/// gives.
#[derive(Debug)]
pub struct TarReader<R> {
    source: R,
    offset: u64,
    left: u64,
    padding: u64,
    done: bool,
}

#[derive(Default)]
struct Pending {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    pax: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl<R: Read> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if want == 0 {
            return Ok(0);
        }
        let read = self.source.read(&mut buffer[..want])?;
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive ends inside a file"));
        }
        self.left -= read as u64;
        self.offset += read as u64;
        Ok(read)
    }
}

impl<R: Read> TarReader<R> {
    /// Reads from a stream of uncompressed bytes.
    pub fn new(source: R) -> Self {
        Self { source, offset: 0, left: 0, padding: 0, done: false }
    }

    /// The stream, wherever it stands.
    pub fn into_inner(self) -> R {
        self.source
    }

    /// Skips what is left of the present entry and reads the next header; `None` at the end of the archive.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, TarError> {
        let mut pending = Pending::default();
        loop {
            self.skip_rest()?;
            let Some(block) = self.header()? else { return Ok(None) };
            let start = self.offset - BLOCK as u64;
            let size = number(&block[124..136]).ok_or(TarError::Field { field: "size", offset: start })?;
            match block[156] {
                b'x' => {
                    self.begin(size)?;
                    let text = self.extension(size)?;
                    parse_pax(&text, &mut pending.pax)
                        .ok_or(TarError::Field { field: "PAX record", offset: start })?;
                }
                b'g' => {
                    // Global records (git writes one with the commit) say nothing that a layer needs.
                    self.begin(size)?;
                    self.extension(size)?;
                }
                b'L' => {
                    self.begin(size)?;
                    pending.path = Some(until_nul(&self.extension(size)?).to_vec());
                }
                b'K' => {
                    self.begin(size)?;
                    pending.link = Some(until_nul(&self.extension(size)?).to_vec());
                }
                _ => return self.entry(&block, start, size, pending).map(Some),
            }
        }
    }

    fn entry(
        &mut self,
        block: &[u8; BLOCK],
        start: u64,
        size: u64,
        pending: Pending,
    ) -> Result<Entry, TarError> {
        let field = |field| TarError::Field { field, offset: start };
        let small = |range: std::ops::Range<usize>, name| {
            number(&block[range]).and_then(|n| u32::try_from(n).ok()).ok_or(field(name))
        };
        let mut entry = Entry {
            path: pending.path.unwrap_or_else(|| header_path(block)),
            kind: EntryKind::File,
            mode: small(100..108, "mode")? & 0o7777,
            uid: small(108..116, "owner")?,
            gid: small(116..124, "group")?,
            mtime: signed(&block[136..148]).ok_or(field("time"))?,
            size,
            link: pending.link.unwrap_or_else(|| until_nul(&block[157..257]).to_vec()),
            xattrs: BTreeMap::new(),
        };
        apply_pax(&mut entry, pending.pax).map_err(|name| match name {
            PaxFault::Field(name) => field(name),
            PaxFault::Sparse => unsupported('S', &entry_name(block)),
        })?;
        entry.kind =
            kind(block[156], &entry.path).ok_or_else(|| unsupported(char::from(block[156]), &entry.path))?;
        let content = if entry.kind == EntryKind::File { entry.size } else { 0 };
        // A link or folder with a length: old writers give a hard link the length of its file, without bytes.
        let follows = if matches!(entry.kind, EntryKind::Folder | EntryKind::Device | EntryKind::Fifo) {
            entry.size
        } else {
            content
        };
        self.begin(follows)?;
        entry.size = content;
        Ok(entry)
    }

    fn begin(&mut self, size: u64) -> Result<(), TarError> {
        let block = BLOCK as u64;
        size.checked_next_multiple_of(block)
            .filter(|end| *end <= i64::MAX as u64)
            .ok_or(TarError::Field { field: "size", offset: self.offset })?;
        self.left = size;
        self.padding = size.next_multiple_of(block) - size;
        Ok(())
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        if size > EXTENSION_LIMIT {
            return Err(TarError::LongExtension { size });
        }
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes).map_err(TarError::Read)?;
        Ok(bytes)
    }

    fn skip_rest(&mut self) -> Result<(), TarError> {
        let skip = self.left + self.padding;
        if skip == 0 {
            return Ok(());
        }
        let skipped =
            io::copy(&mut (&mut self.source).take(skip), &mut io::sink()).map_err(TarError::Read)?;
        self.offset += skipped;
        // Some writers leave the padding of the last entry away.
        if skipped < self.left {
            return Err(TarError::Truncated { what: "a file's content".into() });
        }
        (self.left, self.padding) = (0, 0);
        Ok(())
    }

    fn header(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        if self.done {
            return Ok(None);
        }
        let Some(block) = self.block()? else {
            self.done = true;
            return Ok(None);
        };
        if block.iter().all(|b| *b == 0) {
            self.done = true;
            return match self.block()? {
                Some(second) if second.iter().any(|b| *b != 0) => {
                    Err(TarError::Checksum { offset: self.offset - BLOCK as u64 })
                }
                _ => Ok(None),
            };
        }
        if !checksum_fits(&block) {
            return Err(TarError::Checksum { offset: self.offset - BLOCK as u64 });
        }
        Ok(Some(block))
    }

    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.source.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(TarError::Truncated { what: "a header".into() }),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(TarError::Read(error)),
            }
        }
        self.offset += BLOCK as u64;
        Ok(Some(block))
    }
}

fn unsupported(kind: char, name: &[u8]) -> TarError {
    TarError::Unsupported { kind, name: String::from_utf8_lossy(name).into_owned() }
}

fn entry_name(block: &[u8; BLOCK]) -> Vec<u8> {
    until_nul(&block[..100]).to_vec()
}

fn kind(flag: u8, path: &[u8]) -> Option<EntryKind> {
    Some(match flag {
        // The oldest tars mark a folder by its trailing slash alone.
        b'0' | 0 | b'7' if path.ends_with(b"/") => EntryKind::Folder,
        b'0' | 0 | b'7' => EntryKind::File,
        b'1' => EntryKind::Hardlink,
        b'2' => EntryKind::Symlink,
        b'3' | b'4' => EntryKind::Device,
        b'5' => EntryKind::Folder,
        b'6' => EntryKind::Fifo,
        _ => return None,
    })
}

fn header_path(block: &[u8; BLOCK]) -> Vec<u8> {
    let name = until_nul(&block[..100]);
    let prefix = until_nul(&block[345..500]);
    // GNU's own format keeps times where ustar has the prefix; it marks itself with "ustar  ".
    if prefix.is_empty() || &block[257..263] != b"ustar\0" {
        return name.to_vec();
    }
    [prefix, b"/", name].concat()
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len())]
}

fn checksum_fits(block: &[u8; BLOCK]) -> bool {
    let sum: u64 =
        block.iter().enumerate().map(|(i, b)| if (148..156).contains(&i) { 32 } else { u64::from(*b) }).sum();
    number(&block[148..156]) == Some(sum)
}

/// Octal digits, or (first bit set) a big-endian binary number; never negative.
fn number(field: &[u8]) -> Option<u64> {
    signed(field).and_then(|n| u64::try_from(n).ok())
}

fn signed(field: &[u8]) -> Option<i64> {
    if field.first().is_some_and(|b| b & 0x80 != 0) {
        return binary(field);
    }
    let text: Vec<u8> = field.iter().copied().filter(|b| *b != 0 && *b != b' ').collect();
    if text.is_empty() {
        return Some(0);
    }
    i64::from_str_radix(std::str::from_utf8(&text).ok()?, 8).ok()
}

fn binary(field: &[u8]) -> Option<i64> {
    let negative = field[0] & 0x40 != 0;
    let first = if negative { i128::from(field[0]) - 0x100 } else { i128::from(field[0] & 0x7f) };
    let mut value = first;
    for byte in &field[1..] {
        value = value.checked_mul(256)?.checked_add(i128::from(*byte))?;
    }
    i64::try_from(value).ok()
}

/// `LENGTH KEY=VALUE\n` records; `None` when malformed.
fn parse_pax(mut text: &[u8], into: &mut BTreeMap<Vec<u8>, Vec<u8>>) -> Option<()> {
    while !text.is_empty() {
        let space = text.iter().position(|b| *b == b' ')?;
        let length: usize = std::str::from_utf8(&text[..space]).ok()?.parse().ok()?;
        let record = text.get(space + 1..length)?;
        let record = record.strip_suffix(b"\n")?;
        let equals = record.iter().position(|b| *b == b'=')?;
        into.insert(record[..equals].to_vec(), record[equals + 1..].to_vec());
        text = &text[length..];
    }
    Some(())
}

enum PaxFault {
    Field(&'static str),
    Sparse,
}

fn apply_pax(entry: &mut Entry, pax: BTreeMap<Vec<u8>, Vec<u8>>) -> Result<(), PaxFault> {
    fn parse<T: std::str::FromStr>(value: &[u8], field: &'static str) -> Result<T, PaxFault> {
        std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or(PaxFault::Field(field))
    }
    for (key, value) in pax {
        match key.as_slice() {
            b"path" => entry.path = value,
            b"linkpath" => entry.link = value,
            b"size" => entry.size = parse(&value, "size")?,
            b"uid" => entry.uid = parse(&value, "owner")?,
            b"gid" => entry.gid = parse(&value, "group")?,
            b"mtime" => {
                let whole = value.split(|b| *b == b'.').next().unwrap_or_default();
                entry.mtime = parse(whole, "time")?;
            }
            key if key.starts_with(b"GNU.sparse.") => return Err(PaxFault::Sparse),
            key => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    let name = std::str::from_utf8(name).map_err(|_| PaxFault::Field("attribute name"))?;
                    entry.xattrs.insert(name.into(), value);
                }
            }
        }
    }
    if entry.path.contains(&0) || entry.link.contains(&0) {
        return Err(PaxFault::Field("name"));
    }
    Ok(())
}
