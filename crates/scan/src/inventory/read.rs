//! From a file's bytes to what it tells.

use std::io::{self, Read};

use super::findings::Findings;
use super::wanted::Kind;
use super::{apk, dotnet, dpkg, java, node, os_release, php, program, python, rpm, ruby};

/// Smallest file that can be an ELF program: its header.
const ELF_HEADER: u64 = 52;

/// What to read a file as; `None` when it tells nothing.
pub(crate) fn kind(path: &[u8], mode: u32, size: u64) -> Option<Kind> {
    super::wanted::by_path(path).or((mode & 0o111 != 0 && size > ELF_HEADER).then_some(Kind::Program))
}

/// Reads a file of this length. Nothing is kept of a program's bytes when it is not one.
pub(crate) fn file(kind: Kind, path: &[u8], size: u64, source: &mut dyn Read) -> io::Result<Findings> {
    let mut bytes = Vec::new();
    if kind == Kind::Program {
        source.take(4).read_to_end(&mut bytes)?;
        if bytes != *b"\x7fELF" {
            return Ok(Findings::default());
        }
    }
    if size > kind.limit() {
        let limit = kind.limit();
        return Ok(Findings::problem(format!("it has {size} bytes, more than the {limit} that are read")));
    }
    // The length is the archive's word: memory is taken as bytes come.
    bytes.reserve(usize::try_from(size.min(1 << 20)).unwrap_or(0));
    source.take(size).read_to_end(&mut bytes)?;
    Ok(bytes_of(kind, path, bytes))
}

/// What these bytes tell. Total: every input has an answer.
pub(crate) fn bytes_of(kind: Kind, path: &[u8], bytes: Vec<u8>) -> Findings {
    let path = String::from_utf8_lossy(path);
    let text = || String::from_utf8_lossy(&bytes);
    match kind {
        Kind::OsRelease => Findings { distribution: Some(os_release::parse(&text())), ..Findings::default() },
        Kind::DpkgStatus => dpkg::status(&text()),
        Kind::DpkgFiles if path.ends_with(".md5sums") => dpkg::sums(&text()),
        Kind::DpkgFiles => dpkg::list(&text()),
        Kind::Copyright => dpkg::copyright(&text()),
        Kind::ApkInstalled => apk::installed(&text()),
        Kind::RpmSqlite => rpm::sqlite(bytes),
        Kind::RpmNdb => rpm::ndb(&bytes),
        Kind::RpmBdb => rpm::bdb(&bytes),
        Kind::RpmSqliteLog => rpm::sqlite_log(&bytes),
        Kind::Python => python::metadata(&text()),
        Kind::Node => node::package(&bytes),
        Kind::NodeLock => node::lock(&bytes),
        Kind::Java => java::archive(&path, &bytes),
        Kind::Gem => ruby::gemspec(&path, &text()),
        Kind::DotNet => dotnet::deps(&bytes),
        Kind::Composer => php::installed(&bytes),
        Kind::Program => program::read(&bytes),
    }
}
