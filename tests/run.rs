//! The commands that run programs for wasm, and the cache of compiled code.

mod harness;

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use harness::{Run, root};

/// The tests here share Cargo's folders.
static TURN: Mutex<()> = Mutex::new(());

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cofferdam"));
    command.current_dir(root()).args(arguments).env_remove("CLICOLOR_FORCE");
    command
}

fn cofferdam(arguments: &[&str]) -> Run {
    Run::new(program(arguments).output().expect("the program was built"))
}

#[test]
fn a_program_runs_with_what_its_root_holds() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let setup = cofferdam(&["setup"]);
    assert_eq!(setup.code, Some(0), "{setup}");
    let folder = tempfile::tempdir().expect("a folder");
    let manifest = folder.path().join("capabilities.toml");
    let manifest = manifest.to_str().expect("UTF-8");
    let write = |holds: &str| {
        let text = format!(
            "[holds]\n{holds}\n[crates.hello]\nconsumes = {{ stdio = {{ reason = \"greets\", optional = true }} }}\n\
             compartment = {{ backend = \"wasm\" }}\n"
        );
        std::fs::write(manifest, text).expect("writable");
    };
    let graph = ["--manifest", manifest, "--guests", "tests/guests/Cargo.toml"];
    write("stdio = true");
    let run = cofferdam(&[&["build"], &graph[..]].concat());
    assert_eq!(run.code, Some(0), "{run}");
    let run = cofferdam(&[&["run"], &graph[..]].concat());
    assert_eq!((run.code, run.stdout.as_str()), (Some(0), "Hello from a program!\n"), "{run}");
    // Where the time went is said beside it, not in its output.
    let profiled = cofferdam(&[&["run", "--profile"], &graph[..]].concat());
    assert_eq!((profiled.code, profiled.stdout.as_str()), (Some(0), "Hello from a program!\n"), "{profiled}");
    let row = profiled.stderr.lines().find(|line| line.starts_with("command-line -> hello")).expect("a row");
    assert_eq!(row.split_whitespace().nth(3), Some("1"), "{profiled}");
    // Without a voice it says nothing; it runs all the same.
    write("clock = true");
    let run = cofferdam(&[&["run"], &graph[..]].concat());
    assert_eq!(run.stdout, "", "{run}");
    // A library is no program.
    let text = "[crates.echo]\ncompartment = { backend = \"wasm\", world = \"wit/echo.wit#echo\" }\n";
    std::fs::write(manifest, text).expect("writable");
    let run = cofferdam(&[&["run"], &graph[..]].concat());
    assert_ne!(run.code, Some(0), "{run}");
}

