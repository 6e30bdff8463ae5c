//! Finding everything again: fleets from their files, instances from their folders.

use std::fs::{self, File};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln_model::InstanceId;
use kiln_provider::{Phase, RetireReason};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::state::{Fleet, FleetWish, Instance, Retiring};
use super::{Inner, fleet, intent, life};
use crate::cgroup::{self, Controller, Group};
use crate::error::LocalError;
use crate::files;
use crate::intent::{Exit, Intent, ShimPhase, Status};
use crate::layout::InstanceDir;
use crate::net;

/// How long the kernel may take to bury what was killed.
const BURIAL: Duration = Duration::from_secs(5);

/// Loads the home. Instances are known, with their endpoints, when it returns; their tasks find the supervisors.
pub(super) async fn everything(inner: &Arc<Inner>) -> Result<(), LocalError> {
    let found = inner
        .blocking(|inner| {
            load_fleets(inner)?;
            load_instances(inner)
        })
        .await?;
    for (id, status) in found {
        life::begin(inner, id, Some(status));
    }
    let fleets: Vec<_> = inner.state().fleets.keys().cloned().collect();
    for id in fleets {
        fleet::reconcile(inner, &id);
    }
    inner.touch();
    Ok(())
}

fn load_fleets(inner: &Inner) -> Result<(), LocalError> {
    let folder = inner.layout.fleets();
    for entry in fs::read_dir(&folder).map_err(LocalError::file("read", &folder))? {
        let path = entry.map_err(LocalError::file("read", &folder))?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let wish: Option<FleetWish> = files::read_json(&path).map_err(LocalError::file("read", &path))?;
        if let Some(wish) = wish {
            inner.state().fleets.insert(wish.spec.release.fleet(), Fleet::new(wish));
        }
    }
    Ok(())
}

fn load_instances(inner: &Inner) -> Result<Vec<(InstanceId, Status)>, LocalError> {
    let folder = inner.layout.instances();
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).map_err(LocalError::file("read", &folder))? {
        let dir = InstanceDir::new(entry.map_err(LocalError::file("read", &folder))?.path());
        match load_instance(inner, &dir) {
            Some(instance) => found.push(instance),
            // Half a folder: its maker died before it had written what it intended, so nothing can have started.
            None => drop(fs::remove_dir_all(dir.path())),
        }
    }
    Ok(found)
}

fn load_instance(inner: &Inner, dir: &InstanceDir) -> Option<(InstanceId, Status)> {
    let intent: Intent = files::read_json(&dir.intent()).ok().flatten()?;
    let status: Status = files::read_json(&dir.status()).ok().flatten().unwrap_or_default();
    let mut state = inner.state();
    let wish = state.fleets.get(&intent.fleet).map(|fleet| fleet.wish.clone());
    let mut instance = Instance::new(intent.fleet.clone(), intent.created_ms);
    instance.started_ms = status.started_ms;
    instance.pid = status.pid.filter(|_| status.phase != ShimPhase::Exited);
    instance.warnings.clone_from(&status.warnings);
    instance.tainted = dir.taint().exists();
    instance.network = Some(intent.network.clone());
    instance.retiring = files::read_json(&dir.retire()).ok().flatten();
    let ready: Option<i64> = files::read_json(&dir.ready()).ok().flatten();
    instance.was_ready = ready.is_some();
    instance.phase = match status.phase {
        ShimPhase::Creating => Phase::Starting,
        ShimPhase::Stopping => Phase::Stopping,
        ShimPhase::Running | ShimPhase::Exited if instance.retiring.is_some() => Phase::Draining,
        ShimPhase::Running | ShimPhase::Exited if ready.is_some() => Phase::Ready,
        ShimPhase::Running | ShimPhase::Exited => Phase::Starting,
    };
    instance.ready_since_ms = ready.filter(|_| instance.phase == Phase::Ready);
    match wish {
        Some(wish) => intent::connect(inner, &intent.id, &mut instance, &wish.spec),
        // Its fleet is forgotten: nobody will ever ask about it again.
        None => instance.retiring = Some(Retiring { reason: RetireReason::Surplus, drained: true }),
    }
    state.instances.insert(intent.id.clone(), instance);
    Some((intent.id, status))
}

/// Ends what a dead supervisor left behind and says how the instance ended. `None` while a supervisor lives.
pub(super) fn clear_up(inner: &Inner, dir: &InstanceDir) -> Result<Option<Exit>, LocalError> {
    let path = dir.lock();
    let lock = File::options().create(true).truncate(false).write(true).open(&path);
    let lock = lock.map_err(LocalError::file("open", &path))?;
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(None);
    }
    let mut status: Status = files::read_json(&dir.status()).ok().flatten().unwrap_or_default();
    if let Some(exit) = status.exit.clone().filter(|_| status.phase == ShimPhase::Exited) {
        return Ok(Some(exit));
    }
    kill_leftovers(inner, dir, &status);
    let what = if status.boot.is_empty() || status.boot == files::boot_id() {
        "was ended because its supervisor died"
    } else {
        "was ended by a restart of the machine"
    };
    let exit = Exit { what: what.into(), status: None, out_of_memory: false, at_ms: inner.now_ms() };
    status.phase = ShimPhase::Exited;
    status.exit = Some(exit.clone());
    files::write_json(&dir.status(), &status).map_err(LocalError::file("write", dir.status()))?;
    Ok(Some(exit))
}

fn kill_leftovers(inner: &Inner, dir: &InstanceDir, status: &Status) {
    if status.boot == files::boot_id()
        && let (Some(pid), Some(start)) = (status.pid, status.pid_start)
    {
        kill_and_wait(pid, Some(start));
    }
    let Ok(Some(intent)) = files::read_json::<Intent>(&dir.intent()) else { return };
    let name = intent.id.as_str();
    let wanted = [Controller::Pids, Controller::Memory, Controller::Cpu];
    let group = Group::existing(name, cgroup::find(&inner.cgroup_folder(), &wanted).hierarchies);
    for pid in group.processes() {
        kill_and_wait(pid, None);
    }
    // Each of these is mostly gone already, with the namespaces that held it.
    let _ = group.remove();
    net::unplug(&intent.network);
    let _ = fs::remove_file(dir.socket());
}

/// Kills a process that is still the one that began at `start`, and waits until it is gone.
fn kill_and_wait(pid: u32, start: Option<u64>) {
    let Some(raw) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    let Ok(process) = pidfd_open(raw, PidfdFlags::empty()) else { return };
    // Asked after the descriptor was opened: the number cannot change hands any more.
    if start.is_some_and(|start| files::process_start(pid) != Some(start)) {
        return;
    }
    let _ = pidfd_send_signal(&process, Signal::KILL);
    let until = Instant::now() + BURIAL;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let Ok(timeout) = Timespec::try_from(left) else { return };
        match poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => {}
            Err(_) | Ok(_) => return,
        }
    }
}

/// Removes the mark of readiness, or sets it.
pub(super) fn mark_ready(dir: &InstanceDir, since_ms: Option<i64>) -> io::Result<()> {
    match since_ms {
        Some(since) => files::write_json(&dir.ready(), &since),
        None => match fs::remove_file(dir.ready()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
    }
}
