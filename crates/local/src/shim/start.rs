//! The supervisor's first life: from an intent to a running program.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use rustix::fs::{FlockOperation, flock};

use super::fault::{Doing, StartError, chain};
use super::make::{Started, start};
use super::{bag, keep};
use crate::files;
use crate::intent::{Exit, ShimPhase, Status};
use crate::layout::InstanceDir;

/// Exit codes of a supervisor, for whoever starts one by hand.
const ALREADY: u8 = 3;
const FAILED: u8 = 1;

pub(super) fn main(folder: &Path) -> ExitCode {
    let dir = InstanceDir::new(std::path::absolute(folder).unwrap_or_else(|_| folder.into()));
    let lock = match take_lock(&dir) {
        Ok(lock) => lock,
        Err(error) => {
            let _ = writeln!(io::stderr(), "kiln shim: {}: {}", folder.display(), chain(&error));
            return ExitCode::from(ALREADY);
        }
    };
    let mut status = Status { shim_pid: std::process::id(), boot: files::boot_id(), ..Status::default() };
    let starter = starter();
    match start(&dir, starter.as_ref(), &mut status) {
        Ok(started) => {
            tell(&dir, starter.as_ref(), &status);
            become_keeper(&dir, &lock, &started, starter.as_ref(), status)
        }
        Err(error) => {
            let what = chain(&error);
            status.phase = ShimPhase::Exited;
            status.exit = Some(Exit { what, status: None, out_of_memory: false, at_ms: files::now_ms() });
            tell(&dir, starter.as_ref(), &status);
            ExitCode::from(FAILED)
        }
    }
}

/// The provider's end of the socket that it may have put on standard input: it is told the status as if it had asked
/// to watch, without having to find the supervisor's own socket first.
fn starter() -> Option<UnixStream> {
    let stdin = io::stdin();
    let stat = rustix::fs::fstat(stdin.as_fd()).ok()?;
    let is_socket = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_socket();
    is_socket.then(|| stdin.as_fd().try_clone_to_owned().ok()).flatten().map(UnixStream::from)
}

/// Writes the status down and tells the starter.
fn tell(dir: &InstanceDir, starter: Option<&UnixStream>, status: &Status) {
    let mut line = serde_json::to_vec(status).unwrap_or_default();
    line.push(b'\n');
    let _ = files::replace(&dir.status(), &line);
    if let Some(mut starter) = starter {
        let _ = starter.write_all(&line);
    }
}

/// An instance is started once in its life, by one supervisor.
fn take_lock(dir: &InstanceDir) -> Result<File, StartError> {
    let lock = File::options().create(true).truncate(false).write(true).open(dir.lock());
    let lock = lock.doing("open the lock")?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| StartError::Supervised)?;
    if dir.status().exists() {
        return Err(StartError::StartedBefore);
    }
    Ok(lock)
}

fn become_keeper(
    dir: &InstanceDir,
    lock: &File,
    started: &Started,
    starter: Option<&UnixStream>,
    status: Status,
) -> ExitCode {
    let error = match pack(lock, started, starter, status) {
        Ok(bag) => {
            Command::new("/proc/self/exe").arg0("kiln").arg(keep::VERB).arg(dir.path()).stdin(bag).exec()
        }
        Err(error) => error,
    };
    let _ = writeln!(io::stderr(), "kiln shim: {error}");
    ExitCode::from(FAILED)
}

fn pack(lock: &File, started: &Started, starter: Option<&UnixStream>, status: Status) -> io::Result<OwnedFd> {
    let mut descriptors =
        vec![lock.as_fd(), started.listener.as_fd(), started.output[0].as_fd(), started.output[1].as_fd()];
    descriptors.extend(starter.map(AsFd::as_fd));
    descriptors.extend(started.group.hierarchies.iter().map(|hierarchy| hierarchy.parent.as_fd()));
    let note = keep::Note {
        pid: started.pid,
        group: started.group.name.clone(),
        controllers: started.group.hierarchies.iter().map(|hierarchy| hierarchy.controller).collect(),
        watched: starter.is_some(),
        stop: started.intent.stop.clone(),
        log: started.intent.log,
        memory: started.intent.limits.memory,
        status,
    };
    bag::pack(&note, &descriptors)
}
