//! Wasm compartments: each grant works and its absence stops it; each limit is tripped; the host and the next call live on.
//!
//! The guests are written by hand as component text, so that each does exactly what its test says.

mod lines;

use std::io::Write;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use ambient_authority::ambient_authority;
use cofferdam::manifest::{
    Capability, Files, Form, HostCapability, ManifestText, ProjectBuilder, parse, resolve,
};
use cofferdam::wasm::{CallError, FaultKind, StartError, Val, WasmCompartment, WasmHost, inspect};
use cofferdam::{AuditLog, CompartmentPlan, plan};
use lines::Lines;

/// One engine for all tests of this process.
fn host() -> &'static WasmHost {
    static HOST: OnceLock<WasmHost> = OnceLock::new();
    HOST.get_or_init(|| WasmHost::new().expect("wasm runs here"))
}

/// The plan of a compartment `guest` under `app`, with these grants and limits: through the whole pipeline.
fn planned(grants: &str, limits: &str) -> CompartmentPlan {
    let text = format!(
        "[holds]\n{grants}\n[crates.app]\ndependencies = [\"guest\"]\n{}\n[crates.guest]\n\
         compartment = {{ backend = \"wasm\", limits = {{ {limits} }} }}\n",
        if grants.is_empty() { String::new() } else { format!("[crates.app.grants.guest]\n{grants}") },
    );
    let mut files = Files::default();
    let file = files.add(ManifestText::from_bytes("capabilities.toml", text.into()).expect("small"));
    let manifest =
        parse(file, files.get(file), Form::Standalone).unwrap_or_else(|errors| panic!("{}", errors[0].kind));
    let project = ProjectBuilder::standalone(files, manifest).expect("a graph");
    let resolution = resolve(&project);
    let graph = resolution.granted(&project).unwrap_or_else(|| panic!("{}", resolution.denials()[0].kind));
    plan(&project, &graph).expect("the pages are right").compartments.remove(0)
}

struct Guest {
    compartment: WasmCompartment,
    log: Lines,
    folder: tempfile::TempDir,
}

fn try_start(
    wat: &str,
    grants: &str,
    limits: &str,
    folder: tempfile::TempDir,
) -> (Result<Guest, StartError>, Lines) {
    let log = Lines::default();
    let bytes = wat::parse_str(wat).expect("component text");
    let started = WasmCompartment::start_ambient(
        host(),
        &planned(grants, limits),
        &bytes,
        folder.path(),
        &AuditLog::to_writer(log.clone()),
        ambient_authority(),
    );
    (started.map(|compartment| Guest { compartment, log: log.clone(), folder }), log)
}

fn start(wat: &str, grants: &str, limits: &str) -> Guest {
    let folder = tempfile::tempdir().expect("a folder");
    try_start(wat, grants, limits, folder).0.unwrap_or_else(|error| panic!("{error}"))
}

impl Guest {
    fn call(&mut self, function: &str, arguments: &[Val]) -> Result<Vec<Val>, CallError> {
        self.compartment.call(function, arguments)
    }

    fn number(&mut self, function: &str, arguments: &[Val]) -> u32 {
        match self.call(function, arguments).unwrap_or_else(|error| panic!("{error}")).as_slice() {
            [Val::U32(number)] => *number,
            other => panic!("{other:?}"),
        }
    }
}

const ADD: &str = r#"(component
  (core module $m
    (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))
  (core instance $i (instantiate $m))
  (func (export "add") (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $i "add"))))"#;

/// With records of an interface that has no functions, as an exported interface that uses them brings it.
const USES_TYPES: &str = r#"(component
  (type $types (instance (type $outer (record (field "a" u32))) (export "outer" (type (eq $outer)))))
  (import "local:echo/types@0.1.0" (instance (type $types)))
  (core module $m
    (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))
  (core instance $i (instantiate $m))
  (func (export "add") (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $i "add"))))"#;

#[test]
fn an_interface_of_types_alone_needs_nobody_behind_it() {
    let mut guest = start(USES_TYPES, "", "");
    assert_eq!(guest.number("add", &[Val::U32(1), Val::U32(2)]), 3);
}

