//! Process 1: makes the root, gives up its privileges, starts the command, buries what dies, and goes with the
//! command: everything else in the sandbox dies with it. The command is not process 1 itself, since the kernel
//! shields that one from signals, its own included.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, WaitOptions, set_dumpable_behavior};

use super::child::{die_with_parent, read_orders};
use super::mounts::{self, RootFault};
use super::orders::{Orders, Status};

pub(super) fn main() -> ExitCode {
    let Some(orders) = read_orders() else { return ExitCode::from(125) };
    // Opened now: behind the new root there is no path to it.
    let Ok(mut status) = File::create(orders.space.join("status")) else { return ExitCode::from(125) };
    let word = run(&orders);
    if let Ok(text) = serde_json::to_vec(&word) {
        let _ = status.write_all(&text);
    }
    ExitCode::SUCCESS
}

fn run(orders: &Orders) -> Status {
    match prepare(orders) {
        Ok(()) => {}
        Err(RootFault::NoOverlay) => return Status::NoOverlay,
        Err(RootFault::Other((act, error))) => return setup(act, &error),
    }
    if std::env::set_current_dir(&orders.workdir).is_err() {
        return Status::NoFolder { path: orders.workdir.clone() };
    }
    let Some((program, arguments)) = orders.argv.split_first() else {
        return Status::NoProgram { program: String::new(), errno: None };
    };
    let path = orders.env.get("PATH").map_or("", String::as_str);
    let Some(found) = look_up(program, path) else {
        return Status::NoProgram { program: program.clone(), errno: None };
    };
    if let Err(error) = super::limits::apply() {
        return setup("give up privileges".into(), &error);
    }
    let mut command = Command::new(&found);
    command.arg0(program).args(arguments).env_clear().envs(&orders.env).stdin(Stdio::null());
    match command.spawn() {
        Ok(child) => bury(child.id()),
        Err(error) => Status::NoProgram { program: program.clone(), errno: error.raw_os_error() },
    }
}

fn setup(act: String, error: &io::Error) -> Status {
    Status::Setup { act, errno: error.raw_os_error().unwrap_or(0) }
}

/// Waits for the command, and for every orphan that dies before it.
fn bury(command: u32) -> Status {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if u32::try_from(pid.as_raw_nonzero().get()) == Ok(command) => {
                return match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => Status::Exit(code),
                    (None, signal) => Status::Signal(signal.unwrap_or(0)),
                };
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return setup("wait for the command".into(), &error.into()),
        }
    }
}

fn prepare(orders: &Orders) -> Result<(), RootFault> {
    die_with_parent(None).map_err(RootFault::Other)?;
    let fault = |act: &str| {
        let act = act.to_owned();
        move |error: rustix::io::Errno| RootFault::Other((act, io::Error::from(error)))
    };
    rustix::process::setsid().map_err(fault("begin a session"))?;
    rustix::system::sethostname(b"kiln").map_err(fault("set the host name"))?;
    if !orders.rootless {
        rustix::thread::set_thread_groups(&[]).map_err(fault("drop the groups"))?;
    }
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let no_core = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(rustix::process::Resource::Core, no_core)
        .map_err(fault("forbid core dumps"))?;
    mounts::enter(orders)?;
    // The command has the same user: it must not reach this process's memory, files and program through /proc.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(fault("close process 1"))
}

/// The program as `execvp` finds it. A name with a slash is a path.
fn look_up(program: &str, path: &str) -> Option<std::path::PathBuf> {
    let executable = |candidate: &Path| {
        fs::metadata(candidate).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        return Path::new(program).exists().then(|| program.into());
    }
    path.split(':')
        .filter(|folder| !folder.is_empty())
        .map(|folder| Path::new(folder).join(program))
        .find(|candidate| executable(candidate))
}
