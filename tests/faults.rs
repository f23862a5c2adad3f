//! Hostile peers and faults, many times over: guests that lie at random, processes that are killed at any moment, a host that runs out
//! of what it needs, and a soak in which every call is accounted for once.
//!
//! Bounded, and the same for one seed. `COFFERDAM_FAULT_ROUNDS` makes it longer (the default is for CI), `COFFERDAM_FAULT_SEED` other.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod lines;
mod native;
mod rounds;
#[path = "static_guests.rs"]
mod static_guests;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use ambient_authority::ambient_authority;
use cofferdam::AuditLog;
use cofferdam::process::{
    CallError, FaultKind, ProcessCompartment, ProcessHost, ProcessPool, Restart, StartError, StartOptions,
};
use lines::Lines;
use native::{ALONE, Events, is_alone, is_root, launcher, planned};
use rounds::{Random, rounds, seed};
use rustix::process::{Pid, Resource, Rlimit, Signal};

/// Where that guest is, for the processes that tests start.
const GUEST: &str = "COFFERDAM_FAULT_GUEST";

/// The hostile guest of the escape suite.
fn hostile() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| match std::env::var_os(GUEST) {
        Some(built) => PathBuf::from(built),
        None => static_guests::static_guest("cofferdam-selftest-guest", "cofferdam-selftest-guest"),
    })
}

/// Each guest with a launcher of its own, so that the processes of one are counted. `process_server.rs` has those of a server.
fn host() -> &'static ProcessHost {
    static HOST: OnceLock<ProcessHost> = OnceLock::new();
    HOST.get_or_init(|| {
        let host = ProcessHost::from_path_ambient(&launcher(), ambient_authority());
        host.expect("cargo built the launcher").without_server()
    })
}

fn start(grants: &str, limits: &str, log: &AuditLog) -> ProcessCompartment {
    let folder = tempfile::tempdir().expect("a folder");
    ProcessCompartment::start_ambient(
        host(),
        &planned(grants, limits),
        hostile(),
        folder.path(),
        log,
        ambient_authority(),
    )
    .unwrap_or_else(|error| panic!("{error}"))
}

fn add(guest: &mut ProcessCompartment) -> Result<u32, CallError> {
    guest.call_typed("add", &(2_u32, 3_u32))
}

/// Whatever a guest answers, its caller gets a value of the type or a typed error, and a later call works.
#[test]
fn replies_at_random_never_harm_the_host() {
    let total = rounds(160);
    let threads: Vec<_> = (0..4_u64)
        .map(|thread| {
            std::thread::spawn(move || {
                let mut seen: BTreeMap<&'static str, u64> = BTreeMap::new();
                let mut guest = start("", "call-deadline = \"120ms\"", &AuditLog::discard());
                for round in 0..total / 4 {
                    let number = seed().wrapping_mul(1_000_003).wrapping_add(round * 4 + thread);
                    let lied = guest.call_typed::<_, Vec<u8>>("lie", &("fuzzed", number));
                    let kind = match lied {
                        Ok(_) => "value",
                        Err(CallError::Fault { .. }) => "fault",
                        Err(CallError::Deadline { .. }) => "deadline",
                        Err(CallError::Refused { .. }) => "refusal",
                        Err(other) => panic!("{number}: {other}"),
                    };
                    *seen.entry(kind).or_default() += 1;
                    // What it left on the ring can be taken for the next answer; the one after that has a fresh guest.
                    assert!((0..3).any(|_| add(&mut guest).is_ok_and(|sum| sum == 5)), "{number}");
                }
                seen
            })
        })
        .collect();
    let mut all: BTreeMap<&str, u64> = BTreeMap::new();
    for thread in threads {
        for (kind, count) in thread.join().expect("no panic of the host's") {
            *all.entry(kind).or_default() += count;
        }
    }
    writeln!(std::io::stdout(), "{total} replies at random: {all:?}").expect("a pipe");
    assert!(all.get("fault").is_some_and(|count| *count > 0), "{all:?}");
}

