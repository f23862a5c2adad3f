//! Faults of wasm guests, many times over: a soak in which every call is accounted for once, crashes and fresh instances that leave
//! nothing behind, and a log that cannot be written.
//!
//! Bounded, and the same for one seed. `COFFERDAM_FAULT_ROUNDS` makes it longer (the default is for CI), `COFFERDAM_FAULT_SEED` other.

mod lines;
mod rounds;

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use ambient_authority::ambient_authority;
use cofferdam::client::Edge;
use cofferdam::wasm::{CallError, FaultKind, Val};
use cofferdam::{AuditLog, EdgeName, Runtime, RuntimeError, Source};
use lines::Lines;
use rounds::{Random, rounds, seed};

/// `add` works. The others fail, each in its way.
const GUEST: &str = r#"(component
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock (export "now" (func (result u64)))))
  (core func $now (canon lower (func $clock "now")))
  (core module $m
    (import "h" "now" (func $now (result i64)))
    (memory 1)
    (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add)
    (func (export "crash") unreachable)
    (func (export "wild") (drop (i32.load (i32.const -4))))
    (func $recurse (export "recurse") (call $recurse) (drop (i32.const 1)))
    (func (export "eat") (loop $again
      (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1))) unreachable))
    (func (export "spin") (loop $again (br $again)))
    (func (export "ask") (drop (call $now))))
  (core instance $i (instantiate $m (with "h" (instance (export "now" (func $now))))))
  (func (export "add") (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $i "add")))
  (func (export "crash") (canon lift (core func $i "crash")))
  (func (export "wild") (canon lift (core func $i "wild")))
  (func (export "recurse") (canon lift (core func $i "recurse")))
  (func (export "eat") (canon lift (core func $i "eat")))
  (func (export "spin") (canon lift (core func $i "spin")))
  (func (export "ask") (canon lift (core func $i "ask"))))"#;

fn start(folder: &Path, limits: &str, instances: usize, log: AuditLog) -> Result<Runtime, RuntimeError> {
    let path = folder.join("capabilities.toml");
    let text = format!(
        "[crates.app]\ndependencies = [\"guest\"]\n[crates.guest]\ncompartment = {{ backend = \"wasm\", limits = {{ {limits} }} }}\n"
    );
    std::fs::write(&path, text).expect("writable");
    let bytes = wat::parse_str(GUEST).expect("component text");
    Runtime::from_file_ambient(&path, ambient_authority())?
        .audit(log)
        .component("guest", Source::Bytes(bytes.into()))
        .instances("app -> guest", instances)
        .start_ambient(ambient_authority())
}

fn edge(runtime: &Runtime) -> Edge {
    runtime.edge(EdgeName { consumer: "app", krate: "guest" }).unwrap_or_else(|error| panic!("{error}"))
}

fn add(edge: &Edge, token: u32) {
    let sum = edge.call_untyped("add", &[Val::U32(token), Val::U32(1)]);
    assert!(
        matches!(sum.as_deref(), Ok([Val::U32(sum)]) if *sum == token + 1),
        "another call's answer: {sum:?}"
    );
}

