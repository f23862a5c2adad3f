//! B. Other processes: the victim, which runs as the same user and outside of the compartment.

use crate::attempts::Attempt;
use crate::facts::Facts;
use crate::sys::{at, at_mut, call, in_child};

/// SIGURG: ignored by whoever does not ask for it, so that nobody beside the victim is harmed.
const HARMLESS: u64 = 23;
const ABORT: u64 = 6;

fn victim(facts: &Facts) -> u64 {
    facts.number("victim")
}

fn pidfd(facts: &Facts) -> i64 {
    call(434, &[victim(facts), 0])
}

/// With a handle on the victim.
fn with_pidfd(facts: &Facts, then: impl FnOnce(u64) -> i64) -> i64 {
    match pidfd(facts) {
        handle if handle < 0 => handle,
        handle => then(handle.cast_unsigned()),
    }
}

fn read_memory(facts: &Facts) -> i64 {
    let mut bytes = [0_u8; 16];
    let here = [at_mut(&mut bytes), 16];
    let there = [facts.number("canary"), 16];
    let read = call(310, &[victim(facts), at(&here), 1, at(&there), 1, 0]);
    if read < 0 || std::hint::black_box(bytes).starts_with(b"cofferdam") { read } else { -1 }
}

fn write_memory(facts: &Facts) -> i64 {
    let here = [at(b"overwritten"), 11];
    let there = [facts.number("scratch"), 11];
    call(311, &[victim(facts), at(&here), 1, at(&there), 1, 0])
}

/// Opens a file of the victim's below `/proc` and reads a byte of it.
fn proc_file(facts: &Facts, name: &str, flags: u64) -> i64 {
    let path = format!("/proc/{}/{name}\0", victim(facts));
    let opened = call(257, &[(-100_i64).cast_unsigned(), at(path.as_str()), flags, 0]);
    if opened < 0 {
        return opened;
    }
    let mut byte = [0_u8; 1];
    let read = call(17, &[opened.cast_unsigned(), at_mut(&mut byte), 1, facts.number("canary")]);
    if read >= 0 || flags != 0 { opened } else { call(0, &[opened.cast_unsigned(), at_mut(&mut byte), 1]) }
}

fn read_link(path: &str) -> i64 {
    let mut bytes = [0_u8; 256];
    call(267, &[(-100_i64).cast_unsigned(), at(format!("{path}\0").as_str()), at_mut(&mut bytes), 256])
}

/// A child that goes on after its parent: it writes to a file every 20 ms, for at most two seconds.
fn daemon(facts: &Facts) -> i64 {
    let path = facts.path("/out/daemon");
    in_child(call(57, &[]), || {
        call(112, &[]);
        call(157, &[1, 0, 0, 0, 0]);
        let file = call(257, &[(-100_i64).cast_unsigned(), at(path.as_slice()), 0x441, 0o644]);
        for _ in 0..100 {
            call(1, &[file.cast_unsigned(), at(b"x"), 1]);
            call(35, &[at(&[0_u64, 20_000_000]), 0]);
        }
    })
}

/// Children that do nothing but be there, until the kernel says no; at most 64.
fn fork_bomb(_: &Facts) -> i64 {
    let mut made = 0;
    for _ in 0..64 {
        let child = in_child(call(57, &[]), || {
            call(35, &[at(&[1_u64, 0]), 0]);
        });
        if child < 0 {
            return if made < 32 { child } else { made };
        }
        made += 1;
    }
    made
}

/// Each attempt.
pub(crate) const ALL: &[(&str, Attempt)] = &[
    ("kill", |facts| call(62, &[victim(facts), HARMLESS])),
    ("tkill", |facts| call(200, &[victim(facts), HARMLESS])),
    ("tgkill-abort", |facts| call(234, &[victim(facts), victim(facts), ABORT])),
    ("queue-signal", |facts| {
        // `siginfo_t` of SI_QUEUE, 128 bytes.
        let mut info = [0_u64; 16];
        info[1] = 0xFFFF_FFFF;
        info[0] = HARMLESS;
        call(129, &[victim(facts), HARMLESS, at(&info)])
    }),
    ("kill-group", |_| call(62, &[0, HARMLESS])),
    ("kill-all", |_| call(62, &[u64::MAX, 0])),
    ("own-signals", |_| call(72, &[1, 8, 0])),
    ("own-signals-ioctl", |_| call(16, &[1, 0x8901, at(&0_u32)])),
    ("pidfd-signal", |facts| with_pidfd(facts, |handle| call(424, &[handle, HARMLESS, 0, 0]))),
    ("pidfd-getfd", |facts| with_pidfd(facts, |handle| call(438, &[handle, 0, 0]))),
    ("limit", |facts| {
        let limit = [99_u64, 99];
        call(302, &[victim(facts), 7, at(&limit), 0])
    }),
    ("priority", |facts| call(141, &[0, victim(facts), facts.number("niceness")])),
    ("affinity", |facts| {
        let mut one = [0_u64; 16];
        let number = usize::try_from(facts.number("processor")).unwrap_or(0);
        one[number / 64 % 16] = 1 << (number % 64);
        call(203, &[victim(facts), 128, at(&one)])
    }),
    ("scheduler", |facts| call(144, &[victim(facts), 3, at(&0_u32)])),
    ("io-priority", |facts| call(251, &[1, victim(facts), 0x6000])),
    ("trace", |facts| {
        let seized = call(101, &[0x4206, victim(facts), 0, 0]);
        if seized >= 0 {
            call(101, &[17, victim(facts), 0, 0]);
        }
        seized
    }),
    ("trace-me", |_| call(101, &[0, 0, 0, 0])),
    ("read-memory", read_memory),
    ("write-memory", write_memory),
    ("compare", |facts| call(312, &[victim(facts), victim(facts), 0, 0, 0])),
    ("robust-list", |facts| call(274, &[victim(facts), at_mut(&mut [0_u64; 1]), at_mut(&mut [0_u64; 1])])),
    ("proc-memory", |facts| proc_file(facts, "mem", 0)),
    ("proc-environ", |facts| proc_file(facts, "environ", 0)),
    ("proc-cmdline", |facts| proc_file(facts, "cmdline", 0)),
    ("proc-maps", |facts| proc_file(facts, "maps", 0)),
    ("proc-root", |facts| read_link(&format!("/proc/{}/root", victim(facts)))),
    ("proc-namespace", |facts| read_link(&format!("/proc/{}/ns/user", victim(facts)))),
    ("proc-net", |_| {
        let path = b"/proc/net/unix\0";
        call(257, &[(-100_i64).cast_unsigned(), at(path), 0, 0])
    }),
    ("proc-setting", |_| {
        let path = b"/proc/sys/kernel/ostype\0";
        call(257, &[(-100_i64).cast_unsigned(), at(path), 0, 0])
    }),
    ("overwrite-program", |facts| {
        let path = format!("{}\0", facts.text("program"));
        call(257, &[(-100_i64).cast_unsigned(), at(path.as_str()), 2, 0])
    }),
    ("daemon", daemon),
    ("fork-bomb", fork_bomb),
    ("stop-self", |_| call(234, &[call(39, &[]).cast_unsigned(), call(186, &[]).cast_unsigned(), 19])),
];
