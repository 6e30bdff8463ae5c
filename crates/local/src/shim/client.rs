//! The other side of a supervisor's socket.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::{TcpListener, TcpStream, UnixStream};

use super::protocol::{CONNECT, GIVEN, LISTEN};
use crate::files;

/// Connects to a port in the instance's network.
///
/// # Errors
/// `ConnectionRefused` when nobody listens there; others when the supervisor is gone.
pub async fn dial(socket: &Path, port: u16) -> io::Result<TcpStream> {
    let stream = std::net::TcpStream::from(ask(socket, CONNECT, port).await?);
    stream.set_nonblocking(true)?;
    TcpStream::from_std(stream)
}

/// Listens on 127.0.0.1 in the instance's network.
///
/// # Errors
/// `ConnectionRefused` when the port is taken; others when the supervisor is gone.
pub async fn listen(socket: &Path, port: u16) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::from(ask(socket, LISTEN, port).await?);
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

async fn ask(socket: &Path, what: u8, port: u16) -> io::Result<OwnedFd> {
    let stream = files::connect(socket)?;
    stream.set_nonblocking(true)?;
    let mut stream = UnixStream::from_std(stream)?;
    let [high, low] = port.to_be_bytes();
    stream.write_all(&[what, high, low]).await?;
    stream.async_io(Interest::READABLE, || receive(&stream)).await
}

fn receive(stream: &UnixStream) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut answer = [u8::MAX];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(stream.as_fd(), &mut [IoSliceMut::new(&mut answer)], &mut ancillary, flags)?;
    let mut rights = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut rights) => rights.next(),
        _ => None,
    });
    match (received.bytes, answer[0], rights.next()) {
        (0, ..) => Err(io::ErrorKind::UnexpectedEof.into()),
        (_, GIVEN, Some(descriptor)) => Ok(descriptor),
        _ => Err(io::ErrorKind::ConnectionRefused.into()),
    }
}
