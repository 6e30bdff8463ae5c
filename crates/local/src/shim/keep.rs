//! The supervisor's second life: the poll loop that stays.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::bag;
use super::clients::Client;
use super::ending::{self, Stopping};
use super::log::{Log, Pump, Stream};
use super::protocol::Request;
use crate::cgroup::{Controller, Group, Hierarchy};
use crate::files;
use crate::intent::{LogRule, ShimPhase, Status, StopRule};
use crate::layout::InstanceDir;

/// The verb of the second life.
pub(super) const VERB: &str = "shim-keep";

/// More talk to nobody's supervisor at once; a proxy with a connection to each port needs a handful.
const MOST_CLIENTS: usize = 256;

/// What the first life tells the second.
#[derive(Serialize, Deserialize)]
pub(super) struct Note {
    pub(super) pid: i32,
    pub(super) group: String,
    pub(super) controllers: Vec<Controller>,
    pub(super) watched: bool,
    pub(super) stop: StopRule,
    pub(super) log: LogRule,
    pub(super) memory: Option<u64>,
    pub(super) status: Status,
}

struct Keeper {
    dir: InstanceDir,
    pid: Pid,
    status: Status,
    stop: StopRule,
    memory: Option<u64>,
    group: Group,
    log: Log,
    pumps: Vec<Pump>,
    clients: Vec<Client>,
    stopping: Option<Stopping>,
    ended: Option<WaitStatus>,
    /// Held as long as this process lives.
    _lock: OwnedFd,
}

