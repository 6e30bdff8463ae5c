//! Control groups: limits of an instance on cgroup v1, hybrid and v2.
//!
//! Every hierarchy is held by the descriptor of the folder that the instances' groups are in, and groups are reached
//! relative to it: a supervisor goes on watching and removing its group although its own view of `/sys/fs/cgroup`
//! was covered while the sandbox was made.
//!
//! The `devices` controller is not used: without `CAP_MKNOD`, on `nodev` mounts, an instance has the devices that are
//! bound into its `/dev` and can make no others.

mod find;
mod limits;

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, openat, unlinkat};
use rustix::mount::mount_bind;
use serde::{Deserialize, Serialize};

use crate::sandbox::spec::CGROUPS;

pub(crate) use find::find;
pub(crate) use limits::apply;

/// What a hierarchy controls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Controller {
    /// All of cgroup v2.
    Unified,
    /// Memory of v1.
    Memory,
    /// Processors of v1.
    Cpu,
    /// Processes of v1.
    Pids,
}

/// One hierarchy's folder of instances.
pub(crate) struct Hierarchy {
    pub(crate) controller: Controller,
    /// The folder that holds the instances' groups.
    pub(crate) parent: OwnedFd,
    /// Its path, as long as that is not covered.
    pub(crate) path: PathBuf,
    /// The group this process came from.
    pub(crate) origin: Option<OwnedFd>,
}

/// The group of one instance in every hierarchy that is used.
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) hierarchies: Vec<Hierarchy>,
}

impl Controller {
    fn v1_name(self) -> &'static str {
        match self {
            Self::Unified => "unified",
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Pids => "pids",
        }
    }

    fn unlimited(self, why: &dyn std::fmt::Display) -> String {
        match self {
            Self::Unified => format!("no limit is kept: {why}"),
            other => format!("no {} limit is kept: {why}", other.v1_name()),
        }
    }
}

impl Hierarchy {
    fn enter(&self, group: &str) -> io::Result<()> {
        match mkdirat(&self.parent, group, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        self.write(group, "cgroup.procs", "0")
    }

    fn open(&self, group: &str, file: &str, flags: OFlags) -> io::Result<File> {
        let path = format!("{group}/{file}");
        Ok(openat(&self.parent, path, flags | OFlags::CLOEXEC, Mode::empty())?.into())
    }

    fn write(&self, group: &str, file: &str, value: &str) -> io::Result<()> {
        self.open(group, file, OFlags::WRONLY)?.write_all(value.as_bytes())
    }

    fn read(&self, group: &str, file: &str) -> io::Result<String> {
        let mut text = String::new();
        self.open(group, file, OFlags::RDONLY)?.read_to_string(&mut text)?;
        Ok(text)
    }
}

impl Group {
    /// Makes the group in every hierarchy and moves this process, and what it starts from now on, into it. Returns
    /// also what cannot be limited here, told to people.
    pub(crate) fn create(name: &str, hierarchies: Vec<Hierarchy>) -> (Self, Vec<String>) {
        let mut group = Self { name: name.into(), hierarchies: Vec::new() };
        let mut warnings = Vec::new();
        for hierarchy in hierarchies {
            match hierarchy.enter(name) {
                Ok(()) => group.hierarchies.push(hierarchy),
                Err(error) => warnings.push(hierarchy.controller.unlimited(&error)),
            }
        }
        (group, warnings)
    }

    /// The group as another process made it.
    pub(crate) fn existing(name: &str, hierarchies: Vec<Hierarchy>) -> Self {
        Self { name: name.into(), hierarchies }
    }

    /// Moves this process, and what it starts from now on, into the group.
    pub(crate) fn join(&self) -> io::Result<()> {
        self.hierarchies.iter().try_for_each(|hierarchy| hierarchy.write(&self.name, "cgroup.procs", "0"))
    }

