//! The OCI runtime configuration of one instance.
//!
//! Network and user namespaces are not in it: the supervisor has made them already and everything inherits them. Nor
//! are limits and system call filters, which Kiln applies itself (see [`crate::cgroup`] and [`super::executor`]).

use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit};
use oci_spec::OciSpecError;
use oci_spec::runtime::{
    Linux, LinuxBuilder, LinuxNamespace, LinuxNamespaceBuilder, LinuxNamespaceType, Mount, MountBuilder,
    PosixRlimit, PosixRlimitBuilder, PosixRlimitType, Process, ProcessBuilder, RootBuilder, Spec,
    SpecBuilder, UserBuilder,
};

use super::caps;
use super::secrets;
use super::user::User;
use crate::intent::{Intent, Volume, VolumeSource};

/// Paths that would tell about the machine or reach into it; the list that Docker and containerd mask.
const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Open files: what servers of today expect to be able to raise to, and a first value that `select` and programs
/// that close every descriptor survive. Less where the machine allows less.
const FILES: (u64, u64) = (65_536, 524_288);

/// Kernel's limit of a host name (`__NEW_UTS_LEN`).
const LONGEST_HOST_NAME: usize = 64;

/// Where control groups are, inside as outside.
pub(crate) const CGROUPS: &str = "/sys/fs/cgroup";

/// Group of terminals: `tty` in every distribution; mapped only where a whole range of groups is.
const TTY_GROUP: u32 = 5;

/// The host name of an instance: its identity, of which the middle is left out where it is too long.
pub(crate) fn host_name(id: &str) -> String {
    match id.len().checked_sub(LONGEST_HOST_NAME) {
        None | Some(0) => id.to_owned(),
        Some(_) => {
            let (head, suffix) = id.rsplit_once('-').unwrap_or(("", id));
            let room = LONGEST_HOST_NAME.saturating_sub(suffix.len() + 1);
            format!("{}-{suffix}", head.get(..room.min(head.len())).unwrap_or("").trim_end_matches('-'))
        }
    }
}

/// What the configuration is made from beside the intent.
pub(crate) struct Given<'a> {
    pub(crate) intent: &'a Intent,
    pub(crate) user: &'a User,
    /// The assembled root.
    pub(crate) root: &'a Path,
    /// Whether a single user is all that is mapped.
    pub(crate) single_user: bool,
    /// Folders of its control groups, and where it sees them.
    pub(crate) limits: Vec<(PathBuf, String)>,
    /// The folder with those of its secrets that are files.
    pub(crate) secret_files: Option<PathBuf>,
}

/// Builds the configuration.
pub(crate) fn build(given: &Given<'_>) -> Result<Spec, OciSpecError> {
    let root = RootBuilder::default().path(given.root).readonly(true).build()?;
    let mut spec = SpecBuilder::default()
        .version("1.0.2")
        .root(root)
        .hostname(host_name(given.intent.id.as_str()))
        .mounts(mounts(given)?)
        .process(process(given)?)
        .linux(linux()?)
        .build()?;
    spec.set_annotations(None);
    Ok(spec)
}

fn process(given: &Given<'_>) -> Result<Process, OciSpecError> {
    let mut user = UserBuilder::default().uid(given.user.uid).gid(given.user.gid);
    if !given.single_user && !given.user.groups.is_empty() {
        user = user.additional_gids(given.user.groups.clone());
    }
    ProcessBuilder::default()
        .terminal(false)
        .user(user.build()?)
        .args(given.intent.argv.clone())
        .env(Vec::new())
        .cwd(given.intent.workdir.clone())
        .capabilities(caps::sets(given.user.uid)?)
        .rlimits(vec![files_limit()?])
        .no_new_privileges(true)
        .build()
}

fn files_limit() -> Result<PosixRlimit, OciSpecError> {
    let most = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(_, hard)| hard);
    PosixRlimitBuilder::default()
        .typ(PosixRlimitType::RlimitNofile)
        .soft(FILES.0.min(most))
        .hard(FILES.1.min(most))
        .build()
}