/// Bad in the way of each export; `fine` is not.
const BAD: &str = r#"(component
  (core module $m
    (memory 1)
    (global $state (mut i32) (i32.const 0))
    (table $t 1 funcref)
    (func $recurse (export "recurse") (call $recurse) (drop (i32.const 1)))
    (func (export "spin") (loop $again (br $again)))
    (func (export "panic") unreachable)
    (func (export "divide") (drop (i32.div_u (i32.const 1) (i32.const 0))))
    (func (export "wild") (drop (i32.load (i32.const -4))))
    (func (export "eat") (loop $again
      (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))
      unreachable))
    (func (export "table") (loop $again
      (br_if $again (i32.ne (table.grow $t (ref.null func) (i32.const 10000)) (i32.const -1)))
      unreachable))
    (func (export "fine") (result i32)
      (global.set $state (i32.add (global.get $state) (i32.const 1)))
      (global.get $state)))
  (core instance $i (instantiate $m))
  (func (export "recurse") (canon lift (core func $i "recurse")))
  (func (export "spin") (canon lift (core func $i "spin")))
  (func (export "panic") (canon lift (core func $i "panic")))
  (func (export "divide") (canon lift (core func $i "divide")))
  (func (export "wild") (canon lift (core func $i "wild")))
  (func (export "eat") (canon lift (core func $i "eat")))
  (func (export "table") (canon lift (core func $i "table")))
  (func (export "fine") (result u32) (canon lift (core func $i "fine"))))"#;

#[test]
fn a_call_gives_its_result() {
    let mut guest = start(ADD, "", "");
    assert_eq!(guest.number("add", &[Val::U32(40), Val::U32(2)]), 42);
    assert_eq!(guest.compartment.exports(), ["add"]);
    assert_eq!(guest.compartment.edge(), "app -> guest");
}

#[test]
fn wrong_uses_are_errors_and_cost_nothing() {
    let mut guest = start(ADD, "", "");
    assert!(
        matches!(guest.call("sub", &[]), Err(CallError::UnknownFunction { known, .. }) if known == ["add"])
    );
    assert!(matches!(guest.call("add", &[Val::U32(1)]), Err(CallError::Usage { .. })));
    assert_eq!(guest.number("add", &[Val::U32(1), Val::U32(2)]), 3);
}

#[test]
fn faults_are_told_apart_and_the_next_call_begins_afresh() {
    let mut guest = start(BAD, "", "call-deadline = \"200ms\"");
    assert_eq!(guest.number("fine", &[]), 1);
    assert_eq!(guest.number("fine", &[]), 2, "state is kept between calls that went well");
    for (function, kind) in [
        ("panic", FaultKind::Panic(None)),
        ("recurse", FaultKind::StackOverflow),
        ("divide", FaultKind::Trap("wasm trap: integer divide by zero".to_owned())),
        ("wild", FaultKind::Trap("wasm trap: out of bounds memory access".to_owned())),
    ] {
        let error = guest.call(function, &[]).expect_err(function);
        assert!(
            matches!(&error, CallError::Fault { kind: found, edge } if *found == kind && edge == "app -> guest"),
            "{function}: {error:?}"
        );
        assert_eq!(guest.number("fine", &[]), 1, "{function}: a fresh instance");
    }
    assert_eq!(guest.log.text().matches("\"event\":\"fault\"").count(), 4, "{}", guest.log.text());
}

#[test]
fn a_deadline_ends_a_loop() {
    let mut guest = start(BAD, "", "call-deadline = \"50ms\"");
    let begun = Instant::now();
    let error = guest.call("spin", &[]).expect_err("it never ends");
    assert!(
        matches!(error, CallError::Deadline { deadline, .. } if deadline == Duration::from_millis(50)),
        "{error:?}"
    );
    assert!(begun.elapsed() >= Duration::from_millis(50));
    assert!(guest.log.text().contains("\"kind\":\"deadline\""));
    assert_eq!(guest.number("fine", &[]), 1);
}

#[test]
fn a_deadline_ends_a_loop_before_the_first_call_too() {
    let spin = r#"(component
      (core module $m
        (func $spin (loop $again (br $again)))
        (start $spin)
        (func (export "f")))
      (core instance $i (instantiate $m))
      (func (export "f") (canon lift (core func $i "f"))))"#;
    let mut guest = start(spin, "", "call-deadline = \"50ms\"");
    assert!(matches!(guest.call("f", &[]), Err(CallError::Deadline { .. })));
}

