//! The hostile program of the escape suite. It runs in three ways:
//!
//! - without arguments, in a compartment: it serves the function `attempt`, which is given the name of an attempt and the facts that
//!   it needs, and gives the kernel's answer; and it lies to its host in the ways of `peer.rs`;
//! - `attempt NAME FACT...`: the same function without any confinement, as a control. The answer is printed;
//! - `victim FACT...`: the process that is attacked. It prints facts about itself, waits for its standard input to end, and prints
//!   what became of it.
//!
//! Statically linked: `RUSTFLAGS="-C target-feature=+crt-static" cargo build --target x86_64-unknown-linux-gnu`.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod attempts;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod early;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod facts;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod files;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod network;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod others;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod peer;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod resources;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod surface;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod sys;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod victim;

use std::process::ExitCode;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn main() -> ExitCode {
    use std::io::Write as _;
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        None => peer::serve(),
        Some("attempt") => {
            let name = arguments.next().unwrap_or_default();
            let facts = facts::Facts::new(arguments.collect());
            let Some(attempt) = attempts::find(&name) else { return ExitCode::from(2) };
            let answer = attempt(&facts);
            let printed = writeln!(std::io::stdout(), "answer {answer}");
            if printed.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Some("victim") => victim::run(&facts::Facts::new(arguments.collect())),
        Some(_) => ExitCode::from(2),
    }
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn main() -> ExitCode {
    ExitCode::FAILURE
}
