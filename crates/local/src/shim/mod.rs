//! The supervisor: one small process per instance that outlives the control plane.
//!
//! It has two lives in one process id. The first (`start`, `make`) makes the sandbox with the container library and starts
//! the program as its child. Then it executes itself anew and becomes the second (`keep`), which is all that stays:
//! one thread, a poll loop, no library. What the second life needs comes as descriptors over a socket on its standard
//! input (`bag`). The lock, the child and the parent's death signal survive the execution; nothing is handed over
//! between processes, so there is no moment at which the instance is without its supervisor.
//!
//! If the supervisor dies, the kernel kills the instance's first process and with it all others
//! (`PR_SET_PDEATHSIG`); whoever looks next sees the lock free and clears up.

mod bag;
pub mod client;
mod clients;
mod dial;
mod ending;
mod exec;
mod fault;
mod keep;
mod log;
mod make;
pub(crate) mod protocol;
mod start;

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use crate::layout::InstanceDir;
use crate::sandbox::userns;

/// Runs a supervisor when this process was called as one: `kiln shim FOLDER`. Call it first thing in `main`, before any
/// thread exists; the code is what `main` must return.
pub fn dispatch() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let verb = arguments.next()?;
    match verb.to_str()? {
        EXEC => Some(join(arguments)),
        "shim" => Some(main(Path::new(&arguments.next()?))),
        keep::VERB => Some(keep::main(Path::new(&arguments.next()?))),
        userns::VERB => Some(map(&mut arguments)),
        _ => None,
    }
}

/// The verb of a process that joins an instance: `kiln shim-exec FOLDER [--user=USER] -- ARGV`.
pub(crate) const EXEC: &str = "shim-exec";

fn join(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let dir = InstanceDir::new(arguments.next().unwrap_or_default());
    let mut argv = arguments.map(|argument| argument.to_string_lossy().into_owned());
    let first = argv.next().unwrap_or_default();
    let user = first.strip_prefix("--user=");
    if user.is_some() {
        argv.next();
    }
    exec::main(&dir, user, &argv.collect::<Vec<_>>())
}

fn map(arguments: &mut dyn Iterator<Item = OsString>) -> ExitCode {
    let mut next = || arguments.next().unwrap_or_default().to_string_lossy().into_owned();
    match userns::map_from_outside(&next(), &next(), &next()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(said) => {
            let _ = writeln!(std::io::stderr(), "{said}");
            ExitCode::FAILURE
        }
    }
}

/// The supervisor of the instance in `folder`: `kiln shim FOLDER`. The process must have one thread.
pub fn main(folder: &Path) -> ExitCode {
    start::main(folder)
}
