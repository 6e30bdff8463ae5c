//! The real binary in a world of its own.
//!
//! Every environment has a home, a `KILN_HOME` and a project folder in one temporary folder, and passes on nothing
//! of the caller's surroundings but what downloads and coverage need. When it is dropped it asks `kiln down --all`
//! and then ends, by process id, everything that was started under its `KILN_HOME`.

mod outcome;
mod process;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::network::remove_network;

pub use outcome::RunOutcome;
pub use process::{Running, is_alive, signal};

/// Variables of the caller that downloads, coverage and traces need.
const PASSED: [&str; 13] = [
    "PATH",
    "KILN_DEBIAN_MIRROR",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "RUST_BACKTRACE",
    "LLVM_PROFILE_FILE",
    "CI",
];

/// A hermetic place to run `kiln` in.
#[derive(Debug)]
pub struct TestEnvironment {
    binary: PathBuf,
    root: TempDir,
    env: BTreeMap<OsString, OsString>,
    patience: Duration,
}

impl TestEnvironment {
    /// A fresh place for the binary at this path: `TestEnvironment::new(env!("CARGO_BIN_EXE_kiln"))`.
    ///
    /// # Panics
    /// When the temporary folder cannot be made.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        let root = tempfile::Builder::new().prefix("kiln-test-").tempdir().expect("a temporary folder");
        for folder in ["home", "kiln", "work", "tmp"] {
            fs::create_dir(root.path().join(folder)).expect("a folder in the temporary folder");
        }
        let mut env: BTreeMap<OsString, OsString> =
            PASSED.iter().filter_map(|name| Some((name.into(), std::env::var_os(name)?))).collect();
        let own = [("HOME", "home"), ("KILN_HOME", "kiln"), ("TMPDIR", "tmp")];
        env.extend(own.map(|(name, folder)| (name.into(), root.path().join(folder).into_os_string())));
        let fixed = [("LANG", "C.UTF-8"), ("TZ", "UTC"), ("NO_COLOR", "1"), ("TERM", "dumb")];
        env.extend(fixed.map(|(name, value)| (name.into(), value.into())));
        Self { binary: binary.into(), root, env, patience: Duration::from_secs(300) }
    }

    /// Sets a variable for everything that is run from now on.
    pub fn set_env(&mut self, name: &str, value: impl AsRef<OsStr>) -> &mut Self {
        self.env.insert(name.into(), value.as_ref().into());
        self
    }

    /// How long one command may take; 5 minutes unless set.
    pub fn set_patience(&mut self, patience: Duration) -> &mut Self {
        self.patience = patience;
        self
    }

    /// `KILN_HOME`.
    pub fn kiln_home(&self) -> PathBuf {
        self.root.path().join("kiln")
    }

    /// The project folder, in which commands run.
    pub fn work(&self) -> PathBuf {
        self.root.path().join("work")
    }

    /// Writes a file below the project folder and returns its path.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.work().join(path);
        fs::create_dir_all(path.parent().expect("a file stands in a folder"))
            .expect("the folder can be made");
        fs::write(&path, content).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
        path
    }

    /// Copies a folder's content (files, modes, symbolic links) into the project folder.
    ///
    /// # Panics
    /// When it cannot be copied.
    pub fn copy_in(&self, from: impl AsRef<Path>) {
        copy_tree(from.as_ref(), &self.work())
            .unwrap_or_else(|error| panic!("cannot copy {}: {error}", from.as_ref().display()));
    }

    /// The command `kiln ARGS` in this place, to be changed before it is run.
    pub fn command<I, S>(&self, args: I) -> Command
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut command = Command::new(&self.binary);
        command.args(args).env_clear().envs(&self.env).current_dir(self.work()).stdin(Stdio::null());
        command
    }

    /// Runs `kiln ARGS` to its end. Look at the outcome with [`RunOutcome::success`] and its sisters.
    ///
    /// # Panics
    /// When it cannot be started or takes too long.
    pub fn kiln<I, S>(&self, args: I) -> RunOutcome
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.run(self.command(args))
    }

    /// Runs a command that [`TestEnvironment::command`] made.
    ///
    /// # Panics
    /// When it cannot be started or takes too long.
    pub fn run(&self, mut command: Command) -> RunOutcome {
        let begun = Instant::now();
        // Files and not pipes: a daemon that inherits a pipe would keep it open for ever.
        let (out, err) = (self.scratch(), self.scratch());
        command.stdout(out.1).stderr(err.1);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        let status = loop {
            if let Some(status) = child.try_wait().expect("a child can be waited for") {
                break Some(status);
            }
            if begun.elapsed() > self.patience {
                end(&mut child);
                break None;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let outcome = RunOutcome {
            line: format!("{command:?}"),
            code: status.and_then(|status| status.code()),
            stdout: read(&out.0),
            stderr: read(&err.0),
            took: begun.elapsed(),
        };
        assert!(status.is_some(), "a command was ended after {:?}\n{outcome}", self.patience);
        outcome
    }

    /// Starts `kiln ARGS` and leaves it running; it is killed when the handle is dropped.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn<I, S>(&self, args: I) -> Running
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let (out, err) = (self.scratch(), self.scratch());
        let mut command = self.command(args);
        command.stdout(out.1).stderr(err.1);
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        Running::new(child, out.0, err.0)
    }

    /// The control plane's process id, while `run/serve.pid` names a living process.
    pub fn serve_pid(&self) -> Option<u32> {
        process::from_file(&self.kiln_home().join("run/serve.pid"))
    }

    /// The data plane's process id, while `proxy/lock` names a living process.
    pub fn proxy_pid(&self) -> Option<u32> {
        process::from_file(&self.kiln_home().join("proxy/lock"))
    }

    /// Supervisors and first processes of all instances that live.
    pub fn instances(&self) -> Vec<InstanceProcesses> {
        process::instances(&self.kiln_home())
    }

    /// Every living process that runs under this `KILN_HOME`, instances included.
    pub fn processes(&self) -> Vec<u32> {
        process::all(&self.kiln_home())
    }

    fn scratch(&self) -> (PathBuf, File) {
        let file =
            tempfile::Builder::new().prefix("out-").tempfile_in(self.root.path()).expect("a scratch file");
        let (file, path) = file.keep().expect("a scratch file can be kept");
        (path, file)
    }
}

/// One instance's processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceProcesses {
    /// The instance.
    pub id: String,
    /// Its supervisor.
    pub shim: Option<u32>,
    /// Its first process, as the host numbers it.
    pub init: Option<u32>,
}

impl Drop for TestEnvironment {
    fn drop(&mut self) {
        if !self.processes().is_empty() {
            // Politely first: only Kiln knows its bridges and mounts. A broken one must not keep the test from ending.
            let mut down = self.command(["down", "--all"]);
            if let Ok(mut child) = down.stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
                let begun = Instant::now();
                while begun.elapsed() < Duration::from_secs(20) && matches!(child.try_wait(), Ok(None)) {
                    std::thread::sleep(Duration::from_millis(10));
                }
                end(&mut child);
            }
        }
        process::end_all(&self.kiln_home());
        // Checks have homes of their own below the home.
        let checks = fs::read_dir(self.kiln_home().join("checks")).into_iter().flatten().flatten();
        let homes = checks.map(|entry| entry.path()).chain([self.kiln_home()]);
        homes.for_each(|home| remove_network(&home));
        process::unmount_below(self.root.path());
    }
}

fn end(child: &mut Child) {
    // Both fail only for a child that has ended already.
    let _ = child.kill();
    let _ = child.wait();
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path())?, target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
