//! Process compartments: each grant works and its absence stops it; each limit is tripped; each way to fail is told apart; the
//! host and the next call live on.
//!
//! The guests are programs of `tests/native-guests`, built statically here. When the tests run as root, all of them run once more as an
//! ordinary user.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod lines;
mod native;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ambient_authority::ambient_authority;
use cofferdam::AuditLog;
use cofferdam::process::limits::REFUSALS_MAX;
use cofferdam::process::{
    CallError, FaultKind, Open, ProcessCompartment, ProcessHost, Restart, StartError, StartOptions,
    TakenBack, Tier, examine_ambient,
};
use native::{
    Events, Guest, as_an_ordinary_user, folder_with_file, guest, host, is_root, launcher, planned, refused,
    start, start_in, try_start, violation,
};

/// The fixture's interface, as it says itself.
const INTERFACE: u64 = 0xC0FF_EE00_0000_0001;

#[test]
fn a_call_gives_its_result() {
    let mut guest = start("", "");
    assert_eq!(guest.add(40, 2).expect("a result"), 42);
    assert_eq!(guest.add(u32::MAX, 1).expect("a result"), 0);
    assert!(guest.compartment.functions().contains(&"echo".to_owned()));
    assert_eq!(guest.compartment.edge(), "app -> guest");
}

// ---- calls

#[test]
fn bytes_of_every_size_come_back_as_they_went() {
    let mut guest = start("", "memory = \"256MiB\"");
    for length in [0, 1, 7, 8, 9, 4096, (256 << 10) - 24, 256 << 10, 3 << 20, 16 << 20] {
        let bytes: Vec<u8> = (0..=250).cycle().take(length).collect();
        let back: Vec<u8> = guest.compartment.call_typed("echo", &(&bytes,)).expect("a result");
        assert!(back == bytes, "{length}");
    }
}

#[test]
fn state_is_kept_between_calls_and_lost_with_the_guest() {
    let mut guest = start("", "");
    for expected in 1..=3_u64 {
        assert_eq!(guest.compartment.call_typed::<_, u64>("count", &()).expect("a result"), expected);
    }
    guest.fails("crash");
    assert_eq!(guest.compartment.call_typed::<_, u64>("count", &()).expect("a result"), 1);
}

#[test]
fn a_wrong_name_or_wrong_arguments_leave_the_guest_alone() {
    let mut guest = start("", "");
    guest.compartment.call_typed::<_, u64>("count", &()).expect("a result");
    let error = guest.compartment.call("no-such", &[]).expect_err("no such function");
    assert!(
        matches!(&error, CallError::UnknownFunction { known, .. } if known.contains(&"add".to_owned())),
        "{error}"
    );
    let long = vec![0xFF; 300_001];
    for wrong in [&[1_u8, 2][..], &long] {
        let error = guest.compartment.call("add", wrong).expect_err("of another type");
        assert!(
            matches!(&error, CallError::Refused { message, .. } if message.contains("arguments")),
            "{error}"
        );
        // Whatever was not wanted of them is not taken for the next call.
        assert_eq!(guest.compartment.call_typed::<_, u32>("add", &(1_u32, 2_u32)).expect("a sum"), 3);
    }
    // A result of another type than the caller expects ends it.
    let error = guest.compartment.call_typed::<_, String>("add", &(0xFFFF_u32, 0_u32)).expect_err("a number");
    assert!(matches!(error, CallError::Fault { kind: FaultKind::Protocol(_), .. }), "{error}");
    guest.lives();
}

#[test]
fn arguments_have_a_largest_size() {
    let mut guest = start("", "");
    let error = guest.compartment.call("echo", &vec![0; (64 << 20) + 1]).expect_err("too large");
    assert!(matches!(error, CallError::Usage { .. }), "{error}");
    guest.lives();
}

// ---- every way to fail

#[test]
fn each_way_to_die_has_its_own_name() {
    let mut guest = start("", "");
    let mut kind = |function: &str| match guest.fails(function) {
        CallError::Fault { kind, .. } => kind,
        other => panic!("{function}: {other}"),
    };
    assert!(matches!(kind("crash"), FaultKind::Signal(11, _)));
    assert!(matches!(kind("abort"), FaultKind::Signal(6, _)));
    assert_eq!(kind("recurse"), FaultKind::StackOverflow);
    let error = guest.compartment.call_typed::<_, ()>("exit", &(3,)).expect_err("it exits");
    assert!(matches!(error, CallError::Fault { kind: FaultKind::Exit(3), .. }), "{error}");
    let error =
        guest.compartment.call_typed::<_, ()>("panic", &("the \x1b[31mreason",)).expect_err("it panics");
    let text = error.to_string();
    assert!(text.contains("the \\u{1b}[31mreason") && text.contains("fixture.rs"), "{text}");
    let kinds: Vec<_> = guest.log.events("fault").iter().map(|event| event["kind"].clone()).collect();
    assert_eq!(kinds, ["signal", "signal", "stack", "exit", "panic"]);
    guest.lives();
}

#[test]
fn a_panic_on_another_thread_ends_the_call() {
    // With a number of threads only where the kernel counts them.
    let grant = if is_root() { "thread = true" } else { "thread = { max = 1 }" };
    let mut guest = start(grant, "");
    let error = guest.compartment.call_typed::<_, bool>("thread-panic", &()).expect_err("it panics");
    assert!(
        matches!(&error, CallError::Fault { kind: FaultKind::Panic(text), .. } if text.contains("on a thread")),
        "{error}"
    );
    guest.lives();
}

#[test]
fn memory_is_bounded_and_running_out_of_it_has_a_name() {
    let mut guest = start("", "memory = \"16MiB\"");
    assert_eq!(guest.compartment.call_typed::<_, u64>("allocate", &(8_u64 << 20,)).expect("fits"), 8 << 20);
    let error = guest.compartment.call_typed::<_, u64>("allocate", &(64_u64 << 20,)).expect_err("too much");
    assert!(matches!(error, CallError::Fault { kind: FaultKind::OutOfMemory, .. }), "{error}");
    guest.lives();
    let mut guest = start("", "memory = \"128MiB\"");
    assert_eq!(guest.compartment.call_typed::<_, u64>("allocate", &(64_u64 << 20,)).expect("fits"), 64 << 20);
}

#[test]
fn a_guest_that_does_not_answer_is_ended_at_the_deadline() {
    let mut guest = start("", "call-deadline = \"200ms\"");
    for function in ["spin", "sleep"] {
        let begun = Instant::now();
        let error = guest.fails(function);
        let took = begun.elapsed();
        assert!(matches!(error, CallError::Deadline { .. }), "{error}");
        assert!(took >= Duration::from_millis(200) && took < Duration::from_secs(5), "{took:?}");
    }
    assert_eq!(guest.log.events("fault").len(), 2, "{}", guest.log.text());
    guest.lives();
}

#[test]
fn processor_time_runs_out_over_several_calls() {
    let mut guest = start("", "cpu-time = \"300ms\", call-deadline = \"10s\"");
    guest.lives();
    for error in [guest.fails("spin"), guest.add(1, 1).expect_err("nothing is left")] {
        assert!(matches!(error, CallError::Limit { what: "processor time", .. }), "{error}");
    }
    let fault = &guest.log.events("fault")[0];
    assert_eq!((&fault["kind"], &fault["detail"]), (&"limit".into(), &"processor time".into()));
    // A deadline that is shorter than what is left is a deadline.
    let mut guest = start("", "cpu-time = \"1min\", call-deadline = \"200ms\"");
    let error = guest.fails("spin");
    assert!(matches!(error, CallError::Deadline { .. }), "{error}");
}

