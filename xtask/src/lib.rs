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
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
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

/// The cargo that runs us, or the one on the path.
pub fn cargo() -> Cmd {
    Cmd::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into())).dir(root())
}
