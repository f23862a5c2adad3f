//! Generated clients over real edges: types cross, handles are of one edge and one instance, and what does not fit is a diff.

use std::path::Path;
use std::time::Duration;

use ambient_authority::ambient_authority;
use cofferdam::client::{CallError, Edge, StartError};
use cofferdam::{EdgeName, Runtime, Source};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

mod calls {
    #![allow(missing_docs, unreachable_pub, reason = "generated inside a test")]
    cofferdam::client!({ path: "../../tests/bindgen/calls.wit" });
}

mod text {
    #![allow(missing_docs, unreachable_pub, dead_code, reason = "generated inside a test")]
    cofferdam::client!({ path: "../../tests/bindgen/text.wit" });
}

use calls::Calls;
use calls::counters::{Counter, Failure, Labelled, Marks};

/// The guest of `calls.wit`.
fn guest(change: impl FnOnce(String) -> String) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/bindgen");
    let text = change(std::fs::read_to_string(folder.join("calls.wat")).expect("readable"));
    let mut module = wat::parse_str(text).expect("WebAssembly text");
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(folder.join("calls.wit")).expect("WIT");
    let world = resolve.select_world(&[package], None).expect("one world");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("a module");
    let encoder = ComponentEncoder::default().module(&module).expect("it says its world");
    encoder.validate(true).encode().expect("a component")
}

const EDGE: EdgeName<'_> = EdgeName { consumer: "app", krate: "guest" };

fn runtime_with(component: Vec<u8>, grants: &str, limits: &str) -> (Runtime, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let tables = if grants.is_empty() {
        String::new()
    } else {
        format!("[holds]\n{grants}\n[crates.app.grants.guest]\n{grants}\n")
    };
    let text = format!(
        "{tables}[crates.app]\ndependencies = [\"guest\"]\n[crates.guest]\n\
         compartment = {{ backend = \"wasm\", limits = {{ {limits} }} }}\n"
    );
    let path = folder.path().join("capabilities.toml");
    std::fs::write(&path, text).expect("writable");
    let runtime = Runtime::from_file_ambient(&path, ambient_authority())
        .unwrap_or_else(|error| panic!("{error}"))
        .component("guest", Source::Bytes(component.into()))
        .start_ambient(ambient_authority())
        .expect("starts");
    (runtime, folder)
}

/// Calls that enter directly, and calls on a stack of their own.
const ROADS: [&str; 2] = ["", "clock = true"];

#[test]
fn types_cross_in_both_directions() {
    for grants in ROADS {
        let (runtime, _folder) = runtime_with(guest(|text| text), grants, "");
        let counters = Calls::open(runtime.edge(EDGE).expect("starts")).expect("it fits").counters();
        assert_eq!(counters.shout("quiet").expect("called"), Ok("QUIET".to_owned()));
        assert_eq!(counters.shout("").expect("called"), Err(Failure::Empty));
        assert_eq!(counters.shout("123456789").expect("called"), Err(Failure::TooLong(9)));
        let one = Labelled { label: "größer".to_owned(), count: u64::MAX - 1, marks: Marks::SEEN };
        let other = counters.relabel(&one).expect("called");
        assert_eq!(other, Labelled { label: one.label, count: u64::MAX, marks: Marks::KEPT });
    }
}

#[test]
fn handles_are_lent_given_and_dropped() {
    for grants in ROADS {
        let (runtime, _folder) = runtime_with(guest(|text| text), grants, "");
        let client = Calls::open(runtime.edge(EDGE).expect("starts")).expect("it fits");
        let counters = client.counters();
        let counter = |start| Counter::new(&counters, start).expect("called");
        let first = counter(1);
        assert_eq!(first.add(4).expect("called"), 5);
        assert_eq!(counters.value(Some(&first)).expect("called"), Some(5));
        let sum = Counter::sum(&counters, first, vec![counter(10), counter(100)]).expect("called");
        assert_eq!(sum.add(0).expect("called"), 115);
        assert_eq!(client.dropped().expect("called"), 3, "those that were given");
        drop(sum);
        assert_eq!(client.dropped().expect("called"), 4, "and the one that was let go");
    }
}

#[test]
fn a_handle_of_an_instance_that_is_gone_or_of_another_edge_is_refused() {
    // `shout` of this text runs into the wall.
    let crashing = |text: String| {
        text.replacen(
            "(func $take (param $size i32) (result i32)",
            "(func (export \"crash\") unreachable)\n  (func $take (param $size i32) (result i32)",
            1,
        )
    };
    for grants in ROADS {
        let (runtime, _folder) = runtime_with(guest(crashing), grants, "handles = 20");
        let counters = Calls::open(runtime.edge(EDGE).expect("starts")).expect("it fits").counters();
        let old = Counter::new(&counters, 7).expect("called");
        // The guest may hold 20 handles; one more ends its instance.
        let mut kept = Vec::new();
        let error = loop {
            match Counter::new(&counters, 1) {
                Ok(counter) => kept.push(counter),
                Err(error) => break error,
            }
            assert!(kept.len() < 100, "no bound on handles");
        };
        assert!(matches!(error, CallError::Fault { .. } | CallError::Limit { .. }), "{error:?}");
        let error = old.add(1).expect_err("its instance is gone");
        assert!(matches!(&error, CallError::StaleHandle { edge } if edge == "app -> guest"), "{error:?}");
        drop(kept);
        assert!(Counter::new(&counters, 1).is_ok(), "a fresh instance has its own");

        let (other, _folder) = runtime_with(guest(|text| text), grants, "");
        let others = Calls::open(other.edge(EDGE).expect("starts")).expect("it fits").counters();
        let foreign = Counter::new(&others, 7).expect("called");
        let error = counters.value(Some(&foreign)).expect_err("another edge's");
        assert!(
            matches!(&error, CallError::Usage { message, .. } if message == "a handle is of another edge"),
            "{error:?}"
        );
    }
}

