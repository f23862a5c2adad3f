//! What the host hands over open: files and streams, as typed arguments of calls.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Error, ErrorKind};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};

use cofferdam_wire::handshake::{Handing, handed};
use cofferdam_wire::packet::{self, PacketError};
use cofferdam_wire::value::Source;
use cofferdam_wire::{Decode, DecodeError};

use crate::sys;

/// An argument that stands for something that is open: the host passes what `ProcessCompartment::hand` gave. Each can be taken once.
///
/// Needs the grant `handle-forge = true`, or for streams `network.connect`.
#[derive(Debug, PartialEq, Eq)]
pub struct Handed(u64);

/// What came and was not asked for yet.
static KEPT: Mutex<BTreeMap<u64, (u8, OwnedFd)>> = Mutex::new(BTreeMap::new());

impl Handed {
    /// The file, open for reading.
    ///
    /// # Errors
    /// When it is something else, was taken before, or was handed to a guest before this one.
    pub fn read(self) -> Result<File, Error> {
        self.take(handed::READ).map(File::from)
    }

    /// The file, open for writing.
    ///
    /// # Errors
    /// As [`Handed::read`].
    pub fn write(self) -> Result<File, Error> {
        self.take(handed::WRITE).map(File::from)
    }

    /// The stream, connected. The host can end it at any time.
    ///
    /// # Errors
    /// As [`Handed::read`].
    pub fn stream(self) -> Result<TcpStream, Error> {
        self.take(handed::STREAM).map(TcpStream::from)
    }

    /// The same for a stream to a service on the host's machine.
    ///
    /// # Errors
    /// As [`Handed::read`].
    pub fn local(self) -> Result<UnixStream, Error> {
        self.take(handed::STREAM).map(UnixStream::from)
    }

    fn take(self, wanted: u8) -> Result<OwnedFd, Error> {
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        // The host sends it before the call that names it.
        loop {
            match packet::receive_queued(sys::socket(), 1) {
                Ok((bytes, descriptors)) => {
                    let handing: Handing = cofferdam_wire::decode(&bytes)
                        .map_err(|error| Error::new(ErrorKind::InvalidData, error))?;
                    kept.extend(descriptors.into_iter().map(|one| (handing.number, (handing.kind, one))));
                }
                Err(PacketError::Timeout) => break,
                Err(error) => return Err(Error::other(error)),
            }
        }
        match kept.remove(&self.0) {
            Some((kind, descriptor)) if kind == wanted => Ok(descriptor),
            Some(_) => Err(Error::new(ErrorKind::InvalidInput, "it was handed over as something else")),
            None => Err(Error::new(ErrorKind::NotFound, "nothing of that number was handed over")),
        }
    }
}

impl Decode for Handed {
    const BYTES_MIN: usize = 8;

    fn decode(from: &mut Source<'_>) -> Result<Self, DecodeError> {
        u64::decode(from).map(Self)
    }
}
