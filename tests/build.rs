//! `build` and `setup` as a user meets them: crates in, components out that run, and a denial for what was not asked for.

mod guest_sources;
mod harness;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;

use guest_sources::copy_guests;
use harness::{Run, Workspace, root};
use serde_json::Value;

/// A program with four guests beside it, each with what it consumes.
const APP: &str = r#"[package]
name = "app"
version = "0.1.0"
edition = "2024"

[dependencies]
cgreet = { path = "../cgreet" }
echo = { path = "../echo" }
hello = { path = "../hello" }

[package.metadata.capabilities]
consumes = { "filesystem.read" = "gives it on", ffi = "gives it on", stdio = "gives it on", clock = { reason = "gives it on", optional = true } }

[package.metadata.capabilities.grants.cgreet]
ffi = true

[package.metadata.capabilities.grants.echo]
filesystem = { read = ["docs"] }

[package.metadata.capabilities.grants.hello]
stdio = { streams = ["stdout"], bytes = "1MiB" }
"#;

const HOLDS: &str = r#"
[workspace.metadata.capabilities.holds]
clock = true
ffi = true
filesystem = { read = ["docs"] }
stdio = { streams = ["stdout"], bytes = "1MiB" }
"#;

/// Runs the program, with the network: on a new machine Cargo must download what the guests depend on.
fn cofferdam_in(folder: &Path, arguments: &[&str], variables: &[(&str, &Path)]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cofferdam"));
    command.current_dir(folder).args(arguments).env_remove("CLICOLOR_FORCE").env_remove("WASI_SDK_PATH");
    // What is compiled is the same in every test, and is kept between runs.
    command.env("CARGO_TARGET_DIR", target());
    command.envs(variables.iter().copied());
    Run::new(command.output().expect("the program was built"))
}

fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("built-by-commands")
}

/// The program on a machine that has what compiles guests.
fn cofferdam(workspace: &Workspace, arguments: &[&str]) -> Run {
    static SET_UP: Once = Once::new();
    SET_UP.call_once(|| {
        let run = cofferdam_in(&root(), &["setup", "--c"], &[]);
        assert_eq!(run.code, Some(0), "{run}");
        assert!(run.stdout.contains("guests are compiled for wasm32-wasip"), "{run}");
    });
    cofferdam_in(workspace.path(), arguments, &[])
}

/// The guests of this folder in a workspace with the program, and with `more` in the program's manifest.
fn workspace(more: &str) -> Workspace {
    let workspace = Workspace::new(&[]);
    copy_guests(&root(), workspace.path());
    let manifest = workspace.read("Cargo.toml").replace("members = [", "members = [\"app\", ");
    workspace.write("Cargo.toml", &(manifest + HOLDS));
    workspace.write("app/Cargo.toml", &(APP.to_owned() + more));
    workspace.write("app/src/lib.rs", "");
    workspace.write("docs/a.txt", "from a file");
    // `stopwatch` takes a power unasked; only the test about it has it in its graph. The others are for other tests.
    let mut manifest = workspace.read("Cargo.toml");
    for name in ["ledger", "reach", "relay", "stopwatch", "teller"] {
        manifest = manifest.replace(&format!(", \"{name}\""), "");
    }
    workspace.write("Cargo.toml", &manifest);
    // A program is no library that others can depend on.
    workspace.write("hello/src/lib.rs", "");
    workspace
}

fn json(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run}"))
}

/// The document's component of a crate.
fn component<'d>(document: &'d Value, krate: &str) -> &'d Value {
    let components = document["components"].as_array().expect("a list");
    components.iter().find(|one| one["krate"] == krate).unwrap_or_else(|| panic!("no {krate} in {document}"))
}

