//! What a guest with the standard library, sockets and HTTP gets over its edge: each grant works, and its absence or its edge
//! stops it, with the exact error. Every host is this machine.

mod components;
mod lines;

use std::io::{Read as _, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ambient_authority::ambient_authority;
use cofferdam::client::Edge;
use cofferdam::wasm::{CallError, CodeCache, Input, Output, StartError, Val};
use cofferdam::{AuditLog, EdgeName, Runtime, RuntimeBuilder, Source};
use lines::Lines;

struct Reach {
    edge: Edge,
    log: Lines,
    folder: tempfile::TempDir,
    runtime: Runtime,
}

const EDGE: EdgeName<'_> = EdgeName { consumer: "app", krate: "reach" };

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for path in ["data", "other", "private"] {
        std::fs::create_dir(folder.path().join(path)).expect("writable");
    }
    for path in ["data/words", "data/more", "other/words", "private/key"] {
        std::fs::write(folder.path().join(path), path).expect("writable");
    }
    folder
}

/// Compiled code of the guests, kept between tests: an unoptimised compiler takes seconds for each.
fn cache() -> CodeCache {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled");
    CodeCache::open_ambient(&folder, ambient_authority()).expect("writable")
}

fn builder(folder: &Path, grants: &str, limits: &str, log: &Lines) -> RuntimeBuilder {
    let table =
        if grants.is_empty() { String::new() } else { format!("[crates.app.grants.reach]\n{grants}\n") };
    let holds = grants.replace(", at = \"/inside\"", "").replace(", at = \"/inside/list\"", "");
    let text = format!(
        "[holds]\n{holds}\n[crates.app]\ndependencies = [\"reach\"]\n{table}[crates.reach]\n\
         compartment = {{ backend = \"wasm\", limits = {{ {limits} }} }}\n"
    );
    let path = folder.join("capabilities.toml");
    std::fs::write(&path, text).expect("writable");
    Runtime::from_file_ambient(&path, ambient_authority())
        .unwrap_or_else(|error| panic!("{error}"))
        .audit(AuditLog::to_writer(log.clone()))
        .component("reach", Source::Bytes(components::component("reach").into()))
        .cache(cache())
}

fn reach_with(grants: &str, limits: &str, change: impl FnOnce(RuntimeBuilder) -> RuntimeBuilder) -> Reach {
    let (folder, log) = (folder(), Lines::default());
    let runtime = change(builder(folder.path(), grants, limits, &log)).start_ambient(ambient_authority());
    let runtime = runtime.unwrap_or_else(|error| panic!("{error}"));
    let edge = runtime.edge(EDGE).unwrap_or_else(|error| panic!("{error}"));
    Reach { edge, log, folder, runtime }
}

fn reach(grants: &str) -> Reach {
    reach_with(grants, "call-deadline = \"20s\"", |builder| builder)
}

fn text(text: &str) -> Val {
    Val::String(text.to_owned())
}

impl Reach {
    fn call(&self, function: &str, arguments: &[Val]) -> Result<Option<Val>, CallError> {
        Ok(self.edge.call_untyped(function, arguments)?.into_iter().next())
    }

    /// The answer of a function that returns a `result`.
    fn ask(&self, function: &str, arguments: &[Val]) -> Result<String, String> {
        let show = |value: Option<Box<Val>>| match value.map(|value| *value) {
            None => String::new(),
            Some(Val::String(text)) => text,
            Some(Val::List(list)) => {
                let text = |value: &Val| match value {
                    Val::String(text) => text.clone(),
                    other => panic!("{other:?}"),
                };
                list.iter().map(text).collect::<Vec<_>>().join(",")
            }
            Some(other) => panic!("{other:?}"),
        };
        match self.call(function, arguments).unwrap_or_else(|error| panic!("{function}: {error}")) {
            Some(Val::Result(Ok(value))) => Ok(show(value)),
            Some(Val::Result(Err(value))) => Err(show(value)),
            other => panic!("{other:?}"),
        }
    }

