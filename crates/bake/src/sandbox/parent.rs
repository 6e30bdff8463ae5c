//! The baking process's side: lays the space out, starts the sandbox, passes its output on, understands how it
//! went.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::{BufRead, BufReader, PipeReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use kiln_model::Span;

use super::errors::{SandboxError, hint};
use super::orders::{Orders, Status};
use crate::request::{Event, Progress};

/// Lines of output that an error shows.
const TAIL: usize = 20;

/// A line is cut here: a program that prints no line ends must not fill the memory.
const LINE_LIMIT: u64 = 64 << 10;

/// One command to run.
pub(crate) struct Job<'a> {
    pub(crate) argv: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) workdir: String,
    pub(crate) network: bool,
    pub(crate) timeout: Option<Span>,
    /// The program to start; this very one when `None`.
    pub(crate) helper: Option<&'a Path>,
    /// Whether the argv stands for a command line that needs a shell.
    pub(crate) shell: bool,
}

/// A folder in which commands change a tree. Several commands may run in it one after the other.
pub(crate) struct Space {
    pub(crate) path: PathBuf,
    lower: PathBuf,
    /// Overlayfs was refused: `root` is a copy of the tree.
    pub(crate) copied: bool,
}

impl Space {
    /// Lays a space out over a tree.
    pub(crate) fn new(path: PathBuf, lower: PathBuf) -> Result<Self, SandboxError> {
        for name in ["", "upper", "work", "root", "lower", "skeleton", "etc"] {
            let folder = path.join(name);
            fs::create_dir(&folder).map_err(fault("make", &folder))?;
            set_mode(&folder, 0o755)?;
        }
        for (name, mode) in
            [("proc", 0o755), ("sys", 0o755), ("dev", 0o755), ("run", 0o755), ("tmp", 0o1777), ("etc", 0o755)]
        {
            let folder = path.join("skeleton").join(name);
            fs::create_dir(&folder).map_err(fault("make", &folder))?;
            set_mode(&folder, mode)?;
        }
        let files = [
            ("hosts", "127.0.0.1 localhost kiln\n::1 localhost\n"),
            ("hostname", "kiln\n"),
            ("resolv.conf", ""),
        ];
        for (name, text) in files {
            write(&path.join("skeleton/etc").join(name), "")?;
            write(&path.join("etc").join(name), text)?;
        }
        // The upper folder's own mode becomes the root's.
        let mode = fs::metadata(&lower).map_err(fault("look at", &lower))?.permissions().mode();
        set_mode(&path.join("upper"), mode & 0o7777)?;
        Ok(Self { path, lower, copied: false })
    }

    /// What the commands changed: `(folder, whether it is the whole tree rather than an overlay's upper
    /// folder)`.
    pub(crate) fn result(&self) -> (PathBuf, bool) {
        if self.copied { (self.path.join("root"), true) } else { (self.path.join("upper"), false) }
    }

    pub(crate) fn lower(&self) -> &Path {
        &self.lower
    }
}

/// Runs one command. Its output goes to `progress` line by line.
pub(crate) fn execute(space: &mut Space, job: &Job<'_>, progress: &dyn Progress) -> Result<(), SandboxError> {
    let Some(program) = job.argv.first() else { return Err(SandboxError::Empty) };
    if job.network {
        let names = fs::read("/etc/resolv.conf").unwrap_or_default();
        let path = space.path.join("etc/resolv.conf");
        fs::write(&path, names).map_err(fault("write", &path))?;
    }
    let (mut status, mut output) = attempt(space, job, progress)?;
    if status == Status::NoOverlay {
        copy_tree(space)?;
        (status, output) = attempt(space, job, progress)?;
    }
    let rootless = !rustix::process::geteuid().is_root();
    let failed = |how| SandboxError::Failed { how, output: output.clone(), rootless };
    match status {
        Status::Exit(0) => Ok(()),
        Status::Exit(code) => Err(failed(format!("exited with status {code}"))),
        Status::Signal(signal) => Err(failed(format!("was killed by signal {signal}"))),
        Status::TimedOut => Err(SandboxError::TimedOut { limit: job.timeout.unwrap_or_default(), output }),
        Status::NoProgram { errno: None, .. } if job.shell => Err(SandboxError::NoShell),
        Status::NoProgram { errno: None, .. } => Err(SandboxError::NoProgram {
            program: program.clone(),
            path: job.env.get("PATH").cloned().unwrap_or_default(),
        }),
        Status::NoProgram { program, errno: Some(errno) } => {
            Err(SandboxError::NotExecutable { program, source: std::io::Error::from_raw_os_error(errno) })
        }
        Status::NoFolder { path } => Err(SandboxError::NoFolder { path }),
        Status::Setup { act, errno } => Err(SandboxError::Setup {
            hint: hint(&act, errno),
            act,
            source: std::io::Error::from_raw_os_error(errno),
        }),
        Status::NoOverlay => Err(SandboxError::Silent { how: "no root could be made".into() }),
    }
}

