//! What the machine itself takes for what a call or a start cannot be without.
//!
//! The other side of each exchange is a thread. A process would be the same to the processor's caches and to the scheduler, and has
//! an address space of its own besides, so that these floors are a little too low for us.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU32, fence};
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, eventfd};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};
use rustix::thread::futex;
use serde::{Deserialize, Serialize};

/// How a side of a [`PingPong`] waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// It looks again until it is there.
    Spin,
    /// It looks a thousand times, and then sleeps.
    SpinThenSleep,
    /// It sleeps.
    Sleep,
}

/// One word that two threads hand back and forth, each in a cache line of its own, with what a sleeping side needs.
#[derive(Default)]
#[repr(align(128))]
struct Word {
    value: AtomicU32,
    sleeps: Apart,
}

#[derive(Default)]
#[repr(align(128))]
struct Apart(AtomicU32);

impl Word {
    fn put(&self, value: u32, waiting: Waiting) {
        self.value.store(value, Release);
        if waiting == Waiting::Spin {
            return;
        }
        fence(SeqCst);
        if self.sleeps.0.load(Relaxed) != 0 {
            let _ = futex::wake(&self.value, futex::Flags::empty(), 1);
        }
    }

    fn wait(&self, value: u32, waiting: Waiting) {
        let spins = match waiting {
            Waiting::Spin => u32::MAX,
            Waiting::SpinThenSleep => 1000,
            Waiting::Sleep => 0,
        };
        for _ in 0..spins {
            if self.value.load(Acquire) == value {
                return;
            }
            std::hint::spin_loop();
        }
        loop {
            self.sleeps.0.store(1, Relaxed);
            fence(SeqCst);
            let seen = self.value.load(Acquire);
            if seen == value {
                return self.sleeps.0.store(0, Relaxed);
            }
            let _ = futex::wait(&self.value, futex::Flags::empty(), seen, None);
        }
    }
}

/// A thread that answers each word, and copies as many bytes as a guest must: out of memory that both have, and into it.
pub struct PingPong {
    words: Arc<(Word, Word)>,
    at: u32,
    waiting: Waiting,
    thread: Option<JoinHandle<()>>,
    shared: Arc<[Shared; 2]>,
}

/// Memory that both sides see: one at a time, ordered by the words.
struct Shared(std::cell::UnsafeCell<Vec<u8>>);

// SAFETY: Each is used by one thread at a time, and the words order these uses.
unsafe impl Sync for Shared {}

const END: u32 = u32::MAX;

impl PingPong {
    /// Starts the thread.
    pub fn new(bytes: usize, waiting: Waiting) -> Self {
        let words = Arc::<(Word, Word)>::default();
        let shared = Arc::new([(); 2].map(|()| Shared(std::cell::UnsafeCell::new(vec![1; bytes]))));
        let (theirs, memory) = (Arc::clone(&words), Arc::clone(&shared));
        let thread = std::thread::spawn(move || {
            let mut own = vec![0; bytes];
            for at in 1.. {
                theirs.0.wait(at, waiting);
                if theirs.1.value.load(Acquire) == END {
                    return;
                }
                // SAFETY: The other side waits for the word below.
                own.copy_from_slice(unsafe { &*memory[0].0.get() });
                // SAFETY: As above.
                unsafe { &mut *memory[1].0.get() }.copy_from_slice(std::hint::black_box(&own));
                theirs.1.put(at, waiting);
            }
        });
        Self { words, at: 0, waiting, thread: Some(thread), shared }
    }

    /// There and back, with bytes as long as those that it was made for.
    pub fn call(&mut self, bytes: &[u8], back: &mut [u8]) {
        // SAFETY: The other side waits for the word below.
        unsafe { &mut *self.shared[0].0.get() }.copy_from_slice(bytes);
        self.at += 1;
        self.words.0.put(self.at, self.waiting);
        self.words.1.wait(self.at, self.waiting);
        // SAFETY: The other side waits for the next word.
        back.copy_from_slice(unsafe { &*self.shared[1].0.get() });
    }
}

