//! Packages of the real archive: what Kiln makes of them against what Debian's own programs make of them.

#![allow(clippy::unwrap_used, reason = "clippy does not take helpers for tests")]

mod common;

use std::process::Command;

use common::{peers, real};
use kiln_debian::configure_command;
use kiln_model::Scripts;

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn python_and_certificates_work_without_scripts() {
    if !peers::root() {
        return;
    }
    let wish = real::wish(&["ca-certificates", "python3-minimal"], Scripts::None);
    let tree = wish.tree().unwrap();
    let disk = real::Disk::new(&tree);
    let user = disk.said(&["/usr/bin/python3", "-c", "import pwd; print(pwd.getpwuid(33).pw_name)"]);
    assert_eq!(user, "www-data\n");
    assert_eq!(disk.said(&["/usr/bin/awk", "BEGIN { print 6 * 7 }"]), "42\n");
    let verify = ["/usr/bin/openssl", "verify", "-CApath", "/etc/ssl/certs"];
    let certificate = "/usr/share/ca-certificates/mozilla/ISRG_Root_X1.crt";
    assert!(disk.said(&[&verify[..], &[certificate]].concat()).ends_with(": OK\n"));
    let release = disk.said(&["/usr/bin/python3", "-c", "print(open('/etc/os-release').read())"]);
    assert!(release.contains("VERSION_CODENAME=bookworm"), "{release}");
}

/// Every link by hash is the one that OpenSSL itself computes, and none is missing.
#[test]
fn certificates_are_found_by_the_hashes_of_openssl() {
    if !peers::root()
        || !peers::have("the program openssl", Command::new("openssl").arg("version").output().is_ok())
    {
        return;
    }
    let tree = real::wish(&["ca-certificates"], Scripts::None).tree().unwrap();
    let disk = real::Disk::new(&tree);
    let mut count = 0;
    for entry in std::fs::read_dir(disk.path("usr/share/ca-certificates/mozilla")).unwrap() {
        let path = entry.unwrap().path();
        let hash =
            output(Command::new("openssl").args(["x509", "-noout", "-subject_hash", "-in"]).arg(&path));
        let pem = path.with_extension("pem");
        let name = pem.file_name().unwrap();
        let links = (0..9).filter_map(|number| {
            std::fs::read_link(disk.path(&format!("etc/ssl/certs/{}.{number}", hash.trim()))).ok()
        });
        assert!(links.into_iter().any(|target| target.as_os_str() == name), "{}", path.display());
        count += 1;
    }
    assert!(count > 100, "only {count} certificates");
    let links = std::fs::read_dir(disk.path("etc/ssl/certs")).unwrap();
    // A link by name and one by hash for each, and the bundle.
    assert_eq!(links.count(), 2 * count + 1);
}

#[test]
fn the_loaders_cache_is_what_ldconfig_writes() {
    if !peers::root() || !peers::program("ldconfig") {
        return;
    }
    let tree = real::wish(&["python3-minimal", "libreadline8"], Scripts::None).tree().unwrap();
    let disk = real::Disk::new(&tree);
    let print = || {
        let text = output(Command::new("ldconfig").arg("-r").arg(disk.path("")).arg("-p"));
        text.lines()
            .filter(|line| !line.starts_with("Cache generated"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let ours = print();
    output(Command::new("ldconfig").arg("-r").arg(disk.path("")));
    assert_eq!(ours, print());
    assert!(ours.len() > 30, "{ours:?}");
}

#[test]
fn scripts_configure_every_package() {
    if !peers::root() || !peers::program("unshare") {
        return;
    }
    let wish = real::wish(&["ca-certificates", "python3-minimal", "nginx-light"], Scripts::Run);
    let lock = wish.lock().unwrap();
    let tree = kiln_debian::tree(&wish.fetch(&lock).unwrap(), Scripts::Run).unwrap();
    let disk = real::Disk::new(&tree);
    for command in configure_command(&lock) {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        disk.said(&words);
    }
    let states = disk.said(&["/usr/bin/dpkg-query", "-W", "-f", "${db:Status-Abbrev}\n"]);
    assert_eq!(states.lines().filter(|state| *state == "ii ").count(), lock.packages.len(), "{states}");
    assert_eq!(disk.said(&["/usr/bin/dpkg", "--audit"]), "");
    assert_eq!(disk.said(&["/usr/bin/dpkg", "--verify"]), "");
    disk.said(&["/usr/sbin/nginx", "-t", "-q"]);
    disk.said(&["/usr/bin/python3", "-c", "import os, zipimport"]);
    assert!(disk.path("etc/ssl/certs/ca-certificates.crt").metadata().unwrap().len() > 100_000);
    assert!(!disk.path("usr/sbin/policy-rc.d").exists());
}

/// Both kinds of database are read by the scanners that people use.
#[test]
fn scanners_find_every_package() {
    if !(peers::root() && peers::program("syft") && peers::program("trivy")) {
        return;
    }
    for scripts in [Scripts::None, Scripts::Run] {
        let wish = real::wish(&["ca-certificates", "python3-minimal"], scripts);
        let lock = wish.lock().unwrap();
        let tree = kiln_debian::tree(&wish.fetch(&lock).unwrap(), scripts).unwrap();
        let disk = real::Disk::new(&tree);
        let mut expected: Vec<String> =
            lock.packages.iter().map(|package| format!("{} {}", package.name, package.version)).collect();
        expected.sort();
        assert_eq!(syft(&disk), expected);
        assert_eq!(trivy(&disk), expected);
    }
}

fn packages(
    document: &serde_json::Value,
    list: &str,
    is: impl Fn(&serde_json::Value) -> bool,
) -> Vec<String> {
    let entries = document[list].as_array().unwrap().iter().filter(|entry| is(entry));
    let text = |entry: &serde_json::Value, field: &str| entry[field].as_str().unwrap().to_owned();
    let mut packages: Vec<String> =
        entries.map(|entry| format!("{} {}", text(entry, "name"), text(entry, "version"))).collect();
    packages.sort();
    packages
}

fn syft(disk: &real::Disk) -> Vec<String> {
    let mut command = Command::new("syft");
    command.env("SYFT_CHECK_FOR_APP_UPDATE", "false").arg("scan");
    command.arg(format!("dir:{}", disk.path("").display())).args(["-q", "-o", "json"]);
    let document: serde_json::Value = serde_json::from_str(&output(&mut command)).unwrap();
    packages(&document, "artifacts", |entry| entry["type"] == "deb")
}

fn trivy(disk: &real::Disk) -> Vec<String> {
    let cache = tempfile::tempdir().unwrap();
    let mut command = Command::new("trivy");
    command.args(["rootfs", "--quiet", "--format", "cyclonedx", "--offline-scan", "--skip-db-update"]);
    command.arg("--cache-dir").arg(cache.path()).arg(disk.path(""));
    let document: serde_json::Value = serde_json::from_str(&output(&mut command)).unwrap();
    let deb =
        |entry: &serde_json::Value| entry["purl"].as_str().is_some_and(|url| url.starts_with("pkg:deb/"));
    packages(&document, "components", deb)
}
