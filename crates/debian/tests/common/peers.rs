//! What tests need of the machine: without it they say so, and fail where nothing may be skipped.

use std::process::Command;

/// Whether a test can run; if not, says why, and panics in CI.
pub(crate) fn have(what: &str, is: bool) -> bool {
    let ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(is || !ci, "this test needs {what}");
    if !is {
        eprintln!("skipped: this test needs {what}");
    }
    is
}

pub(crate) fn program(name: &str) -> bool {
    let found = Command::new(name).arg("--version").output().is_ok();
    have(&format!("the program {name}"), found)
}

pub(crate) fn root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    have("root", id.stdout == b"0\n")
}