fn attempt(
    space: &Space,
    job: &Job<'_>,
    progress: &dyn Progress,
) -> Result<(Status, Vec<String>), SandboxError> {
    let status_path = space.path.join("status");
    write(&status_path, "")?;
    let orders = Orders {
        parent: i32::try_from(std::process::id()).unwrap_or(0),
        space: space.path.clone(),
        lower: space.lower.clone(),
        copied: space.copied,
        argv: job.argv.clone(),
        env: job.env.clone(),
        workdir: job.workdir.clone(),
        network: job.network,
        timeout: job.timeout.map(Span::millis),
        rootless: !rustix::process::geteuid().is_root(),
    };
    let program = job.helper.unwrap_or(Path::new("/proc/self/exe"));
    let (mut child, reader) = start(program, &orders).map_err(fault("start", program))?;
    let output = listen(reader, progress);
    let ended = child.wait().map_err(fault("wait for", program))?;
    let text = fs::read(&status_path).map_err(fault("read", &status_path))?;
    match serde_json::from_slice(&text) {
        Ok(status) => Ok((status, output)),
        Err(_) => Err(SandboxError::Silent { how: ended.to_string() }),
    }
}

fn start(program: &Path, orders: &Orders) -> std::io::Result<(Child, PipeReader)> {
    let (reader, writer) = std::io::pipe()?;
    let mut child = Command::new(program)
        .arg(super::OUTER)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .spawn()?;
    let text = serde_json::to_vec(orders)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(&text)?;
    }
    Ok((child, reader))
}

/// Passes lines on until the last writer is gone. Returns the last ones.
fn listen(reader: PipeReader, progress: &dyn Progress) -> Vec<String> {
    use std::io::Read;
    let mut reader = BufReader::new(reader);
    let mut tail = VecDeque::with_capacity(TAIL);
    loop {
        let mut line = Vec::new();
        match (&mut reader).take(LINE_LIMIT).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return tail.into(),
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\n', '\r']);
        progress.event(Event::Output { line: text });
        if tail.len() == TAIL {
            tail.pop_front();
        }
        tail.push_back(text.to_owned());
    }
}

/// Where overlayfs is refused, the command works on a copy.
fn copy_tree(space: &mut Space) -> Result<(), SandboxError> {
    let root = space.path.join("root");
    copy_folder(&space.path.join("skeleton"), &root)?;
    copy_folder(&space.lower.clone(), &root)?;
    space.copied = true;
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), SandboxError> {
    for entry in fs::read_dir(from).map_err(fault("list", from))? {
        let entry = entry.map_err(fault("list", from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let found = fs::symlink_metadata(&source).map_err(fault("look at", &source))?;
        if found.is_dir() {
            match fs::create_dir(&target) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                other => other.map_err(fault("make", &target))?,
            }
            copy_folder(&source, &target)?;
        } else {
            let _ = fs::remove_file(&target);
            if found.is_symlink() {
                let link = fs::read_link(&source).map_err(fault("read the link", &source))?;
                std::os::unix::fs::symlink(link, &target).map_err(fault("make the link", &target))?;
            } else {
                fs::copy(&source, &target).map_err(fault("copy", &source))?;
            }
        }
        crate::diff::copy_meta(&source, &target, &found)
            .map_err(fault("set the owner and mode of", &target))?;
    }
    Ok(())
}

fn set_mode(path: &Path, mode: u32) -> Result<(), SandboxError> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(fault("set the mode of", path))
}

fn write(path: &Path, text: &str) -> Result<(), SandboxError> {
    fs::write(path, text).map_err(fault("write", path))?;
    set_mode(path, 0o644)
}

fn fault(act: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> SandboxError {
    let path = path.to_owned();
    move |source| SandboxError::Io { act, path, source }
}