#[test]
fn the_cache_is_shown_cleared_and_not_trusted() {
    let folder = tempfile::tempdir().expect("a folder");
    let component = folder.path().join("add.wasm");
    let text = r#"(component
        (core module $m (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))
        (core instance $i (instantiate $m))
        (func (export "add") (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $i "add"))))"#;
    std::fs::write(&component, wat::parse_str(text).expect("text")).expect("writable");
    let component = component.to_str().expect("UTF-8").to_owned();
    let cache = folder.path().join("cache");
    let run = |arguments: &[&str]| {
        Run::new(program(arguments).env("COFFERDAM_CACHE", &cache).output().expect("the program was built"))
    };
    let entries = || {
        let shown = run(&["cache", "--format", "json"]);
        let document: serde_json::Value = serde_json::from_str(&shown.stdout).expect("JSON");
        document["components"].as_u64().expect("a number")
    };
    assert_eq!(entries(), 0);
    let added = run(&["call", &component, "add", "2", "40"]);
    assert_eq!((added.code, added.stdout.as_str()), (Some(0), "42\n"), "{added}");
    assert_eq!(entries(), 1);
    let code = std::fs::read_dir(cache.join("compiled"))
        .expect("there")
        .map(|entry| entry.expect("readable").path())
        .find(|path| path.extension().is_some_and(|extension| extension == "code"))
        .expect("one entry");

    // Every byte counts: one flipped anywhere, and the component is compiled again.
    let whole = std::fs::read(&code).expect("readable");
    for at in [0, 31, 32, whole.len() / 2, whole.len() - 1] {
        let mut broken = whole.clone();
        broken[at] ^= 1;
        std::fs::write(&code, broken).expect("writable");
        let added = run(&["call", &component, "add", "2", "40"]);
        assert_eq!((added.code, added.stdout.as_str()), (Some(0), "42\n"), "{added}");
        assert_eq!(std::fs::read(&code).expect("readable"), whole, "made again, whole");
    }
    // Cut short, empty, or of another component under its name: the same.
    for broken in [&whole[..whole.len() - 1], &whole[..16], &[]] {
        std::fs::write(&code, broken).expect("writable");
        assert_eq!(run(&["call", &component, "add", "2", "40"]).stdout, "42\n");
        assert_eq!(std::fs::read(&code).expect("readable"), whole, "made again, whole");
    }
    assert_eq!(run(&["cache", "--clear"]).code, Some(0));
    assert_eq!(entries(), 0);

    // A folder that others may write in is no cache, and the call works without.
    std::fs::set_permissions(cache.join("compiled"), std::fs::Permissions::from_mode(0o777)).expect("ours");
    let added = run(&["call", &component, "add", "2", "40"]);
    assert_eq!((added.code, added.stdout.as_str()), (Some(0), "42\n"), "{added}");
    assert!(added.stderr.contains("others may write in it"), "{added}");
    assert!(!code.exists());
}

/// Several processes at once, on one cache: each has its answer, and what is left is whole.
#[test]
fn processes_share_a_cache() {
    let folder = tempfile::tempdir().expect("a folder");
    let component = folder.path().join("add.wasm");
    let text = r#"(component
        (core module $m (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))
        (core instance $i (instantiate $m))
        (func (export "add") (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $i "add"))))"#;
    std::fs::write(&component, wat::parse_str(text).expect("text")).expect("writable");
    let cache = folder.path().join("cache");
    let children: Vec<_> = (0..6)
        .map(|_| {
            let mut command = program(&["call", component.to_str().expect("UTF-8"), "add", "2", "40"]);
            command.env("COFFERDAM_CACHE", &cache).stdout(Stdio::piped()).spawn().expect("it starts")
        })
        .collect();
    for child in children {
        assert_eq!(child.wait_with_output().expect("it ends").stdout, b"42\n");
    }
}

