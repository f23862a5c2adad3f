//! Confines itself as its host orders, then becomes the guest.
//!
//! One thread, no manifest, no decision: the order says everything, and a step that fails ends it before any of the guest's code
//! has run. A host starts it with a socket as standard input; for people there is nothing to run here.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod confine;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod filesystem;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod report;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod sys;

use std::process::ExitCode;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn main() -> ExitCode {
    confine::run()
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn main() -> ExitCode {
    // A host for this platform does not start launchers, so nobody is there to be told more.
    ExitCode::FAILURE
}
