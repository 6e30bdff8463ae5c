//! From a wish to a lock, on a small repository.

#![allow(clippy::unwrap_used, reason = "clippy does not take helpers for tests")]

mod common;

use common::deb::Deb;
use common::repository::Repository;
use common::server::Server;
use common::{Wish, chain};
use kiln_debian::{Error, Lock, Mirrors, epoch};
use kiln_model::Scripts;

fn packages() -> Vec<Deb> {
    vec![
        Deb::new("app", "1.0").field("Depends", "lib (>= 2), shell | other-shell, mail-agent"),
        Deb::new("lib", "2.0").field("Multi-Arch", "same"),
        Deb::new("lib", "1.0"),
        Deb::new("lib", "3.0").field("Breaks", "old-thing"),
        Deb::new("shell", "1").field("Essential", "yes").field("Priority", "required"),
        Deb::new("other-shell", "1"),
        Deb::new("exim", "4")
            .field("Priority", "optional")
            .field("Provides", "mail-agent")
            .field("Conflicts", "mail-agent"),
        Deb::new("aaa-postfix", "3").field("Provides", "mail-agent").field("Priority", "extra"),
        Deb::new("old-thing", "1").field("Depends", "lib (<< 2)"),
        Deb::new("plugin", "1")
            .field("Depends", "api (= 5), python:any")
            .field("Recommends", "old-thing, lib, ghost"),
        Deb::new("host", "9").field("Provides", "api (= 5)").field("Multi-Arch", "allowed"),
        Deb::new("python", "3").field("Multi-Arch", "allowed"),
        Deb::new("strict", "1").field("Depends", "lib:any"),
    ]
}

fn repository() -> Repository {
    Repository::new(packages())
}

#[test]
fn takes_the_newest_the_first_alternative_and_one_provider() {
    let repository = repository();
    let wish = Wish::new(repository.path(), &repository.url(), &["app"]);
    assert_eq!(wish.locked(), ["app 1.0", "base-files 13", "base-passwd 4", "exim 4", "lib 3.0", "shell 1"]);
}

#[test]
fn versioned_provides_and_any_are_understood() {
    let repository = repository();
    let wish = Wish::new(repository.path(), &repository.url(), &["plugin"]);
    assert_eq!(wish.locked(), ["base-files 13", "base-passwd 4", "host 9", "plugin 1", "python 3"]);
    let strict = Wish::new(repository.path(), &repository.url(), &["strict"]);
    let text = strict.lock().unwrap_err().to_string();
    assert!(text.contains("cannot be installed together") && text.contains("strict"), "{text}");
}

#[test]
fn recommends_are_taken_where_they_can_be() {
    let repository = repository();
    let mut wish = Wish::new(repository.path(), &repository.url(), &["plugin", "lib=3.0"]);
    wish.base.recommends = true;
    // old-thing is broken by lib 3.0, and ghost does not exist.
    let expected = ["base-files 13", "base-passwd 4", "host 9", "lib 3.0", "plugin 1", "python 3"];
    assert_eq!(wish.locked(), expected);
}

#[test]
fn essential_packages_come_when_asked_for_and_when_scripts_run() {
    let repository = repository();
    let mut wish = Wish::new(repository.path(), &repository.url(), &["lib"]);
    assert!(!wish.locked().contains(&"shell 1".to_owned()));
    wish.base.scripts = Scripts::Run;
    assert!(wish.locked().contains(&"shell 1".to_owned()));
}

#[test]
fn pins_hold_and_impossible_ones_are_explained() {
    let repository = repository();
    let wish = |packages: &[&str]| Wish::new(repository.path(), &repository.url(), packages);
    assert!(wish(&["app", "lib=2.0"]).locked().contains(&"lib 2.0".to_owned()));
    let text = wish(&["app", "lib=1.0"]).lock().unwrap_err().to_string();
    assert!(text.contains("app 1.0") && text.contains(">= 2"), "{text}");
    let text = wish(&["lib=7"]).lock().unwrap_err().to_string();
    assert_eq!(text, "there is no version 7 of lib; the suites have 3.0, 2.0, 1.0");
}

#[test]
fn wrong_names_are_refused_with_a_hint() {
    let repository = repository();
    let refused = |package: &str| {
        let wish = Wish::new(repository.path(), &repository.url(), &[package]);
        wish.lock().unwrap_err().to_string()
    };
    let text = refused("sehll");
    assert_eq!(text, "there is no package \"sehll\" in the suites of this base; did you mean shell?");
    assert!(refused("mail-agent").contains("exim, aaa-postfix"), "{}", refused("mail-agent"));
    for text in ["", "Up", "a b", "../etc", "lib/stable"] {
        assert!(refused(text).contains("is no package"), "{text}");
    }
}

#[test]
fn the_same_indices_give_the_same_lock_and_a_small_one() {
    let repository = repository();
    let wish = Wish::new(repository.path(), &repository.url(), &["app", "plugin", "app"]);
    let one = wish.lock().unwrap();
    let other = Wish::new(repository.path(), &repository.url(), &["plugin", "app"]).lock().unwrap();
    assert_eq!(serde_json::to_string(&one).unwrap(), serde_json::to_string(&other).unwrap());
    let read: Lock = serde_json::from_str(&serde_json::to_string(&one).unwrap()).unwrap();
    assert_eq!(read, one);
    assert_eq!(epoch(&one), 1_787_997_600);
    let text = serde_json::to_string(&one).unwrap();
    assert!(!text.contains(&repository.url()), "a lock names no host");
}

