//! A. The surface of the kernel, and the filter itself.

use crate::attempts::Attempt;
use crate::facts::Facts;
use crate::sys::{at, at_mut, call, in_child, interrupt, put, run};

/// An address that nothing is at, which the kernel refuses.
const NOWHERE: u64 = 1;
/// A descriptor that nobody has.
const NONE: u64 = 0xFFFF_FFFF;
const NEW_USER: u64 = 0x1000_0000;
const NEW_MOUNTS: u64 = 0x2_0000;
const CHILD: u64 = 17;

fn filter_program() -> [u64; 2] {
    // `struct sock_fprog`: a length, and where the instructions are. The one instruction allows everything.
    let instruction = Box::leak(Box::new([6_u16, 0, 0, 0x7FFF]));
    [1, at(instruction)]
}

fn clone3_user(_: &Facts) -> i64 {
    // `struct clone_args` of 64 bytes: flags first, the signal of the end fifth.
    let arguments = [NEW_USER, 0, 0, 0, CHILD, 0, 0, 0];
    in_child(call(435, &[at(&arguments), 64]), || {})
}

fn unknown_numbers(_: &Facts) -> i64 {
    // Past the newest that this release knows, up to far beyond what kernels have.
    let odd = (470..=600).map(|number| call(number, &[0; 6])).find(|answer| *answer != -38);
    odd.unwrap_or(-38)
}

