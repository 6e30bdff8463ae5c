//! Documents and examples say what the code says.

#![allow(clippy::unwrap_used, reason = "clippy sees only functions marked as tests as tests")]

use std::fs;

use kiln_spec::Inputs;
use xtask::root;

#[test]
fn every_example_is_a_valid_spec() {
    let mut seen = 0;
    for entry in fs::read_dir(root().join("examples")).unwrap() {
        let folder = entry.unwrap().path();
        let result = kiln_spec::load(&folder, &Inputs::default());
        assert!(result.is_ok(), "{}:\n{}", folder.display(), result.err().unwrap());
        seen += 1;
    }
    assert!(seen >= 3, "only {seen} examples");
}

#[test]
fn every_example_is_laid_out_by_kiln_fmt() {
    for entry in fs::read_dir(root().join("examples")).unwrap() {
        let file = entry.unwrap().path().join("kiln.hcl");
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(kiln_spec::format(&text).unwrap(), text, "{}", file.display());
    }
}

#[test]
fn the_reference_is_what_the_language_says() {
    let file = root().join("docs/reference.md");
    let now = kiln_spec::reference_markdown();
    if std::env::var_os("KILN_BLESS").is_some() {
        fs::write(&file, &now).unwrap();
    }
    assert!(fs::read_to_string(&file).unwrap() == now, "docs/reference.md is old: run `cargo xtask docs`");
}