#[test]
fn handles_come_and_go_from_many_threads() {
    let (runtime, _folder) = runtime_with(guest(|text| text), "", "handles = 100");
    let client = Calls::open(runtime.edge(EDGE).expect("starts")).expect("it fits");
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let counters = client.counters();
            std::thread::spawn(move || {
                for round in 0..25 {
                    let counter =
                        Counter::new(&counters, thread).expect("never more than the limit at a time");
                    assert_eq!(counter.add(round).expect("called"), thread + round);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no panic");
    }
    assert_eq!(client.dropped().expect("called"), 200, "each exactly once");
}

#[test]
fn what_does_not_fit_is_a_diff() {
    let (runtime, _folder) = runtime_with(guest(|text| text), "", "");
    let error = text::TextFilter::open(runtime.edge(EDGE).expect("starts")).expect_err("another world");
    let StartError::DoesNotFit { edge, differences, .. } = &error else { panic!("{error:?}") };
    assert_eq!(edge, "app -> guest");
    assert_eq!(
        *differences,
        [
            "- acme:text/filter@1.0.0#transform: func(text: string, options: options) -> result<string, refusal>",
            "- acme:text/filter@1.0.0#sizes: func(texts: list<string>, raw: list<u8>) -> list<u32>",
            "- acme:text/filter@1.0.0#reset: func()",
        ]
    );
}

#[test]
fn a_component_that_lacks_what_a_client_uses_does_not_take_its_place() {
    let (runtime, _folder) = runtime_with(guest(|text| text), "", "");
    let client = Calls::open(runtime.edge(EDGE).expect("starts")).expect("it fits");
    assert_eq!(client.dropped().expect("called"), 0);
    let other = wat::parse_str(
        r#"(component
            (core module $m (func (export "dropped") (result i32) i32.const 9))
            (core instance $i (instantiate $m))
            (func (export "dropped") (result u32) (canon lift (core func $i "dropped"))))"#,
    );
    let error = runtime.replace(EDGE, &other.expect("text")).expect_err("the counters are gone");
    let StartError::DoesNotFit { differences, .. } = &error else { panic!("{error:?}") };
    assert!(
        differences.iter().any(|line| line.starts_with("- acme:calls/counters@0.1.0#shout: ")),
        "{differences:?}"
    );
    assert_eq!(client.dropped().expect("called"), 0, "the old one stays");
    runtime.replace(EDGE, &guest(|text| text)).expect("the same again fits");
    assert_eq!(client.dropped().expect("called"), 0);
}

fn is_shared<T: Send + Sync + Clone + 'static>(_: &T) {}

#[test]
fn ends_of_edges_are_shared_between_threads() {
    let (runtime, _folder) = runtime_with(guest(|text| text), "", "");
    let edge: Edge = runtime.edge(EDGE).expect("starts");
    is_shared(&edge);
    is_shared(&runtime);
    is_shared(&Calls::open(edge).expect("it fits"));
}

#[cfg(feature = "async")]
mod asynchronous {
    use super::*;

    /// Calls that wait for each other would never end if one kept the only thread of the executor.
    #[test]
    fn calls_leave_the_executor_free() {
        let (runtime, _folder) = runtime_with(guest(|text| text), "clock = true", "call-deadline = \"20s\"");
        let edge = runtime.edge(EDGE).expect("starts");
        let counters = Calls::open(edge.clone()).expect("it fits").counters();
        let executor =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("an executor");
        executor.block_on(async {
            let direct = counters.shout("quiet").expect_err("it would keep this thread waiting");
            assert!(matches!(direct, CallError::Usage { .. }), "{direct:?}");
            let calls: Vec<_> = (0..10)
                .map(|_| {
                    let (edge, counters) = (edge.clone(), counters.clone());
                    tokio::spawn(async move { edge.unblock(move || counters.shout("quiet")).await })
                })
                .collect();
            let mut ticks = 0u32;
            let ticking = async {
                loop {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    ticks += 1;
                }
            };
            let all = async {
                for call in calls {
                    assert_eq!(call.await.expect("no panic").expect("called"), Ok("QUIET".to_owned()));
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            };
            tokio::select! { () = all => {}, () = ticking => {} }
            assert!(ticks > 0, "the executor went on");
        });
    }
}
