//! What comes from the distribution, by the name of a program that shows it is there.
//!
//! Programs are looked for rather than packages, so that a machine that has Docker or nginx from elsewhere is left
//! as it is.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::{Cmd, Error, setup};

/// Program and the Debian package that brings it.
const NEEDS: &[(&str, &str)] = &[
    ("buildah", "buildah"),
    ("busybox", "busybox-static"),
    ("containerd", "containerd"),
    ("crun", "crun"),
    ("ctr", "containerd"),
    ("curl", "curl"),
    ("db5.3_load", "db5.3-util"),
    ("docker-registry", "docker-registry"),
    ("dockerd", "docker.io"),
    ("faketime", "faketime"),
    ("gcc", "gcc"),
    ("h2load", "nghttp2-client"),
    ("haproxy", "haproxy"),
    ("hyperfine", "hyperfine"),
    ("ip", "iproute2"),
    ("mmdebstrap", "mmdebstrap"),
    ("mvn", "maven"),
    ("newuidmap", "uidmap"),
    ("nft", "nftables"),
    ("nginx", "nginx-light"),
    ("npm", "npm"),
    ("objcopy", "binutils"),
    ("oci-image-tool", "oci-image-tool"),
    ("openssl", "openssl"),
    ("podman", "podman"),
    ("python3", "python3"),
    ("rpm", "rpm"),
    ("rpmbuild", "rpm"),
    ("runc", "runc"),
    ("setpriv", "util-linux"),
    ("skopeo", "skopeo"),
    ("umoci", "umoci"),
    ("wrk", "wrk"),
];

const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs the packages whose program is missing.
pub(super) fn ensure() -> Result<(), Error> {
    install(&packages(|program| setup::find(program).is_none()))
}

/// The packages of the programs that are missing, each once.
fn packages(missing: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let mut packages: Vec<&str> =
        NEEDS.iter().filter(|(program, _)| missing(program)).map(|(_, package)| *package).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

/// Installs packages by name; does nothing for an empty list.
pub(super) fn install(packages: &[&str]) -> Result<(), Error> {
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    if setup::find("apt-get").is_none() {
        return Err(Error::Machine(format!(
            "these programs are missing and this machine has no apt-get to install them with: {list}\n  \
             install them by other means, or run this on Debian or Ubuntu"
        )));
    }
    let Some(prefix) = rights() else {
        return Err(Error::Machine(format!(
            "these packages are missing and installing them needs root: {list}\n  \
             run `sudo apt-get install {list}`, or this command as root"
        )));
    };
    println!("installing {list}");
    let _guard = if prefix.is_empty() { QuietServices::new() } else { None };
    let install = apt(&prefix).args(["install", "--yes", "--no-install-recommends"]).args(packages);
    if install.read().is_ok() {
        return Ok(());
    }
    // The package lists may be older than what the mirror serves, or absent.
    println!("installing did not work at once; reading the package lists anew");
    apt(&prefix).arg("update").read()?;
    install.read().map(drop)
}

fn apt(prefix: &[&str]) -> Cmd {
    let words = prefix.iter().chain(&["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]);
    let mut words = words.copied();
    let program = words.next().unwrap_or("env");
    Cmd::new(program).args(words)
}

/// How to become root: by nothing, by sudo without a password, or not at all.
fn rights() -> Option<Vec<&'static str>> {
    let id = Cmd::new("id").arg("-u").read().ok()?;
    if id.trim() == "0" {
        return Some(Vec::new());
    }
    let sudo = Cmd::new("sudo").args(["-n", "true"]).output().ok()?;
    sudo.status.success().then(|| vec!["sudo", "-n"])
}

/// Keeps newly installed servers (nginx, haproxy, Docker) from being started by their packages. The file refuses
/// only as long as this process lives and removes itself when it is asked later.
struct QuietServices;

impl QuietServices {
    fn new() -> Option<Self> {
        if Path::new(POLICY).exists() {
            return None;
        }
        let pid = std::process::id();
        let script = format!("#!/bin/sh\nkill -0 {pid} 2>/dev/null && exit 101\nrm -f \"$0\"\nexit 0\n");
        fs::write(POLICY, script).ok()?;
        fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755)).ok()?;
        Some(Self)
    }
}

impl Drop for QuietServices {
    fn drop(&mut self) {
        // A file that stays behind removes itself at its next use.
        drop(fs::remove_file(POLICY));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_are_sorted_and_named_once() {
        let programs: Vec<_> = NEEDS.iter().map(|(program, _)| program).collect();
        let mut sorted = programs.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(programs, sorted);
    }

    #[test]
    fn a_package_that_brings_two_missing_programs_is_asked_for_once() {
        assert_eq!(packages(|program| ["ctr", "containerd"].contains(&program)), ["containerd"]);
        assert_eq!(packages(|program| program == "dockerd"), ["docker.io"]);
        assert!(packages(|_| false).is_empty());
    }

    #[test]
    fn sudo_comes_first_when_it_is_needed() {
        assert_eq!(apt(&[]).line(), "env DEBIAN_FRONTEND=noninteractive apt-get -q");
        assert_eq!(apt(&["sudo", "-n"]).line(), "sudo -n env DEBIAN_FRONTEND=noninteractive apt-get -q");
    }
}
