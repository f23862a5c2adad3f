//! Fused edges: the same components give the same answers in one unit as in two stores, each end keeps exactly the grants of its
//! own edge, and what a unit cannot hold its members to does not start.

mod components;
mod lines;

use std::fmt::Write as _;
use std::io::{Read as _, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use ambient_authority::ambient_authority;
use cofferdam::client::Edge;
use cofferdam::manifest::{Capability, HostCapability};
use cofferdam::wasm::{CallError, CodeCache, FaultKind, StartError, UNIT_MEMBERS_MAX, Val};
use cofferdam::{AuditLog, CompartmentState, EdgeName, Runtime, RuntimeBuilder, RuntimeError, Source};
use lines::Lines;

const OUTER: EdgeName<'_> = EdgeName { consumer: "app", krate: "relay" };

/// `app -> relay -> reach`: what the host holds, what each edge grants, and the limits of each end.
#[derive(Clone, Copy)]
struct Case<'a> {
    holds: &'a str,
    relay: &'a str,
    reach: &'a str,
    relay_limits: &'a str,
    reach_limits: &'a str,
}

const NOTHING: Case<'_> =
    Case { holds: "", relay: "", reach: "", relay_limits: "call-deadline = \"20s\"", reach_limits: "" };

struct Running {
    edge: Edge,
    runtime: Runtime,
    log: Lines,
    folder: tempfile::TempDir,
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for path in ["outer", "outer/inner", "other"] {
        std::fs::create_dir(folder.path().join(path)).expect("writable");
    }
    for path in ["outer/words", "outer/inner/words", "outer/inner/more", "other/words"] {
        std::fs::write(folder.path().join(path), path).expect("writable");
    }
    folder
}

/// Compiled code of the guests, kept between tests: an unoptimised compiler takes seconds for each.
fn cache() -> CodeCache {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled");
    CodeCache::open_ambient(&folder, ambient_authority()).expect("writable")
}

fn manifest(case: Case<'_>, link: &str) -> String {
    let Case { holds, relay, reach, relay_limits, reach_limits } = case;
    let to_relay =
        if relay.is_empty() { String::new() } else { format!("[crates.app.grants.relay]\n{relay}\n") };
    format!(
        "[holds]\n{holds}\n[crates.app]\ndependencies = [\"relay\"]\n{to_relay}\
         [crates.relay]\ndependencies = [\"reach\"]\ncompartment = {{ backend = \"wasm\", limits = {{ {relay_limits} }} }}\n\
         [crates.relay.grants.reach]\nlink = \"{link}\"\n{reach}\n\
         [crates.reach]\ncompartment = {{ backend = \"wasm\", limits = {{ {reach_limits} }} }}\n"
    )
}

fn builder(folder: &Path, text: &str, log: &Lines) -> Result<RuntimeBuilder, RuntimeError> {
    let path = folder.join("capabilities.toml");
    std::fs::write(&path, text).expect("writable");
    Ok(Runtime::from_file_ambient(&path, ambient_authority())?
        .audit(AuditLog::to_writer(log.clone()))
        .cache(cache()))
}

fn started(
    case: Case<'_>,
    link: &str,
    change: impl FnOnce(RuntimeBuilder) -> RuntimeBuilder,
) -> Result<Running, StartError> {
    let (folder, log) = (folder(), Lines::default());
    let builder =
        builder(folder.path(), &manifest(case, link), &log).unwrap_or_else(|error| panic!("{error}"));
    let builder = builder
        .component("relay", Source::Bytes(components::component("relay").into()))
        .component("reach", Source::Bytes(components::component("reach").into()));
    let runtime =
        change(builder).start_ambient(ambient_authority()).unwrap_or_else(|error| panic!("{error}"));
    let edge = runtime.edge(OUTER)?;
    Ok(Running { edge, runtime, log, folder })
}

fn start(case: Case<'_>, link: &str) -> Running {
    started(case, link, |builder| builder).unwrap_or_else(|error| panic!("{link}: {error}"))
}

fn text(text: &str) -> Val {
    Val::String(text.to_owned())
}

impl Running {
    fn call(&self, function: &str, arguments: &[Val]) -> Result<Option<Val>, CallError> {
        Ok(self.edge.call_untyped(function, arguments)?.into_iter().next())
    }

    /// The answer of a function that returns a `result` or an `option`.
    fn ask(&self, function: &str, arguments: &[Val]) -> Result<String, String> {
        let show = |value: Option<Box<Val>>| match value.map(|value| *value) {
            None => String::new(),
            Some(Val::String(text)) => text,
            Some(other) => format!("{other:?}"),
        };
        match self.call(function, arguments).unwrap_or_else(|error| panic!("{function}: {error}")) {
            Some(Val::Result(Ok(value)) | Val::Option(value)) => Ok(show(value)),
            Some(Val::Result(Err(value))) => Err(show(value)),
            other => panic!("{other:?}"),
        }
    }

