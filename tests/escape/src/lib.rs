//! The escape suite: what hostile guests try, and what stops each of them. `cofferdam selftest` runs it on the user's machine, and
//! `tests/escape.rs` runs it with every layer left out in turn.
//!
//! [`attempt::Attempt`] is a row of the list: an attempt with the exact stop that is expected, a control in which it works, and the
//! layers without which it works. [`trial::try_part`] does one part of one attempt; [`suite::Suite`] does many, each in a process
//! of its own.

#![forbid(unsafe_code)]

pub mod attempt;
mod list;
pub mod suite;
pub mod table;
pub mod trial;
mod world;

pub use list::{ABSENT, Absent, process_attempts};