    fn read(&self, path: &str) -> Result<String, String> {
        self.ask("read-text", &[text(path)])
    }

    fn write(&self, path: &str, bytes: &str) -> Result<String, String> {
        self.ask("write-text", &[text(path), text(bytes), Val::Bool(false)])
    }

    fn talk(&self, to: SocketAddr) -> Result<String, String> {
        self.ask("talk", &[text(&to.ip().to_string()), Val::U16(to.port()), text("hello")])
    }

    fn log(&self) -> String {
        self.log.text()
    }
}

/// A server on this machine that answers each connection once, and how many it had.
fn server(answer: impl Fn(&str) -> String + Send + 'static) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&seen);
    std::thread::spawn(move || {
        for connection in listener.incoming().take(20) {
            let Ok(mut connection) = connection else { return };
            let _ = connection.set_read_timeout(Some(Duration::from_millis(300)));
            let mut bytes = vec![0; 4096];
            let read = connection.read(&mut bytes).unwrap_or(0);
            let asked = String::from_utf8_lossy(&bytes[..read]).into_owned();
            let reply = answer(&asked);
            heard.lock().expect("no panic inside").push(asked);
            let _ = connection.write_all(reply.as_bytes());
        }
    });
    (address, seen)
}

#[test]
fn an_address_and_port_that_are_granted_are_reached_and_no_others() {
    let (granted, _) = server(|asked| format!("you said {asked}"));
    let (other, heard) = server(|_| "no".to_owned());
    let guest = reach(&format!("network = {{ connect = [\"{granted}\"] }}"));
    assert_eq!(guest.talk(granted), Ok("you said hello".to_owned()));
    assert_eq!(guest.talk(other), Err("access-denied".to_owned()));
    // The same address in IPv6's clothes is the same address.
    let mapped = SocketAddr::new("::ffff:127.0.0.1".parse().expect("an address"), other.port());
    assert!(guest.talk(mapped).is_err());
    let anywhere = SocketAddr::new("0.0.0.0".parse().expect("an address"), other.port());
    assert!(guest.talk(anywhere).is_err(), "0.0.0.0 is this machine too");
    assert!(heard.lock().expect("no panic inside").is_empty(), "nothing got through");
    let line = format!("network = {{ connect = [\\\"{other}\\\"] }}");
    let refusal = r#""event":"refusal","edge":"app -> reach","capability":"network.connect""#;
    assert!(guest.log().contains(refusal) && guest.log().contains(&line), "{}", guest.log());
}

#[test]
fn without_a_grant_there_are_no_sockets() {
    let (address, heard) = server(|_| "no".to_owned());
    let guest = reach("clock = true");
    let datagram =
        || guest.ask("send-datagram", &[text("127.0.0.1"), Val::U16(address.port()), text("hello")]);
    assert_eq!(guest.talk(address), Err("access-denied".to_owned()));
    assert_eq!(datagram(), Err("access-denied".to_owned()));
    assert!(guest.ask("look-up", &[text("localhost")]).is_err());
    // Each kind is recorded once, however often it is asked for.
    for _ in 0..3 {
        assert_eq!(guest.talk(address), Err("access-denied".to_owned()));
        assert_eq!(datagram(), Err("access-denied".to_owned()));
    }
    assert!(heard.lock().expect("no panic inside").is_empty());
    let line = r#"network = { connect = ["host.example:443"] } # with the hosts that you mean"#;
    let wanted =
        ["open a TCP socket", "open a UDP socket"].map(|attempt| (attempt.to_owned(), line.to_owned()));
    let of_sockets = |capability: &str| capability == "network.connect";
    let recorded: Vec<_> = guest
        .log()
        .lines()
        .map(|event| serde_json::from_str::<serde_json::Value>(event).expect("an event"))
        .filter(|event| event["event"] == "refusal" && event["capability"].as_str().is_some_and(of_sockets))
        .map(|event| ["attempt", "line"].map(|key| event[key].as_str().unwrap_or_default().to_owned()).into())
        .collect::<Vec<(String, String)>>();
    assert_eq!(recorded, wanted);
    let refusals = guest.edge.take_refusals().into_iter();
    let kept: Vec<_> = refusals
        .filter(|refusal| of_sockets(&refusal.capability.to_string()))
        .map(|refusal| (refusal.attempt, refusal.line))
        .collect();
    assert_eq!(kept, wanted);
}

