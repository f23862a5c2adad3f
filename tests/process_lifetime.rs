//! What is left of process guests after they ended, and that they end: after a thousand starts, when their host is killed, and with
//! a call that waits for an answer.
//!
//! When the tests run as root, all of them run once more as an ordinary user.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod family;
mod lines;
mod native;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use ambient_authority::ambient_authority;
use cofferdam::AuditLog;
use cofferdam::process::{ProcessCompartment, ProcessHost, StartOptions};
use family::{descendants, is_filtered, parent_of, stat, status};
use native::{alone, as_an_ordinary_user, guest, is_alone, launcher, planned, start, try_start, violation};

fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder).expect("a folder").count()
}

/// Everything that a start could leave behind in this process and around it, by its name.
fn leftovers() -> BTreeMap<&'static str, usize> {
    let lines = |path: &str| std::fs::read_to_string(path).expect("proc").lines().count();
    BTreeMap::from([
        ("processes", descendants(std::process::id()).len()),
        ("threads", entries(Path::new("/proc/self/task"))),
        ("descriptors", entries(Path::new("/proc/self/fd"))),
        ("mounts", lines("/proc/self/mountinfo")),
        ("files in the temporary folder", entries(&std::env::temp_dir())),
    ])
}

/// The kernel counts the descriptors that all processes of a user have under way, and compares them with the limit of whoever sends one
/// more. Many starts at once have more of them than a guest may have, and each must come through.
#[test]
fn a_guest_starts_while_many_descriptors_are_under_way() {
    let nothing = std::fs::File::open("/dev/null").expect("it is there");
    let under_way: Vec<_> = (0..20)
        .map(|_| {
            let (kept, sender) = cofferdam_wire::packet::pair().expect("two sockets");
            let descriptors = [nothing.as_fd(); 8];
            cofferdam_wire::packet::send(&sender, b"eight", &descriptors).expect("room");
            (kept, sender)
        })
        .collect();
    let mut guest = start("", "");
    guest.lives();
    drop(under_way);
}

/// As many as the promise names.
const STARTS: usize = 1000;

/// Run alone, by the test below: other tests of this process start and end guests at the same time.
#[test]
fn alone_a_thousand_starts() {
    if !is_alone() {
        return;
    }
    // What is opened once for all stays open.
    start("", "").lives();
    let before = leftovers();
    for index in 0..STARTS {
        let options = StartOptions { spare: index % 10 == 0, ..StartOptions::default() };
        let folder = tempfile::tempdir().expect("a folder");
        let mut guest =
            try_start("fixture", "", "", folder, options).0.unwrap_or_else(|error| panic!("{error}"));
        guest.lives();
        // Each way to end in turn: dropped, crashed, and caught.
        match index % 3 {
            0 => drop(guest.fails("crash")),
            1 => drop(violation(guest.call(228, &[0, 0]).expect_err("nothing allows it"))),
            _ => {}
        }
    }
    // The server waits for the last one's process a moment after the host has seen its end.
    let begun = Instant::now();
    while leftovers() != before && begun.elapsed() < Duration::from_secs(2) {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(leftovers(), before);
    // The counts can tell: a guest that runs is seen by all that a guest takes.
    let running = start("", "");
    let with_one = leftovers();
    for what in ["processes", "threads", "descriptors", "files in the temporary folder"] {
        assert!(with_one[what] > before[what], "{what}: {with_one:?} beside {before:?}");
    }
    drop(running);
}

#[test]
fn a_thousand_starts_leave_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let output =
        alone("alone_a_thousand_starts").env("TMPDIR", folder.path()).output().expect("a test has a program");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(entries(folder.path()), 0);
}

/// Set for a host that starts a launcher for each guest.
const WITHOUT_SERVER: &str = "COFFERDAM_TEST_WITHOUT_SERVER";

/// Starts a guest, says so, and waits.
#[test]
fn alone_wait_to_be_killed() {
    if !is_alone() {
        return;
    }
    let (folder, log) = (tempfile::tempdir().expect("a folder"), AuditLog::discard());
    let mut host = ProcessHost::from_path_ambient(&launcher(), ambient_authority()).expect("cargo built it");
    if std::env::var_os(WITHOUT_SERVER).is_some() {
        host = host.without_server();
    }
    let started = ProcessCompartment::start_ambient(
        &host,
        &planned("", ""),
        &guest("fixture"),
        folder.path(),
        &log,
        ambient_authority(),
    );
    let mut guest = started.unwrap_or_else(|error| panic!("{error}"));
    assert!(guest.call_typed::<_, u32>("add", &(1_u32, 2_u32)).is_ok());
    writeln!(std::io::stdout(), "\nready").expect("a pipe");
    std::thread::sleep(Duration::from_mins(1));
}

/// Whether a process is neither gone nor dead.
fn lives(pid: u32) -> bool {
    stat(pid, 0).is_some_and(|state| state != "Z" && state != "X")
}

