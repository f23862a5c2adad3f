//! One client, one source of the guest, three backends: every test runs over wasm, process and inline, and only the line
//! `backend = "..."` differs. Inline has no isolation, so what only isolation gives is asked of the other two.

#![allow(clippy::format_push_string, reason = "texts of a test, and short")]

mod components;
mod lines;

use std::io::{Read as _, Write as _};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ambient_authority::ambient_authority;
use cofferdam::client::{CallError, Cancellation, FaultKind, StartError, chunks};
use cofferdam::process::ProcessHost;
use cofferdam::{AuditLog, EdgeName, Runtime, Source};
use components::{component, launcher, program};
use lines::Lines;

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

use counters::Counting;
use counters::colours::Colour as Sign;
use counters::counters::{Colour, Counter, Counters, Failure, Labelled, Marks};
use counters::progress::{self, Step};
use counters::shapes::Point;
use counters::streams::{Sink, Source as Stream};
use counters::ways::{Place, Surface, Way};

const BACKENDS: [&str; 3] = ["wasm", "process", "inline"];
const ISOLATED: [&str; 2] = ["wasm", "process"];
const EDGE: EdgeName<'_> = EdgeName { consumer: "app", krate: "counters" };

struct App {
    runtime: Runtime,
    log: Lines,
    _folder: tempfile::TempDir,
}

/// What the tests' program is called back with.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Step>>>);

impl progress::Host for Told {
    fn take(&self, step: Step) -> bool {
        let stop = step.done == 5;
        self.0.lock().expect("no panic").push(step);
        !stop
    }

    fn ask(&self, words: Vec<String>) -> Result<String, String> {
        assert!(words != ["panic"], "as it was asked to");
        if words == ["wait"] {
            std::thread::sleep(Duration::from_millis(700));
        }
        if words.is_empty() { Err("no words".to_owned()) } else { Ok(words.join(" ")) }
    }

    fn turn(&self, at: Place, before: Vec<Place>) -> Way {
        match before.len() {
            0 => Way::On(3),
            1 => Way::To(Place { x: -1, surface: !at.surface, sign: Some(Sign::Grey), ..at }),
            _ => Way::Back,
        }
    }
}

impl App {
    fn new(backend: &str, limits: &str, instances: usize) -> Self {
        Self::with(backend, limits, instances, Some(Told::default()))
    }