impl Drop for PingPong {
    fn drop(&mut self) {
        self.words.1.value.store(END, SeqCst);
        self.words.0.put(self.at + 1, self.waiting);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// A process that answers each word, and sleeps in between: what a call into a guest cannot be without when the guest sleeps.
pub struct Process {
    words: *const (Word, Word),
    at: u32,
    child: libc::pid_t,
}

impl Process {
    /// Starts the process; `speculates` says whether without the controls that a guest has over what its processor guesses.
    pub fn new(speculates: bool) -> Self {
        let length = size_of::<(Word, Word)>();
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: New memory, at a place that the kernel chooses.
        let memory = unsafe { libc::mmap(std::ptr::null_mut(), length, access, kind, -1, 0) };
        assert_ne!(memory, libc::MAP_FAILED, "memory");
        let words = memory.cast_const().cast::<(Word, Word)>();
        // SAFETY: The memory is all zeros, which is what the words begin as; it is aligned to a page, and lives until `drop`.
        let theirs = unsafe { &*words };
        // SAFETY: The child uses what is above and makes system calls, until it ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let set = |option: libc::c_int, what: u64, to: u64| {
                // SAFETY: It concerns this process alone.
                unsafe { libc::prctl(option, what, to, 0_u64, 0_u64) };
            };
            let number = |constant: libc::c_int| u64::from(constant.cast_unsigned());
            set(libc::PR_SET_PDEATHSIG, number(libc::SIGKILL), 0);
            if !speculates {
                for misfeature in [libc::PR_SPEC_STORE_BYPASS, libc::PR_SPEC_INDIRECT_BRANCH] {
                    let off = u64::from(libc::PR_SPEC_FORCE_DISABLE);
                    set(libc::PR_SET_SPECULATION_CTRL, number(misfeature), off);
                }
            }
            for at in 1.. {
                theirs.0.wait(at, Waiting::Sleep);
                if theirs.1.value.load(Acquire) == END {
                    break;
                }
                theirs.1.put(at, Waiting::Sleep);
            }
            // SAFETY: It does not come back.
            unsafe { libc::_exit(0) };
        }
        assert!(child > 0, "there are processes to be had");
        Self { words, at: 0, child }
    }

    /// There and back.
    pub fn call(&mut self) {
        // SAFETY: As in `new`.
        let words = unsafe { &*self.words };
        self.at += 1;
        words.0.put(self.at, Waiting::Sleep);
        words.1.wait(self.at, Waiting::Sleep);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SAFETY: As in `new`.
        let words = unsafe { &*self.words };
        words.1.value.store(END, SeqCst);
        words.0.put(self.at + 1, Waiting::Sleep);
        assert_eq!(wait_for(self.child), 0, "it ends when it is told to");
        // SAFETY: It was mapped in `new` with this length, and nobody uses it any more.
        unsafe { libc::munmap(self.words.cast_mut().cast(), size_of::<(Word, Word)>()) };
    }
}

/// A thread that answers over two event descriptors.
pub struct Events {
    there: OwnedFd,
    back: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

impl Default for Events {
    fn default() -> Self {
        let event = || eventfd(0, EventfdFlags::CLOEXEC).expect("a descriptor");
        let (there, back) = (event(), event());
        let (theirs, ours) =
            (there.try_clone().expect("a descriptor"), back.try_clone().expect("a descriptor"));
        let thread = std::thread::spawn(move || {
            let mut bytes = [0; 8];
            while rustix::io::read(&theirs, &mut bytes).is_ok() && u64::from_ne_bytes(bytes) == 1 {
                let _ = rustix::io::write(&ours, &1_u64.to_ne_bytes());
            }
        });
        Self { there, back, thread: Some(thread) }
    }
}

impl Events {
    /// There and back.
    pub fn call(&mut self) {
        rustix::io::write(&self.there, &1_u64.to_ne_bytes()).expect("it is open");
        rustix::io::read(&self.back, &mut [0; 8]).expect("it is open");
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _ = rustix::io::write(&self.there, &2_u64.to_ne_bytes());
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// A call as a program would write it today: a function's number and its arguments.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// The sum of both.
    Add(u64, u64),
    /// The thread ends.
    End,
}

/// A thread that answers over a socket of packets, in the encoding of postcard.
pub struct Packets {
    socket: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

impl Default for Packets {
    fn default() -> Self {
        let (socket, other) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .expect("a pair of sockets");
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 64];
            loop {
                let (got, _) = recv(&other, &mut buffer, RecvFlags::empty()).expect("it is open");
                let Ok(Request::Add(a, b)) = postcard::from_bytes(&buffer[..got]) else { return };
                answer(&other, a.wrapping_add(b));
            }
        });
        Self { socket, thread: Some(thread) }
    }
}

fn answer(socket: &impl AsFd, value: u64) {
    let mut buffer = [0; 16];
    let bytes = postcard::to_slice(&value, &mut buffer).expect("small");
    send(socket, bytes, SendFlags::empty()).expect("it is open");
}

impl Packets {
    /// There and back.
    pub fn call(&mut self, a: u64, b: u64) -> u64 {
        let mut buffer = [0; 64];
        let bytes = postcard::to_slice(&Request::Add(a, b), &mut buffer).expect("small");
        send(&self.socket, bytes, SendFlags::empty()).expect("it is open");
        let mut back = [0; 16];
        let (got, _) = recv(&self.socket, &mut back, RecvFlags::empty()).expect("it is open");
        postcard::from_bytes(&back[..got]).expect("its own encoding")
    }
}

