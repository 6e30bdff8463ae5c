//! Descriptors that survive an execution: sent into a socket that becomes the standard input of the next program.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// More than a supervisor ever needs; the kernel's own limit is 253 (`SCM_MAX_FD`).
const MOST: usize = 16;
/// More than the note ever is.
const LONGEST_NOTE: usize = 16 << 10;

/// Puts a note and descriptors into a new socket.
pub(super) fn pack(note: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> io::Result<OwnedFd> {
    let (near, far) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let note = serde_json::to_vec(note)?;
    sendmsg(&near, &[IoSlice::new(&note)], &mut ancillary, SendFlags::empty())?;
    Ok(far)
}

/// Takes them out of the standard input.
pub(super) fn unpack<T: DeserializeOwned>() -> io::Result<(T, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut note = vec![0; LONGEST_NOTE];
    let stdin = io::stdin();
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(stdin.as_fd(), &mut [IoSliceMut::new(&mut note)], &mut ancillary, flags)?;
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    Ok((serde_json::from_slice(&note[..received.bytes])?, descriptors))
}
