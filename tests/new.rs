//! `cofferdam new`, from the first command to the answer of the compartment: what it writes is checked, built and run.

mod harness;

use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{Run, cofferdam_in, cofferdam_with};

/// Runs the program in a folder, where guests are compiled.
fn cofferdam(folder: &Path, arguments: &[&str]) -> Run {
    cofferdam_for(folder, arguments, "target")
}

/// The same, where Cargo builds in another folder.
fn cofferdam_for(folder: &Path, arguments: &[&str], target: &str) -> Run {
    // What guests are made of may have to be downloaded.
    let variables = [("CARGO_NET_OFFLINE", "false"), ("CARGO_TARGET_DIR", target)];
    let run = cofferdam_with(folder, arguments, &variables);
    assert_eq!(run.code, Some(0), "{arguments:?}: {run}");
    run
}

/// A library of the build that this test is of, the newest of that name.
fn library(name: &str) -> PathBuf {
    let deps =
        std::env::current_exe().expect("a test has a program").parent().expect("in a folder").to_owned();
    let is_it = |path: &PathBuf| {
        let file = path.file_name().and_then(|file| file.to_str()).unwrap_or_default();
        file.starts_with(&format!("lib{name}-")) && path.extension().is_some_and(|kind| kind == "rlib")
    };
    let found =
        std::fs::read_dir(deps).expect("readable").filter_map(|entry| Some(entry.ok()?.path())).filter(is_it);
    let newest =
        found.max_by_key(|path| path.metadata().and_then(|found| found.modified()).expect("it has a time"));
    newest.unwrap_or_else(|| panic!("no lib{name} beside this test"))
}

/// Compiles a crate as Cargo would, against the libraries that this test is linked with: to compile those anew for the workspace of a
/// test would take minutes.
fn rustc(
    folder: &Path,
    name: &str,
    source: &str,
    kind: &str,
    out: &Path,
    target: &str,
    externs: &[(&str, &Path)],
) -> PathBuf {
    let mut command = Command::new("rustc");
    let ident = name.replace('-', "_");
    command
        .args([
            "--edition=2024",
            "--crate-name",
            &ident,
            "--crate-type",
            kind,
            "--deny=warnings",
            "--check-cfg=cfg(cofferdam_guest)",
        ])
        .arg("--check-cfg=cfg(feature, values(\"inline\"))")
        .arg(folder.join(source))
        .arg("--out-dir")
        .arg(out)
        .arg("-L")
        .arg(format!("dependency={}", library("cofferdam").parent().expect("in a folder").display()))
        .arg("-L")
        .arg(format!("dependency={}", out.display()))
        .env("CARGO_MANIFEST_DIR", folder)
        .env("CARGO_PKG_NAME", name)
        .env("CARGO_TARGET_DIR", target)
        .current_dir(folder);
    for (name, path) in externs {
        command.arg("--extern").arg(format!("{name}={}", path.display()));
    }
    let output = command.output().expect("rustc is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    if kind == "bin" { out.join(&ident) } else { out.join(format!("lib{ident}.rlib")) }
}

/// The consumer of a scaffold, compiled where Cargo builds in that folder.
fn app(root: &Path, name: &str, target: &str) -> PathBuf {
    let out = root.join("compiled");
    std::fs::create_dir_all(&out).expect("writable");
    let (host, guest, ambient) =
        (library("cofferdam"), library("cofferdam_guest"), library("ambient_authority"));
    let own = [("cofferdam", host.as_path()), ("cofferdam_guest", guest.as_path())];
    let client = rustc(&root.join(name), name, "src/lib.rs", "rlib", &out, target, &own);
    let ident = name.replace('-', "_");
    let all = [(ident.as_str(), client.as_path()), ("cofferdam", &host), ("ambient_authority", &ambient)];
    rustc(&root.join("app"), "app", "src/main.rs", "bin", &out, target, &all)
}

fn run(root: &Path, program: &Path) -> Run {
    let mut command = Command::new(program);
    command.current_dir(root).env_remove("COFFERDAM_LAUNCHER");
    Run::new(command.output().expect("it was built"))
}

/// A scaffold, checked and built. Its guests share a folder with those of other tests of this file.
fn scaffold(name: &str, options: &[&str], target: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut arguments = vec!["new", name];
    arguments.extend(options);
    let made = cofferdam(folder.path(), &arguments);
    let root = folder.path().join(name);
    assert!(made.stdout.contains("cargo run"), "{made}");
    // The same versions as this repository has: nothing is looked up.
    std::fs::copy(harness::root().join("Cargo.lock"), root.join("Cargo.lock")).expect("copied");
    let checked = cofferdam(&root, &["check", "--deny-warnings", "--manifest", "capabilities.toml"]);
    assert!(
        checked.stdout.contains("1 compartment") || checked.stderr.contains("1 compartment"),
        "{checked}"
    );
    let build = ["build", "--manifest", "capabilities.toml", "--guests", "Cargo.toml"];
    cofferdam_for(&root, &build, target);
    (folder, root)
}

#[test]
fn a_new_crate_builds_runs_and_passes_check_and_one_line_moves_it() {
    let (_folder, root) = scaffold("greeter", &[], "target");
    let program = app(&root, "greeter", "target");
    let ran = run(&root, &program);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "Good day, Ada.\n"), "{ran}");

    let manifest = root.join("capabilities.toml");
    let text = std::fs::read_to_string(&manifest).expect("readable");
    std::fs::write(&manifest, text.replace("backend = \"wasm\"", "backend = \"process\"")).expect("writable");
    // Not built yet: an error that says what to do, and no other way to run it.
    let ran = run(&root, &program);
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(
        ran.stderr.contains("`cofferdam build --manifest capabilities.toml --guests Cargo.toml` makes it"),
        "{ran}"
    );
    // No version, as nobody wrote one: any that is built would do.
    assert!(ran.stderr.contains("greeter-VERSION.elf`, of any version;"), "{ran}");
    cofferdam(&root, &["build", "--manifest", "capabilities.toml", "--guests", "Cargo.toml"]);
    let ran = run(&root, &program);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "Good day, Ada.\n"), "{ran}");

    std::fs::write(&manifest, text.replace("backend = \"wasm\"", "backend = \"inline\"")).expect("writable");
    let ran = run(&root, &program);
    assert!(ran.code == Some(1) && ran.stderr.contains("features = [\"inline\"]"), "{ran}");
}

