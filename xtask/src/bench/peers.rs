//! The peers as programs: a Docker daemon of our own, buildah with storage of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Bench, Running, stats, write};
use crate::{Cmd, Error, setup};

/// A Docker daemon on a private socket, with private data, in a network namespace of its own, so that it leaves no
/// bridge and no firewall rule behind.
pub(super) struct Docker {
    socket: PathBuf,
    _daemon: Running,
}

impl Docker {
    pub(super) fn start(bench: &Bench) -> Result<Self, Error> {
        let folder = bench.folder("docker")?;
        // Unix socket paths are short; the cache folder's need not be.
        let socket = PathBuf::from(format!("/run/kiln-bench-{}.sock", std::process::id()));
        let words = format!(
            "ip link set lo up; exec dockerd --data-root {0}/data --exec-root {0}/exec --pidfile {0}/pid -H unix://{1}",
            folder.display(),
            socket.display()
        );
        let command = Cmd::new("unshare").args(["--net", "sh", "-c", &words]).env("PATH", setup::path());
        let daemon = Running::start(&command, &folder.join("log"))?;
        let docker = Self { socket, _daemon: daemon };
        stats::wait("dockerd", Duration::from_secs(60), || docker.client().arg("version").read().ok())?;
        Ok(docker)
    }

    /// Debian's client; it brings BuildKit, which the first client on the path may lack.
    pub(super) fn client(&self) -> Cmd {
        let debian = Path::new("/usr/bin/docker");
        let program = if debian.exists() { debian.into() } else { PathBuf::from("docker") };
        Cmd::new(program)
            .arg("-H")
            .arg(format!("unix://{}", self.socket.display()))
            .env("DOCKER_BUILDKIT", "1")
    }

    /// Makes an image out of a root file system.
    pub(super) fn import(&self, tar: &Path, name: &str) -> Result<(), Error> {
        self.client().arg("import").arg(tar).arg(name).read().map(drop)
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.socket));
    }
}

/// buildah with its storage below `folder`.
pub(super) fn buildah(folder: &Path) -> Cmd {
    Cmd::new("buildah")
        .arg("--root")
        .arg(folder.join("storage"))
        .arg("--runroot")
        .arg(folder.join("run"))
        .args(["--storage-driver", "overlay"])
}

/// Makes an image out of a root file system.
pub(super) fn buildah_import(folder: &Path, tar: &Path, name: &str) -> Result<(), Error> {
    let context = folder.join("import");
    write(&context.join("Containerfile"), "FROM scratch\nADD root.tar /\n")?;
    std::fs::copy(tar, context.join("root.tar")).map_err(Error::file("copy", tar))?;
    buildah(folder)
        .args(["bud", "-q", "-t", name, "-f"])
        .arg(context.join("Containerfile"))
        .arg(&context)
        .read()?;
    Ok(())
}

/// The package sources of this machine for one suite, as lines of `sources.list`: what Kiln uses too.
pub(super) fn sources(suite: &str) -> Result<Vec<String>, Error> {
    let text = Cmd::new("apt-get")
        .args(["indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"])
        .read()?;
    let mut lines: Vec<String> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(_, rest)| rest.starts_with(suite) && rest.ends_with(" main"))
        .map(|(uri, rest)| format!("deb {uri} {rest}"))
        .collect();
    lines.sort();
    lines.dedup();
    if lines.is_empty() {
        return Err(Error::Measure {
            what: "mmdebstrap".into(),
            why: format!("this machine has no source for {suite}"),
        });
    }
    Ok(lines)
}