    fn with(backend: &str, limits: &str, instances: usize, told: Option<Told>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let text = format!(
            "[crates.app]\ndependencies = [\"counters\"]\n[crates.counters]\n\
             compartment = {{ backend = \"{backend}\", world = \"counters.wit#counting\", limits = {{ {limits} }} }}\n"
        );
        let path = folder.path().join("capabilities.toml");
        std::fs::write(&path, text).expect("writable");
        let guest = match backend {
            "wasm" => component("counters"),
            "process" => program("counters"),
            _ => Vec::new(),
        };
        let host = ProcessHost::from_path_ambient(&launcher(), ambient_authority()).expect("it is there");
        let log = Lines::default();
        let mut builder =
            Runtime::from_file_ambient(&path, ambient_authority()).unwrap_or_else(|error| panic!("{error}"));
        if let Some(told) = told {
            builder = builder.provide("app -> counters", progress::provide(told));
        }
        let runtime = builder
            .component("counters", Source::Bytes(guest.into()))
            .instances("app -> counters", instances)
            .processes(Arc::new(host))
            .audit(AuditLog::to_writer(log.clone()))
            .start_ambient(ambient_authority())
            .expect("starts");
        Self { runtime, log, _folder: folder }
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
        // Other tests of this program share the statics of an inline crate.
        let dropped = client.dropped().expect("called");
        assert!(dropped == 5 || backend == "inline", "{backend}: two let go, three given, not {dropped}");
        drop(sum);
        assert!(client.dropped().expect("called") > dropped, "{backend}");
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
#[expect(clippy::many_single_char_names, reason = "they are counted")]
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
    for backend in ISOLATED {
        // The start of a fresh guest is part of a call's time, and this machine may be busy.
        let app = App::new(backend, "call-deadline = \"2s\"", 1);
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
        let deadline = Duration::from_secs(2);
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
    for backend in ISOLATED {
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
        assert!(
            status.backend == backend && status.calls.0 >= 320 && status.calls.1 == 0,
            "{backend}: {:?}",
            status.calls
        );
    }
}

#[test]
fn an_edge_is_taken_back_and_a_running_call_is_told() {
    for backend in ISOLATED {
        let app = App::new(backend, "", 1);
        let client = app.client();
        let hanging = client.clone();
        let started = Instant::now();
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
    for backend in ISOLATED {
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

#[test]
fn a_guest_calls_its_consumer_back() {
    for backend in BACKENDS {
        let told = Told::default();
        let app = App::with(backend, "", 1, Some(told.clone()));
        let work = app.client().work();
        assert_eq!(work.count(3).expect("called"), 3, "{backend}");
        let step = |done| Step { done, label: format!("step {done}"), at: u8::try_from(done).ok() };
        assert_eq!(*told.0.lock().expect("no panic"), [step(0), step(1), step(2)]);
        assert_eq!(work.count(300).expect("called"), 5, "{backend}: the host says when it is enough");
        assert_eq!(work.ask(&["a".to_owned(), "b".to_owned()]).expect("called"), Ok("a b".to_owned()));
        assert_eq!(work.ask(&[]).expect("called"), Err("no words".to_owned()));
    }
}

/// Types that an interface of the guest's and one that it calls back have in common are the same types in it, on every backend.
#[test]
fn what_is_called_and_what_is_called_back_share_types() {
    for backend in BACKENDS {
        let app = App::new(backend, "", 1);
        let place = |x, surface, sign| Place { x, label: "é".to_owned(), surface, sign };
        let start = place(4, Surface::LIT, Some(Sign::Blue));
        let been = app.client().work().walk(&start, 3).expect("called");
        let (on, to) =
            (place(7, Surface::LIT, Some(Sign::Blue)), place(-1, Surface::PAVED, Some(Sign::Grey)));
        assert_eq!(been, [start, to, on], "{backend}: the last step goes back");
    }
}

#[test]
fn a_callback_that_panics_ends_the_call_and_nothing_else() {
    for backend in BACKENDS {
        let app = App::new(backend, "", 1);
        let work = app.client().work();
        let error = work.ask(&["panic".to_owned()]).expect_err("the host's own function panics");
        let CallError::Host { edge, function, message } = &error else { panic!("{backend}: {error:?}") };
        assert_eq!(edge, "app -> counters", "{backend}");
        assert_eq!(function, "acme:counters/progress@0.1.0#ask", "{backend}");
        assert!(
            message.starts_with("panicked: ") && message.contains("as it was asked to"),
            "{backend}: {error}"
        );
        assert!(!error.to_string().contains("the guest panicked"), "{backend}: {error}");
        let log = app.log.text();
        let faults: Vec<&str> = log.lines().filter(|line| line.contains("\"event\":\"fault\"")).collect();
        assert_eq!(faults.len(), 1, "{backend}: {faults:?}");
        assert!(faults[0].contains("\"kind\":\"host\""), "{backend}: {faults:?}");
        assert_eq!(work.ask(&["on".to_owned()]).expect("a fresh guest"), Ok("on".to_owned()));
    }
}

/// It cannot be ended, but it counts: the guest gets no answer any more, however quick it would be with it.
#[test]
fn a_callback_that_takes_all_the_time_is_a_missed_deadline() {
    for backend in ISOLATED {
        let app = App::new(backend, "call-deadline = \"200ms\"", 1);
        let work = app.client().work();
        for _ in 0..4 {
            let error = work.ask(&["wait".to_owned()]).expect_err("it is over");
            assert!(matches!(&error, CallError::Deadline { .. }), "{backend}: {error:?}");
        }
        assert_eq!(work.ask(&["on".to_owned()]).expect("a fresh guest"), Ok("on".to_owned()), "{backend}");
    }
}

#[test]
fn a_guest_whose_callbacks_nobody_provides_does_not_start() {
    for backend in BACKENDS {
        let app = App::with(backend, "", 1, None);
        let opened = app.runtime.edge(EDGE).and_then(Counting::open);
        let error = opened.expect_err("nobody provides it");
        assert!(
            error.to_string().contains("acme:counters/progress@0.1.0")
                && error.to_string().contains("provides"),
            "{backend}: {error}"
        );
    }
}

#[test]
fn more_bytes_than_a_message_may_have_go_through_in_chunks() {
    // A message has at most 64 MiB, and so has this guest's memory.
    const BYTES: u64 = (64 << 20) + 12_345;
    for backend in BACKENDS {
        let app = App::new(backend, "", 1);
        let streams = app.client().streams();
        let source = Stream::new(&streams, BYTES).expect("called");
        let mut reader = chunks::reader(|most| source.read(most)).take(BYTES + 1);
        let sink = Sink::new(&streams).expect("called");
        let mut writer = chunks::writer(|chunk| sink.write(chunk));
        let (mut buffer, mut sum) = (vec![0; chunks::CHUNK_BYTES as usize], 0_u64);
        loop {
            let count = reader.read(&mut buffer).expect("read");
            if count == 0 {
                break;
            }
            sum += buffer[..count].iter().copied().map(u64::from).sum::<u64>();
            writer.write_all(&buffer[..count]).expect("written");
        }
        assert_eq!(sink.taken().expect("called"), (BYTES, sum), "{backend}");
        let rounds = BYTES / 251;
        let rest: u64 = (0..BYTES % 251).sum();
        assert_eq!(sum, rounds * (250 * 251 / 2) + rest, "{backend}");
    }
}

#[test]
fn two_consumers_of_one_crate_get_exactly_what_each_was_granted() {
    for backend in ISOLATED {
        let folder = tempfile::tempdir().expect("a folder");
        let mut text = "[holds]\nfilesystem = { read = [\"left\", \"right\"] }\n".to_owned();
        text += "[crates.app]\ndependencies = [\"left\", \"right\", \"counters\"]\n";
        for side in ["left", "right"] {
            std::fs::create_dir(folder.path().join(side)).expect("writable");
            std::fs::write(folder.path().join(side).join("note"), side).expect("writable");
            text += &format!(
                "[crates.app.grants.{side}]\nfilesystem = {{ read = [\"{side}\"] }}\n[crates.{side}]\ndependencies = [\"counters\"]\n\
                 [crates.{side}.grants.counters]\nfilesystem = {{ read = [\"{side}\"], at = \"/{side}\" }}\n"
            );
        }
        text += &format!(
            "[crates.counters]\nconsumes = {{ \"filesystem.read\" = {{ reason = \"looks\", optional = true }} }}\n\
             compartment = {{ backend = \"{backend}\" }}\n"
        );
        let path = folder.path().join("capabilities.toml");
        std::fs::write(&path, text).expect("writable");
        let guest = if backend == "wasm" { component("counters") } else { program("counters") };
        let host = ProcessHost::from_path_ambient(&launcher(), ambient_authority()).expect("it is there");
        let told = ["app", "left", "right"].map(|_| Told::default());
        let mut builder = Runtime::from_file_ambient(&path, ambient_authority())
            .unwrap_or_else(|error| panic!("{error}"))
            .component("counters", Source::Bytes(guest.into()))
            .processes(Arc::new(host));
        for (consumer, told) in ["app", "left", "right"].iter().zip(&told) {
            builder = builder.provide(&format!("{consumer} -> counters"), progress::provide(told.clone()));
        }
        let runtime = builder.start_ambient(ambient_authority()).expect("starts");
        let client = |consumer| {
            let edge = runtime
                .edge(EdgeName { consumer, krate: "counters" })
                .unwrap_or_else(|error| panic!("{error}"));
            Counting::open(edge).unwrap_or_else(|error| panic!("{error}"))
        };
        for (own, other) in [("left", "right"), ("right", "left")] {
            let client = client(own);
            assert_eq!(
                client.look(&format!("/{own}/note")).expect("called"),
                Ok(own.to_owned()),
                "{backend}"
            );
            for path in
                [format!("/{other}/note"), format!("/{own}/../{other}/note"), "/etc/hostname".to_owned()]
            {
                let answer = client.look(&path).expect("called");
                assert!(answer.is_err(), "{backend}: {own} reads {path}: {answer:?}");
            }
        }
        // The same crate, and no grant: a component has no folder, and a process is ended.
        match client("app").look("/left/note") {
            Ok(answer) => assert!(backend == "wasm" && answer.is_err(), "{backend}: {answer:?}"),
            Err(error) => assert!(matches!(&error, CallError::Violation { .. }), "{backend}: {error:?}"),
        }
        // What is called back is of the one edge, too.
        assert_eq!(client("left").work().count(2).expect("called"), 2);
        let steps = told.map(|told| told.0.lock().expect("no panic").len());
        assert_eq!(steps, [0, 2, 0], "{backend}");
    }
}

#[test]
fn a_running_call_is_ended_from_another_thread() {
    for backend in ISOLATED {
        let app = App::new(backend, "call-deadline = \"60s\"", 1);
        let cancellation = Cancellation::new();
        let edge = app.runtime.edge(EDGE).expect("starts");
        let hanging = Counting::open(edge.cancelled_by(&cancellation)).expect("it fits");
        let waiting = hanging.clone();
        let begun = Instant::now();
        let call = std::thread::spawn(move || hanging.hang().expect_err("it is ended"));
        while app.runtime.list()[0].state != (cofferdam::CompartmentState::Started { idle: 0, busy: 1 }) {
            assert!(begun.elapsed() < Duration::from_mins(1), "the call never began");
            std::thread::sleep(Duration::from_millis(1));
        }
        // The only guest is busy, so this one waits for it.
        let queued = std::thread::spawn(move || waiting.dropped().expect_err("it is ended, too"));
        std::thread::sleep(Duration::from_millis(50));
        cancellation.cancel();
        for call in [call, queued] {
            let error = call.join().expect("no panic");
            assert!(
                matches!(&error, CallError::Cancelled { edge } if edge == "app -> counters"),
                "{backend}: {error:?}"
            );
        }
        assert!(begun.elapsed() < Duration::from_secs(50), "{backend}: it ran to its deadline");
        assert_eq!(app.client().dropped().expect("others go on, with a fresh guest"), 0);
    }
}

#[test]
fn what_is_cancelled_before_it_begins_never_runs() {
    for backend in BACKENDS {
        let told = Told::default();
        let app = App::with(backend, "", 1, Some(told.clone()));
        let cancellation = Cancellation::new();
        let edge = app.runtime.edge(EDGE).expect("starts").cancelled_by(&cancellation);
        let work = Counting::open(edge).expect("it fits").work();
        assert_eq!(work.count(2).expect("called"), 2, "{backend}");
        cancellation.cancel();
        let error = work.count(2).expect_err("cancelled");
        assert!(matches!(&error, CallError::Cancelled { .. }), "{backend}: {error:?}");
        assert_eq!(told.0.lock().expect("no panic").len(), 2, "{backend}");
        assert_eq!(app.client().work().count(1).expect("others go on"), 1);
    }
}

#[test]
fn an_inline_panic_is_a_fault_and_handles_of_before_are_stale() {
    let app = App::new("inline", "", 1);
    let client = app.client();
    let counter = Counter::new(&client.counters(), 1).expect("called");
    let error = client.fail("on purpose").expect_err("it panics");
    let panicked = |kind: &FaultKind| *kind == FaultKind::Panic(Some("on purpose".to_owned()));
    assert!(matches!(&error, CallError::Fault { kind, .. } if panicked(kind)), "{error:?}");
    assert!(matches!(counter.add(1), Err(CallError::StaleHandle { .. })));
    app.runtime.revoke(EDGE).expect("there is such an edge");
    assert!(matches!(client.dropped(), Err(CallError::Revoked { .. })));
    assert!(matches!(app.runtime.edge(EDGE), Err(StartError::Revoked { .. })));
}

#[test]
fn inline_code_that_is_not_linked_is_never_called_and_the_error_says_what_to_add() {
    let app = App::new("inline", "", 1);
    let edge = app.runtime.edge(EDGE).expect("the manifest has it");
    // A client that was made from WIT alone, as where the crate's feature is off.
    let error = other::Counting::open(edge).expect_err("its code is nowhere");
    let StartError::NotLinked { edge, .. } = &error else { panic!("{error:?}") };
    assert_eq!(edge, "app -> counters");
    for says in ["`backend = \"inline\"` for `counters`", "`inline_feature`", "choose another backend"] {
        assert!(error.to_string().contains(says), "{error}");
    }
}
