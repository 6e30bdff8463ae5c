//! Brings a machine to where every test and benchmark can run. Fast and silent when all is there.

mod apt;
mod python;
mod suites;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::Error;

/// What happens when something cannot be installed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// It is an error: nothing may be skipped.
    Complete,
    /// It is said, and the tests that need it will say that they skip.
    Lenient,
}

/// Installs what is missing.
pub fn run(strictness: Strictness) -> Result<(), Error> {
    for step in [apt::ensure, python::ensure, suites::ensure] {
        match (step(), strictness) {
            (Ok(()), _) => {}
            (Err(error), Strictness::Complete) => return Err(error),
            (Err(error), Strictness::Lenient) => {
                eprintln!("warning: {error}\n  tests that need it will be skipped and say so");
            }
        }
    }
    Ok(())
}

/// The search path for tests: our own tools, whose Python has what tests import, then the inherited path, then the
/// folders of administrators' programs.
pub fn path() -> OsString {
    let inherited: Vec<PathBuf> =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    let more = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    let mut folders: Vec<PathBuf> = Vec::new();
    for folder in [python::tools()].into_iter().chain(inherited).chain(more) {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    std::env::join_paths(folders).unwrap_or_else(|_| std::env::var_os("PATH").unwrap_or_default())
}

/// Where a program stands, if anywhere on [`path`].
pub fn find(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&path()).map(|folder| folder.join(program)).find(|file| executable(file))
}

fn executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
