//! Bounds on what a process guest can take, beside those of the wire.

use std::time::Duration;

/// Deadline of a call whose compartment sets none.
pub const CALL_DEADLINE_DEFAULT: Duration = Duration::from_secs(5);

/// Largest memory for a result, or for arguments, that is kept for the next call, bytes: as much as a guest keeps. What is not kept costs
/// more than its copies, because the allocator gives it back to the kernel and each page comes again as a fault.
pub(super) const BUFFER_BYTES_MAX: usize = 2 << 20;

/// Longest start: from the launcher's first instruction to the guest's first words.
pub const START_DEADLINE: Duration = Duration::from_secs(10);

/// Most memory of a compartment that sets no limit, bytes: its address space, the ring and its program not counted.
pub const MEMORY_BYTES_DEFAULT: u64 = 64 << 20;

/// Most bytes that a compartment without a cap writes to each granted stream.
pub const OUTPUT_BYTES_DEFAULT: u64 = 1 << 20;

/// Most threads of a compartment whose grant of `thread` sets no number.
pub const THREADS_DEFAULT: u64 = 64;

/// Most resources of one guest that are held over an edge that sets no limit: as many as a component may hold.
#[cfg(feature = "wasm")]
pub const HANDLES_DEFAULT: u64 = 1000;

/// Refusals of a guest that are recorded in the audit log; it is ended for the next one.
pub const REFUSALS_MAX: u64 = 10_000;

/// Most guests of a pool.
pub const INSTANCES_MAX: usize = 64;

/// Most threads and processes together of a guest that may start programs, its own first thread included. Its memory is divided by
/// this number, because the kernel bounds each process alone.
pub const TASKS_WITH_PROGRAMS_MAX: u64 = 8;

/// How much of a granted program is looked at for its kind, bytes. Its headers are at the beginning.
pub const PROGRAM_HEADERS_BYTES_MAX: u64 = 64 << 10;

/// Most descriptors of a guest, its own five included.
pub const DESCRIPTORS_MAX: u64 = 64;

/// Largest stack of a guest's first thread, bytes.
pub const STACK_BYTES_MAX: u64 = 8 << 20;

/// How much of the end of standard error is kept for the report of a fault, bytes.
pub const LAST_WORDS_BYTES_MAX: usize = 4096;

/// Largest program of a guest, bytes. Its copy stays in memory.
pub const PROGRAM_BYTES_MAX: u64 = 256 << 20;

/// Most connects of a guest that the host works on at a time. Each has a thread.
pub const CONNECTS_MAX: usize = 16;

/// Longest that the host tries to connect for a guest, or that a guest's socket waits to send.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Most mounts of a compartment.
pub const MOUNTS_MAX: usize = 256;

/// Most functions of a backtrace.
pub const FRAMES_MAX: usize = 32;

/// How much of a guest's stack is copied for a backtrace, bytes.
pub const STACK_COPY_BYTES_MAX: usize = 64 << 10;

/// Largest program whose tables are read for a backtrace, bytes.
pub const UNWOUND_PROGRAM_BYTES_MAX: u64 = 64 << 20;

/// Longest name of a function in a backtrace, characters.
pub const FUNCTION_NAME_MAX: usize = 256;

/// Longest text that is read out of a guest's memory for a report, bytes: a path.
pub const REPORTED_TEXT_BYTES_MAX: usize = 4096;
