//! Every kind of package but those of rpm.

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;
use std::process::Command;

use kiln_scan::Ecosystem;
use tempfile::TempDir;
use zip::write::SimpleFileOptions;

use crate::kit::{DEBIAN, Layer, find, image_of, list, names, needs, run, store};
use crate::peers;

fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        archive.start_file(*name, SimpleFileOptions::default()).unwrap();
        archive.write_all(content).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn pom(group: &str, artifact: &str, version: &str) -> Vec<u8> {
    format!("#x\ngroupId={group}\nartifactId={artifact}\nversion={version}\n").into_bytes()
}

#[test]
fn an_alpine_database_is_listed_as_syft_and_trivy_list_it() {
    let installed = "C:Q1a\nP:busybox\nV:1.36.1-r29\nA:x86_64\nL:GPL-2.0-only\no:busybox\nm:A <a@b.c>\np:cmd:busybox=1.36.1-r29\n\
        D:so:libc.musl-x86_64.so.1\nF:bin\nR:busybox\n\nC:Q1b\nP:musl\nV:1.2.5-r0\nA:x86_64\nL:MIT\no:musl\n\
        p:so:libc.musl-x86_64.so.1=1\nF:lib\nR:ld-musl-x86_64.so.1\n\nC:Q1c\nP:ssl_client\nV:1.36.1-r29\nA:x86_64\nL:GPL-2.0-only\no:busybox\n\n";
    let layer = || {
        Layer::new()
            .file("etc/os-release", "ID=alpine\nVERSION_ID=3.20.3\n")
            .file("etc/alpine-release", "3.20.3\n")
            .file("lib/apk/db/installed", installed)
    };
    let found = list([layer()]);
    assert_eq!(found.problems, Vec::<String>::new());
    assert_eq!(names(&found), ["busybox@1.36.1-r29", "musl@1.2.5-r0", "ssl_client@1.36.1-r29"]);
    let client = find(&found, "ssl_client");
    assert_eq!(client.ecosystem, Ecosystem::Apk("alpine:3.20.3".into()));
    assert_eq!(
        client.purl,
        "pkg:apk/alpine/ssl_client@1.36.1-r29?arch=x86_64&distro=alpine-3.20.3&upstream=busybox"
    );
    assert!(found.dependencies[&find(&found, "busybox").purl].contains(&find(&found, "musl").purl));
    let (_folder, store) = store();
    let image = image_of(&store, [layer()]);
    if needs(&["syft", "trivy"]) {
        peers::as_syft(&store, &image);
        peers::as_trivy(&store, &image);
    }
}

#[test]
fn distroless_stanzas_and_licences_are_read() {
    let found = list([Layer::new()
        .file("usr/lib/os-release", DEBIAN)
        .file("var/lib/dpkg/status.d/tzdata", "Package: tzdata\nVersion: 2024a-0+deb12u1\nArchitecture: all\n")
        .file("var/lib/dpkg/status.d/libpython", "Package: libpython\nVersion: 3\nSource: python (3.11)\n")
        .file("var/lib/dpkg/status.d/libpython.md5sums", "0  usr/lib/python3/six-1.dist-info/METADATA\n")
        .file("usr/lib/python3/six-1.dist-info/METADATA", "Name: six\nVersion: 1\n")
        .symlink("usr/share/doc/libpython", "tzdata")
        .file(
            "usr/share/doc/tzdata/copyright",
            "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nLicense: public-domain\n",
        )]);
    assert_eq!(find(&found, "libpython").licenses, ["public-domain"]);
    assert_eq!(find(&found, "libpython").source, Some(("python".into(), "3.11".into())));
    assert!(found.providers[&find(&found, "six").purl].contains(&find(&found, "libpython").purl));
}

