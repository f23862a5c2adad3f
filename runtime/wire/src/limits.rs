//! Bounds on what one side can make the other do.

/// Largest encoded message, bytes: the arguments or the result of one call. Bounds what one side allocates for the other.
pub const MESSAGE_BYTES_MAX: u32 = 64 << 20;

/// Most bytes that decoding one message may allocate. A text or a list of numbers takes as much as its encoding; a list of
/// texts takes more, because each element has a header of its own.
pub const DECODED_BYTES_MAX: usize = 256 << 20;

/// Most elements of one list.
pub const LIST_ELEMENTS_MAX: u32 = 64 << 20;

/// Deepest nesting of lists, options, results and tuples. WIT types nest as deep as they are written, and nobody writes this.
pub const DEPTH_MAX: u32 = 64;

/// Data of each direction of the ring, bytes; a power of two. Half of a common second-level cache; larger messages stream
/// through it. Under Miri small, since each word takes long there.
pub const LANE_BYTES: usize = if cfg!(miri) { 32 << 10 } else { 256 << 10 };

/// Control words in front of the data, bytes: one page.
pub const HEADER_BYTES: usize = 4096;

/// The whole shared memory, bytes.
pub const MEMORY_BYTES: usize = HEADER_BYTES + 2 * LANE_BYTES;

/// A run of so many bytes, of text or of a list of bytes, is not copied into a message but borrowed, bytes. Shorter ones are not worth
/// the list that says where they are.
pub const BORROWED_BYTES_MIN: usize = 2 << 10;

/// A message up to this size is taken out of the ring at once, and a longer one while it is decoded, through a window of so many bytes.
/// What is longer than the window goes to its place without coming through it.
pub const WINDOW_BYTES: usize = 4 << 10;

/// Largest packet on the socket, bytes. Packets carry the handshake, not data.
pub const PACKET_BYTES_MAX: usize = 64 << 10;

/// Most descriptors of one packet. The kernel's own bound is 253.
pub const PACKET_DESCRIPTORS_MAX: usize = 8;

/// Largest confinement order, bytes: a filter, and paths of the longest kind for as many mounts as a manifest can name.
pub const ORDER_BYTES_MAX: u64 = 8 << 20;

/// Most functions of a guest's interface.
pub const FUNCTIONS_MAX: usize = 1024;

/// Longest text of a fault, bytes. Enough for a panic's message and its place.
pub const FAULT_TEXT_BYTES_MAX: usize = 4096;

/// Longest spin before a side sleeps, in pauses of the processor: about what a sleep and a wake cost.
pub const SPIN_PAUSES_MAX: u32 = 1000;
