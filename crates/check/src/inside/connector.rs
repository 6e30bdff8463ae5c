//! Connecting from inside: to any address as the instance's own programs would.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use kiln_provider::Endpoint;
use nix::sched::{CloneFlags, setns};
use tokio::net::TcpStream;

use crate::connect::{Connector, Direct};

/// The network of an instance.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    /// Its first process.
    pub(crate) pid: u32,
    /// The supervisor's socket, where nobody but the supervisor can enter the network (rootless).
    pub(crate) supervisor: Option<PathBuf>,
}

impl Network {
    /// Connects to an address.
    pub(crate) async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        match &self.supervisor {
            Some(socket) if address.ip().is_loopback() || address.ip().is_unspecified() => {
                let endpoint = Endpoint::Dial { socket: socket.clone(), port: address.port() };
                Direct.connect(&endpoint).await
            }
            // It has loopback and nothing else.
            Some(_) => Err(io::ErrorKind::NetworkUnreachable.into()),
            None => {
                let namespace = PathBuf::from(format!("/proc/{}/ns/net", self.pid));
                let stream = tokio::task::spawn_blocking(move || within(&namespace, address)).await;
                let stream = stream.map_err(io::Error::other)??;
                stream.set_nonblocking(true)?;
                TcpStream::from_std(stream)
            }
        }
    }
}

/// A socket stays in the network it was made in, so a thread that goes there and ends is enough.
fn within(namespace: &Path, address: SocketAddr) -> io::Result<std::net::TcpStream> {
    let namespace = std::fs::File::open(namespace)?;
    let limit = crate::LIMIT;
    let thread = std::thread::spawn(move || {
        setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET)?;
        std::net::TcpStream::connect_timeout(&address, limit)
    });
    thread.join().map_err(|_| io::Error::other("the thread that connects has panicked"))?
}