    fn read(&self, whose: &str, path: &str) -> Result<String, String> {
        self.ask(&format!("{whose}-read"), &[text(path)])
    }

    fn write(&self, whose: &str, path: &str, bytes: &str) -> Result<String, String> {
        self.ask(&format!("{whose}-write"), &[text(path), text(bytes)])
    }

    fn talk(&self, whose: &str, to: SocketAddr) -> Result<String, String> {
        let arguments = [text(&to.ip().to_string()), Val::U16(to.port()), text("hello")];
        self.ask(&format!("{whose}-talk"), &arguments)
    }

    fn lives(&self) -> u32 {
        match self.call("lives", &[]) {
            Ok(Some(Val::U32(lives))) => lives,
            other => panic!("{other:?}"),
        }
    }
}

/// A server on this machine that answers each connection once.
fn server(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for connection in listener.incoming().take(20) {
            let Ok(mut connection) = connection else { return };
            let _ = connection.set_read_timeout(Some(std::time::Duration::from_millis(300)));
            let _ = connection.read(&mut [0; 4096]);
            let _ = connection.write_all(answer.as_bytes());
        }
    });
    address
}

const LINKS: [&str; 2] = ["isolated", "fused"];

#[test]
fn each_end_sees_the_folders_of_its_own_edge() {
    let case = Case {
        holds: "filesystem = { write = [\"outer\"] }",
        relay: "filesystem = { write = [\"outer\"], at = \"/mine\" }",
        reach: "filesystem = { read = [\"/mine/inner\"], at = \"/inner\" }",
        ..NOTHING
    };
    for link in LINKS {
        let guest = start(case, link);
        assert_eq!(guest.read("own", "/mine/words"), Ok("outer/words".to_owned()), "{link}");
        assert_eq!(guest.read("far", "/inner/words"), Ok("outer/inner/words".to_owned()), "{link}");
        // Neither sees the other's names, nor what is above its own folder.
        assert!(guest.read("far", "/mine/words").is_err(), "{link}");
        assert!(guest.read("own", "/inner/words").is_err(), "{link}");
        assert!(guest.read("far", "/inner/../words").is_err(), "{link}");
        // One may write, the other only read.
        assert_eq!(guest.write("own", "/mine/new", "x"), Ok(String::new()), "{link}");
        assert!(guest.write("far", "/inner/new", "x").is_err(), "{link}");
        assert!(!guest.folder.path().join("outer/inner/new").exists());
    }
}

#[test]
fn single_files_and_quotas_are_those_of_each_edge() {
    let case = Case {
        holds: "filesystem = { write = [\"outer\"] }",
        relay: "filesystem = { write = [\"outer\"], at = \"/mine\" }",
        ..NOTHING
    };
    let quota = Case {
        reach: "filesystem = { write = [{ path = \"/mine/inner\", at = \"/inner\" }], quota = \"2KiB\" }",
        ..case
    };
    let file = Case {
        reach: "filesystem = { read = [{ file = \"/mine/inner/words\", at = \"/inner/words\" }] }",
        ..case
    };
    for link in LINKS {
        let guest = start(quota, link);
        let long = "x".repeat(4096);
        assert!(guest.write("far", "/inner/long", &long).is_err(), "{link}: more than the quota");
        assert_eq!(
            guest.write("own", "/mine/long", &long),
            Ok(String::new()),
            "{link}: the other end has none"
        );
        assert_eq!(guest.write("far", "/inner/short", "x"), Ok(String::new()), "{link}");
        let guest = start(file, link);
        assert_eq!(guest.read("far", "/inner/words"), Ok("outer/inner/words".to_owned()), "{link}");
        assert!(guest.read("far", "/inner/more").is_err(), "{link}: its neighbour");
        assert_eq!(guest.read("own", "/mine/inner/more"), Ok("outer/inner/more".to_owned()), "{link}");
    }
}

#[test]
fn each_end_reaches_the_hosts_of_its_own_edge() {
    let (first, second) = (server("first"), server("second"));
    let (holds, reach) = (
        format!("network = {{ connect = [\"{first}\", \"{second}\"] }}"),
        format!("network = {{ connect = [\"{second}\"] }}"),
    );
    for link in LINKS {
        // The inner end has less than the outer one.
        let guest = start(Case { holds: &holds, relay: &holds, reach: &reach, ..NOTHING }, link);
        assert_eq!(guest.talk("own", first), Ok("first".to_owned()), "{link}");
        assert_eq!(guest.talk("own", second), Ok("second".to_owned()), "{link}");
        assert_eq!(guest.talk("far", second), Ok("second".to_owned()), "{link}");
        assert_eq!(guest.talk("far", first), Err("access-denied".to_owned()), "{link}");
        let refusal = r#""event":"refusal","edge":"relay -> reach","capability":"network.connect""#;
        assert!(guest.log.text().contains(refusal), "{link}: {}", guest.log.text());
        // Names and HTTP go by the same list.
        assert!(guest.ask("far-look-up", &[text("localhost")]).is_err(), "{link}");
        // Nothing for the inner end at all.
        let guest = start(Case { holds: &holds, relay: &holds, ..NOTHING }, link);
        assert_eq!(guest.talk("own", second), Ok("second".to_owned()), "{link}");
        assert!(guest.talk("far", second).is_err(), "{link}");
    }
}

