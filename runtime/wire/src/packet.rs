//! Packets on the socket beside the ring: the handshake, and descriptors.
//!
//! Both ends treat the other as hostile: a packet has a bounded size and a bounded number of descriptors, and one that is cut off
//! is an error. Descriptors that are not asked for are closed.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

use crate::limits::{PACKET_BYTES_MAX, PACKET_DESCRIPTORS_MAX};

/// Why a packet did not come or go.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "fields are named by the messages that use them")]
pub enum PacketError {
    /// The other side closed its end.
    #[error("the other side hung up")]
    HungUp,
    /// Nothing came in time.
    #[error("nothing came in time")]
    Timeout,
    /// Larger than a packet may be, or with more descriptors.
    #[error(
        "a packet is larger than {PACKET_BYTES_MAX} bytes, or has more than {PACKET_DESCRIPTORS_MAX} descriptors"
    )]
    Large,
    /// Another number of descriptors than the packet should have.
    #[error("a packet has {found} descriptors instead of {expected}")]
    Descriptors { expected: usize, found: usize },
    /// The kernel refuses.
    #[error("the socket fails: {0}")]
    Socket(#[from] Errno),
}

/// Two connected sockets, closed on exec.
pub fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// Sends a packet. Never blocks: a peer that does not read makes it fail.
pub fn send(socket: impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), PacketError> {
    if bytes.len() > PACKET_BYTES_MAX || descriptors.len() > PACKET_DESCRIPTORS_MAX {
        return Err(PacketError::Large);
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PACKET_DESCRIPTORS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(PacketError::Large);
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(&socket, &[IoSlice::new(bytes)], &mut ancillary, flags)
    })?;
    Ok(())
}

/// Waits for a packet that has exactly so many descriptors.
pub fn receive(
    socket: impl AsFd,
    descriptors: usize,
    deadline: Option<Instant>,
) -> Result<(Vec<u8>, Vec<OwnedFd>), PacketError> {
    if let Some(deadline) = deadline {
        wait_readable(&socket, deadline)?;
    }
    receive_now(socket, descriptors)
}

/// Takes a packet that has exactly so many descriptors; waits as the socket does.
pub fn receive_now(socket: impl AsFd, descriptors: usize) -> Result<(Vec<u8>, Vec<OwnedFd>), PacketError> {
    let (bytes, found) = receive_any(socket, RecvFlags::empty())?;
    if found.len() != descriptors {
        return Err(PacketError::Descriptors { expected: descriptors, found: found.len() });
    }
    Ok((bytes, found))
}

/// Takes a packet that is there already and has exactly so many descriptors. Does not wait, and looks at no clock.
pub fn receive_queued(socket: impl AsFd, descriptors: usize) -> Result<(Vec<u8>, Vec<OwnedFd>), PacketError> {
    match receive_any(socket, RecvFlags::DONTWAIT) {
        Ok((_, found)) if found.len() != descriptors => {
            Err(PacketError::Descriptors { expected: descriptors, found: found.len() })
        }
        Err(PacketError::Socket(Errno::AGAIN)) => Err(PacketError::Timeout),
        other => other,
    }
}

/// Waits for a packet that has descriptors or none, as the packet itself says.
pub fn receive_some(socket: impl AsFd, deadline: Instant) -> Result<(Vec<u8>, Vec<OwnedFd>), PacketError> {
    wait_readable(&socket, deadline)?;
    receive_any(socket, RecvFlags::empty())
}

fn receive_any(socket: impl AsFd, flags: RecvFlags) -> Result<(Vec<u8>, Vec<OwnedFd>), PacketError> {
    let mut bytes = vec![0; PACKET_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PACKET_DESCRIPTORS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        let parts = &mut [IoSliceMut::new(&mut bytes)];
        rustix::net::recvmsg(&socket, parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC | flags)
    })?;
    // Taken before anything else, so that whatever came is closed on every way out.
    let mut found = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(all) = message {
            found.extend(all);
        }
    }
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(PacketError::Large);
    }
    if received.bytes == 0 && found.is_empty() {
        return Err(PacketError::HungUp);
    }
    bytes.truncate(received.bytes);
    Ok((bytes, found))
}

fn wait_readable(socket: impl AsFd, deadline: Instant) -> Result<(), PacketError> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = timespec(left);
        match poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return Err(PacketError::Timeout),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(30)
    }

    #[test]
    fn bytes_and_descriptors_arrive_together() {
        let (here, there) = pair().expect("sockets");
        let (passed, other) = pair().expect("sockets");
        send(&here, b"hello", &[passed.as_fd()]).expect("room");
        let (bytes, descriptors) = receive(&there, 1, Some(soon())).expect("a packet");
        assert_eq!(bytes, b"hello");
        send(&descriptors[0], b"through it", &[]).expect("room");
        assert_eq!(receive(&other, 0, Some(soon())).expect("a packet").0, b"through it");
    }

    #[test]
    fn descriptors_that_were_not_asked_for_are_refused() {
        let (here, there) = pair().expect("sockets");
        for (sent, expected) in [(1, 0), (0, 1), (2, 1)] {
            send(&here, b"x", &vec![here.as_fd(); sent]).expect("room");
            let error = PacketError::Descriptors { expected, found: sent };
            assert_eq!(receive(&there, expected, Some(soon())).err(), Some(error));
        }
    }

    #[test]
    fn size_and_number_are_bounded_on_both_sides() {
        let (here, there) = pair().expect("sockets");
        assert_eq!(send(&here, &vec![0; PACKET_BYTES_MAX + 1], &[]), Err(PacketError::Large));
        let too_many = vec![here.as_fd(); PACKET_DESCRIPTORS_MAX + 1];
        assert_eq!(send(&here, b"x", &too_many), Err(PacketError::Large));
        send(&here, &vec![7; PACKET_BYTES_MAX], &[here.as_fd(); PACKET_DESCRIPTORS_MAX]).expect("room");
        let (bytes, _) = receive(&there, PACKET_DESCRIPTORS_MAX, Some(soon())).expect("a packet");
        assert_eq!(bytes.len(), PACKET_BYTES_MAX);
        // A peer with other bounds.
        rustix::net::send(&here, &vec![0; PACKET_BYTES_MAX + 1], SendFlags::empty()).expect("room");
        assert_eq!(receive(&there, 0, Some(soon())).err(), Some(PacketError::Large));
    }

    #[test]
    fn silence_and_a_closed_end_are_told_apart() {
        let (here, there) = pair().expect("sockets");
        assert_eq!(receive(&there, 0, Some(soon())).err(), Some(PacketError::Timeout));
        drop(here);
        assert_eq!(receive(&there, 0, Some(soon())).err(), Some(PacketError::HungUp));
    }

    #[test]
    fn a_peer_that_does_not_read_does_not_block_us() {
        let (here, _there) = pair().expect("sockets");
        let refused = (0..10_000).find_map(|_| send(&here, &[0; 1024], &[]).err());
        assert_eq!(refused, Some(PacketError::Socket(Errno::AGAIN)));
    }
}