#[test]
fn processor_time_is_counted_over_calls() {
    let mut guest = start(BAD, "", "call-deadline = \"40ms\", cpu-time = \"60ms\"");
    assert!(
        matches!(guest.call("spin", &[]), Err(CallError::Deadline { deadline, .. }) if deadline == Duration::from_millis(40))
    );
    // What is left is less than the deadline, and then nothing is.
    for function in ["spin", "fine", "spin"] {
        let error = guest.call(function, &[]).expect_err("it runs out");
        assert!(matches!(error, CallError::Limit { what: "processor time", .. }), "{function}: {error}");
    }
    let text = guest.log.text();
    assert_eq!(text.matches(r#""kind":"deadline","detail":"40ms""#).count(), 1, "{text}");
    assert_eq!(text.matches(r#""kind":"limit","detail":"processor time""#).count(), 3, "{text}");
}

#[test]
fn memory_is_bounded() {
    let mut guest = start(BAD, "", "memory = \"4MiB\"");
    assert!(matches!(guest.call("eat", &[]), Err(CallError::Limit { what: "memory", .. })));
    assert!(matches!(guest.call("table", &[]), Err(CallError::Limit { what: "table elements", .. })));
    assert_eq!(guest.number("fine", &[]), 1);
    assert!(guest.log.text().contains("\"kind\":\"limit\",\"detail\":\"memory\""), "{}", guest.log.text());
}

#[test]
fn memory_is_summed_over_memories() {
    let many = r#"(component
      (core module $m (memory 20) (memory 20) (memory 20) (memory 20) (func (export "f")))
      (core instance $i (instantiate $m))
      (func (export "f") (canon lift (core func $i "f"))))"#;
    // Each is 1.25 MiB; all four together are 5.
    assert!(matches!(
        start(many, "", "memory = \"4MiB\"").call("f", &[]),
        Err(CallError::Limit { what: "memory", .. })
    ));
    assert!(start(many, "", "memory = \"6MiB\"").call("f", &[]).is_ok());
}

#[test]
fn memory_and_tables_are_bounded_at_their_edge() {
    let call = |definition: &str, limits: &str| {
        let wat = format!(
            r#"(component
              (core module $m {definition} (func (export "fine") (result i32) i32.const 1))
              (core instance $i (instantiate $m))
              (func (export "fine") (result u32) (canon lift (core func $i "fine"))))"#
        );
        start(&wat, "", limits).call("fine", &[])
    };
    let limited = |outcome: Result<Vec<Val>, CallError>, limit: &str| match outcome {
        Err(CallError::Limit { what, .. }) => assert_eq!(what, limit),
        other => panic!("{limit}: {other:?}"),
    };
    // A page is 64 KiB.
    assert!(call("(memory 16)", "memory = \"1MiB\"").is_ok());
    limited(call("(memory 17)", "memory = \"1MiB\""), "memory");
    assert!(call("(memory 16)", "memory = \"1048576B\"").is_ok());
    limited(call("(memory 16)", "memory = \"1048575B\""), "memory");
    let most = cofferdam::wasm::TABLE_ELEMENTS_MAX;
    assert!(call(&format!("(table {most} funcref)"), "").is_ok());
    limited(call(&format!("(table {} funcref)", most + 1), ""), "table elements");
    limited(call(&format!("(table {most} funcref) (table 1 funcref)"), ""), "table elements");
}

/// Asks for the time, for random numbers, or to exit; reads the environment; writes to standard output.
const ASKS: &str = r#"(component
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (export "now" (func (result u64)))))
  (import "wasi:random/random@0.2.0" (instance $random
    (export "get-random-u64" (func (result u64)))))
  (import "wasi:cli/exit@0.2.0" (instance $exit
    (export "exit" (func (param "status" (result))))))
  (import "wasi:cli/environment@0.2.0" (instance $environment
    (export "get-environment" (func (result (list (tuple string string)))))))
  (core module $libc
    (memory (export "memory") 4)
    (global $next (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.set $next (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.get $next)
      (global.set $next (i32.add (global.get $next) (local.get 3)))))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (core func $now (canon lower (func $clock "now")))
  (core func $u64 (canon lower (func $random "get-random-u64")))
  (core func $exit (canon lower (func $exit "exit")))
  (core func $env (canon lower (func $environment "get-environment")
    (memory (core memory $memory)) (realloc (core func $libc "realloc"))))
  (core module $m
    (import "h" "now" (func $now (result i64)))
    (import "h" "u64" (func $u64 (result i64)))
    (import "h" "exit" (func $exit (param i32)))
    (import "h" "env" (func $env (param i32)))
    (import "h" "memory" (memory 1))
    (func (export "now") (result i64) (call $now))
    (func (export "roll") (result i64) (call $u64))
    (func (export "leave") (call $exit (i32.const 1)))
    (func (export "variables") (result i32) (call $env (i32.const 16)) (i32.load (i32.const 20))))
  (core instance $i (instantiate $m (with "h" (instance
    (export "now" (func $now)) (export "u64" (func $u64)) (export "exit" (func $exit))
    (export "env" (func $env)) (export "memory" (memory $memory))))))
  (func (export "now") (result u64) (canon lift (core func $i "now")))
  (func (export "roll") (result u64) (canon lift (core func $i "roll")))
  (func (export "leave") (canon lift (core func $i "leave")))
  (func (export "variables") (result u32) (canon lift (core func $i "variables"))))"#;

