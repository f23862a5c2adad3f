//! What a process compartment costs as a ratio to what the machine itself takes for the same, measured in turns in one run:
//!
//! - a warm call, to two threads that hand a word back and forth as the ring does: spin, then futex;
//! - bytes there and back, to copying them out of and into memory that is shared, and a hand-over each way;
//! - a start, to a raw clone into the same namespaces that installs the same kind of filter and runs the same program.
//!
//! `cargo bench -p cofferdam-launcher --bench ratios`. Prints the median of the ratios and their quartiles, and the load.
#![allow(missing_docs, reason = "a bench names itself")]
#![expect(
    unsafe_code,
    clippy::print_stdout,
    reason = "the raw baselines are raw, and it prints what it measured"
)]

use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU32, fence};
use std::time::{Duration, Instant};

use ambient_authority::ambient_authority;
use cofferdam::manifest::{Files, Form, ManifestText, ProjectBuilder, parse, resolve};
use cofferdam::process::{ProcessCompartment, ProcessHost, StartOptions};
use cofferdam::{AuditLog, CompartmentPlan, plan};
use rustix::thread::futex;

const MANIFEST: &str = "[holds]\n[crates.app]\ndependencies = [\"guest\"]\n[crates.guest]\n\
                        compartment = { backend = \"process\", limits = { memory = \"256MiB\" } }\n";

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

struct Built {
    folder: PathBuf,
    plan: CompartmentPlan,
}

impl Built {
    fn new() -> Self {
        let target = root().join("target/guests");
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--locked", "--release", "--target", "x86_64-unknown-linux-gnu"])
            .args(["-p", "cofferdam-test-guests", "-p", "cofferdam-launcher", "--target-dir"])
            .arg(&target)
            .env("RUSTFLAGS", "-C target-feature=+crt-static")
            .current_dir(root())
            .status();
        assert!(status.expect("cargo runs the bench").success());
        let mut files = Files::default();
        let text = ManifestText::from_bytes("capabilities.toml", MANIFEST.into()).expect("small");
        let file = files.add(text);
        let manifest = parse(file, files.get(file), Form::Standalone).expect("right");
        let project = ProjectBuilder::standalone(files, manifest).expect("a graph");
        let graph = resolve(&project).granted(&project).expect("no denials");
        let plan = plan(&project, &graph).expect("the pages are right").compartments.remove(0);
        Self { folder: target.join("x86_64-unknown-linux-gnu/release"), plan }
    }

    fn host(&self) -> ProcessHost {
        let launcher = self.folder.join("cofferdam-launcher");
        ProcessHost::from_path_ambient(&launcher, ambient_authority()).expect("built")
    }

    fn start(&self, host: &ProcessHost, options: StartOptions) -> ProcessCompartment {
        let (guest, log) = (self.folder.join("fixture"), AuditLog::discard());
        let (root, ambient) = (root(), ambient_authority());
        ProcessCompartment::start_with_ambient(host, &self.plan, &guest, &root, &log, options, ambient)
            .unwrap_or_else(|error| panic!("{error}"))
    }
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
    fn put(&self, value: u32) {
        self.value.store(value, Release);
        fence(SeqCst);
        if self.sleeps.0.load(Relaxed) != 0 {
            let _ = futex::wake(&self.value, futex::Flags::empty(), 1);
        }
    }

