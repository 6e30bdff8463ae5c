//! One question to an instance: does it answer?

use std::fmt;
use std::io;
use std::path::PathBuf;

use kiln_model::{Command, Span};
use kiln_provider::{Endpoint, ExecRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::exec;
use crate::layout::InstanceDir;
use crate::shim::client;

/// The answer's first line is all that is read of it, and it is short.
const LONGEST_HEAD: u64 = 4096;

/// Whom to ask, and what.
pub(crate) enum Target {
    Http { path: String, endpoint: Endpoint },
    Tcp { endpoint: Endpoint },
    Command { command: Command, exe: PathBuf, dir: InstanceDir },
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { path, .. } => write!(f, "GET {path}"),
            Self::Tcp { endpoint } => write!(f, "a connection to {}", place(endpoint)),
            Self::Command { command: Command::Line(line), .. } => write!(f, "`{line}`"),
            Self::Command { command: Command::Argv(argv), .. } => write!(f, "`{}`", argv.join(" ")),
        }
    }
}

fn place(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Tcp { addr } => addr.to_string(),
        Endpoint::Dial { port, .. } => format!("port {port}"),
    }
}

/// Asks once. `limit` bounds a command, which has to be killed; who calls bounds the rest.
pub(crate) async fn ask(target: &Target, limit: Span) -> Result<(), String> {
    match target {
        Target::Tcp { endpoint } => {
            connect(endpoint).await.map(drop).map_err(|error| format!("{target}: {error}"))
        }
        Target::Http { path, endpoint } => match get(path, endpoint).await {
            Ok(200..=399) => Ok(()),
            Ok(status) => Err(format!("{target} answered {status}")),
            Err(error) => Err(format!("{target}: {error}")),
        },
        Target::Command { command, exe, dir } => {
            let request = ExecRequest { argv: command.argv(), timeout: limit, user: None };
            match exec::run(exe, dir, &request).await {
                Ok(result) if result.status == 0 => Ok(()),
                Ok(result) => {
                    let said =
                        result.stderr.lines().last().or(result.stdout.lines().last()).unwrap_or_default();
                    Err(format!("{target} exited with status {}: {said}", result.status))
                }
                Err(error) => Err(format!("{target}: {error}")),
            }
        }
    }
}

async fn connect(endpoint: &Endpoint) -> io::Result<TcpStream> {
    match endpoint {
        Endpoint::Tcp { addr } => TcpStream::connect(addr).await,
        Endpoint::Dial { socket, port } => client::dial(socket, *port).await,
    }
}

async fn get(path: &str, endpoint: &Endpoint) -> io::Result<u16> {
    let mut stream = connect(endpoint).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: kiln-health\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    let mut answer = stream.take(LONGEST_HEAD);
    while !head.contains(&b'\n') {
        if answer.read_buf(&mut head).await? == 0 {
            break;
        }
    }
    status(&head).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))
}

/// The status code of a status line (RFC 9112, section 4).
fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|byte| *byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let rest = line.strip_prefix("HTTP/1.")?;
    rest.split(' ').nth(1)?.trim().parse().ok().filter(|code| (100..600).contains(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_lines_are_read_and_others_are_not() {
        assert_eq!(status(b"HTTP/1.1 204 No Content\r\n"), Some(204));
        assert_eq!(status(b"HTTP/1.0 503\r\n"), Some(503));
        for wrong in
            [&b""[..], b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 abc\r\n", b"HTTP/1.1 99 x\r\n", b"\xff\xfe\n"]
        {
            assert_eq!(status(wrong), None);
        }
    }
}