#[test]
fn what_is_not_granted_is_a_violation_with_the_line_that_would_allow_it() {
    let mut guest = start(ASKS, "", "");
    for (function, capability, attempt, line) in [
        ("now", HostCapability::Clock, "wasi:clocks/monotonic-clock@0.2.0#now", "clock = true"),
        ("roll", HostCapability::Entropy, "wasi:random/random@0.2.0#get-random-u64", "entropy = true"),
        ("leave", HostCapability::ProcessExit, "wasi:cli/exit@0.2.0#exit", "process = { exit = true }"),
    ] {
        match guest.call(function, &[]) {
            Err(CallError::Violation { edge, capability: found, attempt: tried, line: offered }) => {
                assert_eq!((edge.as_str(), found), ("app -> guest", Some(Capability::host(capability))));
                assert_eq!((tried.as_str(), offered.as_deref()), (attempt, Some(line)));
            }
            other => panic!("{function}: {other:?}"),
        }
    }
    let log = guest.log.text();
    assert_eq!(log.matches("\"event\":\"violation\"").count(), 3, "{log}");
    assert!(
        log.contains("\"capability\":\"clock\",\"attempt\":\"wasi:clocks/monotonic-clock@0.2.0#now\""),
        "{log}"
    );
}

#[test]
fn what_is_granted_is_given() {
    let mut guest = start(ASKS, "clock = true\nentropy = true\nprocess = { exit = true }", "");
    let log = guest.log.text();
    assert_eq!(log.matches("\"event\":\"grant\"").count(), 3, "{log}");
    let (Ok(first), Ok(second)) = (guest.call("roll", &[]), guest.call("roll", &[])) else {
        panic!("entropy is granted")
    };
    assert_ne!(first, second);
    assert!(guest.call("now", &[]).is_ok());
    let left = guest.call("leave", &[]).expect_err("it ends the compartment");
    assert!(matches!(left, CallError::Fault { kind: FaultKind::Exit(1), .. }), "{left:?}");
    assert!(guest.call("now", &[]).is_ok(), "only the compartment ended");
}

#[test]
fn a_coarse_clock_is_coarse() {
    let mut guest = start(ASKS, "clock = { resolution = \"1s\" }", "");
    for _ in 0..3 {
        let Ok([Val::U64(now)]) = guest.call("now", &[]).as_deref().map(|values| [values[0].clone()]) else {
            panic!("granted")
        };
        assert_eq!(now % 1_000_000_000, 0);
    }
}

#[test]
fn only_granted_variables_are_there() {
    // Cargo sets these for every test.
    assert!(std::env::var_os("CARGO_PKG_NAME").is_some());
    assert_eq!(start(ASKS, "", "").number("variables", &[]), 0);
    assert_eq!(
        start(ASKS, "environment = { read = [\"CARGO_PKG_NAME\", \"NOT_SET_ANYWHERE\"] }", "")
            .number("variables", &[]),
        1
    );
    assert!(start(ASKS, "environment = { read = [\"CARGO_PKG_*\"] }", "").number("variables", &[]) > 1);
}