#[test]
fn processor_time_runs_out_between_calls_too() {
    let mut guest = start("thread = true", "cpu-time = \"1s\"");
    guest.compartment.call_typed::<_, ()>("spin-behind", &()).expect("an answer");
    let begun = Instant::now();
    while guest.log.events("fault").is_empty() {
        assert!(begun.elapsed() < Duration::from_mins(1), "it computes on and on");
        std::thread::sleep(Duration::from_millis(20));
    }
    let fault = &guest.log.events("fault")[0];
    assert_eq!((&fault["kind"], &fault["detail"]), (&"limit".into(), &"processor time".into()));
}

#[test]
fn a_liar_is_caught_and_the_next_call_works() {
    let start = || {
        let folder = tempfile::tempdir().expect("a folder");
        let limits = "call-deadline = \"300ms\"";
        try_start("liar", "", limits, folder, StartOptions::default())
            .0
            .unwrap_or_else(|error| panic!("{error}"))
    };
    let mut guest = start();
    for (way, expected) in [
        ("other-call", "protocol"),
        ("no-kind", "protocol"),
        ("too-long", "protocol"),
        ("half-a-frame", "deadline"),
        ("counter", "protocol"),
        ("calls-its-host", "protocol"),
        ("not-a-number", "protocol"),
        ("dies-in-a-reply", "exit"),
        ("floods", "protocol"),
        ("terminal-escapes", "panic"),
        // Of a reply that is decoded while it comes.
        ("half-a-long-frame", "deadline"),
        ("dies-in-a-long-reply", "exit"),
        ("long-nonsense", "protocol"),
    ] {
        let error = if way.contains("long-") {
            guest.compartment.call_typed::<_, Vec<u8>>(way, &()).expect_err(way)
        } else {
            guest.compartment.call_typed::<_, u32>(way, &()).expect_err(way)
        };
        let last = guest.log.events("fault").pop().expect("recorded");
        assert_eq!(last["kind"], expected, "{way}: {error}");
        assert!(!error.to_string().contains('\x1b'), "{error:?}");
        assert_eq!(guest.compartment.call_typed::<_, u32>("honest", &()).expect("the next call works"), 1);
    }
    // A second answer is taken for the answer of the next call, and has the number of another.
    assert_eq!(guest.compartment.call_typed::<_, u32>("two-answers", &()).expect("the first"), 1);
    let error = guest.compartment.call_typed::<_, u32>("honest", &()).expect_err("the second");
    assert!(matches!(error, CallError::Fault { kind: FaultKind::Protocol(_), .. }), "{error}");
    assert_eq!(guest.compartment.call_typed::<_, u32>("honest", &()).expect("the next call works"), 1);
}

/// A copy of the mute guest that is so in this way: it has no arguments to be told by.
fn mute(way: &str, folder: &Path) -> PathBuf {
    let mut program = std::fs::read(guest("mute")).expect("built");
    let mark = b"which way to be mute: ";
    let at = program.windows(mark.len()).position(|bytes| bytes == mark).expect("the mark") + mark.len();
    program[at..at + way.len()].copy_from_slice(way.as_bytes());
    let path = folder.join("mute");
    std::fs::write(&path, program).expect("written");
    path
}

#[test]
fn a_guest_that_does_not_greet_does_not_start() {
    let start = |way: &str| {
        let folder = tempfile::tempdir().expect("a folder");
        let program = mute(way, folder.path());
        let started = ProcessCompartment::start_ambient(
            host(),
            &planned("", ""),
            &program,
            folder.path(),
            &AuditLog::discard(),
            ambient_authority(),
        );
        started.err()
    };
    let error = start("exit").expect("no greeting");
    assert!(
        matches!(&error, StartError::Ended(CallError::Fault { kind: FaultKind::Exit(3), .. })),
        "{error}"
    );
    let error = start("abort").expect("no greeting");
    assert!(
        matches!(&error, StartError::Ended(CallError::Fault { kind: FaultKind::Signal(6, _), .. })),
        "{error}"
    );
    for (way, says) in [
        ("other-version", "version"),
        ("many-functions", "1024 functions"),
        ("descriptors", "descriptors"),
        ("garbage", "no sense"),
    ] {
        let error = start(way).expect("no greeting");
        assert!(matches!(error, StartError::Handshake { .. }), "{way}: {error}");
        assert!(error.to_string().contains(says), "{way}: {error}");
    }
    assert!(start("most-functions").is_none(), "as many functions as there may be");
}

#[test]
fn a_guest_of_another_interface_does_not_start() {
    let start = |interface| {
        let options = StartOptions { interface: Some(interface), ..StartOptions::default() };
        try_start("fixture", "", "", tempfile::tempdir().expect("a folder"), options).0
    };
    assert!(start(INTERFACE).is_ok());
    let error = start(INTERFACE + 1).err().expect("another interface");
    assert!(matches!(error, StartError::Handshake { .. }), "{error}");
}

