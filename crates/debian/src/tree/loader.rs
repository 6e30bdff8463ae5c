//! `/etc/ld.so.cache`: where the dynamic loader finds libraries, in glibc's format 1.1 (`sysdeps/generic/dl-cache.h`).
//!
//! ```text
//! "glibc-ld.so.cache1.1"  entries u32  bytes of strings u32  flags u8 (2: little endian)  3 bytes
//! offset of extensions u32 (0: none)  12 bytes
//! per entry: flags i32  name u32  path u32  0 u32  hwcap 0 u64          (name, path: offsets in the file)
//! strings, each ended by a zero byte
//! ```
//!
//! Entries are in descending order of names, in which runs of digits count as numbers. For architectures whose
//! flags are not known here no cache is written; the loader then looks in its folders itself.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use kiln_store::Kind;

use super::builder::{self, Builder};
use super::elf;
use crate::Error;

const HEADER: usize = 48;
const ENTRY: usize = 24;

/// Debian architecture to the library's ELF class and machine, and ldconfig's flags.
const KINDS: [(&str, u8, u16, u32); 7] = [
    ("amd64", 2, 62, 0x0303),
    ("i386", 1, 3, 0x0003),
    ("arm64", 2, 183, 0x0a03),
    ("armhf", 1, 40, 0x0903),
    ("ppc64el", 2, 21, 0x0503),
    ("riscv64", 2, 243, 0x1003),
    ("loong64", 2, 258, 0x1103),
];

pub(super) fn add(builder: &mut Builder, architecture: &str) -> Result<(), Error> {
    let Some(kind) = KINDS.iter().find(|kind| kind.0 == architecture) else { return Ok(()) };
    let mut entries = Vec::new();
    let mut links = Vec::new();
    let mut seen = Vec::new();
    for folder in folders(builder)? {
        let place = builder.resolve(folder.trim_start_matches('/').as_bytes());
        let Ok(place) = String::from_utf8(place) else { continue };
        if seen.contains(&place) {
            continue;
        }
        let mut libraries: BTreeMap<String, String> = BTreeMap::new();
        for name in builder.list(&place) {
            if let Some(soname) = library(builder, &place, &name, *kind)? {
                libraries.entry(soname).or_insert(name);
            }
        }
        for (soname, name) in libraries {
            let link = format!("{place}/{soname}");
            if !builder.exists(&link) {
                links.push((link, name));
            }
            entries.push((soname.clone(), format!("{folder}/{soname}")));
        }
        seen.push(place);
    }
    if entries.is_empty() {
        return Ok(());
    }
    for (link, name) in links {
        builder.link(&link, name);
    }
    entries.sort_by(|one, other| compare(other.0.as_bytes(), one.0.as_bytes()));
    if let Some(cache) = cache(&entries, kind.3) {
        builder.file("etc/ld.so.cache", 0o644, cache);
    }
    Ok(())
}

/// The folders that ldconfig looks in, in its order.
fn folders(builder: &Builder) -> Result<Vec<String>, Error> {
    let mut files: Vec<String> = builder.list("etc/ld.so.conf.d");
    files.retain(|name| name.ends_with(".conf"));
    let mut folders = Vec::new();
    for name in files {
        let text = builder.text(&format!("etc/ld.so.conf.d/{name}"))?.unwrap_or_default();
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        folders.extend(
            lines.filter(|line| line.starts_with('/')).map(|line| line.trim_end_matches('/').to_owned()),
        );
    }
    folders.extend(["/lib".to_owned(), "/usr/lib".to_owned()]);
    Ok(folders)
}

/// The name by which programs ask for a library, if the file is one of this architecture.
fn library(
    builder: &Builder,
    folder: &str,
    name: &str,
    kind: (&str, u8, u16, u32),
) -> Result<Option<String>, Error> {
    if !(name.starts_with("lib") || name.starts_with("ld-")) || !name.contains(".so") {
        return Ok(None);
    }
    let path = format!("{folder}/{name}");
    let Some(content) = builder.content(path.as_bytes()) else { return Ok(None) };
    let Some(library) = elf::read(&builder::read(content)?) else { return Ok(None) };
    if (library.class, library.machine) != (kind.1, kind.2) {
        return Ok(None);
    }
    let link =
        builder.tree.nodes.get(path.as_bytes()).is_some_and(|node| matches!(node.kind, Kind::Symlink(_)));
    Ok(match library.soname {
        // Links ending in `.so` are for linking programs, not for running them.
        Some(soname) if link && soname != name => None,
        Some(soname) => Some(soname),
        None if link && name.ends_with(".so") => None,
        None => Some(name.to_owned()),
    })
}

/// glibc's `_dl_cache_libcmp`.
fn compare(mut one: &[u8], mut other: &[u8]) -> Ordering {
    loop {
        let (Some(a), Some(b)) = (one.first(), other.first()) else {
            return one.len().min(1).cmp(&other.len().min(1));
        };
        match (a.is_ascii_digit(), b.is_ascii_digit()) {
            (true, true) => match number(&mut one).cmp(&number(&mut other)) {
                Ordering::Equal => {}
                order => return order,
            },
            (true, false) => return Ordering::Greater,
            (false, true) => return Ordering::Less,
            (false, false) if a != b => return a.cmp(b),
            (false, false) => (one, other) = (&one[1..], &other[1..]),
        }
    }
}

fn number(text: &mut &[u8]) -> u64 {
    let end = text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    *text = rest;
    digits.iter().fold(0u64, |number, digit| number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')))
}

fn cache(entries: &[(String, String)], flags: u32) -> Option<Vec<u8>> {
    let start = HEADER + entries.len() * ENTRY;
    let mut strings: Vec<u8> = Vec::new();
    let mut table = Vec::with_capacity(entries.len() * ENTRY);
    let mut place = |text: &str| {
        let at = u32::try_from(start + strings.len()).ok()?;
        strings.extend_from_slice(text.as_bytes());
        strings.push(0);
        Some(at)
    };
    for (name, path) in entries {
        for field in [flags, place(name)?, place(path)?, 0, 0, 0] {
            table.extend(field.to_le_bytes());
        }
    }
    let mut cache = b"glibc-ld.so.cache1.1".to_vec();
    cache.extend(u32::try_from(entries.len()).ok()?.to_le_bytes());
    cache.extend(u32::try_from(strings.len()).ok()?.to_le_bytes());
    cache.extend([2, 0, 0, 0]);
    cache.extend([0; 16]);
    cache.extend(table);
    cache.extend(strings);
    Some(cache)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ordered_as_glibc_orders_them() {
        let mut names =
            ["libc.so.6", "libz.so.1", "libfoo.so.10", "libfoo.so.9", "ld-linux.so.2", "libfoo.so"];
        names.sort_by(|one, other| compare(other.as_bytes(), one.as_bytes()));
        assert_eq!(
            names,
            ["libz.so.1", "libfoo.so.10", "libfoo.so.9", "libfoo.so", "libc.so.6", "ld-linux.so.2"]
        );
    }
}