#[cfg(feature = "http")]
#[test]
fn http_goes_by_the_hosts_of_the_edge_that_asks() {
    let (granted, other) = (
        server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
        server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno"),
    );
    let holds = format!("network = {{ connect = [\"{granted}\", \"{other}\"] }}");
    let reach = format!("network = {{ connect = [\"{granted}\"] }}");
    for link in LINKS {
        let guest = start(Case { holds: &holds, relay: &holds, reach: &reach, ..NOTHING }, link);
        let get =
            |from: SocketAddr| guest.ask("far-get", &[text("http"), text(&from.to_string()), text("/")]);
        assert_eq!(get(granted), Ok("200 hi".to_owned()), "{link}");
        assert!(get(other).is_err(), "{link}: only its consumer may");
    }
}

#[test]
fn environment_arguments_and_output_are_those_of_each_edge() {
    // A variable that every test program has.
    let name = "CARGO_MANIFEST_DIR";
    let variable = format!("environment = {{ read = [\"{name}\"] }}\nstdio = [\"stdout\"]");
    for link in LINKS {
        let case = Case { holds: &variable, relay: &variable, ..NOTHING };
        let guest = started(case, link, |builder| {
            builder
                .arguments("app -> relay", vec!["relay".to_owned()])
                .arguments("relay -> reach", vec!["reach".to_owned()])
        });
        let guest = guest.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(
            guest.ask("own-variable", &[text(name)]),
            Ok(env!("CARGO_MANIFEST_DIR").to_owned()),
            "{link}"
        );
        assert_eq!(guest.ask("far-variable", &[text(name)]), Ok(String::new()), "{link}");
        let list = |function: &str| guest.call(function, &[]).expect("a list");
        assert_eq!(list("own-arguments"), Some(Val::List(vec![text("relay")])), "{link}");
        assert_eq!(list("far-arguments"), Some(Val::List(vec![text("reach")])), "{link}");
        guest.call("own-say", &[text("mine")]).expect("granted");
        assert_eq!(guest.edge.take_stdio().stdout, b"mine", "{link}");
        let said = guest.call("far-say", &[text("theirs")]);
        assert_eq!(guest.edge.take_stdio().stdout, b"", "{link}: {said:?}");
        // Granted to the inner end too, it still is another stream.
        let guest = start(Case { holds: &variable, relay: &variable, reach: &variable, ..NOTHING }, link);
        assert_eq!(
            guest.ask("far-variable", &[text(name)]),
            Ok(env!("CARGO_MANIFEST_DIR").to_owned()),
            "{link}"
        );
        guest.call("far-say", &[text("theirs")]).expect("granted");
        assert_eq!(guest.edge.take_stdio().stdout, b"", "{link}");
        let inner =
            guest.runtime.list().into_iter().find(|one| one.edge == "relay -> reach").expect("planned");
        let said = |number| guest.runtime.take_stdio(number).expect("there is one of that number");
        assert_eq!(said(inner.number).stdout, b"theirs", "{link}");
        assert_eq!(said(inner.number).stdout, b"", "taken: {link}");
        let error = guest.runtime.take_stdio(99).expect_err("there is none");
        assert!(matches!(&error, StartError::NoEdge { .. }), "{error:?}");
    }
}

#[test]
fn what_one_end_has_and_the_other_has_not_is_a_violation_of_the_others_edge() {
    let case = Case { holds: "clock = true", relay: "clock = true", ..NOTHING };
    let guest = start(case, "fused");
    assert!(matches!(guest.call("own-seconds", &[]), Ok(Some(Val::U64(1_000_000_000..)))));
    let error = guest.call("far-seconds", &[]).expect_err("not granted to the inner end");
    let CallError::Violation { edge, capability, attempt, line } = &error else { panic!("{error:?}") };
    assert_eq!((edge.as_str(), line.as_deref()), ("relay -> reach", Some("clock = true")));
    assert_eq!(*capability, Some(Capability::host(HostCapability::Clock)));
    assert!(attempt.starts_with("wasi:clocks/wall-clock@0.2.") && attempt.ends_with("#now"), "{attempt}");
    let event = r#""event":"violation","edge":"relay -> reach","capability":"clock""#;
    assert!(guest.log.text().contains(event), "{}", guest.log.text());
    // Isolated, the caller has the same inside the failure of its callee.
    let error = start(case, "isolated").call("far-seconds", &[]).expect_err("not granted to the inner end");
    let CallError::Callee { source, .. } = &error else { panic!("{error:?}") };
    assert!(matches!(&**source, CallError::Violation { edge, .. } if edge == "relay -> reach"), "{source:?}");
    // Granted over both edges, both have it.
    let guest = start(Case { reach: "clock = true", ..case }, "fused");
    assert!(matches!(guest.call("far-seconds", &[]), Ok(Some(Val::U64(1_000_000_000..)))));
}

