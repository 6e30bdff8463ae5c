//! What the parts of a sandbox tell each other.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What to do, from the baking process to process 1.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Orders {
    /// The baking process: when it is gone, so is the sandbox.
    pub(crate) parent: i32,
    /// The folder with `upper`, `work`, `root`, `skeleton` and `status`.
    pub(crate) space: PathBuf,
    /// The tree below.
    pub(crate) lower: PathBuf,
    /// Whether `root` is a copy of the tree rather than a mount point for an overlay.
    pub(crate) copied: bool,
    /// Program and arguments.
    pub(crate) argv: Vec<String>,
    /// All of the environment.
    pub(crate) env: BTreeMap<String, String>,
    /// Absolute folder in the image.
    pub(crate) workdir: String,
    /// Whether the machine's network is shared.
    pub(crate) network: bool,
    /// Milliseconds the command may take.
    pub(crate) timeout: Option<u64>,
    /// Whether a user namespace is needed.
    pub(crate) rootless: bool,
}

/// How it went, in the file `status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Status {
    /// The command ended by itself.
    Exit(i32),
    /// A signal ended it.
    Signal(i32),
    /// It took too long.
    TimedOut,
    /// The sandbox could not be made.
    Setup {
        /// What was being done.
        act: String,
        /// The system's error number.
        errno: i32,
    },
    /// Overlayfs does not work here: try again with a copy.
    NoOverlay,
    /// The image has no such program.
    NoProgram {
        /// As looked for.
        program: String,
        /// The system's error number, when the program is there but cannot be executed.
        errno: Option<i32>,
    },
    /// The image has no such folder to start in.
    NoFolder {
        /// As ordered.
        path: String,
    },
}

/// Whether a command line needs no shell: it holds nothing that a shell would treat in a special way, and its
/// first word is no assignment.
pub(crate) fn is_plain_line(line: &str) -> bool {
    const SPECIAL: &str = "|&;<>()$`\\\"'*?[]#~=%{}!\n\r";
    !line.contains(|c| SPECIAL.contains(c) && c != '=' && c != '%' && c != '#' && c != '~')
        && !line.split_whitespace().any(|word| word.starts_with(['#', '~']))
        && !line.split_whitespace().next().is_some_and(|word| word.contains('='))
}

#[cfg(test)]
mod tests {
    use super::is_plain_line;

    #[test]
    fn only_lines_without_anything_special_go_without_a_shell() {
        for plain in
            ["python3 -m compileall /srv/app", "ls -l", "make CFLAGS=-O2", "date +%s", "touch a#b x~"]
        {
            assert!(is_plain_line(plain), "{plain}");
        }
        for special in
            ["a | b", "A=1 b", "echo $HOME", "a; b", "a 'b c'", "ls *.c", "a # b", "cd ~", "a\nb", "[ -f x ]"]
        {
            assert!(!is_plain_line(special), "{special}");
        }
    }
}
