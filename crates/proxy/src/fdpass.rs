//! Descriptors over Unix sockets: connections to, and listeners inside, instances from their supervisors, and
//! listeners from one data plane to the next.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::unixpath::ShortPath;

/// Descriptors in one message; the kernel allows 253 (`SCM_MAX_FD`).
pub(crate) const MOST: usize = 64;

/// Asks an instance's supervisor for a descriptor: `C` connects to a port inside, `L` listens on it. See
/// [`Endpoint::Dial`](crate::Endpoint::Dial).
pub(crate) async fn ask_supervisor(socket: &Path, what: u8, port: u16) -> io::Result<OwnedFd> {
    let short = ShortPath::new(socket)?;
    let stream = UnixStream::connect(short.path()).await?;
    let [high, low] = port.to_be_bytes();
    send(&stream, &[what, high, low], &[]).await?;
    let mut answer = [0; 1];
    let (length, mut descriptors) = receive(&stream, &mut answer).await?;
    match (length, answer[0], descriptors.pop()) {
        (1, 0, Some(descriptor)) => Ok(descriptor),
        (1, 1, _) => Err(io::Error::new(io::ErrorKind::ConnectionRefused, "the instance refused")),
        (0, ..) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the supervisor hung up")),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the supervisor's answer is not understood")),
    }
}

/// Sends bytes with descriptors attached to the first of them.
pub(crate) async fn send(
    stream: &UnixStream,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let mut sent = 0;
    while sent < bytes.len() {
        let attach = if sent == 0 { descriptors } else { &[] };
        sent += stream.async_io(Interest::WRITABLE, || send_once(stream, &bytes[sent..], attach)).await?;
    }
    Ok(())
}

fn send_once(stream: &UnixStream, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors for one message"));
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    Ok(rustix::net::sendmsg(stream.as_fd(), &[IoSlice::new(bytes)], &mut control, flags)?)
}

/// Receives at most `bytes.len()` bytes and whatever descriptors come with them; 0 bytes is the end.
pub(crate) async fn receive(stream: &UnixStream, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    stream.async_io(Interest::READABLE, || receive_once(stream, bytes)).await
}

fn receive_once(stream: &UnixStream, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = rustix::net::recvmsg(stream.as_fd(), &mut [IoSliceMut::new(bytes)], &mut control, flags)?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    Ok((received.bytes, descriptors))
}
