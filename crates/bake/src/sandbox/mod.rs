//! The build sandbox: a command with the image's own tree as its root, and nothing of the host.
//!
//! Namespaces keep it apart (mount, pid, ipc, uts, cgroup; network unless asked for; user when Kiln is not
//! root). The root is an overlay over the extracted layers, so what the command changes is a folder of its own.
//! Only harmless capabilities stay, nothing gains privileges, and a filter refuses the system calls that talk
//! to the machine rather than to the files.
//!
//! Everything happens in fresh processes of one thread, without unsafe code: the program starts itself with the
//! argument `__sandbox` (which makes the namespaces), and that one starts itself with `__sandbox-init` (process
//! 1 in them, which mounts, gives up its privileges and executes the command). Both read their orders as JSON
//! from standard input. A program that bakes therefore calls [`child_main`] before anything else when
//! [`is_child`] says so.
//!
//! Owners: root's build may use any user id. An ordinary user's build has one, which is root inside; a command
//! that gives files to others fails there rather than make another image.
//!
//! The clock: `SOURCE_DATE_EPOCH` is set, and every file is dated to the epoch at the latest. The kernel has no
//! way to give a process another wall clock, so a tool that ignores the variable and writes the time into a
//! file still does.

mod child;
mod errors;
mod init;
mod limits;
mod loopback;
mod mounts;
mod orders;
mod parent;

use std::process::ExitCode;

pub use errors::SandboxError;
pub(crate) use orders::is_plain_line;
pub(crate) use parent::{Job, Space, execute};

/// Changes when equal commands may behave differently, so that the cache does not mix the two.
pub(crate) const VERSION: &str = "kiln sandbox 1";

const OUTER: &str = "__sandbox";
const INNER: &str = "__sandbox-init";

/// Whether this process was started to be a part of a sandbox.
pub fn is_child() -> bool {
    std::env::args_os().nth(1).is_some_and(|word| word == OUTER || word == INNER)
}

/// Is that part. Returns only when it failed or the command is done. Call it before any thread is started.
pub fn child_main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|word| word == INNER) {
        return init::main();
    }
    child::main()
}