    /// Moves this process back to where it came from.
    pub(crate) fn leave(&self) -> io::Result<()> {
        for hierarchy in &self.hierarchies {
            if let Some(origin) = &hierarchy.origin {
                let flags = OFlags::WRONLY | OFlags::CLOEXEC;
                let file = openat(origin, "cgroup.procs", flags, Mode::empty())?;
                File::from(file).write_all(b"0")?;
            }
        }
        Ok(())
    }

    /// Mounts the group's folders below `folder`, in this process's private mount namespace. Returns each with the place
    /// where a process of the instance looks for it.
    pub(crate) fn views(&self, folder: &Path) -> io::Result<Vec<(PathBuf, String)>> {
        let mut views = Vec::new();
        for hierarchy in &self.hierarchies {
            // Not the controller's bare name: the container library takes such mounts for the machine's own.
            let place = folder.join(format!("{}-limits", hierarchy.controller.v1_name()));
            std::fs::create_dir_all(&place)?;
            // By path: what a descriptor leads to is in the mount namespace that this process has left.
            mount_bind(hierarchy.path.join(&self.name), &place)?;
            let target = match hierarchy.controller {
                Controller::Unified => CGROUPS.to_owned(),
                other => format!("{CGROUPS}/{}", other.v1_name()),
            };
            views.push((place, target));
        }
        Ok(views)
    }

    /// How many processes of the group the kernel has killed for its memory limit.
    pub(crate) fn out_of_memory_kills(&self) -> u64 {
        let count = |hierarchy: &Hierarchy| {
            let file = match hierarchy.controller {
                Controller::Unified => "memory.events",
                Controller::Memory => "memory.oom_control",
                Controller::Cpu | Controller::Pids => return None,
            };
            let text = hierarchy.read(&self.name, file).ok()?;
            text.lines()
                .find_map(|line| line.strip_prefix("oom_kill "))
                .and_then(|count| count.trim().parse().ok())
        };
        self.hierarchies.iter().find_map(count).unwrap_or(0)
    }

    /// The most memory, in bytes, that the group has used (v2: `memory.peak`, since Linux 5.19).
    pub(crate) fn most_memory(&self) -> Option<u64> {
        let most = |hierarchy: &Hierarchy| {
            let file = match hierarchy.controller {
                Controller::Unified => "memory.peak",
                Controller::Memory => "memory.max_usage_in_bytes",
                Controller::Cpu | Controller::Pids => return None,
            };
            hierarchy.read(&self.name, file).ok()?.trim().parse().ok()
        };
        self.hierarchies.iter().find_map(most)
    }

    /// The processes in the group, as this process's namespace numbers them.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let lists = self.hierarchies.iter().filter_map(|h| h.read(&self.name, "cgroup.procs").ok());
        let mut all: Vec<u32> = lists
            .flat_map(|text| text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<_>>())
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Removes the group once its last process is gone; gives up after a second.
    pub(crate) fn remove(&self) -> io::Result<()> {
        let mut result = Ok(());
        for hierarchy in &self.hierarchies {
            // A group is busy until the kernel has buried its last process, some microseconds after its exit.
            for wait_ms in [0, 1, 2, 5, 10, 20, 50, 100, 200, 600] {
                std::thread::sleep(Duration::from_millis(wait_ms));
                result = match unlinkat(hierarchy.parent.as_fd(), self.name.as_str(), AtFlags::REMOVEDIR) {
                    Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
                    Err(error) => Err(error.into()),
                };
                if result.is_ok() {
                    break;
                }
            }
        }
        result
    }
}

/// Removes the folder of a home's groups, when the last group is gone.
pub(crate) fn remove_folder(folder: &str) {
    for hierarchy in find(folder, &[Controller::Pids, Controller::Memory, Controller::Cpu]).hierarchies {
        // Relative to itself: `..` is the hierarchy, or the group that was delegated.
        let _ = unlinkat(&hierarchy.parent, format!("../{folder}"), AtFlags::REMOVEDIR);
    }
}
