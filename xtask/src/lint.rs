//! Formatting, clippy and the dependency rules.

use crate::{Error, cargo, ci};

/// Checks all of it; the first tool that complains ends the run.
pub fn run() -> Result<(), Error> {
    cargo().args(["fmt", "--all", "--check"]).run()?;
    let mut clippy = cargo().args(["clippy", "--workspace", "--all-targets"]);
    if ci() {
        clippy = clippy.arg("--locked");
    }
    clippy.args(["--", "-D", "warnings"]).run()?;
    deny()
}

/// Licences, bans and sources need no network; advisories do, so they are left to `cargo deny check advisories`.
fn deny() -> Result<(), Error> {
    let installed = cargo().args(["deny", "--version"]).output().is_ok_and(|output| output.status.success());
    if installed {
        cargo().args(["deny", "--all-features", "check", "licenses", "bans", "sources"]).run()
    } else {
        println!(
            "cargo-deny is not installed: the licences and bans of deny.toml are checked by xtask's own tests only"
        );
        Ok(())
    }
}
