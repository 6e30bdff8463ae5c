//! Databases that the real rpm and the real Berkeley DB write.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kiln_scan::Inventory;
use tempfile::TempDir;

use crate::kit::{Layer, feed, find, image_of, list, names, needs, run, store};
use crate::peers;

const OS: &str = "ID=fedora\nVERSION_ID=39\n";

/// A package with a small header, and one with a header that fits no page.
fn packages(folder: &Path) -> Vec<PathBuf> {
    let small = "Name: probe\nEpoch: 1\nVersion: 1.2\nRelease: 3\nLicense: MIT AND BSD-3-Clause\nSummary: x\n\
        BuildArch: noarch\nRequires: probe-big\n%description\nx\n%files\n";
    let files: String = (0..3000).fold(String::new(), |mut text, number| {
        writeln!(text, "touch %{{buildroot}}/usr/share/big/file-number-{number}").unwrap();
        text
    });
    let big = format!(
        "Name: probe-big\nVersion: 2\nRelease: 1\nLicense: GPL-2.0-or-later\nSummary: x\nBuildArch: noarch\n\
         %description\nx\n%install\nmkdir -p %{{buildroot}}/usr/share/big %{{buildroot}}/opt/six-1.16.0.dist-info\n\
         printf 'Name: six\\nVersion: 1.16.0\\n' > %{{buildroot}}/opt/six-1.16.0.dist-info/METADATA\n{files}\
         %files\n/usr/share/big\n/opt/six-1.16.0.dist-info\n"
    );
    let build = |(name, spec): (&str, &str)| {
        let path = folder.join(format!("{name}.spec"));
        fs::write(&path, spec).unwrap();
        run(Command::new("rpmbuild")
            .args(["-bb", "--quiet", "--define", &format!("_topdir {}", folder.display())])
            .arg(&path));
        let file = fs::read_dir(folder.join("RPMS/noarch")).unwrap().map(|entry| entry.unwrap().path());
        file.into_iter()
            .find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&format!("{name}-")))
            .unwrap()
    };
    vec![build(("probe", small)), build(("probe-big", &big))]
}

/// The database folder of a root into which they are installed.
fn installed(folder: &Path) -> PathBuf {
    let root = folder.join("root");
    fs::create_dir_all(root.join("var/lib/rpm")).unwrap();
    run(Command::new("rpm")
        .arg("--root")
        .arg(&root)
        .args(["--dbpath", "/var/lib/rpm", "--define", "_db_backend sqlite"])
        .args(["--force-debian", "--nodeps", "--noscripts", "-i"])
        .args(packages(folder)));
    root
}

fn layer(root: &Path) -> Layer {
    Layer::new().file("etc/os-release", OS).tree("", root)
}

fn check(found: &Inventory) {
    assert_eq!(found.problems, Vec::<String>::new());
    assert_eq!(names(found), ["probe@1:1.2-3", "probe-big@2-1", "six@1.16.0"]);
    let probe = find(found, "probe");
    assert_eq!(probe.architecture.as_deref(), Some("noarch"));
    assert_eq!(probe.source, Some(("probe".into(), "1.2-3".into())));
    assert_eq!(probe.licenses, ["MIT AND BSD-3-Clause"]);
    let purl = "pkg:rpm/fedora/probe@1.2-3?arch=noarch&distro=fedora-39&epoch=1&upstream=probe-1.2-3.src.rpm";
    assert_eq!(probe.purl, purl);
    assert!(found.dependencies[purl].contains(&find(found, "probe-big").purl));
    assert!(found.providers[&find(found, "six").purl].contains(&find(found, "probe-big").purl));
}

#[test]
fn the_sqlite_database_of_rpm_is_read() {
    if !needs(&["rpm", "rpmbuild"]) {
        return;
    }
    let folder = TempDir::new().unwrap();
    let root = installed(folder.path());
    check(&list([layer(&root)]));
    let (_folder, store) = store();
    let image = image_of(&store, [layer(&root)]);
    if needs(&["syft", "trivy"]) {
        peers::as_syft(&store, &image);
        peers::as_trivy(&store, &image);
    }
}

#[test]
fn changes_that_sqlite_has_not_written_yet_are_a_problem() {
    let log = Layer::new().file("var/lib/rpm/rpmdb.sqlite-wal", "not empty");
    assert!(list([log]).problems[0].contains("rpmdb --rebuilddb"));
    assert!(list([Layer::new().file("var/lib/rpm/rpmdb.sqlite-wal", "")]).problems.is_empty());
}

