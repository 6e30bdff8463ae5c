//! Making the sandbox and starting the program in it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::DumpableBehavior;

use super::fault::{Doing, StartError, library};
use crate::cgroup::{self, Controller, Group};
use crate::files;
use crate::intent::{Intent, ShimPhase, Status};
use crate::layout::InstanceDir;
use crate::net::{inside, names};
use crate::sandbox::executor::{Launch, this_process};
use crate::sandbox::secrets::{self, Values};
use crate::sandbox::tree::Tree;
use crate::sandbox::user::{self, User};
use crate::sandbox::userns::Mapping;
use crate::sandbox::{complaints::Complaints, decoy, explain, rootfs, seccomp, spec, volumes};

/// What a started instance leaves for the supervisor's second life.
pub(super) struct Started {
    pub(super) intent: Intent,
    pub(super) pid: i32,
    pub(super) output: [OwnedFd; 2],
    pub(super) listener: OwnedFd,
    pub(super) group: Group,
}

/// Makes the sandbox and starts the program; notes in the status how far it came.
pub(super) fn start(
    dir: &InstanceDir,
    starter: Option<&UnixStream>,
    status: &mut Status,
) -> Result<Started, StartError> {
    detach().doing("leave the starter's session")?;
    let intent: Option<Intent> = files::read_json(&dir.intent()).doing("read the intent")?;
    let intent = intent.ok_or_else(|| StartError::NoIntent(dir.intent()))?;
    let values = match intent.secrets.is_empty() {
        true => Values::new(),
        false => secrets::receive(starter).doing("take the secrets over")?,
    };
    let listener = files::listen(&dir.socket()).doing("listen for those who ask")?;
    let group = join_group(&intent, status);
    let started = in_group(dir, &intent, &values, &group, status);
    // The supervisor's own memory and processes are not the instance's. One that cannot leave costs a little of both.
    let _ = group.leave();
    // The library has closed this process to others of its user, such as those that execute commands in the instance.
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable);
    match started {
        Ok((pid, output)) => Ok(Started { intent, pid, output, listener: listener.into(), group }),
        Err(error) => {
            let _ = std::fs::remove_file(dir.socket());
            let _ = group.remove();
            Err(error)
        }
    }
}

fn in_group(
    dir: &InstanceDir,
    intent: &Intent,
    values: &Values,
    group: &Group,
    status: &mut Status,
) -> Result<(i32, [OwnedFd; 2]), StartError> {
    let tree = Tree::open(&intent.tree)
        .map_err(|source| rootfs::RootfsError::Tree { path: intent.tree.clone(), source })?;
    let user = user::look_up(&tree, intent.user.as_deref())?;
    let single_user = enter_namespaces(intent, &user)?;
    if single_user && !user.groups.is_empty() {
        status.warnings.push(format!("user {} is without its further groups: only one is mapped", user.uid));
    }
    let mounts: Vec<String> = intent.volumes.iter().map(|volume| volume.path.clone()).collect();
    let files = names::files(intent, &spec::host_name(intent.id.as_str()));
    rootfs::build_skeleton(&dir.skeleton(), &tree, &mounts, &files)?;
    let workdir = &intent.workdir;
    let made = dir.skeleton().join(workdir.trim_start_matches('/')).is_dir();
    if !made && !tree.is_folder(workdir) && !mounts.iter().any(|path| workdir.starts_with(path)) {
        return Err(StartError::NoWorkdir(workdir.clone()));
    }
    volumes::prepare(&intent.volumes, &user)?;
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
        .doing("keep mounts private")?;
    let limits = view_of_limits(dir, intent, group, status);
    decoy::cover(dir.path()).doing("cover the control groups")?;
    rootfs::assemble(&dir.skeleton(), &intent.tree, &dir.root())?;
    let secret_files = match values.is_empty() {
        true => None,
        false => secrets::keep(&dir.secrets(), &intent.secrets, values, &user)
            .doing("keep the secrets in memory")?,
    };
    let given = spec::Given { intent, user: &user, root: &dir.root(), single_user, limits, secret_files };
    files::write_json(&dir.config(), &spec::build(&given)?).doing("write the configuration")?;
    let mut env = environment(intent, &user);
    env.extend(secrets::variables(&dir.secrets(), &intent.secrets).doing("read the secrets back")?);
    launch(dir, intent, env, &tree, status)
}

/// Language runtimes size themselves by the limits they find in their control group, so those with limits may see
/// theirs. Returns folders and where they belong in the instance.
fn view_of_limits(
    dir: &InstanceDir,
    intent: &Intent,
    group: &Group,
    status: &mut Status,
) -> Vec<(PathBuf, String)> {
    if intent.limits.memory.is_none() && intent.limits.cpu.is_none() {
        return Vec::new();
    }
    group.views(&dir.limits()).unwrap_or_else(|error| {
        status.warnings.push(format!("the instance cannot see its own limits: {error}"));
        Vec::new()
    })
}