impl Drop for Packets {
    fn drop(&mut self) {
        let mut buffer = [0; 16];
        let bytes = postcard::to_slice(&Request::End, &mut buffer).expect("small");
        let _ = send(&self.socket, bytes, SendFlags::empty());
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// A thread that answers over two channels of `ipc-channel`.
pub struct Channels {
    there: ipc_channel::ipc::IpcSender<Request>,
    back: ipc_channel::ipc::IpcReceiver<u64>,
    thread: Option<JoinHandle<()>>,
}

impl Default for Channels {
    fn default() -> Self {
        let (there, theirs) = ipc_channel::ipc::channel::<Request>().expect("a channel");
        let (ours, back) = ipc_channel::ipc::channel::<u64>().expect("a channel");
        let thread = std::thread::spawn(move || {
            while let Ok(Request::Add(a, b)) = theirs.recv() {
                let _ = ours.send(a.wrapping_add(b));
            }
        });
        Self { there, back, thread: Some(thread) }
    }
}

impl Channels {
    /// There and back.
    pub fn call(&mut self, a: u64, b: u64) -> u64 {
        self.there.send(Request::Add(a, b)).expect("it is open");
        self.back.recv().expect("it is open")
    }
}

impl Drop for Channels {
    fn drop(&mut self) {
        let _ = self.there.send(Request::End);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// A process for one call, and its end.
pub fn fork_and_wait() {
    // SAFETY: The child makes one system call, which ends it.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: It does not come back.
        unsafe { libc::_exit(0) };
    }
    assert_eq!(wait_for(child), 0);
}

/// Waits for a child, and gives its exit code.
fn wait_for(child: libc::pid_t) -> i32 {
    assert!(child > 0, "there are processes to be had");
    let mut status = 0;
    // SAFETY: The child is the caller's own, and the place for its status lives through the call.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    libc::WEXITSTATUS(status)
}

/// How a guest ends that finds no host: at once, with an error.
pub const ENDS_AT_ONCE: i32 = 1;

/// How a child ends that could not do what was measured.
const FAILED: i32 = 127;

/// A program in memory, for [`raw_start`].
pub fn in_memory(bytes: &[u8]) -> OwnedFd {
    let name = CString::from(c"raw");
    // SAFETY: A new descriptor of memory, with a name that lives through the call.
    let memory = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
    assert!(memory >= 0, "a descriptor");
    // SAFETY: It was just made, and nobody else owns it.
    let memory = unsafe { OwnedFd::from_raw_fd(memory) };
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = rustix::io::write(&memory, rest).expect("memory");
        rest = &rest[written..];
    }
    memory
}

/// A filter of so many instructions that looks at each and then allows all.
pub fn filter_of(instructions: usize) -> Vec<libc::sock_filter> {
    let load = libc::sock_filter { code: 0x20, jt: 0, jf: 0, k: 0 };
    let never = libc::sock_filter { code: 0x15, jt: 0, jf: 0, k: 0xFFFF_0000 };
    let allow = libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: 0x7FFF_0000 };
    let mut filter = vec![load];
    filter.extend(std::iter::repeat_n(never, instructions));
    filter.push(allow);
    filter
}

/// The namespaces of a guest.
const NAMESPACES: i32 = libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWCGROUP;

/// A clone into the namespaces of a guest that installs a filter and runs a program, and its end.
pub fn raw_start(program: &OwnedFd, filter: &[libc::sock_filter]) {
    let arguments = [c"guest".as_ptr(), std::ptr::null()];
    let header = libc::sock_fprog {
        len: u16::try_from(filter.len()).expect("a small filter"),
        filter: filter.as_ptr().cast_mut(),
    };
    let flags = i64::from(NAMESPACES | libc::SIGCHLD);
    // SAFETY: A fork, whose child only makes system calls on what exists, and runs a program or ends.
    let child = unsafe { libc::syscall(libc::SYS_clone, flags, 0_usize, 0_usize, 0_usize, 0_usize) };
    if child == 0 {
        let none = [std::ptr::null::<libc::c_char>()];
        // SAFETY: All that is pointed at lives in this process, which is a copy.
        unsafe {
            let nothing = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
            let confined = libc::dup2(nothing, 2) == 2
                && libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const header) == 0;
            if !confined {
                libc::_exit(FAILED);
            }
            let (path, flags) = (c"".as_ptr(), libc::AT_EMPTY_PATH);
            libc::syscall(
                libc::SYS_execveat,
                program.as_raw_fd(),
                path,
                arguments.as_ptr(),
                none.as_ptr(),
                flags,
            );
            libc::_exit(FAILED);
        }
    }
    let ended = wait_for(i32::try_from(child).expect("a number"));
    assert_eq!(ended, ENDS_AT_ONCE, "the program ran");
}