/// Opens a file below its first folder; answers 0, or 1 more than the error's number, or 1000 without a folder.
const OPENS: &str = r#"(component
  (import "wasi:filesystem/types@0.2.0" (instance $types
    (export "descriptor" (type $descriptor (sub resource)))
    (type $e (enum "access" "would-block" "already" "bad-descriptor" "busy" "deadlock" "quota" "exist" "file-too-large"
      "illegal-byte-sequence" "in-progress" "interrupted" "invalid" "io" "is-directory" "loop" "too-many-links"
      "message-size" "name-too-long" "no-device" "no-entry" "no-lock" "insufficient-memory" "insufficient-space"
      "not-directory" "not-empty" "not-recoverable" "unsupported" "no-tty" "no-such-device" "overflow" "not-permitted"
      "pipe" "read-only" "invalid-seek" "text-file-busy" "cross-device"))
    (export "error-code" (type $error (eq $e)))
    (type $p (flags "symlink-follow"))
    (export "path-flags" (type $path-flags (eq $p)))
    (type $o (flags "create" "directory" "exclusive" "truncate"))
    (export "open-flags" (type $open-flags (eq $o)))
    (type $d (flags "read" "write" "file-integrity-sync" "data-integrity-sync" "requested-write-sync" "mutate-directory"))
    (export "descriptor-flags" (type $descriptor-flags (eq $d)))
    (export "[method]descriptor.open-at" (func (param "self" (borrow $descriptor)) (param "path-flags" $path-flags)
      (param "path" string) (param "open-flags" $open-flags) (param "flags" $descriptor-flags)
      (result (result (own $descriptor) (error $error)))))))
  (alias export $types "descriptor" (type $descriptor))
  (import "wasi:filesystem/preopens@0.2.0" (instance $preopens
    (export "descriptor" (type $d (eq $descriptor)))
    (export "get-directories" (func (result (list (tuple (own $d) string)))))))
  (core module $libc
    (memory (export "memory") 4)
    (global $next (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.set $next (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.get $next)
      (global.set $next (i32.add (global.get $next) (local.get 3)))))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (core func $dirs (canon lower (func $preopens "get-directories") (memory (core memory $memory)) (realloc (core func $libc "realloc"))))
  (core func $open (canon lower (func $types "[method]descriptor.open-at") (memory $memory)))
  (core module $m
    (import "h" "dirs" (func $dirs (param i32)))
    (import "h" "open" (func $open (param i32 i32 i32 i32 i32 i32 i32)))
    (import "h" "memory" (memory 1))
    (func (export "open") (param $path i32) (param $length i32) (param $create i32) (param $write i32) (result i32)
      (call $dirs (i32.const 16))
      (if (i32.eqz (i32.load (i32.const 20))) (then (return (i32.const 1000))))
      (call $open
        (i32.load (i32.load (i32.const 16))) (i32.const 1) (local.get $path) (local.get $length) (local.get $create)
        (i32.or (i32.const 1) (i32.shl (local.get $write) (i32.const 1))) (i32.const 32))
      (if (result i32) (i32.eqz (i32.load8_u (i32.const 32)))
        (then (i32.const 0))
        (else (i32.add (i32.load8_u (i32.const 36)) (i32.const 1))))))
  (core instance $i (instantiate $m (with "h" (instance
    (export "dirs" (func $dirs)) (export "open" (func $open)) (export "memory" (memory $memory))))))
  (func (export "open") (param "path" string) (param "create" bool) (param "write" bool) (result u32)
    (canon lift (core func $i "open") (memory (core memory $memory)) (realloc (core func $libc "realloc")))))"#;

const NO_ENTRY: u32 = 21;
const NOT_PERMITTED: u32 = 32;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir_all(folder.path().join("data/sub")).expect("writable");
    std::fs::write(folder.path().join("data/file"), "x").expect("writable");
    std::fs::write(folder.path().join("secret"), "x").expect("writable");
    std::os::unix::fs::symlink("../secret", folder.path().join("data/link")).expect("writable");
    folder
}

fn open(guest: &mut Guest, path: &str, create: bool, write: bool) -> u32 {
    guest.number("open", &[Val::String(path.to_owned()), Val::Bool(create), Val::Bool(write)])
}

#[test]
fn without_a_grant_there_is_a_folder_that_leads_nowhere() {
    let folder = folder();
    let outside = std::fs::read_dir(&folder).expect("readable").count();
    let (guest, _) = try_start(OPENS, "", "", folder);
    let mut guest = guest.expect("starts");
    for path in ["file", "/etc/passwd", "../secret", "etc", "dev/null"] {
        assert_eq!(open(&mut guest, path, false, false), NO_ENTRY, "{path}");
        assert_eq!(open(&mut guest, path, true, true), NO_ENTRY, "{path}");
    }
    for path in [".", "/", "./."] {
        assert_eq!(open(&mut guest, path, false, false), NOT_PERMITTED, "{path}");
    }
    assert_eq!(std::fs::read_dir(guest.folder.path()).expect("readable").count(), outside);
}

#[test]
fn a_folder_granted_for_reading_is_read_only_and_has_no_way_out() {
    let (guest, _) = try_start(OPENS, "filesystem = { read = [\"data\"] }", "", folder());
    let mut guest = guest.expect("starts");
    assert_eq!(open(&mut guest, "file", false, false), 0);
    assert_eq!(open(&mut guest, "missing", false, false), NO_ENTRY);
    assert_eq!(open(&mut guest, "new", true, true), NOT_PERMITTED);
    assert!(!guest.folder.path().join("data/new").exists());
    assert_ne!(open(&mut guest, "file", false, true), 0);
    for path in ["../secret", "/etc/passwd", "sub/../../secret", "link"] {
        assert_eq!(open(&mut guest, path, false, false), NOT_PERMITTED, "{path}");
    }
}

