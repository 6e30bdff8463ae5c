//! One hand-computed case for each ecosystem: which names, which versions, which fix.

use kiln_scan::advisories::Unjudged;
use kiln_scan::{Ecosystem, Severity};
use serde_json::{Value, json};

use super::kit::{findings, from_source, judge, package, run};
use kiln_scan::advisories::Source;

/// An advisory about one package, fixed in one version.
fn fixed(ecosystem: &str, name: &str, kind: &str, version: &str) -> Value {
    json!({"id": format!("T-{ecosystem}-{name}"), "modified": "2024-01-01T00:00:00Z", "affected": [{
        "package": {"ecosystem": ecosystem, "name": name},
        "ranges": [{"type": kind, "events": [{"introduced": "0"}, {"fixed": version}]}]}]})
}

/// Whether an advisory finds a package at a version, and what it says is the fix.
fn fix(document: &Value, package: kiln_scan::Package) -> Option<String> {
    let found = judge(std::slice::from_ref(document), &[package]).vulnerabilities;
    assert!(found.len() <= 1);
    found.first().map(|one| one.fixed.clone().unwrap_or_else(|| "none".to_owned()))
}

#[test]
fn languages() {
    // (OSV's ecosystem, ours, name in the advisory, name in the image, fixed, affected, free)
    let cases = [
        ("crates.io", Ecosystem::Cargo, "time", "time", "0.2.23", "0.2.22", "0.2.23"),
        ("npm", Ecosystem::Npm, "@angular/core", "@angular/core", "11.0.5", "11.0.5-rc.1", "11.0.5"),
        (
            "Go",
            Ecosystem::Go,
            "golang.org/x/net",
            "golang.org/x/net",
            "0.0.0-20220906165146-f3363e06e74c",
            "v0.0.0-20220127200216-cd36cc0744dd",
            "v0.0.0-20220906165146-f3363e06e74c",
        ),
        ("Go", Ecosystem::Go, "stdlib", "stdlib", "1.22.3", "go1.22rc1", "go1.22.3"),
        ("PyPI", Ecosystem::PyPi, "ruamel-yaml", "Ruamel._.Yaml", "1.0", "1.0rc1", "1.0.0"),
        ("Maven", Ecosystem::Maven, "a.b:c", "a.b:c", "2.0.0", "2.0.0.RC1", "2.0.0.RELEASE"),
        ("Maven:https://repo.example", Ecosystem::Maven, "a:b", "a:b", "2.0", "1.10", "2.0.0"),
        ("RubyGems", Ecosystem::Gem, "rails", "rails", "7.0.0", "7.0.0.rc1", "7.0"),
        (
            "NuGet",
            Ecosystem::NuGet,
            "Newtonsoft.Json",
            "newtonsoft.json",
            "13.0.1",
            "13.0.1-BETA",
            "13.0.1.0",
        ),
        (
            "Packagist",
            Ecosystem::Composer,
            "Symfony/http-kernel",
            "symfony/Http-Kernel",
            "5.4.20",
            "v5.4.20-RC1",
            "5.4.20.0",
        ),
    ];
    for (theirs, ours, advised, name, version, affected, free) in cases {
        let kind = if ["crates.io", "npm", "Go"].contains(&theirs) { "SEMVER" } else { "ECOSYSTEM" };
        let document = fixed(theirs, advised, kind, version);
        assert_eq!(
            fix(&document, package(ours.clone(), name, affected)).as_deref(),
            Some(version),
            "{affected}"
        );
        assert_eq!(fix(&document, package(ours.clone(), name, free)), None, "{theirs} {free}");
        assert_eq!(fix(&document, package(ours, "other", affected)), None);
    }
}