/// What could not be written, or was not read, is no success.
#[test]
fn output_that_is_lost_is_said() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let setup = cofferdam(&["setup"]);
    assert_eq!(setup.code, Some(0), "{setup}");
    let folder = tempfile::tempdir().expect("a folder");
    let manifest = folder.path().join("capabilities.toml");
    let text = "[holds]\nstdio = true\n[crates.hello]\nconsumes = { stdio = \"greets\" }\ncompartment = { backend = \"wasm\" }\n";
    std::fs::write(&manifest, text).expect("writable");
    let graph = ["--manifest", manifest.to_str().expect("UTF-8"), "--guests", "tests/guests/Cargo.toml"];
    let run = cofferdam(&[&["build"], &graph[..]].concat());
    assert_eq!(run.code, Some(0), "{run}");
    let full = std::fs::File::options().write(true).open("/dev/full").expect("every system has it");
    let (unread, closed) = std::io::pipe().map(|(read, write)| (drop(read), write)).expect("a pipe");
    let () = unread;
    for (stdout, says) in [(Stdio::from(full), "cannot write"), (Stdio::from(closed), "")] {
        let mut command = program(&[&["run"], &graph[..]].concat());
        let output = command.stdout(stdout).stderr(Stdio::piped()).spawn().and_then(Child::wait_with_output);
        let output = output.expect("the program was built");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(7), "{said}");
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn a_program_that_ends_itself_says_how_it_went() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let setup = cofferdam(&["setup"]);
    assert_eq!(setup.code, Some(0), "{setup}");
    let folder = tempfile::tempdir().expect("a folder");
    let manifest = "[package]\nname = \"prog\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
        [package.metadata.capabilities]\ncompartment = { backend = \"wasm\" }\n\
        consumes = { stdio = \"greets\", process = { exit = \"ends itself\" } }\n\
        [workspace.metadata.capabilities.holds]\nstdio = true\nprocess = { exit = true }\n[workspace]\n";
    let source = "fn main() {\n    print!(\"first\\nlast\");\n    \
        std::process::exit(std::env::args().nth(1).map_or(0, |code| code.parse().expect(\"a number\")))\n}\n";
    std::fs::create_dir(folder.path().join("src")).expect("writable");
    std::fs::write(folder.path().join("Cargo.toml"), manifest).expect("writable");
    std::fs::write(folder.path().join("src/main.rs"), source).expect("writable");
    let here = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cofferdam"));
        command.current_dir(folder.path()).args(arguments).env_remove("CLICOLOR_FORCE");
        Run::new(command.output().expect("the program was built"))
    };
    let run = here(&["build"]);
    assert_eq!(run.code, Some(0), "{run}");
    for success in [&["run"][..], &["run", "--", "0"]] {
        let run = here(success);
        assert_eq!((run.code, run.stdout.as_str()), (Some(0), "first\nlast"), "{run}");
        assert!(!run.stderr.contains("error"), "{run}");
    }
    let run = here(&["run", "--", "3"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(6), "first\nlast"), "{run}");
    let error = "error: `command-line -> prog`: the program ended itself with failure\n";
    assert!(run.stderr.ends_with(error), "{run}");
}

/// What a program writes beside its sources, such as its audit log, makes nothing stale; a source that was changed does, and so does any
/// file where a build script may have read it.
#[test]
fn a_program_is_stale_when_a_source_of_it_was_changed() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let setup = cofferdam(&["setup"]);
    assert_eq!(setup.code, Some(0), "{setup}");
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
        std::fs::write(path, text).expect("writable");
    };
    let manifest = "[package]\nname = \"prog\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
        [package.metadata.capabilities]\nconsumes = { stdio = \"greets\" }\ncompartment = { backend = \"wasm\" }\n\
        [workspace.metadata.capabilities.holds]\nstdio = true\n[workspace]\n";
    write("Cargo.toml", manifest);
    write("src/main.rs", "mod part;\nfn main() { println!(\"{}\", part::WORD); }\n");
    write("src/part.rs", "pub const WORD: &str = \"one\";\n");
    // A file's time is the kernel's, which may be some milliseconds behind the clock that a build is timed by.
    let change = |name: &str, text: &str| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        write(name, text);
    };
    let here = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cofferdam"));
        command.current_dir(folder.path()).args(arguments).env_remove("CLICOLOR_FORCE");
        Run::new(command.output().expect("the program was built"))
    };
    let run = |says: &str| {
        let run = here(&["run", "--audit", "run.jsonl"]);
        assert_eq!((run.code, run.stdout.as_str()), (Some(0), says), "{run}");
    };
    let stale = |file: &str| {
        let run = here(&["run"]);
        assert!(run.code != Some(0) && run.stdout.is_empty(), "{run}");
        assert!(run.stderr.contains(file) && run.stderr.contains("cofferdam build"), "{run}");
    };
    let build = || {
        let run = here(&["build"]);
        assert_eq!(run.code, Some(0), "{run}");
    };
    build();
    run("one\n");
    // By now the log is younger than the component.
    run("one\n");
    change("out/data.bin", "");
    run("one\n");
    change("src/part.rs", "pub const WORD: &str = \"two\";\n");
    stale("src/part.rs");
    build();
    run("two\n");
    std::fs::remove_file(folder.path().join("src/part.rs")).expect("it is there");
    stale("src/part.rs");
    write("src/part.rs", "pub const WORD: &str = \"two\";\n");
    write("build.rs", "fn main() {}\n");
    build();
    change("out/data.bin", "");
    stale("out/data.bin");
}
