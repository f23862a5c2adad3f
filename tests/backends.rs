//! One client, one source of the guest, two backends: every test runs over wasm and over process, and only the line
//! `backend = "..."` differs.

mod components;

use std::sync::Arc;
use std::time::Duration;

use ambient_authority::ambient_authority;
use cofferdam::client::{CallError, FaultKind, StartError};
use cofferdam::process::ProcessHost;
use cofferdam::{AuditLog, EdgeName, Runtime, Source};
use components::{component, launcher, program};

mod counting {
    #![allow(missing_docs, unreachable_pub, dead_code, reason = "generated inside a test")]
    cofferdam::client!({ path: "../../tests/guests/counters/wit" });
}

mod other {
    #![allow(missing_docs, unreachable_pub, dead_code, reason = "generated inside a test")]
    cofferdam::client!({ inline: "package acme:counters@0.1.0;
        interface counters {
            record labelled { label: string }
            relabel: func(one: labelled) -> labelled;
            gone: func();
        }
        world counting { export counters; }" });
}

use counting::Counting;
use counting::counters::{Colour, Counter, Counters, Failure, Labelled, Marks};
use counting::shapes::Point;

const BACKENDS: [&str; 2] = ["wasm", "process"];
const EDGE: EdgeName<'_> = EdgeName { consumer: "app", krate: "counters" };

struct App {
    runtime: Runtime,
    _folder: tempfile::TempDir,
}

impl App {
    fn new(backend: &str, limits: &str, instances: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let text = format!(
            "[crates.app]\ndependencies = [\"counters\"]\n[crates.counters]\n\
             compartment = {{ backend = \"{backend}\", limits = {{ {limits} }} }}\n"
        );
        let path = folder.path().join("capabilities.toml");
        std::fs::write(&path, text).expect("writable");
        let guest = if backend == "wasm" { component("counters") } else { program("counters") };
        let host = ProcessHost::from_path_ambient(&launcher(), ambient_authority()).expect("it is there");
        let runtime = Runtime::from_file_ambient(&path, ambient_authority())
            .unwrap_or_else(|error| panic!("{error}"))
            .component("counters", Source::Bytes(guest.into()))
            .instances("app -> counters", instances)
            .processes(Arc::new(host))
            .audit(AuditLog::discard())
            .start_ambient(ambient_authority())
            .expect("starts");
        Self { runtime, _folder: folder }
    }

    fn client(&self) -> Counting {
        let edge = self.runtime.edge(EDGE).unwrap_or_else(|error| panic!("{error}"));
        Counting::open(edge).unwrap_or_else(|error| panic!("{error}"))
    }

    fn counters(&self) -> Counters {
        self.client().counters()
    }
}

#[test]
fn every_type_crosses_in_both_directions() {
    for backend in BACKENDS {
        let app = App::new(backend, "", 1);
        let counters = app.counters();
        assert_eq!(counters.shout("quiet").expect("called"), Ok("QUIET".to_owned()), "{backend}");
        assert_eq!(counters.shout("").expect("called"), Err(Failure::Empty));
        assert_eq!(counters.shout("123456789").expect("called"), Err(Failure::TooLong(9)));
        assert_eq!(counters.shout("é?").expect("called"), Err(Failure::Strange("é?".to_owned())));
        let one = Labelled {
            label: "größer".to_owned(),
            count: u64::MAX - 1,
            marks: Marks::SEEN | Marks::OLD,
            at: Some(Point { x: i32::MIN, y: 7 }),
        };
        let other = counters.relabel(&one).expect("called");
        let at = Some(Point { x: 7, y: i32::MIN });
        assert_eq!(
            other,
            Labelled { label: one.label, count: u64::MAX, marks: Marks::KEPT | Marks::OLD, at }
        );
        let colours = [Colour::Red, Colour::Green, Colour::DarkBlue, Colour::Red];
        for pair in colours.windows(2) {
            assert_eq!(counters.next(pair[0]).expect("called"), pair[1]);
        }
        let numbers = counters.numbers(1, -2, 3, i64::MIN + 1, 0.5, -0.25, 'x', false).expect("called");
        assert_eq!(numbers, (254, 2, u32::MAX - 3, i64::MAX, -0.5, 0.25, 'X', true));
        let rows = vec![
            ("a".to_owned(), vec![Point { x: 1, y: 2 }, Point { x: 3, y: 4 }]),
            (String::new(), Vec::new()),
        ];
        let mut reversed = rows.clone();
        reversed.reverse();
        assert_eq!(counters.table(&rows).expect("called"), reversed);
        assert_eq!(counters.split("a=b").expect("called"), Ok(("a".to_owned(), "b".to_owned())));
        assert_eq!(counters.split("ab").expect("called"), Err(()));
        // More than the rings hold, and nothing.
        for length in [0_usize, 1, 3 << 20] {
            let mut data: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).expect("small")).collect();
            let back = counters.bytes(&data).expect("called");
            data.reverse();
            assert!(back == data, "{backend}: {length} bytes");
        }
    }
}