#[test]
fn distributions() {
    let dpkg = |release: &str| Ecosystem::Dpkg(release.to_owned());
    let apk = |release: &str| Ecosystem::Apk(release.to_owned());
    let rpm = |release: &str| Ecosystem::Rpm(release.to_owned());
    let cases = [
        ("Debian:12", dpkg("debian:12"), "3.0.15-1~deb12u1", "3.0.14-1~deb12u2", "3.0.15-1~deb12u1", true),
        ("Debian", dpkg("debian:12"), "3.0.15", "3.0.14", "3.0.15", true),
        ("Debian:11", dpkg("debian:12"), "3.0.15", "3.0.14", "3.0.15", false),
        (
            "Ubuntu:24.04:LTS",
            dpkg("ubuntu:24.04"),
            "3.0.13-0ubuntu3.4",
            "3.0.13-0ubuntu3.3",
            "3.0.13-0ubuntu3.4",
            true,
        ),
        ("Ubuntu:24.10", dpkg("ubuntu:24.10"), "3.3", "3.2", "3.3", true),
        ("Ubuntu:Pro:16.04:LTS", dpkg("ubuntu:16.04"), "1.0+esm2", "1.0", "1.0+esm2", false),
        ("Ubuntu:Pro:16.04:LTS", dpkg("ubuntu:16.04"), "1.0+esm2", "1.0+esm1", "1.0+esm2", true),
        ("Alpine:v3.20", apk("alpine:3.20"), "3.3.1-r1", "3.3.1-r0", "3.3.1-r1", true),
        ("Alpine:v3.20", apk("alpine:3.20.3"), "3.3.1-r10", "3.3.1-r9", "3.3.1-r10", true),
        ("Alpine:v3.19", apk("alpine:3.20"), "3.3.1-r1", "3.3.1-r0", "3.3.1-r1", false),
        ("Wolfi", apk("wolfi:20230201"), "3.3.1-r1", "3.3.1-r0", "3.3.1-r1", true),
        ("Rocky Linux:9", rpm("rocky:9.4"), "1:3.0.7-27.el9", "1:3.0.7-25.el9_3", "1:3.0.7-27.el9", true),
        ("AlmaLinux:9", rpm("almalinux:9.4"), "3.0.7-27.el9", "3.0.7-5.el9", "3.0.7-27.el9", true),
        (
            "Red Hat:enterprise_linux:9::baseos",
            rpm("rhel:9.4"),
            "3.0.7-27.el9",
            "3.0.7-5.el9",
            "3.0.7-27.el9",
            true,
        ),
        (
            "Red Hat:rhel_eus:9.2::baseos",
            rpm("rhel:9.2"),
            "3.0.7-27.el9",
            "3.0.7-5.el9",
            "3.0.7-27.el9",
            false,
        ),
        ("openSUSE:Leap 15.5", rpm("opensuse-leap:15.5"), "3.0.8-2.1", "3.0.8-1.1", "3.0.8-2.1", true),
        (
            "SUSE:Linux Enterprise Module for Basesystem 15 SP5",
            rpm("sles:15.5"),
            "3.0.8-2.1",
            "3.0.8-1.1",
            "3.0.8-2.1",
            true,
        ),
    ];
    for (theirs, ours, version, affected, free, concerns) in cases {
        let document = fixed(theirs, "openssl", "ECOSYSTEM", version);
        // The binary package has another name, and in Debian sometimes another version, than its source.
        let built =
            |version: &str| from_source(package(ours.clone(), "libssl3", version), "openssl", version);
        let expected = concerns.then_some(version);
        assert_eq!(fix(&document, built(affected)).as_deref(), expected, "{theirs} {affected}");
        assert_eq!(fix(&document, built(free)), None, "{theirs} {free}");
    }
    // The version of the source counts: `gcc-12-base` 12.2.0-14 comes from a source of that version, `libc-bin` may not.
    let document = fixed("Debian:12", "linux", "ECOSYSTEM", "6.1.100-1");
    let image = from_source(package(dpkg("debian:12"), "linux-image-amd64", "6.1.9"), "linux", "6.1.99-1");
    assert_eq!(fix(&document, image).as_deref(), Some("6.1.100-1"));
    let without = package(dpkg("debian:12"), "linux", "6.1.99-1");
    assert_eq!(fix(&document, without).as_deref(), Some("6.1.100-1"));
}

