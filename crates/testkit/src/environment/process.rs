//! Finding and ending what runs under one `KILN_HOME`, and nothing else.
//!
//! A process belongs to it when its environment names the folder, or when an instance's `status.json` names it
//! together with the time it began: process ids alone are used again.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use super::InstanceProcesses;

/// A command that runs beside the test. It is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Running {
    pub(super) fn new(child: Child, out: PathBuf, err: PathBuf) -> Self {
        Self { child, out, err }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Standard output so far.
    pub fn stdout(&self) -> String {
        super::read(&self.out)
    }

    /// Standard error so far.
    pub fn stderr(&self) -> String {
        super::read(&self.err)
    }

    /// Its exit status, once it has ended: `Some(None)` when a signal ended it.
    ///
    /// # Panics
    /// When the child cannot be waited for.
    pub fn ended(&mut self) -> Option<Option<i32>> {
        self.child.try_wait().expect("a child can be waited for").map(|status| status.code())
    }

    /// Waits for its end and returns the exit status; `None` when a signal ended it.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn wait(&mut self, deadline: Duration) -> Option<i32> {
        let begun = Instant::now();
        loop {
            if let Some(code) = self.ended() {
                return code;
            }
            assert!(begun.elapsed() < deadline, "it still runs after {deadline:?}\n{}", self.stderr());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        super::end(&mut self.child);
    }
}

/// Sends a signal, by number, to one process.
///
/// # Errors
/// When there is no such process or signal.
pub fn signal(pid: u32, number: i32) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    match (pid, Signal::from_named_raw(number)) {
        (Some(pid), Some(signal)) => Ok(kill_process(pid, signal)?),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Whether a process exists and is no zombie.
pub fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| stat.state != 'Z' && stat.state != 'X')
}

struct Stat {
    state: char,
    began: u64,
}

/// The state and the time of the beginning from `/proc/PID/stat` (proc_pid_stat(5), fields 3 and 22).
fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in parentheses, which may contain anything.
    let rest = text.rsplit_once(") ")?.1;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    let began = fields.nth(18)?.parse().ok()?;
    Some(Stat { state, began })
}

pub(super) fn from_file(path: &Path) -> Option<u32> {
    let text = fs::read_to_string(path).ok()?;
    text.trim().parse().ok().filter(|pid| is_alive(*pid))
}

#[derive(Deserialize)]
struct Status {
    shim_pid: Option<u32>,
    pid: Option<u32>,
    pid_start: Option<u64>,
}

/// Living processes of the instances of a home.
pub(super) fn instances(home: &Path) -> Vec<InstanceProcesses> {
    let Ok(entries) = fs::read_dir(home.join("instances")) else { return Vec::new() };
    let read = |entry: fs::DirEntry| {
        let status: Status =
            serde_json::from_slice(&fs::read(entry.path().join("status.json")).ok()?).ok()?;
        let same = |pid: &u32| is_alive(*pid) && stat(*pid).map(|stat| stat.began) == status.pid_start;
        Some(InstanceProcesses {
            id: entry.file_name().to_string_lossy().into_owned(),
            shim: status.shim_pid.filter(|pid| belongs(*pid, home)),
            init: status.pid.filter(same),
        })
    };
    let lives = |instance: &InstanceProcesses| instance.shim.is_some() || instance.init.is_some();
    entries.flatten().filter_map(read).filter(lives).collect()
}

/// Whether a process's environment or command line names the home.
fn belongs(pid: u32, home: &Path) -> bool {
    let wanted = home.as_os_str().as_bytes();
    let names = |file: &str| {
        let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        bytes.windows(wanted.len()).any(|window| window == wanted)
    };
    pid != std::process::id() && is_alive(pid) && (names("environ") || names("cmdline"))
}

/// All living processes of a home.
pub(super) fn all(home: &Path) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut pids: Vec<u32> = numbers.filter(|pid| belongs(*pid, home)).collect();
    pids.extend(instances(home).into_iter().filter_map(|instance| instance.init));
    pids.sort_unstable();
    pids.dedup();
    pids
}

/// Kills everything of a home. Supervisors may start something between two looks, so it looks until nothing is left.
pub(super) fn end_all(home: &Path) {
    let begun = Instant::now();
    loop {
        let pids = all(home);
        if pids.is_empty() {
            return;
        }
        if begun.elapsed() > Duration::from_secs(10) {
            eprintln!("processes {pids:?} under {} cannot be ended", home.display());
            return;
        }
        for pid in pids {
            // It may have ended since it was seen.
            let _ = signal(pid, rustix::process::Signal::KILL.as_raw());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Detaches mounts below a folder, innermost first, so that the folder can be removed.
pub(super) fn unmount_below(folder: &Path) {
    let Ok(table) = fs::read_to_string("/proc/self/mountinfo") else { return };
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(Path::new);
    let below: Vec<&Path> = points.filter(|point| point.starts_with(folder)).collect();
    for point in below.into_iter().rev() {
        if let Err(error) = rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH) {
            eprintln!("cannot unmount {}: {error}", point.display());
        }
    }
}