#[test]
fn resources_are_lent_given_and_dropped() {
    for backend in BACKENDS {
        let app = App::new(backend, "", 1);
        let client = app.client();
        let counters = client.counters();
        let counter = |start| Counter::new(&counters, start).expect("called");
        let first = counter(1);
        assert_eq!(first.add(4).expect("called"), 5, "{backend}");
        assert_eq!(counters.value(Some(&first)).expect("called"), Some(5));
        assert_eq!(counters.value(None).expect("called"), None);
        let (a, b) = (counter(10), counter(20));
        assert_eq!(counters.values(&[&a, &first, &b, &a]).expect("called"), [10, 5, 20, 10]);
        drop((a, b));
        let sum = Counter::sum(&counters, first, vec![counter(10), counter(100)]).expect("called");
        assert_eq!(sum.add(0).expect("called"), 115);
        assert_eq!(client.dropped().expect("called"), 5, "two let go, three given");
        drop(sum);
        assert_eq!(client.dropped().expect("called"), 6);
    }
}

#[test]
fn a_handle_is_of_one_edge_and_one_guest() {
    for backend in BACKENDS {
        let (app, other) = (App::new(backend, "", 1), App::new(backend, "", 1));
        let (client, counters) = (app.client(), app.counters());
        let own = Counter::new(&counters, 1).expect("called");
        let foreign = Counter::new(&other.counters(), 1).expect("called");
        let error = counters.value(Some(&foreign)).expect_err("another edge's");
        assert!(
            matches!(&error, CallError::Usage { message, .. } if message == "a handle is of another edge"),
            "{error}"
        );
        client.fail("on purpose").expect_err("it panics");
        let error = own.add(1).expect_err("its guest is gone");
        assert!(
            matches!(&error, CallError::StaleHandle { edge } if edge == "app -> counters"),
            "{backend}: {error}"
        );
        assert_eq!(Counter::new(&counters, 3).expect("a fresh guest").add(1).expect("called"), 4);
    }
}

/// A component's own table is bounded by its engine (`tests/wasm.rs`); of a process, the host counts what it holds.
#[test]
fn handles_of_a_process_are_counted_until_they_are_let_go_or_given_back() {
    let app = App::new("process", "handles = 3", 1);
    let counters = app.counters();
    let counter = |start| Counter::new(&counters, start);
    let (a, b, c) = (counter(1).expect("one"), counter(2).expect("two"), counter(3).expect("three"));
    drop(a);
    let d = counter(4).expect("three again");
    let sum = Counter::sum(&counters, b, vec![c, d]).expect("three given, one taken");
    let (e, f) = (counter(5).expect("two"), counter(6).expect("three"));
    let error = counter(7).expect_err("four");
    assert!(matches!(&error, CallError::Limit { what: "handles", .. }), "{error:?}");
    // Its guest was ended for it, and what was held of it is stale.
    assert!(matches!(sum.add(1).expect_err("gone"), CallError::StaleHandle { .. }));
    drop((e, f, sum));
    let fresh: Vec<Counter> = (0..3).map(|start| counter(start).expect("a fresh guest's")).collect();
    assert_eq!(fresh[2].add(1).expect("called"), 3);
}

