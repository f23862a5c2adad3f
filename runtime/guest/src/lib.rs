//! What a guest crate links: one source for both backends.
//!
//! [`compartment!`] reads a WIT world and makes of the crate, by how it is built, the client of that world or the guest that serves
//! it: a component, or a native program. docs/compartment-crates.md has the whole of it.
//!
//! A native guest can also be put together by hand, with the feature `program`:
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
mod handed;
mod kept;
#[cfg(not(target_family = "wasm"))]
pub mod resource;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod serve;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod sys;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub use handed::Handed;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub use serve::{Guest, call_host};

pub use cofferdam_bindgen::{compartment, guest};
#[cfg(not(target_family = "wasm"))]
pub use cofferdam_wire as wire;
pub use kept::Kept;
#[cfg(target_family = "wasm")]
pub use wit_bindgen;
