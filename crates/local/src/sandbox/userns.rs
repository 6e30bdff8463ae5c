//! User namespaces, for an ordinary user's instances.
//!
//! Where `newuidmap`, `newgidmap` and subordinate ranges are set up (uidmap package, /etc/subuid), the caller becomes the
//! instance's root and the range its other users. Elsewhere a single user is mapped: the one the image asks for is the
//! caller, and nobody else exists.

use std::fs;
use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};

use nix::sched::{CloneFlags, unshare};

use super::user::User;

/// Why there is no user namespace.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UserNamespaceError {
    #[error(
        "this user may not make a user namespace, which instances need when Kiln does not run as root: {hint}"
    )]
    Refused {
        hint: String,
        #[source]
        source: io::Error,
    },
    #[error("cannot map {user} into the instance")]
    Map {
        user: String,
        #[source]
        source: io::Error,
    },
    #[error("{tool} refused the ranges of /etc/subuid and /etc/subgid: {said}")]
    Ranges { tool: &'static str, said: String },
}

/// Identities of the caller and, where there are any, its ranges.
pub(crate) struct Mapping {
    uid: u32,
    gid: u32,
    ranges: Option<Ranges>,
}

struct Ranges {
    uids: (u32, u32),
    gids: (u32, u32),
}

/// The verb of the process that stays outside and writes the ranges.
pub(crate) const VERB: &str = "shim-map";

impl Mapping {
    /// What this process may map.
    pub(crate) fn find() -> Self {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Self { uid, gid, ranges: Ranges::find(uid) }
    }

    /// Whether the image's user is all there is.
    pub(crate) fn single_user(&self) -> bool {
        self.ranges.is_none()
    }

    /// Moves this process, which must have one thread, into a user namespace, together with `others`.
    pub(crate) fn enter(&self, user: &User, others: CloneFlags) -> Result<(), UserNamespaceError> {
        let outside = self.ranges.as_ref().map(|ranges| Outside::spawn(ranges, self)).transpose()?;
        unshare(CloneFlags::CLONE_NEWUSER | others)
            .map_err(|error| UserNamespaceError::Refused { hint: hint(), source: error.into() })?;
        match outside {
            Some(outside) => outside.map(),
            None => self.map_single(user),
        }
    }

    fn map_single(&self, user: &User) -> Result<(), UserNamespaceError> {
        let write = |file: &str, text: String| {
            fs::write(format!("/proc/self/{file}"), text).map_err(|source| UserNamespaceError::Map {
                user: format!("user {} as {}:{}", self.uid, user.uid, user.gid),
                source,
            })
        };
        // The kernel wants this before an ordinary user may map a group (user_namespaces(7)).
        write("setgroups", "deny".into())?;
        write("uid_map", format!("{} {} 1", user.uid, self.uid))?;
        write("gid_map", format!("{} {} 1", user.gid, self.gid))
    }
}

impl Ranges {
    fn find(uid: u32) -> Option<Self> {
        let found = |tool: &str| {
            let path = std::env::var("PATH").unwrap_or_default();
            path.split(':').any(|folder| fs::metadata(format!("{folder}/{tool}")).is_ok())
        };
        if uid == 0 || !found("newuidmap") || !found("newgidmap") {
            return None;
        }
        let name = name_of(uid);
        let range = |file: &str| range_of(&fs::read_to_string(file).ok()?, &name, uid);
        Some(Self { uids: range("/etc/subuid")?, gids: range("/etc/subgid")? })
    }
}

fn name_of(uid: u32) -> String {
    let table = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut lines = table.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let line = lines.find(|fields| fields.get(2).is_some_and(|field| *field == uid.to_string()));
    line.map(|fields| fields[0].to_owned()).unwrap_or_default()
}

/// First range of a user (subuid(5): `user:first:count`).
fn range_of(table: &str, name: &str, uid: u32) -> Option<(u32, u32)> {
    table.lines().find_map(|line| {
        let mut fields = line.split(':');
        let owner = fields.next()?;
        let mine = (!name.is_empty() && owner == name) || owner == uid.to_string();
        mine.then(|| Some((fields.next()?.trim().parse().ok()?, fields.next()?.trim().parse().ok()?)))
            .flatten()
    })
}

/// A process that stayed outside, where the tools that write ranges must run.
struct Outside {
    child: Child,
}

impl Outside {
    fn spawn(ranges: &Ranges, mapping: &Mapping) -> Result<Self, UserNamespaceError> {
        let map = |id: u32, range: (u32, u32)| format!("0 {id} 1 1 {} {}", range.0, range.1);
        let child = Command::new("/proc/self/exe")
            .arg(VERB)
            .arg(std::process::id().to_string())
            .args([map(mapping.uid, ranges.uids), map(mapping.gid, ranges.gids)])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let child =
            child.map_err(|source| UserNamespaceError::Map { user: "a range of users".into(), source })?;
        Ok(Self { child })
    }

    fn map(mut self) -> Result<(), UserNamespaceError> {
        let wrap = |source| UserNamespaceError::Map { user: "a range of users".into(), source };
        if let Some(mut stdin) = self.child.stdin.take() {
            stdin.write_all(b"\n").map_err(wrap)?;
        }
        let output = self.child.wait_with_output().map_err(wrap)?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(UserNamespaceError::Ranges { tool: "newuidmap", said })
    }
}

/// The process outside: waits for the word, then runs the tools. Returns what they said when they refused.
pub(crate) fn map_from_outside(pid: &str, uids: &str, gids: &str) -> Result<(), String> {
    let _ = io::stdin().read(&mut [0]);
    for (tool, map) in [("newuidmap", uids), ("newgidmap", gids)] {
        let output = Command::new(tool).arg(pid).args(map.split(' ')).output();
        let output = output.map_err(|error| format!("{tool}: {error}"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
    }
    Ok(())
}

/// Says which of the kernel's switches is off.
fn hint() -> String {
    let value =
        |name: &str| fs::read_to_string(format!("/proc/sys/{name}")).ok().map(|text| text.trim().to_owned());
    let off = |name: &str, bad: &str| value(name).is_some_and(|text| text == bad);
    if off("user/max_user_namespaces", "0") {
        "user namespaces are switched off; `sysctl user.max_user_namespaces=10000` as root switches them on"
            .into()
    } else if off("kernel/unprivileged_userns_clone", "0") {
        "`sysctl kernel.unprivileged_userns_clone=1` as root allows it".into()
    } else if off("kernel/apparmor_restrict_unprivileged_userns", "1") {
        "AppArmor restricts them; `sysctl kernel.apparmor_restrict_unprivileged_userns=0` as root allows them, or \
         give the kiln program an AppArmor profile with `userns,`"
            .into()
    } else {
        "a sandbox that Kiln itself runs in may forbid it; run Kiln outside of it or as root".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_by_name_or_number() {
        let table = "alice:100000:65536\n1001:165536:65536\nbroken\n";
        assert_eq!(range_of(table, "alice", 1000), Some((100_000, 65_536)));
        assert_eq!(range_of(table, "bob", 1001), Some((165_536, 65_536)));
        assert_eq!(range_of(table, "", 7), None);
    }
}
