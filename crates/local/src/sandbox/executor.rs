//! The last step inside the sandbox: filters on, then the program.
//!
//! The container library ignores the seccomp part of the configuration unless a C library is linked, so it happens
//! here. Failures go through a pipe that closes by itself when the program is executed: end of file is success, and
//! the moment it comes is the moment the program began.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::{collections::HashMap, fs::File};

use libcontainer::workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError};
use oci_spec::runtime::Spec;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::FdFlags;
use rustix::process::{PidfdFlags, Signal, getpid, pidfd_open, set_parent_process_death_signal};
use seccompiler::BpfProgram;

/// Executes the program of an instance or a command in it.
#[derive(Clone)]
pub(crate) struct Launch {
    pub(crate) filters: Arc<[BpfProgram; 2]>,
    pub(crate) argv: Arc<[String]>,
    pub(crate) env: Arc<[(String, String)]>,
    /// Where a failure is told; closes on success.
    pub(crate) report: Arc<File>,
    /// The supervisor itself, whose end the program shares.
    pub(crate) parent: Arc<OwnedFd>,
}

/// This process, as its children are to watch it.
pub(crate) fn this_process() -> rustix::io::Result<OwnedFd> {
    pidfd_open(getpid(), PidfdFlags::empty())
}

impl Launch {
    fn run(&self) -> std::io::Error {
        for filter in self.filters.iter() {
            if let Err(error) = seccompiler::apply_filter(filter) {
                return std::io::Error::other(error);
            }
        }
        let program = self.program();
        let mut command = Command::new(&program);
        command.args(&self.argv[1..]).env_clear();
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        if let Some(name) = self.argv.first() {
            command.arg0(name);
        }
        // `exec` of the standard library also gives SIGPIPE its default back, and an empty signal mask.
        command.exec()
    }

    /// Looks the program up in the instance's own PATH.
    fn program(&self) -> PathBuf {
        let name = self.argv.first().map_or("", String::as_str);
        if name.contains('/') {
            return name.into();
        }
        let path = self.env.iter().find(|(key, _)| key == "PATH").map_or("", |(_, value)| value);
        let found =
            path.split(':').map(|folder| PathBuf::from(folder).join(name)).find(|full| full.is_file());
        found.unwrap_or_else(|| name.into())
    }
}

impl Executor for Launch {
    fn exec(&self, _: &Spec) -> Result<(), ExecutorError> {
        let error = self.run();
        let code = error.raw_os_error().unwrap_or(0);
        let _ = (&*self.report).write_all(format!("{code} {error}").as_bytes());
        Err(ExecutorError::Other(error.to_string()))
    }

    /// Called in the sandbox, as the program's user, before anybody waits for anything. From here on the supervisor's
    /// death is the program's: the kernel sends SIGKILL, also to the first process of a namespace. It does not when the
    /// death came before the wish, so that is looked at too.
    fn validate(&self, _: &Spec) -> Result<(), ExecutorValidationError> {
        let wrap = |error: rustix::io::Errno| ExecutorValidationError::ArgValidationError(error.to_string());
        set_parent_process_death_signal(Some(Signal::KILL)).map_err(wrap)?;
        // A process's descriptor is readable once the process has ended (pidfd_open(2)).
        let ended = poll(&mut [PollFd::new(&*self.parent, PollFlags::IN)], Some(&Timespec::default()))
            .map_err(wrap)?;
        if ended > 0 {
            return Err(ExecutorValidationError::ArgValidationError("the supervisor has died".into()));
        }
        // Marked again, in case the library ever preserves descriptors: the pipe must close with the execution.
        rustix::io::fcntl_setfd(self.report.as_fd(), FdFlags::CLOEXEC).map_err(wrap)
    }

    fn setup_envs(&self, _: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        Ok(())
    }
}
