//! A server: a launcher that stays, and hands out processes that stand ready in namespaces of their own.
//!
//! Each is process 1 of fresh namespaces, for one guest and used once. The host gives it the order itself, so the server knows nothing
//! about guests, and holds nothing of theirs. It makes the next one when it has given one away. All of them die with it, and it
//! dies with its host.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;

use cofferdam_wire::order::Layer;
use cofferdam_wire::packet;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitOptions, getpid, pidfd_open};

use crate::confine::{MAKING_NAMESPACES, die_with, namespaces, stand};
use crate::report::{Done, Failure, Named, Reports};
use crate::sys;

/// A process that stands ready: the host's end of its socket, and a descriptor of it.
struct Ready {
    socket: OwnedFd,
    process: OwnedFd,
}

struct Server {
    host: u32,
    /// A descriptor of this process, by which children see its end.
    own: OwnedFd,
    identity: (u32, u32),
    /// What was started and has not been waited for.
    children: Vec<(Pid, OwnedFd)>,
    next: Option<Ready>,
}

/// Answers the host, which is the parent, until it hangs up.
pub(crate) fn serve(host: u32) -> ExitCode {
    let stdin = std::io::stdin();
    let socket = stdin.as_fd();
    let mut server = match Server::begin(host) {
        Ok(server) => server,
        Err((layer, failure)) => {
            report(socket, layer, failure);
            return ExitCode::FAILURE;
        }
    };
    loop {
        match server.wait(socket) {
            Ok(true) => match packet::receive_now(socket, 0) {
                Ok(_) => server.answer(socket),
                // The host is gone, or has no more use for guests.
                Err(_) => return ExitCode::SUCCESS,
            },
            Ok(false) | Err(Errno::INTR) => {}
            Err(_) => return ExitCode::FAILURE,
        }
    }
}

fn report(socket: BorrowedFd<'_>, layer: Layer, failure: Failure) {
    let mut reports = Reports::default();
    let _ = reports.keep(layer, Err(failure));
    reports.send(socket);
}

impl Server {
    fn begin(host: u32) -> Result<Self, (Layer, Failure)> {
        let at = |layer: Layer| move |failure: Failure| (layer, failure);
        rustix::process::setsid().named("setsid").map_err(at(Layer::Session))?;
        let parent = || {
            rustix::process::getppid()
                .is_some_and(|parent| parent.as_raw_nonzero().get().cast_unsigned() == host)
        };
        let Done::Enforced(_) = die_with(parent).map_err(at(Layer::ParentDeath))? else {
            unreachable!("it is enforced or fails");
        };
        let own = pidfd_open(getpid(), PidfdFlags::empty())
            .named("opening a descriptor of itself")
            .map_err(at(Layer::ParentDeath))?;
        let identity = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Ok(Self { host, own, identity, children: Vec::new(), next: None })
    }

    /// Waits until the host asks for something, and meanwhile for children that have ended. True when the host did, or hung up.
    fn wait(&mut self, socket: BorrowedFd<'_>) -> Result<bool, Errno> {
        let mut fds = vec![PollFd::from_borrowed_fd(socket, PollFlags::IN)];
        fds.extend(self.children.iter().map(|(_, process)| PollFd::new(process, PollFlags::IN)));
        poll(&mut fds, None)?;
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        let mut ended = ready[1..].iter();
        self.children.retain(|(child, _)| {
            let ended = *ended.next().expect("one for each child");
            if ended {
                let _ = rustix::process::waitpid(Some(*child), WaitOptions::empty());
            }
            !ended
        });
        Ok(ready[0])
    }

    /// Gives away the process that stands ready, and makes the next.
    fn answer(&mut self, socket: BorrowedFd<'_>) {
        let ready = match self.next.take().map_or_else(|| self.make(), Ok) {
            Ok(ready) => ready,
            Err(failure) => return report(socket, Layer::Namespaces, failure),
        };
        let sent = packet::send(socket, b"ready", &[ready.socket.as_fd(), ready.process.as_fd()]);
        // Whoever was not told hangs up, or asks again.
        if sent.is_ok() {
            // Without one, the next request makes it, and hears why it cannot be made.
            self.next = self.make().ok();
        }
    }

    fn make(&mut self) -> Result<Ready, Failure> {
        let (socket, theirs) = packet::pair().named("making a pair of sockets")?;
        match sys::fork_into(namespaces()).named(MAKING_NAMESPACES)? {
            Some((child, process)) => {
                let copy = rustix::io::fcntl_dupfd_cloexec(&process, 0).named("copying a descriptor")?;
                self.children.push((child, copy));
                Ok(Ready { socket, process })
            }
            None => {
                sys::keep_only([&theirs, &self.own]);
                stand(&theirs, &self.own, self.host, self.identity);
                sys::exit_now()
            }
        }
    }
}
