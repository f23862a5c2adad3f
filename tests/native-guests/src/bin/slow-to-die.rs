//! A launcher that confines nothing but by the filter, says that its guest is gone as soon as itself is, and ends it only later.
//!
//! A real one's processes end one after the other within microseconds, in which a call that waits for an answer must not get one.
//! Here those are [`LATER`].

use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::process::ExitCode;
use std::time::Duration;

use cofferdam_wire::order::{Layer, LayerReport, ORDER_DESCRIPTORS, Order, Outcome, Report};
use cofferdam_wire::packet;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, getpid, kill_process, pidfd_open};

/// How much longer the guest lives than its launcher.
const LATER: Duration = Duration::from_millis(350);

#[expect(unsafe_code, reason = "two processes of one")]
fn fork() -> Option<Pid> {
    // SAFETY: This program has one thread.
    Pid::from_raw(unsafe { libc::fork() })
}

fn main() -> ExitCode {
    let stdin = std::io::stdin();
    let Ok((_, descriptors)) = packet::receive_now(&stdin, ORDER_DESCRIPTORS) else {
        return ExitCode::FAILURE;
    };
    let first = getpid();
    if fork().is_some() {
        // Only this process has the pipe for the status, and it is killed by the host: the pipe closes without one.
        let _status = descriptors;
        loop {
            std::thread::park();
        }
    }
    // Ends the guest. Nobody waits for it, so it must not be the host's child.
    let Some(guest) = fork() else { return guest(descriptors) };
    let Ok(first) = pidfd_open(first, PidfdFlags::empty()) else { return ExitCode::FAILURE };
    drop(descriptors);
    let _ = poll(&mut [PollFd::new(&first, PollFlags::IN)], None);
    std::thread::sleep(LATER);
    let _ = kill_process(guest, Signal::KILL);
    let _ = rustix::process::waitpid(Some(guest), rustix::process::WaitOptions::empty());
    ExitCode::SUCCESS
}

fn guest(descriptors: Vec<OwnedFd>) -> ExitCode {
    let Ok([order, memory, program, stdin, stdout, stderr, status]) = <[OwnedFd; 7]>::try_from(descriptors)
    else {
        return ExitCode::FAILURE;
    };
    drop(status);
    let mut bytes = Vec::new();
    File::from(order).read_to_end(&mut bytes).expect("sealed memory");
    let order: Order = cofferdam_wire::decode(&bytes).expect("of this version");
    rustix::thread::set_no_new_privs(true).expect("every kernel has it");
    let socket = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 10).expect("a number is free");
    let high = [stdin, stdout, stderr, socket, memory, program]
        .map(|one| rustix::io::fcntl_dupfd_cloexec(&one, 20).expect("a number is free"));
    for (number, descriptor) in (0..).zip(&high) {
        place(descriptor, number);
    }
    let socket = borrowed(3);
    // What it does not do it says it does: only the host's side is tried with it.
    let layer = |layer: &Layer| LayerReport {
        layer: *layer,
        outcome: Outcome::Enforced,
        detail: String::new(),
        errno: 0,
    };
    let report = Report { layers: Layer::ALL[..Layer::Filter as usize].iter().map(layer).collect() };
    packet::send(socket, &cofferdam_wire::encode(&report).expect("small"), &[]).expect("a host");
    let listener = install(&order.filter);
    packet::send(socket, b"listener", &[listener.as_fd()]).expect("a host");
    execute()
}

#[expect(unsafe_code, reason = "fixed numbers")]
fn place(descriptor: &OwnedFd, number: i32) {
    // SAFETY: dup2 works on numbers; nothing owns the low ones in this program.
    let placed = unsafe { libc::dup2(descriptor.as_raw_fd(), number) };
    assert_eq!(placed, number, "the kernel gives the number that was asked for");
}

#[expect(unsafe_code, reason = "fixed numbers")]
fn borrowed(number: i32) -> BorrowedFd<'static> {
    // SAFETY: It was placed there, and stays open until the program is replaced.
    unsafe { BorrowedFd::borrow_raw(number) }
}

#[expect(unsafe_code, reason = "seccomp has no safe function")]
fn install(filter: &[u8]) -> OwnedFd {
    let header = libc::sock_fprog {
        len: u16::try_from(filter.len() / 8).expect("the kernel takes 4,096"),
        filter: filter.as_ptr().cast_mut().cast(),
    };
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | (1 << 5);
    // SAFETY: seccomp(2) reads `header` and `len` instructions of 8 bytes during the call, wherever they are aligned; both outlive it.
    let number =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const header) };
    let number = i32::try_from(number).expect("a descriptor");
    assert!(number >= 0, "the filter is the host's own");
    // SAFETY: With this flag the call makes a new descriptor and returns its number; nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(number) }
}

#[expect(unsafe_code, reason = "runs a program by descriptor")]
fn execute() -> ExitCode {
    let name = CString::from(c"guest");
    let arguments = [name.as_ptr(), std::ptr::null()];
    let environment = [std::ptr::null::<libc::c_char>()];
    // SAFETY: execveat reads an empty path and two arrays of C strings that end in null; all of them live through the call.
    unsafe {
        let (arguments, environment) = (arguments.as_ptr(), environment.as_ptr());
        libc::syscall(libc::SYS_execveat, 5, c"".as_ptr(), arguments, environment, libc::AT_EMPTY_PATH);
    }
    ExitCode::FAILURE
}