/// One after the other: all of them build into one folder.
#[test]
fn crates_become_components_that_run() {
    let workspace = workspace("");
    let run = cofferdam(&workspace, &["build"]);
    assert_eq!(run.code, Some(0), "{run}");
    for name in ["cgreet 0.1.0: built", "echo 0.1.0: built", "hello 0.1.0: built"] {
        assert!(run.stdout.contains(name), "{run}");
    }
    assert!(run.stderr.contains("building the guest echo@0.1.0\n"), "{run}");

    let again = cofferdam(&workspace, &["build", "--format", "json"]);
    assert_eq!(again.code, Some(0), "{again}");
    assert!(!again.stderr.contains("building") && !again.stderr.contains("Compiling"), "{again}");
    let document = json(&again);
    assert_eq!(document["outcome"], "built");
    assert_eq!(document["components"].as_array().map(Vec::len), Some(3));
    let verdict = |krate: &str, interface: &str| {
        let imports = component(&document, krate)["imports"].as_array().expect("a list").clone();
        let found = imports
            .iter()
            .find(|one| one["interface"].as_str().is_some_and(|name| name.starts_with(interface)));
        found.unwrap_or_else(|| panic!("{krate} has no {interface}"))["verdict"]
            .as_str()
            .expect("text")
            .to_owned()
    };
    assert_eq!(verdict("echo", "wasi:filesystem/types"), "consumed");
    assert_eq!(verdict("echo", "wasi:cli/environment"), "start-up");
    assert_eq!(verdict("echo", "wasi:io/streams"), "powerless");
    assert_eq!(verdict("hello", "wasi:cli/stdout"), "consumed");

    let path = |krate| {
        let component = component(&document, krate);
        assert_eq!(component["rebuilt"], false);
        component["path"].as_str().expect("text").to_owned()
    };
    let call = |krate, more: &[&str]| {
        let component = path(krate);
        cofferdam(&workspace, &[&["call", component.as_str()], more].concat())
    };
    let run = call("echo", &["echo", "[1, 2, 255]"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(0), "[1, 2, 255]\n"), "{run}");
    let run = call("cgreet", &["greet", "\"Ada\""]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(0), "\"Hello from C, Ada!\"\n"), "{run}");
    // The check value of CRC-32: of the digits 1 to 9 it is cbf43926.
    let run = call("cgreet", &["checksum", "[49, 50, 51, 52, 53, 54, 55, 56, 57]"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(0), "3421780262\n"), "{run}");
    let granted =
        call("echo", &["read-file", "\"docs/a.txt\"", "--grant", "filesystem = { read = [\"docs\"] }"]);
    assert_eq!((granted.code, granted.stdout.as_str()), (Some(0), "ok(\"from a file\")\n"), "{granted}");
    let not = call("echo", &["read-file", "\"docs/a.txt\""]);
    assert!(not.code == Some(0) && not.stdout.starts_with("err("), "{not}");

    denies_what_is_not_consumed();
    takes_what_a_world_declares_and_nothing_else();
    takes_a_file_for_the_graph();
    says_what_does_not_compile();
}

/// The other half of the program's work: a power that nobody asked for.
fn denies_what_is_not_consumed() {
    let grant = "\n[package.metadata.capabilities.grants.stopwatch]\nclock = true\n";
    let workspace = workspace("");
    let manifest = workspace.read("app/Cargo.toml");
    let manifest =
        manifest.replace("[dependencies]\n", "[dependencies]\nstopwatch = { path = \"../stopwatch\" }\n");
    workspace.write("app/Cargo.toml", &manifest);
    let root = workspace.read("Cargo.toml").replace("\"hello\"", "\"hello\", \"stopwatch\"");
    workspace.write("Cargo.toml", &root);

    let run = cofferdam(&workspace, &["build", "-p", "stopwatch"]);
    assert_eq!(run.code, Some(4), "{run}");
    let told = [
        "error[import-not-consumed]: the component of `stopwatch` imports `wasi:clocks/monotonic-clock@0.2.",
        "which means `clock`, and `stopwatch` does not consume it",
        "stopwatch/Cargo.toml:2:",
        "add to `consumes` of [package.metadata.capabilities] in stopwatch/Cargo.toml:",
        "\"clock\" = \"why\"",
        "1 error",
    ];
    let mut rest = run.stderr.as_str();
    for part in told {
        let Some(at) = rest.find(part) else { panic!("`{part}` is not there, or not in this order: {run}") };
        rest = &rest[at + part.len()..];
    }
    let document = json(&cofferdam(&workspace, &["build", "-p", "stopwatch", "--format", "json"]));
    assert_eq!(document["outcome"], "denied");
    assert_eq!(document["findings"][0]["code"], "import-not-consumed");
    assert_eq!(document["findings"][0]["capability"], "clock");
    assert_eq!(document["findings"][0]["places"][0]["file"], "stopwatch/Cargo.toml");

    // With the line that it says, and a grant, it is built.
    workspace.append(
        "stopwatch/Cargo.toml",
        "\n[package.metadata.capabilities]\nconsumes = { \"clock\" = \"measures\" }\n",
    );
    let run = cofferdam(&workspace, &["build", "-p", "stopwatch"]);
    assert!(run.code == Some(4) && run.stderr.contains("error[not-granted]"), "{run}");
    workspace.append("app/Cargo.toml", grant);
    let run = cofferdam(&workspace, &["build", "-p", "stopwatch"]);
    assert_eq!(run.code, Some(0), "{run}");
}

