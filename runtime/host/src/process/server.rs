//! The launcher that stays: started once for a host, and asked for a process for each guest.
//!
//! It hands out processes that stand ready in namespaces of their own, each for one guest. When it is gone, so are all of its guests,
//! and the next start begins with another.

use std::fmt;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Instant;

use cofferdam_wire::order::{LAUNCHER, LayerReport, Outcome, Report};
use cofferdam_wire::packet::{self, PacketError};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::control::lock;
use super::limits::START_DEADLINE;

/// A process that stands ready for one guest.
#[derive(Debug)]
pub(super) struct Ready {
    /// Takes the order.
    pub(super) socket: OwnedFd,
    /// The process itself.
    pub(super) process: OwnedFd,
}

/// Why there is none.
#[derive(Debug)]
pub(super) enum NotReady {
    /// A layer failed.
    Layer(LayerReport),
    /// Something else did.
    Host(String),
}

/// A server that is started when it is first asked.
#[derive(Debug, Default)]
pub(super) struct Server(Mutex<Option<Running>>);

#[derive(Debug)]
struct Running {
    socket: OwnedFd,
    child: Arc<Mutex<Child>>,
    /// The launcher is the child of a thread, and dies with it, so this one stays for as long.
    thread: Option<JoinHandle<()>>,
}

/// The launcher as a child that is about to be started, with a socket as standard input.
pub(super) fn command(launcher: &OwnedFd, socket: OwnedFd) -> Command {
    // The child's table of descriptors is a copy of this one until the launcher runs, so the number means the same there.
    let mut command = Command::new(format!("/proc/self/fd/{}", launcher.as_raw_fd()));
    command
        .arg0(LAUNCHER)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(socket))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

impl Server {
    /// Whether nobody has started it, or is about to.
    #[cfg(feature = "wasm")]
    pub(super) fn is_idle(&self) -> bool {
        self.0.try_lock().is_ok_and(|running| running.is_none())
    }

    /// Starts it, if it is not. Whether that works, and why not, whoever asks it finds out.
    #[cfg(feature = "wasm")]
    pub(super) fn begin(&self, launcher: &OwnedFd) {
        let mut running = lock(&self.0);
        if running.is_none() {
            *running = Running::start(launcher).ok();
        }
    }

    /// A process for one guest.
    pub(super) fn ask(&self, launcher: &OwnedFd) -> Result<Ready, NotReady> {
        let host = |error: &dyn fmt::Display| NotReady::Host(error.to_string());
        let mut running = lock(&self.0);
        // One that is gone is found out by asking it.
        for _ in 0..2 {
            let server = match &mut *running {
                Some(server) => server,
                none => none.insert(Running::start(launcher).map_err(|error| host(&error))?),
            };
            match server.ask() {
                Ok(ready) => return Ok(ready),
                Err(Answer::NotReady(error)) => return Err(error),
                Err(Answer::Gone) => *running = None,
            }
        }
        Err(host(&"the launcher ended without an answer; it may be one of another version"))
    }
}

enum Answer {
    NotReady(NotReady),
    Gone,
}

impl Running {
    fn start(launcher: &OwnedFd) -> Result<Self, std::io::Error> {
        let (socket, theirs) = packet::pair()?;
        let mut command = command(launcher, theirs);
        command.arg("serve").arg(std::process::id().to_string());
        let (tell, told) = mpsc::channel();
        let thread = std::thread::Builder::new().name("cofferdam-server".to_owned()).spawn(move || {
            let started = command.spawn().and_then(|child| {
                let process = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
                let process = pidfd_open(process.ok_or(Errno::SRCH)?, PidfdFlags::empty())?;
                Ok((Arc::new(Mutex::new(child)), process))
            });
            // The server's end of the socket is its own from here on, so that its end is seen.
            drop(command);
            match started {
                Ok((child, process)) => {
                    let _ = tell.send(Ok(Arc::clone(&child)));
                    while poll(&mut [PollFd::new(&process, PollFlags::IN)], None) == Err(Errno::INTR) {}
                    let _ = lock(&child).wait();
                }
                Err(error) => drop(tell.send(Err(error))),
            }
        })?;
        match told.recv() {
            Ok(Ok(child)) => Ok(Self { socket, child, thread: Some(thread) }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(std::io::Error::other("the launcher's thread ended")),
        }
    }

    fn ask(&self) -> Result<Ready, Answer> {
        let host = |error: &dyn fmt::Display| Answer::NotReady(NotReady::Host(error.to_string()));
        let failed = |error: PacketError| match error {
            PacketError::HungUp | PacketError::Socket(Errno::PIPE | Errno::CONNRESET) => Answer::Gone,
            error => host(&format!("the launcher did not answer: {error}")),
        };
        packet::send(&self.socket, b"guest", &[]).map_err(failed)?;
        let deadline = Instant::now() + START_DEADLINE;
        let (bytes, descriptors) = packet::receive_some(&self.socket, deadline).map_err(failed)?;
        if let Ok([socket, process]) = <[OwnedFd; 2]>::try_from(descriptors) {
            return Ok(Ready { socket, process });
        }
        let report: Report = cofferdam_wire::decode(&bytes)
            .map_err(|error| host(&format!("the launcher answers what makes no sense: {error}")))?;
        match report.layers.into_iter().find(|report| report.outcome == Outcome::Failed) {
            Some(report) => Err(Answer::NotReady(NotReady::Layer(report))),
            None => Err(host(&"the launcher answers with no process")),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It is gone already, or nobody has a guest of it any more.
        let _ = lock(&self.child).kill();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
