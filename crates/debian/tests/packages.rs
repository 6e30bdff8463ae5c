//! From .deb files to a tree, on a small repository.

#![allow(clippy::unwrap_used, reason = "clippy does not take helpers for tests")]

mod common;

use common::deb::{Data, Deb, archive, compress};
use common::repository::{Repository, sha256};
use common::{Wish, chain};
use kiln_model::Scripts;
use kiln_store::{Kind, Node, Tree};

fn tree(packages: Vec<Deb>) -> Result<Tree, kiln_debian::Error> {
    let names: Vec<String> = packages.iter().map(|deb| deb.name.clone()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let repository = Repository::new(packages);
    let wish = Wish::new(repository.path(), &repository.url(), &names);
    let tree = wish.tree()?;
    // The bytes must outlive the cache here, which in use they do not need to.
    let mut kept = tree.clone();
    for node in kept.nodes.values_mut() {
        if let Kind::File(content) = &node.kind {
            node.kind = Kind::File(kiln_store::Content::Bytes(content.read().unwrap()));
        }
    }
    Ok(kept)
}

fn node<'a>(tree: &'a Tree, path: &str) -> &'a Node {
    tree.nodes.get(path.as_bytes()).unwrap_or_else(|| {
        let names: Vec<_> = tree.nodes.keys().map(|path| String::from_utf8_lossy(path)).collect();
        panic!("no {path} in {names:?}")
    })
}

fn text(tree: &Tree, path: &str) -> String {
    match &node(tree, path).kind {
        Kind::File(content) => String::from_utf8(content.read().unwrap().to_vec()).unwrap(),
        other => panic!("{path} is {other:?}"),
    }
}

fn link(tree: &Tree, path: &str) -> String {
    match &node(tree, path).kind {
        Kind::Symlink(target) => String::from_utf8(target.clone()).unwrap(),
        other => panic!("{path} is {other:?}"),
    }
}

#[test]
fn names_go_through_the_links_of_merged_usr() {
    let tree = tree(vec![
        Deb::new("one", "1")
            .folder("./bin/")
            .file("./bin/tool", "tool")
            .folder("./lib64/")
            .file("./lib64/x", "x"),
        Deb::new("two", "1").folder("./var/run/").folder("./var/run/two/").file("./usr/bin/other", "other"),
        Deb::new("three", "1")
            .file("./lib/a", "a")
            .raw(b'1', "./lib/b", "./lib/a")
            .symlink("./sbin/c", "../bin/tool"),
    ])
    .unwrap();
    assert_eq!(text(&tree, "usr/bin/tool"), "tool");
    assert_eq!(text(&tree, "usr/lib64/x"), "x");
    for name in ["bin", "sbin", "lib", "lib64"] {
        assert_eq!(link(&tree, name), format!("usr/{name}"));
    }
    assert!(!tree.nodes.contains_key(b"lib32".as_slice()));
    assert!(matches!(&node(&tree, "usr/lib/b").kind, Kind::Hardlink(target) if target == b"usr/lib/a"));
    assert_eq!(link(&tree, "var/run"), "/run");
    assert!(matches!(node(&tree, "run/two").kind, Kind::Folder));
    let below_link = |path: &&Vec<u8>| path.starts_with(b"bin/") || path.starts_with(b"var/run/");
    assert_eq!(tree.nodes.keys().find(below_link), None);
}

#[test]
fn folders_that_another_package_has_as_a_link_are_followed() {
    let tree = tree(vec![
        Deb::new("one", "1").folder("./opt/").folder("./opt/real/").symlink("./opt/link", "real"),
        Deb::new("two", "1").folder("./opt/link/").file("./opt/link/file", "here"),
    ])
    .unwrap();
    assert_eq!(text(&tree, "opt/real/file"), "here");
    assert_eq!(link(&tree, "opt/link"), "real");
}

#[test]
fn the_same_file_in_two_packages_needs_replaces() {
    let file = |name: &str, text: &str| Deb::new(name, "2").file("./usr/bin/tool", text);
    let error = tree(vec![file("one", "1"), file("two", "2")]).unwrap_err().to_string();
    assert_eq!(error, "the packages one and two both hold /usr/bin/tool: leave one of them out");
    for (first, second) in [("one", "two"), ("two", "one")] {
        let tree = tree(vec![
            file(first, first).field("Replaces", &format!("{second} (<< 3)")),
            file(second, second),
        ]);
        assert_eq!(text(&tree.unwrap(), "usr/bin/tool"), first);
    }
    let late = tree(vec![file("one", "1").field("Replaces", "two (<< 2)"), file("two", "2")]);
    assert!(late.is_err());
    let merged =
        tree(vec![Deb::new("one", "1").file("./bin/x", "1"), Deb::new("two", "1").file("./usr/bin/x", "2")]);
    assert!(merged.is_err(), "two names of one file");
    let kinds = tree(vec![Deb::new("one", "1").file("./opt", "1"), Deb::new("two", "1").folder("./opt/")]);
    assert!(kinds.is_err(), "a file and a folder");
}

