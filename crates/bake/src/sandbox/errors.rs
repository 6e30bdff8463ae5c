//! Why a command could not be run, or failed.

use std::io;
use std::path::PathBuf;

use kiln_model::Span;

/// Why a `run` step failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// The command ran and said no.
    #[error("the command {how}{}{}", tail(output), owners(*rootless, output))]
    Failed {
        /// `exited with status 2`, `was killed by signal 9`.
        how: String,
        /// The last lines that it printed.
        output: Vec<String>,
        /// Whether an ordinary user ran it, to whom the kernel gives one user id only.
        rootless: bool,
    },
    /// It took too long.
    #[error("the command was still running after {limit} and was stopped{}", tail(output))]
    TimedOut {
        /// The step's `timeout`.
        limit: Span,
        /// The last lines that it printed.
        output: Vec<String>,
    },
    /// A command line needs a shell and the image has none.
    #[error(
        "the image has no /bin/sh, which this command line needs; write the command without shell characters or as a \
         list (`command = [\"/bin/prog\", \"arg\"]`), or put a shell into the image (such as the package `dash`)"
    )]
    NoShell,
    /// The program is not in the image.
    #[error(
        "the image has no program {program:?} (looked in PATH={path}); add the package that has it, or write its path"
    )]
    NoProgram {
        /// As the step has it.
        program: String,
        /// Where it was looked for.
        path: String,
    },
    /// The program is there but does not start.
    #[error(
        "the program {program:?} of the image cannot be executed; is it for this machine, and is its interpreter or loader in the image?"
    )]
    NotExecutable {
        /// As the step has it.
        program: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The folder to start in is not in the image.
    #[error(
        "the image has no folder {path:?} to run the command in; make it in an earlier step, or change `workdir`"
    )]
    NoFolder {
        /// The step's `workdir`.
        path: String,
    },
    /// The command is empty.
    #[error("the command is empty")]
    Empty,
    /// The kernel or its configuration does not allow for the sandbox.
    #[error("cannot {act} for the build sandbox; {hint}")]
    Setup {
        /// What was being done.
        act: String,
        /// What to do.
        hint: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A file of ours.
    #[error("cannot {act} {}", path.display())]
    Io {
        /// What was being done.
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The sandbox's own process died or said nothing.
    #[error(
        "the build sandbox ended without a word ({how}); the program that bakes must call kiln_bake::sandbox::child_main"
    )]
    Silent {
        /// Its exit status.
        how: String,
    },
}

fn tail(output: &[String]) -> String {
    if output.is_empty() {
        return "; it printed nothing".into();
    }
    format!("; it printed last:\n  {}", output.join("\n  "))
}

/// An ordinary user's command that tried to give a file to another user, or to become one.
fn owners(rootless: bool, output: &[String]) -> &'static str {
    let tried = |line: &String| {
        let line = line.to_lowercase();
        (line.contains("chown")
            || line.contains("setgroups")
            || line.contains("seteuid")
            || line.contains("setuid"))
            && (line.contains("invalid argument") || line.contains("not permitted"))
    };
    if rootless && output.iter().any(tried) {
        return "\nan ordinary user's build cannot use other user ids; run Kiln as root, or let `copy` set the owner";
    }
    ""
}

/// What to do about a failed set-up.
pub(super) fn hint(act: &str, errno: i32) -> &'static str {
    let refused = matches!(
        rustix::io::Errno::from_raw_os_error(errno),
        rustix::io::Errno::PERM | rustix::io::Errno::ACCESS
    );
    if act.contains("user namespace") {
        return "this user may not make user namespaces: an administrator can allow them (sysctl \
                kernel.unprivileged_userns_clone=1, user.max_user_namespaces, or the AppArmor restriction), or run \
                Kiln as root";
    }
    if refused {
        return "inside a container it needs --privileged (or CAP_SYS_ADMIN and an unmasked /proc); elsewhere try \
                as root";
    }
    "the kernel may lack the feature; `dmesg` may say more"
}