fn linux() -> Result<Linux, OciSpecError> {
    let own = [
        LinuxNamespaceType::Pid,
        LinuxNamespaceType::Ipc,
        LinuxNamespaceType::Uts,
        LinuxNamespaceType::Mount,
        LinuxNamespaceType::Cgroup,
    ];
    let namespaces = own.into_iter().map(|kind| LinuxNamespaceBuilder::default().typ(kind).build());
    let strings = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let mut linux = LinuxBuilder::default()
        .namespaces(namespaces.collect::<Result<Vec<LinuxNamespace>, _>>()?)
        .masked_paths(strings(&MASKED))
        .readonly_paths(strings(&READ_ONLY))
        .cgroups_path(super::decoy::GROUP)
        .build()?;
    linux.set_resources(None);
    Ok(linux)
}

fn mount(target: &str, kind: &str, source: &str, options: &[&str]) -> Result<Mount, OciSpecError> {
    MountBuilder::default()
        .destination(target)
        .typ(kind)
        .source(source)
        .options(options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>())
        .build()
}

fn mounts(given: &Given<'_>) -> Result<Vec<Mount>, OciSpecError> {
    let tty = format!("gid={TTY_GROUP}");
    let mut terminals = vec!["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    if !given.single_user {
        terminals.push(&tty);
    }
    let (uid, gid) = (format!("uid={}", given.user.uid), format!("gid={}", given.user.gid));
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"])?,
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "noexec", "strictatime", "mode=755", "size=64k"])?,
        mount("/dev/pts", "devpts", "devpts", &terminals)?,
        mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"])?,
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"])?,
        mount("/tmp", "tmpfs", "tmpfs", &["nosuid", "nodev", "mode=1777"])?,
        mount("/run", "tmpfs", "tmpfs", &["nosuid", "nodev", "mode=755", &uid, &gid])?,
    ];
    if let Some((_, target)) = given.limits.first() {
        // v1 has a folder for each controller; sysfs has none of them.
        if target != CGROUPS {
            mounts.push(mount(
                CGROUPS,
                "tmpfs",
                "tmpfs",
                &["nosuid", "noexec", "nodev", "mode=755", "size=64k"],
            )?);
        }
    }
    for (folder, target) in &given.limits {
        let options = ["bind", "ro", "nosuid", "noexec", "nodev"];
        mounts.push(mount(target, "bind", &folder.to_string_lossy(), &options)?);
    }
    for volume in &given.intent.volumes {
        mounts.push(volume_mount(volume, &uid, &gid)?);
    }
    // After the volumes: one of them may be around it.
    if let Some(folder) = &given.secret_files {
        let options = ["bind", "ro", "nosuid", "noexec", "nodev"];
        mounts.push(mount(secrets::PLACE, "bind", &folder.to_string_lossy(), &options)?);
    }
    Ok(mounts)
}

fn volume_mount(volume: &Volume, uid: &str, gid: &str) -> Result<Mount, OciSpecError> {
    let access = if volume.read_only { "ro" } else { "rw" };
    let bind = |folder: &PathBuf| {
        mount(&volume.path, "bind", &folder.to_string_lossy(), &["rbind", "nosuid", "nodev", access])
    };
    match &volume.source {
        VolumeSource::Kept { folder } | VolumeSource::Host { folder } => bind(folder),
        VolumeSource::Memory { size } => {
            let size = size.map(|bytes| format!("size={bytes}"));
            let mut options = vec!["nosuid", "nodev", "mode=755", uid, gid, access];
            options.extend(size.as_deref());
            mount(&volume.path, "tmpfs", "tmpfs", &options)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_keep_their_suffix_and_fit_the_kernel() {
        assert_eq!(host_name("web-7-k3v9x0qd"), "web-7-k3v9x0qd");
        let long = format!("{}-12-k3v9x0qd", "a".repeat(63));
        assert!(host_name(&long).len() <= LONGEST_HOST_NAME && host_name(&long).ends_with("-k3v9x0qd"));
    }
}
