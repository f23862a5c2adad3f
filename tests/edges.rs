//! Compartments that call each other, a runtime over a whole plan, and what a host does to it while it runs.
//!
//! The guests are written by hand as component text, so that each does exactly what its test says.

mod lines;

use std::path::Path;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use ambient_authority::ambient_authority;
use cofferdam::client::Edge;
use cofferdam::manifest::{Capability, Files, Form, HostCapability, ManifestText, ProjectBuilder, parse};
use cofferdam::wasm::{CallError, FaultKind, StartError, Val};
use cofferdam::{
    AuditLog, CompartmentState, EdgeName, Plugin, Runtime, RuntimeBuilder, RuntimeError, Source,
};
use lines::Lines;

const APP_TO_OUTER: EdgeName<'_> = EdgeName { consumer: "app", krate: "outer" };

/// `app -> outer -> inner`, with tables for each.
fn manifest(holds: &str, outer: &str, to_inner: &str, inner: &str) -> String {
    let grants = |from: &str, to: &str, lines: &str| match lines {
        "" => String::new(),
        lines => format!("[crates.{from}.grants.{to}]\n{lines}\n"),
    };
    format!(
        "[holds]\n{holds}\n[crates.app]\ndependencies = [\"outer\"]\n{}[crates.outer]\ndependencies = [\"inner\"]\n\
         compartment = {{ backend = \"wasm\", limits = {{ {outer} }} }}\n{}[crates.inner]\n\
         compartment = {{ backend = \"wasm\", limits = {{ {inner} }} }}\n",
        grants("app", "outer", holds),
        grants("outer", "inner", to_inner),
    )
}

fn build(folder: &Path, text: &str, components: &[(&str, &str)], log: &Lines) -> RuntimeBuilder {
    let path = folder.join("capabilities.toml");
    std::fs::write(&path, text).expect("writable");
    let mut builder = Runtime::from_file_ambient(&path, ambient_authority())
        .unwrap_or_else(|error| panic!("{error}"))
        .audit(AuditLog::to_writer(log.clone()));
    for (krate, wat) in components {
        let bytes = wat::parse_str(wat).unwrap_or_else(|error| panic!("{krate}: {error}"));
        builder = builder.component(krate, Source::Bytes(bytes.into()));
    }
    builder
}

fn start(text: &str, components: &[(&str, &str)]) -> (Runtime, Lines, tempfile::TempDir) {
    let (folder, log) = (tempfile::tempdir().expect("a folder"), Lines::default());
    let runtime = build(folder.path(), text, components, &log).start_ambient(ambient_authority());
    (runtime.unwrap_or_else(|error| panic!("{error}")), log, folder)
}

/// Exports `acme:b/api`: `add`, `echo` of bytes, `spin`, `crash`, `twist` of a record, `trip` with a result that can fail.
const INNER: &str = r#"(component
  (core module $m
    (memory (export "memory") 2)
    (global $next (mut i32) (i32.const 1024))
    (global $calls (mut i32) (i32.const 0))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (local.get $at) (local.get 3)))
      (if (i32.gt_u (global.get $next) (i32.const 120000)) (then (global.set $next (i32.const 1024))))
      local.get $at)
    (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add)
    (func (export "count") (result i32)
      (global.set $calls (i32.add (global.get $calls) (i32.const 1))) global.get $calls)
    (func (export "echo") (param i32 i32) (result i32)
      (i32.store (i32.const 0) (local.get 0)) (i32.store (i32.const 4) (local.get 1)) i32.const 0)
    (func (export "spin") (loop br 0))
    (func (export "crash") unreachable)
    (func (export "twist") (param i32 i32) (result i32)
      (i32.store (i32.const 0) (local.get 1)) (i32.store (i32.const 4) (local.get 0)) i32.const 0)
    (func (export "trip") (result i32) unreachable)
  )
  (core instance $i (instantiate $m))
  (alias core export $i "memory" (core memory $memory))
  (alias core export $i "realloc" (core func $realloc))
  (type $pair (record (field "left" u32) (field "right" u32)))
  (func $add (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $i "add")))
  (func $count (result u32) (canon lift (core func $i "count")))
  (func $echo (param "data" (list u8)) (result (list u8))
    (canon lift (core func $i "echo") (memory (core memory $memory)) (realloc (core func $realloc))))
  (func $spin (canon lift (core func $i "spin")))
  (func $crash (canon lift (core func $i "crash")))
  (func $trip (result (result u32 (error string)))
    (canon lift (core func $i "trip") (memory (core memory $memory)) (realloc (core func $realloc))))
  (component $shape
    (type $p (record (field "left" u32) (field "right" u32)))
    (import "pair" (type $pair (eq $p)))
    (import "twist" (func $twist (param "pair" $pair) (result $pair)))
    (import "add" (func $add (param "a" u32) (param "b" u32) (result u32)))
    (import "count" (func $count (result u32)))
    (import "echo" (func $echo (param "data" (list u8)) (result (list u8))))
    (import "spin" (func $spin)) (import "crash" (func $crash))
    (import "trip" (func $trip (result (result u32 (error string)))))
    (export $out "pair" (type $pair))
    (export "twist" (func $twist) (func (param "pair" $out) (result $out)))
    (export "add" (func $add)) (export "count" (func $count)) (export "echo" (func $echo))
    (export "spin" (func $spin)) (export "crash" (func $crash)) (export "trip" (func $trip)))
  (func $twist (param "pair" $pair) (result $pair)
    (canon lift (core func $i "twist") (memory (core memory $memory)) (realloc (core func $realloc))))
  (instance $api (instantiate $shape
    (with "pair" (type $pair)) (with "twist" (func $twist)) (with "add" (func $add)) (with "count" (func $count))
    (with "echo" (func $echo)) (with "spin" (func $spin)) (with "crash" (func $crash)) (with "trip" (func $trip))))
  (export "acme:b/api@1.2.0" (instance $api)))"#;

