//! A guest that does what it is told, good and bad.

use std::io::{Read, Write};
use std::os::fd::BorrowedFd;
use std::process::{ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cofferdam_guest::{Guest, Handed};

/// Any system call. Errors are negative, as the kernel gives them.
#[expect(unsafe_code, reason = "trying calls that no safe function makes")]
fn raw(number: i64, arguments: [u64; 6]) -> i64 {
    let result: i64;
    // SAFETY: The tests pass numbers that harm this process at most, which is what it is for.
    unsafe {
        std::arch::asm!("syscall", inlateout("rax") number => result, in("rdi") arguments[0],
            in("rsi") arguments[1], in("rdx") arguments[2], in("r10") arguments[3], in("r8") arguments[4],
            in("r9") arguments[5], lateout("rcx") _, lateout("r11") _);
    }
    result
}

/// A call through the 32-bit convention.
#[expect(unsafe_code, reason = "a calling convention that Rust does not use")]
fn interrupt(number: u32) -> i32 {
    let result: u32;
    // SAFETY: The interrupt clobbers r8 to r11 at most, and those are declared.
    unsafe {
        std::arch::asm!("int 0x80", inlateout("eax") number => result, lateout("r8") _, lateout("r9") _,
            lateout("r10") _, lateout("r11") _);
    }
    result.cast_signed()
}

#[expect(unsafe_code, reason = "a crash")]
fn crash() {
    // SAFETY: None; the fault is the point. The address is not null, which the compiler could see.
    unsafe { std::ptr::without_provenance_mut::<u8>(0xDEAD_0000).write_volatile(1) };
}

#[expect(unconditional_recursion, reason = "the fault is the point")]
fn recurse(depth: u64) -> u64 {
    std::hint::black_box(recurse(std::hint::black_box(depth) + 1)) + 1
}

fn text<T>(result: std::io::Result<T>) -> Result<T, String> {
    result
        .map_err(|error| error.raw_os_error().map_or_else(|| error.to_string(), |number| number.to_string()))
}

/// Sets a file's mode and time through a descriptor, as programs do that unpack archives.
fn restrict(path: &str, mode: u32, seconds: u64) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    let file = text(std::fs::File::options().write(true).open(path))?;
    text(file.set_permissions(std::fs::Permissions::from_mode(mode)))?;
    let time = std::time::UNIX_EPOCH + Duration::from_secs(seconds);
    text(file.set_times(std::fs::FileTimes::new().set_modified(time).set_accessed(time)))
}

/// A `struct msghdr` without anything in it.
static MESSAGE: Aligned = Aligned([0; 56]);

#[repr(align(8))]
struct Aligned([u8; 56]);

/// Tries to give the host a descriptor: the shared memory.
#[expect(unsafe_code, reason = "descriptors by number")]
fn send_descriptor() -> Result<(), String> {
    // SAFETY: The launcher opened both, and nothing here closes them.
    let (socket, memory) = unsafe { (BorrowedFd::borrow_raw(3), BorrowedFd::borrow_raw(4)) };
    cofferdam_guest::wire::packet::send(socket, b"here", &[memory]).map_err(|error| error.to_string())
}

/// The numbers that are open, of all that there can be. Asking which events there are is all that a guest without grants may ask.
fn open_descriptors() -> Vec<i32> {
    let mut fds: Vec<_> = (0..64).map(|fd| libc::pollfd { fd, events: 0, revents: 0 }).collect();
    raw(7, [fds.as_mut_ptr().addr() as u64, fds.len() as u64, 0, 0, 0, 0]);
    std::hint::black_box(&mut fds)
        .iter()
        .filter(|one| one.revents & libc::POLLNVAL == 0)
        .map(|one| one.fd)
        .collect()
}

/// Only a child comes here, and stays.
fn park() -> std::cmp::Ordering {
    loop {
        std::thread::park();
    }
}

fn threads(count: u32) -> u32 {
    let handles: Vec<_> = (0..count)
        .map_while(|_| {
            let work = || std::thread::sleep(Duration::from_millis(20));
            std::thread::Builder::new().stack_size(64 << 10).spawn(work).ok()
        })
        .collect();
    let made = u32::try_from(handles.len()).unwrap_or(u32::MAX);
    for handle in handles {
        let _ = handle.join();
    }
    made
}