/// An interface that whoever uses the crate provides: its world says so, or it is unknown.
fn takes_what_a_world_declares_and_nothing_else() {
    let workspace = workspace("");
    let manifest = workspace.read("app/Cargo.toml");
    let manifest =
        manifest.replace("[dependencies]\n", "[dependencies]\nteller = { path = \"../teller\" }\n");
    workspace.write("app/Cargo.toml", &manifest);
    workspace
        .write("Cargo.toml", &workspace.read("Cargo.toml").replace("\"hello\"", "\"hello\", \"teller\""));
    let build = |more: &[&str]| cofferdam(&workspace, &[&["build", "-p", "teller"], more].concat());
    let run = build(&[]);
    assert_eq!(run.code, Some(0), "{run}");
    assert!(run.stdout.contains("calls back whoever uses it: acme:ledger/ledger@0.1.0"), "{run}");
    let document = json(&build(&["--format", "json"]));
    let imports = component(&document, "teller")["imports"].as_array().expect("a list").clone();
    let import = imports.iter().find(|one| one["interface"] == "acme:ledger/ledger@0.1.0").expect("imported");
    assert_eq!(import["verdict"], "declared");

    // The manifest names another world, which does not import it. The component is the same.
    workspace.append("teller/wit/teller.wit", "\nworld alone {\n  export teller;\n}\n");
    let manifest = workspace.read("teller/Cargo.toml");
    workspace.write("teller/Cargo.toml", &manifest.replace("teller.wit#telling", "teller.wit#alone"));
    let run = build(&[]);
    assert_eq!(run.code, Some(4), "{run}");
    for told in [
        "error[import-unknown]: the component of `teller` imports `acme:ledger/ledger@0.1.0`, which nothing provides",
        "if whoever uses the crate is to provide it, its world must import it",
    ] {
        assert!(run.stderr.contains(told), "{run}");
    }
    workspace.write("teller/Cargo.toml", &manifest.replace("teller.wit#telling", "teller.wit#none"));
    let run = build(&[]);
    assert_eq!(run.code, Some(3), "{run}");
    assert!(run.stderr.contains("cannot read the world `none` of "), "{run}");
}

fn takes_a_file_for_the_graph() {
    let workspace = workspace("");
    workspace.write(
        "capabilities.toml",
        "[holds]\nfilesystem = { read = [\"docs\"] }\n\n[crates.host]\ndependencies = [\"echo\"]\n\
         [crates.host.consumes]\n\"filesystem.read\" = \"gives it on\"\n\
         [crates.host.grants.echo]\nfilesystem = { read = [\"docs\"] }\n\n\
         [crates.echo]\nconsumes = { \"filesystem.read\" = \"reads\" }\n\
         compartment = { backend = \"wasm\", world = \"wit/echo.wit#echo\" }\n",
    );
    let run = cofferdam(&workspace, &["build", "--manifest", "capabilities.toml"]);
    assert!(run.code == Some(2) && run.stderr.contains("--guests"), "{run}");
    let run = cofferdam(&workspace, &["build", "--manifest", "capabilities.toml", "--guests", "Cargo.toml"]);
    assert_eq!(run.code, Some(0), "{run}");
    assert!(run.stdout.contains("echo 0.1.0: built"), "{run}");
}

fn says_what_does_not_compile() {
    let workspace = workspace("");
    workspace.append("echo/src/lib.rs", "fn broken() { nothing }\n");
    let run = cofferdam(&workspace, &["build", "-p", "echo"]);
    assert_eq!(run.code, Some(3), "{run}");
    assert!(run.stderr.contains("cannot find value `nothing`"), "{run}");
    assert!(run.stderr.contains("error: cannot build the guest `echo@0.1.0`"), "{run}");
}

#[test]
fn what_cannot_be_built_is_said_before_anything_is_compiled() {
    let workspace = Workspace::three_crates();
    let run = cofferdam_in(workspace.path(), &["build"], &[]);
    assert!(run.code == Some(0) && run.stdout.contains("there is nothing to build"), "{run}");
    let run = cofferdam_in(workspace.path(), &["build", "-p", "codec"], &[]);
    assert!(run.code == Some(2) && run.stderr.contains("`codec` is inline"), "{run}");
    workspace.append(
        "util/Cargo.toml",
        "\n[package.metadata.capabilities]\nconsumes = { clock = \"asks\" }\n\
         [package.metadata.capabilities.compartment]\nbackend = \"wasm\"\n",
    );
    let run = cofferdam_in(workspace.path(), &["build"], &[]);
    assert!(run.code == Some(4) && run.stderr.contains("error[not-granted]"), "{run}");
}

#[cfg(unix)]
#[test]
fn without_a_compiler_the_error_says_what_to_run() {
    use std::os::unix::fs::PermissionsExt as _;
    let workspace = workspace("");
    // A compiler that knows its version, and no WebAssembly.
    let rustc = workspace.path().join("rustc-without-targets");
    let real = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let text = format!(
        "#!/bin/sh\ncase \"$*\" in *target-libdir*) echo /nonexistent;; *) exec {} \"$@\";; esac\n",
        real.display()
    );
    std::fs::write(&rustc, text).expect("writable");
    std::fs::set_permissions(&rustc, std::fs::Permissions::from_mode(0o755)).expect("set");
    let cache = workspace.path().join("empty");
    let variables = [("RUSTC", rustc.as_path()), ("COFFERDAM_CACHE", cache.as_path())];
    for arguments in [&["build"][..], &["setup", "--check"]] {
        let run = cofferdam_in(workspace.path(), arguments, &variables);
        assert_eq!(run.code, Some(5), "{run}");
        assert!(run.stderr.contains("error: no compiler for guests: "), "{run}");
        assert!(run.stderr.contains("run `cofferdam setup`"), "{run}");
    }
    assert!(!cache.exists());
}
