//! Functions that read something from outside of the text: files of the spec's folder, the environment.

use super::{Call, Failure, Function, Outcome, function};
use crate::eval::Value;
use crate::files::FileError;

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        reads_files: true,
        ..function(
            "file",
            (1, Some(1)),
            "file(\"config/app.conf\")",
            "The text of a file in the spec's folder.",
            |c| c.host.files.text(c.text(0)?).map(Value::text).map_err(|error| failure(&error)),
        )
    },
    Function {
        reads_files: true,
        ..function(
            "fileexists",
            (1, Some(1)),
            "fileexists(\"app.conf\")",
            "Whether the spec's folder has such a file.",
            |c| c.host.files.exists(c.text(0)?).map(Value::Bool).map_err(|error| failure(&error)),
        )
    },
    Function {
        reads_env: true,
        ..function(
            "env",
            (1, Some(2)),
            "env(\"NAME\", \"default\")",
            "A variable of the machine's environment. Not in `image` blocks: an image does not depend on the machine.",
            env,
        )
    },
];

fn failure(error: &FileError) -> Failure {
    let failure = Failure::at(0, error.to_string());
    match error {
        FileError::Outside { .. } => {
            failure.help("copy the file into the spec's folder and name it relative to the folder")
        }
        FileError::Io { .. } | FileError::NotAFile { .. } => {
            failure.help("paths are relative to the folder of the spec")
        }
        FileError::TooLarge { .. } | FileError::NotText { .. } => {
            failure.help("put it into the image with a `copy` block instead")
        }
    }
}

fn env(call: &Call<'_>) -> Outcome {
    let name = call.text(0)?;
    if let Some(value) = (call.host.env)(name) {
        return Ok(Value::text(value));
    }
    call.args.get(1).cloned().ok_or_else(|| {
        Failure::at(0, format!("the environment has no variable `{name}`"))
            .help(format!("set it, or give a default: env(\"{name}\", \"…\")"))
    })
}