/// The same while another thread of the guest changes the bytes and the counters that the host reads.
#[test]
fn memory_that_changes_while_it_is_read_never_harms_the_host() {
    let total = rounds(24);
    let mut guest = start("thread = true", "call-deadline = \"2s\"", &AuditLog::discard());
    for round in 0..total {
        match guest.call_typed::<_, Vec<u8>>("lie", &("flips", seed().wrapping_add(round))) {
            Ok(bytes) => assert_eq!(bytes.len(), 1 << 18),
            Err(CallError::Fault { .. } | CallError::Deadline { .. } | CallError::Refused { .. }) => {}
            Err(other) => panic!("{round}: {other}"),
        }
        assert!((0..3).any(|_| add(&mut guest).is_ok_and(|sum| sum == 5)), "{round}");
    }
}

/// A field of `/proc/PID/stat` behind the name, counted from 0.
fn stat(pid: u32, field: usize) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next()?.split(' ').nth(field).map(str::to_owned)
}

/// All processes below this one, nearest first.
fn family() -> Vec<u32> {
    let all: Vec<(u32, u32)> = std::fs::read_dir("/proc")
        .expect("proc")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok()?.parse().ok())
        .filter_map(|pid| Some((pid, stat(pid, 1)?.parse().ok()?)))
        .collect();
    let (mut found, mut last) = (Vec::new(), vec![std::process::id()]);
    while !last.is_empty() {
        last = all.iter().filter(|(_, parent)| last.contains(parent)).map(|(pid, _)| *pid).collect();
        found.extend(&last);
    }
    found
}

fn kill(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may be gone already.
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("proc").count()
}

/// Waits until nothing is below this process.
fn is_childless() -> bool {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        if family().is_empty() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

/// Run alone: it kills whatever is below this process.
#[test]
fn alone_kill_at_any_moment() {
    if !is_alone() {
        return;
    }
    let mut random = Random(seed());
    let mut guest = start("", "call-deadline = \"10s\"", &AuditLog::discard());
    add(&mut guest).expect("it works");
    drop(guest);
    let before = descriptors();
    // In a call: each of the three processes in turn, after any time.
    for round in 0..rounds(30) {
        let log = Lines::default();
        let mut guest = start("", "call-deadline = \"10s\"", &AuditLog::to_writer(log.clone()));
        let victims = family();
        assert_eq!(victims.len(), 3, "the launcher, process 1 inside, and the guest");
        let place = usize::try_from(round % 3).expect("small");
        let after = Duration::from_micros(random.below(3000));
        let (ended, end) = std::sync::mpsc::channel();
        let killer = std::thread::spawn(move || {
            std::thread::sleep(after);
            kill(victims[place]);
            let mut killed = 1;
            // It may have been killed before the call began, which then has a fresh one.
            while end.recv_timeout(Duration::from_millis(50)) == Err(RecvTimeoutError::Timeout) {
                let fresh = family();
                if fresh.len() == 3 && fresh.iter().all(|pid| !victims.contains(pid)) {
                    // It starts. The call has ten seconds.
                    std::thread::sleep(Duration::from_secs(1));
                    kill(fresh[place]);
                    killed += 1;
                    break;
                }
            }
            killed
        });
        let begun = Instant::now();
        let error = guest.call_typed::<_, i64>("attempt", &("sleep", vec!["milliseconds=0".to_owned()]));
        ended.send(()).ok();
        let killed = killer.join().expect("no panic");
        match error {
            Err(CallError::Fault { kind: FaultKind::Vanished | FaultKind::Signal(9, _), .. }) => {}
            other => panic!("{round}: {other:?}"),
        }
        assert!(begun.elapsed() < Duration::from_secs(8), "its caller waited for its deadline");
        assert_eq!(log.events("fault").len(), killed, "{}", log.text());
        assert_eq!(add(&mut guest).expect("the next call works"), 5);
        drop(guest);
        assert!(is_childless(), "{round}");
    }
    // While it starts.
    let (mut started, mut failed) = (0, 0);
    for round in 0..rounds(30) {
        let going = AtomicBool::new(true);
        let after = Duration::from_micros(random.below(6000));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(after);
                while going.load(Ordering::Relaxed) {
                    if let Some(pid) = family().pop() {
                        kill(pid);
                        return;
                    }
                }
            });
            let folder = tempfile::tempdir().expect("a folder");
            let outcome = ProcessCompartment::start_ambient(
                host(),
                &planned("", ""),
                hostile(),
                folder.path(),
                &AuditLog::discard(),
                ambient_authority(),
            );
            going.store(false, Ordering::Relaxed);
            match outcome {
                Ok(_) => started += 1,
                Err(
                    StartError::Ended(_)
                    | StartError::Host { .. }
                    | StartError::Layer { .. }
                    | StartError::Handshake { .. },
                ) => {
                    failed += 1;
                }
                Err(other) => panic!("{round}: {other}"),
            }
        });
        assert!(is_childless(), "{round}");
    }
    writeln!(std::io::stdout(), "{started} started before they were killed, {failed} did not")
        .expect("a pipe");
    assert!(failed > 0, "no start was hit");
    assert_eq!(descriptors(), before);
}

