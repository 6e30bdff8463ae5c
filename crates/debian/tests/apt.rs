//! The solver against apt's own, on the real archive.

#![allow(clippy::unwrap_used, reason = "clippy does not take helpers for tests")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use common::{Wish, peers};
use kiln_debian::Mirrors;

/// Wishes of very different kinds.
const WISHES: [&[&str]; 14] = [
    &["ca-certificates"],
    &["python3-minimal"],
    &["python3"],
    &["nginx-light"],
    &["curl"],
    &["git"],
    &["postgresql-client"],
    &["redis-server"],
    &["openjdk-17-jre-headless"],
    &["nodejs"],
    &["ruby"],
    &["gcc"],
    &["openssh-server"],
    &["php-cli", "php-mysql"],
];

/// The mirror that serves this test, as apt is to be told.
fn root() -> Option<String> {
    let mirrors = Mirrors::discover(|name| std::env::var(name).ok(), Path::new("/etc")).unwrap();
    let text = format!("{mirrors:?}");
    let url = text.split('"').find(|part| part.contains("://") && part.ends_with("/debian"))?;
    Some(url.to_owned())
}

/// An apt that knows nothing but the suite, and has nothing installed.
fn private_apt(folder: &Path, root: &str) -> Vec<String> {
    for part in
        ["state/lists/partial", "cache/archives/partial", "etc/apt.conf.d", "etc/preferences.d", "dpkg"]
    {
        fs::create_dir_all(folder.join(part)).unwrap();
    }
    fs::write(folder.join("dpkg/status"), "").unwrap();
    let key = concat!(env!("CARGO_MANIFEST_DIR"), "/keys/debian-archive-keyring.gpg");
    let sources = format!("deb [signed-by={key}] {root} bookworm main\n");
    fs::write(folder.join("etc/sources.list"), sources).unwrap();
    let at = |part: &str| folder.join(part).display().to_string();
    let settings = [
        format!("Dir::State={}", at("state")),
        format!("Dir::State::status={}", at("dpkg/status")),
        format!("Dir::Cache={}", at("cache")),
        format!("Dir::Etc={}", at("etc")),
        "APT::Architecture=amd64".to_owned(),
        "APT::Architectures=amd64".to_owned(),
        "APT::Install-Recommends=false".to_owned(),
        "APT::Sandbox::User=root".to_owned(),
        "Acquire::Languages=none".to_owned(),
        "Acquire::Check-Valid-Until=false".to_owned(),
    ];
    settings.into_iter().flat_map(|setting| ["-o".to_owned(), setting]).collect()
}

#[test]
fn decides_as_apt_does() {
    let Some(root) = root().filter(|_| peers::program("apt-get")) else {
        peers::have("a Debian mirror of this machine", false);
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let settings = private_apt(folder.path(), &root);
    let apt = |arguments: &[&str]| {
        let output =
            Command::new("apt-get").args(&settings).args(arguments).env("APT_CONFIG", "/dev/null").output();
        let output = output.unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let (updated, said) = apt(&["update"]);
    assert!(updated, "apt-get update: {said}");
    let mut wish = Wish::new(folder.path(), &root, &[]);
    wish.base.suite = "bookworm".to_owned();
    wish.base.keyring = None;
    wish.mirrors = Mirrors::only(&root).unwrap();
    wish.now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let mut different = Vec::new();
    for packages in WISHES {
        wish.packages = packages.iter().map(ToString::to_string).collect();
        let ours: BTreeSet<String> = wish.locked().into_iter().collect();
        let mut arguments = [&["-s", "install", "base-files", "base-passwd"], packages].concat();
        // Where apt would take `usrmerge`, Kiln takes what its trees fulfil from the start.
        if ours.iter().any(|package| package.starts_with("usr-is-merged ")) {
            arguments.push("usr-is-merged");
        }
        let (solved, said) = apt(&arguments);
        assert!(solved, "{packages:?}: {said}");
        let theirs: BTreeSet<String> = said.lines().filter_map(installed).collect();
        if ours != theirs {
            let more: Vec<_> = ours.difference(&theirs).collect();
            let less: Vec<_> = theirs.difference(&ours).collect();
            different.push(format!("{packages:?}: only ours {more:?}, only apt's {less:?}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

/// `Inst NAME (VERSION SOURCE [ARCH])`.
fn installed(line: &str) -> Option<String> {
    let mut words = line.strip_prefix("Inst ")?.split(' ');
    let name = words.next()?;
    let version = words.next()?.strip_prefix('(')?;
    Some(format!("{name} {version}"))
}
