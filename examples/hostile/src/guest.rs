//! Tries what attackers try, one attempt for each function.

use std::process::ExitCode;

use cofferdam_guest::Guest;

/// What to try: a name, a system call, and its arguments.
type Attempt = (&'static str, i64, [u64; 6]);

const AT_FDCWD: u64 = (-100_i64).cast_unsigned();

const PASSWORDS: &[u8] = b"/etc/shadow\0";
const SHELL: &[u8] = b"/bin/sh\0";
const HOST_MEMORY: &[u8] = b"/proc/1/mem\0";
const NOTE: &[u8] = b"/shared/note.txt\0";

fn address(text: &'static [u8]) -> u64 {
    text.as_ptr().addr() as u64
}

/// Any system call.
#[expect(unsafe_code, reason = "attackers do not use safe functions")]
fn call(number: i64, arguments: [u64; 6]) -> i64 {
    let result: i64;
    // SAFETY: None, and none is needed: whatever it does to this process, the process holds nothing of value.
    unsafe {
        std::arch::asm!("syscall", inlateout("rax") number => result, in("rdi") arguments[0],
            in("rsi") arguments[1], in("rdx") arguments[2], in("r10") arguments[3], in("r8") arguments[4],
            in("r9") arguments[5], lateout("rcx") _, lateout("r11") _);
    }
    result
}

fn attempts() -> Vec<Attempt> {
    let plain = |name, number, arguments: &[u64]| {
        (name, number, std::array::from_fn(|index| arguments.get(index).copied().unwrap_or(0)))
    };
    vec![
        plain("open a network connection", 41, &[2, 1, 0]),
        plain("open a raw socket", 41, &[2, 3, 255]),
        plain("talk to the kernel's network tables", 41, &[16, 3, 0]),
        plain("talk to a hypervisor", 41, &[40, 1, 0]),
        plain("connect to a local service", 41, &[1, 1, 0]),
        plain("run a shell", 59, &[address(SHELL), 0, 0]),
        plain("run a program from memory", 322, &[4, address(b"\0"), 0, 0, 0x1000]),
        plain("become two processes", 57, &[]),
        plain("kill every process", 62, &[u64::MAX, 9]),
        plain("kill the process that started it", 62, &[1, 9]),
        plain("trace its parent", 101, &[16, 1, 0, 0]),
        plain("read another process's memory", 310, &[1, 0, 0, 0, 0, 0]),
        plain("take a descriptor of another process", 438, &[3, 0, 0]),
        plain("make a user namespace", 272, &[0x1000_0000]),
        plain("join another namespace", 308, &[3, 0]),
        plain("mount a file system", 165, &[0, address(b"/\0"), 0, 0, 0]),
        plain("leave its root", 161, &[address(b"/\0")]),
        plain("reopen a file by its handle", 304, &[3, 0, 0]),
        plain("overwrite the granted file", 257, &[AT_FDCWD, address(NOTE), 0o1001, 0]),
        plain("change the granted file's mode", 90, &[address(NOTE), 0o777]),
        plain("make memory that is writable and executable", 9, &[0, 4096, 7, 0x22, u64::MAX, 0]),
        plain("make its own code writable", 10, &[address(SHELL) & !4095, 4096, 7]),
        plain("load a program into the kernel", 321, &[5, 0, 0]),
        plain("load a module into the kernel", 175, &[0, 0, 0]),
        plain("read the user's keys", 250, &[0, 0]),
        plain("stall the host with a page fault", 323, &[0]),
        plain("make calls past the filter", 425, &[8, 0]),
        plain("add a filter of its own", 317, &[1, 8, 0]),
        plain("survive its host", 157, &[1, 0]),
        plain("switch off address randomisation", 135, &[0x0004_0000]),
        plain("type into the host's terminal", 16, &[0, 0x5412, 0]),
        plain("the same with a high bit set", 16, &[0, 0x1_0000_5412, 0]),
        plain("use the x32 convention", 0x4000_0027, &[]),
        plain("lower the host's limits", 302, &[1, 7, 0, 0]),
        plain("watch the processor's counters", 298, &[0, 0, 0, 0, 0]),
        plain("read the password file", 257, &[AT_FDCWD, address(PASSWORDS), 0, 0]),
        plain("read the memory of process 1", 257, &[AT_FDCWD, address(HOST_MEMORY), 0, 0]),
    ]
}

fn main() -> ExitCode {
    let guest = Guest::new()
        .function("attempts", |(): ()| {
            attempts().iter().map(|(name, ..)| (*name).to_owned()).collect::<Vec<_>>()
        })
        .function("read-note", |(): ()| {
            std::fs::read_to_string("/shared/note.txt").map_err(|error| error.to_string())
        });
    attempts()
        .into_iter()
        .fold(guest, |guest, (name, number, arguments)| {
            guest.function(name, move |(): ()| call(number, arguments))
        })
        .serve()
}
