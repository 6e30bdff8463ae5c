//! The mounts of a sandbox, made by process 1 in its own mount namespace.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, unshare};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_change,
    mount_remount, unmount,
};

use super::orders::Orders;

/// What was being done, and the system's answer.
pub(super) type Fault = (String, io::Error);

/// Overlayfs is not to be had here.
pub(super) enum RootFault {
    NoOverlay,
    Other(Fault),
}

impl From<Fault> for RootFault {
    fn from(fault: Fault) -> Self {
        Self::Other(fault)
    }
}

/// Device nodes of the host that every program may expect.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Of /proc: what tells about, or steers, the machine.
const HIDDEN: [&str; 7] = ["acpi", "kcore", "keys", "latency_stats", "sched_debug", "scsi", "timer_list"];
const READ_ONLY: [&str; 6] = ["asound", "bus", "fs", "irq", "sys", "sysrq-trigger"];

/// Makes the root in the folder `root` of the space and enters it.
pub(super) fn enter(orders: &Orders) -> Result<(), RootFault> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(|error| ("make a mount namespace".to_owned(), error.into()))?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(did("detach the mounts"))?;
    std::env::set_current_dir(&orders.space).map_err(|error| ("enter the work folder".to_owned(), error))?;
    let root = orders.space.join("root");
    if orders.copied {
        mount_bind(&root, &root).map_err(did("mount the root"))?;
    } else {
        overlay(orders)?;
    }
    fill(&root, orders)?;
    pivot(&root).map_err(RootFault::Other)
}

/// The tree, then a skeleton of mount points below it: what the tree lacks shows through without being written.
fn overlay(orders: &Orders) -> Result<(), RootFault> {
    // Bound to a plain name, since the options have no room for every character of a path.
    mount_bind(&orders.lower, "lower").map_err(did("mount the image's tree"))?;
    let mut options =
        "lowerdir=lower:skeleton,upperdir=upper,workdir=work,redirect_dir=nofollow,index=off,metacopy=off"
            .to_owned();
    if orders.rootless {
        options.push_str(",userxattr");
    }
    let options =
        CString::new(options).map_err(|error| ("mount the overlay".to_owned(), io::Error::other(error)))?;
    match mount("overlay", "root", "overlay", MountFlags::NODEV, options.as_c_str()) {
        Ok(()) => Ok(()),
        Err(error) if error == rustix::io::Errno::NOSPC => Err(did("mount the overlay")(error).into()),
        Err(_) => Err(RootFault::NoOverlay),
    }
}

fn fill(root: &Path, orders: &Orders) -> Result<(), Fault> {
    let closed = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let open = MountFlags::NOSUID | MountFlags::NODEV;
    mount("proc", real(root, "proc"), "proc", closed, None).map_err(did("mount /proc"))?;
    dev(&real(root, "dev"))?;
    // Everything that is read-only in /proc comes after /dev, whose null device hides the rest.
    shield(&real(root, "proc"), &real(root, "dev/null"))?;
    mount("tmpfs", real(root, "tmp"), "tmpfs", open, c"mode=1777").map_err(did("mount /tmp"))?;
    mount("tmpfs", real(root, "run"), "tmpfs", open, c"mode=0755").map_err(did("mount /run"))?;
    for name in ["hosts", "hostname", "resolv.conf"] {
        let target = real(root, "etc").join(name);
        // A link would lead the mount astray; the image's own link then points where it wants to.
        if fs::symlink_metadata(&target).is_ok_and(|found| found.is_file()) {
            let source = orders.space.join("etc").join(name);
            bind_read_only(&source, &target).map_err(did("mount the files of /etc"))?;
        }
    }
    Ok(())
}

/// A folder of the root; a link in its place is followed inside the root, one level deep, as in `/run ->
/// var/run`.
fn real(root: &Path, name: &str) -> PathBuf {
    let path = root.join(name);
    match fs::read_link(&path) {
        Ok(target) => root.join(target.strip_prefix("/").unwrap_or(&target)),
        Err(_) => path,
    }
}

fn dev(dev: &Path) -> Result<(), Fault> {
    let fault = did("mount /dev");
    mount("tmpfs", dev, "tmpfs", MountFlags::NOSUID | MountFlags::NOEXEC, c"mode=0755").map_err(&fault)?;
    let plain = |error: io::Error| ("fill /dev".to_owned(), error);
    for name in DEVICES {
        let target = dev.join(name);
        File::create(&target).map_err(plain)?;
        mount_bind(Path::new("/dev").join(name), &target).map_err(&fault)?;
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        symlink(target, dev.join(name)).map_err(plain)?;
    }
    for name in ["shm", "pts"] {
        fs::create_dir(dev.join(name)).map_err(plain)?;
    }
    let open = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", dev.join("shm"), "tmpfs", open, c"mode=1777").map_err(&fault)?;
    let options = c"newinstance,ptmxmode=0666,mode=0620";
    if mount("devpts", dev.join("pts"), "devpts", MountFlags::NOSUID | MountFlags::NOEXEC, options).is_ok() {
        symlink("pts/ptmx", dev.join("ptmx")).map_err(plain)?;
    }
    Ok(())
}

fn shield(proc: &Path, null: &Path) -> Result<(), Fault> {
    let fault = did("shield /proc");
    for name in HIDDEN {
        let path = proc.join(name);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => {
                mount("tmpfs", &path, "tmpfs", MountFlags::RDONLY | MountFlags::NODEV, c"size=0")
                    .map_err(&fault)?;
            }
            Ok(_) => mount_bind(null, &path).map_err(&fault)?,
            Err(_) => {}
        }
    }
    for name in READ_ONLY {
        let path = proc.join(name);
        if path.exists() {
            bind_read_only(&path, &path).map_err(&fault)?;
        }
    }
    Ok(())
}

fn bind_read_only(source: &Path, target: &Path) -> rustix::io::Result<()> {
    mount_bind_recursive(source, target)?;
    // In a user namespace a remount must keep the flags that the mount already has.
    let full =
        MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let least = MountFlags::BIND | MountFlags::RDONLY;
    mount_remount(target, full, c"").or_else(|_| mount_remount(target, least, c""))
}

fn pivot(root: &Path) -> Result<(), Fault> {
    let fault = did("change the root");
    std::env::set_current_dir(root).map_err(|error| ("enter the root".to_owned(), error))?;
    rustix::process::pivot_root(".", ".").map_err(&fault)?;
    unmount(".", UnmountFlags::DETACH).map_err(&fault)?;
    std::env::set_current_dir("/").map_err(|error| ("enter the root".to_owned(), error))
}

fn did(act: &str) -> impl Fn(rustix::io::Errno) -> Fault {
    let act = act.to_owned();
    move |error| (act.clone(), error.into())
}