#[test]
fn a_unit_shares_its_fate() {
    let guest = start(NOTHING, "fused");
    assert_eq!((guest.lives(), guest.lives()), (1, 2));
    let error = guest.call("far-crash", &[]).expect_err("it panics");
    let CallError::Fault { edge, kind } = &error else { panic!("{error:?}") };
    assert_eq!((edge.as_str(), kind.itself()), ("app -> relay", &FaultKind::Panic(None)));
    assert_eq!(
        error.to_string(),
        "`app -> relay`: the guest panicked; it is one unit with what runs behind `relay -> reach`"
    );
    assert_eq!(guest.lives(), 1, "both began afresh");
    // What is not granted to one of them cannot end both.
    let error = guest.call("far-leave", &[]).expect_err("not granted");
    assert!(matches!(&error, CallError::Violation { edge, .. } if edge == "relay -> reach"), "{error:?}");
    let exit = "process = { exit = true }";
    let guest = start(Case { holds: exit, relay: exit, reach: exit, ..NOTHING }, "fused");
    let error = guest.call("far-leave", &[]).expect_err("it ends itself");
    assert!(
        matches!(&error, CallError::Fault { kind, .. } if *kind.itself() == FaultKind::Exit(1)),
        "{error:?}"
    );
}

#[test]
fn memory_is_that_of_the_unit() {
    let limits = "memory = \"24MiB\", call-deadline = \"20s\"";
    let fused = start(Case { relay_limits: limits, ..NOTHING }, "fused");
    assert!(fused.call("far-take-memory", &[Val::U32(12)]).is_ok(), "the unit has it");
    let fused = start(Case { relay_limits: limits, ..NOTHING }, "fused");
    assert!(fused.call("own-take-memory", &[Val::U32(12)]).is_ok());
    let error = fused.call("far-take-memory", &[Val::U32(12)]).expect_err("together they have no more");
    assert!(
        matches!(&error, CallError::Limit { edge, what: "memory" } if edge == "app -> relay"),
        "{error:?}"
    );
    // Isolated, each has its own.
    let isolated = start(Case { relay_limits: limits, reach_limits: limits, ..NOTHING }, "isolated");
    assert!(isolated.call("own-take-memory", &[Val::U32(12)]).is_ok());
    assert!(isolated.call("far-take-memory", &[Val::U32(12)]).is_ok());
}

#[test]
fn a_limit_of_a_members_own_holds_or_it_does_not_start() {
    for (relay, reach, limit) in [
        ("", "memory = \"1MiB\"", "memory"),
        ("memory = \"2MiB\"", "memory = \"1MiB\"", "memory"),
        ("", "call-deadline = \"10ms\"", "call-deadline"),
        ("", "cpu-time = \"10min\"", "cpu-time"),
        ("", "handles = 10", "handles"),
        ("", "calls-in-flight = 1", "calls-in-flight"),
    ] {
        let case = Case { relay_limits: relay, reach_limits: reach, ..NOTHING };
        let error = started(case, "fused", |builder| builder).map(|_| ()).expect_err("it would not hold");
        let StartError::UnitLimit { edge, unit, limit: named, .. } = &error else { panic!("{error:?}") };
        assert_eq!((edge.as_str(), unit.as_str(), *named), ("relay -> reach", "app -> relay", limit));
    }
    // One that the unit's own implies is as good as enforced.
    let same = "memory = \"64MiB\", call-deadline = \"20s\", cpu-time = \"10min\", handles = 500, calls-in-flight = 9";
    let case = Case { relay_limits: same, reach_limits: same, ..NOTHING };
    assert_eq!(start(case, "fused").lives(), 1);
    // A number of instances is one of the unit.
    let error = started(NOTHING, "fused", |builder| builder.instances("relay -> reach", 2))
        .err()
        .expect("made together");
    assert!(matches!(error, StartError::CannotEnforce { .. }), "{error}");
}

