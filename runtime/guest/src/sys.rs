//! The descriptors that a guest is given, and the last that it can say before it dies. All of this crate's `unsafe` is here.

#![expect(unsafe_code, reason = "fixed descriptors, an allocator, and a signal handler")]

#[cfg(any(cofferdam_guest, feature = "program"))]
use std::alloc::{GlobalAlloc, Layout, System};
use std::os::fd::BorrowedFd;
use std::ptr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

#[cfg(any(cofferdam_guest, feature = "program"))]
use cofferdam_wire::handshake::OUT_OF_MEMORY;
use cofferdam_wire::handshake::{STACK_OVERFLOW, descriptor};
use cofferdam_wire::memory::Memory;

/// The socket for packets.
pub(crate) fn socket() -> BorrowedFd<'static> {
    // capability: handle-forge
    // SAFETY: The launcher opened it before this program began, and nothing in this crate closes it. A program that closes it
    // itself, or was started without a launcher, gets an error from the kernel.
    unsafe { BorrowedFd::borrow_raw(descriptor::SOCKET) }
}

/// The shared memory.
pub(crate) fn memory() -> BorrowedFd<'static> {
    // capability: handle-forge
    // SAFETY: As for the socket.
    unsafe { BorrowedFd::borrow_raw(descriptor::MEMORY) }
}

static MEMORY: OnceLock<Arc<Memory>> = OnceLock::new();

/// Has libc's allocator keep what was freed for the next call, instead of giving it back and taking it again page by page. The guest's
/// limit of memory bounds both.
pub(crate) fn keep_freed_memory() {
    #[cfg(target_env = "gnu")]
    for (parameter, bytes) in [(libc::M_MMAP_THRESHOLD, 4 << 20), (libc::M_TRIM_THRESHOLD, 8 << 20)] {
        // capability: runtime-hook
        // SAFETY: mallopt sets numbers of the allocator, at any time.
        unsafe { libc::mallopt(parameter, bytes) };
    }
}

/// Has the host told why this program dies, where it cannot tell itself.
pub(crate) fn report_distress(memory: &Arc<Memory>) {
    if MEMORY.set(Arc::clone(memory)).is_err() {
        return;
    }
    // Lives as long as the program: the handler runs on it when the stack proper is used up.
    let stack = Vec::leak(vec![0_u8; 64 << 10]);
    let alternative = libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: stack.len() };
    // capability: signal
    // SAFETY: The kernel reads one `stack_t` during the call; the stack it names is leaked, so it stays.
    unsafe { libc::sigaltstack(&raw const alternative, ptr::null_mut()) };
    // capability: signal
    // SAFETY: All-zero bytes are a valid `sigaction`: no flags, an empty mask, the default reaction.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_fault as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: `on_fault` has the signature that SA_SIGINFO asks for, and does nothing that a handler may not.
    unsafe { libc::sigaction(libc::SIGSEGV, &raw const action, ptr::null_mut()) };
}

/// Leaves word if the fault is at the end of the stack, and lets the program die of it.
extern "C" fn on_fault(_: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // Code touches the stack at its end, or some pages below it.
    const NEAR: u64 = 1 << 20;
    // SAFETY: The kernel passes a `siginfo_t` of a memory fault, which has an address.
    let address = unsafe { (*info).si_addr() } as usize;
    // SAFETY: With SA_SIGINFO the third argument is the interrupted context, a `ucontext_t`.
    let registers = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let stack = registers[libc::REG_RSP as usize].cast_unsigned();
    if (address as u64).abs_diff(stack) < NEAR {
        leave(STACK_OVERFLOW);
    }
    // capability: signal
    // SAFETY: signal(2) with SIG_DFL has no conditions. On return the instruction faults again, and that ends the program.
    unsafe { libc::signal(libc::SIGSEGV, libc::SIG_DFL) };
}

fn leave(word: u32) {
    if let Some(memory) = MEMORY.get() {
        memory.distress().store(word, Ordering::Relaxed);
    }
}

/// The system's allocator; it leaves word when there is no more memory. A program has one allocator: where this crate is linked for
/// its macros only, into a consumer, that is not ours to choose.
#[cfg(any(cofferdam_guest, feature = "program"))]
struct Watched;

#[cfg(any(cofferdam_guest, feature = "program"))]
#[global_allocator]
static WATCHED: Watched = Watched;

#[cfg(any(cofferdam_guest, feature = "program"))]
fn watched(memory: *mut u8) -> *mut u8 {
    if memory.is_null() {
        leave(OUT_OF_MEMORY);
    }
    memory
}

// SAFETY: Every call is passed on to `System` as it is, and what that returns is returned.
#[cfg(any(cofferdam_guest, feature = "program"))]
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: The caller keeps the contract of `alloc`, which is the same.
        watched(unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: The caller keeps the contract of `alloc_zeroed`, which is the same.
        watched(unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: The caller keeps the contract of `realloc`, which is the same, and `memory` came from `System`.
        watched(unsafe { System.realloc(memory, layout, size) })
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: The caller keeps the contract of `dealloc`, which is the same, and `memory` came from `System`.
        unsafe { System.dealloc(memory, layout) };
    }
}
