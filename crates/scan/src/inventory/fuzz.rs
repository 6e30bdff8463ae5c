//! Any bytes have an answer: no parser panics or hangs, whatever it is given.

use proptest::prelude::*;

use super::read::bytes_of;
use super::wanted::Kind;

const KINDS: [(Kind, &str); 17] = [
    (Kind::OsRelease, "etc/os-release"),
    (Kind::DpkgStatus, "var/lib/dpkg/status"),
    (Kind::DpkgFiles, "var/lib/dpkg/info/a.list"),
    (Kind::DpkgFiles, "var/lib/dpkg/status.d/a.md5sums"),
    (Kind::Copyright, "usr/share/doc/a/copyright"),
    (Kind::ApkInstalled, "lib/apk/db/installed"),
    (Kind::RpmSqlite, "var/lib/rpm/rpmdb.sqlite"),
    (Kind::RpmNdb, "var/lib/rpm/Packages.db"),
    (Kind::RpmBdb, "var/lib/rpm/Packages"),
    (Kind::Python, "a.dist-info/METADATA"),
    (Kind::Node, "node_modules/a/package.json"),
    (Kind::NodeLock, "node_modules/.package-lock.json"),
    (Kind::Java, "a.jar"),
    (Kind::Gem, "specifications/a.gemspec"),
    (Kind::DotNet, "a.deps.json"),
    (Kind::Composer, "vendor/composer/installed.json"),
    (Kind::Program, "usr/bin/a"),
];

/// Beginnings that lead past the first check, and words that fields begin with.
const SEEDS: [&[u8]; 14] = [
    b"",
    b"Package: a\nVersion: 1\nSource: (\nDepends: a (,|:\n b\n\n",
    b"P:a\nV:1\nF:\nR:x\np:=\nD:!\n",
    b"SQLite format 3\0\x10\0\x02\x02\0\x40\x20\x20\0\0\0\x01\0\0\0\x02",
    b"RpmP\0\0\0\0\x01\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0Slot\x01\0\0\0\x02\0\0\0\x01\0\0\0",
    b"\0\0\0\0\x01\0\0\0\0\0\0\0\x61\x15\x06\0\x09\0\0\0\0\x02\0\0\0\x08\0\0",
    b"Name: a\nVersion: 1\nLicense:\n x\nRequires-Dist:\n",
    b"{\"name\":\"a\",\"version\":\"1\",\"licenses\":[[],{}],\"packages\":[],\"libraries\":{\"/\":{}}}",
    b"PK\x03\x04",
    b"PK\x05\x06\0\0\0\0\x01\0\x01\0\x2e\0\0\0\0\0\0\0\0\0",
    b"s.name = \"\ns.version = '<\"\ns.add_dependency(%q<",
    b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0",
    b"\x7fELF\x01\x02\x01\0",
    b"Format: https://x/copyright-format/1.0/\nLicense:\nLicense: a\n",
];

/// A seed, some of its bytes changed, and a tail.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let changes = proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..6);
    let tail = proptest::collection::vec(any::<u8>(), 0..2048);
    (proptest::sample::select(SEEDS.to_vec()), changes, tail).prop_map(|(seed, changes, tail)| {
        let mut bytes = [seed, &tail].concat();
        for (at, byte) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        bytes
    })
}

proptest! {
    #[test]
    fn any_bytes_have_an_answer(bytes in bytes()) {
        for (kind, path) in KINDS {
            bytes_of(kind, path.as_bytes(), bytes.clone());
        }
    }

    #[test]
    fn any_package_header_has_an_answer(
        entries in proptest::collection::vec((995u32..1130, 0u32..12, 0u32..96, any::<u8>()), 0..12),
        data in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let count = u32::try_from(entries.len()).unwrap();
        let size = u32::try_from(data.len()).unwrap();
        let mut blob = [count.to_be_bytes(), size.to_be_bytes()].concat();
        for (tag, kind, offset, count) in entries {
            for number in [tag, kind, offset, u32::from(count)] {
                blob.extend(number.to_be_bytes());
            }
        }
        blob.extend(data);
        super::rpm::header(&blob);
    }
}
