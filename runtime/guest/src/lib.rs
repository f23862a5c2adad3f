//! The entry point and dispatch of a native guest.
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! fn main() -> ExitCode {
//!     cofferdam_guest::Guest::new()
//!         .function("add", |(a, b): (u32, u32)| a.wrapping_add(b))
//!         .function("reverse", |(text,): (String,)| text.chars().rev().collect::<String>())
//!         .serve()
//! }
//! ```
//!
//! Build it statically, since a compartment has no loader:
//! `RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --target x86_64-unknown-linux-gnu`.
//!
//! A panic, on any thread, is reported to the caller with its message and place, also in a program built with `panic = "abort"`;
//! so are memory that runs out and recursion that goes too deep. The guest is gone after each of them.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod serve;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod sys;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub use serve::Guest;

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!("native guests need Linux on x86-64; build this crate for wasm instead");

pub use cofferdam_wire as wire;
