//! What stands around Kiln: set-up of a machine, test tiers, lints, benchmarks and generated documents.
//!
//! Nothing here is linked into `kiln`. Outside programs are started through [`Cmd`], so that an error always names
//! the program, what it was asked, and what to do.

pub mod bench;
mod cmd;
pub mod docs;
mod error;
pub mod graph;
pub mod lint;
pub mod setup;
pub mod test;

use std::path::{Path, PathBuf};

pub use cmd::Cmd;
pub use error::Error;

/// The repository's root folder.
///
/// Cargo says at run time where this crate stands. What was true when it was compiled is only asked when this runs
/// without cargo: checkouts that share a target folder share one compiled xtask, which may come from another of them.
pub fn root() -> PathBuf {
    let told = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    root_of(told.as_deref(), Path::new(env!("CARGO_MANIFEST_DIR")))
}

fn root_of(told: Option<&Path>, compiled: &Path) -> PathBuf {
    let manifest = told.filter(|folder| folder.ends_with("xtask")).unwrap_or(compiled);
    manifest.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// The folder for what is downloaded or built once per machine: `$KILN_CI_CACHE`, else `$XDG_CACHE_HOME/kiln`,
/// else `~/.cache/kiln`.
pub fn cache() -> PathBuf {
    let var = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    var("KILN_CI_CACHE")
        .or_else(|| var("XDG_CACHE_HOME").map(|folder| folder.join("kiln")))
        .or_else(|| var("HOME").map(|home| home.join(".cache/kiln")))
        .unwrap_or_else(|| root().join("target/cache"))
}

/// Whether this is a continuous-integration run, where nothing may be skipped.
pub fn ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true" || value == "1")
}

/// The cargo that runs us, or the one on the path when there is none or its toolchain has gone since.
pub fn cargo() -> Cmd {
    let running = std::env::var_os("CARGO").map(PathBuf::from).filter(|file| file.is_file());
    Cmd::new(running.unwrap_or_else(|| "cargo".into())).dir(root())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checkout_that_cargo_names_wins_over_the_one_that_was_compiled() {
        let compiled = Path::new("/gone/xtask");
        assert_eq!(root_of(Some(Path::new("/here/xtask")), compiled), Path::new("/here"));
        assert_eq!(root_of(None, compiled), Path::new("/gone"));
        assert_eq!(root_of(Some(Path::new("/here/crates/cli")), compiled), Path::new("/gone"));
    }

    #[test]
    fn a_missing_working_folder_is_not_blamed_on_the_program() {
        let error = Cmd::new("true").dir("/no/such/folder").output().unwrap_err();
        assert_eq!(error.to_string(), "cannot start true in /no/such/folder, which is not a folder");
    }
}
