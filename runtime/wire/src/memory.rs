//! The memory that host and guest share, as atomic words.
//!
//! The peer may change any byte at any time, so nothing here is ever a reference to plain memory: all access is atomic, and what
//! was read is copied before anyone looks at it. The host makes the memory and seals its size, so no access can fault.
//!
//! Long runs of words are copied by the processor's own instruction for it. It moves single bytes, so to this program it is a loop of
//! relaxed atomic accesses, as the loop over words is that shorter runs take.

#[cfg(not(loom))]
pub use mapped::Memory;
#[cfg(not(loom))]
pub(crate) use mapped::{load, store};
#[cfg(loom)]
pub use modelled::Memory;
#[cfg(loom)]
pub(crate) use modelled::{load, store};

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

/// Words of the mirror of a lane: with the counter beside them they fill one cache line.
pub const MIRROR_WORDS: usize = 7;

impl Control {
    /// Words between control words: two cache lines, because processors fetch them in pairs.
    const STRIDE: usize = 32;

    fn index(self, lane: Lane) -> usize {
        (self as usize + lane.first()) * Self::STRIDE
    }
}

impl Lane {
    /// The number of its first control word.
    fn first(self) -> usize {
        if self == Self::ToGuest { 0 } else { 4 }
    }
}

#[cfg(not(loom))]
#[expect(unsafe_code, reason = "mapping memory, and seeing it as atomic words")]
mod mapped {
    use std::alloc::Layout;
    use std::arch::asm;
    use std::fmt;
    use std::os::fd::{AsFd, OwnedFd};
    use std::ptr::NonNull;
    use std::sync::atomic::Ordering::Relaxed;
    use std::sync::atomic::{AtomicU32, AtomicU64};

    use rustix::fs::{MemfdFlags, SealFlags};
    use rustix::io::Errno;
    use rustix::mm::{MapFlags, ProtFlags};

    use super::{Control, Lane, MIRROR_WORDS};
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
            if cfg!(miri) {
                return Self::stand_in();
            }
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

        /// The same bytes from the heap, never given back: Miri knows neither such descriptors nor such mappings, and checks all that is done
        /// with them.
        fn stand_in() -> Result<(Self, OwnedFd), Errno> {
            let bytes = Layout::from_size_align(MEMORY_BYTES, HEADER_BYTES).expect("a power of two");
            // SAFETY: There are such bytes: more than none.
            let start = NonNull::new(unsafe { std::alloc::alloc_zeroed(bytes) }).ok_or(Errno::NOMEM)?;
            let nothing = std::fs::File::open("/dev/null").map_err(|_| Errno::NOENT)?;
            Ok((Self { start }, nothing.into()))
        }

        /// A control word.
        pub fn control(&self, lane: Lane, control: Control) -> &AtomicU32 {
            self.word(control.index(lane))
        }

        /// What the mirror of a lane holds: see [`crate::ring`]. In the cache line of [`Control::Written`].
        pub fn mirrored(&self, lane: Lane) -> &AtomicU32 {
            self.word(Control::Written.index(lane) + 1)
        }

