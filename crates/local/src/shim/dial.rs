//! Sockets of the instance's network, for those outside who cannot reach it.
//!
//! The supervisor lives in the instance's network namespace itself, so making one is two system calls; nobody has to
//! enter a namespace.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, bind,
    connect, listen, sendmsg, socket_with, sockopt,
};

use super::protocol::{GIVEN, REFUSED};

/// Connections that may wait to be accepted; the kernel takes less where `somaxconn` is less.
const BACKLOG: i32 = 1024;

/// A connection on its way.
pub(super) enum Dialled {
    /// There already.
    Connected(OwnedFd),
    /// Writable once it is there.
    Pending(OwnedFd),
    /// Nobody listens.
    Refused,
}

fn tcp(family: AddressFamily) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(family, SocketType::STREAM, flags, None)?)
}

/// Connects to the port on loopback: IPv4, and IPv6 for programs that listen only there.
pub(super) fn dial(port: u16) -> Dialled {
    let addresses =
        [SocketAddr::from((Ipv4Addr::LOCALHOST, port)), SocketAddr::from((Ipv6Addr::LOCALHOST, port))];
    for address in addresses {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let Ok(socket) = tcp(family) else { continue };
        match connect(&socket, &address) {
            Ok(()) => return Dialled::Connected(socket),
            Err(Errno::INPROGRESS) => return Dialled::Pending(socket),
            Err(_) => {}
        }
    }
    Dialled::Refused
}

/// Whether a pending connection came about.
pub(super) fn arrived(socket: &OwnedFd) -> bool {
    matches!(sockopt::socket_error(socket), Ok(Ok(())))
}

/// Listens on the port on loopback.
pub(super) fn serve(port: u16) -> io::Result<OwnedFd> {
    let socket = tcp(AddressFamily::INET)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// Answers with a descriptor, or without.
pub(super) fn answer(client: BorrowedFd<'_>, socket: Option<&OwnedFd>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let given = socket.map(|socket| [socket.as_fd()]);
    let byte = match &given {
        Some(descriptors) if ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) => GIVEN,
        _ => REFUSED,
    };
    if let Some(socket) = socket {
        rustix::io::ioctl_fionbio(socket, false)?;
    }
    sendmsg(client, &[IoSlice::new(&[byte])], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}