#[test]
fn debians_tracker() {
    let state = |status: &str, fixed: Option<&str>, urgency: &str| json!({"status": status, "fixed_version": fixed, "urgency": urgency});
    let tracker = json!({
        "openssl": {
            "CVE-2024-1": {"description": "fixed", "scope": "remote", "debianbug": 1, "releases": {
                "bookworm": state("resolved", Some("3.0.15-1~deb12u1"), "medium"),
                "trixie": state("open", None, "not yet assigned"), "sid": state("open", None, "high")}},
            "CVE-2024-2": {"releases": {"bookworm": state("open", None, "unimportant")}},
            "CVE-2024-3": {"releases": {"bookworm": state("resolved", Some("0"), "high")}},
            "CVE-2024-4": {"releases": {"bookworm": state("undetermined", None, "high")}},
            "TEMP-0000000-ABCDEF": {"releases": {"bookworm": state("open", None, "low")}},
            "CVE-2024-5": {"releases": {"unknown-name": state("open", None, "low")}}},
        "edk2": {"CVE-2024-1": {"releases": {"bookworm": state("open", None, "high")}}}});
    let (files, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = files.path().join("json");
    std::fs::write(&path, tracker.to_string()).unwrap();
    let report = run(dir.path(), &[Source::Debian(path.display().to_string())]);
    assert_eq!(report.changed, ["debian"], "{report:?}");
    let on = |release: &str, version: &str| {
        let openssl = package(Ecosystem::Dpkg(release.to_owned()), "libssl3", version);
        let found = findings(dir.path(), &[from_source(openssl, "openssl", version)]);
        found
            .vulnerabilities
            .into_iter()
            .map(|one| (one.id, one.severity, one.fixed.unwrap_or_default()))
            .collect::<Vec<_>>()
    };
    let row = |id: &str, severity, fixed: &str| (id.to_owned(), severity, fixed.to_owned());
    let temp = row("DEBIAN-TEMP-0000000-ABCDEF", Severity::Low, "");
    let minor = row("CVE-2024-2", Severity::None, "");
    let first = row("CVE-2024-1", Severity::Medium, "3.0.15-1~deb12u1");
    assert_eq!(on("debian:12", "3.0.14-1~deb12u2"), [first, temp.clone(), minor.clone()]);
    assert_eq!(on("debian:12", "3.0.15-1~deb12u1"), [temp, minor]);
    assert_eq!(on("debian:13", "3.5.0-1"), [row("CVE-2024-1", Severity::Unknown, "")]);
}

#[test]
fn alpines_database() {
    let database = json!({"apkurl": "{{urlprefix}}", "archs": ["x86_64"], "reponame": "main", "distroversion": "v3.20",
        "urlprefix": "https://dl-cdn.alpinelinux.org/alpine", "packages": [
            {"pkg": {"name": "openssl", "secfixes": {
                "3.3.1-r1": ["CVE-2024-4741"],
                "3.3.2-r0": ["CVE-2024-6119 GHSA-aaaa-bbbb-cccc", "CVE-2024-4741"],
                "0": ["CVE-2023-1", "CVE-2024-9 (+)"]}}},
            {"pkg": {"name": "empty", "secfixes": null}},
            {"pkg": {"name": "odd", "secfixes": {"1.0-r0": null}}}]});
    let (files, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(files.path().join("main.json"), database.to_string()).unwrap();
    let report = run(dir.path(), &[Source::Alpine(files.path().display().to_string())]);
    assert_eq!(report.changed, ["alpine/v3.20/main"], "{report:?}");
    let on = |version: &str| {
        let binary = package(Ecosystem::Apk("alpine:3.20".to_owned()), "libssl3", version);
        let found = findings(dir.path(), &[from_source(binary, "openssl", version)]);
        found.vulnerabilities.into_iter().map(|one| (one.id, one.fixed.unwrap())).collect::<Vec<_>>()
    };
    let row = |id: &str| (id.to_owned(), "3.3.2-r0".to_owned());
    // A vulnerability that two versions are said to fix needs the later one.
    assert_eq!(on("3.3.1-r1"), [row("CVE-2024-4741"), row("CVE-2024-6119"), row("GHSA-aaaa-bbbb-cccc")]);
    assert_eq!(on("3.3.2-r0"), []);
}

#[test]
fn what_cannot_be_judged_is_said() {
    let documents = [fixed("Go", "example.org/m", "SEMVER", "1.0.0")];
    let packages = [
        package(Ecosystem::Go, "example.org/m", "(devel)"),
        package(Ecosystem::Go, "example.org/other", "(devel)"),
        package(Ecosystem::Dpkg("debian:12".to_owned()), "bash", "5.2"),
        package(Ecosystem::Dpkg("debian:12".to_owned()), "dash", "0.5"),
        package(Ecosystem::Rpm("fedora:41".to_owned()), "bash", "5.2"),
    ];
    let found = judge(&documents, &packages);
    assert!(found.vulnerabilities.is_empty());
    let no_data = |ecosystem, packages| Unjudged::NoData { ecosystem, packages };
    let version = Unjudged::Version { purl: packages[0].purl.clone(), version: "(devel)".to_owned() };
    let debian = no_data(Ecosystem::Dpkg("debian:12".to_owned()), 2);
    assert_eq!(found.unjudged, [debian, no_data(Ecosystem::Rpm("fedora:41".to_owned()), 1), version]);
}
