//! One thread for each running guest: it starts the launcher, answers what the kernel notifies, takes the guest's output, and
//! sees the end of it. The launcher is its child, and dies with it.

use std::os::fd::OwnedFd;
use std::sync::mpsc::Sender;
use std::time::Instant;

use cofferdam_wire::notification::Notification;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::attempt::describe;
use super::broker::process_of;
use super::control::{Cause, End, lock, reap};
use super::ended::finish;
use super::error::{CallError, FaultKind, StartError};
use super::filter::{ARCH, Decision};
use super::greet::greet;
use super::launch::{Guest, Launch, Started, start};
use super::limits::START_DEADLINE;
use crate::audit::AuditEvent;

/// Starts a guest, tells how that went, and stays until it ends.
pub(super) fn supervise(launch: &Launch, tell: &Sender<Result<Started, StartError>>) -> End {
    let deadline = Instant::now() + START_DEADLINE;
    let control = &launch.control;
    let mut guest = match start(launch, deadline) {
        Ok((mut guest, layers)) => match greet(launch, &mut guest, deadline) {
            Ok(hello) => {
                let started = match rustix::io::fcntl_dupfd_cloexec(&guest.socket, 0) {
                    Ok(socket) => Ok(Started { hello, socket, layers }),
                    Err(error) => {
                        control.end(Cause::NotStarted);
                        let (edge, message) = (launch.lowered.edge.clone(), error.to_string());
                        Err(StartError::Host { edge, message })
                    }
                };
                // A caller that does not listen any more drops the compartment, and that ends the guest.
                let _ = tell.send(started);
                guest
            }
            Err(error) => {
                // A guest that hung up is dying, and how is known in a moment. One that only closed its end is killed.
                let dying = Timespec { tv_sec: 0, tv_nsec: DYING_NANOSECONDS };
                if error.is_none() {
                    let _ = poll(&mut [PollFd::new(&guest.status, PollFlags::IN)], Some(&dying));
                }
                control.end(Cause::NotStarted);
                let end = finish(launch, guest);
                let error = error.unwrap_or_else(|| {
                    StartError::Ended(CallError::Fault {
                        edge: launch.lowered.edge.clone(),
                        kind: FaultKind::Vanished,
                    })
                });
                // The guest's own end explains more than what the host saw of it.
                let (error, end) = match end.cause {
                    Cause::NotStarted => (error, end),
                    _ => {
                        let edge = launch.lowered.edge.clone();
                        (
                            StartError::Ended(end.error(&edge)),
                            End { cause: Cause::NotStarted, recorded: Ok(()) },
                        )
                    }
                };
                let _ = tell.send(Err(error));
                return end;
            }
        },
        Err(error) => {
            control.end(Cause::NotStarted);
            reap(control);
            let _ = tell.send(Err(error));
            return End { cause: Cause::NotStarted, recorded: Ok(()) };
        }
    };
    while let Ok(true) = turn(launch, &mut guest, None) {}
    finish(launch, guest)
}

/// Waits for something and sees to it. False when the guest is gone.
pub(super) fn turn(launch: &Launch, guest: &mut Guest, deadline: Option<Instant>) -> Result<bool, Errno> {
    let timeout = match deadline {
        None => None,
        Some(deadline) => {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Errno::TIMEDOUT);
            }
            let seconds = i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
            Some(Timespec { tv_sec: seconds, tv_nsec: left.subsec_nanos().into() })
        }
    };
    let pipes: Vec<OwnedFd> = {
        let output = lock(&launch.control.output);
        let open = [&output.stdout, &output.stderr].into_iter().flatten().filter(|stream| stream.open);
        open.map(|stream| rustix::io::fcntl_dupfd_cloexec(&stream.pipe, 0)).collect::<Result<_, _>>()?
    };
    let mut fds =
        vec![PollFd::new(&guest.status, PollFlags::IN), PollFd::new(&*guest.listener, PollFlags::IN)];
    if !guest.greeted {
        fds.push(PollFd::new(&guest.socket, PollFlags::IN));
    }
    let streams = fds.len();
    fds.extend(pipes.iter().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
    match poll(&mut fds, timeout.as_ref()) {
        Ok(0) => return Err(Errno::TIMEDOUT),
        Ok(_) => {}
        Err(Errno::INTR) => return Ok(true),
        Err(error) => return Err(error),
    }
    let ready: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
    drop(fds);
    if ready[streams..].iter().any(|ready| !ready.is_empty()) {
        launch.control.drain();
    }
    if ready[1].contains(PollFlags::IN) {
        notified(launch, guest);
    }
    // The status is the last thing that comes, or its pipe closes without one.
    Ok(ready[0].is_empty())
}

/// Answers one notified call, or ends the guest for it.
fn notified(launch: &Launch, guest: &mut Guest) {
    // An error means that the caller died meanwhile.
    let Ok(notification) = guest.listener.receive() else { return };
    let Notification { arch, number, arguments, .. } = notification;
    if !guest.executed && arch == ARCH && number == EXECVEAT {
        // The one call that continues: the launcher's own last one. None of the guest's code has run, so nobody else could
        // have changed what it points to.
        guest.executed = true;
        guest.process = Some(notification.pid);
        launch.control.number.store(notification.pid, std::sync::atomic::Ordering::Relaxed);
        let _ = guest.listener.let_run(&notification);
        return;
    }
    let rules = &launch.lowered.rules;
    match rules.decide(arch, number, &arguments) {
        Decision::Violation => {
            if let Some(error) =
                rules.at_startup(number).filter(|_| arch == ARCH && starts_up(launch, guest, &notification))
            {
                let _ = guest.listener.refuse(&notification, Errno::from_raw_os_error(error.into()));
                return;
            }
            let violation = describe(launch, guest, &notification);
            let backtrace = violation.backtrace.iter().map(ToString::to_string).collect();
            let attempt = violation.to_string();
            let capability = violation.capability.clone().unwrap_or_else(|| "none".to_owned());
            let edge = launch.lowered.edge.clone();
            let line = violation.line.clone();
            let event = AuditEvent::Violation { edge, capability, attempt, line, backtrace };
            let recorded = launch.log.record(&event);
            if recorded.is_err() {
                // The end is recorded again, and that tells the caller.
                launch.control.end(Cause::Fault(FaultKind::Protocol("a violation".to_owned())));
            }
            launch.control.end(Cause::Violation(Box::new(violation)));
        }
        Decision::Notify => guest.broker.answer(&guest.listener, notification),
        Decision::Report(error) => {
            guest.broker.report(&guest.listener, &notification, Errno::from_raw_os_error(error.into()));
        }
        // The kernel answers these itself; one that comes here anyway is answered the same way, or fails.
        Decision::Errno(error) | Decision::ErrnoByHost(error) => {
            let _ = guest.listener.refuse(&notification, Errno::from_raw_os_error(error.into()));
        }
        Decision::Allow => {
            let _ = guest.listener.refuse(&notification, Errno::NOSYS);
        }
    }
}

/// Whether the call may be one that libraries make by themselves at the start of a program: the guest's own, or one that it started.
fn starts_up(launch: &Launch, guest: &Guest, notification: &Notification) -> bool {
    if !guest.greeted {
        return true;
    }
    let process = || process_of(notification.pid).filter(|_| guest.listener.is_waiting(notification));
    launch.lowered.programs && process().is_some_and(|process| Some(process) != guest.process)
}

/// `execveat` on x86-64.
const EXECVEAT: i32 = 322;

/// How long a guest that hung up before its first words may take to die.
const DYING_NANOSECONDS: i64 = 500_000_000;
