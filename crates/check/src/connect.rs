//! Connecting to a port of an instance, by address or through its supervisor.

use std::future::Future;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use kiln_provider::Endpoint;
use rustix::fs::{Mode, OFlags};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, Interest};
use tokio::net::{TcpStream, UnixStream};

/// Longest path of a Unix socket that is used as it is (unix(7): 108 bytes with the final zero).
const LONGEST: usize = 100;

/// What a connection is.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// Connects to ports of instances.
pub trait Connector: Send + Sync {
    /// The connection.
    type Stream: Stream;

    /// Connects.
    fn connect(&self, endpoint: &Endpoint) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// Connects by address, or asks the instance's supervisor for a connected stream, as [`Endpoint`] says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Direct;

impl Connector for Direct {
    type Stream = TcpStream;

    async fn connect(&self, endpoint: &Endpoint) -> io::Result<TcpStream> {
        match endpoint {
            Endpoint::Tcp { addr } => TcpStream::connect(addr).await,
            Endpoint::Dial { socket, port } => dial(socket, *port).await,
        }
    }
}

async fn dial(socket: &Path, port: u16) -> io::Result<TcpStream> {
    let (path, _open) = fitting(socket)?;
    let mut supervisor = UnixStream::connect(path).await?;
    let [high, low] = port.to_be_bytes();
    supervisor.write_all(&[b'C', high, low]).await?;
    let answer = supervisor.async_io(Interest::READABLE, || receive(supervisor.as_fd())).await?;
    match answer {
        (Some(0), Some(stream)) => {
            let stream = std::net::TcpStream::from(stream);
            stream.set_nonblocking(true)?;
            TcpStream::from_std(stream)
        }
        (Some(1), _) => Err(io::ErrorKind::ConnectionRefused.into()),
        (None, _) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the supervisor hung up")),
        (Some(_), _) => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "the supervisor's answer makes no sense"))
        }
    }
}

/// One byte and at most one descriptor.
fn receive(supervisor: impl AsFd) -> io::Result<(Option<u8>, Option<OwnedFd>)> {
    let mut byte = [0_u8; 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = rustix::net::recvmsg(supervisor, &mut [IoSliceMut::new(&mut byte)], &mut control, flags)?;
    let mut stream = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut descriptors) = message {
            stream = descriptors.next();
        }
    }
    Ok(((received.bytes > 0).then_some(byte[0]), stream))
}

/// A path that fits, and the folder's descriptor that must stay open while it is used.
fn fitting(path: &Path) -> io::Result<(PathBuf, Option<OwnedFd>)> {
    if path.as_os_str().len() <= LONGEST {
        return Ok((path.into(), None));
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(folder, flags, Mode::empty())?;
    let short = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
    Ok((short, Some(folder)))
}
