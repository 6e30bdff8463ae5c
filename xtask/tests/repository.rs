//! What must be absent from the repository, and the shape it must keep.

#![allow(clippy::unwrap_used, reason = "clippy sees only functions marked as tests as tests")]

use std::fs;
use std::path::{Path, PathBuf};

use xtask::{graph, root};

/// Folders that are not the project's text.
const SKIPPED: &[&str] = &[".git", "target", ".kiln", "node_modules", "__pycache__"];

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        if SKIPPED.iter().any(|skipped| name == *skipped) {
            continue;
        }
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            walk(&entry.path(), found);
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
}

fn files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(&root(), &mut found);
    assert!(found.len() > 50, "the walk found only {} files", found.len());
    found
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

fn with_extension(extension: &str) -> Vec<PathBuf> {
    files().into_iter().filter(|path| path.extension().is_some_and(|e| e == extension)).collect()
}

#[test]
fn crates_use_each_other_as_the_committed_graph_says() {
    let now = graph::render(&graph::edges(&graph::metadata(false).unwrap()));
    let committed = fs::read_to_string(graph::file()).unwrap();
    assert_eq!(
        committed, now,
        "the manifests and docs/crate-graph.txt differ: judge the new edge, then `cargo xtask docs`"
    );
}

/// The order in which data flows; a crate is built only from crates before it.
const ORDER: &[&str] = &[
    "kiln-model",
    "kiln-calendar",
    "kiln-outbound",
    "kiln-secrets",
    "kiln-spec",
    "kiln-store",
    "kiln-attest",
    "kiln-registry",
    "kiln-scan",
    "kiln-debian",
    "kiln-bake",
    "kiln-provider",
    "kiln-rollout",
    "kiln-local",
    "kiln-check",
    "kiln-proxy",
    "kiln-control",
    "kiln-cli",
];

#[test]
fn dependencies_point_up_the_table_only() {
    let edges = graph::edges(&graph::metadata(false).unwrap());
    for (position, name) in ORDER.iter().enumerate() {
        for dependency in &edges[*name].0 {
            let at = ORDER.iter().position(|other| other == dependency);
            assert!(at.is_some_and(|at| at < position), "{name} must not be built from {dependency}");
        }
    }
}

#[test]
fn the_table_in_the_architecture_names_every_crate() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for name in graph::edges(&graph::metadata(false).unwrap()).keys() {
        let folder = name.strip_prefix("kiln-").map_or(name.clone(), |short| format!("crates/{short}"));
        assert!(text.contains(&format!("`{folder}`")), "ARCHITECTURE.md does not speak of {folder}");
    }
}

#[test]
fn the_rollout_engine_cannot_act() {
    let used = graph::closure(&graph::metadata(true).unwrap(), "kiln-rollout");
    assert!(used.contains("kiln-model"), "the closure is empty: {used:?}");
    for forbidden in
        ["tokio", "mio", "rustix", "nix", "libc", "hyper", "jiff", "chrono", "time", "rand", "getrandom"]
    {
        assert!(!used.contains(forbidden), "kiln-rollout is built from {forbidden}; deciding must stay pure");
    }
}

#[test]
fn one_tls_library_and_no_foreign_build_tools() {
    let used = graph::closure(&graph::metadata(true).unwrap(), "kiln-cli");
    assert!(used.len() > 30, "the closure is too small: {used:?}");
    for forbidden in ["openssl", "openssl-sys", "native-tls", "aws-lc-rs", "aws-lc-sys", "cmake", "bindgen"] {
        assert!(!used.contains(forbidden), "kiln is built from {forbidden}");
    }
}

#[test]
fn licences_are_permissive() {
    let allowed = ["MIT", "Apache-2.0", "BSD-3-Clause", "ISC", "Zlib", "Unicode-3.0", "MPL-2.0"];
    let metadata = graph::metadata(true).unwrap();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        // It names a file instead of a licence; the file has the text of the MIT licence.
        let named = if name == "rust-criu" { Some("MIT") } else { package["license"].as_str() };
        let licence = named.unwrap_or("none");
        let fits = licence
            .replace('/', " OR ")
            .replace(['(', ')'], "")
            .split(" AND ")
            .all(|needed| needed.split(" OR ").any(|choice| allowed.contains(&choice.trim())));
        assert!(fits, "{name} has the licence {licence:?}: judge it, then add it here and to deny.toml");
    }
}

#[test]
fn unsafe_code_is_forbidden_in_every_crate() {
    let workspace = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(workspace.contains("unsafe_code = \"forbid\""));
    let manifests: Vec<_> =
        with_extension("toml").into_iter().filter(|path| path.ends_with("Cargo.toml")).collect();
    for manifest in manifests {
        let text = fs::read_to_string(&manifest).unwrap();
        let inherits = text.contains("[lints]\nworkspace = true") || text.contains("[workspace.lints");
        assert!(inherits, "{} does not take the workspace's lints", shown(&manifest));
    }
}

#[test]
fn source_files_stay_below_800_lines() {
    for path in with_extension("rs") {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines < 800, "{} has {lines} lines: split it by noun", shown(&path));
    }
}

/// Written in halves, so that this file does not contain what it forbids.
const FORBIDDEN: &[(&str, &str)] = &[
    ("deb.", "debian.org"),
    ("security.", "debian.org"),
    ("ftp.", "debian.org"),
    ("archive.", "ubuntu.com"),
    ("pypi.", "org"),
    ("python", "hosted.org"),
    ("registry.", "npmjs.org"),
    ("static.", "crates.io"),
    ("index.", "crates.io"),
    ("proxy.", "golang.org"),
    ("/work", "/"),
    ("/root/", ".c"),
    ("/home/", "runner"),
];

#[test]
fn no_registry_host_and_no_path_of_one_machine() {
    for path in files() {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        if path.ends_with("Cargo.lock") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            for (first, second) in FORBIDDEN {
                let word = format!("{first}{second}");
                assert!(!line.contains(&word), "{}:{} names {word}: {line}", shown(&path), number + 1);
            }
        }
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    for path in with_extension("md") {
        let text = fs::read_to_string(&path).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") || file.contains(' ') {
                continue;
            }
            let full = path.parent().unwrap().join(file);
            assert!(full.exists(), "{} links to {target}, which is not there", shown(&path));
        }
    }
}

#[test]
fn promises_name_tests_that_exist() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let sources: String = with_extension("rs").iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let section = text.split("## Promises").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    let mut named = 0;
    for list in section.split("*Shown by*").skip(1).filter_map(|rest| rest.split("`.").next()) {
        for test in list.split('`').skip(1).step_by(2) {
            named += 1;
            assert!(
                sources.contains(&format!("fn {test}")),
                "ARCHITECTURE.md names {test}, which is no test"
            );
        }
    }
    assert!(named > 12, "only {named} tests are named");
}
