//! `kiln init`.

use kiln_spec::{App, InitError, Inputs, format, init, load};

use crate::support::folder;

/// Plans a spec for a folder, writes it, and loads it; returns the text and what was found.
fn made(files: &[(&str, &str)]) -> String {
    let root = folder(files);
    let plan = init(root.path()).unwrap();
    assert_eq!(format(&plan.text).unwrap(), plan.text, "canonical");
    plan.write().unwrap();
    let loaded =
        load(root.path(), &Inputs::none()).unwrap_or_else(|errors| panic!("{errors}\n{}", plan.text));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let image = loaded.project.images.keys().next().unwrap().to_string();
    assert!(image.starts_with("demo"), "named after the folder");
    format!("{}\n---\n{}", plan.findings.join("\n"), plan.text.replace(&image, "NAME"))
}

#[test]
fn a_python_program() {
    insta::assert_snapshot!(made(&[
        ("main.py", "from flask import Flask\napp.run(port=5000)\n"),
        ("requirements.txt", "Flask==2.2\nrequests>=2\nunheard-of\n"),
    ]));
}

#[test]
fn a_node_program_with_a_dockerfile() {
    insta::assert_snapshot!(made(&[
        ("package.json", "{\"main\": \"lib/web.js\", \"dependencies\": {\"express\": \"4\"}}"),
        ("lib/web.js", "require('http')"),
        ("Dockerfile", "FROM node:20\nEXPOSE 3456/tcp\n"),
    ]));
}

#[test]
fn a_web_site() {
    insta::assert_snapshot!(made(&[("public/index.html", "<h1>hi</h1>")]));
}

#[test]
fn nothing_to_recognise() {
    insta::assert_snapshot!(made(&[("notes.txt", "")]));
}

/// A minimal ELF-64 program with one program header of a type.
fn elf(header: u8) -> Vec<u8> {
    let mut bytes = vec![0; 64 + 56];
    bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    bytes[16] = 2;
    bytes[32] = 64;
    bytes[54] = 56;
    bytes[56] = 1;
    bytes[64] = header;
    bytes
}

#[test]
fn a_static_program() {
    let root = folder(&[]);
    std::fs::write(root.path().join("dynamic"), elf(3)).unwrap();
    std::fs::write(root.path().join("server"), elf(1)).unwrap();
    let plan = init(root.path()).unwrap();
    assert_eq!(plan.app, App::Static { binary: "server".into(), port: 8080 });
    assert!(plan.findings[0].starts_with("dynamic is a program that needs shared libraries"));
    plan.write().unwrap();
    load(root.path(), &Inputs::none()).unwrap_or_else(|errors| panic!("{errors}"));
}

#[test]
fn nothing_is_ever_overwritten() {
    let root = folder(&[("kiln.hcl", "# mine\n")]);
    assert!(matches!(init(root.path()), Err(InitError::Exists(_))));
    let root = folder(&[]);
    let plan = init(root.path()).unwrap();
    std::fs::write(root.path().join("kiln.hcl"), "# mine\n").unwrap();
    assert!(matches!(plan.write(), Err(InitError::Exists(_))));
    assert_eq!(std::fs::read_to_string(root.path().join("kiln.hcl")).unwrap(), "# mine\n");
}
