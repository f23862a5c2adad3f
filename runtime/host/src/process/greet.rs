//! A guest's first words, and the answer to them.

use std::os::fd::OwnedFd;
use std::time::Instant;

use cofferdam_wire::handshake::{Hello, Welcome};
use cofferdam_wire::limits::FUNCTIONS_MAX;
use cofferdam_wire::packet::{self, PacketError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::error::StartError;
use super::launch::{Guest, Launch};
use super::limits::START_DEADLINE;
use super::supervise::turn;

/// Waits for the guest's first words, and answers them. An error without a reason is a guest that ended.
pub(super) fn greet(
    launch: &Launch,
    guest: &mut Guest,
    deadline: Instant,
) -> Result<Hello, Option<StartError>> {
    let edge = launch.lowered.edge.clone();
    while !readable_now(&guest.socket) {
        match turn(launch, guest, Some(deadline)) {
            Ok(true) => {}
            Ok(false) => return Err(None),
            Err(Errno::TIMEDOUT) => {
                let message = format!("it said nothing within {START_DEADLINE:?}");
                return Err(Some(StartError::Handshake { edge, message }));
            }
            Err(error) => {
                return Err(Some(StartError::Host { edge, message: error.to_string() }));
            }
        }
    }
    let no = |message: String| Some(StartError::Handshake { edge: launch.lowered.edge.clone(), message });
    let hello: Hello = match packet::receive_now(&guest.socket, 0) {
        Ok((bytes, _)) => match cofferdam_wire::decode(&bytes) {
            Ok(hello) => hello,
            Err(_) if Hello::version_of(&bytes).is_some_and(|theirs| theirs != cofferdam_wire::VERSION) => {
                return Err(no(other_version(Hello::version_of(&bytes).unwrap_or_default())));
            }
            Err(error) => return Err(no(format!("its first words make no sense: {error}"))),
        },
        Err(PacketError::HungUp) => return Err(None),
        Err(error) => return Err(no(error.to_string())),
    };
    if hello.version != cofferdam_wire::VERSION {
        return Err(no(other_version(hello.version)));
    }
    if let Some(wanted) = launch.interface.filter(|wanted| *wanted != hello.interface) {
        let text = format!("its interface is {:#018x}, and the caller's {wanted:#018x}", hello.interface);
        return Err(no(text));
    }
    if !hello.is_reasonable() {
        return Err(no(format!("it has more than {FUNCTIONS_MAX} functions")));
    }
    let welcome = Welcome { version: cofferdam_wire::VERSION, spin_pauses: launch.spin_pauses };
    let welcome = cofferdam_wire::encode(&welcome).expect("eight bytes");
    if let Err(error) = packet::send(&guest.socket, &welcome, &[]) {
        return Err(no(format!("it cannot be answered: {error}")));
    }
    // The socket has served. What the guest still sends on it, descriptors included, is refused in the kernel.
    let _ = rustix::net::shutdown(&guest.socket, rustix::net::Shutdown::Read);
    guest.greeted = true;
    Ok(hello)
}

fn readable_now(socket: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(socket, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
}

fn other_version(theirs: u32) -> String {
    format!("it speaks version {theirs}, and this host version {}", cofferdam_wire::VERSION)
}