/// Imports `acme:b/api` and hands each call on.
const OUTER: &str = r#"(component
  (import "acme:b/api@1.1.0" (instance $b
    (type $p (record (field "left" u32) (field "right" u32)))
    (export "pair" (type $pair (eq $p)))
    (export "twist" (func (param "pair" $pair) (result $pair)))
    (export "add" (func (param "a" u32) (param "b" u32) (result u32)))
    (export "count" (func (result u32)))
    (export "echo" (func (param "data" (list u8)) (result (list u8))))
    (export "spin" (func)) (export "crash" (func))
    (export "trip" (func (result (result u32 (error string)))))))
  (core module $libc
    (memory (export "memory") 2)
    (global $next (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (local.get $at) (local.get 3)))
      (if (i32.gt_u (global.get $next) (i32.const 120000)) (then (global.set $next (i32.const 1024))))
      local.get $at))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "realloc" (core func $realloc))
  (core func $add (canon lower (func $b "add")))
  (core func $count (canon lower (func $b "count")))
  (core func $echo (canon lower (func $b "echo") (memory (core memory $memory)) (realloc (core func $realloc))))
  (core func $twist (canon lower (func $b "twist") (memory (core memory $memory)) (realloc (core func $realloc))))
  (core func $spin (canon lower (func $b "spin")))
  (core func $crash (canon lower (func $b "crash")))
  (core func $trip (canon lower (func $b "trip") (memory (core memory $memory)) (realloc (core func $realloc))))
  (core module $m
    (import "libc" "memory" (memory 2))
    (import "b" "add" (func $add (param i32 i32) (result i32)))
    (import "b" "count" (func $count (result i32)))
    (import "b" "echo" (func $echo (param i32 i32 i32)))
    (import "b" "twist" (func $twist (param i32 i32 i32)))
    (import "b" "spin" (func $spin))
    (import "b" "crash" (func $crash))
    (import "b" "trip" (func $trip (param i32)))
    (global $lives (mut i32) (i32.const 0))
    (func (export "add") (param i32 i32) (result i32) (call $add (local.get 0) (local.get 1)))
    (func (export "count") (result i32) (call $count))
    (func (export "echo") (param i32 i32) (result i32) (call $echo (local.get 0) (local.get 1) (i32.const 16)) i32.const 16)
    (func (export "twist") (result i32)
      (call $twist (i32.const 3) (i32.const 40) (i32.const 32))
      (i32.add (i32.mul (i32.const 100) (i32.load (i32.const 32))) (i32.load (i32.const 36))))
    (func (export "spin") (call $spin))
    (func (export "crash") (call $crash))
    (func (export "lives") (result i32) (global.set $lives (i32.add (global.get $lives) (i32.const 1))) global.get $lives)
    (func (export "trip") (result i32) (call $trip (i32.const 48)) i32.const 48))
  (core instance $i (instantiate $m (with "libc" (instance $libc)) (with "b" (instance
    (export "add" (func $add)) (export "count" (func $count)) (export "echo" (func $echo)) (export "twist" (func $twist))
    (export "spin" (func $spin)) (export "crash" (func $crash)) (export "trip" (func $trip))))))
  (func (export "add") (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $i "add")))
  (func (export "count") (result u32) (canon lift (core func $i "count")))
  (func (export "lives") (result u32) (canon lift (core func $i "lives")))
  (func (export "echo") (param "data" (list u8)) (result (list u8))
    (canon lift (core func $i "echo") (memory (core memory $memory)) (realloc (core func $realloc))))
  (func (export "twist") (result u32) (canon lift (core func $i "twist")))
  (func (export "spin") (canon lift (core func $i "spin")))
  (func (export "crash") (canon lift (core func $i "crash")))
  (func (export "trip") (result (result u32 (error string)))
    (canon lift (core func $i "trip") (memory (core memory $memory)) (realloc (core func $realloc)))))"#;

/// Counts its calls; nothing else.
const COUNTER: &str = r#"(component
  (core module $m
    (global $calls (mut i32) (i32.const 0))
    (func (export "count") (result i32)
      (global.set $calls (i32.add (global.get $calls) (i32.const 1))) global.get $calls)
    (func (export "spin") (loop br 0)))
  (core instance $i (instantiate $m))
  (func (export "count") (result u32) (canon lift (core func $i "count")))
  (func (export "spin") (canon lift (core func $i "spin"))))"#;

