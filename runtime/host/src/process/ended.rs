//! The end of a guest: waited for to the last of its processes, told apart by its kind, and recorded.

use std::io::Read;
use std::sync::atomic::Ordering;
use std::time::Instant;

use cofferdam_wire::order::Status;
use cofferdam_wire::ring;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::control::{Cause, End, lock, reap};
use super::error::FaultKind;
use super::groups::Group;
use super::launch::{Guest, Launch};
use super::limits::START_DEADLINE;
use super::lower::CPU;
use crate::audit::{AuditEvent, readable_time};

/// Waits for the rest of a guest that is ending, and says how it ended.
pub(super) fn finish(launch: &Launch, mut guest: Guest) -> End {
    let control = &launch.control;
    // The pipe closes when process 1 of the namespace is gone, and everything in the namespace with it.
    let mut bytes = Vec::new();
    let _ = (&mut guest.status).take(Status::BYTES as u64 + 1).read_to_end(&mut bytes);
    let out_of_memory = lock(&control.group).as_ref().is_some_and(Group::ran_out_of_memory);
    reap(control);
    // Process 1 closes its files before the kernel ends the rest of its namespace. Until the last of them is gone, the listener
    // stays open: a call that waits for an answer would fail and go on if it were closed.
    let deadline = Instant::now() + START_DEADLINE;
    while Instant::now() < deadline {
        let mut gone = [PollFd::new(&*guest.listener, PollFlags::empty())];
        let tick = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        if poll(&mut gone, Some(&tick)).is_ok_and(|_| gone[0].revents().contains(PollFlags::HUP)) {
            break;
        }
    }
    control.drain();
    let status: Option<Status> = cofferdam_wire::decode(&bytes).ok();
    let cause = lock(&control.cause).take();
    let cause = match cause {
        // It ended by itself before it said anything.
        Some(Cause::NotStarted) if status.is_some() && !killed(status) => how(launch, status),
        Some(cause) => cause,
        None if out_of_memory => Cause::Fault(FaultKind::OutOfMemory),
        None => how(launch, status),
    };
    let fault = |kind: &str, detail: String| {
        let edge = launch.lowered.edge.clone();
        launch.log.record(&AuditEvent::Fault { edge, kind: kind.to_owned(), detail })
    };
    let recorded = match &cause {
        Cause::Dropped | Cause::Violation(_) | Cause::NotStarted => Ok(()),
        Cause::Deadline(deadline) => fault("deadline", readable_time(*deadline)),
        Cause::Limit(what) => fault("limit", (*what).to_owned()),
        Cause::Fault(kind) => fault(kind.name(), kind.to_string()),
    };
    control.ended.store(true, Ordering::SeqCst);
    ring::wake_all(&control.memory);
    End { cause, recorded }
}

fn killed(status: Option<Status>) -> bool {
    status.is_some_and(|status| status.by_signal && status.number == SIGKILL)
}

fn how(launch: &Launch, status: Option<Status>) -> Cause {
    let control = &launch.control;
    let timed = launch.lowered.order.limits.iter().any(|(resource, _)| *resource == CPU);
    let distress = control.memory.distress().load(Ordering::Relaxed);
    let kind = match status {
        None => FaultKind::Vanished,
        Some(Status { by_signal: false, number }) => FaultKind::Exit(number),
        Some(Status { number: SIGXCPU, .. }) => return Cause::Limit("processor time"),
        // The host did not kill it, and nothing inside can: the kernel does at the hard limit.
        Some(Status { number: SIGKILL, .. }) if timed => return Cause::Limit("processor time"),
        Some(_) if distress == cofferdam_wire::handshake::OUT_OF_MEMORY => FaultKind::OutOfMemory,
        Some(_) if distress == cofferdam_wire::handshake::STACK_OVERFLOW => FaultKind::StackOverflow,
        Some(Status { number, .. }) => FaultKind::Signal(number, control.last_words()),
    };
    Cause::Fault(kind)
}
const SIGKILL: i32 = 9;
const SIGXCPU: i32 = 24;
