//! The escape suite: what hostile guests try, and what stops each of them. `cofferdam selftest` runs it on the user's machine, and
//! `tests/escape.rs` runs it with every layer left out in turn.
//!
//! [`attempt::Attempt`] is a row of the list: an attempt with the exact stop that is expected, a control in which it works, and the
//! layers without which it works. [`trial::try_part`] does one part of one attempt; [`suite::Suite`] does many, each in a process
//! of its own.

#![forbid(unsafe_code)]

pub mod attempt;
mod list;
pub mod programs;
pub mod suite;
pub mod table;
pub mod trial;
#[cfg(feature = "wasm")]
pub mod wasm;
mod world;

pub use list::edits::EDITS;
pub use list::{ABSENT, Absent, process_attempts};

/// Whether the suite runs as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