#[test]
fn a_grant_of_either_end_can_be_taken_back() {
    let reads = "filesystem = { read = [\"outer\"], at = \"/d\" }\nclock = true";
    let case = Case {
        holds: "filesystem = { read = [\"outer\"] }\nclock = true",
        relay: reads,
        reach: "filesystem = { read = [\"/d\"] }\nclock = true",
        ..NOTHING
    };
    let guest = start(case, "fused");
    assert_eq!(guest.lives(), 1);
    assert!(guest.read("far", "/d/words").is_ok());
    let capability = Capability::host(HostCapability::FilesystemRead);
    guest.runtime.revoke_grant(OUTER, &capability).expect("it is there");
    // Both ends lost it, with all that they had open; the rest stays.
    assert!(guest.read("own", "/d/words").is_err());
    assert!(guest.read("far", "/d/words").is_err());
    assert!(matches!(guest.call("far-seconds", &[]), Ok(Some(Val::U64(_)))));
    assert_eq!(guest.lives(), 1, "the instance that had it is gone");
    for edge in ["app -> relay", "relay -> reach"] {
        let event = format!(r#""event":"revoked","edge":"{edge}","capability":"filesystem.read""#);
        assert!(guest.log.text().contains(&event), "{}", guest.log.text());
    }
    guest.runtime.revoke(OUTER).expect("it is there");
    assert!(matches!(guest.call("lives", &[]), Err(CallError::Revoked { .. })));
}

#[test]
fn a_unit_is_listed_audited_and_replaced_as_what_it_is_made_of() {
    let (holds, reach) = ("clock = true", components::component("reach"));
    let case = Case { holds, relay: holds, reach: holds, ..NOTHING };
    let guest = start(case, "fused");
    let list = guest.runtime.list();
    assert_eq!(list.len(), 2);
    assert!(list.iter().all(|one| matches!(one.state, CompartmentState::Started { .. })), "{list:?}");
    assert_ne!(list[0].digest, list[1].digest);
    assert!(list[1].digest.is_some());
    assert_eq!(guest.runtime.plan().compartments[1].link, "fused");
    for edge in ["app -> relay", "relay -> reach"] {
        let event = format!(r#""event":"grant","edge":"{edge}","capability":"clock""#);
        assert!(guest.log.text().contains(&event), "{}", guest.log.text());
    }
    assert_eq!((guest.lives(), guest.lives()), (1, 2));
    guest.runtime.replace(OUTER, &components::component("relay")).expect("it fits");
    assert_eq!(guest.lives(), 1);
    assert!(guest.call("far-seconds", &[]).is_ok(), "the new one is joined to the same inner end");
    // `reach` lacks what `relay` exports, but nobody asked for that; it has no use for an inner end.
    guest.runtime.replace(OUTER, &reach).expect("it can run");
    assert!(guest.call("lives", &[]).is_err());
    assert!(guest.call("seconds", &[]).is_ok());
}

/// A component that exports `acme:chain/lN` with a function `depth`: one more than what `acme:chain/l(N+1)` says, which it imports
/// unless it is the last. Each imports a piece of WASI that all share, in a version of its own.
fn link_of_a_chain(number: usize, last: bool) -> Vec<u8> {
    ending_chain(number, last, "(i32.const 0)")
}

fn ending_chain(number: usize, last: bool, end: &str) -> Vec<u8> {
    let (import, call) = if last {
        (String::new(), end.to_owned())
    } else {
        let next = number + 1;
        (
            format!(
                "(import \"acme:chain/l{next}\" (instance $next (export \"depth\" (func (result u32)))))
                 (core func $depth (canon lower (func $next \"depth\")))"
            ),
            "(call $depth)".to_owned(),
        )
    };
    let (core_import, with) = if last {
        ("", "")
    } else {
        (
            "(import \"next\" \"depth\" (func $depth (result i32)))",
            "(with \"next\" (instance (export \"depth\" (func $depth))))",
        )
    };
    let text = format!(
        "(component {import}
           (import \"wasi:io/error@0.2.{}\" (instance (export \"error\" (type (sub resource)))))
           (core module $m {core_import}
             (func (export \"depth\") (result i32) (i32.add (i32.const 1) {call})))
           (core instance $i (instantiate $m {with}))
           (func $lifted (result u32) (canon lift (core func $i \"depth\")))
           (component $shape (import \"depth\" (func $f (result u32))) (export \"depth\" (func $f)))
           (instance $api (instantiate $shape (with \"depth\" (func $lifted))))
           (export \"acme:chain/l{number}\" (instance $api)))",
        number % 7
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// `app -> l1 -> l2 -> ...`, each edge behind the first linked as `link` says.
fn chain(length: usize, link: impl Fn(usize) -> &'static str) -> Result<(Edge, Runtime), StartError> {
    chain_to("(i32.const 0)", length, link)
}

fn chain_to(
    end: &str,
    length: usize,
    link: impl Fn(usize) -> &'static str,
) -> Result<(Edge, Runtime), StartError> {
    let mut text = "[holds]\n[crates.app]\ndependencies = [\"l1\"]\n".to_owned();
    for number in 1..=length {
        let _ = writeln!(text, "[crates.l{number}]\ncompartment = {{ backend = \"wasm\" }}");
        if number < length {
            let next = number + 1;
            let link = link(number);
            let _ = writeln!(
                text,
                "dependencies = [\"l{next}\"]\n[crates.l{number}.grants.l{next}]\nlink = \"{link}\""
            );
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut builder =
        builder(folder.path(), &text, &Lines::default()).unwrap_or_else(|error| panic!("{error}"));
    for number in 1..=length {
        let bytes = ending_chain(number, number == length, end);
        builder = builder.component(&format!("l{number}"), Source::Bytes(bytes.into()));
    }
    let runtime = builder.start_ambient(ambient_authority()).unwrap_or_else(|error| panic!("{error}"));
    Ok((runtime.edge(EdgeName { consumer: "app", krate: "l1" })?, runtime))
}

#[test]
fn fused_and_isolated_edges_mix() {
    for isolated in 0..4 {
        let link = |number| if number == isolated { "isolated" } else { "fused" };
        let (edge, runtime) = chain(4, link).unwrap_or_else(|error| panic!("{isolated}: {error}"));
        assert_eq!(edge.call_untyped("acme:chain/l1#depth", &[]).expect("an answer"), [Val::U32(4)]);
        // A unit has one instance in all; what is behind an isolated edge has another, with calls of its own.
        let calls: Vec<u64> = runtime.list().iter().map(|one| one.calls.0).collect();
        let mut wanted = vec![1, 0, 0, 0];
        if isolated > 0 {
            wanted[isolated] = 1;
        }
        assert_eq!(calls, wanted, "{isolated}");
    }
}

/// A manifest cannot say it, but a plan that was made by hand can.
#[test]
fn calls_inside_each_other_are_bounded_while_they_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "[crates.app]\ndependencies = [\"l1\"]\n[crates.l1.compartment]\nbackend = \"wasm\"\n";
    let first =
        builder(folder.path(), text, &Lines::default()).expect("a plan").plan().compartments[0].clone();
    let call = |length: usize| {
        let compartments = (1..=length).map(|number| {
            let mut plan = first.clone();
            plan.number = number;
            if number > 1 {
                (plan.inside, plan.consumer) = (Some(number - 1), format!("l{}", number - 1));
            }
            plan.krate = format!("l{number}");
            plan
        });
        let plan = cofferdam::Plan { compartments: compartments.collect(), linked: Vec::new() };
        let mut builder = Runtime::from_plan(plan, folder.path());
        for number in 1..=length {
            let bytes = link_of_a_chain(number, number == length);
            builder = builder.component(&format!("l{number}"), Source::Bytes(bytes.into()));
        }
        let runtime = builder.start_ambient(ambient_authority()).expect("an engine");
        let edge =
            runtime.edge(EdgeName { consumer: "app", krate: "l1" }).unwrap_or_else(|error| panic!("{error}"));
        edge.call_untyped("acme:chain/l1#depth", &[])
    };
    let most = cofferdam::wasm::CALL_DEPTH_MAX + 1;
    assert_eq!(
        call(most).expect("so many are inside the first"),
        [Val::U32(most.try_into().expect("small"))]
    );
    let mut error = &call(most + 1).expect_err("one more");
    while let CallError::Callee { source, .. } = error {
        error = source;
    }
    let CallError::Limit { edge, what } = error else { panic!("{error:?}") };
    assert_eq!((edge.as_str(), *what), (format!("l{most} -> l{}", most + 1).as_str(), "nested calls"));
}

#[test]
fn a_fault_behind_a_unit_names_every_edge_on_its_way() {
    let link = |number| if number == 2 { "isolated" } else { "fused" };
    let (edge, _runtime) = chain_to("unreachable", 3, link).unwrap_or_else(|error| panic!("{error}"));
    let error = edge.call_untyped("acme:chain/l1#depth", &[]).expect_err("the last one panics");
    assert_eq!(
        error.to_string(),
        "`app -> l1`: called over `l1 -> l2`, which failed: `l1 -> l2`: called over `l2 -> l3`, which failed: \
         `l2 -> l3`: the guest panicked"
    );
}

#[test]
fn a_chain_of_as_many_compartments_as_may_be_inside_each_other_is_one_unit() {
    let (edge, _runtime) = chain(UNIT_MEMBERS_MAX, |_| "fused").unwrap_or_else(|error| panic!("{error}"));
    let depth = u32::try_from(UNIT_MEMBERS_MAX).expect("small");
    assert_eq!(edge.call_untyped("acme:chain/l1#depth", &[]).expect("an answer"), [Val::U32(depth)]);
}

/// `app -> hub`, and `hub` with so many fused edges to compartments that export one interface each.
fn hub(callees: usize) -> Result<(Edge, Runtime), StartError> {
    let names: Vec<String> = (1..=callees).map(|number| format!("l{number}")).collect();
    let listed: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    let mut text = format!(
        "[holds]\n[crates.app]\ndependencies = [\"hub\"]\n[crates.hub]\ndependencies = [{}]\ncompartment = {{ backend = \"wasm\" }}\n",
        listed.join(", ")
    );
    for name in &names {
        let _ = writeln!(
            text,
            "[crates.hub.grants.{name}]\nlink = \"fused\"\n[crates.{name}]\ncompartment = {{ backend = \"wasm\" }}"
        );
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut builder =
        builder(folder.path(), &text, &Lines::default()).unwrap_or_else(|error| panic!("{error}"));
    // The hub is the first link of a chain of two.
    builder = builder.component("hub", Source::Bytes(link_of_a_chain(0, false).into()));
    for number in 1..=callees {
        builder =
            builder.component(&format!("l{number}"), Source::Bytes(link_of_a_chain(number, true).into()));
    }
    let runtime = builder.start_ambient(ambient_authority()).unwrap_or_else(|error| panic!("{error}"));
    Ok((runtime.edge(EdgeName { consumer: "app", krate: "hub" })?, runtime))
}

#[test]
fn members_of_a_unit_are_bounded() {
    let (edge, _runtime) = hub(UNIT_MEMBERS_MAX - 1).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(edge.call_untyped("acme:chain/l0#depth", &[]).expect("an answer"), [Val::U32(2)]);
    let error = hub(UNIT_MEMBERS_MAX).map(|_| ()).expect_err("one too many");
    assert!(matches!(error, StartError::UnitTooLarge { found: 17, max: 16, .. }), "{error}");
}

#[test]
fn components_that_do_not_fit_are_not_fused() {
    let (folder, log) = (folder(), Lines::default());
    let start = |outer: &str, inner: &str| {
        let text = "[holds]\n[crates.app]\ndependencies = [\"a\"]\n[crates.a]\ndependencies = [\"b\"]\n\
                    compartment = { backend = \"wasm\" }\n[crates.a.grants.b]\nlink = \"fused\"\n[crates.b]\n\
                    compartment = { backend = \"wasm\" }\n";
        let builder = builder(folder.path(), text, &log).unwrap_or_else(|error| panic!("{error}"));
        let parse = |text: &str| Source::Bytes(wat::parse_str(text).expect("text").into());
        let runtime = builder.component("a", parse(outer)).component("b", parse(inner));
        let runtime = runtime.start_ambient(ambient_authority()).unwrap_or_else(|error| panic!("{error}"));
        runtime.edge(EdgeName { consumer: "app", krate: "a" }).map(|_| ())
    };
    let inner = "(component (core module $m (func (export \"f\") (result i32) i32.const 1))
       (core instance $i (instantiate $m)) (func (export \"f\") (result u32) (canon lift (core func $i \"f\"))))";
    let outer = |ty: &str| {
        let core = if ty == "u64" { "i64" } else { "i32" };
        format!(
            "(component (import \"f\" (func $f (result {ty}))) (core func $g (canon lower (func $f)))
               (core module $m (import \"\" \"g\" (func $g (result {core}))) (func (export \"g\") (result {core}) (call $g)))
               (core instance $i (instantiate $m (with \"\" (instance (export \"g\" (func $g))))))
               (func (export \"g\") (result {ty}) (canon lift (core func $i \"g\"))))"
        )
    };
    start(&outer("u32"), inner).unwrap_or_else(|error| panic!("{error}"));
    let error = start(&outer("u64"), inner).expect_err("another type");
    let StartError::CannotCompose { edge, message } = &error else { panic!("{error:?}") };
    assert!(edge == "app -> a" && message.contains("`f`"), "{error}");
    // What neither edge nor host provides is refused, and named by the member that wants it.
    let error = start(&outer("u32"), "(component (import \"acme:x/y\" (instance (export \"f\" (func)))))");
    let error = error.expect_err("nobody has it");
    assert!(matches!(&error, StartError::UnknownImports { .. }), "{error:?}");
}

#[test]
fn only_two_wasm_compartments_are_fused() {
    let (folder, log) = (folder(), Lines::default());
    let inner = |backend: &str| format!("[crates.b]\ncompartment = {{ backend = \"{backend}\" }}\n");
    let text = |outer: &str, backend: &str| {
        format!(
            "[holds]\n[crates.app]\ndependencies = [\"a\"]\n[crates.a]\ndependencies = [\"b\"]\n{outer}\
             [crates.a.grants.b]\nlink = \"fused\"\n{}",
            inner(backend)
        )
    };
    let wasm = "compartment = { backend = \"wasm\" }\n";
    assert!(builder(folder.path(), &text(wasm, "wasm"), &log).is_ok());
    for (outer, backend, what) in [
        ("", "wasm", "the host program"),
        ("compartment = { backend = \"process\" }\n", "wasm", "`a`, a process compartment,"),
        (wasm, "process", "`b`, a process compartment,"),
        (wasm, "inline", "`b`, which is inline,"),
    ] {
        let error =
            builder(folder.path(), &text(outer, backend), &log).map(|_| ()).expect_err("not two of wasm");
        let error = error.to_string();
        assert!(error.contains(&format!("error[cannot-fuse]: `a -> b` cannot be fused: {what}")), "{error}");
    }
}

/// Exports `acme:pool/api` with a resource: a counter that is made with a number and gives it back, one more each time.
const COUNTERS: &str = r#"(component
  (core module $m
    (import "host" "new" (func $new (param i32) (result i32)))
    (memory 1)
    (global $next (mut i32) (i32.const 4))
    (func (export "make") (param i32) (result i32)
      (local $at i32)
      (local.set $at (global.get $next))
      (global.set $next (i32.add (global.get $next) (i32.const 4)))
      (i32.store (local.get $at) (local.get 0))
      (call $new (local.get $at)))
    (func (export "more") (param i32) (result i32)
      (i32.store (local.get 0) (i32.add (i32.load (local.get 0)) (i32.const 1)))
      (i32.load (local.get 0))))
  (type $counter (resource (rep i32)))
  (core func $new (canon resource.new $counter))
  (core instance $i (instantiate $m (with "host" (instance (export "new" (func $new))))))
  (func $make (param "from" u32) (result (own $counter)) (canon lift (core func $i "make")))
  (func $more (param "self" (borrow $counter)) (result u32) (canon lift (core func $i "more")))
  (component $shape
    (import "counter" (type $c (sub resource)))
    (import "make" (func $make (param "from" u32) (result (own $c))))
    (import "more" (func $more (param "self" (borrow $c)) (result u32)))
    (export $out "counter" (type $c))
    (export "[constructor]counter" (func $make) (func (param "from" u32) (result (own $out))))
    (export "[method]counter.more" (func $more) (func (param "self" (borrow $out)) (result u32))))
  (instance $api (instantiate $shape
    (with "counter" (type $counter)) (with "make" (func $make)) (with "more" (func $more))))
  (export "acme:pool/api" (instance $api)))"#;

/// Makes a counter behind its edge, and counts with it.
const COUNTING: &str = r#"(component
  (import "acme:pool/api" (instance $pool
    (export "counter" (type $counter (sub resource)))
    (export "[constructor]counter" (func (param "from" u32) (result (own $counter))))
    (export "[method]counter.more" (func (param "self" (borrow $counter)) (result u32)))))
  (alias export $pool "counter" (type $counter))
  (core func $make (canon lower (func $pool "[constructor]counter")))
  (core func $more (canon lower (func $pool "[method]counter.more")))
  (core func $drop (canon resource.drop $counter))
  (core module $m
    (import "pool" "make" (func $make (param i32) (result i32)))
    (import "pool" "more" (func $more (param i32) (result i32)))
    (import "pool" "drop" (func $drop (param i32)))
    (func (export "count") (param i32) (result i32)
      (local $counter i32) (local $sum i32)
      (local.set $counter (call $make (local.get 0)))
      (local.set $sum (call $more (local.get $counter)))
      (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 100)) (call $more (local.get $counter))))
      (call $drop (local.get $counter))
      (local.get $sum)))
  (core instance $i (instantiate $m (with "pool" (instance
    (export "make" (func $make)) (export "more" (func $more)) (export "drop" (func $drop))))))
  (func (export "count") (param "from" u32) (result u32) (canon lift (core func $i "count"))))"#;

#[test]
fn a_resource_crosses_a_fused_edge_and_no_isolated_one() {
    let start = |link: &str| {
        let folder = tempfile::tempdir().expect("a folder");
        let text = format!(
            "[holds]\n[crates.app]\ndependencies = [\"a\"]\n[crates.a]\ndependencies = [\"b\"]\n\
             compartment = {{ backend = \"wasm\" }}\n[crates.a.grants.b]\nlink = \"{link}\"\n[crates.b]\n\
             compartment = {{ backend = \"wasm\" }}\n"
        );
        let builder =
            builder(folder.path(), &text, &Lines::default()).unwrap_or_else(|error| panic!("{error}"));
        let parse = |text: &str| Source::Bytes(wat::parse_str(text).expect("text").into());
        let builder = builder.component("a", parse(COUNTING)).component("b", parse(COUNTERS));
        let runtime = builder.start_ambient(ambient_authority()).unwrap_or_else(|error| panic!("{error}"));
        runtime.edge(EdgeName { consumer: "app", krate: "a" })
    };
    let edge = start("fused").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(edge.call_untyped("count", &[Val::U32(6)]).expect("an answer"), [Val::U32(708)]);
    let error = start("isolated").map(|_| ()).expect_err("a handle is of one store");
    assert!(matches!(&error, StartError::CannotCross { .. }), "{error:?}");
    assert!(error.to_string().contains("link = \"fused\""), "{error}");
}