/// Waits until each process that only waits for the guest has given up what it has no use for; gives how many those are.
fn are_confined(family: &[u32], host: u32, server: bool) -> usize {
    let begun = Instant::now();
    let guest = loop {
        match family.iter().find(|pid| is_filtered(**pid)) {
            Some(guest) => break *guest,
            None => assert!(begun.elapsed() < Duration::from_secs(5), "no guest among {family:?}"),
        }
    };
    let mut around = vec![guest];
    while parent_of(around[around.len() - 1]) != host {
        around.push(parent_of(around[around.len() - 1]));
    }
    // A server makes namespaces for others.
    if server {
        around.pop();
    }
    for pid in &around {
        for (name, value) in [
            ("CapEff", "0000000000000000"),
            ("CapPrm", "0000000000000000"),
            ("CapBnd", "0000000000000000"),
            ("NoNewPrivs", "1"),
            ("Seccomp", if *pid == guest { "2" } else { "0" }),
        ] {
            while status(*pid, name).as_deref() != Some(value) {
                assert!(begun.elapsed() < Duration::from_secs(5), "{pid}: {name}: {:?}", status(*pid, name));
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
    around.len()
}

/// Kills a host that has a guest, and gives the time until nothing of the guest is left.
fn time_to_end(server: bool) -> Duration {
    let mut command = alone("alone_wait_to_be_killed");
    if !server {
        command.env(WITHOUT_SERVER, "1");
    }
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().expect("a test has a program");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "ready"));
    // The guest and its process 1, and their launcher; or the server, and the one that stands ready.
    let (expected, around) = if server { (4, 2) } else { (3, 3) };
    let begun = Instant::now();
    let family = loop {
        let family = descendants(child.id());
        if family.len() == expected {
            break family;
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "{family:?}");
    };
    assert_eq!(are_confined(&family, child.id(), server), around);
    let begun = Instant::now();
    // SIGKILL: nothing in the host runs any more.
    child.kill().expect("ours");
    while family.iter().any(|pid| lives(*pid)) {
        assert!(begun.elapsed() < END_MAX, "{family:?} outlive their host");
        std::thread::sleep(Duration::from_micros(500));
    }
    let took = begun.elapsed();
    child.wait().expect("ours");
    took
}

/// Any one may take as long on a machine that is busy with other things.
const END_MAX: Duration = Duration::from_secs(2);
/// What is promised; at least one of a few keeps it, however busy the machine is.
const END_PROMISED: Duration = Duration::from_millis(100);

#[test]
fn a_guest_ends_with_its_host() {
    for server in [true, false] {
        let mut times: Vec<Duration> = (0..5).map(|_| time_to_end(server)).collect();
        times.sort();
        let what = "from SIGKILL of the host to the end of the last of its guest's processes";
        writeln!(std::io::stdout(), "{what}, server {server}: {times:?}").expect("a pipe");
        assert!(times[0] < END_PROMISED, "{times:?}");
    }
}

/// The listener stays open until the last process of the guest is gone. If it were closed before, the call that waits would fail,
/// and the guest would go on for as long as it takes to end it.
///
/// In a launcher of the test's own that moment is a third of a second long: it reports the end of the guest at once, and ends it later.
#[test]
fn a_violation_is_never_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    std::fs::create_dir(&out).expect("a folder");
    let host = ProcessHost::from_path_ambient(&guest("slow-to-die"), ambient_authority())
        .expect("built")
        .without_server();
    let mut compartment = ProcessCompartment::start_ambient(
        &host,
        &planned("filesystem = { write = [\"out\"] }", ""),
        &guest("fixture"),
        folder.path(),
        &AuditLog::discard(),
        ambient_authority(),
    )
    .unwrap_or_else(|error| panic!("{error}"));
    // It has no root of its own, so it names the host's paths.
    let mark = |name: &str| out.join(name);
    let mut call = |number: i64, name: &str| {
        let arguments = (number, vec![0_u64; 6], mark(name).to_str().expect("text").to_owned());
        compartment.call_typed::<_, i64>("call-and-mark", &arguments)
    };
    // `getpid` is answered, and the guest goes on: this is how the mark tells.
    assert!(call(39, "answered").expect("allowed") > 0);
    assert!(mark("answered").exists());
    let begun = Instant::now();
    let (name, ..) = violation(call(228, "went-on").expect_err("nothing allows it"));
    let took = begun.elapsed();
    assert_eq!(name, "clock_gettime");
    assert!(!mark("went-on").exists(), "the guest went on after a violation");
    assert!(
        took >= Duration::from_millis(300),
        "the guest was still there when its caller was told: {took:?}"
    );
    std::thread::sleep(Duration::from_millis(500));
    assert!(!mark("went-on").exists(), "the guest went on after a violation");
}

/// The same with the real launcher, while the machine is busy and the guest is ended at any moment.
#[test]
fn a_violation_is_never_answered_on_a_busy_machine() {
    let threads: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(|| {
                let mut guest = start("", "");
                for _ in 0..40 {
                    let (call, ..) = violation(guest.call(228, &[0, 0]).expect_err("nothing allows it"));
                    assert_eq!(call, "clock_gettime");
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("each a violation");
    }
}

/// All of the above as an ordinary user.
#[test]
fn everything_holds_for_an_ordinary_user_too() {
    as_an_ordinary_user();
}