fn passes_alone(test: &str) {
    let output = std::process::Command::new(std::env::current_exe().expect("a test has a program"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(ALONE, "1")
        .env(GUEST, hostile())
        .output()
        .expect("a test has a program");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    writeln!(std::io::stdout(), "{text}").expect("a pipe");
}

#[test]
fn each_process_is_killed_at_any_moment() {
    passes_alone("alone_kill_at_any_moment");
}

/// Run alone: it takes from its own process what starts need.
#[test]
fn alone_without_what_a_start_needs() {
    if !is_alone() {
        return;
    }
    let log = Lines::default();
    let try_start = || {
        let folder = tempfile::tempdir().expect("a folder");
        let started = ProcessCompartment::start_ambient(
            host(),
            &planned("", ""),
            hostile(),
            folder.path(),
            &AuditLog::to_writer(log.clone()),
            ambient_authority(),
        );
        started.and_then(|mut guest| Ok(add(&mut guest)?))
    };
    assert_eq!(try_start().expect("it works"), 5);
    let before = descriptors();
    let with_limit = |resource: Resource, most: u64| {
        let old = rustix::process::getrlimit(resource);
        let new = Rlimit { current: Some(most), maximum: old.maximum };
        rustix::process::setrlimit(resource, new).expect("lower");
        let outcome = try_start();
        rustix::process::setrlimit(resource, old).expect("as before");
        outcome
    };
    // Every number of descriptors that is too small is an error, and the first that is enough is none.
    let open = descriptors() as u64;
    let (mut failed, mut worked) = (0, 0);
    for more in 0..40 {
        match with_limit(Resource::Nofile, open + more) {
            Ok(sum) => {
                assert_eq!(sum, 5);
                worked += 1;
            }
            Err(
                StartError::Host { .. }
                | StartError::Program { .. }
                | StartError::Layer { .. }
                | StartError::Handshake { .. }
                | StartError::Ended(_),
            ) => {
                failed += 1;
            }
            Err(other) => panic!("{more} descriptors more: {other}"),
        }
        assert!(is_childless(), "{more}");
        assert_eq!(descriptors(), before, "{more}");
    }
    writeln!(std::io::stdout(), "with few descriptors {failed} did not start, {worked} did").expect("a pipe");
    assert!(failed > 3 && worked > 0);
    if !is_root() {
        // As many processes as there are: not one more.
        assert!(with_limit(Resource::Nproc, 1).is_err());
        assert!(is_childless());
    }
    assert_eq!(try_start().expect("it works again"), 5);
    assert!(!log.events("refused").is_empty());
    // A log on a full disk: nothing starts unrecorded.
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let folder = tempfile::tempdir().expect("a folder");
    let started = ProcessCompartment::start_ambient(
        host(),
        &planned("", ""),
        hostile(),
        folder.path(),
        &AuditLog::to_writer(full),
        ambient_authority(),
    );
    assert!(matches!(started, Err(StartError::Audit(_))));
    assert!(is_childless());
}

#[test]
fn a_host_without_what_a_start_needs_says_so_and_goes_on_later() {
    passes_alone("alone_without_what_a_start_needs");
}

/// Descriptors of this process, once what a start leaves to its threads is done: the same ten times in a row.
fn settled() -> usize {
    let mut last = descriptors();
    let mut same = 0;
    for _ in 0..500 {
        std::thread::sleep(Duration::from_millis(10));
        let now = descriptors();
        same = if now == last { same + 1 } else { 0 };
        last = now;
        if same == 10 {
            break;
        }
    }
    last
}

/// Run alone: it counts what is left.
#[test]
fn alone_crash_and_restart() {
    if !is_alone() {
        return;
    }
    let mut random = Random(seed());
    let mut guest = start("", "call-deadline = \"20s\", memory = \"32MiB\"", &AuditLog::discard());
    add(&mut guest).expect("it works");
    let (before, threads) = (settled(), std::fs::read_dir("/proc/self/task").expect("proc").count());
    let memory = || {
        let status = std::fs::read_to_string("/proc/self/status").expect("proc");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("it has one").to_owned();
        line.split_whitespace().nth(1).and_then(|text| text.parse::<u64>().ok()).expect("a number")
    };
    let mut first = 0;
    let total = rounds(120);
    for round in 0..total {
        let way =
            ["dies-before", "dies-in-a-header", "dies-in-a-reply", "crashes", "no-kind", "panics", "counter"]
                [usize::try_from(random.below(7)).expect("small")];
        let lied = guest.call_typed::<_, u32>("lie", &(way, 0x8000_0000_u64));
        assert!(matches!(lied, Err(CallError::Fault { .. })), "{round}: {way}: {lied:?}");
        assert_eq!(add(&mut guest).expect("the next call works"), 5);
        if round == total / 3 {
            first = memory();
        }
    }
    let last = memory();
    assert_eq!(settled(), before);
    assert_eq!(std::fs::read_dir("/proc/self/task").expect("proc").count(), threads);
    assert_eq!(family().len(), 3, "one guest and its launcher");
    assert!(last < first + 8192, "{first} KiB after a third, {last} KiB at the end");
    writeln!(
        std::io::stdout(),
        "{total} crashes and restarts; {first} KiB after a third, {last} KiB at the end"
    )
    .expect("a pipe");
}

#[test]
fn crashes_and_restarts_leave_nothing() {
    passes_alone("alone_crash_and_restart");
}

/// Eight threads call a pool of guests that answer, lie, crash and hang. Each call is made once and ends once: as a value that is its
/// own, or as an error whose fault the log has.
#[test]
fn every_call_of_a_soak_is_accounted_for_once() {
    const THREADS: u64 = 8;
    let each = rounds(40);
    let folder = tempfile::tempdir().expect("a folder");
    let log = Lines::default();
    let options = StartOptions { restart: Restart::OnNextCall, ..StartOptions::default() };
    let pool = ProcessPool::start_ambient(
        host(),
        &planned("", "call-deadline = \"60s\""),
        hostile(),
        folder.path(),
        &AuditLog::to_writer(log.clone()),
        options,
        3,
        ambient_authority(),
    )
    .unwrap_or_else(|error| panic!("{error}"));
    let [values, violations, faults] = [0, 1, 2].map(|_| AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (pool, values, violations, faults) = (&pool, &values, &violations, &faults);
            scope.spawn(move || {
                let mut random = Random(seed().wrapping_add(thread));
                for round in 0..each {
                    let token = u32::try_from(thread * 1_000_000 + round).expect("small");
                    match random.below(10) {
                        0 => match pool.call_typed::<_, u32>("lie", &("dies-in-a-reply", 0_u64)) {
                            Err(CallError::Fault { kind: FaultKind::Exit(7), .. }) => {
                                faults.fetch_add(1, Ordering::SeqCst)
                            }
                            other => panic!("{other:?}"),
                        },
                        1 => match pool.call_typed::<_, u32>("lie", &("no-kind", 0_u64)) {
                            Err(CallError::Fault { kind: FaultKind::Protocol(_), .. }) => {
                                faults.fetch_add(1, Ordering::SeqCst)
                            }
                            other => panic!("{other:?}"),
                        },
                        2 => {
                            match pool.call_typed::<_, i64>("attempt", &("trace-me", Vec::<String>::new())) {
                                Err(CallError::Violation { violation, .. }) if violation.call == "ptrace" => {
                                    violations.fetch_add(1, Ordering::SeqCst)
                                }
                                other => panic!("{other:?}"),
                            }
                        }
                        _ => match pool.call_typed::<_, u32>("add", &(token, 1_u32)) {
                            Ok(sum) => {
                                assert_eq!(sum, token + 1, "another call's answer");
                                values.fetch_add(1, Ordering::SeqCst)
                            }
                            other => panic!("{other:?}"),
                        },
                    };
                }
            });
        }
    });
    let count = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
    assert_eq!(count(&values) + count(&violations) + count(&faults), THREADS * each);
    assert_eq!(log.events("violation").len() as u64, count(&violations));
    assert_eq!(log.events("fault").len() as u64, count(&faults));
    writeln!(
        std::io::stdout(),
        "{} calls: {} values, {} violations, {} faults",
        THREADS * each,
        count(&values),
        count(&violations),
        count(&faults)
    )
    .expect("a pipe");
}