#[test]
fn every_compression_is_read() {
    for ending in ["xz", "zst", "gz", ""] {
        let tree = tree(vec![Deb::new("one", "1").compression(ending).file("./usr/x", "x")]).unwrap();
        assert_eq!(text(&tree, "usr/x"), "x", "{ending}");
    }
}

/// Each of these must be refused, by the package's name and for its reason.
#[test]
fn hostile_packages_are_refused() {
    let deb = || Deb::new("bad", "1");
    let cases = [
        ("leaves the root", deb().file("../etc/passwd", "x")),
        ("leaves the root", deb().file("./usr/../../x", "x")),
        ("leaves the root", deb().file("/etc/passwd", "x")),
        ("neither file, folder nor link", deb().raw(b'3', "./dev/null", "")),
        ("neither file, folder nor link", deb().raw(b'4', "./dev/sda", "")),
        ("neither file, folder nor link", deb().raw(b'6', "./run/pipe", "")),
        ("symbolic link that leaves the root", deb().symlink("./usr/x", "../../etc")),
        ("symbolic link that leaves the root", deb().symlink("./x", "/../etc")),
        ("link that leaves the root", deb().raw(b'1', "./x", "../etc/shadow")),
        ("the package does not hold", deb().raw(b'1', "./x", "./etc/shadow")),
        ("the package does not hold", deb().folder("./d/").raw(b'1', "./x", "./d")),
        ("occurs twice", deb().file("./x", "1").file("./x", "2")),
        ("occurs twice", deb().folder("./x/").file("./x", "2")),
        ("below something that is no folder", deb().symlink("./x", "/etc").file("./x/passwd", "2")),
        ("below something that is no folder", deb().file("./x", "").file("./x/y", "2")),
        ("would be the root", deb().symlink("./", "/etc")),
    ];
    for (expected, package) in cases {
        let error = chain(&tree(vec![package.clone()]).unwrap_err());
        assert!(error.contains(expected) && error.contains("bad 1"), "{:?}: {error}", package.data);
    }
}

/// Takes the place of `lib` in a repository, with lists that agree.
fn with_bytes(bytes: &[u8]) -> String {
    let repository = Repository::new(vec![Deb::new("lib", "1")]);
    let wish = Wish::new(repository.path(), &repository.url(), &["lib"]);
    let mut lock = wish.lock().unwrap();
    let locked = lock.packages.iter_mut().find(|package| package.name == "lib").unwrap();
    std::fs::write(repository.root().join(&locked.path), bytes).unwrap();
    (locked.size, locked.sha256) = (bytes.len() as u64, sha256(bytes));
    wish.fetch(&lock).unwrap_err().to_string()
}

#[test]
fn broken_packages_are_errors() {
    let version = || ("debian-binary", b"2.0\n".to_vec());
    let mut control = Data::default();
    control.add(b'0', "./control", "", b"Package: lib\n");
    let control = || ("control.tar.gz", compress("gz", &control.finish()));
    let data = || ("data.tar", Data::default().finish());
    let mut cut = Deb::new("lib", "1").file("./x", "some text").build();
    cut.truncate(cut.len() - 40);
    for (expected, bytes) in [
        ("cannot be unpacked", b"nonsense".to_vec()),
        ("does not begin", archive(&[control(), data()])),
        ("unknown format", archive(&[("debian-binary", b"3.0\n".to_vec()), control(), data()])),
        ("no data archive", archive(&[version(), control()])),
        ("unexpected part", archive(&[version(), control(), data(), ("extra", Vec::new())])),
        ("unknown \"lzma\"", archive(&[version(), control(), ("data.tar.lzma", Vec::new())])),
        ("no control file", archive(&[version(), ("control.tar", Data::default().finish()), data()])),
        ("cannot be unpacked", archive(&[version(), control(), ("data.tar.xz", b"nonsense".to_vec())])),
        ("cannot be unpacked", cut),
    ] {
        let error = with_bytes(&bytes);
        assert!(error.contains(expected) && error.contains("package lib 1"), "{expected}: {error}");
    }
}

#[test]
fn bombs_are_refused() {
    let mut control = Data::default();
    control.add(b'0', "./control", "", b"Package: lib\n");
    // Zeros up to the limit and one more, in a stream that is made while it is compressed.
    let mut writer = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    std::io::copy(&mut std::io::Read::take(std::io::repeat(0), (1 << 30) + 1), &mut writer).unwrap();
    let members = [
        ("debian-binary", b"2.0\n".to_vec()),
        ("control.tar", control.finish()),
        ("data.tar.zst", writer.finish().unwrap()),
    ];
    let error = with_bytes(&archive(&members));
    assert!(error.contains("unpacks to more than"), "{error}");
}