#[test]
fn a_folder_granted_for_writing_can_be_written() {
    let (guest, _) = try_start(OPENS, "filesystem = { write = [\"data\"], read = [\"data\"] }", "", folder());
    let mut guest = guest.expect("starts");
    assert_eq!(open(&mut guest, "new", true, true), 0);
    assert!(guest.folder.path().join("data/new").exists());
    assert_eq!(open(&mut guest, "../new", true, true), NOT_PERMITTED);
}

#[test]
fn handles_are_bounded() {
    let (guest, _) = try_start(OPENS, "filesystem = { read = [\"data\"] }", "handles = 8", folder());
    let mut guest = guest.expect("starts");
    let mut opened = 0;
    // The guest never closes one: each call takes two.
    let error = loop {
        match guest.call("open", &[Val::String("file".to_owned()), Val::Bool(false), Val::Bool(false)]) {
            Ok(_) => opened += 1,
            Err(error) => break error,
        }
        assert!(opened < 20, "no bound on handles");
    };
    let CallError::Limit { edge, what } = &error else { panic!("{error:?}") };
    assert_eq!((edge.as_str(), *what), ("app -> guest", "handles"));
    assert!(
        guest.call("open", &[Val::String("file".to_owned()), Val::Bool(false), Val::Bool(false)]).is_ok()
    );
}

/// Makes so many handles of its own, and keeps them.
const HANDLES: &str = r#"(component
  (type $r (resource (rep i32)))
  (core func $new (canon resource.new $r))
  (core module $m
    (import "" "new" (func $new (param i32) (result i32)))
    (func (export "make") (param $left i32)
      (block $done (loop $next
        (br_if $done (i32.eqz (local.get $left)))
        (drop (call $new (i32.const 1)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br $next)))))
  (core instance $i (instantiate $m (with "" (instance (export "new" (func $new))))))
  (func (export "make") (param "count" u32) (canon lift (core func $i "make"))))"#;

#[test]
fn handles_of_a_guests_own_are_bounded_at_their_edge() {
    for (limits, most) in [("handles = 8", 8), ("", 1_000)] {
        let mut guest = start(HANDLES, "", limits);
        assert!(guest.call("make", &[Val::U32(most)]).is_ok(), "{limits}");
        // They are kept between calls.
        let error = guest.call("make", &[Val::U32(1)]).expect_err("one more");
        assert!(matches!(&error, CallError::Limit { what: "handles", .. }), "{limits}: {error:?}");
        // A fresh instance has none.
        let error = guest.call("make", &[Val::U32(most + 1)]).expect_err("one more at once");
        assert!(matches!(&error, CallError::Limit { what: "handles", .. }), "{limits}: {error:?}");
    }
}

#[test]
fn what_cannot_be_enforced_does_not_start() {
    // A guest opens a path below the folder whose name begins it, so of two with one name it would see one.
    let folder = folder();
    std::fs::create_dir(folder.path().join("other")).expect("writable");
    std::fs::write(folder.path().join("other/words"), "x").expect("writable");
    let grants = "filesystem = { read = [{ file = \"data/file\" }, { file = \"data/more\" }] }";
    std::fs::write(folder.path().join("data/more"), "x").expect("writable");
    let (started, log) = try_start(ADD, grants, "", folder);
    match started.err() {
        Some(StartError::CannotEnforce { edge, what }) => {
            assert_eq!(edge, "app -> guest");
            assert!(what.contains("two granted paths with the same folder inside"), "{what}");
        }
        other => panic!("{other:?}"),
    }
    assert!(log.text().contains("\"event\":\"refused\""), "{}", log.text());
}

#[test]
fn a_missing_folder_is_an_error_of_the_start() {
    let (started, _) = try_start(OPENS, "filesystem = { read = [\"nowhere\"] }", "", folder());
    assert!(matches!(started.err(), Some(StartError::Path { path, .. }) if path == "nowhere"));
}

#[test]
fn an_unknown_import_never_passes() {
    let wants = r#"(component
      (import "vendor:gpu/queue@1.0.0" (instance (export "submit" (func))))
      (import "wasi:keyvalue/store@0.2.0" (instance (export "open" (func)))))"#;
    let (started, _) = try_start(wants, "", "", folder());
    match started.err() {
        Some(StartError::UnknownImports { edge, imports }) => {
            assert_eq!(edge, "app -> guest");
            assert_eq!(imports, ["`vendor:gpu/queue@1.0.0`", "`wasi:keyvalue/store@0.2.0`"]);
        }
        other => panic!("{other:?}"),
    }
    let (started, _) = try_start("(module)", "", "", folder());
    assert!(matches!(started.err(), Some(StartError::NotAComponent { .. })));
}

