//! F. Taking too much, and looking for what was left behind.

use crate::attempts::Attempt;
use crate::facts::Facts;
use crate::sys::{at, at_mut, call};

/// Goes on for so many milliseconds, without asking for the time: 0 is for ever.
fn spin(facts: &Facts) -> i64 {
    let most = match facts.number("milliseconds") {
        0 => u64::MAX,
        milliseconds => milliseconds * 200_000,
    };
    let mut turns = 0_u64;
    while turns < most {
        turns = std::hint::black_box(turns + 1);
    }
    0
}

fn sleep(facts: &Facts) -> i64 {
    let seconds = match facts.number("milliseconds") {
        0 => 1_000_000,
        milliseconds => milliseconds / 1000,
    };
    call(35, &[at(&[seconds, 100_000_000]), 0])
}

fn wait_for_nobody(facts: &Facts) -> i64 {
    let word = [0_u32; 2];
    let time = [facts.number("milliseconds") / 1000, 100_000_000_u64];
    let timeout = if facts.number("milliseconds") == 0 { 0 } else { at(&time) };
    match call(202, &[at(&word), 0, 0, timeout, 0, 0]) {
        // Nobody came before the time was over.
        -110 => 0,
        other => other,
    }
}

/// Memory in blocks of a mebibyte, each written to, until the kernel says no; at most 256.
fn balloon(_: &Facts) -> i64 {
    for taken in 0..256 {
        let block = call(9, &[0, 1 << 20, 3, 0x22, u64::MAX, 0]);
        if block < 0 {
            // How far it came does not matter: some of it must have been there.
            return if taken > 8 { block } else { -1 };
        }
        for page in 0..256 {
            crate::sys::put(block.cast_unsigned() + 4096 * page, b"x");
        }
    }
    256
}

/// Threads that wait, until the kernel says no; at most 128.
fn thread_bomb(_: &Facts) -> i64 {
    let mut handles = Vec::new();
    for _ in 0..128 {
        let work = || std::thread::sleep(std::time::Duration::from_millis(200));
        match std::thread::Builder::new().stack_size(16 << 10).spawn(work) {
            Ok(handle) => handles.push(handle),
            Err(error) => return -i64::from(error.raw_os_error().unwrap_or(1)),
        }
    }
    i64::try_from(handles.len()).unwrap_or(0)
}

fn lock_memory(_: &Facts) -> i64 {
    call(149, &[at(&[0_u64; 512]), 4096])
}

/// Looks for a text that the host has in its memory: through the shared memory, and from the bottom of this stack to its top.
fn secrets(facts: &Facts) -> i64 {
    let wanted: Vec<u8> = facts.text("half").bytes().chain(facts.text("other-half").bytes()).collect();
    if wanted.is_empty() {
        return -1;
    }
    let mut found = 0;
    let mut look = |address: u64, bytes: usize| {
        let memory = crate::sys::copy(address, bytes);
        found += i64::try_from(memory.windows(wanted.len()).filter(|window| *window == wanted).count())
            .unwrap_or(0);
    };
    let here = 0_u64;
    let from = at(&here);
    look(from, usize::try_from(crate::sys::top_of_stack().saturating_sub(from)).unwrap_or(0).min(256 << 10));
    if facts.text("prefix").is_empty() {
        let ring = call(9, &[0, 516 << 10, 1, 1, 4, 0]);
        if ring > 0 {
            look(ring.cast_unsigned(), 516 << 10);
        }
    }
    let said = std::env::vars().map(|(name, value)| name + &value).chain(std::env::args());
    found +=
        i64::try_from(said.filter(|text| text.as_bytes().windows(wanted.len()).any(|w| w == wanted)).count())
            .unwrap_or(0);
    found
}

/// Asks the host for what it refuses, over and over.
fn denials(facts: &Facts) -> i64 {
    let address = [2_u8, 0, 0, 1, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    let rounds = facts.number("rounds");
    let mut last = 0;
    for _ in 0..rounds.max(1) {
        last = call(49, &[0, at(&address), 16]);
    }
    last
}

/// Each attempt.
pub(crate) const ALL: &[(&str, Attempt)] = &[
    ("spin", spin),
    ("sleep", sleep),
    ("wait-for-nobody", wait_for_nobody),
    ("balloon", balloon),
    ("thread-bomb", thread_bomb),
    ("lock-memory", lock_memory),
    ("secrets", secrets),
    ("denials", denials),
    ("clock", |_| call(228, &[0, at_mut(&mut [0_u64; 2])])),
    ("entropy", |_| call(318, &[at_mut(&mut [0_u64; 2]), 16, 0])),
    ("crash", |_| {
        crate::sys::crash();
        0
    }),
    ("exit", |_| call(231, &[3])),
    ("raise-limits", |_| call(302, &[0, 7, at(&[100_000_u64, 100_000]), 0])),
    ("nice", |_| call(141, &[0, 0, (-5_i64).cast_unsigned()])),
];