#[test]
fn users_alternatives_and_the_database_are_made() {
    let tool = Deb::new("tool", "1")
        .file("./usr/bin/tool.one", "1")
        .file("./usr/share/man/man1/tool.one.1.gz", "1")
        .file("./usr/lib/sysusers.d/tool.conf", "u tool - \"Tool\" /var/lib/tool\n")
        .script(
            "postinst",
            "#!/bin/sh\nadduser --system --group --home /var/lib/helper helper\nupdate-alternatives --install \
             /usr/bin/tool tool /usr/bin/tool.one 10 \\\n  --slave /usr/share/man/man1/tool.1.gz tool.1.gz \
             /usr/share/man/man1/tool.one.1.gz\n",
        )
        .script("md5sums", "c4ca4238a0b923820dcc509a6f75849b  usr/bin/tool.one\n");
    let better = Deb::new("better", "1")
        .file("./usr/bin/tool.two", "2")
        .script("postinst", "update-alternatives --install /usr/bin/tool tool /usr/bin/tool.two 20\n");
    let tree = tree(vec![tool, better]).unwrap();
    assert_eq!(link(&tree, "usr/bin/tool"), "/etc/alternatives/tool");
    assert_eq!(link(&tree, "etc/alternatives/tool"), "/usr/bin/tool.two");
    assert!(
        !tree.nodes.contains_key(b"etc/alternatives/tool.1.gz".as_slice()),
        "the slave belongs to the other"
    );
    let passwd = text(&tree, "etc/passwd");
    assert!(passwd.contains("tool:x:100:100:Tool:/var/lib/tool:/usr/sbin/nologin\n"), "{passwd}");
    assert!(passwd.contains("helper:x:101:101::/var/lib/helper:/usr/sbin/nologin\n"), "{passwd}");
    assert_eq!(node(&tree, "var/lib/helper").uid, 101);
    assert_eq!((node(&tree, "etc/shadow").mode, node(&tree, "etc/shadow").gid), (0o640, 42));
    assert!(text(&tree, "var/lib/dpkg/status.d/tool").starts_with("Package: tool\nVersion: 1\n"));
    assert!(text(&tree, "var/lib/dpkg/status.d/tool.md5sums").ends_with("usr/bin/tool.one\n"));
    assert_eq!((node(&tree, "tmp").mode, node(&tree, "root").mode), (0o1777, 0o700));
    assert!(text(&tree, "etc/nsswitch.conf").contains("hosts:          files dns"));
}

#[test]
fn scripts_find_a_database_of_unpacked_packages() {
    let tool = Deb::new("tool", "1")
        .field("Multi-Arch", "same")
        .file("./etc/tool.conf", "setting\n")
        .script("conffiles", "/etc/tool.conf\n")
        .script("postinst", "#!/bin/sh\n")
        .script("triggers", "interest-noawait /usr/share/tool\ninterest tool-now\nactivate other\n");
    let repository = Repository::new(vec![tool]);
    let mut wish = Wish::new(repository.path(), &repository.url(), &["tool"]);
    wish.base.scripts = Scripts::Run;
    let tree = wish.tree().unwrap();
    let status = text(&tree, "var/lib/dpkg/status");
    assert!(status.contains("Package: tool\nStatus: install ok unpacked\nVersion: 1\n"), "{status}");
    assert!(status.contains("Conffiles:\n /etc/tool.conf 2c1d4f59f062ce424618f4d25961fb76\n"), "{status}");
    assert_eq!(text(&tree, "var/lib/dpkg/info/tool:amd64.list"), "/.\n/etc/tool.conf\n");
    assert_eq!(node(&tree, "var/lib/dpkg/info/tool:amd64.postinst").mode, 0o755);
    assert_eq!(text(&tree, "var/lib/dpkg/triggers/File"), "/usr/share/tool tool:amd64/noawait\n");
    assert_eq!(text(&tree, "var/lib/dpkg/triggers/tool-now"), "tool:amd64\n");
    assert!(!tree.nodes.contains_key(b"etc/passwd".as_slice()), "base-passwd's own script does that");
}

#[test]
fn the_same_lock_gives_the_same_tree() {
    let packages =
        || vec![Deb::new("one", "1").file("./usr/bin/one", "1"), Deb::new("two", "1").folder("./srv/")];
    let show = |tree: Tree| format!("{:?}", tree.nodes);
    assert_eq!(show(tree(packages()).unwrap()), show(tree(packages()).unwrap()));
}