#[test]
fn two_edges_to_one_component_share_nothing() {
    let mut left = start(BAD, "", "");
    let mut right = start(BAD, "", "");
    assert_eq!((left.number("fine", &[]), left.number("fine", &[]), right.number("fine", &[])), (1, 2, 1));
    assert!(left.call("panic", &[]).is_err());
    assert_eq!(right.number("fine", &[]), 2, "a fault in one leaves the other alone");
}

#[test]
fn inspect_reads_imports_as_capabilities() {
    let bytes = wat::parse_str(ASKS).expect("component text");
    let summary = inspect(host(), "asks", &bytes).expect("a component");
    let found: Vec<(String, Vec<HostCapability>)> =
        summary.imports.into_iter().map(|import| (import.interface, import.capabilities)).collect();
    assert_eq!(
        found,
        [
            ("wasi:clocks/monotonic-clock@0.2.0".to_owned(), vec![HostCapability::Clock]),
            ("wasi:random/random@0.2.0".to_owned(), vec![HostCapability::Entropy]),
            ("wasi:cli/exit@0.2.0".to_owned(), vec![HostCapability::ProcessExit]),
            ("wasi:cli/environment@0.2.0".to_owned(), vec![HostCapability::EnvironmentRead]),
        ]
    );
    assert_eq!(summary.exports, ["now", "roll", "leave", "variables"]);
    assert_eq!(summary.digest.len(), 64);
}

#[test]
fn a_log_that_cannot_be_written_withholds_the_outcome() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let bytes = wat::parse_str(BAD).expect("component text");
    let log = AuditLog::to_writer(Full);
    let folder = tempfile::tempdir().expect("a folder");
    let started = WasmCompartment::start_ambient(
        host(),
        &planned("", ""),
        &bytes,
        folder.path(),
        &log,
        ambient_authority(),
    );
    let compartment = started.expect("nothing is granted, so nothing is recorded yet");
    assert!(matches!(compartment.call("panic", &[]), Err(CallError::Audit(_))));
}

/// Writes so many bytes of memory, all `x`, to standard output in one go.
const WRITES: &str = r#"(component
  (import "wasi:io/error@0.2.0" (instance $errors (export "error" (type $error (sub resource)))))
  (alias export $errors "error" (type $error))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (export "output-stream" (type $stream (sub resource)))
    (export "error" (type $e (eq $error)))
    (type $s (variant (case "last-operation-failed" (own $e)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $s)))
    (export "[method]output-stream.blocking-write-and-flush" (func
      (param "self" (borrow $stream)) (param "contents" (list u8)) (result (result (error $stream-error)))))))
  (alias export $streams "output-stream" (type $stream))
  (import "wasi:cli/stdout@0.2.0" (instance $stdout
    (export "output-stream" (type $o (eq $stream)))
    (export "get-stdout" (func (result (own $o))))))
  (core module $libc (memory (export "memory") 1))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (core func $get (canon lower (func $stdout "get-stdout")))
  (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush") (memory $memory)))
  (core module $m
    (import "h" "get" (func $get (result i32)))
    (import "h" "write" (func $write (param i32 i32 i32 i32)))
    (import "h" "memory" (memory 1))
    (func (export "write") (param $length i32) (result i32)
      (memory.fill (i32.const 64) (i32.const 120) (local.get $length))
      (call $write (call $get) (i32.const 64) (local.get $length) (i32.const 16))
      (i32.load8_u (i32.const 16))))
  (core instance $i (instantiate $m (with "h" (instance
    (export "get" (func $get)) (export "write" (func $write)) (export "memory" (memory $memory))))))
  (func (export "write") (param "length" u32) (result u32) (canon lift (core func $i "write"))))"#;

#[test]
fn granted_output_is_kept_apart_and_bounded() {
    let mut guest = start(WRITES, "stdio = { streams = [\"stdout\"], bytes = \"2500B\" }", "");
    assert_eq!(guest.number("write", &[Val::U32(1000)]), 0);
    assert_eq!(guest.compartment.take_stdio().stdout, vec![b'x'; 1000]);
    assert_eq!(guest.number("write", &[Val::U32(1000)]), 0);
    assert!(matches!(guest.call("write", &[Val::U32(1000)]), Err(CallError::Limit { what: "output", .. })));
    let said = guest.compartment.take_stdio();
    assert_eq!((said.stdout.len(), said.stderr.len()), (1000, 0), "what was written before is not lost");
    assert!(guest.log.text().contains("\"kind\":\"limit\",\"detail\":\"output\""), "{}", guest.log.text());
}

