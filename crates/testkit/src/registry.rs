//! Debian's registry, as a peer.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A docker-registry on a port of the system's choice, with a folder of its own. It ends when this is dropped.
#[derive(Debug)]
pub struct DockerRegistry {
    child: Child,
    /// `127.0.0.1:port`.
    pub address: String,
    _folder: TempDir,
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl DockerRegistry {
    /// Starts one that lets everybody do everything, deletions too.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start() -> Self {
        Self::start_with(|_| String::new())
    }

    /// The same with more in its configuration: members of `http`, indented by two, and top-level ones after them. Files
    /// that these need can be put into the folder that is given.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_with(more: impl FnOnce(&Path) -> String) -> Self {
        let folder = TempDir::new().expect("a folder");
        let config = folder.path().join("registry.yml");
        let text = format!(
            "version: 0.1\nlog:\n  level: info\nstorage:\n  delete:\n    enabled: true\n  filesystem:\n    rootdirectory: {}\n\
             http:\n  addr: 127.0.0.1:0\n{}",
            folder.path().join("data").display(),
            more(folder.path())
        );
        std::fs::write(&config, text).expect("a file");
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&config).stderr(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn().expect("docker-registry can be started");
        let mut lines = BufReader::new(child.stderr.take().expect("standard error")).lines();
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, rest) = line.split_once("listening on ")?;
            let end = rest.find(|c: char| !matches!(c, '0'..='9' | '.' | ':')).unwrap_or(rest.len());
            Some(rest[..end].to_owned())
        });
        let address = address.expect("the registry says where it listens");
        // Whoever does not read what it says holds it up.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address, _folder: folder }
    }
}
