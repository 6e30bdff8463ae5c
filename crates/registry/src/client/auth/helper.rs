//! Asking a credential helper: `docker-credential-NAME get`, the server on standard input, JSON on standard output.
//! Source: the protocol of docker/docker-credential-helpers.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::keys::Login;
use crate::client::RegistryError;

/// A helper may ask its user for a password; nobody waits for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// No more is read of what a helper prints.
const ANSWER_LIMIT: u64 = 64 << 10;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// What the helper of this name has for a server; `None` when it has nothing.
pub(super) async fn ask(
    name: &str,
    server: &str,
    registry: &str,
    path: Option<&OsStr>,
) -> Result<Option<Login>, RegistryError> {
    let program = format!("docker-credential-{name}");
    let fault = |reason: String| RegistryError::Credentials {
        host: registry.into(),
        from: PathBuf::from(&program),
        reason,
    };
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
        return Err(fault("a helper's name has letters, digits and . _ - only".into()));
    }
    let mut command = Command::new(find(&program, path));
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let child = command.spawn().map_err(|error| fault(error.to_string()))?;
    let answered = tokio::time::timeout(PATIENCE, converse(child, server)).await;
    let (good, text) = answered
        .map_err(|_| fault("it does not answer".into()))?
        .map_err(|error| fault(error.to_string()))?;
    if !good {
        // The protocol has no other way to say so.
        let nothing = text.contains("credentials not found") || text.contains("no credentials server URL");
        let line: String = text.lines().next().unwrap_or_default().chars().take(200).collect();
        return if nothing { Ok(None) } else { Err(fault(format!("it fails: {line}"))) };
    }
    // What it prints is secret, so the parser's words, which may repeat it, are not told.
    let answer: Answer = serde_json::from_str(&text)
        .map_err(|_| fault("it prints something else than JSON with Username and Secret".into()))?;
    Ok(Some(match answer.username.as_str() {
        "<token>" => Login::Identity(answer.secret),
        _ => Login::Password { user: answer.username, password: answer.secret },
    }))
}

/// The program in the folders that were looked up when the client was made; the process's own otherwise.
fn find(program: &str, path: Option<&OsStr>) -> PathBuf {
    let folders = path.map(std::env::split_paths).into_iter().flatten();
    let mut candidates = folders.filter(|folder| folder.is_absolute()).map(|folder| folder.join(program));
    candidates.find(|candidate| candidate.is_file()).unwrap_or_else(|| program.into())
}

async fn converse(mut child: Child, server: &str) -> std::io::Result<(bool, String)> {
    if let Some(mut input) = child.stdin.take() {
        // One that does not read its input at all may still answer.
        let _ = input.write_all(format!("{server}\n").as_bytes()).await;
    }
    let mut text = Vec::new();
    if let Some(output) = child.stdout.take() {
        output.take(ANSWER_LIMIT).read_to_end(&mut text).await?;
    }
    let status = child.wait().await?;
    Ok((status.success(), String::from_utf8_lossy(&text).into_owned()))
}