#[test]
fn languages_are_listed_as_syft_and_trivy_list_them() {
    let inner = zip(&[
        ("META-INF/MANIFEST.MF", b"Manifest-Version: 1.0\n"),
        ("META-INF/maven/org.x/core/pom.properties", &pom("org.x", "core", "2.0.1")),
    ]);
    let jar = zip(&[
        ("META-INF/MANIFEST.MF", b"Manifest-Version: 1.0\nSpring-Boot-Version: 3.1.0\n"),
        ("META-INF/maven/com.shop/app/pom.properties", &pom("com.shop", "app", "1.0")),
        ("BOOT-INF/lib/core-2.0.1.jar", &inner),
    ]);
    let deps = r#"{"runtimeTarget":{"name":".NETCoreApp,Version=v8.0","signature":""},"compilationOptions":{},
        "targets":{".NETCoreApp,Version=v8.0":{
        "Shop/1.0.0":{"dependencies":{"Newtonsoft.Json":"13.0.3"},"runtime":{"Shop.dll":{}}},
        "Newtonsoft.Json/13.0.3":{"runtime":{"lib/net6.0/Newtonsoft.Json.dll":{"assemblyVersion":"13.0.0.0","fileVersion":"13.0.3.27908"}}}}},
        "libraries":{"Shop/1.0.0":{"type":"project","serviceable":false,"sha512":""},
        "Newtonsoft.Json/13.0.3":{"type":"package","serviceable":true,"sha512":"sha512-bad","path":"newtonsoft.json/13.0.3",
        "hashPath":"newtonsoft.json.13.0.3.nupkg.sha512"}}}"#;
    let composer = r#"{"packages":[{"name":"monolog/monolog","version":"3.5.0","license":["MIT"],"require":{"psr/log":"^2"},
        "dist":{"shasum":"c915e2634718dbc8a4a15c61b0e62e7a44e14448"}},{"name":"psr/log","version":"3.0.0","license":["MIT"]}],"dev":false}"#;
    let gem = "Gem::Specification.new do |s|\n  s.name = \"rack\".freeze\n  s.version = \"3.0.8\"\n  s.licenses = [\"MIT\".freeze]\nend\n";
    let layer = || {
        Layer::new()
            .file("etc/os-release", DEBIAN)
            .file("app/Shop.deps.json", deps)
            .file("app/vendor/composer/installed.json", composer)
            .file("usr/lib/ruby/gems/3.1.0/specifications/rack-3.0.8.gemspec", gem)
            .file("opt/lib/python3.11/site-packages/old-1.2.egg-info", "Name: old\nVersion: 1.2\n\n")
            .file("opt/lib/python3.11/site-packages/Egg.egg-info/PKG-INFO", "Name: Egg\nVersion: 0.3\n\n")
    };
    let with_jar = || layer().file("app/app-1.0.jar", &jar);
    let found = list([with_jar()]);
    assert_eq!(found.problems, Vec::<String>::new());
    let expected = [
        "Egg@0.3",
        "old@1.2",
        "com.shop:app@1.0",
        "org.x:core@2.0.1",
        "rack@3.0.8",
        "Newtonsoft.Json@13.0.3",
        "monolog/monolog@3.5.0",
        "psr/log@3.0.0",
    ];
    assert_eq!(names(&found), expected);
    assert_eq!(find(&found, "org.x:core").locations[0].path, "app/app-1.0.jar!/BOOT-INF/lib/core-2.0.1.jar");
    assert_eq!(found.dependencies["pkg:composer/monolog/monolog@3.5.0"].len(), 1);
    assert_eq!(found.checksums["pkg:composer/monolog/monolog@3.5.0"].len(), 1);
    if needs(&["syft", "trivy"]) {
        let (_folder, store) = store();
        peers::as_syft(&store, &image_of(&store, [with_jar()]));
        // Trivy asks its database, which is not to be had, about every archive.
        peers::as_trivy(&store, &image_of(&store, [layer()]));
    }
}

#[test]
fn real_java_archives_are_listed_as_syft_lists_them() {
    let folder = Path::new("/usr/share/maven/lib");
    if !needs(&["mvn", "syft"]) {
        return;
    }
    let mut layer = Layer::new().file("etc/os-release", DEBIAN);
    for entry in fs::read_dir(folder).unwrap() {
        // Debian's folder is of links to the archives.
        let entry = entry.unwrap();
        let name = format!("opt/maven/{}", entry.file_name().to_str().unwrap());
        layer = layer.file(&name, fs::read(entry.path()).unwrap());
    }
    let (_folder, store) = store();
    let image = image_of(&store, [layer]);
    assert!(kiln_scan::inventory(&store, &image).unwrap().packages.len() > 30);
    peers::as_syft(&store, &image);
}

/// A program as Go before 1.18 linked it: the strings are elsewhere, behind two pointers.
const OLD_GO: &str = r#"
.section .go.buildinfo,"aw"
.balign 16
.ascii "\377 Go buildinf:"
.byte 8, 0
.quad version, modules
.data
version: .quad version_text, 8
modules: .quad module_text, module_end - module_text
.section .rodata
version_text: .ascii "go1.17.5"
module_text: .ascii "0123456789abcdef"
.ascii "path\texample.com/tool\nmod\texample.com/tool\tv1.4.0\t\ndep\tgolang.org/x/text\tv0.3.6\th1:a=\n"
.ascii "0123456789abcdef"
module_end:
.text
.globl _start
_start: nop
"#;

#[test]
fn go_programs_before_1_18_and_without_section_names_are_read() {
    if !needs(&["gcc", "objcopy"]) {
        return;
    }
    let folder = TempDir::new().unwrap();
    let (source, program, renamed) =
        (folder.path().join("old.s"), folder.path().join("old"), folder.path().join("renamed"));
    fs::write(&source, OLD_GO).unwrap();
    run(Command::new("gcc").args(["-nostdlib", "-static", "-no-pie", "-o"]).arg(&program).arg(&source));
    run(Command::new("objcopy").arg("--rename-section=.go.buildinfo=.other").arg(&program).arg(&renamed));
    for program in [&program, &renamed] {
        let layer = || {
            Layer::new().file("etc/os-release", DEBIAN).program("usr/bin/tool", fs::read(program).unwrap())
        };
        let found = list([layer()]);
        assert_eq!(names(&found), ["example.com/tool@v1.4.0", "golang.org/x/text@v0.3.6", "stdlib@1.17.5"]);
    }
    // Both peers find the list by the section's name alone.
    let (_folder, store) = store();
    let layer =
        Layer::new().file("etc/os-release", DEBIAN).program("usr/bin/tool", fs::read(&program).unwrap());
    let image = image_of(&store, [layer]);
    if needs(&["syft", "trivy"]) {
        peers::as_syft(&store, &image);
        peers::as_trivy(&store, &image);
    }
}

#[test]
fn archives_that_nest_or_unpack_without_end_are_stopped() {
    let mut jar = zip(&[("META-INF/maven/a/deep/pom.properties", &pom("a", "deep", "1"))]);
    for _ in 0..8 {
        jar = zip(&[("lib/x.jar", &jar)]);
    }
    let found = list([Layer::new().file("app.jar", &jar)]);
    assert!(found.packages.is_empty());
    assert!(found.problems[0].contains("too deep"), "{:?}", found.problems);
    let large = zip(&[("META-INF/MANIFEST.MF", &vec![b'a'; 9 << 20])]);
    let found = list([Layer::new().file("app.jar", &large)]);
    assert!(found.problems[0].contains("unpacks to more than"), "{:?}", found.problems);
}