/// A granted folder is exchanged with a link while compartments start. What a guest sees is the folder that the host found, whole, or
/// the start fails; it is never a folder that became the name's meaning after the host had looked.
#[test]
fn a_granted_path_that_is_exchanged_at_any_moment_is_one_or_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    for (name, text) in [("one", "one"), ("two", "two")] {
        std::fs::create_dir(at(name)).expect("a folder");
        std::fs::write(at(name).join("file"), text).expect("a file");
    }
    std::fs::rename(at("one"), at("data")).expect("renamed");
    let going = AtomicBool::new(true);
    let (mut started, mut failed) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while going.load(Ordering::Relaxed) {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                let _ =
                    rustix::fs::renameat_with(rustix::fs::CWD, at("data"), rustix::fs::CWD, at("two"), flags);
            }
        });
        for _ in 0..rounds(60) {
            let outcome = ProcessCompartment::start_ambient(
                host(),
                &planned("filesystem = { read = [\"data\"] }", ""),
                hostile(),
                folder.path(),
                &AuditLog::discard(),
                ambient_authority(),
            );
            match outcome {
                Ok(mut guest) => {
                    started += 1;
                    let mut read =
                        || guest.call_typed::<_, i64>("attempt", &("read-granted", Vec::<String>::new()));
                    assert_eq!(read().expect("an answer"), 3, "one of the two folders, whole");
                }
                Err(StartError::Layer { detail, .. })
                    if detail.contains("another file than the host found") =>
                {
                    failed += 1;
                }
                Err(StartError::Path { .. }) => failed += 1,
                Err(other) => panic!("{other}"),
            }
        }
        going.store(false, Ordering::Relaxed);
    });
    writeln!(std::io::stdout(), "{started} started, {failed} found another folder").expect("a pipe");
    assert!(started > 0);
}

/// The host's own link leads into a folder that the guest may write, and there the guest has put a link to somewhere else. At the next
/// start that would be bound, with the host's authority: neither the name nor what it leads to lies in the guest's folder.
#[test]
fn a_link_that_a_guest_could_have_made_is_not_followed_for_a_grant() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    for name in ["work", "work/cache", "private"] {
        std::fs::create_dir(at(name)).expect("a folder");
    }
    std::os::unix::fs::symlink("work/cache", at("alias")).expect("a link");
    let try_start = || {
        ProcessCompartment::start_ambient(
            host(),
            &planned("filesystem = { read = [\"alias\"], write = [\"work\"] }", ""),
            hostile(),
            folder.path(),
            &AuditLog::discard(),
            ambient_authority(),
        )
    };
    assert!(try_start().is_ok(), "the host's own link is followed");
    std::fs::remove_dir(at("work/cache")).expect("empty");
    std::os::unix::fs::symlink(at("private"), at("work/cache")).expect("a link");
    match try_start() {
        Err(StartError::Path { path, message, .. }) => {
            assert!(path == "alias" && message.contains("which a guest may write"), "{path}: {message}");
        }
        other => panic!("{other:?}"),
    }
}