/// Eight threads call three instances that answer, crash, overflow, want too much, try what is not granted and never end. Each call is made
/// once and ends once: as a value that is its own, or as an error that the log has.
#[test]
fn every_call_of_a_soak_is_accounted_for_once() {
    const THREADS: u64 = 8;
    const KINDS: usize = 5;
    let each = rounds(250);
    let (folder, log) = (tempfile::tempdir().expect("a folder"), Lines::default());
    // Long enough for a call that waits for three others on a busy machine, and short enough for those that never end.
    let limits = "call-deadline = \"400ms\", memory = \"1MiB\"";
    let runtime = start(folder.path(), limits, 8, AuditLog::to_writer(log.clone()))
        .unwrap_or_else(|error| panic!("{error}"));
    let edge = edge(&runtime);
    let counts: [AtomicU64; KINDS] = Default::default();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (edge, counts) = (&edge, &counts);
            scope.spawn(move || {
                let mut random = Random(seed().wrapping_add(thread));
                for round in 0..each {
                    let (function, kind) = match random.below(200) {
                        0..20 => ("crash", 1),
                        20..40 => ("wild", 1),
                        40..50 => ("recurse", 1),
                        50..60 => ("eat", 2),
                        60..80 => ("ask", 3),
                        80 => ("spin", 4),
                        _ => ("add", 0),
                    };
                    if kind == 0 {
                        add(edge, u32::try_from(thread * 1_000_000 + round).expect("small"));
                    } else {
                        let error = edge.call_untyped(function, &[]).expect_err(function);
                        let fits = match (kind, &error) {
                            (1, CallError::Fault { kind, .. }) => !matches!(kind, FaultKind::Exit(_)),
                            (2, CallError::Limit { what: "memory", .. })
                            | (3, CallError::Violation { .. })
                            | (4, CallError::Deadline { .. }) => true,
                            _ => false,
                        };
                        assert!(fits && error.edge() == Some("app -> guest"), "{function}: {error:?}");
                    }
                    counts[kind].fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    let counts = counts.map(|count| count.load(Ordering::SeqCst));
    let all = counts.iter().sum::<u64>();
    assert_eq!(all, THREADS * each);
    let text = log.text();
    let told = |event: &str| text.matches(&format!("\"event\":\"{event}\"")).count() as u64;
    assert_eq!(told("violation"), counts[3], "each violation is told once");
    assert_eq!(
        told("violation") + told("fault"),
        all - counts[0],
        "each failure is told once, and no value is"
    );
    let status = runtime.list().remove(0);
    assert_eq!(status.calls, (all, all - counts[0]), "{status:?}");
    writeln!(
        std::io::stdout(),
        "{all} calls: {} values, {} faults, {} of memory, {} violations, {} deadlines",
        counts[0],
        counts[1],
        counts[2],
        counts[3],
        counts[4]
    )
    .expect("a pipe");
}

/// Bytes of memory that this process has resident.
#[cfg(target_os = "linux")]
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("proc");
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number") * 4096
}

#[cfg(target_os = "linux")]
#[test]
fn crashes_and_fresh_instances_leave_nothing() {
    let (folder, total) = (tempfile::tempdir().expect("a folder"), rounds(2_000));
    let runtime = start(folder.path(), "memory = \"1MiB\"", 1, AuditLog::discard());
    let edge = edge(&runtime.unwrap_or_else(|error| panic!("{error}")));
    let ways = ["crash", "wild", "recurse", "eat", "ask"];
    let (mut random, mut after_a_third) = (Random(seed()), 0);
    for round in 0..total {
        let way = ways[usize::try_from(random.below(5)).expect("small")];
        edge.call_untyped(way, &[]).expect_err(way);
        add(&edge, 4);
        if round == total / 3 {
            after_a_third = resident();
        }
    }
    let last = resident();
    // The soak beside it has eight instances of 1 MiB.
    assert!(last < after_a_third + (24 << 20), "{after_a_third} bytes after a third, {last} at the end");
    writeln!(std::io::stdout(), "{total} crashes; {after_a_third} bytes after a third, {last} at the end")
        .expect("a pipe");
}

/// What cannot be recorded does not happen, or is not handed on.
#[cfg(target_os = "linux")]
#[test]
fn nothing_goes_unrecorded_on_a_full_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let runtime =
        start(folder.path(), "", 1, AuditLog::to_writer(full)).unwrap_or_else(|error| panic!("{error}"));
    let edge = edge(&runtime);
    add(&edge, 1);
    for way in ["crash", "ask"] {
        let error = edge.call_untyped(way, &[]).expect_err(way);
        assert!(matches!(error, CallError::Audit(_)), "{way}: {error:?}");
        assert_eq!(error.edge(), None);
    }
    add(&edge, 2);
}
