//! What a process compartment and its host say to each other.
//!
//! Values are encoded by [`value`], put into [`frame`]s, and travel through [`ring`]s in [`memory`] that both sides map. Beside
//! them a socket carries the handshake and descriptors, as [`packet`]s. [`order`] is what the host tells the launcher, and
//! [`notification`] what the kernel tells the host.
//!
//! Nothing that the other side wrote is trusted: it is copied first and checked then, every length is bounded before memory is
//! taken, and a counter that cannot be right is an error, never an index. The crate decides nothing about who may do what.

#![cfg_attr(not(loom), deny(unsafe_code))]

#[cfg(not(loom))]
pub mod channel;
pub mod frame;
#[cfg(not(loom))]
pub mod handshake;
pub mod limits;
pub mod memory;
#[cfg(not(loom))]
pub mod notification;
#[cfg(not(loom))]
pub mod order;
#[cfg(not(loom))]
pub mod packet;
pub mod ring;
pub mod value;

pub use value::{Decode, DecodeError, Encode, TooLarge, decode, encode};

/// Version of everything in this crate: both sides must have the same. It changes with any change of a byte on the wire.
pub const VERSION: u32 = 2;
