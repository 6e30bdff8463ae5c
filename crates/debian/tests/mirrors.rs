//! Mirrors that do not do what they should.

#![allow(clippy::unwrap_used, reason = "clippy does not take helpers for tests")]

mod common;

use std::time::Duration;

use common::Wish;
use common::deb::Deb;
use common::repository::Repository;
use common::server::{Fault, Server};
use kiln_debian::{Error, Mirrors, Timeouts};

const TEXT: &str = "some text that is long enough to be cut in two halves";

fn repository() -> Repository {
    Repository::new(vec![Deb::new("lib", "1").file("./usr/lib/x", TEXT)])
}

fn wish(repository: &Repository, servers: &[&Server]) -> Wish {
    let urls: Vec<String> = servers.iter().map(|server| format!("{}/debian", server.url)).collect();
    Wish::new(repository.path(), &urls.join(" "), &["lib"])
}

fn text(wish: &Wish) -> String {
    let tree = wish.tree().unwrap();
    let node = &tree.nodes[b"usr/lib/x".as_slice()];
    let kiln_store::Kind::File(content) = &node.kind else { panic!("no file") };
    String::from_utf8(content.read().unwrap().to_vec()).unwrap()
}

#[test]
fn what_passes_is_tried_again() {
    let repository = repository();
    let server = Server::new(repository.path());
    for part in ["InRelease", "by-hash", "lib_1_amd64.deb"] {
        server.once(part, Fault::Status(503));
        server.once(part, Fault::Short);
    }
    let wish = wish(&repository, &[&server]);
    assert_eq!(text(&wish), TEXT);
    assert_eq!(server.requests("InRelease").len(), 3);
}

#[test]
fn a_download_that_broke_off_is_continued() {
    let repository = repository();
    let server = Server::new(repository.path());
    server.once("lib_1", Fault::Short);
    let wish = wish(&repository, &[&server]);
    assert_eq!(text(&wish), TEXT);
    let requests = server.requests("lib_1");
    assert!(requests.len() == 2 && requests[1].contains("range=bytes="), "{requests:?}");
}

#[test]
fn a_server_that_ignores_ranges_sends_all_again() {
    let repository = repository();
    let server = Server::new(repository.path());
    server.once("lib_1", Fault::Short);
    server.once("lib_1", Fault::NoRange);
    assert_eq!(text(&wish(&repository, &[&server])), TEXT);
}

#[test]
fn a_partial_file_of_other_bytes_is_thrown_away() {
    let repository = repository();
    let server = Server::new(repository.path());
    let wish = wish(&repository, &[&server]);
    let lock = wish.lock().unwrap();
    let locked = lock.packages.iter().find(|package| package.name == "lib").unwrap();
    let partial = wish.cache.path().join("partial").join(format!("{}.deb", locked.sha256));
    for length in [10, locked.size, locked.size + 10] {
        std::fs::create_dir_all(partial.parent().unwrap()).unwrap();
        std::fs::write(&partial, vec![b'x'; usize::try_from(length).unwrap()]).unwrap();
        std::fs::remove_dir_all(wish.cache.path().join("packages")).ok();
        assert_eq!(text(&wish), TEXT, "{length}");
        assert!(!partial.exists());
    }
}

/// What every fault that lasts leads to: an error with the mirror, the package and what happened.
#[test]
fn faults_that_last_are_told() {
    let repository = repository();
    for (fault, expected) in [
        (Fault::Status(404), "it answered 404"),
        (Fault::Status(500), "it answered 500"),
        (Fault::Wrong, "it sent other bytes"),
        (Fault::Long, "it sent more than"),
        (Fault::Page, "it sent 26 bytes, not"),
        (Fault::Hang, "it was silent"),
    ] {
        let server = Server::new(repository.path());
        server.always("lib_1", fault);
        let mut wish = wish(&repository, &[&server]);
        let lock = wish.lock().unwrap();
        if fault == Fault::Hang {
            // Long for a server that answers, and waited for once.
            let silence = Timeouts { read: Duration::from_secs(3), attempts: 1, ..common::quick() };
            wish.mirrors = Mirrors::only(&format!("{}/debian", server.url)).unwrap().with_timeouts(silence);
        }
        let text = wish.fetch(&lock).unwrap_err().to_string();
        assert!(text.contains(expected), "{fault:?}: {text}");
        assert!(text.contains("package lib 1") && text.contains(&server.url), "{text}");
        let hint = if fault == Fault::Status(404) { "kiln lock --update" } else { "check the network" };
        assert!(text.contains(hint), "{text}");
    }
}