/// What has effects beside the call: files, and other processes.
fn beyond_calls(guest: Guest) -> Guest {
    guest
        .function("call-and-mark", |(number, arguments, mark): (i64, Vec<u64>, String)| {
            let result = raw(number, std::array::from_fn(|index| arguments.get(index).copied().unwrap_or(0)));
            // Only a guest that goes on after the call gets here.
            let _ = std::fs::write(mark, "it went on");
            result
        })
        .function("digest", |(file,): (Handed,)| {
            let mut all = Vec::new();
            text(file.read().and_then(|mut file| file.read_to_end(&mut all))).map(|_| all)
        })
        .function("write-handed", |(file, bytes): (Handed, Vec<u8>)| {
            text(file.write().and_then(|mut file| file.write_all(&bytes)))
        })
        .function("write-what-is-read-only", |(file, bytes): (Handed, Vec<u8>)| {
            text(file.read().and_then(|mut file| file.write_all(&bytes)))
        })
        .function("reverse-stream", |(stream,): (Handed,)| {
            let mut bytes = [0; 3];
            text(stream.stream().and_then(|mut stream| {
                stream.read_exact(&mut bytes)?;
                bytes.reverse();
                stream.write_all(&bytes)
            }))
        })
        .function("wait-for-stream", |(stream,): (Handed,)| {
            text(stream.stream().and_then(|mut stream| stream.read(&mut [0; 8]))).map(|read| read as u64)
        })
        .function("send-descriptor", |(): ()| send_descriptor())
        .function("run", |(program, arguments): (String, Vec<String>)| {
            let run = std::process::Command::new(program).args(arguments).stdin(Stdio::inherit()).output();
            text(run.map(|output| (output.status.code().unwrap_or(-1), output.stdout)))
        })
        .function("fork-on-and-on", |(): ()| {
            (0..100).take_while(|_| raw(57, [0; 6]).cmp(&0).then_with(park).is_gt()).count() as u64
        })
}

fn main() -> ExitCode {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    beyond_calls(Guest::new())
        .interface(0xC0FF_EE00_0000_0001)
        .function("add", |(a, b): (u32, u32)| a.wrapping_add(b))
        .function("echo", |(bytes,): (Vec<u8>,)| bytes)
        .function("count", |(): ()| COUNTER.fetch_add(1, Ordering::Relaxed) + 1)
        .function("nap", |(milliseconds,): (u64,)| {
            std::thread::sleep(Duration::from_millis(milliseconds));
            COUNTER.fetch_add(1, Ordering::Relaxed) + 1
        })
        .function("panic", |(message,): (String,)| assert!(message.is_empty(), "{message}"))
        .function("abort", |(): ()| -> () { std::process::abort() })
        .function("exit", |(code,): (i32,)| -> () { std::process::exit(code) })
        .function("crash", |(): ()| crash())
        .function("recurse", |(): ()| recurse(0))
        .function("spin", |(): ()| -> () {
            loop {
                std::hint::spin_loop();
            }
        })
        .function("sleep", |(): ()| -> () {
            loop {
                std::thread::park();
            }
        })
        .function("allocate", |(bytes,): (u64,)| {
            let mut memory = vec![1_u8; usize::try_from(bytes).unwrap_or(usize::MAX)];
            std::hint::black_box(&mut memory).len() as u64
        })
        .function("call", |(number, arguments): (i64, Vec<u64>)| {
            raw(number, std::array::from_fn(|index| arguments.get(index).copied().unwrap_or(0)))
        })
        .function("int80", |(number,): (u32,)| interrupt(number))
        .function("read", |(path,): (String,)| text(std::fs::read(path)))
        .function("write", |(path, bytes): (String, Vec<u8>)| text(std::fs::write(path, bytes)))
        .function("remove", |(path,): (String,)| text(std::fs::remove_file(path)))
        .function("exists", |(path,): (String,)| text(std::fs::metadata(path).map(|found| found.len())))
        .function("list", |(path,): (String,)| {
            text(std::fs::read_dir(path).map(|entries| {
                let mut names: Vec<String> = entries
                    .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
                    .collect();
                names.sort();
                names
            }))
        })
        .function("link", |(from, to): (String, String)| text(std::fs::hard_link(from, to)))
        .function("variables", |(): ()| {
            std::env::vars().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
        })
        .function("arguments", |(): ()| std::env::args().collect::<Vec<_>>())
        .function("print", |(out, err): (Vec<u8>, Vec<u8>)| {
            text(std::io::stdout().write_all(&out))?;
            text(std::io::stdout().flush())?;
            text(std::io::stderr().write_all(&err))
        })
        .function("input", |(): ()| {
            let mut bytes = Vec::new();
            text(std::io::stdin().read_to_end(&mut bytes)).map(|_| bytes)
        })
        .function("connect", |(address, bytes): (String, Vec<u8>)| {
            let mut stream = text(std::net::TcpStream::connect(address))?;
            text(stream.write_all(&bytes))?;
            text(stream.shutdown(std::net::Shutdown::Write))?;
            let mut answer = Vec::new();
            text(stream.read_to_end(&mut answer)).map(|_| answer)
        })
        .function("connect-descriptor", |(descriptor, address): (u64, Vec<u8>)| {
            raw(42, [descriptor, address.as_ptr().addr() as u64, address.len() as u64, 0, 0, 0])
        })
        .function("bind-datagram", |(address,): (String,)| text(std::net::UdpSocket::bind(address)).map(drop))
        .function("send-to", |(call, address): (i64, Vec<u8>)| send_to(call, &address))
        .function("restrict", |(path, mode, seconds): (String, u32, u64)| restrict(&path, mode, seconds))
        .function("chmod-descriptor", |(descriptor, mode): (u64, u64)| {
            raw(91, [descriptor, mode, 0, 0, 0, 0])
        })
        .function("chmod-read-only", |(path,): (String,)| {
            use std::os::unix::fs::PermissionsExt;
            let file = text(std::fs::File::open(path))?;
            text(file.set_permissions(std::fs::Permissions::from_mode(0o777)))
        })
        .function("spin-behind", |(): ()| {
            std::thread::spawn(|| {
                loop {
                    std::hint::spin_loop();
                }
            });
        })
        .function("descriptors", |(): ()| open_descriptors())
        .function("tell-host", |(): ()| raw(46, [3, MESSAGE.0.as_ptr().addr() as u64, 0x4000, 0, 0, 0]))
        .function("threads", |(count,): (u32,)| threads(count))
        .function("thread-panic", |(): ()| std::thread::spawn(|| panic!("on a thread")).join().is_ok())
        .function("map-file", |(path,): (String,)| map_file(&path))
        .function("run-made-code", |(): ()| run_made_code())
        .serve()
}

