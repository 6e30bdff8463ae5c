use std::fs;

use super::*;

fn etc(files: &[(&str, &str)]) -> tempfile::TempDir {
    let etc = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = etc.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    etc
}

const SOURCES: &str = "\
Types: deb
# an old snapshot
URIs: http://mirror.test/debian/
Suites: bookworm bookworm-updates
Components: main

Types: deb-src deb
URIs: http://mirror.test/debian-security
Suites: bookworm-security

Types: deb
URIs: http://other.test/debian
Suites: bookworm
Enabled: no
";

#[test]
fn reads_both_kinds_of_apt_sources_and_ignores_third_parties() {
    let etc = etc(&[
        ("apt/sources.list.d/debian.sources", SOURCES),
        ("apt/sources.list", "deb [arch=amd64 signed-by=/k] file:/srv/debian trixie main # ours\n"),
        (
            "apt/sources.list.d/x.list",
            "deb https://example.test/apt cloud main\n deb cdrom:[x]/ bookworm main\n",
        ),
    ]);
    let mirrors = Mirrors::discover(|_| None, etc.path()).unwrap();
    let debian = mirrors.sources(None, Archive::Debian, "bookworm").unwrap();
    assert_eq!(debian.roots, ["http://mirror.test/debian", "file:///srv/debian"]);
    let trixie = mirrors.sources(None, Archive::Debian, "trixie").unwrap();
    assert_eq!(trixie.roots, ["file:///srv/debian", "http://mirror.test/debian"]);
    let security = mirrors.sources(None, Archive::Security, "bookworm-security").unwrap();
    assert_eq!(security.roots, ["http://mirror.test/debian-security"]);
    assert!(security.configured && !security.stale);
}

#[test]
fn the_spec_comes_before_the_environment_and_that_before_apt() {
    let etc = etc(&[("apt/sources.list.d/debian.sources", SOURCES)]);
    let variable = |name: &str| (name == "KILN_DEBIAN_MIRROR").then(|| "http://env.test/debian/".to_owned());
    let mirrors = Mirrors::discover(variable, etc.path()).unwrap();
    let roots = |spec| mirrors.sources(spec, Archive::Security, "bookworm-security").unwrap().roots;
    assert_eq!(roots(None), ["http://env.test/debian-security"]);
    assert_eq!(roots(Some("/srv/mirror/debian")), ["file:///srv/mirror/debian-security"]);
}

#[test]
fn the_host_says_whether_old_mirrors_are_fine() {
    let conf = "Acquire::Check-Date \"false\";\nAcquire::Check-Valid-Until \"false\";\n";
    let etc = etc(&[("apt/sources.list.d/debian.sources", SOURCES), ("apt/apt.conf", conf)]);
    let mirrors = Mirrors::discover(|_| None, etc.path()).unwrap();
    assert!(mirrors.sources(None, Archive::Debian, "bookworm").unwrap().stale);
    assert!(!mirrors.sources(Some("http://m.test/debian"), Archive::Debian, "bookworm").unwrap().stale);
}

#[test]
fn without_any_source_the_snapshot_service_is_left() {
    let etc = etc(&[]);
    let mirrors = Mirrors::discover(|_| None, etc.path()).unwrap();
    let sources = mirrors.sources(None, Archive::Debian, "bookworm").unwrap();
    assert!(sources.roots.is_empty() && !sources.configured);
    let at = "2026-07-11T10:16:37Z".parse().unwrap();
    let url = mirrors.snapshot(Archive::Security, at).unwrap();
    assert!(url.ends_with("/archive/debian-security/20260711T101637Z"), "{url}");
}

#[test]
fn a_variable_that_names_no_mirror_is_refused() {
    for text in ["ftp://mirror.test/debian", "mirror.test/debian", "http://"] {
        let error = Mirrors::discover(|_| Some(text.to_owned()), Path::new("/nonexistent")).unwrap_err();
        assert!(error.to_string().contains("KILN_DEBIAN_MIRROR names"), "{error}");
    }
}
