//! Which hierarchies this machine has, and where in them instances may have groups.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::{Controller, Hierarchy};

/// What was found.
pub(crate) struct Found {
    /// Usable hierarchies.
    pub(crate) hierarchies: Vec<Hierarchy>,
    /// Why there are fewer than there could be, told to people.
    pub(crate) warnings: Vec<String>,
}

/// Finds, and makes where needed, the folder `folder` (such as `kiln-1a2b3c4d`) that holds the instances' groups.
/// `wanted` are the v1 controllers to use.
pub(crate) fn find(folder: &str, wanted: &[Controller]) -> Found {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut found = Found { hierarchies: Vec::new(), warnings: Vec::new() };
    if let Some(root) = mount_of(&mounts, "cgroup2", "")
        && fs::read_to_string(root.join("cgroup.controllers")).is_ok_and(|list| list.contains("pids"))
    {
        match unified(&root, &own, folder) {
            Ok(hierarchy) => found.hierarchies.push(hierarchy),
            Err(why) => found.warnings.push(Controller::Unified.unlimited(&why)),
        }
        return found;
    }
    for controller in wanted {
        let name = controller.v1_name();
        let hierarchy = mount_of(&mounts, "cgroup", name)
            .ok_or_else(|| format!("the kernel has no {name} control group"))
            .and_then(|root| v1(&root, &own, folder, *controller));
        match hierarchy {
            Ok(hierarchy) => found.hierarchies.push(hierarchy),
            Err(why) => found.warnings.push(controller.unlimited(&why)),
        }
    }
    found
}

/// Where a hierarchy is mounted (proc(5), mountinfo: the mount point is field 5; after ` - ` type, source, options).
fn mount_of(mounts: &str, kind: &str, controller: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (mount, rest) = line.split_once(" - ")?;
        let mut rest = rest.split(' ');
        let (type_, options) = (rest.next()?, rest.nth(1)?);
        let fits =
            type_ == kind && (controller.is_empty() || options.split(',').any(|option| option == controller));
        fits.then(|| mount.split(' ').nth(4).map(PathBuf::from)).flatten()
    })
}

/// This process's path in a hierarchy (cgroups(7): `number:controllers:path`; v2 has none of both).
fn own_path<'a>(own: &'a str, controller: &str) -> Option<&'a str> {
    own.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        controllers.split(',').any(|name| name == controller).then_some(path)
    })
}

fn folder_fd(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

fn below(root: &Path, path: Option<&str>) -> PathBuf {
    root.join(path.unwrap_or("/").trim_start_matches('/'))
}

fn make(path: &Path) -> Result<(), String> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(format!("cannot make {}: {error}", path.display()))
        }
        _ => Ok(()),
    }
}

fn v1(root: &Path, own: &str, folder: &str, controller: Controller) -> Result<Hierarchy, String> {
    let parent = root.join(folder);
    make(&parent)?;
    let origin = folder_fd(&below(root, own_path(own, controller.v1_name()))).ok();
    let open =
        |path: &Path| folder_fd(path).map_err(|error| format!("cannot open {}: {error}", path.display()));
    Ok(Hierarchy { controller, parent: open(&parent)?, path: parent, origin })
}

/// On v2 root takes the top of the tree; others the highest group above their own that was delegated to them.
fn unified(root: &Path, own: &str, folder: &str) -> Result<Hierarchy, String> {
    let mine = below(root, own_path(own, ""));
    let as_root = rustix::process::geteuid().is_root();
    let delegated =
        mine.ancestors().take_while(|path| path.starts_with(root)).filter(|path| writable(path)).last();
    let base = match delegated {
        Some(path) if !as_root => path.to_owned(),
        _ if as_root => root.to_owned(),
        _ => {
            return Err("no control group is delegated to this user; \
                        start Kiln with `systemd-run --user --scope -p Delegate=yes`"
                .into());
        }
    };
    let parent = base.join(folder);
    make(&parent)?;
    for path in [&base, &parent] {
        for controller in ["+memory", "+cpu", "+pids"] {
            // Missing controllers show when their limit is set, with the limit's name.
            let _ = fs::write(path.join("cgroup.subtree_control"), controller);
        }
    }
    let open =
        |path: &Path| folder_fd(path).map_err(|error| format!("cannot open {}: {error}", path.display()));
    Ok(Hierarchy {
        controller: Controller::Unified,
        parent: open(&parent)?,
        path: parent,
        origin: folder_fd(&mine).ok(),
    })
}

fn writable(path: &Path) -> bool {
    rustix::fs::access(path.join("cgroup.procs"), rustix::fs::Access::WRITE_OK).is_ok()
        && rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
33 32 0:29 / /sys/fs/cgroup rw,relatime shared:9 - tmpfs tmpfs rw,mode=755
34 33 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:10 - cgroup cgroup rw,cpu,cpuacct
38 33 0:34 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 33 0:36 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";

    #[test]
    fn mounts_are_found_by_controller() {
        let at = |kind, controller| mount_of(HYBRID, kind, controller);
        assert_eq!(at("cgroup", "cpu"), Some("/sys/fs/cgroup/cpu,cpuacct".into()));
        assert_eq!(at("cgroup", "memory"), Some("/sys/fs/cgroup/memory".into()));
        assert_eq!(at("cgroup", "pids"), None);
        assert_eq!(at("cgroup2", ""), Some("/sys/fs/cgroup/unified".into()));
    }

    #[test]
    fn own_paths_are_found_by_controller() {
        let own = "4:memory:/a\n1:cpu,cpuacct:/b\n0::/user.slice/c\n";
        assert_eq!(own_path(own, "memory"), Some("/a"));
        assert_eq!(own_path(own, "cpuacct"), Some("/b"));
        assert_eq!(own_path(own, ""), Some("/user.slice/c"));
        assert_eq!(own_path(own, "pids"), None);
    }
}
