//! Graphs of both backends: `app -> teller -> ledger`, where each end is a component or a process, from the same two sources.

mod components;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ambient_authority::ambient_authority;
use cofferdam::client::{CallError, Cancellation, FaultKind, StartError};
use cofferdam::process::ProcessHost;
use cofferdam::{EdgeName, Runtime, RuntimeBuilder, Source};
use components::{component, launcher, program};

mod telling {
    #![allow(missing_docs, unreachable_pub, dead_code, reason = "generated inside a test")]
    cofferdam::client!({ path: "../../tests/guests/teller/wit" });
}

use telling::Telling;
use telling::teller::Teller;

const ENDS: [(&str, &str); 4] =
    [("wasm", "wasm"), ("process", "process"), ("process", "wasm"), ("wasm", "process")];

struct App {
    runtime: Runtime,
    _folder: tempfile::TempDir,
}

fn builder(
    outer: &str,
    inner: &str,
    limits: &str,
    dependencies: &str,
) -> (RuntimeBuilder, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let text = format!(
        "[crates.app]\ndependencies = [\"teller\"]\n\
         [crates.teller]\ndependencies = [{dependencies}]\n\
         compartment = {{ backend = \"{outer}\", limits = {{ {limits} }} }}\n\
         [crates.ledger]\ncompartment = {{ backend = \"{inner}\" }}\n"
    );
    let path = folder.path().join("capabilities.toml");
    std::fs::write(&path, text).expect("writable");
    let guest = |name: &str, backend: &str| {
        let bytes = if backend == "wasm" { component(name) } else { program(name) };
        Source::Bytes(bytes.into())
    };
    let host = ProcessHost::from_path_ambient(&launcher(), ambient_authority()).expect("it is there");
    let builder = Runtime::from_file_ambient(&path, ambient_authority())
        .unwrap_or_else(|error| panic!("{error}"))
        .component("teller", guest("teller", outer))
        .component("ledger", guest("ledger", inner))
        .processes(Arc::new(host));
    (builder, folder)
}

impl App {
    fn new(outer: &str, inner: &str, limits: &str) -> Self {
        let (builder, folder) = builder(outer, inner, limits, "\"ledger\"");
        Self { runtime: builder.start_ambient(ambient_authority()).expect("starts"), _folder: folder }
    }

    fn teller(&self) -> Teller {
        let name = EdgeName { consumer: "app", krate: "teller" };
        let edge = self.runtime.edge(name).unwrap_or_else(|error| panic!("{error}"));
        Telling::open(edge).unwrap_or_else(|error| panic!("{error}")).teller()
    }
}

#[test]
fn a_guest_calls_another_whatever_either_is() {
    for (outer, inner) in ENDS {
        let app = App::new(outer, inner, "");
        let teller = app.teller();
        let booked = |name: &str, amount| teller.book(name, amount).expect("called");
        assert_eq!(booked("anna", 5), Ok(5), "{outer} -> {inner}");
        assert_eq!(booked("anna", -7), Ok(-2));
        assert_eq!(booked("berta", 1), Ok(1));
        assert_eq!(booked("", 1), Err("closed".to_owned()));
        assert_eq!(teller.names().expect("called"), ["anna -2"]);
        assert_eq!(teller.mirror(1, 2).expect("called"), (2, 1));
        let data: Vec<u8> = (0..=255).cycle().take(700_000).collect();
        let mut reversed = data.clone();
        reversed.reverse();
        assert!(teller.bytes(&data).expect("called") == reversed, "{outer} -> {inner}");
        let status = app.runtime.list();
        let backends: Vec<_> = status.iter().map(|one| one.backend.as_str()).collect();
        assert_eq!(backends, [outer, inner]);
        assert_eq!(status[1].edge, "teller -> ledger");
        assert_eq!(status[1].calls, (7, 0), "{outer} -> {inner}");
    }
}

#[test]
fn a_failure_of_the_inner_one_is_told_with_its_edge() {
    for (outer, inner) in ENDS {
        let app = App::new(outer, inner, "");
        let teller = app.teller();
        assert_eq!(teller.lives().expect("called"), 1);
        let error = teller.crash().expect_err("the ledger panics");
        let CallError::Callee { edge, source } = &error else { panic!("{outer} -> {inner}: {error:?}") };
        assert_eq!(edge, "app -> teller");
        let fault = matches!(&**source, CallError::Fault { edge, kind: FaultKind::Panic(_) } if edge == "teller -> ledger");
        assert!(fault, "{outer} -> {inner}: {source:?}");
        assert_eq!(teller.mirror(3, 4).expect("both begin afresh"), (4, 3));
    }
}

#[test]
fn the_inner_call_ends_with_the_deadline_of_the_outer_one() {
    for (outer, inner) in ENDS {
        let app = App::new(outer, inner, "call-deadline = \"400ms\"");
        let teller = app.teller();
        assert_eq!(teller.lives().expect("called"), 1);
        let began = Instant::now();
        let error = teller.hang().expect_err("the ledger does not come back");
        // The ledger's own deadline would be seconds.
        assert!(began.elapsed() < Duration::from_secs(4), "{outer} -> {inner}: {:?}", began.elapsed());
        let told = match &error {
            CallError::Deadline { .. } => true,
            CallError::Callee { source, .. } => matches!(&**source, CallError::Deadline { .. }),
            _ => false,
        };
        assert!(told, "{outer} -> {inner}: {error:?}");
        assert_eq!(teller.mirror(3, 4).expect("both begin afresh"), (4, 3));
    }
}

#[test]
fn cancelling_the_outer_call_ends_the_inner_one() {
    for (outer, inner) in ENDS {
        let deadline = "call-deadline = \"60s\"";
        let app = App::new(outer, inner, deadline);
        let name = EdgeName { consumer: "app", krate: "teller" };
        let cancellation = Cancellation::new();
        let edge = app.runtime.edge(name).expect("starts").cancelled_by(&cancellation);
        let teller = Telling::open(edge).expect("it fits").teller();
        assert_eq!(teller.mirror(1, 2).expect("called"), (2, 1));
        let elsewhere = cancellation.clone();
        let begun = Instant::now();
        let ending = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            elsewhere.cancel();
        });
        let error = teller.hang().expect_err("it is ended");
        assert!(
            matches!(&error, CallError::Cancelled { edge } if edge == "app -> teller"),
            "{outer} -> {inner}: {error:?}"
        );
        // The inner one's own deadline is five seconds.
        assert!(begun.elapsed() < Duration::from_secs(4), "{outer} -> {inner}: {:?}", begun.elapsed());
        ending.join().expect("no panic");
        assert_eq!(app.teller().mirror(3, 4).expect("both begin afresh"), (4, 3));
    }
}

#[test]
fn an_import_that_no_edge_provides_does_not_start() {
    for outer in ["wasm", "process"] {
        let (builder, _folder) = builder(outer, "wasm", "", "");
        let runtime = builder.start_ambient(ambient_authority()).expect("nothing runs yet");
        let error =
            runtime.edge(EdgeName { consumer: "app", krate: "teller" }).expect_err("it imports the ledger");
        let StartError::UnknownImports { edge, imports } = &error else { panic!("{outer}: {error:?}") };
        assert_eq!(edge, "app -> teller");
        assert!(imports.iter().any(|import| import.contains("acme:ledger/ledger@0.1.0")), "{outer}: {error}");
    }
}
