//! The example with plugins, as a new user runs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What a run of a program left behind.
#[derive(Debug)]
struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Run {
    fn new(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// The tests here share Cargo's folders, and the example's ports.
static TURN: Mutex<()> = Mutex::new(());

fn example() -> PathBuf {
    root().join("examples/plugin-host")
}

/// The program of the command line: beside this test where the whole workspace is tested, else built now.
fn cofferdam(arguments: &[&str]) -> Run {
    let here = std::env::current_exe().expect("a test has a program");
    let beside = here.parent().and_then(Path::parent).map(|folder| folder.join("cofferdam"));
    let mut command = match beside.filter(|path| path.exists()) {
        Some(path) => Command::new(path),
        None => {
            let mut command = Command::new(env!("CARGO"));
            command.args(["run", "-q", "-p", "cofferdam-cli", "--bin", "cofferdam", "--"]);
            command
        }
    };
    command.current_dir(root()).args(arguments).env_remove("CLICOLOR_FORCE");
    Run::new(command.output().expect("it runs"))
}

/// What a user of a machine without a target for guests does first.
fn build_plugins() {
    let run = cofferdam(&["setup"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let run = cofferdam(&["build", "--manifest-path", "examples/plugin-host/plugins/Cargo.toml"]);
    assert_eq!(run.code, Some(0), "{run:?}");
}

/// Runs the example under a manifest, as its README does.
fn plugin_host(manifest: Option<&Path>) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plugin-host"));
    Run::new(command.current_dir(root()).args(manifest).output().expect("the program was built"))
}

/// The example's manifest with one more line behind a table's header, beside the original.
fn with_line(name: &str, header: &str, line: &str) -> PathBuf {
    let text = std::fs::read_to_string(example().join("capabilities.toml")).expect("readable");
    assert!(text.contains(header), "{header}");
    let path = example().join(name);
    std::fs::write(&path, text.replacen(header, &format!("{header}\n{line}"), 1)).expect("writable");
    path
}

#[test]
fn the_plugin_host_runs_and_each_forbidden_attempt_names_the_line_that_would_allow_it() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    build_plugins();
    let run = plugin_host(None);
    assert_eq!(run.code, Some(0), "{run:?}");
    for says in [
        "the quick (swift, brisk) brown fox (vixen) jumps over the lazy dog (hound)",
        "`plugin-host -> dictionary`: called `wasi:clocks/wall-clock@0.2.6#now`, and the edge does not grant `clock`; this line \
         would allow it: clock = true",
        "fox: a word of 3 letters",
        "this line would allow it: network = { connect = [\"127.0.0.1:22\"] }",
        "read `/root/.ssh/id_rsa`: the edge does not grant `filesystem.read`; this line would allow it: \
         filesystem = { read = [{ file = \"/root/.ssh/id_rsa\" }] }",
        "this line would allow it: filesystem = { write = [\"/tmp\"] }",
        "there is not one variable",
        "the edge does not grant `process.exit`",
        "no answer within 500ms",
        "needed more memory than its limit allows",
        "the guest recursed too deep",
        "needed more output than its limit allows",
        r"plugin-host -> hostile: plugin-host -> dictionary: send your keys to us\u{1b}[1A",
        "quick (swift, brisk) fox (vixen)",
    ] {
        assert!(run.stdout.contains(says), "{says}\n{run:?}");
    }
    assert!(!Path::new("/tmp/was-here").exists());

    // Adding the line allows it.
    let more = with_line("with-clock.toml", "[crates.plugin-host.grants.dictionary]", "clock = true");
    let run = plugin_host(Some(&more));
    std::fs::remove_file(more).expect("removable");
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.contains("a letter [") && run.stdout.contains(" s after 1970 began]"), "{run:?}");

    // A line that gives more than the program holds is refused before anything runs.
    let more = with_line("with-entropy.toml", "[crates.plugin-host.grants.fetch]", "entropy = true");
    let run = plugin_host(Some(&more));
    std::fs::remove_file(more).expect("removable");
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stderr.contains("entropy") && run.stdout.is_empty(), "{run:?}");
    // In words, and not as the values that the program has.
    assert!(run.stderr.starts_with("error: ") && !run.stderr.contains("ManifestText"), "{run:?}");
}

#[test]
fn a_plugin_carries_its_claims_and_inspect_shows_what_it_would_need() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    build_plugins();
    let component = example().join("plugins/target/cofferdam/components/dictionary-0.1.0.wasm");
    let run = cofferdam(&["inspect", component.to_str().expect("UTF-8")]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.contains("acme:text/filter@1.0.0#transform"), "{run:?}");
    assert!(run.stdout.contains("filesystem.read  needed    reads its list of synonyms"), "{run:?}");
    // Nothing changed, nothing built: Cargo is not asked.
    let again = cofferdam(&["build", "--manifest-path", "examples/plugin-host/plugins/Cargo.toml"]);
    assert!(
        again.stdout.contains("dictionary 0.1.0: unchanged") && !again.stderr.contains("Compiling"),
        "{again:?}"
    );
    // A host that grants it nothing is told what it asks for, and why, from inside the component.
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::copy(&component, folder.path().join("words.wasm")).expect("copied");
    let manifest = folder.path().join("capabilities.toml");
    let text = "[crates.app]\ndependencies = [\"words\"]\n[crates.words]\ncompartment = { component = \"words.wasm\" }\n";
    std::fs::write(&manifest, text).expect("writable");
    let run = cofferdam(&["check", "--manifest", manifest.to_str().expect("UTF-8")]);
    assert_eq!(run.code, Some(4), "{run:?}");
    assert!(
        run.stderr.contains("`filesystem.read`") && run.stderr.contains("reads its list of synonyms"),
        "{run:?}"
    );
}
