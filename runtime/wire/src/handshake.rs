//! The first words of a guest and of its host, as packets on the socket.

use crate::limits::FUNCTIONS_MAX;
use crate::record;

record! {
    /// A function, as one side offers or wants it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Offer {
        /// Its name: `add`, or in a world `acme:text/filter@1.0.0#transform`.
        pub name: String,
        /// A digest of its types written out; 0 when nobody compared types, as for functions that were named by hand.
        pub shape: u64,
    }
}

record! {
    /// The guest's first packet.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Hello {
        /// [`crate::VERSION`] of the guest.
        pub version: u32,
        /// Which interface it implements: a digest of its world, or 0 for none.
        pub interface: u64,
        /// Its functions; a call names one by its place here.
        pub functions: Vec<Offer>,
        /// Functions of its host's that it calls; such a call names one by its place here.
        pub imports: Vec<Offer>,
    }
}

record! {
    /// The host's answer. After it, the two talk through the ring alone.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Welcome {
        /// [`crate::VERSION`] of the host.
        pub version: u32,
        /// How long the guest spins for a call before it sleeps, in pauses.
        pub spin_pauses: u32,
    }
}

impl Hello {
    /// The version in a first packet, whatever else is in it. It comes first in every version.
    pub fn version_of(packet: &[u8]) -> Option<u32> {
        packet.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
    }

    /// Whether the lists of functions are ones that a host keeps.
    pub fn is_reasonable(&self) -> bool {
        self.functions.len() <= FUNCTIONS_MAX && self.imports.len() <= FUNCTIONS_MAX
    }
}

record! {
    /// A packet of the host's after the handshake, with the one descriptor that it is about.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Handing {
        /// Its number, by which arguments of calls name it. Never given twice.
        pub number: u64,
        /// What it is: see [`handed`].
        pub kind: u8,
    }
}

/// What a descriptor that is handed over can be.
pub mod handed {
    /// A regular file, open for reading only.
    pub const READ: u8 = 1;
    /// A regular file, open for writing.
    pub const WRITE: u8 = 2;
    /// A connected stream.
    pub const STREAM: u8 = 3;
}

/// The subject of a call that drops resources of the guest's: its argument is a list of them, and it has no result.
pub const DROP: u32 = u32::MAX;

/// What a guest leaves in [`crate::memory::Memory::distress`] when it dies of want of memory.
pub const OUT_OF_MEMORY: u32 = 1;

/// What it leaves there when it recursed too deep.
pub const STACK_OVERFLOW: u32 = 2;

/// The guest's descriptors, by number. Nothing else is open when it begins.
pub mod descriptor {
    /// Empty, and at its end.
    pub const STDIN: i32 = 0;
    /// Standard output: a pipe to the host if granted, and swallowing if not.
    pub const STDOUT: i32 = 1;
    /// Standard error: a pipe to the host.
    pub const STDERR: i32 = 2;
    /// The socket for packets.
    pub const SOCKET: i32 = 3;
    /// The shared memory.
    pub const MEMORY: i32 = 4;
}
