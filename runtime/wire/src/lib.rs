//! What a process compartment and its host say to each other.
//!
//! Values are encoded by [`value`], put into [`frame`]s, and travel through [`ring`]s in [`memory`] that both sides map. Beside
//! them a socket carries the handshake and descriptors, as [`packet`]s. [`order`] is what the host tells the launcher, and
//! [`notification`] what the kernel tells the host.
//!
//! Values and frames exist everywhere; memory, rings and packets on Linux on x86-64.
//!
//! Nothing that the other side wrote is trusted: it is copied first and checked then, every length is bounded before memory is
//! taken, and a counter that cannot be right is an error, never an index. The crate decides nothing about who may do what.

#![cfg_attr(not(loom), deny(unsafe_code))]

#[cfg(all(not(loom), target_os = "linux", target_arch = "x86_64"))]
pub mod channel;
pub mod frame;
#[cfg(not(loom))]
pub mod handshake;
pub mod limits;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod memory;
#[cfg(all(not(loom), target_os = "linux", target_arch = "x86_64"))]
pub mod notification;
#[cfg(not(loom))]
pub mod order;
#[cfg(all(not(loom), target_os = "linux", target_arch = "x86_64"))]
pub mod packet;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[cfg_attr(loom, allow(dead_code, reason = "channels are not modelled, only their lanes"))]
mod placing;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod ring;
pub mod value;

pub use value::{Decode, DecodeError, Encode, TooLarge, decode, encode};

/// Version of everything in this crate: both sides must have the same. It changes with any change of a byte on the wire.
pub const VERSION: u32 = 4;
