//! Commands executed in a running instance.
//!
//! A process of its own joins the instance and executes the command there: `kiln shim-exec FOLDER [--user=USER] -- ARGV`. Its
//! standard streams are the command's.

use std::path::Path;
use std::process::Stdio;

use kiln_provider::{ExecRequest, ExecResult};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::error::LocalError;
use crate::layout::InstanceDir;
use crate::shim;

/// What is kept of each stream.
const MOST: usize = 1 << 20;

/// The command that joins the instance in `dir` and executes `argv` there, with the streams it is given; its exit
/// status is the command's, 128 + signal when one ended it. `exe` is the program that begins with [`crate::shim::dispatch`].
/// Recording it and tainting the instance is the caller's duty.
pub fn command(exe: &Path, dir: &InstanceDir, argv: &[String]) -> std::process::Command {
    command_as(exe, dir, None, argv)
}

/// The same, as another user of the image (`user[:group]`, names or numbers).
pub fn command_as(
    exe: &Path,
    dir: &InstanceDir,
    user: Option<&str>,
    argv: &[String],
) -> std::process::Command {
    let mut command = std::process::Command::new(exe);
    command.arg(shim::EXEC).arg(dir.path());
    command.args(user.map(|user| format!("--user={user}")));
    command.arg("--").args(argv);
    command
}

/// Executes a command and waits for it, no longer than its limit.
pub(crate) async fn run(
    exe: &Path,
    dir: &InstanceDir,
    request: &ExecRequest,
) -> Result<ExecResult, LocalError> {
    let mut command =
        tokio::process::Command::from(command_as(exe, dir, request.user.as_deref(), &request.argv));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let fail = |source| LocalError::Supervisor { exe: exe.into(), source };
    let mut child = command.spawn().map_err(fail)?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let work = async {
        let (stdout, stderr, status) = tokio::join!(last_of(out), last_of(err), child.wait());
        let status = status.map_err(fail)?;
        let code = std::os::unix::process::ExitStatusExt::signal(&status).map(|signal| 128 + signal);
        Ok(ExecResult { status: status.code().or(code).unwrap_or(-1), stdout, stderr })
    };
    match tokio::time::timeout(request.timeout.duration(), work).await {
        Ok(result) => result,
        Err(_) => Err(LocalError::TooLong(request.timeout)),
    }
}

async fn last_of(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        while let Ok(1..) = stream.read_buf(&mut bytes).await {
            if bytes.len() > 2 * MOST {
                bytes.drain(..bytes.len() - MOST);
            }
        }
    }
    String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(MOST)..]).into_owned()
}
