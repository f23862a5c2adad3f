//! What the kernel tells the host about a guest's system calls: `seccomp_unotify(2)`.

#![expect(unsafe_code, reason = "the kernel's interface is three ioctls on plain structures")]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

/// The host's end of a filter that notifies.
#[derive(Debug)]
pub struct Listener(OwnedFd);

/// A system call that waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notification {
    /// Which one; for the answer.
    pub id: u64,
    /// Who made it, in the host's own process numbers.
    pub pid: u32,
    /// Its number.
    pub number: i32,
    /// The kernel's name for the calling convention, `AUDIT_ARCH_*`.
    pub arch: u32,
    /// Where in the program it was made.
    pub instruction: u64,
    /// Its arguments.
    pub arguments: [u64; 6],
}

/// Room for more than today's kernel writes, so that a later one cannot write past it.
#[repr(C, align(8))]
struct Buffer([u8; 4096]);

const RECEIVE: libc::Ioctl = 0xC050_2100;
const ANSWER: libc::Ioctl = 0xC018_2101;
const ID_VALID: libc::Ioctl = 0x4008_2102;
const ADD_DESCRIPTOR: libc::Ioctl = 0x4018_2103;

impl Listener {
    /// From a descriptor that the launcher sent.
    pub fn new(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }

    /// Waits for a call.
    ///
    /// # Errors
    /// `ENOENT` when the caller died meanwhile: take the next. Anything else is final.
    pub fn receive(&self) -> Result<Notification, Errno> {
        let mut buffer = Buffer([0; 4096]);
        let pointer = buffer.0.as_mut_ptr();
        // capability: device
        // SAFETY: This ioctl writes one `seccomp_notif` of 80 bytes, and wants it zeroed. The buffer is zeroed, aligned to 8 and
        // 50 times as large, and lives through the call.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), RECEIVE, pointer) };
        if result < 0 {
            return Err(last());
        }
        let half = |at: usize| {
            u32::from_ne_bytes(*buffer.0[at..].first_chunk().expect("the offsets are inside the buffer"))
        };
        let whole = |at: usize| {
            u64::from_ne_bytes(*buffer.0[at..].first_chunk().expect("the offsets are inside the buffer"))
        };
        Ok(Notification {
            id: whole(0),
            pid: half(8),
            number: half(16).cast_signed(),
            arch: half(20),
            instruction: whole(24),
            arguments: std::array::from_fn(|index| whole(32 + 8 * index)),
        })
    }

    /// Lets the call run as it is. Only for a caller that is trusted: it could change what its arguments point to.
    pub fn let_run(&self, notification: &Notification) -> Result<(), Errno> {
        self.answer(notification.id, 0, 0, 1)
    }

    /// Makes the call fail.
    pub fn refuse(&self, notification: &Notification, error: Errno) -> Result<(), Errno> {
        self.answer(notification.id, 0, -error.raw_os_error(), 0)
    }

    /// Says that the call succeeded, with 0. It does not run.
    pub fn succeed(&self, notification: &Notification) -> Result<(), Errno> {
        self.answer(notification.id, 0, 0, 0)
    }

    /// Puts a descriptor into the caller's table and answers with its number there, in one step. The call does not run.
    pub fn give(
        &self,
        notification: &Notification,
        descriptor: BorrowedFd<'_>,
        close_on_exec: bool,
    ) -> Result<(), Errno> {
        const SEND: u64 = 1 << 1;
        let flags: u64 = if close_on_exec { 0o2_000_000 } else { 0 };
        let given = u64::from(descriptor.as_raw_fd().cast_unsigned());
        let request = [notification.id, SEND | (given << 32), flags << 32];
        // capability: device
        // SAFETY: This ioctl reads one `seccomp_notif_addfd`: a word, then four halves (flags, ours, theirs, theirs' flags), each
        // pair little-endian in one word. The array has that layout and lives through the call, and the descriptor is open.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), ADD_DESCRIPTOR, request.as_ptr()) };
        if result < 0 { Err(last()) } else { Ok(()) }
    }

    fn answer(&self, id: u64, value: i64, error: i32, flags: u32) -> Result<(), Errno> {
        let mut answer = [0_u64; 3];
        answer[0] = id;
        answer[1] = value.cast_unsigned();
        answer[2] = u64::from(error.cast_unsigned()) | (u64::from(flags) << 32);
        // capability: device
        // SAFETY: This ioctl reads one `seccomp_notif_resp`: two words, and two halves in one word (error first, as x86-64 and
        // aarch64 are little-endian). The array has that layout and lives through the call.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), ANSWER, answer.as_ptr()) };
        if result < 0 { Err(last()) } else { Ok(()) }
    }

    /// Whether the caller still waits: what was read about its process is then about it, not about one that has its number now.
    pub fn is_waiting(&self, notification: &Notification) -> bool {
        // capability: device
        // SAFETY: This ioctl reads one 64-bit identifier, which lives through the call.
        unsafe { libc::ioctl(self.0.as_raw_fd(), ID_VALID, &raw const notification.id) == 0 }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn last() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
