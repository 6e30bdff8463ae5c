//! The modes of the binary that a person never calls: the supervisor of an instance, and the child side of the build
//! sandbox. Both must be single-threaded from the first instruction on.

use std::process::ExitCode;

/// Runs such a mode when this process was started as one; `main` returns the code.
pub(crate) fn dispatch() -> Option<ExitCode> {
    if kiln_bake::sandbox::is_child() {
        return Some(kiln_bake::sandbox::child_main());
    }
    kiln_local::shim::dispatch()
}