#[test]
fn what_is_no_static_program_does_not_start() {
    let start = |program: &Path| {
        let folder = tempfile::tempdir().expect("a folder");
        ProcessCompartment::start_ambient(
            host(),
            &planned("", ""),
            program,
            folder.path(),
            &AuditLog::discard(),
            ambient_authority(),
        )
        .expect_err("it does not start")
    };
    let own = std::env::current_exe().expect("a test has a program");
    for (program, says) in [
        (own.as_path(), "crt-static"),
        (Path::new("/etc/passwd"), "no program"),
        (Path::new("/no"), "No such"),
    ] {
        let error = start(program);
        assert!(matches!(error, StartError::Program { .. }), "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn restarts_follow_their_policy() {
    let start = |restart| {
        let options = StartOptions { restart, ..StartOptions::default() };
        let folder = tempfile::tempdir().expect("a folder");
        try_start("fixture", "", "", folder, options).0.unwrap_or_else(|error| panic!("{error}"))
    };
    let mut guest = start(Restart::Never);
    guest.lives();
    guest.fails("crash");
    assert!(matches!(guest.add(1, 1), Err(CallError::NotRestarted { .. })));
    let mut guest = start(Restart::PerMinute(2));
    for _ in 0..2 {
        guest.fails("crash");
        guest.lives();
    }
    guest.fails("crash");
    assert!(matches!(guest.add(1, 1), Err(CallError::NotRestarted { .. })));
}

#[test]
fn a_guest_serves_as_many_calls_as_it_may_and_a_spare_takes_over() {
    for spare in [false, true] {
        let options =
            StartOptions { calls_max: Some(2), spare, restart: Restart::Never, ..StartOptions::default() };
        let folder = tempfile::tempdir().expect("a folder");
        let mut guest =
            try_start("fixture", "", "", folder, options).0.unwrap_or_else(|error| panic!("{error}"));
        for expected in [1, 2, 1, 2, 1_u64] {
            assert_eq!(guest.compartment.call_typed::<_, u64>("count", &()).expect("a result"), expected);
        }
        // A fresh guest after so many calls is no restart, and one after a crash is.
        guest.fails("crash");
        assert!(matches!(guest.add(1, 1), Err(CallError::NotRestarted { .. })));
    }
    let options = StartOptions { calls_max: Some(0), ..StartOptions::default() };
    let started = try_start("fixture", "", "", tempfile::tempdir().expect("a folder"), options).0;
    assert!(matches!(started.err().expect("it serves nobody"), StartError::CannotEnforce { .. }));
}

#[test]
fn a_spare_takes_over_after_a_crash() {
    let options = StartOptions { spare: true, ..StartOptions::default() };
    let folder = tempfile::tempdir().expect("a folder");
    let mut guest = try_start("fixture", "", "", folder, options).0.unwrap_or_else(|error| panic!("{error}"));
    for _ in 0..5 {
        guest.fails("crash");
        guest.lives();
    }
    assert_eq!(guest.log.events("fault").len(), 5);
}

// ---- what a guest without grants may not do

#[test]
fn a_violation_names_the_call_the_edge_the_path_and_the_line() {
    let mut guest = start("", "");
    let error = guest.compartment.call_typed::<_, Result<Vec<u8>, String>>("read", &("/etc/shadow",));
    let error = error.expect_err("nothing allows it");
    let text = error.to_string();
    assert!(text.starts_with("`app -> guest`: called openat("), "{text}");
    assert!(text.contains("\"/etc/shadow\"") && text.contains("filesystem = { read = "), "{text}");
    let events = guest.log.events("violation");
    assert_eq!(events.len(), 1, "{}", guest.log.text());
    assert_eq!(events[0]["edge"], "app -> guest");
    assert_eq!(events[0]["capability"], "filesystem.read");
    assert!(events[0]["attempt"].as_str().expect("text").contains("/etc/shadow"));
    guest.lives();
}

/// The line that a violation names is put into the grants table as it is.
#[test]
fn the_line_of_a_violation_allows_what_was_tried() {
    let folder = folder_with_file();
    let path = folder.path().join("data/file").display().to_string();
    let mut guest = start("", "");
    let error = guest.compartment.call_typed::<_, Result<Vec<u8>, String>>("read", &(&path,));
    let (_, capability, line) = violation(error.expect_err("nothing allows it"));
    assert_eq!(capability.as_deref(), Some("filesystem.read"));
    let line = line.expect("a grant would");
    assert_eq!(line, format!("filesystem = {{ read = [{{ file = \"{path}\" }}] }}"));
    let mut guest = start(&line, "");
    let read: Result<Vec<u8>, String> = guest.compartment.call_typed("read", &(&path,)).expect("an answer");
    assert_eq!(read.as_deref(), Ok(&b"twenty bytes of text"[..]));
}

#[test]
fn a_violation_says_which_functions_led_to_it() {
    let mut guest = start("", "");
    for (call, through) in [
        (true, &["fixture::raw", "fixture::main::", "Guest", "fixture::main"][..]),
        (false, &["std::fs::read", "fixture::main::", "Guest", "fixture::main"]),
    ] {
        let error = if call {
            guest.call(228, &[0, 0]).expect_err("nothing allows it")
        } else {
            let read = guest.compartment.call_typed::<_, Result<Vec<u8>, String>>("read", &("/etc/passwd",));
            read.expect_err("nothing allows it")
        };
        let CallError::Violation { violation, .. } = error else { panic!("{error}") };
        let names: Vec<String> = violation.backtrace.iter().map(ToString::to_string).collect();
        let mut rest = names.iter();
        for name in through {
            assert!(rest.any(|found| found.contains(name)), "{name} in {names:#?}");
        }
        let logged = guest.log.events("violation").pop().expect("recorded");
        assert_eq!(logged["backtrace"], serde_json::json!(names));
    }
    guest.lives();
}

#[test]
fn calls_beyond_the_grants_are_violations() {
    let mut guest = start("", "");
    let calls: [(i64, &[u64], &str, Option<&str>); 26] = [
        (41, &[2, 1, 0], "socket", Some("network.connect")),
        (41, &[1, 1, 0], "socket", Some("network.unix")),
        (41, &[40, 1, 0], "socket", None),
        (42, &[0, 0, 0], "connect", Some("network.connect")),
        (59, &[0, 0, 0], "execve", Some("process.spawn")),
        (57, &[], "fork", Some("process.spawn")),
        (56, &[0x11], "clone", Some("process.spawn")),
        (56, &[0x1000_0000], "clone", None),
        (62, &[1, 9], "kill", Some("process.signal")),
        (101, &[0, 0, 0, 0], "ptrace", None),
        (272, &[0x1000_0000], "unshare", None),
        (165, &[0, 0, 0, 0, 0], "mount", None),
        (155, &[0, 0], "pivot_root", None),
        (321, &[0, 0, 0], "bpf", None),
        (250, &[0, 0], "keyctl", None),
        (317, &[1, 8, 0], "seccomp", None),
        (157, &[22, 2, 0], "prctl", None),
        (323, &[0], "userfaultfd", None),
        (319, &[0, 0], "memfd_create", None),
        (135, &[0x004_0000], "personality", None),
        (310, &[1, 0, 0, 0, 0, 0], "process_vm_readv", None),
        (228, &[0, 0], "clock_gettime", Some("clock")),
        (318, &[0, 0, 0], "getrandom", Some("entropy")),
        (0x4000_0027, &[], "x32", None),
        (9, &[0, 4096, 7, 0x22, u64::MAX, 0], "mmap", Some("mmap.executable")),
        (16, &[0, 0x5412 | (1 << 32), 0], "ioctl", None),
    ];
    for (number, arguments, name, capability) in calls {
        let error = guest.call(number, arguments).expect_err(name);
        let (call, found, line) = violation(error);
        assert!(call.contains(name), "{call} is not {name}");
        assert_eq!(found.as_deref(), capability, "{name}");
        assert_eq!(line.is_some(), capability.is_some(), "{name}");
        guest.lives();
    }
    assert_eq!(guest.log.events("violation").len(), calls.len());
}

#[test]
fn the_convention_of_32_bits_is_a_violation() {
    let mut guest = start("", "");
    let error = guest.compartment.call_typed::<_, i32>("int80", &(20_u32,)).expect_err("nothing allows it");
    assert!(violation(error).0.contains("another calling convention"));
    guest.lives();
}

#[test]
fn probes_get_an_error_and_the_call_goes_on() {
    const ENOSYS: i64 = -38;
    let mut guest = start("", "");
    // clone3, io_uring_setup, a futex of priority inheritance, and numbers that no kernel has.
    for (number, arguments) in
        [(435, &[0, 0][..]), (425, &[8, 0]), (202, &[0, 6, 0]), (600, &[]), (5000, &[])]
    {
        assert_eq!(guest.call(number, arguments).expect("a probe"), ENOSYS, "{number}");
    }
    assert!(guest.log.events("violation").is_empty());
}

/// The kernel as an oracle: what it does with a call is what the rules here say about it.
#[test]
fn the_kernel_decides_as_the_rules_do() {
    let mut guest = start("", "");
    let mut violations = 0;
    for number in 0..=470_i64 {
        // Those that end the program or wait, when they are allowed.
        if [0, 1, 7, 15, 20, 46, 47, 60, 231, 219].contains(&number) {
            continue;
        }
        match guest.call(number, &[u64::MAX; 6]) {
            Err(CallError::Violation { violation, .. }) => {
                assert_eq!(violation.arguments, [u64::MAX; 6], "{}", violation.call);
                violations += 1;
            }
            // munmap and the like do harm to the guest alone.
            Ok(_) | Err(CallError::Fault { .. }) => {}
            Err(other) => panic!("{number}: {other}"),
        }
    }
    assert!(violations > 250, "{violations}");
    guest.lives();
}

#[test]
fn memory_that_was_written_cannot_be_run_unless_granted() {
    let mut guest = start("", "");
    let error = guest.compartment.call_typed::<_, Result<u32, String>>("run-made-code", &());
    let (call, capability, _) = violation(error.expect_err("nothing allows it"));
    assert_eq!((call.as_str(), capability.as_deref()), ("mprotect", Some("mmap.executable")));
    let mut guest = start("mmap = { executable = true }", "");
    let result = guest.compartment.call_typed::<_, Result<u32, String>>("run-made-code", &());
    assert_eq!(result.expect("allowed"), Ok(42));
}

#[test]
fn a_guest_has_five_descriptors_and_nobody_listens_on_the_third() {
    let mut guest = start("", "");
    let open: Vec<i32> = guest.compartment.call_typed("descriptors", &()).expect("an answer");
    assert_eq!(open, [0, 1, 2, 3, 4]);
    let told = guest.compartment.call_typed::<_, i64>("tell-host", &()).expect("an answer");
    assert_eq!(told, -32, "EPIPE");
}

// ---- grants

type Read = Result<Vec<u8>, String>;

#[test]
fn a_granted_folder_is_read_and_nothing_else() {
    let mut guest = start_in(folder_with_file(), "filesystem = { read = [\"data\"] }", "");
    let call = |guest: &mut Guest, function: &str, path: &str| -> Read {
        guest.compartment.call_typed(function, &(path,)).expect("an answer")
    };
    assert_eq!(call(&mut guest, "read", "/data/file").expect("granted"), b"twenty bytes of text");
    assert_eq!(call(&mut guest, "read", "data/file").expect("granted"), b"twenty bytes of text");
    let names: Result<Vec<String>, String> =
        guest.compartment.call_typed("list", &("/",)).expect("an answer");
    // The root itself can be looked at by no right that was granted.
    assert_eq!(names, Err("13".to_owned()));
    let names: Result<Vec<String>, String> =
        guest.compartment.call_typed("list", &("/data",)).expect("an answer");
    assert_eq!(names, Ok(vec!["file".to_owned()]));
    for path in ["/secret", "/data/../secret", "/etc/passwd", "/proc/self/environ", "/dev/null", "/sys"] {
        assert_eq!(call(&mut guest, "read", path), Err("2".to_owned()), "{path}");
        let exists: Result<u64, String> =
            guest.compartment.call_typed("exists", &(path,)).expect("an answer");
        assert_eq!(exists, Err("2".to_owned()), "{path}");
    }
    // Writing is answered like on a read-only folder, and heard of once for each path.
    for path in ["/data/file", "/data/file", "/data/new"] {
        let written: Result<(), String> =
            guest.compartment.call_typed("write", &(path, b"x".to_vec())).expect("an answer");
        assert_eq!(written, Err("13".to_owned()));
    }
    let refused: Vec<_> = guest.log.events("refusal").iter().map(|event| event["line"].clone()).collect();
    // With `O_CREAT`, so that the folder is what helps, whether the file is there or not.
    assert_eq!(refused, ["filesystem = { write = [\"data\"] }"; 2]);
    let kept: Vec<_> = guest.compartment.take_refusals().into_iter().map(|refusal| refusal.line).collect();
    assert_eq!(kept, refused);
    let removed = guest.compartment.call_typed::<_, Result<(), String>>("remove", &("/data/file",));
    assert_eq!(violation(removed.expect_err("nothing allows it")).1.as_deref(), Some("filesystem.write"));
    assert_eq!(std::fs::read(guest.folder.path().join("data/file")).expect("there"), b"twenty bytes of text");
}

#[test]
fn a_link_out_of_a_granted_folder_leads_nowhere() {
    let folder = folder_with_file();
    std::os::unix::fs::symlink("../secret", folder.path().join("data/up")).expect("a link");
    std::os::unix::fs::symlink("/etc/passwd", folder.path().join("data/away")).expect("a link");
    let mut guest = start_in(folder, "filesystem = { read = [\"data\"] }", "");
    for path in ["/data/up", "/data/away"] {
        let read: Read = guest.compartment.call_typed("read", &(path,)).expect("an answer");
        assert_eq!(read, Err("2".to_owned()), "{path}");
    }
}

#[test]
fn a_granted_file_is_seen_alone_and_where_it_was_placed() {
    let mut guest = start_in(folder_with_file(), "filesystem = { read = [{ file = \"data/file\" }] }", "");
    let read: Read = guest.compartment.call_typed("read", &("/data/file",)).expect("an answer");
    assert_eq!(read.expect("granted"), b"twenty bytes of text");
    let mut guest = start_in(folder_with_file(), "filesystem = { read = [\"data\"] }", "");
    let read: Read = guest.compartment.call_typed("read", &("/file",)).expect("an answer");
    assert_eq!(read, Err("2".to_owned()));
}

#[test]
fn a_writable_folder_is_written_and_its_neighbours_are_not() {
    let folder = folder_with_file();
    std::fs::create_dir(folder.path().join("out")).expect("a folder");
    let mut guest = start_in(folder, "filesystem = { read = [\"data\"], write = [\"out\"] }", "");
    let call = |guest: &mut Guest, path: &str| -> Result<(), String> {
        guest.compartment.call_typed("write", &(path, b"new".to_vec())).expect("an answer")
    };
    assert_eq!(call(&mut guest, "/out/new"), Ok(()));
    assert_eq!(std::fs::read(guest.folder.path().join("out/new")).expect("written"), b"new");
    // The mount (EROFS) or Landlock (EACCES) stops these, now that the filter lets opening for writing through.
    for path in ["/data/file", "/data/new", "/new"] {
        let error = call(&mut guest, path).expect_err(path);
        assert!(error == "30" || error == "13", "{path}: {error}");
    }
    let linked: Result<(), String> =
        guest.compartment.call_typed("link", &("/data/file", "/out/linked")).expect("an answer");
    assert!(linked.is_err(), "a link would make it writable");
    let removed: Result<(), String> =
        guest.compartment.call_typed("remove", &("/out/new",)).expect("an answer");
    assert_eq!(removed, Ok(()));
}

#[test]
fn a_scratch_folder_takes_as_many_bytes_as_are_granted_and_is_gone_with_the_guest() {
    type Done = Result<(), String>;
    let write = |guest: &mut Guest, path: &str, bytes: usize| -> Done {
        guest.compartment.call_typed("write", &(path, vec![7_u8; bytes])).expect("an answer")
    };
    let mut guest = start("filesystem = { scratch = \"1MiB\" }", "memory = \"64MiB\"");
    assert_eq!(write(&mut guest, "/tmp/half", 512 << 10), Ok(()));
    let read: Read = guest.compartment.call_typed("read", &("/tmp/half",)).expect("an answer");
    assert_eq!(read.expect("written").len(), 512 << 10);
    // No space left on device, and after removing there is again.
    assert_eq!(write(&mut guest, "/tmp/more", 768 << 10), Err("28".to_owned()));
    for path in ["/tmp/half", "/tmp/more"] {
        let removed: Done = guest.compartment.call_typed("remove", &(path,)).expect("an answer");
        assert_eq!(removed, Ok(()));
    }
    assert_eq!(write(&mut guest, "/tmp/whole", 768 << 10), Ok(()));
    // So many files, and no more.
    let made = (0..1000).take_while(|index| write(&mut guest, &format!("/tmp/{index}"), 0).is_ok()).count();
    assert!((200..300).contains(&made), "{made}");
    for path in ["/elsewhere", "/../elsewhere"] {
        let error = write(&mut guest, path, 1).expect_err(path);
        assert!(error == "30" || error == "13", "{path}: {error}");
    }
    guest.fails("crash");
    let read: Read = guest.compartment.call_typed("read", &("/tmp/whole",)).expect("an answer");
    assert_eq!(read, Err("2".to_owned()), "a fresh guest has an empty one");
    // Without it, there is none.
    let mut guest = start("", "");
    let written = guest.compartment.call_typed::<_, Done>("write", &("/tmp/x", vec![1_u8]));
    let (_, capability, _) = violation(written.expect_err("nothing allows it"));
    assert_eq!(capability.as_deref(), Some("filesystem.write"), "what is wanted may be anywhere");
    // Nor room for a folder of the host's at the same place.
    let folder = folder_with_file();
    std::fs::create_dir(folder.path().join("tmp")).expect("a folder");
    let grants = "filesystem = { read = [\"tmp\"], scratch = \"1MiB\" }";
    let started = try_start("fixture", grants, "", folder, StartOptions::default()).0;
    assert!(matches!(started.err().expect("both at one place"), StartError::Path { .. }));
}

#[test]
fn modes_and_times_are_set_through_descriptors_for_writing_only() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let folder = folder_with_file();
    std::fs::create_dir(folder.path().join("out")).expect("a folder");
    std::fs::write(folder.path().join("out/file"), "x").expect("a file");
    let mut guest = start_in(folder, "filesystem = { read = [\"data\"], write = [\"out\"] }", "");
    let restricted: Result<(), String> = guest
        .compartment
        .call_typed("restrict", &("/out/file", 0o4640_u32, 1_000_000_u64))
        .expect("an answer");
    assert_eq!(restricted, Ok(()));
    let found = std::fs::metadata(guest.folder.path().join("out/file")).expect("there");
    // Without the set-user-ID that was asked for.
    assert_eq!((found.permissions().mode() & 0o7777, found.mtime()), (0o640, 1_000_000));
    for path in ["/data/file", "/out/file"] {
        let changed: Result<(), String> =
            guest.compartment.call_typed("chmod-read-only", &(path,)).expect("an answer");
        assert_eq!(changed, Err("1".to_owned()), "{path}");
    }
    // Neither a stream, nor the ring, nor nothing.
    for (descriptor, error) in [(2_u64, -1), (4, -1), (50, -9)] {
        let answer: i64 =
            guest.compartment.call_typed("chmod-descriptor", &(descriptor, 0o777_u64)).expect("an answer");
        assert_eq!(answer, error, "{descriptor}");
    }
}

#[test]
fn a_path_that_became_another_does_not_start() {
    let folder = folder_with_file();
    std::os::unix::fs::symlink("data", folder.path().join("link")).expect("a link");
    // A link is followed once, by the host, and what it names is granted.
    let mut guest = start_in(folder, "filesystem = { read = [\"link\"] }", "");
    let read: Read = guest.compartment.call_typed("read", &("/link/file",)).expect("an answer");
    assert!(read.is_ok(), "{read:?}");
    // The next start finds another folder under the same name.
    let data = guest.folder.path().join("data");
    std::fs::rename(&data, guest.folder.path().join("moved")).expect("moved");
    std::fs::create_dir(&data).expect("a folder");
    guest.fails("crash");
    let error = guest.add(1, 1).expect_err("another folder");
    assert!(error.to_string().contains("another file than the host found"), "{error}");
}

/// Nothing is made in the host's folders for a guest.
#[test]
fn a_place_inside_of_a_granted_folder_must_be_there() {
    for outer in ["write", "read"] {
        let folder = folder_with_file();
        std::fs::create_dir(folder.path().join("out")).expect("a folder");
        let inner = "{ path = \"data\", at = \"/tmp/deep/x\" }";
        let grants = match outer {
            "write" => {
                format!("filesystem = {{ read = [{inner}], write = [{{ path = \"out\", at = \"/tmp\" }}] }}")
            }
            _ => format!("filesystem = {{ read = [{inner}, {{ path = \"out\", at = \"/tmp\" }}] }}"),
        };
        let (started, _) = try_start("fixture", &grants, "", folder, StartOptions::default());
        let error = started.err().expect("there is no such place");
        assert!(matches!(error, StartError::Path { .. }), "{error}");
        let says = "its place `/tmp/deep/x` is inside of `/tmp`, which is granted too, and no folder `deep/x` is there";
        assert!(error.to_string().contains(says), "{error}");

        let folder = folder_with_file();
        std::fs::create_dir_all(folder.path().join("out/deep/x")).expect("a folder");
        let mut guest = start_in(folder, &grants, "");
        let read: Read = guest.compartment.call_typed("read", &("/tmp/deep/x/file",)).expect("an answer");
        assert_eq!(read.expect("granted"), b"twenty bytes of text", "{outer}");
        let place = guest.folder.path().join("out/deep/x");
        assert_eq!(
            std::fs::read_dir(place).expect("readable").count(),
            0,
            "it is mounted for the guest alone"
        );
    }
}

#[test]
fn paths_of_the_wrong_kind_do_not_start() {
    let folder = folder_with_file();
    let (started, _) =
        try_start("fixture", "filesystem = { read = [\"data/file\"] }", "", folder, StartOptions::default());
    assert!(matches!(started.err().expect("a file is no folder"), StartError::Path { .. }));
    let (started, _) = try_start(
        "fixture",
        "filesystem = { read = [\"nothing\"] }",
        "",
        folder_with_file(),
        StartOptions::default(),
    );
    assert!(matches!(started.err().expect("nothing is there"), StartError::Path { .. }));
}

#[test]
fn files_are_mapped_only_when_granted() {
    let read = "filesystem = { read = [\"data\"] }";
    let mut guest = start_in(folder_with_file(), read, "");
    let mapped = guest.compartment.call_typed::<_, Read>("map-file", &("/data/file",));
    let (call, capability, _) = violation(mapped.expect_err("nothing allows it"));
    assert_eq!((call.as_str(), capability.as_deref()), ("mmap", Some("mmap.file")));
    let mut guest = start_in(folder_with_file(), &format!("{read}\nmmap = {{ file = true }}"), "");
    let mapped = guest.compartment.call_typed::<_, Read>("map-file", &("/data/file",)).expect("an answer");
    assert_eq!(mapped.expect("granted"), b"twenty bytes of ");
}

#[test]
fn only_granted_variables_are_there() {
    let mut guest = start("", "");
    let all: Vec<String> = guest.compartment.call_typed("variables", &()).expect("an answer");
    assert!(all.is_empty(), "{all:?}");
    let arguments: Vec<String> = guest.compartment.call_typed("arguments", &()).expect("an answer");
    assert_eq!(arguments, ["guest"]);
    // Cargo sets it for tests, and the run as another user keeps it.
    let mut guest = start("environment = { read = [\"CARGO_PKG_NAME\"] }", "");
    let all: Vec<String> = guest.compartment.call_typed("variables", &()).expect("an answer");
    assert_eq!(all, ["CARGO_PKG_NAME=cofferdam-launcher"]);
}

type Printed = Result<(), String>;

#[test]
fn output_is_captured_when_granted_and_swallowed_when_not() {
    let print = |guest: &mut Guest| -> Printed {
        guest.compartment.call_typed("print", &(b"out".to_vec(), b"err".to_vec())).expect("an answer")
    };
    let mut guest = start("", "");
    assert_eq!(print(&mut guest), Ok(()));
    let stdio = guest.compartment.take_stdio();
    assert!(stdio.stdout.is_empty() && stdio.stderr.is_empty());
    let mut guest = start("stdio = { streams = [\"stdout\", \"stderr\"] }", "");
    assert_eq!(print(&mut guest), Ok(()));
    let stdio = guest.compartment.take_stdio();
    assert_eq!((stdio.stdout.as_slice(), stdio.stderr.as_slice()), (&b"out"[..], &b"err"[..]));
    let mut guest = start("stdio = { streams = [\"stderr\"] }", "");
    assert_eq!(print(&mut guest), Ok(()));
    let stdio = guest.compartment.take_stdio();
    assert_eq!((stdio.stdout.as_slice(), stdio.stderr.as_slice()), (&b""[..], &b"err"[..]));
    let input: Read = guest.compartment.call_typed("input", &()).expect("an answer");
    assert_eq!(input, Ok(Vec::new()));
}

#[test]
fn output_is_capped() {
    let mut guest = start("stdio = { streams = [\"stdout\"], bytes = \"100KiB\" }", "");
    let print = |guest: &mut Guest, bytes: usize| {
        guest.compartment.call_typed::<_, Printed>("print", &(vec![b'x'; bytes], Vec::<u8>::new()))
    };
    assert_eq!(print(&mut guest, 100 << 10).expect("an answer"), Ok(()));
    assert_eq!(guest.compartment.take_stdio().stdout.len(), 100 << 10);
    guest.lives();
    // One byte more, in all. It may be found out after the answer.
    let _ = print(&mut guest, 1);
    let _ = guest.compartment.take_stdio();
    let begun = Instant::now();
    while guest.log.events("fault").is_empty() && begun.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let faults = guest.log.events("fault");
    assert_eq!((faults.len(), &faults[0]["kind"]), (1, &serde_json::json!("limit")), "{}", guest.log.text());
    guest.lives();
}

#[test]
fn clock_entropy_and_system_information_come_with_their_grants() {
    for (grant, number, arguments) in [
        ("clock = true", 228, &[0, 0][..]),
        ("entropy = true", 318, &[0, 0, 0]),
        ("system-info = true", 102, &[]),
        ("signal = true", 34, &[]),
    ] {
        // `pause` would wait; asking whether it is allowed is what the plan is for.
        let number = if number == 34 { 127 } else { number };
        let arguments = if number == 127 { &[0, 8][..] } else { arguments };
        let mut guest = start(grant, "");
        guest.call(number, arguments).unwrap_or_else(|error| panic!("{grant}: {error}"));
        let mut guest = start("", "");
        let (_, capability, line) = violation(guest.call(number, arguments).expect_err(grant));
        let name = grant.split(' ').next().expect("a name");
        assert_eq!(capability.as_deref(), Some(name));
        assert!(line.expect("a line").starts_with(name));
    }
}

#[test]
fn threads_run_when_granted_and_are_counted() {
    let mut guest = start("", "");
    let error = guest.compartment.call_typed::<_, u32>("threads", &(1_u32,)).expect_err("nothing allows it");
    let (call, capability, _) = violation(error);
    assert_eq!((call.as_str(), capability.as_deref()), ("rt_sigaction", Some("thread")));
    let (call, capability, _) = violation(guest.call(56, &[0x3D_0F00]).expect_err("nothing allows it"));
    assert_eq!((call.as_str(), capability.as_deref()), ("clone", Some("thread")));
    let mut guest = start("thread = true", "");
    assert_eq!(guest.compartment.call_typed::<_, u32>("threads", &(4_u32,)).expect("granted"), 4);
    if is_root() {
        let error = refused("thread = { max = 2 }", "");
        assert!(matches!(error, StartError::CannotEnforce { .. }), "{error}");
    } else {
        let mut guest = start("thread = { max = 2 }", "");
        assert_eq!(guest.compartment.call_typed::<_, u32>("threads", &(2_u32,)).expect("granted"), 2);
        assert_eq!(guest.compartment.call_typed::<_, u32>("threads", &(5_u32,)).expect("granted"), 2);
    }
}

#[test]
fn the_host_connects_to_granted_addresses_and_no_others() {
    use std::io::Read;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let port = listener.local_addr().expect("bound").port();
    let server = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().expect("loopback");
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).expect("loopback");
            bytes.reverse();
            stream.write_all(&bytes).expect("loopback");
        }
    });
    let other = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let closed = other.local_addr().expect("bound").port();
    let connect = |guest: &mut Guest, address: String| -> Result<Vec<u8>, String> {
        guest.compartment.call_typed("connect", &(address, b"abc".to_vec())).expect("an answer")
    };
    let mut guest = start(&format!("network = {{ connect = [\"127.0.0.1:{port}\"] }}"), "");
    assert_eq!(connect(&mut guest, format!("127.0.0.1:{port}")).expect("granted"), b"cba");
    // By the name that the grant has, though the guest cannot look names up.
    let mut named = start(&format!("network = {{ connect = [\"localhost:{port}\"] }}"), "");
    assert_eq!(connect(&mut named, format!("127.0.0.1:{port}")).expect("granted"), b"cba");
    server.join().expect("served twice");
    for address in [format!("127.0.0.1:{closed}"), format!("127.0.0.2:{port}"), "192.0.2.1:80".to_owned()] {
        assert_eq!(connect(&mut guest, address.clone()), Err("13".to_owned()), "{address}");
    }
    let attempts: Vec<_> = guest.log.events("refusal").iter().map(|event| event["attempt"].clone()).collect();
    assert_eq!(
        guest.log.events("refusal")[0]["line"],
        format!("network = {{ connect = [\"127.0.0.1:{closed}\"] }}")
    );
    assert_eq!(attempts[0], format!("connect to 127.0.0.1:{closed}"));
    assert_eq!(attempts.len(), 3);
    assert!(other.set_nonblocking(true).is_ok() && other.accept().is_err(), "nobody came");
    // Other descriptors are not connected, and no local address is chosen.
    let mut bytes = vec![2, 0];
    bytes.extend(port.to_be_bytes());
    bytes.extend([127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    for (descriptor, error) in [(3_u64, -97), (4, -88), (60, -9)] {
        let answer: i64 =
            guest.compartment.call_typed("connect-descriptor", &(descriptor, &bytes)).expect("an answer");
        assert_eq!(answer, error, "{descriptor}");
    }
    assert_eq!(guest.call(49, &[3, 0, 0]).expect("an answer"), -13);
    // Raw sockets and other families are answered like on a kernel without them.
    assert_eq!(guest.call(41, &[2, 3, 255]).expect("an answer"), -97);
    assert_eq!(guest.call(41, &[16, 3, 0]).expect("an answer"), -97);
    guest.lives();
}

#[test]
fn what_names_an_address_and_is_not_done_is_recorded() {
    let mut guest = start("network = { connect = [\"127.0.0.1:9\"] }", "");
    // The host makes the socket, where its kernel has such.
    let has_v6 = std::net::UdpSocket::bind("[::]:0").is_ok();
    let addresses = ["0.0.0.0:0", "127.0.0.1:8080", "[::1]:8080"];
    for address in addresses.into_iter().filter(|address| has_v6 || !address.starts_with('[')) {
        let bound: Result<(), String> =
            guest.compartment.call_typed("bind-datagram", &(address.to_owned(),)).expect("an answer");
        assert_eq!(bound, Err("13".to_owned()), "{address}");
    }
    // `bind` with nothing that is an address.
    assert_eq!(guest.call(49, &[3, 0, 0]).expect("an answer"), -13);
    let (sendto, sendmsg, sendmmsg) = (44_i64, 46, 307);
    for call in [sendto, sendmsg, sendmmsg] {
        let address = [2_u8, 0, 0, 53, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        let sent: i64 =
            guest.compartment.call_typed("send-to", &(call, address.to_vec())).expect("an answer");
        assert_eq!(sent, -95, "{call}");
    }
    // What names none is no matter of a grant: a message, as large as it is, without an address.
    let sent: i64 = guest.compartment.call_typed("send-to", &(sendmsg, Vec::<u8>::new())).expect("an answer");
    assert_eq!(sent, -95);
    // So it is with an address that is granted: it is `connect` that is missing.
    let granted = [2_u8, 0, 0, 9, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    let sent: i64 = guest.compartment.call_typed("send-to", &(sendto, granted.to_vec())).expect("an answer");
    assert_eq!(sent, -95);
    let listen = |address: &str| {
        let line = format!("network = {{ listen = [\"{address}\"] }}");
        format!("{line} # in a wasm compartment; a process is handed what its host has accepted")
    };
    let send = "network = { connect = [\"192.0.2.1:53\"] } # and `connect` first".to_owned();
    let example = "network = { listen = [\"host.example:443\"] } # with the hosts that you mean";
    let mut wanted = vec![
        ("network.listen", "bind to 0.0.0.0:0", listen("0.0.0.0:1-65535")),
        ("network.listen", "bind to 127.0.0.1:8080", listen("127.0.0.1:8080")),
        ("network.listen", "bind to [::1]:8080", listen("[::1]:8080")),
        ("network.listen", "bind to an address", example.to_owned()),
        // Each once, by whatever call.
        ("network.connect", "send without `connect` to 192.0.2.1:53", send),
    ];
    wanted.retain(|(_, attempt, _)| has_v6 || !attempt.contains('['));
    let events = guest.log.events("refusal");
    let text = |event: &serde_json::Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
    let recorded: Vec<_> =
        events.iter().map(|event| ["capability", "attempt", "line"].map(|key| text(event, key))).collect();
    let wanted: Vec<_> = wanted
        .into_iter()
        .map(|(capability, attempt, line)| [capability.to_owned(), attempt.to_owned(), line])
        .collect();
    assert_eq!(recorded, wanted);
    let kept: Vec<_> = guest.compartment.take_refusals().into_iter().map(|one| one.attempt).collect();
    let attempts: Vec<_> = wanted.into_iter().map(|[_, attempt, _]| attempt).collect();
    assert_eq!(kept, attempts);
    guest.lives();
}

#[test]
fn a_guest_that_is_refused_without_end_is_ended() {
    let mut guest = start("network = { connect = [\"127.0.0.1:9\"] }", "call-deadline = \"5min\"");
    let connect = |guest: &mut Guest| {
        let call = ("127.0.0.2:9".to_owned(), Vec::<u8>::new());
        guest.compartment.call_typed::<_, Result<Vec<u8>, String>>("connect", &call)
    };
    for _ in 0..REFUSALS_MAX {
        assert_eq!(connect(&mut guest).expect("an answer"), Err("13".to_owned()));
    }
    let error = connect(&mut guest).expect_err("one more than is recorded");
    assert!(matches!(error, CallError::Limit { what: "refusals that are recorded", .. }), "{error}");
    assert_eq!(guest.log.events("refusal").len() as u64, REFUSALS_MAX);
    guest.lives();
}

// ---- what is handed over

fn open(guest: &Guest, path: &str, options: &mut cap_std::fs::OpenOptions) -> cap_std::fs::File {
    let folder = cap_std::fs::Dir::open_ambient_dir(guest.folder.path(), ambient_authority()).expect("there");
    folder.open_with(path, options).expect("there")
}

#[test]
fn a_file_is_handed_over_for_what_it_was_opened_for() {
    use cap_std::fs::OpenOptions;
    let mut guest = start_in(folder_with_file(), "handle-forge = true", "");
    let file = open(&guest, "secret", OpenOptions::new().read(true));
    let handed = guest.compartment.hand(Open::Read(file)).expect("a file for reading");
    let read: Read = guest.compartment.call_typed("digest", &(&handed,)).expect("an answer");
    assert_eq!(read.expect("handed over"), b"not granted");
    let again: Read = guest.compartment.call_typed("digest", &(&handed,)).expect("an answer");
    assert!(again.expect_err("each once").contains("nothing of that number"));
    // No other path comes with it, and it cannot be written.
    let file = open(&guest, "secret", OpenOptions::new().read(true));
    let handed = guest.compartment.hand(Open::Read(file)).expect("a file for reading");
    let written: Result<(), String> = guest
        .compartment
        .call_typed("write-what-is-read-only", &(&handed, b"x".to_vec()))
        .expect("an answer");
    assert_eq!(written, Err("9".to_owned()), "EBADF");
    let other =
        guest.compartment.call_typed::<_, Read>("read", &("/secret",)).expect_err("nothing allows it");
    assert_eq!(violation(other).1.as_deref(), Some("filesystem.read"));
    // Of one guest: the violation ended it.
    let stale: Read = guest.compartment.call_typed("digest", &(&handed,)).expect("an answer");
    assert!(stale.expect_err("another guest's").contains("nothing of that number"));
    let file = open(&guest, "data/file", OpenOptions::new().write(true));
    let handed = guest.compartment.hand(Open::Write(file)).expect("a file for writing");
    let read: Read = guest.compartment.call_typed("digest", &(&handed,)).expect("an answer");
    assert!(read.expect_err("it is for writing").contains("something else"));
    let file = open(&guest, "data/file", OpenOptions::new().write(true));
    let handed = guest.compartment.hand(Open::Write(file)).expect("a file for writing");
    let written: Result<(), String> =
        guest.compartment.call_typed("write-handed", &(&handed, b"TWENTY".to_vec())).expect("an answer");
    assert_eq!(written, Ok(()));
    assert_eq!(std::fs::read(guest.folder.path().join("data/file")).expect("there"), b"TWENTY bytes of text");
    assert_eq!(guest.compartment.take_back(handed), TakenBack::GuestEnded);
    guest.lives();
}

#[test]
fn what_is_not_what_it_says_is_not_handed_over() {
    use cap_std::fs::OpenOptions;
    let mut guest = start_in(folder_with_file(), "handle-forge = true", "");
    let both = || OpenOptions::new().read(true).write(true).clone();
    let read_write = open(&guest, "secret", &mut both());
    let folder = open(&guest, "data", OpenOptions::new().read(true));
    let read_only = open(&guest, "secret", OpenOptions::new().read(true));
    let device = cap_std::fs::File::from_std(std::fs::File::open("/dev/null").expect("there"));
    for (wrong, says) in [
        (Open::Read(read_write), "reading only"),
        (Open::Read(folder), "regular file"),
        (Open::Read(device), "regular file"),
        (Open::Write(read_only), "writing"),
    ] {
        let error = guest.compartment.hand(wrong).expect_err("it is something else");
        assert!(matches!(&error, CallError::Usage { message, .. } if message.contains(says)), "{error}");
    }
    // Nor to a guest whose filter would not let it be used.
    let mut guest = start_in(folder_with_file(), "", "");
    let file = open(&guest, "secret", OpenOptions::new().read(true));
    let error = guest.compartment.hand(Open::Read(file)).expect_err("nothing allows it");
    assert!(error.to_string().contains("handle-forge = true"), "{error}");
}

#[test]
fn a_guest_hands_nothing_to_its_host() {
    let mut guest = start("handle-forge = true", "");
    let sent: Result<(), String> = guest.compartment.call_typed("send-descriptor", &()).expect("an answer");
    assert!(sent.expect_err("nobody takes it").contains("Broken pipe"));
    guest.lives();
}

#[test]
fn what_is_handed_over_and_never_taken_fills_no_host() {
    let mut guest = start_in(folder_with_file(), "handle-forge = true", "");
    let mut refused = None;
    for _ in 0..10_000 {
        let file = open(&guest, "secret", cap_std::fs::OpenOptions::new().read(true));
        if let Err(error) = guest.compartment.hand(Open::Read(file)) {
            refused = Some(error);
            break;
        }
    }
    assert!(matches!(refused, Some(CallError::Usage { .. })), "{refused:?}");
    guest.lives();
}

#[test]
fn a_connection_is_handed_over_and_taken_back() {
    use std::io::Read;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let port = listener.local_addr().expect("bound").port();
    let mut guest = start(&format!("network = {{ connect = [\"127.0.0.1:{port}\"] }}"), "");
    let handed = guest.compartment.hand_connection(&format!("127.0.0.1:{port}")).expect("granted");
    let (mut peer, _) = listener.accept().expect("loopback");
    peer.write_all(b"abc").expect("loopback");
    let done: Result<(), String> =
        guest.compartment.call_typed("reverse-stream", &(&handed,)).expect("an answer");
    assert_eq!(done, Ok(()));
    let mut bytes = [0; 3];
    peer.read_exact(&mut bytes).expect("loopback");
    assert_eq!(&bytes, b"cba");
    // Taken back while the guest waits for it.
    let handed = guest.compartment.hand_connection(&format!("127.0.0.1:{port}")).expect("granted");
    let (_peer, _) = listener.accept().expect("loopback");
    let number = cofferdam_wire::encode(&handed).expect("small");
    assert_eq!(guest.compartment.take_back(handed), TakenBack::ShutDown);
    let ended = guest.compartment.call("wait-for-stream", &number).expect("an answer");
    let ended: Result<u64, String> = cofferdam_wire::decode(&ended).expect("a result");
    assert_eq!(ended, Ok(0), "its end");
    // A service on this machine, to a guest that may use what it is handed.
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("sockets");
    let mut local = start("handle-forge = true", "");
    let handed = local.compartment.hand(Open::Local(theirs)).expect("granted");
    (&ours).write_all(b"xyz").expect("a pair");
    let done: Result<(), String> =
        local.compartment.call_typed("reverse-stream", &(&handed,)).expect("an answer");
    assert_eq!(done, Ok(()));
    (&ours).read_exact(&mut bytes).expect("a pair");
    assert_eq!(&bytes, b"zyx");
    for other in ["127.0.0.2:80".to_owned(), format!("127.0.0.2:{port}")] {
        let error = guest.compartment.hand_connection(&other).expect_err("not granted");
        assert!(error.to_string().contains("does not grant `network.connect`"), "{error}");
    }
}

#[test]
fn what_cannot_be_enforced_does_not_start() {
    for grants in [
        "network = { connect = [\"*.example.org:80\"] }",
        "network = { listen = [\"127.0.0.1:80\"] }",
        "network = { dns = [\"example.org\"] }",
        "network = { unix = [\"data\"] }",
        "filesystem = { watch = [\"data\"] }",
        "filesystem = { write = [\"data\"], quota = \"1MiB\" }",
        "stdio = { streams = [\"stdin\"] }",
        "clock = { resolution = \"1ms\" }",
    ] {
        let error = refused(grants, "");
        assert!(matches!(error, StartError::CannotEnforce { .. }), "{grants}: {error}");
    }
}

// ---- the host

#[test]
fn the_log_says_what_is_granted_and_what_holds_the_guest() {
    let guest = start("entropy = true", "");
    let confined = guest.log.events("confined");
    let layers: Vec<&str> = confined[0]["layers"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| one.as_str().expect("text"))
        .collect();
    for layer in [
        "session",
        "namespaces",
        "empty root",
        "Linux capabilities",
        "no new privileges",
        "write xor execute",
    ] {
        assert!(
            layers.contains(&format!("{layer}: enforced").as_str())
                || layers.iter().any(|one| one.starts_with(&format!("{layer}: enforced"))),
            "{layer} in {layers:?}"
        );
    }
    assert!(layers.iter().any(|layer| layer.starts_with("Landlock: enforced (ABI ")), "{layers:?}");
    assert_eq!(guest.log.events("grant").len(), 1);
}

#[test]
fn a_missing_launcher_is_an_error_that_says_what_to_do() {
    let error = ProcessHost::from_path_ambient(Path::new("/nowhere"), ambient_authority())
        .expect_err("nothing there");
    assert!(matches!(error, StartError::Launcher { .. }), "{error}");
    let embedded = std::fs::read(launcher()).expect("cargo built the launcher");
    let host = ProcessHost::from_bytes(&embedded).expect("memory");
    let folder = tempfile::tempdir().expect("a folder");
    let mut compartment = ProcessCompartment::start_ambient(
        &host,
        &planned("", ""),
        &guest("fixture"),
        folder.path(),
        &AuditLog::discard(),
        ambient_authority(),
    )
    .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(compartment.call_typed::<_, u32>("add", &(1_u32, 2_u32)).expect("a result"), 3);
    // Something that is no launcher.
    let host = ProcessHost::from_path_ambient(Path::new("/bin/true"), ambient_authority()).expect("opens");
    let started = ProcessCompartment::start_ambient(
        &host,
        &planned("", ""),
        &guest("fixture"),
        folder.path(),
        &AuditLog::discard(),
        ambient_authority(),
    );
    assert!(matches!(started.expect_err("no launcher"), StartError::Host { .. }));
}

#[test]
fn an_audit_log_that_cannot_be_written_withholds_the_outcome() {
    /// Fails once it has taken so many events.
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if bytes.contains(&b'\n') || bytes.len() > 2 {
                self.0 = self.0.checked_sub(1).ok_or_else(|| std::io::Error::other("full"))?;
            }
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let start = |events| {
        let log = AuditLog::to_writer(Full(events));
        ProcessCompartment::start_ambient(
            host(),
            &planned("", ""),
            &guest("fixture"),
            folder.path(),
            &log,
            ambient_authority(),
        )
    };
    assert!(matches!(start(0), Err(StartError::Audit(_))));
    let mut compartment = start(2).or_else(|_| start(1)).unwrap_or_else(|error| panic!("{error}"));
    let error = compartment.call_typed::<_, ()>("crash", &()).expect_err("it crashes");
    assert!(matches!(error, CallError::Audit(_)), "{error}");
}

#[test]
fn the_doctor_finds_every_layer_here() {
    let found = examine_ambient(host(), ambient_authority()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(found.tier, Tier::Full, "{found}");
    assert!(found.findings.iter().all(|finding| finding.mend.is_none()), "{found}");
}

/// All of the above as an ordinary user.
#[test]
fn everything_holds_for_an_ordinary_user_too() {
    as_an_ordinary_user();
}