        /// The last words that were written to a lane, when they are few. In the same cache line.
        pub fn mirror(&self, lane: Lane) -> &[AtomicU64] {
            let offset = 4 * (Control::Written.index(lane) + 2);
            // SAFETY: The line of a control word is inside the header, which is a page.
            let start = unsafe { self.start.add(offset) };
            // SAFETY: `start` is aligned to 8, since lines are, and two words of 4 bytes come before it; the rest of the line is
            // mapped while `self` is borrowed; zeroed bytes are valid atomics; and nobody makes any other kind of reference to it.
            unsafe { std::slice::from_raw_parts(start.cast::<AtomicU64>().as_ptr(), MIRROR_WORDS) }
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

    /// Words from which on the processor's instruction is faster than a loop. Miri has no such instruction.
    const RUN_WORDS_MIN: usize = if cfg!(miri) { usize::MAX } else { 64 };

    /// Puts bytes into as many words as they fill; the last is filled up with zeros.
    pub(crate) fn store(words: &[AtomicU64], bytes: &[u8]) {
        let (whole, part) = bytes.as_chunks::<8>();
        assert!(bytes.len().div_ceil(8) <= words.len(), "the caller made room");
        if whole.len() >= RUN_WORDS_MIN {
            // capability: asm
            // SAFETY: `whole` is readable, and the words are writable through their atomics and at least as long, by the assertion;
            // they do not overlap, since nobody has a plain reference to shared memory. The direction flag is clear, as it is on
            // entry to every `asm!`.
            unsafe {
                asm!("rep movsb", inout("rsi") whole.as_ptr() => _, inout("rdi") words.as_ptr() => _,
                    inout("rcx") whole.len() * 8 => _, options(nostack, preserves_flags));
            }
        } else {
            for (bytes, word) in whole.iter().zip(words) {
                word.store(u64::from_le_bytes(*bytes), Relaxed);
            }
        }
        if !part.is_empty() {
            let mut last = [0; 8];
            last[..part.len()].copy_from_slice(part);
            words[whole.len()].store(u64::from_le_bytes(last), Relaxed);
        }
    }

    /// Appends the first `bytes` bytes of words.
    pub(crate) fn load(words: &[AtomicU64], bytes: usize, out: &mut Vec<u8>) {
        assert!(bytes.div_ceil(8) <= words.len(), "the caller counted");
        let whole = bytes / 8;
        if whole >= RUN_WORDS_MIN {
            out.reserve(bytes);
            // capability: asm
            // SAFETY: The words are readable through their atomics and at least as long, by the assertion; the destination is spare
            // memory of the vector, of at least `bytes` by the reservation, and the vector's own. The direction flag is clear.
            unsafe {
                asm!("rep movsb", inout("rsi") words.as_ptr() => _, inout("rdi") out.as_mut_ptr().add(out.len()) => _,
                    inout("rcx") whole * 8 => _, options(nostack, preserves_flags));
            }
            // SAFETY: So many bytes behind the old end were just written, within the reservation.
            unsafe { out.set_len(out.len() + whole * 8) };
        } else {
            for word in &words[..whole] {
                out.extend_from_slice(&word.load(Relaxed).to_le_bytes());
            }
        }
        if !bytes.is_multiple_of(8) {
            let last = words[whole].load(Relaxed).to_le_bytes();
            out.extend_from_slice(&last[..bytes % 8]);
        }
    }

    impl Drop for Memory {
        fn drop(&mut self) {
            if cfg!(miri) {
                return;
            }
            // SAFETY: The mapping is this one's own, and every reference into it borrowed `self`.
            let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), MEMORY_BYTES) };
        }
    }
}

/// The same words on the heap, for the model checker.
#[cfg(loom)]
mod modelled {
    use loom::sync::atomic::Ordering::Relaxed;
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
        mirrored: [AtomicU32; 2],
        mirrors: [Vec<AtomicU64>; 2],
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
                mirrored: [AtomicU32::new(0), AtomicU32::new(0)],
                mirrors: [vec![AtomicU64::new(0)], vec![AtomicU64::new(0)]],
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

        /// What the mirror holds.
        pub fn mirrored(&self, lane: Lane) -> &AtomicU32 {
            &self.mirrored[lane as usize]
        }

        /// One word: the fewest that can be a part of what was written, or all.
        pub fn mirror(&self, lane: Lane) -> &[AtomicU64] {
            &self.mirrors[lane as usize]
        }
    }

    /// Words only: that is all that the model writes.
    pub(crate) fn store(words: &[AtomicU64], bytes: &[u8]) {
        for (bytes, word) in bytes.as_chunks::<8>().0.iter().zip(words) {
            word.store(u64::from_le_bytes(*bytes), Relaxed);
        }
    }

    pub(crate) fn load(words: &[AtomicU64], bytes: usize, out: &mut Vec<u8>) {
        for word in &words[..bytes / 8] {
            out.extend_from_slice(&word.load(Relaxed).to_le_bytes());
        }
    }
}
