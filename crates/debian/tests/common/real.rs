//! The real archive, as this machine reaches it, and trees of it on disk.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use kiln_debian::Mirrors;
use kiln_model::Scripts;

use super::{Wish, archive};

/// A wish for packages of bookworm with Kiln's own keys and this machine's mirror. All of them
/// share a cache, as all builds of one machine do.
pub(crate) fn wish(packages: &[&str], scripts: Scripts) -> Wish {
    let mut wish = Wish::new(Path::new("/nonexistent"), "", packages);
    wish.shared = Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian"));
    wish.base.suite = "bookworm".to_owned();
    wish.base.keyring = None;
    wish.base.updates = true;
    wish.base.scripts = scripts;
    wish.mirrors = Mirrors::discover(|name| std::env::var(name).ok(), Path::new("/etc")).unwrap();
    wish.now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    wish
}

/// A tree on disk, removed at the end.
pub(crate) struct Disk(tempfile::TempDir);

impl Disk {
    /// Writes a tree, with owners (as root).
    pub(crate) fn new(tree: &kiln_store::Tree) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut tar = Command::new("tar");
        tar.args(["-x", "-p", "--numeric-owner", "-f", "-", "-C"]).arg(folder.path()).stdin(Stdio::piped());
        let mut tar = tar.spawn().unwrap();
        archive::write(tree, tar.stdin.take().unwrap()).unwrap();
        assert!(tar.wait().unwrap().success());
        Self(folder)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs a program in it, in namespaces of its own, without a network.
    pub(crate) fn run(&self, words: &[&str]) -> Output {
        let script = "mount -t proc proc \"$0/proc\" && mount -t tmpfs tmpfs \"$0/dev\" && \
                      mknod -m 666 \"$0/dev/null\" c 1 3 && mknod -m 666 \"$0/dev/urandom\" c 1 9 && \
                      exec chroot \"$0\" \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--net", "--uts", "/bin/sh", "-c", script]);
        command.arg(self.0.path()).args(words).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs a program in it that must succeed; what it printed.
    pub(crate) fn said(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{words:?}: {text}\n{}", String::from_utf8_lossy(&output.stderr));
        text
    }
}