/// Away from the starter's terminal, signals and folder.
fn detach() -> io::Result<()> {
    // A group leader cannot do it, and then is one of its own already.
    let _ = rustix::process::setsid();
    rustix::process::chdir("/")?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(())
}

fn join_group(intent: &Intent, status: &mut Status) -> Group {
    let (folder, name) = intent.cgroup.split_once('/').unwrap_or(("kiln", &intent.cgroup));
    let mut wanted = vec![Controller::Pids, Controller::Memory];
    if intent.limits.cpu.is_some() {
        wanted.push(Controller::Cpu);
    }
    let found = cgroup::find(folder, &wanted);
    status.warnings.extend(found.warnings);
    let (group, warnings) = Group::create(name, found.hierarchies);
    status.warnings.extend(warnings);
    status.warnings.extend(cgroup::apply(&group, &intent.limits));
    group
}

/// Returns whether a single user is all that is mapped.
fn enter_namespaces(intent: &Intent, user: &User) -> Result<bool, StartError> {
    let outside = inside::Outside::open(&intent.network).doing("find the bridge of this home")?;
    let own = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
    let mut single_user = false;
    if intent.rootless {
        let mapping = Mapping::find();
        mapping.enter(user, own)?;
        single_user = mapping.single_user();
    } else {
        unshare(own).map_err(|error| StartError::Forbidden(error.into()))?;
    }
    inside::set_up(&intent.network, outside).doing("set the instance's network up")?;
    Ok(single_user)
}

fn launch(
    dir: &InstanceDir,
    intent: &Intent,
    env: BTreeMap<String, String>,
    tree: &Tree,
    status: &mut Status,
) -> Result<(i32, [OwnedFd; 2]), StartError> {
    Complaints::collect(&dir.complaints()).doing("collect complaints")?;
    let pipe = || pipe_with(PipeFlags::CLOEXEC).doing("make a pipe");
    let [(out, out_end), (err, err_end), (report, report_end)] = [pipe()?, pipe()?, pipe()?];
    let launch = Launch {
        filters: Arc::new(seccomp::filters()?),
        argv: intent.argv.clone().into(),
        env: env.into_iter().collect(),
        report: Arc::new(report_end.into()),
        parent: Arc::new(this_process().doing("watch over itself")?),
    };
    let null = File::open("/dev/null").doing("open /dev/null")?;
    let mut container = ContainerBuilder::new(intent.id.to_string(), SyscallType::default())
        .with_root_path(dir.run())
        .map_err(library(dir))?
        .with_executor(launch)
        .with_stdin(null)
        .with_stdout(out_end)
        .with_stderr(err_end)
        .as_init(dir.path())
        .with_systemd(false)
        .with_detach(false)
        .build()
        .map_err(|error| library(dir)(error))?;
    let lost = io::Error::from(io::ErrorKind::NotFound);
    let pid = container.pid().ok_or(lost).doing("find the instance's first process")?.as_raw();
    status.pid = Some(pid.unsigned_abs());
    status.pid_start = files::process_start(pid.unsigned_abs());
    files::write_json(&dir.status(), status).doing("write the status")?;
    container.start().map_err(|error| library(dir)(error))?;
    let mut failure = String::new();
    File::from(report).read_to_string(&mut failure).doing("wait for the program")?;
    if !failure.is_empty() {
        let program = intent.argv.first().map_or("", String::as_str);
        return Err(StartError::NotExecuted(not_executed(tree, program, intent, &failure)));
    }
    status.phase = ShimPhase::Running;
    status.started_ms = Some(files::now_ms());
    Ok((pid, [out, err]))
}

/// Explains what the last step in the sandbox said: an error number and its text.
pub(super) fn not_executed(tree: &Tree, program: &str, intent: &Intent, failure: &str) -> String {
    let (number, text) = failure.split_once(' ').unwrap_or(("0", failure));
    let path = intent.env.get("PATH").map_or("", String::as_str);
    match number.parse() {
        Ok(errno @ 1..) => explain::execution(tree, program, &intent.workdir, path, errno),
        _ => text.to_owned(),
    }
}

/// The intent's environment, with a home from the image's tables.
pub(super) fn environment(intent: &Intent, user: &User) -> BTreeMap<String, String> {
    let mut env = intent.env.clone();
    env.entry("HOME".into()).or_insert_with(|| user.home.clone().unwrap_or_else(|| "/".into()));
    env
}
