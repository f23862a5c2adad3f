//! Code that runs before `main`: what a library does that wants to be first. It does nothing unless a host of the suite has changed
//! one byte of the program.

#![expect(unsafe_code, reason = "a section that libc runs before main")]

use crate::sys;

/// The suite replaces the last byte by `1`.
#[used]
static MARK: [u8; 28] = *b"calls ptrace before main: 0\0";

extern "C" fn first() {
    // SAFETY: The array is there; reading it as volatile keeps the compiler from knowing what is in it.
    let mark = unsafe { (&raw const MARK).read_volatile() };
    if mark[26] == b'1' {
        sys::call(libc::SYS_ptrace, &[0, 0, 0, 0]);
    }
}

// SAFETY: `first` is a function that libc can call before main: it makes a system call, and touches nothing of the library's.
#[unsafe(link_section = ".init_array")]
#[used]
static FIRST: extern "C" fn() = first;
