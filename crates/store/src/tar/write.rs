//! The writer: ustar headers, PAX records only where ustar has no room, no names of users or groups, zero
//! device numbers. Nothing but the entries given decides the bytes.

use std::io::{self, Read, Write};

use super::{BLOCK, Entry, EntryKind};

/// The largest number in eleven octal digits.
const OCTAL_11: u64 = 0o77_777_777_777;
/// The largest number in seven octal digits.
const OCTAL_7: u64 = 0o7_777_777;

/// Writes entries in the order given.
#[derive(Debug)]
pub struct TarWriter<W> {
    sink: W,
}

impl<W: Write> TarWriter<W> {
    /// Writes to a stream.
    pub fn new(sink: W) -> Self {
        Self { sink }
    }

    /// Writes a header and as many bytes of `content` as [`Entry::size`] says. A folder's name gets its slash
    /// here.
    ///
    /// # Errors
    /// Those of the streams, and `UnexpectedEof` when the content is shorter than it should be.
    pub fn append(&mut self, entry: &Entry, content: &mut dyn Read) -> io::Result<()> {
        let mut path = entry.path.clone();
        if entry.kind == EntryKind::Folder && !path.ends_with(b"/") {
            path.push(b'/');
        }
        let records = records(entry, &path);
        if !records.is_empty() {
            self.extended(&path, &records)?;
        }
        let size = if entry.kind == EntryKind::File { entry.size } else { 0 };
        let header = header(&path, &entry.link, entry, size, flag(entry.kind));
        self.sink.write_all(&header)?;
        let copied = io::copy(&mut content.take(size), &mut self.sink)?;
        if copied < size {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("a file became shorter while it was read: {copied} of {size} bytes"),
            ));
        }
        self.pad(size)
    }

    /// Ends the archive and gives the stream back.
    pub fn finish(mut self) -> io::Result<W> {
        self.sink.write_all(&[0; 2 * BLOCK])?;
        Ok(self.sink)
    }

    fn extended(&mut self, path: &[u8], records: &[u8]) -> io::Result<()> {
        let trimmed = path.strip_suffix(b"/").unwrap_or(path);
        let base = trimmed.rsplit(|b| *b == b'/').next().unwrap_or_default();
        let name = [b"PaxHeaders.0/", &base[..base.len().min(80)]].concat();
        let meta = Entry { mode: 0o644, ..Entry::default() };
        self.sink.write_all(&header(&name, b"", &meta, records.len() as u64, b'x'))?;
        self.sink.write_all(records)?;
        self.pad(records.len() as u64)
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let over = usize::try_from(size % BLOCK as u64).unwrap_or(0);
        if over > 0 {
            self.sink.write_all(&[0; BLOCK][over..])?;
        }
        Ok(())
    }
}

fn flag(kind: EntryKind) -> u8 {
    match kind {
        EntryKind::File => b'0',
        EntryKind::Hardlink => b'1',
        EntryKind::Symlink => b'2',
        EntryKind::Device => b'3',
        EntryKind::Folder => b'5',
        EntryKind::Fifo => b'6',
    }
}

fn records(entry: &Entry, path: &[u8]) -> Vec<u8> {
    let mut records = Vec::new();
    let mut record = |key: &str, value: &[u8]| pax_record(&mut records, key, value);
    for (name, value) in &entry.xattrs {
        record(&format!("SCHILY.xattr.{name}"), value);
    }
    if u64::from(entry.gid) > OCTAL_7 {
        record("gid", entry.gid.to_string().as_bytes());
    }
    if entry.link.len() > 100 {
        record("linkpath", &entry.link);
    }
    if u64::try_from(entry.mtime).map_or(true, |time| time > OCTAL_11) {
        record("mtime", entry.mtime.to_string().as_bytes());
    }
    if path.len() > 100 {
        record("path", path);
    }
    if entry.kind == EntryKind::File && entry.size > OCTAL_11 {
        record("size", entry.size.to_string().as_bytes());
    }
    if u64::from(entry.uid) > OCTAL_7 {
        record("uid", entry.uid.to_string().as_bytes());
    }
    records
}

/// Appends `LENGTH KEY=VALUE\n`, where the length counts its own digits.
fn pax_record(into: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + rest.to_string().len();
    if rest + length.to_string().len() > length {
        length += 1;
    }
    into.extend_from_slice(format!("{length} {key}=").as_bytes());
    into.extend_from_slice(value);
    into.push(b'\n');
}

fn header(path: &[u8], link: &[u8], entry: &Entry, size: u64, flag: u8) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    text(&mut block[..100], path);
    octal(&mut block[100..108], u64::from(entry.mode & 0o7777));
    octal(&mut block[108..116], fitting(entry.uid.into(), OCTAL_7));
    octal(&mut block[116..124], fitting(entry.gid.into(), OCTAL_7));
    octal(&mut block[124..136], fitting(size, OCTAL_11));
    octal(&mut block[136..148], u64::try_from(entry.mtime).map_or(0, |time| fitting(time, OCTAL_11)));
    block[156] = flag;
    text(&mut block[157..257], link);
    block[257..265].copy_from_slice(b"ustar\x0000");
    octal(&mut block[329..337], 0);
    octal(&mut block[337..345], 0);
    block[148..156].copy_from_slice(b"        ");
    let sum: u64 = block.iter().map(|b| u64::from(*b)).sum();
    octal(&mut block[148..155], sum);
    block
}

/// A number that a PAX record carries is zero in the header.
fn fitting(number: u64, most: u64) -> u64 {
    if number > most { 0 } else { number }
}

fn text(field: &mut [u8], value: &[u8]) {
    let length = value.len().min(field.len());
    field[..length].copy_from_slice(&value[..length]);
}

fn octal(field: &mut [u8], number: u64) {
    let digits = field.len() - 1;
    let text = format!("{number:0digits$o}");
    field[..digits].copy_from_slice(&text.as_bytes()[..digits]);
    field[digits] = 0;
}
