//! Keeps the container library away from the machine's control groups.
//!
//! It insists on moving what it starts through every v1 controller, one `/proc/self/mountinfo` after the other, and on
//! rights that an ordinary user does not have there. Limits are Kiln's own work ([`crate::cgroup`]) and done before. So
//! in the supervisor's private mount namespace the v1 controllers are unmounted and an empty tmpfs covers the rest. An
//! ordinary user cannot unmount what came from outside the user namespace; there the tmpfs holds plain files in the
//! places that the library writes to.

use std::fs;
use std::io;
use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// The group that the library believes in.
pub(crate) const GROUP: &str = "/kiln";

const CGROUPS: &str = "/sys/fs/cgroup";

/// Hides the control groups, but for those mounted below `keep`; the caller is in a private mount namespace and holds
/// what it needs of them open.
pub(crate) fn cover(keep: &Path) -> io::Result<()> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let stuck: Vec<&str> = v1_mounts(&table)
        .filter(|point| !Path::new(point).starts_with(keep))
        .filter(|point| unmount(*point, UnmountFlags::DETACH).is_err())
        .collect();
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("kiln", CGROUPS, "tmpfs", flags, Some(c"size=1m,mode=700"))?;
    for point in stuck.into_iter().filter(|point| Path::new(point).starts_with(CGROUPS)) {
        for folder in [point.to_owned(), format!("{point}{GROUP}")] {
            fs::create_dir_all(&folder)?;
            for (file, content) in [("cgroup.procs", ""), ("cpuset.cpus", "0"), ("cpuset.mems", "0")] {
                fs::write(format!("{folder}/{file}"), content)?;
            }
        }
    }
    Ok(())
}

fn v1_mounts(table: &str) -> impl Iterator<Item = &str> {
    table.lines().filter_map(|line| {
        let (mount, rest) = line.split_once(" - ")?;
        rest.starts_with("cgroup ").then(|| mount.split(' ').nth(4)).flatten()
    })
}
