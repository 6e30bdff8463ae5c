//! Our tar writer against another's reader, our reader against another's writer.

use std::collections::BTreeMap;
use std::io::Read;

use kiln_store::{Entry, EntryKind, TarReader, TarWriter};
use proptest::prelude::*;

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::collection::vec(1_u8..=255, 1..60), 1..6).prop_map(|parts| {
        let plain =
            |part: Vec<u8>| part.into_iter().map(|b| if b == b'/' { b'_' } else { b }).collect::<Vec<u8>>();
        parts.into_iter().map(plain).collect::<Vec<_>>().join(&b'/')
    })
}

fn entry() -> impl Strategy<Value = (Entry, Vec<u8>)> {
    let numbers = (0_u32..0o10000, any::<u32>(), any::<u32>(), -5_000_000_000_i64..50_000_000_000);
    let xattr =
        prop::collection::btree_map("user\\.[a-z]{1,8}", prop::collection::vec(any::<u8>(), 0..40), 0..2);
    (name(), name(), numbers, 0..4_usize, prop::collection::vec(any::<u8>(), 0..1500), xattr).prop_map(
        |(path, link, (mode, uid, gid, mtime), kind, content, xattrs)| {
            let kind = [EntryKind::File, EntryKind::Folder, EntryKind::Symlink, EntryKind::Hardlink][kind];
            let content = if kind == EntryKind::File { content } else { Vec::new() };
            let link =
                if matches!(kind, EntryKind::Symlink | EntryKind::Hardlink) { link } else { Vec::new() };
            let size = content.len() as u64;
            (Entry { path, kind, mode, uid, gid, mtime, size, link, xattrs }, content)
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read(entries in prop::collection::vec(entry(), 0..8)) {
        let mut writer = TarWriter::new(Vec::new());
        for (entry, content) in &entries {
            writer.append(entry, &mut content.as_slice()).unwrap();
        }
        let bytes = writer.finish().unwrap();
        let mut reader = TarReader::new(bytes.as_slice());
        // The other reader takes a line end inside a PAX record for the record's end.
        let has = |bytes: &[u8]| bytes.contains(&b'\n');
        let newline = entries.iter().any(|(e, _)| has(&e.path) || has(&e.link) || e.xattrs.values().any(|v| has(v)));
        let mut others = tar::Archive::new(bytes.as_slice());
        let mut others = others.entries().unwrap();
        for (entry, content) in &entries {
            let mut expected = entry.clone();
            if entry.kind == EntryKind::Folder {
                expected.path.push(b'/');
            }
            prop_assert_eq!(reader.next_entry().unwrap().unwrap(), expected);
            let mut back = Vec::new();
            reader.read_to_end(&mut back).unwrap();
            prop_assert_eq!(&back, content);
            if newline {
                continue;
            }
            let mut other = others.next().unwrap().unwrap();
            let path = other.path_bytes().into_owned();
            prop_assert_eq!(path.strip_suffix(b"/").unwrap_or(&path), &entry.path[..]);
            let mut back = Vec::new();
            other.read_to_end(&mut back).unwrap();
            prop_assert_eq!(&back, content);
        }
        prop_assert!(reader.next_entry().unwrap().is_none());
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        let mut reader = TarReader::new(bytes.as_slice());
        while let Ok(Some(_)) = reader.next_entry() {}
    }

    #[test]
    fn no_altered_archive_makes_the_reader_panic(
        entries in prop::collection::vec(entry(), 1..4), at in any::<prop::sample::Index>(), with in any::<u8>()
    ) {
        let mut writer = TarWriter::new(Vec::new());
        for (entry, content) in &entries {
            writer.append(entry, &mut content.as_slice()).unwrap();
        }
        let mut bytes = writer.finish().unwrap();
        let at = at.index(bytes.len());
        bytes[at] = with;
        let mut reader = TarReader::new(bytes.as_slice());
        while let Ok(Some(_)) = reader.next_entry() {}
    }
}

#[test]
fn gnu_archives_are_read() {
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(150));
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    header.set_mode(0o600);
    header.set_mtime(7);
    builder.append_data(&mut header, &long, &b"abc"[..]).unwrap();
    let bytes = builder.into_inner().unwrap();
    let mut reader = TarReader::new(bytes.as_slice());
    let entry = reader.next_entry().unwrap().unwrap();
    assert_eq!((entry.path, entry.size, entry.mode), (long.into_bytes(), 3, 0o600));
    assert_eq!(entry.xattrs, BTreeMap::new());
}
