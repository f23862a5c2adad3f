//! What a hundred compartments leave behind when they end: nothing. A process of its own, so that everything can be counted.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ambient_authority::ambient_authority;
use cofferdam::client::Edge;
use cofferdam::wasm::Val;
use cofferdam::{AuditLog, EdgeName, Runtime, Source};

/// Counts its calls, and has a page of memory to lose.
const COUNTER: &str = r#"(component
  (core module $m
    (memory 1)
    (global $calls (mut i32) (i32.const 0))
    (func (export "count") (result i32)
      (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
      (i32.store (i32.const 0) (global.get $calls))
      (i32.load (i32.const 0))))
  (core instance $i (instantiate $m))
  (func (export "count") (result u32) (canon lift (core func $i "count"))))"#;

const COMPARTMENTS: usize = 100;
const THREADS: usize = 8;
const CALLS: usize = 200;

/// Descriptors, threads, and mappings of this process.
fn counted() -> (usize, usize, usize) {
    let entries = |folder: &str| std::fs::read_dir(folder).expect("Linux").count();
    let maps = std::fs::read_to_string("/proc/self/maps").expect("Linux");
    (entries("/proc/self/fd"), entries("/proc/self/task"), maps.lines().count())
}

/// Resident memory, bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("always there");
    line.trim().trim_end_matches(" kB").trim().parse::<usize>().expect("a number") << 10
}

fn manifest() -> String {
    let mut text = "[holds]\nfilesystem = { read = [\"data\"] }\n[crates.app]\ndependencies = [".to_owned();
    for index in 0..COMPARTMENTS {
        let _ = write!(text, "\"c{index}\", ");
    }
    text += "]\n";
    for index in 0..COMPARTMENTS {
        let _ = write!(text, "[crates.app.grants.c{index}]\nfilesystem = {{ read = [\"data\"] }}\n");
        let _ = write!(
            text,
            "[crates.c{index}]\nconsumes = {{ \"filesystem.read\" = \"it asks\" }}\ncompartment = {{ backend = \"wasm\" }}\n"
        );
    }
    text
}

/// Starts all of them, calls them from several threads, and ends them.
fn run(manifest: &Path, component: &Arc<[u8]>) {
    let mut builder = Runtime::from_file_ambient(manifest, ambient_authority())
        .unwrap_or_else(|error| panic!("{error}"))
        .audit(AuditLog::discard());
    for index in 0..COMPARTMENTS {
        builder = builder.component(&format!("c{index}"), Source::Bytes(Arc::clone(component)));
    }
    let runtime = builder.eager().start_ambient(ambient_authority()).expect("starts");
    let edge = |index: usize| {
        runtime.edge(EdgeName { consumer: "app", krate: &format!("c{index}") }).expect("starts")
    };
    let edges: Arc<Vec<Edge>> = Arc::new((0..COMPARTMENTS).map(edge).collect());
    let called = |worker: usize, call: usize| (worker * 37 + call) % COMPARTMENTS;
    let workers: Vec<_> = (0..THREADS)
        .map(|worker| {
            let edges = Arc::clone(&edges);
            std::thread::spawn(move || {
                for call in 0..CALLS {
                    edges[called(worker, call)].call_untyped("count", &[]).expect("an answer");
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().expect("no panic");
    }
    // Each has counted its own calls, and no two of them count together.
    for (index, edge) in edges.iter().enumerate() {
        let all = (0..THREADS).flat_map(|worker| (0..CALLS).map(move |call| called(worker, call)));
        let own = u32::try_from(all.filter(|called| *called == index).count()).expect("small");
        assert_eq!(edge.call_untyped("count", &[]).expect("an answer"), [Val::U32(own + 1)], "c{index}");
    }
    let calls: u64 = runtime.list().iter().map(|status| status.calls.0).sum();
    assert_eq!(calls, (THREADS * CALLS + COMPARTMENTS) as u64);
    assert!(counted().0 > COMPARTMENTS, "each has its folder open");
}

#[test]
fn a_hundred_compartments_called_from_eight_threads_leave_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("data")).expect("writable");
    let path = folder.path().join("capabilities.toml");
    std::fs::write(&path, manifest()).expect("writable");
    let component: Arc<[u8]> = wat::parse_str(COUNTER).expect("text").into();
    // The first runs make what a process keeps: thread-locals, signal handlers, the allocator's arenas.
    run(&path, &component);
    run(&path, &component);
    let (before, memory) = (counted(), resident());
    for _ in 0..3 {
        run(&path, &component);
    }
    // A runtime's own threads end on their own time.
    for _ in 0..500 {
        if counted().1 <= before.1 {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let after = counted();
    assert_eq!((after.0, after.1), (before.0, before.1), "descriptors and threads");
    // The allocator maps and keeps as it likes; three hundred lost instances would be as many mappings and pages of 64 KiB each.
    assert!(after.2 < before.2 + COMPARTMENTS, "mappings: {before:?} {after:?}");
    let grown = resident().saturating_sub(memory);
    assert!(grown < COMPARTMENTS * (64 << 10), "{grown} bytes more are resident");
}
