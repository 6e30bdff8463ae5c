//! A process that joins an instance and executes a command there: `kiln shim-exec FOLDER [--user=USER] -- ARGV`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::Arc;

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use nix::sched::{CloneFlags, setns};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::pipe::{PipeFlags, pipe_with};

use super::fault::{Doing, StartError, chain, library};
use super::make::{environment, not_executed};
use crate::cgroup::{self, Controller, Group};
use crate::files;
use crate::intent::{Intent, ShimPhase, Status};
use crate::layout::InstanceDir;
use crate::sandbox::executor::{Launch, this_process};
use crate::sandbox::tree::Tree;
use crate::sandbox::{seccomp, secrets, user};

/// Exit code when the command could not be executed at all; the one that shells and Docker use.
const NOT_EXECUTED: u8 = 126;

pub(super) fn main(dir: &InstanceDir, user: Option<&str>, argv: &[String]) -> ExitCode {
    match run(dir, user, argv) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let _ =
                writeln!(io::stderr(), "kiln: cannot execute in {}: {}", dir.path().display(), chain(&error));
            ExitCode::from(NOT_EXECUTED)
        }
    }
}

fn run(dir: &InstanceDir, user: Option<&str>, argv: &[String]) -> Result<u8, StartError> {
    let intent: Option<Intent> = files::read_json(&dir.intent()).doing("read the intent")?;
    let intent = intent.ok_or_else(|| StartError::NoIntent(dir.intent()))?;
    let status: Status = files::read_json(&dir.status()).doing("read the status")?.unwrap_or_default();
    if status.phase != ShimPhase::Running || argv.is_empty() {
        return Err(StartError::NotRunning);
    }
    let tree = Tree::open(&intent.tree).doing("open the image's tree")?;
    let user = user::look_up(&tree, user.or(intent.user.as_deref()))?;
    join_group(&intent);
    join_supervisor(&status, intent.rootless)?;
    let mut env = environment(&intent, &user);
    let kept = secrets::variables(&dir.secrets(), &intent.secrets);
    env.extend(kept.doing("read the instance's secrets")?);
    let (report, report_end) = pipe_with(PipeFlags::CLOEXEC).doing("make a pipe")?;
    let launch = Launch {
        filters: Arc::new(seccomp::filters()?),
        argv: argv.into(),
        env: env.into_iter().collect(),
        report: Arc::new(report_end.into()),
        parent: Arc::new(this_process().doing("watch over itself")?),
    };
    let built = ContainerBuilder::new(intent.id.to_string(), SyscallType::default())
        .with_root_path(dir.run())
        .map_err(library(dir))?
        .with_executor(launch)
        .as_tenant()
        .with_container_args(argv.to_vec())
        .with_cwd(Some(intent.workdir.clone()))
        .with_user(Some(user.uid))
        .with_group(Some(user.gid))
        .with_no_new_privs(true)
        .with_detach(false)
        .build();
    // What the last step says is better than what the library makes of it.
    let mut failure = String::new();
    File::from(report).read_to_string(&mut failure).doing("wait for the command")?;
    if !failure.is_empty() {
        return Err(StartError::NotExecuted(not_executed(&tree, &argv[0], &intent, &failure)));
    }
    let pid = Pid::from_raw(built.map_err(library(dir))?.as_raw());
    Ok(match waitpid(pid, None).doing("wait for the command")? {
        WaitStatus::Exited(_, code) => u8::try_from(code).unwrap_or(u8::MAX),
        WaitStatus::Signaled(_, signal, _) => 128 + signal as u8,
        _ => u8::MAX,
    })
}

fn join_group(intent: &Intent) {
    let Some((folder, name)) = intent.cgroup.split_once('/') else { return };
    let mut wanted = vec![Controller::Pids, Controller::Memory];
    if intent.limits.cpu.is_some() {
        wanted.push(Controller::Cpu);
    }
    // Where the instance itself could not be limited, neither can its commands.
    let _ = Group::existing(name, cgroup::find(folder, &wanted).hierarchies).join();
}

/// Into the supervisor's namespaces, where the container library finds the world as it left it.
fn join_supervisor(status: &Status, rootless: bool) -> Result<(), StartError> {
    let open = |kind: &str| File::open(format!("/proc/{}/ns/{kind}", status.shim_pid));
    // All are opened before the first is entered: what is entered may forbid to look at the others.
    let mut all = Vec::new();
    let user = rootless.then_some(("user", CloneFlags::CLONE_NEWUSER));
    let others = [("net", CloneFlags::CLONE_NEWNET), ("mnt", CloneFlags::CLONE_NEWNS)];
    for (kind, flag) in user.into_iter().chain(others) {
        all.push((open(kind).doing("find the instance's namespaces")?, flag));
    }
    for (namespace, flag) in all {
        setns(namespace.as_fd(), flag).doing("enter the instance's namespaces")?;
    }
    Ok(())
}