/// Sends nothing to an address, on a new socket: with `sendto`, or with one message for the other calls.
fn send_to(call: i64, address: &[u8]) -> i64 {
    let (at, length) = (address.as_ptr().addr() as u64, address.len() as u64);
    let message = [at, length, 0, 0, 0, 0, 0, 0];
    let socket = raw(41, [2, 2, 0, 0, 0, 0]).cast_unsigned();
    if call == 44 {
        return raw(call, [socket, at, 0, 0, at, length]);
    }
    raw(call, [socket, message.as_ptr().addr() as u64, u64::from(call == 307), 0, 0, 0])
}

#[expect(unsafe_code, reason = "mapping a file")]
fn map_file(path: &str) -> Result<Vec<u8>, String> {
    let file = text(std::fs::File::open(path))?;
    let length = 16;
    // SAFETY: A new private mapping at an address of the kernel's choice.
    let start = unsafe {
        rustix::mm::mmap(
            std::ptr::null_mut(),
            length,
            rustix::mm::ProtFlags::READ,
            rustix::mm::MapFlags::PRIVATE,
            &file,
            0,
        )
    };
    let start = start.map_err(|error| error.raw_os_error().to_string())?;
    // SAFETY: The test's file has at least 16 bytes, and nobody changes it meanwhile.
    Ok(unsafe { std::slice::from_raw_parts(start.cast::<u8>(), length) }.to_vec())
}

/// Writes a function into memory, makes the memory executable, and calls it.
#[expect(unsafe_code, reason = "code made at run time")]
fn run_made_code() -> Result<u32, String> {
    // mov eax, 42; ret
    let code = [0xB8_u8, 42, 0, 0, 0, 0xC3];
    let writable = rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE;
    // SAFETY: A new private mapping at an address of the kernel's choice.
    let start = unsafe {
        rustix::mm::mmap_anonymous(std::ptr::null_mut(), 4096, writable, rustix::mm::MapFlags::PRIVATE)
    };
    let start = start.map_err(|error| error.raw_os_error().to_string())?;
    // SAFETY: The mapping is writable, new, and longer than the code.
    unsafe { std::ptr::copy_nonoverlapping(code.as_ptr(), start.cast(), code.len()) };
    let executable = rustix::mm::MprotectFlags::READ | rustix::mm::MprotectFlags::EXEC;
    // SAFETY: The mapping is this function's own.
    let changed = unsafe { rustix::mm::mprotect(start, 4096, executable) };
    changed.map_err(|error| error.raw_os_error().to_string())?;
    // SAFETY: The memory holds a function of this signature, and is executable.
    let function: extern "C" fn() -> u32 = unsafe { std::mem::transmute(start) };
    Ok(function())
}
