//! The outer process: makes the namespaces, starts process 1 in them, waits for it, and says how it went.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, set_parent_process_death_signal};

use super::INNER;
use super::orders::{Orders, Status};

pub(super) fn main() -> ExitCode {
    let Some(orders) = read_orders() else { return ExitCode::from(125) };
    let status = match run(&orders) {
        Ok(Some(status)) => status,
        // Process 1 said itself why there was no command.
        Ok(None) => return ExitCode::SUCCESS,
        Err((act, error)) => Status::Setup { act, errno: error.raw_os_error().unwrap_or(0) },
    };
    write_status(&orders, &status);
    ExitCode::SUCCESS
}

pub(super) fn read_orders() -> Option<Orders> {
    let mut text = Vec::new();
    std::io::stdin().read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

pub(super) fn write_status(orders: &Orders, status: &Status) {
    if let Ok(text) = serde_json::to_vec(status) {
        let _ = fs::write(orders.space.join("status"), text);
    }
}

type Fault = (String, std::io::Error);

fn run(orders: &Orders) -> Result<Option<Status>, Fault> {
    die_with_parent(Some(orders.parent))?;
    if orders.rootless {
        enter_user_namespace()?;
    }
    // Process 1 makes its own mount namespace: a new root would be this process's too if they shared one.
    let mut flags = CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWCGROUP;
    if !orders.network {
        flags |= CloneFlags::CLONE_NEWNET;
    }
    unshare(flags).map_err(|error| ("make namespaces".to_owned(), error.into()))?;
    if !orders.network {
        // Without it programs that talk to themselves over 127.0.0.1 fail; failing to is their problem only.
        let _ = super::loopback::up();
    }
    let mut child = start(orders).map_err(|error| ("start process 1".to_owned(), error))?;
    wait(&mut child, orders)
}

/// Asks for SIGKILL when the parent dies, and looks whether it is dead already.
pub(super) fn die_with_parent(parent: Option<i32>) -> Result<(), Fault> {
    let fault = |error| ("tie the sandbox to its parent".to_owned(), error);
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| fault(error.into()))?;
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    if parent.is_some() && now != parent {
        return Err(fault(std::io::Error::other("the parent is gone")));
    }
    Ok(())
}

/// Becomes root of a user namespace that knows only this user.
fn enter_user_namespace() -> Result<(), Fault> {
    let fault = |error| ("make a user namespace".to_owned(), error);
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|error| fault(error.into()))?;
    fs::write("/proc/self/setgroups", "deny").map_err(fault)?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1")).map_err(fault)?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1")).map_err(fault)
}

fn start(orders: &Orders) -> std::io::Result<Child> {
    let mut child = Command::new("/proc/self/exe").arg(INNER).stdin(Stdio::piped()).spawn()?;
    let text = serde_json::to_vec(orders)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(&text)?;
    }
    Ok(child)
}

fn wait(child: &mut Child, orders: &Orders) -> Result<Option<Status>, Fault> {
    let fault = |error| ("wait for the command".to_owned(), error);
    if let Some(limit) = orders.timeout
        && !ends_within(child, Duration::from_millis(limit)).map_err(fault)?
    {
        child.kill().map_err(fault)?;
        child.wait().map_err(fault)?;
        return Ok(Some(Status::TimedOut));
    }
    let ended = child.wait().map_err(fault)?;
    // Process 1 says itself how the command ended, unless it was killed.
    if fs::metadata(orders.space.join("status")).is_ok_and(|file| file.len() > 0) {
        return Ok(None);
    }
    Ok(Some(match (ended.code(), ended.signal()) {
        (Some(code), _) => Status::Exit(code),
        (None, signal) => Status::Signal(signal.unwrap_or(0)),
    }))
}

fn ends_within(child: &Child, limit: Duration) -> std::io::Result<bool> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| std::io::Error::other("process 1 has no number"))?;
    let handle = pidfd_open(pid, PidfdFlags::empty())?;
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = rustix::event::Timespec::try_from(left).map_err(std::io::Error::other)?;
        let mut watched = [PollFd::new(&handle, PollFlags::IN)];
        match poll(&mut watched, Some(&timeout)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