#[test]
fn a_datagram_goes_to_a_granted_address_only() {
    let ours = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let other = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    ours.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
    other.set_nonblocking(true).expect("set");
    let port = |socket: &UdpSocket| socket.local_addr().expect("bound").port();
    let guest = reach(&format!("network = {{ connect = [\"127.0.0.1:{}\"] }}", port(&ours)));
    let send =
        |to: &UdpSocket| guest.ask("send-datagram", &[text("127.0.0.1"), Val::U16(port(to)), text("hello")]);
    assert_eq!(send(&ours), Ok(String::new()));
    let mut bytes = [0; 16];
    assert_eq!(ours.recv(&mut bytes).expect("it came"), 5);
    assert_eq!(send(&other), Err("access-denied".to_owned()));
    assert!(other.recv(&mut bytes).is_err());
}

#[test]
fn a_guest_listens_where_it_may_and_nowhere_else() {
    let free = TcpListener::bind("127.0.0.1:0").expect("loopback").local_addr().expect("bound");
    let guest = reach(&format!("network = {{ listen = [\"{free}\"] }}"));
    let listen = |port: u16| guest.ask("listen-at", &[text("127.0.0.1"), Val::U16(port)]);
    assert_eq!(listen(free.port().wrapping_add(1).max(1024)), Err("access-denied".to_owned()));
    let caller = std::thread::spawn(move || {
        for _ in 0..200 {
            if let Ok(mut connection) = std::net::TcpStream::connect(free) {
                let _ = connection.write_all(b"hello");
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    assert_eq!(listen(free.port()), Ok("hello".to_owned()));
    caller.join().expect("no panic");
    // Who may listen may not connect.
    let (address, _) = server(|_| "no".to_owned());
    assert_eq!(guest.talk(address), Err("access-denied".to_owned()));
}

#[test]
fn only_granted_names_are_looked_up() {
    let guest = reach("network = { dns = [\"localhost\"] }");
    let found = guest.ask("look-up", &[text("localhost")]).expect("granted");
    assert!(found.split(',').any(|address| address == "127.0.0.1"), "{found}");
    assert!(guest.ask("look-up", &[text("LocalHost")]).is_ok(), "the same name");
    for name in ["secret.attacker.example", "localhost.attacker.example", "notlocalhost"] {
        assert_eq!(guest.ask("look-up", &[text(name)]), Err("access-denied".to_owned()), "{name}");
    }
    let line = r#"network = { dns = [\"secret.attacker.example\"] }"#;
    assert!(guest.log().contains(line), "{}", guest.log());
    // Knowing a name's address is not being allowed to go there.
    let (address, _) = server(|_| "no".to_owned());
    assert!(guest.talk(address).is_err());
}

#[test]
fn a_granted_name_leads_to_its_own_addresses_and_ports_once_it_was_looked_up() {
    let (address, _) = server(|_| "hello".to_owned());
    let (other, _) = server(|_| "no".to_owned());
    let guest = reach(&format!("network = {{ connect = [\"localhost:{}\"] }}", address.port()));
    assert_eq!(guest.talk(address), Err("access-denied".to_owned()), "nobody asked for the name yet");
    assert!(guest.ask("look-up", &[text("localhost")]).is_ok(), "a connection by name needs its address");
    assert_eq!(guest.talk(address), Ok("hello".to_owned()));
    assert_eq!(guest.talk(other), Err("access-denied".to_owned()), "another port");
    assert!(guest.ask("look-up", &[text("example.org")]).is_err());
}

fn http(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

#[test]
fn http_goes_to_granted_hosts_and_no_redirect_leads_elsewhere() {
    let (secret, heard) = server(|_| http("200 OK", "secret"));
    let (granted, asked) = server(move |asked| {
        if asked.starts_with("GET /away") {
            format!(
                "HTTP/1.1 302 Found\r\nLocation: http://{secret}/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
        } else {
            http("200 OK", "hello")
        }
    });
    let grants = format!("network = {{ connect = [\"{granted}\", \"localhost:{}\"] }}", granted.port());
    let guest = reach(&grants);
    let get = |authority: &str, path: &str| guest.ask("get", &[text("http"), text(authority), text(path)]);
    assert_eq!(get(&granted.to_string(), "/"), Ok("200 hello".to_owned()));
    assert_eq!(get(&format!("localhost:{}", granted.port()), "/x?y"), Ok("200 hello".to_owned()), "by name");
    let last = asked.lock().expect("no panic inside").last().cloned().expect("asked");
    let last = last.to_ascii_lowercase();
    assert!(
        last.starts_with("get /x?y http/1.1\r\n")
            && last.contains(&format!("host: localhost:{}", granted.port())),
        "{last}"
    );
    // A redirect is an answer; to follow it the guest would need the grant.
    assert_eq!(get(&granted.to_string(), "/away"), Ok("302 ".to_owned()));
    assert_eq!(get(&secret.to_string(), "/"), Err("ErrorCode::DestinationIpProhibited".to_owned()));
    assert_eq!(get("example.org", "/"), Err("ErrorCode::HttpRequestDenied".to_owned()));
    for trick in [format!("{granted}@{secret}"), format!("user@{secret}")] {
        assert!(get(&trick, "/").is_err(), "{trick}");
    }
    assert!(heard.lock().expect("no panic inside").is_empty(), "nothing got through");
    assert!(guest.log().contains(r#"network = { connect = [\"example.org:80\"] }"#), "{}", guest.log());
}

#[test]
fn https_is_spoken_with_who_can_show_its_name_only() {
    // A server without a certificate for its name: the handshake fails, and nothing is sent in the clear.
    let (address, heard) = server(|_| "not TLS".to_owned());
    let guest = reach(&format!("network = {{ connect = [\"localhost:{}\"] }}", address.port()));
    let answer =
        guest.ask("get", &[text("https"), text(&format!("localhost:{}", address.port())), text("/secret")]);
    assert!(answer.is_err(), "{answer:?}");
    assert!(heard.lock().expect("no panic inside").iter().all(|said| !said.contains("secret")));
}

#[test]
fn without_a_grant_http_is_a_violation_with_the_line_that_would_allow_it() {
    let guest = reach("");
    let error = guest.call("get", &[text("http"), text("127.0.0.1:1"), text("/")]).expect_err("not granted");
    let said = error.to_string();
    assert!(matches!(error, CallError::Violation { .. }), "{said}");
    assert!(said.contains("wasi:http/outgoing-handler") && said.contains("network = { connect = "), "{said}");
}

#[test]
fn a_server_that_never_answers_holds_its_guest_no_longer_than_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("bound");
    let guest =
        reach_with(&format!("network = {{ connect = [\"{address}\"] }}"), "call-deadline = \"500ms\"", |b| b);
    let error =
        guest.call("get", &[text("http"), text(&address.to_string()), text("/")]).expect_err("it waits");
    assert!(matches!(error, CallError::Deadline { .. }), "{error:?}");
    let error = guest
        .call("talk", &[text("127.0.0.1"), Val::U16(address.port()), text("hello")])
        .expect_err("it waits");
    assert!(matches!(error, CallError::Deadline { .. }), "{error:?}");
}

#[test]
fn a_single_file_is_there_alone() {
    let guest = reach("filesystem = { read = [{ file = \"data/words\" }] }");
    assert_eq!(guest.read("data/words"), Ok("data/words".to_owned()));
    for path in
        ["data/more", "data/../private/key", "data/words/../more", "private/key", "/etc/passwd", "data/.."]
    {
        assert!(guest.read(path).is_err(), "{path}");
    }
    assert!(guest.ask("names", &[text("data")]).is_err(), "what else is in its folder stays unknown");
    assert!(guest.write("data/words", "changed").is_err(), "read only");
    assert!(guest.write("data/new", "x").is_err());
    assert_eq!(std::fs::read_to_string(guest.folder.path().join("data/words")).expect("there"), "data/words");
}

#[test]
fn a_single_file_can_be_written_and_have_another_name_inside() {
    let guest = reach("filesystem = { write = [{ file = \"data/words\" }], at = \"/inside/list\" }");
    // `std::fs` opens for writing with `create`, which a single file that is there does not need and does not get.
    assert!(guest.ask("resize", &[text("/inside/list"), Val::U64(4)]).is_ok());
    assert_eq!(std::fs::read_to_string(guest.folder.path().join("data/words")).expect("there"), "data");
    assert!(guest.read("data/words").is_err(), "not under its own name");
    assert!(guest.write("/inside/more", "x").is_err());
    assert!(!guest.folder.path().join("data/list").exists());
}

#[test]
fn a_folder_has_the_name_that_its_edge_gives_it() {
    let guest = reach("filesystem = { read = [\"data\"], at = \"/inside\" }");
    assert_eq!(guest.read("/inside/words"), Ok("data/words".to_owned()));
    for path in ["data/words", "/data/words", "/inside/../private/key", "/private/key", "/inside/nothing"] {
        assert!(guest.read(path).is_err(), "{path}");
    }
    assert!(guest.write("/inside/words", "changed").is_err());
    let mut names: Vec<String> =
        guest.ask("names", &[text("/inside")]).expect("granted").split(',').map(str::to_owned).collect();
    names.sort();
    assert_eq!(names, ["more", "words"]);
}

#[test]
fn a_quota_bounds_what_is_written_however_it_is_written() {
    let grants = "filesystem = { write = [\"data\"], quota = \"10KiB\" }";
    let guest = reach(grants);
    assert_eq!(guest.write("data/new", &"x".repeat(4_000)), Ok(String::new()));
    assert_eq!(
        guest.ask("write-text", &[text("data/new"), text(&"x".repeat(4_000)), Val::Bool(true)]),
        Ok(String::new())
    );
    // What was written counts, also when it is gone; a third time is too much.
    assert!(guest.write("data/new", &"x".repeat(4_000)).is_err());
    let size = |name: &str| {
        std::fs::metadata(guest.folder.path().join("data").join(name)).map_or(0, |found| found.len())
    };
    assert!(size("new") < 4_000);
    // Reading costs nothing.
    assert!(guest.read("data/words").is_ok());
    // A fresh instance has no fresh quota.
    let error = guest.call("say", &[text("no stdout is granted")]);
    drop(error);
    assert!(guest.write("data/again", &"x".repeat(4_000)).is_err());

    let guest = reach(grants);
    assert!(
        guest.ask("resize", &[text("data/words"), Val::U64(1 << 40)]).is_err(),
        "a hole is as long as bytes"
    );
    assert!(guest.ask("resize", &[text("data/words"), Val::U64(5_000)]).is_ok());
    assert!(guest.ask("resize", &[text("data/words"), Val::U64(0)]).is_ok(), "less costs nothing");

    let guest = reach(grants);
    match guest.call("litter", &[text("data"), Val::U32(1_000)]).expect("an answer") {
        // Names cost something too: 40 of 256 bytes.
        Some(Val::U32(made)) => assert_eq!(made, 40),
        other => panic!("{other:?}"),
    }
}

#[test]
fn input_and_arguments_come_from_the_host() {
    let guest = reach_with("stdio = { streams = [\"stdin\"] }", "", |builder| {
        builder
            .input("app -> reach", Input::Bytes(b"what it reads".to_vec()))
            .arguments("app -> reach", vec!["reach".to_owned(), "--fast".to_owned()])
    });
    assert_eq!(guest.ask("input", &[]), Ok("what it reads".to_owned()));
    let arguments = guest.call("arguments", &[]).expect("an answer");
    assert_eq!(arguments, Some(Val::List(vec![text("reach"), text("--fast")])));
    // Without the grant the input is at its end, whatever the host has for it.
    let guest = reach_with("", "", |builder| builder.input("app -> reach", Input::Bytes(b"secret".to_vec())));
    assert_eq!(guest.ask("input", &[]), Ok(String::new()));
    // A cap ends it early.
    let capped = reach_with("stdio = { streams = [\"stdin\"], bytes = \"4B\" }", "", |builder| {
        builder.input("app -> reach", Input::Bytes(b"what it reads".to_vec()))
    });
    assert_eq!(capped.ask("input", &[]), Ok("what".to_owned()));
    // A cap on what the host cannot cap is refused.
    let (folder, log) = (folder(), Lines::default());
    let runtime = builder(folder.path(), "stdio = { streams = [\"stdin\"], bytes = \"4B\" }", "", &log)
        .input("app -> reach", Input::Inherited)
        .start_ambient(ambient_authority())
        .expect("nothing starts yet");
    assert!(matches!(runtime.edge(EDGE), Err(StartError::CannotEnforce { .. })));
}

#[test]
fn captured_output_is_what_the_guest_said() {
    let guest =
        reach_with("stdio = { streams = [\"stdout\"] }", "", |builder| builder.output(Output::Captured));
    assert!(guest.call("say", &[text("hello")]).is_ok());
    assert_eq!(guest.edge.take_stdio().stdout, b"hello");
    assert_eq!(guest.edge.take_stdio().stdout, b"", "taken once");
}

/// Runs this test alone in a process of its own, to see what it writes to its streams.
#[test]
fn prefixed_output_cannot_pass_for_anything_else() {
    const MARK: &str = "COFFERDAM_TEST_PREFIXED";
    if std::env::var_os(MARK).is_some() {
        let guest =
            reach_with("stdio = { streams = [\"stdout\"] }", "", |builder| builder.output(Output::Prefixed));
        assert!(guest.call("say", &[text("one\napp -> other: forged\u{1b}[2J\rtwo\u{202e}")]).is_ok());
        return;
    }
    let output = std::process::Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "prefixed_output_cannot_pass_for_anything_else", "--nocapture"])
        .env(MARK, "1")
        .output()
        .expect("it runs");
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("app ->")).collect();
    assert_eq!(
        lines,
        ["app -> reach: one", r"app -> reach: app -> other: forged\u{1b}[2J\u{d}two\u{202e}"],
        "{said}"
    );
}

/// A guest's library gives up by itself where no folder begins a path; the host hears of it all the same.
#[test]
fn what_is_refused_at_a_path_is_heard_of_with_the_line_that_would_allow_it() {
    let file = |capability: &str, path: &str| {
        let verb = capability.rsplit('.').next().expect("two words");
        (capability.to_owned(), format!("filesystem = {{ {verb} = [{{ file = \"{path}\" }}] }}"))
    };
    let folder =
        |path: &str| ("filesystem.write".to_owned(), format!("filesystem = {{ write = [\"{path}\"] }}"));
    let heard = |guest: &Reach| -> Vec<(String, String)> {
        let refusals = guest.edge.take_refusals();
        refusals.into_iter().map(|refusal| (refusal.capability.to_string(), refusal.line)).collect()
    };

    // With no folder at all, where the guest's calls have no stack of their own.
    let guest = reach("");
    for path in ["/etc/passwd", "data/words", "data/words"] {
        assert!(guest.read(path).is_err());
    }
    let expected = [file("filesystem.read", "/etc/passwd"), file("filesystem.read", "data/words")];
    assert_eq!(heard(&guest), expected, "each path once");
    assert!(guest.write("data/new", "x").is_err());
    assert_eq!(heard(&guest), [folder("data")]);
    assert!(guest.ask("names", &[text("/")]).is_err(), "what a system has in its root stays unknown");
    assert_eq!(guest.log().matches(r#""event":"refusal""#).count(), 4, "{}", guest.log());
    assert!(guest.log().contains("read `/etc/passwd`"), "{}", guest.log());

    // Beside a folder that is only read, and a link in it that leads out.
    let guest = reach("filesystem = { read = [\"data\"] }");
    std::os::unix::fs::symlink("../private/key", guest.folder.path().join("data/link")).expect("made");
    assert_eq!(guest.read("data/words"), Ok("data/words".to_owned()));
    assert!(guest.read("data/nothing").is_err(), "not there, which nobody refused");
    assert_eq!(heard(&guest), []);
    assert!(guest.read("private/key").is_err());
    assert_eq!(heard(&guest), [file("filesystem.read", "private/key")]);
    assert!(guest.write("data/words", "changed").is_err());
    assert_eq!(heard(&guest), [folder("data")], "beside which the file alone could not be granted");
    assert!(guest.write("data/new", "x").is_err());
    assert_eq!(heard(&guest), [folder("data")]);
    assert!(guest.read("data/link").is_err());
    let refusals = guest.edge.take_refusals();
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    assert_eq!(refusals[0].attempt, "read `data/link`, which leads out of what is granted");

    // A file alone in its folder, under another name.
    let guest = reach("filesystem = { read = [{ file = \"data/words\" }], at = \"/inside/list\" }");
    assert!(guest.read("/inside/more").is_err());
    assert_eq!(heard(&guest)[0].1, "filesystem = { read = [\"data\"] }");
    // A folder that keeps its name.
    let guest = reach("filesystem = { read = [\"data\"], at = \"/inside\" }");
    assert!(guest.write("/inside/words", "x").is_err());
    let kept = "filesystem = { write = [{ path = \"data\", at = \"/inside\" }] }";
    assert_eq!(heard(&guest)[0].1, kept);
    assert!(guest.ask("names", &[text("/etc")]).is_err());
    assert_eq!(heard(&guest)[0].1, "filesystem = { read = [\"/etc\"] }", "a folder that is listed");

    // What a guest names is nothing that a terminal obeys.
    assert!(guest.read("/srv/\u{1b}[2Jall is well\u{202e}").is_err());
    let refusal = guest.edge.take_refusals().remove(0);
    assert!(!refusal.to_string().contains(['\u{1b}', '\u{202e}']), "{refusal:?}");

    // A guest that looks everywhere goes on.
    for number in 0..12_000 {
        assert!(guest.read(&format!("/srv/{number}")).is_err());
    }
    let last = guest.log().matches("no more paths are recorded").count();
    assert_eq!(last, 1);
    assert_eq!(guest.read("/inside/words"), Ok("data/words".to_owned()));

    // And the lines do allow it.
    let guest = reach(&file("filesystem.read", "data/words").1);
    assert_eq!(guest.read("data/words"), Ok("data/words".to_owned()));
    let guest = reach(&folder("data").1);
    assert!(guest.write("data/new", "x").is_ok());
    assert_eq!(heard(&guest), []);
}

#[test]
fn a_folder_revoked_between_calls_is_gone_for_the_next() {
    let guest = reach("filesystem = { read = [\"data\"] }");
    assert!(guest.read("data/words").is_ok());
    let capability =
        cofferdam::manifest::Capability::host(cofferdam::manifest::HostCapability::FilesystemRead);
    guest.runtime.revoke_grant(EDGE, &capability).expect("recorded");
    assert!(guest.read("data/words").is_err());
}

#[test]
fn refusals_without_end_end_the_compartments_calls() {
    let guest = reach("network = { dns = [\"localhost\"] }");
    let mut refused = 0u64;
    let error = loop {
        match guest.call("look-up", &[text("example.org")]) {
            Ok(_) => refused += 1,
            Err(error) => break error,
        }
        assert!(refused <= cofferdam::wasm::DENIALS_MAX, "no bound");
    };
    assert!(matches!(error, CallError::Limit { what: "refusals that are recorded", .. }), "{error:?}");
    let recorded = guest.log().matches(r#""event":"refusal""#).count() as u64;
    assert_eq!(recorded, cofferdam::wasm::DENIALS_MAX);
}
