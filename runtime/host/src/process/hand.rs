//! What a host hands to a guest open: one file or stream, checked for what it is, and no way to another.
//!
//! Descriptors go this way only. What a guest sends back is refused in the kernel: a host that took descriptors of a guest would use
//! them with its own authority.

use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};

use capability_manifest::HostCapability;
use cofferdam_wire::handshake::{Handing, handed};
use cofferdam_wire::value::Sink;
use cofferdam_wire::{Encode, packet};
use rustix::fs::{FileType, OFlags};
use rustix::net::{AddressFamily, Shutdown, SocketType, sockopt};

use super::broker::is_granted;
use super::compartment::ProcessCompartment;
use super::error::CallError;
use super::limits::CONNECT_TIMEOUT;

/// Something open.
#[derive(Debug)]
#[non_exhaustive]
pub enum Open {
    /// A regular file that is open for reading, and for nothing else.
    Read(cap_std::fs::File),
    /// A regular file that is open for writing.
    Write(cap_std::fs::File),
    /// A connected stream.
    Stream(TcpStream),
    /// A connected stream to a service on this machine.
    Local(UnixStream),
}

/// What was handed over, as an argument of calls: `compartment.call_typed("digest", &(&handed,))`. Of one guest; a later one of the same
/// compartment does not know it.
#[derive(Debug)]
pub struct Handed {
    number: u64,
    serial: u64,
    /// The same stream, by which it can be ended.
    stream: Option<OwnedFd>,
}

/// What became of something that was taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakenBack {
    /// The stream was shut down, for everybody who holds it.
    ShutDown,
    /// The guest was ended: the kernel has no way to close another process's file.
    GuestEnded,
    /// The guest that had it was gone already.
    Gone,
}

/// Numbers of what is handed over. None is given twice.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

impl Encode for Handed {
    fn encode<'v>(&'v self, out: &mut Sink<'v>) {
        self.number.encode(out);
    }
}

impl Open {
    /// Whether it is what it says, and nothing more.
    fn check(self) -> Result<(u8, OwnedFd), String> {
        let (kind, descriptor) = match self {
            Self::Read(file) => (handed::READ, OwnedFd::from(file)),
            Self::Write(file) => (handed::WRITE, OwnedFd::from(file)),
            Self::Stream(stream) => (handed::STREAM, OwnedFd::from(stream)),
            Self::Local(stream) => (handed::STREAM, OwnedFd::from(stream)),
        };
        let flags = rustix::fs::fcntl_getfl(&descriptor).map_err(|error| error.to_string())?;
        let stat = rustix::fs::fstat(&descriptor).map_err(|error| error.to_string())?;
        let mode = flags & OFlags::RWMODE;
        let found = FileType::from_raw_mode(stat.st_mode);
        let right = match kind {
            handed::READ => found == FileType::RegularFile && mode == OFlags::RDONLY,
            handed::WRITE => found == FileType::RegularFile && mode != OFlags::RDONLY,
            _ => {
                let family = sockopt::socket_domain(&descriptor).ok();
                let known = [AddressFamily::INET, AddressFamily::INET6, AddressFamily::UNIX];
                sockopt::socket_type(&descriptor) == Ok(SocketType::STREAM)
                    && family.is_some_and(|family| known.contains(&family))
                    && rustix::net::getpeername(&descriptor).is_ok_and(|peer| peer.is_some())
            }
        };
        if !right || flags.contains(OFlags::PATH) {
            let wanted = match kind {
                handed::READ => "a regular file that is open for reading only",
                handed::WRITE => "a regular file that is open for writing",
                _ => "a connected stream",
            };
            return Err(format!("what is handed over is not {wanted}"));
        }
        Ok((kind, descriptor))
    }
}

impl ProcessCompartment {
    /// Hands something open to the guest, for arguments of the calls that follow. The guest takes it with `cofferdam_guest::Handed`.
    ///
    /// The edge must grant `handle-forge`, or for a stream `network.connect`: without, the guest's filter lets it use no descriptor.
    /// A folder cannot be handed over, since Landlock lets a guest open nothing below a folder that was not granted.
    ///
    /// # Errors
    /// [`CallError::Usage`] when it is not what it says it is, is not granted, or the guest does not take what was handed over before.
    pub fn hand(&mut self, open: Open) -> Result<Handed, CallError> {
        let usage = |compartment: &Self, message: String| CallError::Usage {
            edge: compartment.edge().to_owned(),
            message,
        };
        let stream = matches!(open, Open::Stream(_) | Open::Local(_));
        let granted = self.lowered().handles || (stream && !self.lowered().hosts.is_empty());
        if !granted {
            let name = HostCapability::HandleForge.name();
            return Err(usage(
                self,
                format!(
                    "the edge lets the guest use nothing that is handed over; this line would: {name} = true"
                ),
            ));
        }
        let (kind, descriptor) = open.check().map_err(|message| usage(self, message))?;
        self.ensure_running()?;
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let bytes = cofferdam_wire::encode(&Handing { number, kind }).expect("nine bytes");
        let sent = self.socket().map(|socket| packet::send(socket, &bytes, &[descriptor.as_fd()]));
        match sent {
            Some(Ok(())) => {
                let serial = self.serial().unwrap_or_default();
                Ok(Handed { number, serial, stream: stream.then_some(descriptor) })
            }
            Some(Err(error)) => Err(usage(self, format!("it cannot be handed over: {error}"))),
            None => Err(CallError::NotRestarted { edge: self.edge().to_owned() }),
        }
    }

    /// Connects to a host and port that the edge grants, and hands the stream over.
    ///
    /// # Errors
    /// [`CallError::Usage`] when the edge does not grant it, or nobody answers there.
    ///
    /// # Authority
    /// That of the edge's own grant: looks the name up and connects, as for a guest that calls `connect`.
    pub fn hand_connection(&mut self, to: &str) -> Result<Handed, CallError> {
        let edge = self.edge().to_owned();
        let usage = |message: String| CallError::Usage { edge: edge.clone(), message };
        let addresses = to.to_socket_addrs().map_err(|error| usage(format!("`{to}`: {error}")))?;
        let mut last = format!("`{to}` has no address");
        for address in addresses {
            if !is_granted(&self.lowered().hosts, address) {
                last = format!(
                    "the edge does not grant `{}` to `{address}`; this line would allow it: network = {{ connect = [\"{to}\"] }}",
                    HostCapability::NetworkConnect.name()
                );
                continue;
            }
            match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                Ok(stream) => return self.hand(Open::Stream(stream)),
                Err(error) => last = format!("`{address}`: {error}"),
            }
        }
        Err(usage(last))
    }

    /// Takes back what was handed over: a stream is shut down, and for a file the guest is ended, as nothing less would do.
    pub fn take_back(&mut self, handed: Handed) -> TakenBack {
        if self.serial() != Some(handed.serial) {
            return TakenBack::Gone;
        }
        match handed.stream {
            Some(stream) => {
                // One that the peer has ended already cannot be shut down, and need not be.
                let _ = rustix::net::shutdown(&stream, Shutdown::Both);
                TakenBack::ShutDown
            }
            None => {
                self.end();
                TakenBack::GuestEnded
            }
        }
    }
}