/// Opens a file with `io_uring`, without ever calling open.
fn uring_open(facts: &Facts) -> i64 {
    // `struct io_uring_params`, 120 bytes.
    let mut parameters = [0_u32; 30];
    let ring = call(425, &[4, at_mut(&mut parameters)]);
    if ring < 0 {
        return ring;
    }
    let ring = ring.cast_unsigned();
    let map = |bytes: u64, offset: u64| call(9, &[0, bytes, 3, 0x8001, ring, offset]);
    let (queue, entries) = (map(4096, 0), map(4096, 0x1000_0000));
    if queue < 0 || entries < 0 {
        return queue.min(entries);
    }
    let (queue, entries) = (queue.cast_unsigned(), entries.cast_unsigned());
    let path = facts.path("/secret");
    // `struct io_uring_sqe`: OPENAT below the working folder, read only.
    put(entries, &[18, 0, 0, 0]);
    put(entries + 4, &(-100_i32).to_le_bytes());
    put(entries + 16, &at(path.as_slice()).to_le_bytes());
    // The array of the submission queue names entry 0, and its tail is 1.
    let offset = |index: usize| u64::from(parameters[index]);
    put(queue + offset(16), &0_u32.to_le_bytes());
    put(queue + offset(11), &1_u32.to_le_bytes());
    let entered = call(426, &[ring, 1, 1, 1, 0, 0]);
    if entered < 0 {
        return entered;
    }
    let completions = call(9, &[0, 4096, 3, 0x8001, ring, 0x800_0000]);
    if completions < 0 {
        return completions;
    }
    // `struct io_uring_cqe`: the result is its second word.
    let entry = completions.cast_unsigned() + offset(25);
    let bytes = crate::sys::copy(entry + 8, 4);
    i64::from(i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

fn userns_mount(_: &Facts) -> i64 {
    match call(272, &[NEW_USER | NEW_MOUNTS]) {
        0 => call(165, &[at(b"none\0"), at(b"/\0"), at(b"tmpfs\0"), 0, 0]),
        refused => refused,
    }
}

fn page() -> u64 {
    call(9, &[0, 4096, 3, 0x22, u64::MAX, 0]).cast_unsigned()
}

/// mov eax, 42; ret
const CODE: [u8; 6] = [0xB8, 42, 0, 0, 0, 0xC3];

fn run_if(changed: i64, address: u64) -> i64 {
    if changed < 0 { changed } else { run(address) }
}

fn memory_writable_executable(_: &Facts) -> i64 {
    let page = call(9, &[0, 4096, 7, 0x22, u64::MAX, 0]);
    if page < 0 {
        return page;
    }
    put(page.cast_unsigned(), &CODE);
    run(page.cast_unsigned())
}

fn memory_made_executable(_: &Facts) -> i64 {
    let page = page();
    put(page, &CODE);
    run_if(call(10, &[page, 4096, 5]), page)
}

fn memory_made_executable_with_key(_: &Facts) -> i64 {
    let page = page();
    put(page, &CODE);
    run_if(call(329, &[page, 4096, 5, u64::MAX]), page)
}

/// The memory that is shared with the host (here: of this file), once to write and once to run.
fn memory_mapped_twice(facts: &Facts) -> i64 {
    let descriptor = match facts.text("prefix") {
        "" => 4,
        // Outside of a compartment there is no such memory.
        _ => call(319, &[at(b"twice\0"), 0]).cast_unsigned(),
    };
    if descriptor != 4 {
        call(77, &[descriptor, 1 << 20]);
    }
    let executable = call(9, &[0, 4096, 5, 1, descriptor, 0x7_F000]);
    if executable < 0 {
        return executable;
    }
    let writable = call(9, &[0, 4096, 3, 1, descriptor, 0x7_F000]);
    if writable < 0 {
        return writable;
    }
    put(writable.cast_unsigned(), &CODE);
    run(executable.cast_unsigned())
}

extern "C" fn own_text() -> i64 {
    std::hint::black_box(1)
}

/// Makes its own code writable.
fn memory_over_code(_: &Facts) -> i64 {
    let code = (own_text as *const ()).addr() as u64 & !4095;
    call(10, &[code, 4096, 7])
}

fn filter_swallowed(_: &Facts) -> i64 {
    extern "C" fn ignore(_: i32) {}
    if !crate::sys::on_signal(31, ignore) {
        return -1;
    }
    let all = u64::MAX;
    call(14, &[0, at(&all), 0, 8]);
    call(101, &[0, 0, 0, 0])
}

fn split_page() -> [u64; 2] {
    // `struct iovec` of one byte.
    let byte = Box::leak(Box::new(1_u8));
    [at(byte), 1]
}

/// Each attempt.
pub(crate) const ALL: &[(&str, Attempt)] = &[
    ("int80-getpid", |_| interrupt(20, 0)),
    ("int80-socketcall", |_| interrupt(102, 0)),
    ("x32-getpid", |_| call(0x4000_0000 | 0x27, &[])),
    ("x32-ptrace", |_| call(0x4000_0000 | 0x209, &[0, 0, 0, 0])),
    ("clone3-user", clone3_user),
    ("clone-user", |_| in_child(call(56, &[NEW_USER | CHILD, 0, 0, 0, 0]), || {})),
    ("unshare-user", |_| call(272, &[NEW_USER])),
    ("setns", |_| call(308, &[0, 0])),
    ("userns-mount", userns_mount),
    ("unknown-numbers", unknown_numbers),
    ("uring-open", uring_open),
    ("uring-enter", |_| call(426, &[0xFFFF_FFFF, 0, 0, 0, 0, 0])),
    ("uring-register", |_| call(427, &[0xFFFF_FFFF, 0, 0, 0])),
    ("seccomp", |_| call(317, &[1, 0, at(&filter_program())])),
    ("prctl-seccomp", |_| call(157, &[22, 2, at(&filter_program()), 0, 0])),
    ("tiocsti-high", |_| call(16, &[1, 0x1_0000_5412, at(b"x")])),
    ("tiocsti", |_| call(16, &[1, 0x5412, at(b"x")])),
    ("tioclinux", |_| call(16, &[1, 0x541C, at(b"\x02")])),
    ("execve", |_| call(59, &[at(b"/nowhere\0"), 0, 0])),
    ("execveat-memory", |_| call(322, &[0xFFFF_FFFF, at(b"\0"), 0, 0, 0x1000])),
    ("memfd", |_| call(319, &[at(b"program\0"), 0])),
    ("personality", |_| call(135, &[0x0440_0000])),
    ("memory-writable-executable", memory_writable_executable),
    ("memory-made-executable", memory_made_executable),
    ("memory-made-executable-with-key", memory_made_executable_with_key),
    ("memory-mapped-twice", memory_mapped_twice),
    ("memory-over-code", memory_over_code),
    ("shmat-executable", |_| call(30, &[0x7FFF_FFFF, 0, 0o100_000])),
    ("prctl-dumpable", |_| call(157, &[4, 1, 0, 0, 0])),
    ("prctl-outlive", |_| call(157, &[1, 0, 0, 0, 0])),
    ("prctl-tracer", |_| call(157, &[0x5961_6D61, 1, 0, 0, 0])),
    ("prctl-memory-map", |_| call(157, &[35, 0x7FFF, 0, 0, 0])),
    ("prctl-timestamp", |_| call(157, &[26, 1, 0, 0, 0])),
    ("prctl-timer-slack", |_| call(157, &[29, 1, 0, 0, 0])),
    ("prctl-speculation", |_| call(157, &[53, 0, 2, 0, 0])),
    ("modify-ldt", |_| call(154, &[0, at_mut(&mut [0_u64; 2]), 16])),
    ("iopl", |_| call(172, &[4])),
    ("ioperm", |_| call(173, &[u64::MAX, 1, 1])),
    ("arch-prctl", |_| call(158, &[0x1012, 0])),
    ("userfaultfd", |_| call(323, &[1])),
    ("bpf", |_| call(321, &[0xFFFF, NOWHERE, 8])),
    ("perf-event", |_| call(298, &[NOWHERE, 0, u64::MAX, u64::MAX, 0])),
    ("kexec", |_| call(246, &[0, 0, NOWHERE, 0xFFFF_FFFF])),
    ("module", |_| call(175, &[NOWHERE, 0, NOWHERE])),
    ("quota", |_| call(179, &[0x8000_0700, NOWHERE, 0, NOWHERE])),
    ("accounting", |_| call(163, &[NOWHERE])),
    ("swap", |_| call(167, &[NOWHERE, 0])),
    ("reboot", |_| call(169, &[0, 0, 0, 0])),
    ("add-key", |_| call(248, &[at(b"user\0"), at(b"attempt\0"), at(b"x"), 1, (-2_i64).cast_unsigned()])),
    ("request-key", |_| call(249, &[at(b"user\0"), at(b"cofferdam-nothing\0"), 0, 0])),
    ("filter-swallowed", filter_swallowed),
    ("splice", |_| call(275, &[NONE, 0, NONE, 0, 1, 0])),
    ("tee", |_| call(276, &[NONE, NONE, 1, 0])),
    ("vmsplice", |_| call(278, &[NONE, at(&split_page()), 1, 0])),
    ("process-madvise", |_| call(440, &[0xFFFF_FFFF, at(&split_page()), 1, 20, 0])),
    ("madvise-pageout", |_| call(28, &[page(), 4096, 21])),
    ("mincore", |_| call(27, &[page(), 4096, at_mut(&mut [0_u8; 1])])),
    ("cachestat", |_| call(451, &[0, at(&[0_u64; 2]), at_mut(&mut [0_u64; 5]), 0])),
];