#[test]
fn a_mirror_that_is_not_there_is_told() {
    let repository = repository();
    // A port that the system gives to nobody, unlike one that was just given back.
    let url = "http://127.0.0.1:1/debian";
    let wish = Wish::new(repository.path(), url, &["lib"]);
    let text = wish.lock().unwrap_err().to_string();
    assert!(text.contains("no connection") && text.contains(url), "{text}");
    let folder = Wish::new(repository.path(), "/nonexistent/debian", &["lib"]);
    let text = folder.lock().unwrap_err().to_string();
    assert!(text.contains("no such file") && text.contains("is the suite's name right?"), "{text}");
}

#[test]
fn the_next_mirror_is_asked() {
    let repository = repository();
    let (bad, good) = (Server::new(repository.path()), Server::new(repository.path()));
    for part in ["InRelease", "lib_1"] {
        bad.always(part, Fault::Wrong);
    }
    assert_eq!(text(&wish(&repository, &[&bad, &good])), TEXT);
    assert!(!good.requests("lib_1").is_empty());
}

#[test]
fn the_snapshot_service_has_what_mirrors_dropped() {
    let repository = repository();
    let mirror = Server::new(repository.path());
    let mut wish = wish(&repository, &[&mirror]);
    let lock = wish.lock().unwrap();
    mirror.always("/pool/", Fault::Status(404));

    // The archive as it was a day after the suite's date.
    let archive = tempfile::tempdir().unwrap();
    let then = archive.path().join("archive/debian/20260830T100000Z");
    std::fs::create_dir_all(then.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(repository.root(), &then).unwrap();
    let snapshot = Server::new(archive.path());
    let without = wish.fetch(&lock).unwrap_err();
    assert!(matches!(without, Error::Download { .. }));
    wish.mirrors = wish.mirrors.clone().with_snapshot(Some(format!("{}/archive", snapshot.url)));
    wish.fetch(&lock).unwrap();
    assert_eq!(snapshot.requests("lib_1").len(), 1);
}

#[test]
fn wrong_package_lists_are_told() {
    let repository = repository();
    let server = Server::new(repository.path());
    server.always("Packages", Fault::Wrong);
    server.always("by-hash", Fault::Wrong);
    let wish = wish(&repository, &[&server]);
    let text = wish.lock().unwrap_err().to_string();
    assert!(text.contains("package list of testing-suite/main") && text.contains("other bytes"), "{text}");
}

#[test]
fn the_cache_heals() {
    let repository = repository();
    let server = Server::new(repository.path());
    let wish = wish(&repository, &[&server]);
    assert_eq!(text(&wish), TEXT);
    for folder in ["packages", "indices", "releases"] {
        for entry in std::fs::read_dir(wish.cache.path().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let mut bytes = std::fs::read(&path).unwrap();
            // As after a power failure: the length is right, the bytes are not; and cut short.
            let half = bytes.len() / 2;
            if path.extension().is_some_and(|ending| ending == "tar") {
                bytes[half..].fill(0);
            } else {
                bytes.truncate(half);
            }
            std::fs::write(&path, bytes).unwrap();
        }
    }
    assert_eq!(text(&wish), TEXT);
}

#[test]
fn two_runs_at_once_do_not_disturb_each_other() {
    let repository = repository();
    let server = Server::new(repository.path());
    let wish = wish(&repository, &[&server]);
    let lock = wish.lock().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| wish.fetch(&lock).unwrap());
        }
    });
    assert_eq!(text(&wish), TEXT);
}

#[test]
fn mirrors_are_needed_only_for_what_is_missing() {
    let repository = repository();
    let server = Server::new(repository.path());
    let mut wish = wish(&repository, &[&server]);
    let lock = wish.lock().unwrap();
    wish.fetch(&lock).unwrap();
    wish.mirrors = Mirrors::default();
    wish.fetch(&lock).unwrap();
}

#[test]
fn what_killed_runs_left_behind_is_removed() {
    let repository = repository();
    let server = Server::new(repository.path());
    let wish = wish(&repository, &[&server]);
    let folder = wish.cache.path().join("packages");
    std::fs::create_dir_all(&folder).unwrap();
    let day = std::time::Duration::from_secs(86_400);
    let now = std::time::UNIX_EPOCH + std::time::Duration::from_secs(u64::try_from(common::NOW).unwrap());
    for (name, modified) in [("old.tmp", now - 2 * day), ("young.tmp", now), ("old.tar", now - 2 * day)] {
        std::fs::File::create(folder.join(name)).unwrap().set_modified(modified).unwrap();
    }
    wish.lock().unwrap();
    let exists = ["old.tmp", "young.tmp", "old.tar"].map(|name| folder.join(name).exists());
    assert_eq!(exists, [false, true, true]);
}