#[test]
fn an_unchanged_suite_costs_one_conditional_request() {
    let repository = repository();
    let server = Server::new(repository.path());
    let wish = Wish::new(repository.path(), &format!("{}/debian", server.url), &["app"]);
    let first = wish.lock().unwrap();
    assert_eq!(wish.lock().unwrap(), first);
    let requests = server.requests("");
    assert_eq!(requests.len(), 3, "{requests:?}");
    assert!(requests[1].contains("by-hash/SHA256/") && requests[2].contains("InRelease if-none-match"));
}

#[test]
fn package_lists_are_read_in_every_compression() {
    for list in [".xz", ".gz", ""] {
        let mut repository = repository();
        repository.list = list;
        std::fs::remove_dir_all(repository.suite()).unwrap();
        repository.write();
        let wish = Wish::new(repository.path(), &repository.url(), &["app"]);
        assert!(wish.locked().contains(&"app 1.0".to_owned()), "{list}");
    }
}

#[test]
fn offline_uses_the_cache_and_says_what_is_missing() {
    let repository = repository();
    let mut wish = Wish::new(repository.path(), &repository.url(), &["lib"]);
    let lock = wish.lock().unwrap();
    wish.offline = true;
    assert_eq!(wish.lock().unwrap(), lock);
    let text = wish.fetch(&lock).unwrap_err().to_string();
    assert!(text.contains("base-files, base-passwd, lib are not in the cache"), "{text}");
    wish.offline = false;
    wish.fetch(&lock).unwrap();
    wish.offline = true;
    wish.fetch(&lock).unwrap();
    let mut new = Wish::new(repository.path(), &repository.url(), &["lib"]);
    new.offline = true;
    assert!(new.lock().unwrap_err().to_string().contains("offline"));
}

#[test]
fn a_lock_of_another_wish_is_refused() {
    let repository = repository();
    let wish = Wish::new(repository.path(), &repository.url(), &["lib"]);
    let lock = wish.lock().unwrap();
    type Change = fn(&mut Wish);
    let changes: [(&str, Change); 6] = [
        ("packages lib, the spec app, lib", |wish| wish.packages.push("app".to_owned())),
        ("suites testing-suite, the spec kiln", |wish| wish.base.suite = "kiln".to_owned()),
        ("architecture amd64, the spec arm64", |wish| wish.base.architecture = Some("arm64".to_owned())),
        ("components main, the spec contrib, main", |wish| {
            wish.base.components = vec!["main".to_owned(), "contrib".to_owned()];
        }),
        ("essential false, the spec true", |wish| wish.base.essential = true),
        ("recommends false, the spec true", |wish| wish.base.recommends = true),
    ];
    for (expected, change) in changes {
        let mut other = Wish::new(repository.path(), &repository.url(), &["lib"]);
        change(&mut other);
        let error = other.fetch(&lock).unwrap_err();
        assert!(matches!(error, Error::Mismatch(_)));
        assert!(
            chain(&error).contains(expected) && chain(&error).contains("kiln lock --update"),
            "{}",
            chain(&error)
        );
    }
}

#[test]
fn a_lock_cannot_name_files_elsewhere() {
    let repository = repository();
    let wish = Wish::new(repository.path(), &repository.url(), &["lib"]);
    let lock = wish.lock().unwrap();
    for (field, value) in
        [("path", "../../etc/passwd"), ("path", "/etc/passwd"), ("sha256", "../../x"), ("name", "../x")]
    {
        let mut json = serde_json::to_value(&lock).unwrap();
        json["packages"][0][field] = value.into();
        let hostile: Lock = serde_json::from_value(json).unwrap();
        assert!(matches!(wish.fetch(&hostile), Err(Error::Mismatch(_))), "{field}");
    }
}

#[test]
fn missing_updates_are_named_with_the_way_out() {
    let repository = repository();
    let mut wish = Wish::new(repository.path(), &repository.url(), &["lib"]);
    wish.base.updates = true;
    let text = wish.lock().unwrap_err().to_string();
    assert!(text.contains("testing-suite-updates") && text.contains("`updates = false`"), "{text}");
}

#[test]
fn missing_components_and_architectures_are_named() {
    let repository = repository();
    let mut wish = Wish::new(repository.path(), &repository.url(), &["lib"]);
    wish.base.components.push("non-free".to_owned());
    let text = wish.lock().unwrap_err().to_string();
    assert!(text.contains("no packages of non-free for amd64"), "{text}");
    wish.base.architecture = Some("AMD 64".to_owned());
    assert!(wish.lock().unwrap_err().to_string().contains("no Debian architecture"));
}

#[test]
fn without_any_mirror_it_says_how_to_name_one() {
    let repository = repository();
    let mut wish = Wish::new(repository.path(), &repository.url(), &["lib"]);
    wish.mirrors = Mirrors::default();
    let text = wish.lock().unwrap_err().to_string();
    assert!(text.contains("KILN_DEBIAN_MIRROR"), "{text}");
}