/// Headers as rpm wrote them, by their number.
fn headers(root: &Path) -> Vec<(u32, Vec<u8>)> {
    let database = rusqlite::Connection::open(root.join("var/lib/rpm/rpmdb.sqlite")).unwrap();
    let mut query = database.prepare("SELECT hnum, blob FROM Packages").unwrap();
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

/// Debian's rpm cannot write ndb; this lays real headers out as rpmpkg.c does. Syft and Trivy read it too.
fn ndb(headers: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let mut slots = vec![*b"RpmP", [0; 4], 5u32.to_le_bytes(), 1u32.to_le_bytes(), 9u32.to_le_bytes()];
    slots.extend([[0; 4]; 3]);
    let mut blobs: Vec<u8> = Vec::new();
    for (number, header) in headers {
        let start = 4096 + blobs.len();
        let length = u32::try_from(header.len()).unwrap();
        for part in [*b"BlbS", number.to_le_bytes(), 1u32.to_le_bytes(), length.to_le_bytes()] {
            blobs.extend(part);
        }
        blobs.extend(header);
        // The tail: a checksum, the length again, and its own mark.
        blobs.resize((blobs.len() + 12).next_multiple_of(16) - 12, 0);
        blobs.extend([0; 4]);
        blobs.extend(length.to_le_bytes());
        blobs.extend(b"BlbE");
        let blocks = (4096 + blobs.len() - start) / 16;
        slots.extend([*b"Slot", number.to_le_bytes()]);
        slots.extend([start / 16, blocks].map(|number| u32::try_from(number).unwrap().to_le_bytes()));
    }
    let mut bytes = slots.concat();
    while bytes.len() < 4096 {
        bytes.extend(*b"Slot\0\0\0\0\0\0\0\0\0\0\0\0");
    }
    [bytes, blobs].concat()
}

#[test]
fn the_ndb_database_of_rpm_is_read() {
    if !needs(&["rpm", "rpmbuild"]) {
        return;
    }
    let folder = TempDir::new().unwrap();
    let database = ndb(&headers(&installed(folder.path())));
    let layer = || {
        let six = "Name: six\nVersion: 1.16.0\n";
        let layer = Layer::new().file("etc/os-release", OS).file("opt/six-1.16.0.dist-info/METADATA", six);
        layer.file("usr/lib/sysimage/rpm/Packages.db", &database)
    };
    check(&list([layer()]));
    let (_folder, store) = store();
    let image = image_of(&store, [layer()]);
    if needs(&["syft", "trivy"]) {
        peers::as_syft(&store, &image);
        peers::as_trivy(&store, &image);
    }
}

#[test]
fn berkeley_db_is_read_in_both_byte_orders() {
    if !needs(&["rpm", "rpmbuild", "db5.3_load"]) {
        return;
    }
    let folder = TempDir::new().unwrap();
    let headers = headers(&installed(folder.path()));
    for (order, page) in [("1234", 4096), ("4321", 4096), ("1234", 512), ("4321", 65_536)] {
        // As rpm wrote it: under key 0 the next free number, then headers by number.
        let mut dump = format!(
            "VERSION=3\nformat=bytevalue\ntype=hash\ndb_lorder={order}\ndb_pagesize={page}\nHEADER=END\n"
        );
        dump.push_str(" 00000000\n 03000000\n");
        for (number, header) in &headers {
            writeln!(dump, " {}\n {}", hex::encode(number.to_le_bytes()), hex::encode(header)).unwrap();
        }
        dump.push_str("DATA=END\n");
        let old = TempDir::new().unwrap();
        let place = old.path().join("var/lib/rpm");
        fs::create_dir_all(&place).unwrap();
        feed(Command::new("db5.3_load").arg(place.join("Packages")), dump.as_bytes());
        let six = Layer::new().file("opt/six-1.16.0.dist-info/METADATA", "Name: six\nVersion: 1.16.0\n");
        check(&list([layer(old.path()), six]));
    }
}

#[test]
fn a_crafted_database_runs_nothing() {
    let folder = TempDir::new().unwrap();
    let place = folder.path().join("rpmdb.sqlite");
    let database = rusqlite::Connection::open(&place).unwrap();
    let endless =
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x AS blob, x AS hnum FROM n";
    database.execute_batch(&format!("CREATE VIEW Packages AS {endless}")).unwrap();
    drop(database);
    let found = list([Layer::new().file("var/lib/rpm/rpmdb.sqlite", fs::read(&place).unwrap())]);
    assert!(found.problems[0].contains("no plain table"), "{:?}", found.problems);
}