#[test]
fn the_limit_on_output_holds_where_the_grant_has_none() {
    let mut guest = start(WRITES, "stdio = [\"stdout\", \"stderr\"]", "output = \"1500B\"");
    assert_eq!(guest.number("write", &[Val::U32(1000)]), 0);
    assert!(matches!(guest.call("write", &[Val::U32(1000)]), Err(CallError::Limit { what: "output", .. })));
}

#[test]
fn output_that_is_not_granted_goes_nowhere() {
    let mut guest = start(WRITES, "", "");
    for _ in 0..3 {
        guest.number("write", &[Val::U32(4000)]);
    }
    assert_eq!(guest.compartment.take_stdio(), cofferdam::wasm::Stdio::default());
}

/// Waits for ten seconds in the host.
const WAITS: &str = r#"(component
  (import "wasi:io/poll@0.2.0" (instance $poll
    (export "pollable" (type $pollable (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (export "pollable" (type $p (eq $pollable)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $p))))))
  (core func $block (canon lower (func $poll "[method]pollable.block")))
  (core func $subscribe (canon lower (func $clock "subscribe-duration")))
  (core module $m
    (import "h" "block" (func $block (param i32)))
    (import "h" "subscribe" (func $subscribe (param i64) (result i32)))
    (func (export "wait") (call $block (call $subscribe (i64.const 10000000000)))))
  (core instance $i (instantiate $m (with "h" (instance
    (export "block" (func $block)) (export "subscribe" (func $subscribe))))))
  (func (export "wait") (canon lift (core func $i "wait"))))"#;

#[test]
fn a_deadline_ends_a_wait_in_the_host() {
    let mut guest = start(WAITS, "clock = true", "call-deadline = \"60ms\"");
    let begun = Instant::now();
    assert!(matches!(guest.call("wait", &[]), Err(CallError::Deadline { .. })));
    assert!(begun.elapsed() < Duration::from_secs(9), "it waited for the guest's ten seconds");
    assert!(
        matches!(guest.call("wait", &[]), Err(CallError::Deadline { .. })),
        "a fresh instance waits no longer"
    );
}

/// Gives so many texts of 10,000 bytes, all the same ones.
const REPEATS: &str = r#"(component
  (core module $m
    (memory (export "memory") 4)
    (func (export "texts") (param $count i32) (result i32)
      (local $at i32) (local $left i32)
      (local.set $at (i32.const 16384))
      (local.set $left (local.get $count))
      (block $done (loop $next
        (br_if $done (i32.eqz (local.get $left)))
        (i32.store (local.get $at) (i32.const 1024))
        (i32.store offset=4 (local.get $at) (i32.const 10000))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br $next)))
      (i32.store (i32.const 0) (i32.const 16384))
      (i32.store (i32.const 4) (local.get $count))
      (i32.const 0)))
  (core instance $i (instantiate $m))
  (alias core export $i "memory" (core memory $memory))
  (func (export "texts") (param "count" u32) (result (list string))
    (canon lift (core func $i "texts") (memory (core memory $memory)))))"#;

#[test]
fn a_guest_cannot_have_the_host_copy_more_than_it_may_hold_itself() {
    let mut guest = start(REPEATS, "", "memory = \"1MiB\"");
    match guest.call("texts", &[Val::U32(50)]).expect("half of it").as_slice() {
        [Val::List(texts)] => assert_eq!(texts.len(), 50),
        other => panic!("{other:?}"),
    }
    let error = guest.call("texts", &[Val::U32(20_000)]).expect_err("200 MB out of 256 KiB");
    let limit = "bytes out of the guest in one call";
    assert!(matches!(&error, CallError::Limit { what, .. } if *what == limit), "{error:?}");
    assert!(guest.log.text().contains(limit), "{}", guest.log.text());
    assert!(guest.call("texts", &[Val::U32(1)]).is_ok(), "the next call begins afresh");
}

#[test]
fn the_instances_of_a_component_are_bounded() {
    let component = |instances: usize| {
        let more: String = (1..instances).map(|_| "(core instance (instantiate $m))").collect();
        format!(
            r#"(component
              (core module $m (func (export "fine") (result i32) i32.const 1))
              (core instance $i (instantiate $m)) {more}
              (func (export "fine") (result u32) (canon lift (core func $i "fine"))))"#
        )
    };
    let most = cofferdam::wasm::INSTANCES_MAX;
    assert_eq!(start(&component(most), "", "").number("fine", &[]), 1);
    let error = start(&component(most + 1), "", "").call("fine", &[]).expect_err("one more");
    assert!(matches!(error, CallError::Limit { what: "instances", .. }), "{error:?}");
}