pub(super) fn main(folder: &Path) -> ExitCode {
    match bag::unpack().and_then(|(note, descriptors)| run(folder, note, descriptors)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn run(folder: &Path, note: Note, descriptors: Vec<OwnedFd>) -> io::Result<()> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block()?;
    // When the machine runs out of memory, the kernel should take a program and not its supervisor. An ordinary user
    // may not ask for that.
    let _ = fs::write("/proc/self/oom_score_adj", "-900");
    let signals = SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    let (mut keeper, listener) = Keeper::new(folder, note, descriptors)?;
    keeper.reap();
    while keeper.ended.is_none() {
        keeper.turn(&signals, &listener)?;
    }
    keeper.conclude();
    Ok(())
}

impl Keeper {
    fn new(folder: &Path, note: Note, descriptors: Vec<OwnedFd>) -> io::Result<(Self, UnixListener)> {
        let mut descriptors = descriptors.into_iter();
        let mut next = || descriptors.next().ok_or(io::ErrorKind::InvalidData);
        let (lock, listener, out, err) = (next()?, next()?, next()?, next()?);
        let mut clients = Vec::new();
        if note.watched {
            clients.push(Client::new(UnixStream::from(next()?), true)?);
        }
        let hierarchies = note.controllers.into_iter().zip(descriptors);
        let hierarchies = hierarchies
            .map(|(controller, parent)| Hierarchy { controller, parent, path: PathBuf::new(), origin: None })
            .collect();
        for pipe in [&out, &err] {
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        let dir = InstanceDir::new(folder);
        let listener = UnixListener::from(listener);
        listener.set_nonblocking(true)?;
        let keeper = Self {
            pid: Pid::from_raw(note.pid),
            status: note.status,
            stop: note.stop,
            memory: note.memory,
            group: Group::existing(&note.group, hierarchies),
            log: Log::open(dir.log(), note.log),
            pumps: vec![Pump::new(File::from(out), Stream::Out), Pump::new(File::from(err), Stream::Err)],
            clients,
            stopping: None,
            ended: None,
            dir,
            _lock: lock,
        };
        Ok((keeper, listener))
    }

    /// Waits for the next thing to happen and deals with it.
    fn turn(&mut self, signals: &SignalFd, listener: &UnixListener) -> io::Result<()> {
        let wait = self.stopping.as_mut().and_then(|stopping| stopping.press(self.pid));
        let ready = self.wait(signals, listener, wait)?;
        let mut ready = ready.into_iter();
        let mut next = move || ready.next().unwrap_or(PollFlags::empty());
        if !next().is_empty() {
            self.signalled(signals);
        }
        let arrived = !next().is_empty();
        let log = &mut self.log;
        self.pumps.retain_mut(|pump| next().is_empty() || pump.run(log));
        self.serve(&mut next);
        if arrived {
            self.accept(listener);
        }
        Ok(())
    }

    fn wait(
        &self,
        signals: &SignalFd,
        listener: &UnixListener,
        wait: Option<Duration>,
    ) -> io::Result<Vec<PollFlags>> {
        let mut all = vec![
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(listener.as_fd(), PollFlags::POLLIN),
        ];
        all.extend(self.pumps.iter().map(|pump| PollFd::new(pump.pipe.as_fd(), PollFlags::POLLIN)));
        for client in &self.clients {
            let mut interest = PollFlags::POLLIN;
            interest.set(PollFlags::POLLOUT, client.has_output());
            all.push(match &client.pending {
                Some(socket) => PollFd::new(socket.as_fd(), PollFlags::POLLOUT),
                None => PollFd::new(client.stream.as_fd(), interest),
            });
        }
        // Rounded up, so that the deadline has passed when the wait ends.
        let timeout = wait.map_or(PollTimeout::NONE, |wait| {
            PollTimeout::try_from(wait + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut all, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(all.iter().map(|polled| polled.revents().unwrap_or(PollFlags::empty())).collect())
    }

    fn signalled(&mut self, signals: &SignalFd) {
        while let Ok(Some(signal)) = signals.read_signal() {
            // The machine going down asks everybody like this; a terminal's signals are not for us.
            if i32::try_from(signal.ssi_signo).is_ok_and(|number| number == Signal::SIGTERM as i32) {
                self.act(Request::Stop(self.stop.clone()));
            }
        }
        self.reap();
    }

    /// Buries every child; the end of the first process is the end of the instance.
    fn reap(&mut self) {
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            match status.pid() {
                Some(pid) if pid == self.pid => self.ended = Some(status),
                Some(_) => {}
                None => break,
            }
        }
    }

    fn serve(&mut self, next: &mut impl FnMut() -> PollFlags) {
        let mut requests = Vec::new();
        let line = self.status_line();
        self.clients.retain_mut(|client| {
            let ready = next();
            if ready.is_empty() {
                return true;
            }
            if client.pending.is_some() {
                return client.settle();
            }
            if ready.contains(PollFlags::POLLOUT) && !client.write() {
                return false;
            }
            client.read(|client, request| match request {
                Request::Watch => {
                    client.watches = true;
                    let _ = client.send(&line);
                }
                other => requests.push(other),
            })
        });
        for request in requests {
            self.act(request);
        }
    }

    fn accept(&mut self, listener: &UnixListener) {
        while let Ok((stream, _)) = listener.accept() {
            if self.clients.len() < MOST_CLIENTS {
                self.clients.extend(Client::new(stream, false).ok());
            }
        }
    }

    fn act(&mut self, request: Request) {
        match request {
            Request::Watch => {}
            Request::Kill => {
                let _ = kill(self.pid, Signal::SIGKILL);
            }
            Request::Stop(rule) => match &mut self.stopping {
                // Asked again: the shorter patience holds.
                Some(stopping) => {
                    let deadline = Instant::now() + Duration::from_millis(rule.grace_ms);
                    stopping.deadline = stopping.deadline.min(deadline);
                }
                None => {
                    self.stopping = Some(ending::begin(self.pid, rule));
                    self.status.phase = ShimPhase::Stopping;
                    self.tell();
                }
            },
        }
    }

    fn status_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(&self.status).unwrap_or_default();
        line.push(b'\n');
        line
    }

    /// Writes the status down and tells every watcher.
    fn tell(&mut self) {
        let line = self.status_line();
        let _ = files::replace(&self.dir.status(), &line);
        self.clients.retain_mut(|client| !client.watches || client.send(&line));
    }

    /// The instance has ended: the rest of its output, its status, its group.
    fn conclude(&mut self) {
        // With the first process all others of the namespace are dead, so the pipes end.
        for pump in &mut self.pumps {
            let until = Instant::now() + Duration::from_secs(1);
            while pump.run(&mut self.log) && Instant::now() < until {}
            pump.finish(&mut self.log);
        }
        let killed_for_memory = self.group.out_of_memory_kills() > 0;
        if let Some(status) = self.ended {
            let memory = self.memory.filter(|_| killed_for_memory);
            let exit = ending::describe(status, self.stopping.as_ref(), memory, files::now_ms());
            self.status.exit = Some(exit);
        }
        self.status.phase = ShimPhase::Exited;
        let _ = fs::remove_file(self.dir.socket());
        self.tell();
        let _ = self.group.remove();
    }
}
