//! Confines itself as its host orders, then becomes the guest.
//!
//! One thread, no manifest, no decision: the order says everything, and a step that fails ends it before any of the guest's code
//! has run. A host starts it with a socket as standard input, either for one guest or as a server of many; for people there is
//! nothing to run here.
//!
//! It is a program of its own, and a library for programs that want to be their own launcher: `cofferdam::process::run_as_launcher`.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod confine;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod filesystem;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod report;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod serve;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod sys;

use std::process::ExitCode;

/// Does what a launcher is started for. Its process does nothing else, before or after, and has one thread.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub fn run() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next().and_then(|host| host.parse().ok())) {
        (Some("serve"), Some(host)) => serve::serve(host),
        _ => confine::run(),
    }
}

/// The same, if this process was started as a launcher: under that name, and with a socket of a host as standard input. Otherwise
/// `None`, at once.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub fn run_if_asked() -> Option<ExitCode> {
    let named = std::env::args_os().next().is_some_and(|name| name == cofferdam_wire::order::LAUNCHER);
    let kind = rustix::net::sockopt::socket_type(std::io::stdin());
    (named && kind == Ok(rustix::net::SocketType::SEQPACKET)).then(run)
}

/// A host for this platform does not start launchers, so nobody is there to be told more.
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub fn run() -> ExitCode {
    ExitCode::FAILURE
}

/// No process is started as a launcher here.
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub fn run_if_asked() -> Option<ExitCode> {
    None
}