fn number(edge: &Edge, function: &str, arguments: &[Val]) -> u32 {
    match edge.call_untyped(function, arguments).unwrap_or_else(|error| panic!("{error}")).as_slice() {
        [Val::U32(number)] => *number,
        other => panic!("{other:?}"),
    }
}

fn bytes(bytes: &[u8]) -> Val {
    Val::List(bytes.iter().map(|byte| Val::U8(*byte)).collect())
}

/// With a grant that can make a guest wait, all calls of the tree take the other road; both must do the same.
const ROADS: [&str; 2] = ["", "clock = true"];

#[test]
fn one_compartment_calls_another_over_its_own_edge() {
    for holds in ROADS {
        let (runtime, _, _folder) =
            start(&manifest(holds, "", "", ""), &[("outer", OUTER), ("inner", INNER)]);
        let edge = runtime.edge(APP_TO_OUTER).expect("starts");
        assert_eq!(number(&edge, "add", &[Val::U32(2), Val::U32(40)]), 42);
        assert_eq!(
            edge.call_untyped("echo", &[bytes(b"over the edge")]).expect("bytes"),
            [bytes(b"over the edge")]
        );
        assert_eq!(number(&edge, "twist", &[]), 4003, "a record goes through");
    }
}

#[test]
fn a_fault_behind_an_edge_is_an_error_of_the_call_and_the_caller_lives_where_its_interface_can_say_so() {
    for holds in ROADS {
        let (runtime, log, _folder) =
            start(&manifest(holds, "", "", ""), &[("outer", OUTER), ("inner", INNER)]);
        let edge = runtime.edge(APP_TO_OUTER).expect("starts");
        assert_eq!(number(&edge, "lives", &[]), 1);
        // `trip` has an error to say it with: the outer guest goes on.
        let said = edge.call_untyped("trip", &[]).expect("the outer guest has an answer");
        let [Val::Result(Err(Some(text)))] = said.as_slice() else { panic!("{said:?}") };
        assert_eq!(**text, Val::String("`outer -> inner`: the guest panicked".to_owned()));
        assert_eq!(number(&edge, "lives", &[]), 2, "it kept its state");
        // `crash` has none: the outer guest's call fails, and says over which edge.
        let error = edge.call_untyped("crash", &[]).expect_err("nothing to say it with");
        let CallError::Callee { edge: failed, source } = &error else { panic!("{error:?}") };
        assert_eq!(failed, "app -> outer");
        assert!(
            matches!(&**source, CallError::Fault { edge, kind: FaultKind::Panic(None) } if edge == "outer -> inner")
        );
        assert!(error.to_string().contains("`app -> outer`: called over `outer -> inner`"), "{error}");
        // The next call finds both alive.
        assert_eq!(number(&edge, "add", &[Val::U32(1), Val::U32(2)]), 3);
        assert!(log.text().contains(r#""edge":"outer -> inner","kind":"trap""#), "{}", log.text());
        assert!(log.text().contains(r#""edge":"app -> outer","kind":"callee""#), "{}", log.text());
    }
}

#[test]
fn a_deadline_shrinks_along_the_edges() {
    for holds in ROADS {
        // The inner one alone would have a minute.
        let text = manifest(holds, "call-deadline = \"300ms\"", "", "call-deadline = \"60s\"");
        let (runtime, _, _folder) = start(&text, &[("outer", OUTER), ("inner", INNER)]);
        let edge = runtime.edge(APP_TO_OUTER).expect("starts");
        let began = std::time::Instant::now();
        let error = edge.call_untyped("spin", &[]).expect_err("it never ends by itself");
        let late = |error: &CallError| matches!(error, CallError::Deadline { .. });
        match &error {
            CallError::Callee { source, .. } => assert!(late(source), "{error:?}"),
            other => assert!(late(other), "{error:?}"),
        }
        assert!(began.elapsed() < Duration::from_secs(30));
    }
}

#[test]
fn an_import_that_no_edge_provides_or_two_do_does_not_start() {
    // No edge at all.
    let text =
        "[crates.app]\ndependencies = [\"outer\"]\n[crates.outer]\ncompartment = { backend = \"wasm\" }\n";
    let (runtime, _, _folder) = start(text, &[("outer", OUTER)]);
    match runtime.edge(APP_TO_OUTER).expect_err("nobody has it") {
        StartError::UnknownImports { imports, .. } => assert_eq!(imports, ["`acme:b/api@1.1.0`"]),
        other => panic!("{other:?}"),
    }
    // An edge to something else.
    let (runtime, _, _folder) = start(&manifest("", "", "", ""), &[("outer", OUTER), ("inner", COUNTER)]);
    assert!(matches!(runtime.edge(APP_TO_OUTER), Err(StartError::UnknownImports { .. })));
    // An older interface than the one that is imported.
    let old = INNER.replace("acme:b/api@1.2.0", "acme:b/api@1.0.0");
    let (runtime, _, _folder) = start(&manifest("", "", "", ""), &[("outer", OUTER), ("inner", &old)]);
    assert!(matches!(runtime.edge(APP_TO_OUTER), Err(StartError::UnknownImports { .. })));
    // The same interface with another type.
    let other =
        INNER.replace("(func $count (result u32) (canon lift", "(func $count (result s32) (canon lift");
    let other = other.replace(
        r#"(import "count" (func $count (result u32)))"#,
        r#"(import "count" (func $count (result s32)))"#,
    );
    let (runtime, _, _folder) = start(&manifest("", "", "", ""), &[("outer", OUTER), ("inner", &other)]);
    match runtime.edge(APP_TO_OUTER).expect_err("another type") {
        StartError::DoesNotFit { differences, .. } => assert_eq!(
            differences,
            ["- acme:b/api@1.2.0#count: func() -> u32", "+ acme:b/api@1.2.0#count: func() -> s32"]
        ),
        other => panic!("{other:?}"),
    }
    // Two edges that both have it.
    let text = "[crates.app]\ndependencies = [\"outer\"]\n[crates.outer]\ndependencies = [\"inner\", \"other\"]\n\
                compartment = { backend = \"wasm\" }\n[crates.inner]\ncompartment = { backend = \"wasm\" }\n\
                [crates.other]\ncompartment = { backend = \"wasm\" }\n";
    let (runtime, _, _folder) = start(text, &[("outer", OUTER), ("inner", INNER), ("other", INNER)]);
    match runtime.edge(APP_TO_OUTER).expect_err("which?") {
        StartError::AmbiguousImport { providers, .. } => {
            assert_eq!(providers, ["`outer -> inner`", "`outer -> other`"]);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_handle_cannot_cross_between_stores() {
    let wants = r#"(component (import "acme:b/api@1.0.0" (instance
        (export "thing" (type $t (sub resource))) (export "make" (func (result (own $t)))))))"#;
    let has = r#"(component
        (type $r (resource (rep i32)))
        (core func $new (canon resource.new $r))
        (core module $m (import "" "new" (func $new (param i32) (result i32)))
          (func (export "make") (result i32) (call $new (i32.const 1))))
        (core instance $i (instantiate $m (with "" (instance (export "new" (func $new))))))
        (func $make (result (own $r)) (canon lift (core func $i "make")))
        (component $shape
          (import "thing" (type $t (sub resource)))
          (import "make" (func $make (result (own $t))))
          (export $out "thing" (type $t))
          (export "make" (func $make) (func (result (own $out)))))
        (instance $api (instantiate $shape (with "thing" (type $r)) (with "make" (func $make))))
        (export "acme:b/api@1.0.0" (instance $api)))"#;
    let (runtime, _, _folder) = start(&manifest("", "", "", ""), &[("outer", wants), ("inner", has)]);
    let error = runtime.edge(APP_TO_OUTER).expect_err("a resource belongs to its store");
    assert!(matches!(&error, StartError::CannotCross { what: "a resource", .. }), "{error:?}");
}

#[test]
fn what_is_said_of_an_edge_that_is_not_there_is_an_error() {
    let text = manifest("", "", "", "");
    let started = |edge: &str| {
        let (folder, log) = (tempfile::tempdir().expect("a folder"), Lines::default());
        let builder = build(folder.path(), &text, &[("outer", COUNTER)], &log).instances(edge, 2);
        builder.start_ambient(ambient_authority())
    };
    for edge in ["app -> inner", "ap -> outer", "outer", "app->outer"] {
        let error = started(edge).err();
        let Some(RuntimeError::UnknownEdges { named, known }) = &error else { panic!("{edge}: {error:?}") };
        assert_eq!((named.as_slice(), known.len()), ([edge.to_owned()].as_slice(), 2), "{edge}");
        let shown = error.expect("just seen").to_string();
        assert_eq!(shown, format!("there is no edge `{edge}`; there are `app -> outer`, `outer -> inner`"));
    }
    for edge in ["app -> outer", "outer -> inner", "app -> a-plugin-to-come"] {
        started(edge).unwrap_or_else(|error| panic!("{edge}: {error}"));
    }
}

#[test]
fn calls_from_many_threads_go_to_as_many_instances_as_there_are_and_lose_nothing() {
    let text =
        "[crates.app]\ndependencies = [\"outer\"]\n[crates.outer]\ncompartment = { backend = \"wasm\" }\n";
    for instances in [1, 4] {
        let (folder, log) = (tempfile::tempdir().expect("a folder"), Lines::default());
        let builder =
            build(folder.path(), text, &[("outer", COUNTER)], &log).instances("app -> outer", instances);
        let runtime = builder.start_ambient(ambient_authority()).expect("starts");
        let edge = runtime.edge(APP_TO_OUTER).expect("starts");
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let edge = edge.clone();
                std::thread::spawn(move || (0..50).map(|_| number(&edge, "count", &[])).collect::<Vec<_>>())
            })
            .collect();
        let mut seen: Vec<u32> =
            threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect();
        assert_eq!(seen.len(), 400);
        seen.sort_unstable();
        if instances == 1 {
            assert_eq!(seen, (1..=400).collect::<Vec<_>>(), "one state, each call once");
        }
        let [status] = runtime.list().try_into().expect("one compartment");
        assert_eq!(status.calls, (400, 0));
        match status.state {
            CompartmentState::Started { idle, busy: 0 } => assert!((1..=instances).contains(&idle)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_caller_that_waits_for_an_instance_waits_no_longer_than_its_deadline() {
    let text = "[crates.app]\ndependencies = [\"outer\"]\n[crates.outer]\n\
                compartment = { backend = \"wasm\", limits = { call-deadline = \"400ms\" } }\n";
    let (runtime, _, _folder) = start(text, &[("outer", COUNTER)]);
    let edge = runtime.edge(APP_TO_OUTER).expect("starts");
    assert_eq!(number(&edge, "count", &[]), 1);
    let spinning = std::thread::spawn({
        let edge = edge.clone();
        move || edge.call_untyped("spin", &[])
    });
    while !matches!(runtime.list()[0].state, CompartmentState::Started { busy: 1, .. }) {
        std::thread::yield_now();
    }
    // Whether the spinning one ends first or the wait does is a race; either way this thread is not held.
    match edge.call_untyped("count", &[]) {
        Ok(values) => assert_eq!(values, [Val::U32(1)], "a fresh instance"),
        Err(error) => assert!(matches!(error, CallError::Deadline { .. }), "{error:?}"),
    }
    assert!(matches!(spinning.join().expect("no panic"), Err(CallError::Deadline { .. })));
}

#[test]
fn calls_in_flight_are_bounded() {
    let text = "[crates.app]\ndependencies = [\"outer\"]\n[crates.outer]\n\
                compartment = { backend = \"wasm\", limits = { calls-in-flight = 2, call-deadline = \"3s\" } }\n";
    let (runtime, _, _folder) = start(text, &[("outer", COUNTER)]);
    let edge = runtime.edge(APP_TO_OUTER).expect("starts");
    let together = Arc::new(Barrier::new(3));
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let (edge, together) = (edge.clone(), Arc::clone(&together));
            std::thread::spawn(move || {
                together.wait();
                edge.call_untyped("spin", &[]).expect_err("it never ends by itself")
            })
        })
        .collect();
    let errors: Vec<CallError> = threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
    let refused =
        errors.iter().filter(|error| matches!(error, CallError::Limit { what: "calls in flight", .. }));
    assert_eq!(refused.count(), 1, "{errors:?}");
}

#[test]
fn a_replacement_takes_new_calls_and_lets_running_ones_finish() {
    let text = "[crates.app]\ndependencies = [\"outer\"]\n[crates.outer]\n\
                compartment = { backend = \"wasm\", limits = { call-deadline = \"1s\" } }\n";
    let (runtime, log, _folder) = start(text, &[("outer", COUNTER)]);
    let edge = runtime.edge(APP_TO_OUTER).expect("starts");
    assert_eq!(number(&edge, "count", &[]), 1);
    let old = runtime.list()[0].digest.clone();
    let thousand = COUNTER.replace("(mut i32) (i32.const 0)", "(mut i32) (i32.const 1000)");
    runtime.replace(APP_TO_OUTER, &wat::parse_str(thousand).expect("text")).expect("it fits");
    assert_eq!(number(&edge, "count", &[]), 1001, "the same edge, the new component");
    assert_ne!(runtime.list()[0].digest, old);
    assert!(log.text().contains(r#""event":"replaced","edge":"app -> outer""#), "{}", log.text());
    // A replacement that wants more does not come in, and the old one stays.
    let greedy = r#"(component (import "vendor:gpu/queue" (instance (export "submit" (func)))))"#;
    let error =
        runtime.replace(APP_TO_OUTER, &wat::parse_str(greedy).expect("text")).expect_err("it wants more");
    assert!(matches!(error, StartError::UnknownImports { .. }), "{error:?}");
    assert_eq!(number(&edge, "count", &[]), 1002);
}

#[test]
fn a_revoked_edge_is_dead_for_good_and_so_is_what_is_behind_it() {
    let (runtime, log, _folder) = start(&manifest("", "", "", ""), &[("outer", OUTER), ("inner", INNER)]);
    let edge = runtime.edge(APP_TO_OUTER).expect("starts");
    assert_eq!(number(&edge, "count", &[]), 1);
    runtime.revoke(APP_TO_OUTER).expect("recorded");
    let error = edge.call_untyped("count", &[]).expect_err("revoked");
    assert!(
        matches!(&error, CallError::Revoked { edge, what: "the edge" } if edge == "app -> outer"),
        "{error:?}"
    );
    assert!(matches!(runtime.edge(APP_TO_OUTER), Err(StartError::Revoked { .. })));
    assert!(runtime.list().iter().all(|status| status.state == CompartmentState::Revoked));
    for edge in ["app -> outer", "outer -> inner"] {
        let line = format!(r#""event":"revoked","edge":"{edge}","capability":null"#);
        assert!(log.text().contains(&line), "{}", log.text());
    }
}

#[test]
fn a_stopped_compartment_can_be_started_again() {
    let (runtime, _, _folder) = start(&manifest("", "", "", ""), &[("outer", OUTER), ("inner", INNER)]);
    let edge = runtime.edge(APP_TO_OUTER).expect("starts");
    assert_eq!(number(&edge, "lives", &[]), 1);
    runtime.stop(APP_TO_OUTER).expect("recorded");
    assert!(matches!(edge.call_untyped("lives", &[]), Err(CallError::Revoked { .. })), "the old end is dead");
    let again = runtime.edge(APP_TO_OUTER).expect("starts");
    assert_eq!(number(&again, "lives", &[]), 1, "a new one");
}

/// Reads the monotonic clock once it was told to; a second time after it waited for `go`.
const CLOCK: &str = r#"(component
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $c (export "now" (func (result u64)))))
  (core func $now (canon lower (func $c "now")))
  (core module $m
    (import "" "now" (func $now (result i64)))
    (func (export "now") (result i64) (call $now))
    (func (export "watch") (result i64)
      (loop (br_if 0 (i64.ne (call $now) (i64.const 0)))) (i64.const 7)))
  (core instance $i (instantiate $m (with "" (instance (export "now" (func $now))))))
  (func (export "now") (result u64) (canon lift (core func $i "now")))
  (func (export "watch") (result u64) (canon lift (core func $i "watch"))))"#;

#[test]
fn a_grant_revoked_during_a_call_is_dead_at_its_next_operation() {
    let text = "[holds]\nclock = true\n[crates.app]\ndependencies = [\"outer\"]\n[crates.app.grants.outer]\nclock = true\n\
                [crates.outer]\ncompartment = { backend = \"wasm\", limits = { call-deadline = \"60s\" } }\n";
    let (runtime, log, _folder) = start(text, &[("outer", CLOCK)]);
    let edge = runtime.edge(APP_TO_OUTER).expect("starts");
    assert!(edge.call_untyped("now", &[]).is_ok(), "granted");
    let watching = std::thread::spawn({
        let edge = edge.clone();
        move || edge.call_untyped("watch", &[])
    });
    while !matches!(runtime.list()[0].state, CompartmentState::Started { busy: 1, .. }) {
        std::thread::yield_now();
    }
    let clock = Capability::host(HostCapability::Clock);
    runtime.revoke_grant(APP_TO_OUTER, &clock).expect("recorded");
    let error = watching.join().expect("no panic").expect_err("its answer rests on what was revoked");
    assert!(
        matches!(&error, CallError::Revoked { what: "a grant that the guest was using", .. }),
        "{error:?}"
    );
    // A later call has a fresh instance without it.
    let error = edge.call_untyped("now", &[]).expect_err("not granted any more");
    assert!(
        matches!(&error, CallError::Violation { capability, .. } if *capability == Some(clock.clone())),
        "{error:?}"
    );
    assert!(
        log.text().contains(r#""event":"revoked","edge":"app -> outer","capability":"clock""#),
        "{}",
        log.text()
    );
    assert!(runtime.plan().compartments[0].grants.is_empty());
    assert!(runtime.revoke_grant(APP_TO_OUTER, &clock).is_err(), "it is gone already");
}

#[test]
fn two_edges_to_one_crate_have_each_its_own_grants() {
    const LIB_TO_OUTER: EdgeName<'_> = EdgeName { consumer: "lib", krate: "outer" };
    let text = "[holds]\nclock = true\n[crates.app]\ndependencies = [\"lib\", \"outer\"]\n\
                [crates.app.grants.outer]\nclock = true\n[crates.app.grants.lib]\nclock = true\n\
                [crates.lib]\ndependencies = [\"outer\"]\n\
                [crates.outer]\ncompartment = { backend = \"wasm\" }\n";
    let (runtime, log, _folder) = start(text, &[("outer", CLOCK)]);
    let (granted, bare) =
        (runtime.edge(APP_TO_OUTER).expect("starts"), runtime.edge(LIB_TO_OUTER).expect("starts"));
    assert!(granted.call_untyped("now", &[]).is_ok());
    match bare.call_untyped("now", &[]).expect_err("that edge grants nothing") {
        CallError::Violation { edge, line, .. } => {
            assert_eq!((edge.as_str(), line.as_deref()), ("lib -> outer", Some("clock = true")));
        }
        other => panic!("{other:?}"),
    }
    assert!(granted.call_untyped("now", &[]).is_ok(), "the other one's violation is not its own");
    assert!(log.text().contains(r#""event":"violation","edge":"lib -> outer""#), "{}", log.text());
    assert!(!log.text().contains(r#""event":"violation","edge":"app -> outer""#), "{}", log.text());
    // The line that the message names allows it, on that edge alone.
    let allowed = text.replace("[crates.lib]\n", "[crates.lib.grants.outer]\nclock = true\n[crates.lib]\n");
    let (runtime, _, _folder) = start(&allowed, &[("outer", CLOCK)]);
    assert!(runtime.edge(LIB_TO_OUTER).expect("starts").call_untyped("now", &[]).is_ok());
    // What is taken from one edge is not taken from the other.
    runtime.revoke_grant(LIB_TO_OUTER, &Capability::host(HostCapability::Clock)).expect("recorded");
    assert!(runtime.edge(LIB_TO_OUTER).expect("starts").call_untyped("now", &[]).is_err());
    assert!(runtime.edge(APP_TO_OUTER).expect("starts").call_untyped("now", &[]).is_ok());
}

#[test]
fn an_unknown_edge_is_an_error_that_lists_those_there_are() {
    let (runtime, _, _folder) = start(&manifest("", "", "", ""), &[("outer", OUTER), ("inner", INNER)]);
    let error = runtime.edge(EdgeName { consumer: "app", krate: "inner" }).expect_err("not the app's edge");
    assert_eq!(
        error.to_string(),
        "there is no edge `app -> inner` from the host program to a compartment; there are `app -> outer`"
    );
}

const HOST: &str = "[holds]\nclock = true\n[crates.app]\n";

fn plugin_host(text: &str) -> (Runtime, Lines, tempfile::TempDir) {
    start(text, &[])
}

#[test]
fn a_plugin_that_nobody_knew_runs_with_what_it_is_given_and_no_more() {
    let clock = wat::parse_str(CLOCK).expect("text");
    let claims = "[crates.stamp]\nconsumes = { clock = \"it stamps\" }\n";
    let (runtime, _, _folder) = plugin_host(HOST);
    // Given nothing, it does not start: it asks for more than it gets.
    let plugin = Plugin::from_bytes("stamp", clock.clone()).manifest(claims);
    let error = runtime.add_plugin("app", &plugin).expect_err("it asks for the clock");
    let text = error.to_string();
    assert!(
        text.contains("error[not-granted]: `app` does not grant `clock` to `stamp`, which needs it"),
        "{text}"
    );
    assert!(text.contains("clock = true"), "{text}");
    // Given what its host holds, it runs.
    let edge = runtime.add_plugin("app", &plugin.clone().grants("clock = true")).expect("granted");
    assert!(edge.call_untyped("now", &[]).is_ok());
    // A second one of that name is not quietly put beside it.
    assert!(runtime.add_plugin("app", &plugin.clone().grants("clock = true")).is_err());
    // Given more than its host holds, it does not.
    let more =
        Plugin::from_bytes("more", clock.clone()).manifest(claims).grants("clock = true\nentropy = true");
    let error = runtime.add_plugin("app", &more).expect_err("the host holds no entropy");
    assert!(matches!(error, RuntimeError::Denied { .. }), "{error}");
    // Pinned to another digest, it does not.
    let pinned =
        Plugin::from_bytes("pinned", clock).manifest(claims).grants("clock = true").checksum("00".repeat(32));
    let error = runtime.add_plugin("app", &pinned).expect_err("another component");
    assert!(matches!(error, RuntimeError::Start(StartError::WrongDigest { .. })), "{error}");
}

/// A host whose graph is not in a file: a project built in code, as a workspace is.
#[test]
fn a_plugin_is_added_to_a_host_without_a_file_and_gets_no_more_than_it_holds() {
    let folder = tempfile::tempdir().expect("a folder");
    for held in ["a b", "c"] {
        std::fs::create_dir(folder.path().join(held)).expect("writable");
    }
    let project = |text: &str| {
        let mut files = Files::default();
        let text = ManifestText::from_bytes("in code", text.as_bytes().to_vec()).expect("small");
        let file = files.add(text);
        let manifest = parse(file, files.get(file), Form::Standalone).expect("a manifest");
        ProjectBuilder::standalone(files, manifest).expect("a graph")
    };
    let host = "[holds]\nclock = true\nfilesystem = { read = [\"a b\", { path = \"c\" }] }\n\
                [crates.app]\ndependencies = [\"known\"]\n[crates.known]\n";
    let runtime = |text: &str| {
        Runtime::from_project(&project(text), folder.path())
            .expect("granted")
            .start_ambient(ambient_authority())
            .expect("an engine")
    };
    let host = runtime(host);
    let clock = wat::parse_str(CLOCK).expect("text");
    let claims = |name: &str| format!("[crates.{name}]\nconsumes = {{ clock = \"it stamps\" }}\n");
    let plugin = |name: &str| Plugin::from_bytes(name, clock.clone()).manifest(claims(name));
    let edge = host
        .add_plugin("app", &plugin("stamp").grants("clock = true"))
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(edge.call_untyped("now", &[]).is_ok());
    let says = |plugin: Plugin, consumer: &str, text: &str| {
        let error = host.add_plugin(consumer, &plugin).expect_err(text).to_string();
        assert!(error.contains(text), "{error}");
    };
    says(plugin("bare"), "app", "error[not-granted]: `app` does not grant `clock` to `bare`");
    says(plugin("more").grants("clock = true\nentropy = true"), "app", "entropy");
    says(
        plugin("known").grants("clock = true"),
        "app",
        "there is a crate `known` in the host's graph already",
    );
    // Only a root has anything of its own to give.
    says(plugin("other").grants("clock = true"), "known", "there is no crate `known`");
    // A plan alone does not say what the host holds.
    let bare = Runtime::from_plan(host.plan(), ".").start_ambient(ambient_authority()).expect("an engine");
    let error = bare.add_plugin("app", &plugin("late").grants("clock = true")).expect_err("against what?");
    assert!(matches!(error, RuntimeError::NoHostManifest), "{error}");
}

#[test]
fn a_plugin_brings_its_manifest_inside_or_beside_and_cannot_give_itself_anything() {
    let inside = CLOCK.replacen(
        "(component",
        r#"(component (@custom "cofferdam:capabilities" "[crates.me]\nconsumes = { clock = \"it stamps\" }\n")"#,
        1,
    );
    let inside = wat::parse_str(inside).expect("text");
    let (runtime, _, folder) = plugin_host(HOST);
    assert!(runtime.add_plugin("app", &Plugin::from_bytes("inside", inside.clone())).is_err(), "it asks");
    let plugin = Plugin::from_bytes("inside", inside.clone()).grants("clock = true");
    assert!(runtime.add_plugin("app", &plugin).is_ok());
    // Beside it goes before inside it.
    std::fs::write(folder.path().join("p.wasm"), &inside).expect("writable");
    std::fs::write(
        folder.path().join("p.capabilities.toml"),
        "[crates.p]\nconsumes = { entropy = \"dice\" }\n",
    )
    .expect("writable");
    let error = runtime.add_plugin("app", &Plugin::from_file("p", "p.wasm").grants("clock = true"));
    assert!(error.expect_err("it asks for entropy").to_string().contains("`entropy`"));
    for (manifest, says) in [
        ("[holds]\nclock = true\n[crates.p]\n", "gives itself authority"),
        ("[crates.p]\ndependencies = [\"q\"]\n[crates.q]\n", "must speak of one crate"),
        ("[crates.p]\n[crates.p.grants.q]\nclock = true\n", "has dependencies or grants"),
        ("nonsense", "error["),
    ] {
        let plugin = Plugin::from_bytes("p", inside.clone()).manifest(manifest).grants("clock = true");
        let error = runtime.add_plugin("app", &plugin).expect_err(manifest).to_string();
        assert!(error.contains(says), "{manifest}: {error}");
    }
}

#[test]
fn a_component_that_the_manifest_names_is_pinned_from_the_decision_to_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("words.wasm");
    let counter = wat::parse_str(COUNTER).expect("text");
    std::fs::write(&path, &counter).expect("writable");
    let text = "[crates.app]\ndependencies = [\"words\"]\n[crates.words]\ncompartment = { component = \"words.wasm\" }\n";
    let words = EdgeName { consumer: "app", krate: "words" };
    let runtime = build(folder.path(), text, &[], &Lines::default()).start_ambient(ambient_authority());
    let runtime = runtime.expect("starts");
    assert_eq!(number(&runtime.edge(words).expect("it is the file that was read"), "count", &[]), 1);
    // Exchanged between the decision and the start.
    let runtime = build(folder.path(), text, &[], &Lines::default()).start_ambient(ambient_authority());
    std::fs::write(&path, wat::parse_str(CLOCK).expect("text")).expect("writable");
    let error = runtime.expect("starts").edge(words).expect_err("another component");
    assert!(matches!(error, StartError::WrongDigest { .. }), "{error:?}");
    // Pinned by whoever grants: another one is a denial before anything starts.
    let pinned = format!("{text}[crates.app.grants.words]\nchecksum = \"{}\"\n", "00".repeat(32));
    let manifest = folder.path().join("pinned.toml");
    std::fs::write(&manifest, pinned).expect("writable");
    let error = Runtime::from_file_ambient(&manifest, ambient_authority()).expect_err("another digest");
    assert!(matches!(error, RuntimeError::Denied { .. }), "{error}");
    assert!(error.to_string().contains("error[pin-mismatch]"), "{error}");
    // Nothing needs to be granted for that.
    let told = error.to_string();
    let mut digests = told.split('`').filter(|part| part.len() == 64 && !part.starts_with("00"));
    let digest = digests.next_back().expect("the message has the component's own");
    std::fs::write(&manifest, format!("{text}[crates.app.grants.words]\nchecksum = \"{digest}\"\n"))
        .expect("writable");
    assert!(Runtime::from_file_ambient(&manifest, ambient_authority()).is_ok());
    // A component that is not there is an error at its line.
    std::fs::remove_file(&path).expect("writable");
    std::fs::write(folder.path().join("capabilities.toml"), text).expect("writable");
    let error = Runtime::from_file_ambient(folder.path().join("capabilities.toml"), ambient_authority());
    let error = error.expect_err("no file").to_string();
    assert!(
        error.contains("the component `words.wasm` cannot be read") && error.contains("capabilities.toml:4"),
        "{error}"
    );
}