#[test]
fn a_guest_that_fails_or_hangs_is_an_error_and_the_next_call_works() {
    for backend in BACKENDS {
        let app = App::new(backend, "call-deadline = \"300ms\"", 1);
        let client = app.client();
        let error = client.fail("on purpose").expect_err("it panics");
        match &error {
            CallError::Fault { edge, kind: FaultKind::Panic(message) } => {
                assert_eq!(edge, "app -> counters");
                // A component cannot say why.
                let said = message.as_deref().unwrap_or_default();
                assert_eq!(backend == "process", said.contains("on purpose"), "{backend}: {said}");
            }
            other => panic!("{backend}: {other:?}"),
        }
        assert_eq!(client.dropped().expect("a fresh guest"), 0);
        let error = client.hang().expect_err("it does not come back");
        let deadline = Duration::from_millis(300);
        assert!(
            matches!(&error, CallError::Deadline { deadline: found, .. } if *found <= deadline),
            "{backend}: {error:?}"
        );
        assert_eq!(client.dropped().expect("a fresh guest"), 0);
        let status = &app.runtime.list()[0];
        assert_eq!((status.backend.as_str(), status.calls), (backend, (4, 2)));
    }
}

#[test]
fn another_world_does_not_fit_and_every_difference_is_named() {
    for backend in BACKENDS {
        let app = App::new(backend, "", 1);
        let edge = app.runtime.edge(EDGE).expect("starts");
        let error = other::Counting::open(edge).expect_err("it has no such functions");
        let StartError::DoesNotFit { differences, .. } = &error else { panic!("{error:?}") };
        assert!(
            differences.contains(&"- acme:counters/counters@0.1.0#gone: func()".to_owned()),
            "{backend}: {error}"
        );
        // The same text, and another type behind its name: a process is compared by that, a component before its first call.
        let relabel = differences.iter().filter(|line| line.contains("relabel")).count();
        assert_eq!(relabel, if backend == "process" { 2 } else { 0 }, "{error}");
    }
}

#[test]
fn calls_from_many_threads_share_the_instances() {
    for backend in BACKENDS {
        let app = App::new(backend, "", 2);
        let client = app.client();
        std::thread::scope(|scope| {
            for thread in 0..8_u32 {
                let counters = client.counters();
                scope.spawn(move || {
                    for round in 0..20 {
                        let counter = Counter::new(&counters, thread).expect("called");
                        assert_eq!(counter.add(round).expect("called"), thread + round);
                    }
                });
            }
        });
        let status = &app.runtime.list()[0];
        // Constructors, additions, and for a process the destructors too.
        assert!(status.calls.0 >= 320 && status.calls.1 == 0, "{backend}: {:?}", status.calls);
    }
}

#[test]
fn an_edge_is_taken_back_and_a_running_call_is_told() {
    for backend in BACKENDS {
        let app = App::new(backend, "", 1);
        let client = app.client();
        let hanging = client.clone();
        let started = std::time::Instant::now();
        let call = std::thread::spawn(move || hanging.hang().expect_err("it is ended"));
        while app.runtime.list()[0].state != (cofferdam::CompartmentState::Started { idle: 0, busy: 1 }) {
            assert!(started.elapsed() < Duration::from_mins(1), "the call never began");
            std::thread::sleep(Duration::from_millis(1));
        }
        app.runtime.revoke(EDGE).expect("there is such an edge");
        let error = client.dropped().expect_err("the edge is gone");
        assert!(matches!(&error, CallError::Revoked { what: "the edge", .. }), "{backend}: {error:?}");
        // A component that only computes asks for nothing, so its deadline ends it; a process is ended at once.
        let error = call.join().expect("no panic");
        let told = matches!(&error, CallError::Revoked { .. });
        assert!(
            told || (backend == "wasm" && matches!(&error, CallError::Deadline { .. })),
            "{backend}: {error:?}"
        );
        assert!(matches!(app.runtime.edge(EDGE), Err(StartError::Revoked { .. })));
    }
}

#[test]
fn another_program_takes_the_place_of_one_that_runs() {
    for backend in BACKENDS {
        let app = App::new(backend, "", 1);
        let client = app.client();
        let counter = Counter::new(&client.counters(), 1).expect("called");
        let again = if backend == "wasm" { component("counters") } else { program("counters") };
        app.runtime.replace(EDGE, &again).expect("it is the same");
        let error = counter.add(1).expect_err("of the old one");
        assert!(matches!(&error, CallError::StaleHandle { .. }), "{backend}: {error:?}");
        assert_eq!(client.dropped().expect("the new one"), 0);
        let error = app.runtime.replace(EDGE, b"nothing that runs").expect_err("no program");
        assert!(matches!(&error, StartError::NotAComponent { .. } | StartError::Process(_)), "{error:?}");
        assert_eq!(client.dropped().expect("the old one stays"), 0);
    }
}
