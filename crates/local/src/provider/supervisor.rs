//! The provider's line to one supervisor.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use crate::files;
use crate::intent::Status;
use crate::layout::InstanceDir;
use crate::sandbox::secrets::{self, Values};
use crate::shim::protocol::Request;

/// A connection on which the supervisor tells every change of the status.
pub(super) struct Supervisor {
    stream: BufReader<UnixStream>,
    line: Vec<u8>,
    /// Kept so that the runtime buries it.
    _child: Option<Child>,
}

impl Supervisor {
    /// Starts the supervisor of a new instance.
    pub(super) fn spawn(exe: &Path, dir: &InstanceDir) -> io::Result<Self> {
        let (near, far) = StdStream::pair()?;
        let complaints = OpenOptions::new().create(true).append(true).open(dir.complaints())?;
        let child = Command::new(exe)
            .arg("shim")
            .arg(dir.path())
            .stdin(OwnedFd::from(far))
            .stdout(Stdio::null())
            .stderr(complaints)
            .spawn()?;
        Self::new(near, Some(child))
    }

    /// Connects to the supervisor of an instance that exists.
    pub(super) async fn attach(dir: &InstanceDir) -> io::Result<Self> {
        let mut supervisor = Self::new(files::connect(&dir.socket())?, None)?;
        supervisor.send(&Request::Watch).await?;
        Ok(supervisor)
    }

    fn new(stream: StdStream, child: Option<Child>) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let stream = BufReader::new(UnixStream::from_std(stream)?);
        Ok(Self { stream, line: Vec::new(), _child: child })
    }

    /// Gives the supervisor of a new instance its secrets.
    pub(super) async fn hand_over(&mut self, values: &Values) -> io::Result<()> {
        self.stream.get_mut().write_all(secrets::pack(values).bytes()).await
    }

    /// The next status; `None` once the supervisor is gone. May be dropped at any moment without losing anything.
    pub(super) async fn next(&mut self) -> Option<Status> {
        loop {
            match self.stream.read_until(b'\n', &mut self.line).await {
                Ok(read) if read > 0 && self.line.ends_with(b"\n") => {}
                _ => return None,
            }
            let status = serde_json::from_slice(&self.line).ok();
            self.line.clear();
            if status.is_some() {
                return status;
            }
        }
    }

    /// Sends a request; when that fails, the supervisor is gone and [`Self::next`] says so.
    pub(super) async fn send(&mut self, request: &Request) -> io::Result<()> {
        self.stream.get_mut().write_all(&request.line()).await
    }
}
