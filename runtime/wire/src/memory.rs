//! The memory that host and guest share, as atomic words.
//!
//! The peer may change any byte at any time, so nothing here is ever a reference to plain memory: all access is atomic, and what
//! was read is copied before anyone looks at it. The host makes the memory and seals its size, so no access can fault.

#[cfg(not(loom))]
pub use mapped::Memory;
#[cfg(loom)]
pub use modelled::Memory;

/// One direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// From the host to the guest.
    ToGuest,
    /// From the guest to the host.
    ToHost,
}

/// A control word of one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// How many words were written, wrapping. The writer's.
    Written,
    /// How many words were read, wrapping. The reader's.
    Read,
    /// Not 0 while the reader sleeps, or is about to.
    ReaderSleeps,
    /// Not 0 while the writer sleeps, or is about to.
    WriterSleeps,
}

impl Control {
    /// Words between control words: two cache lines, because processors fetch them in pairs.
    const STRIDE: usize = 32;

    fn index(self, lane: Lane) -> usize {
        (self as usize + if lane == Lane::ToGuest { 0 } else { 4 }) * Self::STRIDE
    }
}

#[cfg(not(loom))]
#[expect(unsafe_code, reason = "mapping memory, and seeing it as atomic words")]
mod mapped {
    use std::fmt;
    use std::os::fd::{AsFd, OwnedFd};
    use std::ptr::NonNull;
    use std::sync::atomic::{AtomicU32, AtomicU64};

    use rustix::fs::{MemfdFlags, SealFlags};
    use rustix::io::Errno;
    use rustix::mm::{MapFlags, ProtFlags};

    use super::{Control, Lane};
    use crate::limits::{HEADER_BYTES, LANE_BYTES, MEMORY_BYTES};

    /// Shared memory, mapped for as long as this lives.
    pub struct Memory {
        start: NonNull<u8>,
    }

    // SAFETY: The mapping belongs to the process, not to a thread, and all access to it is by atomic operations.
    unsafe impl Send for Memory {}
    // SAFETY: As above: shared references give out atomics only.
    unsafe impl Sync for Memory {}

    impl fmt::Debug for Memory {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Memory")
        }
    }

    impl Memory {
        /// New memory, all zero, whose size nobody can change any more, and its descriptor for the guest.
        ///
        /// # Errors
        /// When the kernel has no memory, or no sealing.
        pub fn create() -> Result<(Self, OwnedFd), Errno> {
            let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
            // Kernels before 6.3 do not know the second flag. Mapping it for execution is denied by other means too.
            let fd = rustix::fs::memfd_create(c"cofferdam-ring", flags | MemfdFlags::NOEXEC_SEAL)
                .or_else(|_| rustix::fs::memfd_create(c"cofferdam-ring", flags))?;
            rustix::fs::ftruncate(&fd, MEMORY_BYTES as u64)?;
            rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
            Ok((Self::attach(&fd)?, fd))
        }

        /// Maps memory that [`Memory::create`] made. A guest takes the host's word for its size.
        ///
        /// # Errors
        /// When it cannot be mapped.
        pub fn attach(fd: impl AsFd) -> Result<Self, Errno> {
            // SAFETY: A new mapping at an address of the kernel's choice replaces nothing that exists.
            let start = unsafe {
                rustix::mm::mmap(
                    std::ptr::null_mut(),
                    MEMORY_BYTES,
                    ProtFlags::READ | ProtFlags::WRITE,
                    MapFlags::SHARED,
                    fd,
                    0,
                )
            }?;
            let start = NonNull::new(start.cast()).expect("the kernel maps nothing at address 0 unasked");
            Ok(Self { start })
        }

        /// A control word.
        pub fn control(&self, lane: Lane, control: Control) -> &AtomicU32 {
            self.word(control.index(lane))
        }

        /// What a guest leaves here before it dies of want of memory.
        pub fn distress(&self) -> &AtomicU32 {
            self.word(HEADER_BYTES / 4 - 1)
        }

        fn word(&self, index: usize) -> &AtomicU32 {
            assert!(index < HEADER_BYTES / 4, "control words are in the header");
            // SAFETY: The word is inside the header by the assertion, and the mapping is MEMORY_BYTES long.
            let word = unsafe { self.start.cast::<u32>().add(index) };
            // SAFETY: It is aligned, since the mapping begins at a page; it stays mapped while `self` is borrowed; and nobody
            // in this process ever makes any other kind of reference to it.
            unsafe { AtomicU32::from_ptr(word.as_ptr()) }
        }

        /// The data of a lane.
        pub fn data(&self, lane: Lane) -> &[AtomicU64] {
            let offset = HEADER_BYTES + if lane == Lane::ToGuest { 0 } else { LANE_BYTES };
            // SAFETY: Both lanes are behind the header and inside the mapping, by the definition of MEMORY_BYTES.
            let start = unsafe { self.start.add(offset) };
            // SAFETY: `start` is aligned to 8, since the offset is a multiple of a page; LANE_BYTES from it on are mapped while
            // `self` is borrowed; zeroed bytes are valid atomics; and nobody in this process makes any other kind of reference.
            unsafe { std::slice::from_raw_parts(start.cast::<AtomicU64>().as_ptr(), LANE_BYTES / 8) }
        }
    }

    impl Drop for Memory {
        fn drop(&mut self) {
            // SAFETY: The mapping is this one's own, and every reference into it borrowed `self`.
            let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), MEMORY_BYTES) };
        }
    }
}

/// The same words on the heap, for the model checker.
#[cfg(loom)]
mod modelled {
    use loom::sync::atomic::{AtomicU32, AtomicU64};
    use loom::sync::{Condvar, Mutex};

    use super::{Control, Lane};

    /// Words of a lane: the fewest that wrap.
    const WORDS: usize = 2;

    /// Memory of the model.
    #[derive(Debug)]
    pub struct Memory {
        controls: Vec<AtomicU32>,
        lanes: [Vec<AtomicU64>; 2],
        /// What stands for the kernel's queue of sleepers.
        pub(crate) queue: (Mutex<()>, Condvar),
    }

    impl Memory {
        /// Counters start where they are about to wrap.
        pub fn new(start: u32) -> Self {
            let control = |index: usize| AtomicU32::new(if index % 4 < 2 { start } else { 0 });
            let lane = || (0..WORDS).map(|_| AtomicU64::new(0)).collect();
            Self {
                controls: (0..8).map(control).collect(),
                lanes: [lane(), lane()],
                queue: (Mutex::new(()), Condvar::new()),
            }
        }

        /// A control word.
        pub fn control(&self, lane: Lane, control: Control) -> &AtomicU32 {
            &self.controls[control.index(lane) / Control::STRIDE]
        }

        /// The data of a lane.
        pub fn data(&self, lane: Lane) -> &[AtomicU64] {
            &self.lanes[lane as usize]
        }
    }
}