    fn wait(&self, value: u32) {
        for _ in 0..1000 {
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

/// The other side of the baselines: answers each word, and copies as many bytes as the guest must.
struct Other {
    words: Arc<(Word, Word)>,
    at: u32,
    thread: Option<std::thread::JoinHandle<()>>,
    shared: Arc<[Shared; 2]>,
}

/// Memory that both sides see, as in the floor of two plain copies: one side at a time, ordered by the words.
struct Shared(std::cell::UnsafeCell<Vec<u8>>);

// SAFETY: Each is used by one thread at a time, and the words order these uses.
unsafe impl Sync for Shared {}

impl Other {
    fn new(bytes: usize) -> Self {
        let words = Arc::<(Word, Word)>::default();
        let shared = Arc::new([(); 2].map(|()| Shared(std::cell::UnsafeCell::new(vec![1; bytes]))));
        let (theirs, memory) = (Arc::clone(&words), Arc::clone(&shared));
        let thread = std::thread::spawn(move || {
            let mut own = vec![0; bytes];
            for at in 1.. {
                theirs.0.wait(at);
                if theirs.1.value.load(Acquire) == u32::MAX {
                    return;
                }
                // SAFETY: The other side waits for the word below.
                own.copy_from_slice(unsafe { &*memory[0].0.get() });
                // SAFETY: As above.
                unsafe { &mut *memory[1].0.get() }.copy_from_slice(std::hint::black_box(&own));
                theirs.1.put(at);
            }
        });
        Self { words, at: 0, thread: Some(thread), shared }
    }

    fn call(&mut self, bytes: &[u8], back: &mut [u8]) {
        // SAFETY: The other side waits for the word below.
        unsafe { &mut *self.shared[0].0.get() }.copy_from_slice(bytes);
        self.at += 1;
        self.words.0.put(self.at);
        self.words.1.wait(self.at);
        // SAFETY: The other side waits for the next word.
        back.copy_from_slice(unsafe { &*self.shared[1].0.get() });
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.words.1.value.store(u32::MAX, SeqCst);
        self.words.0.put(self.at + 1);
        drop(self.thread.take().map(std::thread::JoinHandle::join));
    }
}

fn timed(rounds: u32, mut one: impl FnMut()) -> f64 {
    let begun = Instant::now();
    for _ in 0..rounds {
        one();
    }
    begun.elapsed().as_secs_f64() * 1e6 / f64::from(rounds)
}

fn quartiles(mut all: Vec<f64>) -> [f64; 3] {
    all.sort_by(f64::total_cmp);
    [all[all.len() / 4], all[all.len() / 2], all[all.len() * 3 / 4]]
}

/// Measures both in turns and prints a line.
fn compare(name: &str, batches: u32, rounds: u32, mut ours: impl FnMut(), mut raw: impl FnMut()) {
    timed(rounds, &mut ours);
    timed(rounds, &mut raw);
    let both: Vec<(f64, f64)> =
        (0..batches).map(|_| (timed(rounds, &mut ours), timed(rounds, &mut raw))).collect();
    let [_, own, _] = quartiles(both.iter().map(|(own, _)| *own).collect());
    let [_, floor, _] = quartiles(both.iter().map(|(_, floor)| *floor).collect());
    let [low, ratio, high] = quartiles(both.iter().map(|(own, floor)| own / floor).collect());
    println!("{name:<44} {own:>10.2} us {floor:>10.2} us   {ratio:.2} [{low:.2}-{high:.2}]");
}

/// A clone into the namespaces of a guest that installs a filter and runs a program, and its end.
fn raw_start(program: &OwnedFd, filter: &[libc::sock_filter]) {
    let flags = libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWCGROUP
        | libc::SIGCHLD;
    let arguments = [c"guest".as_ptr(), std::ptr::null()];
    let header = libc::sock_fprog {
        len: u16::try_from(filter.len()).expect("a small filter"),
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: A fork, whose child only makes system calls on what exists, and runs a program or ends.
    let child =
        unsafe { libc::syscall(libc::SYS_clone, i64::from(flags), 0_usize, 0_usize, 0_usize, 0_usize) };
    if child == 0 {
        // SAFETY: As above.
        unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const header);
            let none = [std::ptr::null::<libc::c_char>()];
            let (path, flags) = (c"".as_ptr(), libc::AT_EMPTY_PATH);
            libc::syscall(
                libc::SYS_execveat,
                program.as_raw_fd(),
                path,
                arguments.as_ptr(),
                none.as_ptr(),
                flags,
            );
            libc::_exit(1);
        }
    }
    assert!(child > 0, "namespaces are there");
    let mut status = 0;
    // SAFETY: The child is this function's own.
    unsafe { libc::waitpid(i32::try_from(child).expect("a number"), &raw mut status, 0) };
}

fn main() {
    // `cargo test --benches` only wants to know that it is there.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let built = Built::new();
    let host = built.host();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load {}", load.trim());
    println!("{:<44} {:>13} {:>13}   ratio [quartiles]", "", "ours", "raw");

    let mut guest = built.start(&host, StartOptions::default());
    let arguments = [1, 0, 0, 0, 2, 0, 0, 0];
    let mut result = Vec::new();
    let mut other = Other::new(0);
    compare(
        "warm call / spin-then-futex ping-pong",
        60,
        5000,
        || guest.call_into("add", &arguments, &mut result).expect("a result"),
        || other.call(&[], &mut []),
    );
    for (bytes, rounds) in [(4 << 10, 500), (64 << 10, 100), (1 << 20, 20)] {
        let arguments = cofferdam_wire::encode(&(vec![7_u8; bytes],)).expect("small");
        let (plain, mut back) = (vec![7_u8; bytes], vec![0_u8; bytes]);
        let mut other = Other::new(bytes);
        compare(
            &format!("{} KiB there and back / four copies", bytes >> 10),
            40,
            rounds,
            || guest.call_into("echo", &arguments, &mut result).expect("a result"),
            || other.call(&plain, &mut back),
        );
    }
    drop(guest);

    let program = built.folder.join("fixture");
    let bytes = std::fs::read(&program).expect("built");
    let name = CString::from(c"raw");
    // SAFETY: A new descriptor of memory, with a name that lives through the call.
    let memory = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
    // SAFETY: It was just made, and nobody else owns it.
    let memory = unsafe { OwnedFd::from_raw_fd(memory) };
    rustix::io::write(&memory, &bytes).expect("memory");
    // As many instructions as the baseline's filter, each looked at, and then all is allowed.
    let load = libc::sock_filter { code: 0x20, jt: 0, jf: 0, k: 0 };
    let never = libc::sock_filter { code: 0x15, jt: 0, jf: 0, k: 0xFFFF_0000 };
    let allow = libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: 0x7FFF_0000 };
    let mut filter = vec![load];
    filter.extend(std::iter::repeat_n(never, 250));
    filter.push(allow);
    let pause = || std::thread::sleep(Duration::from_millis(8));
    for (name, host) in [
        ("start, first call and end", built.host()),
        ("the same without a server", built.host().without_server()),
    ] {
        drop(built.start(&host, StartOptions::default()));
        compare(
            &format!("{name} / raw clone, filter, exec"),
            60,
            1,
            || {
                let mut guest = built.start(&host, StartOptions::default());
                guest.call_into("add", &arguments, &mut result).expect("a result");
            },
            || raw_start(&memory, &filter),
        );
    }
    // The next is ready again after a pause, which is not measured.
    let mut alone = Vec::new();
    for _ in 0..60 {
        pause();
        let begun = Instant::now();
        let mut guest = built.start(&host, StartOptions::default());
        guest.call_into("add", &arguments, &mut result).expect("a result");
        alone.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    let [low, middle, high] = quartiles(alone);
    println!("start and first call, one ready                {middle:>7.0} us [{low:.0}-{high:.0}]");
    let options = StartOptions { calls_max: Some(1), spare: true, ..StartOptions::default() };
    let mut pooled = built.start(&host, options);
    let mut spare = Vec::new();
    for _ in 0..60 {
        std::thread::sleep(Duration::from_millis(30));
        let begun = Instant::now();
        pooled.call_into("add", &arguments, &mut result).expect("a result");
        spare.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    let [low, middle, high] = quartiles(spare);
    println!("a call that gets the spare guest               {middle:>7.0} us [{low:.0}-{high:.0}]");
}
