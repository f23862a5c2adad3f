//! What callers and the supervisor share about one guest, and why it ends.

use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Child;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cofferdam_wire::memory::Memory;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, pidfd_send_signal};

use super::error::{CallError, FaultKind, Violation};
use super::groups::Group;
use super::limits::START_DEADLINE;
use super::output::{Output, Stream, readable};

/// Why a guest is ended by its host.
#[derive(Debug)]
pub(super) enum Cause {
    /// Nobody needs it any more.
    Dropped,
    /// A call took too long.
    Deadline(Duration),
    /// It failed, or did what a guest may not.
    Fault(FaultKind),
    /// It tried what nothing allows. Recorded already.
    Violation(Box<Violation>),
    /// It took too much.
    Limit(&'static str),
    /// It did not start.
    NotStarted,
}

/// How a guest ended, after that was recorded.
#[derive(Debug)]
pub(super) struct End {
    pub(super) cause: Cause,
    pub(super) recorded: std::io::Result<()>,
}

impl End {
    /// What the caller of a function is told.
    pub(super) fn error(self, edge: &str) -> CallError {
        if let Err(error) = self.recorded {
            return CallError::Audit(error);
        }
        let edge = edge.to_owned();
        match self.cause {
            Cause::Deadline(deadline) => CallError::Deadline { edge, deadline },
            Cause::Fault(kind) => CallError::Fault { edge, kind },
            Cause::Violation(violation) => CallError::Violation { edge, violation },
            Cause::Limit(what) => CallError::Limit { edge, what },
            Cause::Dropped | Cause::NotStarted => CallError::Fault { edge, kind: FaultKind::Vanished },
        }
    }
}

/// What callers and the supervisor share about one guest.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) memory: Arc<Memory>,
    pub(super) ended: AtomicBool,
    pub(super) cause: Mutex<Option<Cause>>,
    pub(super) process: Mutex<Option<Process>>,
    /// Its control group, where it has one.
    pub(super) group: Mutex<Option<Group>>,
    pub(super) output: Mutex<Output>,
    /// The guest's number, once it runs; 0 before.
    pub(super) number: AtomicU32,
}

/// The outermost process of a guest: when it is killed, so is everything inside.
#[derive(Debug)]
pub(super) enum Process {
    /// A launcher of its own, a child of the supervisor.
    Own(Child),
    /// One that a server made, by descriptor.
    Ready(OwnedFd),
}

impl Process {
    fn kill(&mut self) {
        // It may be gone already; its number is not reused before it is waited for, under the same lock, and a descriptor is of one
        // process for ever.
        let _ = match self {
            Self::Own(child) => child.kill(),
            Self::Ready(process) => pidfd_send_signal(process, Signal::KILL).map_err(Into::into),
        };
    }

    /// Its number, while it is not waited for.
    pub(super) fn number(&self) -> Option<u32> {
        match self {
            Self::Own(child) => Some(child.id()),
            Self::Ready(process) => {
                let about =
                    std::fs::read_to_string(format!("/proc/self/fdinfo/{}", process.as_raw_fd())).ok()?;
                about.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok())
            }
        }
    }

    fn wait(&mut self) {
        match self {
            Self::Own(child) => drop(child.wait()),
            // The server waits for it; here it is enough that it is dead.
            Self::Ready(process) => {
                let longest = Timespec { tv_sec: START_DEADLINE.as_secs().cast_signed(), tv_nsec: 0 };
                let dead = || poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&longest));
                let _ = rustix::io::retry_on_intr(dead);
            }
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Control {
    pub(super) fn new(memory: Arc<Memory>) -> Self {
        Self {
            memory,
            ended: AtomicBool::new(false),
            cause: Mutex::new(None),
            process: Mutex::new(None),
            group: Mutex::new(None),
            output: Mutex::default(),
            number: AtomicU32::new(0),
        }
    }

    /// Ends the guest. The first cause counts.
    pub(super) fn end(&self, cause: Cause) {
        lock(&self.cause).get_or_insert(cause);
        if let Some(process) = lock(&self.process).as_mut() {
            process.kill();
        }
        if let Some(group) = lock(&self.group).as_ref() {
            group.kill();
        }
    }

    /// Most memory that the guest has had resident, bytes: `VmHWM` of proc(5). `None` when it is gone.
    pub(super) fn memory_peak(&self) -> Option<u64> {
        let process = self.number.load(Ordering::Relaxed);
        if process == 0 {
            return None;
        }
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kibibytes.checked_mul(1024)
    }

    /// Takes what was written to the granted streams.
    pub(super) fn take_output(&self) -> (Vec<u8>, Vec<u8>) {
        self.drain();
        let mut output = lock(&self.output);
        let mut take = |stream: fn(&mut Output) -> &mut Option<Stream>| {
            stream(&mut output).as_mut().map(|stream| std::mem::take(&mut stream.kept)).unwrap_or_default()
        };
        (take(|output| &mut output.stdout), take(|output| &mut output.stderr))
    }

    /// Reads what is in the pipes, and ends a guest that wrote too much.
    pub(super) fn drain(&self) {
        let within = {
            let mut output = lock(&self.output);
            let Output { stdout, stderr } = &mut *output;
            // Both, whatever the first says.
            let within = [stdout, stderr].map(|stream| stream.as_mut().is_none_or(Stream::drain));
            within == [true, true]
        };
        if !within {
            self.end(Cause::Limit("output"));
        }
    }

    pub(super) fn last_words(&self) -> String {
        let output = lock(&self.output);
        let bytes: Vec<u8> = output.stderr.iter().flat_map(|stream| stream.last.iter().copied()).collect();
        readable(&bytes)
    }
}

/// Waits for the outermost process, so that nothing of it is left.
pub(super) fn reap(control: &Control) {
    if let Some(mut process) = lock(&control.process).take() {
        process.wait();
    }
    drop(lock(&control.group).take());
}