#[test]
fn a_c_library_is_put_behind_a_process_boundary() {
    // Where Cargo builds elsewhere, `build` does too, and the generated program looks there.
    let (_folder, root) = scaffold("adler", &["--c"], "elsewhere");
    assert!(root.join("elsewhere/cofferdam/components").is_dir() && !root.join("target").exists());
    let ran = run(&root, &app(&root, "adler", "elsewhere"));
    // The example that Wikipedia's page about Adler-32 works through.
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "11e60398\n"), "{ran}");
}

#[test]
fn a_crate_is_added_to_a_workspace_that_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    cofferdam(folder.path(), &["new", "first"]);
    let root = folder.path().join("first");
    std::fs::copy(harness::root().join("Cargo.lock"), root.join("Cargo.lock")).expect("copied");
    let made = cofferdam(&root, &["new", "codecs/gif-decode", "--consumer", "app", "--backend", "process"]);
    assert!(made.stdout.contains("gif_decode::GifDecode::open"), "{made}");
    let read = |path: &str| std::fs::read_to_string(root.join(path)).expect("readable");
    assert!(read("Cargo.toml").contains("\"codecs/gif-decode\""), "{}", read("Cargo.toml"));
    assert!(
        read("app/Cargo.toml").contains("gif-decode = { path = \"../codecs/gif-decode\" }"),
        "{}",
        read("app/Cargo.toml")
    );
    let checked = cofferdam(&root, &["check", "--deny-warnings", "--manifest", "capabilities.toml"]);
    assert!(format!("{checked}").contains("2 compartments"), "{checked}");
}

#[test]
fn names_and_places_that_cannot_be_are_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("there")).expect("writable");
    for (arguments, says) in [
        (&["new", "Greeter"][..], "lowercase letters"),
        (&["new", "a--b"], "single hyphens"),
        (
            &["new", "a".repeat(65).as_str()],
            "a name of 65 characters is too long for a crate; it may have 64",
        ),
        (&["new", "9lives"], "lowercase letters"),
        (&["new", "type"], "`type` is taken"),
        (&["new", "app"], "`app` is taken"),
        // WIT has it for itself, and the consumer has one of that name.
        (&["new", "list"], "`list` is taken"),
        (&["new", "error-context"], "`error-context` is taken"),
        (&["new", "ambient-authority"], "`ambient-authority` is taken"),
        (&["new", "there"], "is there already"),
        (&["new", "a", "--cofferdam", "there"], "is no clone of Cofferdam"),
        (&["new", "a", "--consumer", "b"], "there is no workspace around"),
    ] {
        let run = cofferdam_with(folder.path(), arguments, &[]);
        assert_eq!(run.code, Some(2), "{arguments:?}: {run}");
        assert!(run.stderr.contains(says), "{arguments:?}: {run}");
    }
    let left = std::fs::read_dir(folder.path()).expect("readable").count();
    assert_eq!(left, 1, "nothing was written");
    cofferdam(folder.path(), &["new", "first"]);
    let run = cofferdam_in(&folder.path().join("first"), &["new", "second"]);
    assert!(run.code == Some(2) && run.stderr.contains("--consumer CRATE"), "{run}");
    let run = cofferdam_in(&folder.path().join("first"), &["new", "second", "--consumer", "nobody"]);
    assert!(run.code == Some(2) && run.stderr.contains("there is no crate `nobody`"), "{run}");
}
