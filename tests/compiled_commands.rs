//! `--compiled`, as a user runs it: what only compiled code shows is found, named and judged, and what nobody granted does not run
//! in the build.

mod harness;

use harness::{Run, Workspace};
use serde_json::Value;

/// `app` is a program; `codec` has a build script that writes half of it, and a function of that half opens a socket.
fn workspace() -> Workspace {
    let workspace = Workspace::three_crates();
    workspace.write("app/src/main.rs", "fn main() {\n    codec::load();\n}\n");
    workspace.write(
        "codec/build.rs",
        "fn main() {
            let out = std::env::var(\"OUT_DIR\").unwrap();
            std::fs::write(format!(\"{out}/made.rs\"), \"pub fn load() { let _ = std::net::TcpStream::connect(\\\"127.0.0.1:1\\\"); }\").unwrap();
        }",
    );
    workspace.write(
        "codec/src/lib.rs",
        "include!(concat!(env!(\"OUT_DIR\"), \"/made.rs\"));\npub fn spare() { let _ = std::process::Command::new(\"sh\"); }\n",
    );
    workspace.write(
        "util/src/lib.rs",
        "pub fn command() -> std::process::Command { std::process::Command::new(\"touch\") }\n",
    );
    workspace
}

fn run(workspace: &Workspace, arguments: &[&str]) -> Run {
    let cache = workspace.path().join("cache");
    harness::cofferdam_with(
        workspace.path(),
        arguments,
        &[("COFFERDAM_CACHE", cache.to_str().expect("UTF-8"))],
    )
}

fn json(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run}"))
}

#[test]
fn what_only_compiled_code_shows_is_found_with_its_layers_and_its_way() {
    let workspace = workspace();
    let audit = run(&workspace, &["audit", "codec", "--compiled", "--offline", "--format", "json"]);
    assert_eq!(audit.code, Some(0), "{audit}");
    let audit = json(&audit);
    let uses = audit["crates"][0]["uses"].as_array().expect("a list");
    let of = |name: &str| uses.iter().find(|one| one["capability"] == name).cloned().unwrap_or_default();
    let connect = of("network.connect");
    assert_eq!(
        (connect["state"].as_str(), &connect["layers"]),
        (Some("used"), &serde_json::json!(["objects", "linked"]))
    );
    let spawn = of("process.spawn");
    assert_eq!(
        (spawn["state"].as_str(), &spawn["layers"]),
        (Some("compiled"), &serde_json::json!(["source", "objects"]))
    );
    assert_eq!(audit["compiled"]["unknown_symbols"], serde_json::json!([]));
    assert_eq!(audit["unknown"], serde_json::json!([]), "what the build script wrote was read");

    let without = run(&workspace, &["why", "app -> codec", "network.connect", "--offline"]);
    assert!(without.stdout.contains("does not reach"), "{without}");
    let why = run(&workspace, &["why", "app -> codec", "network.connect", "--compiled", "--offline"]);
    assert_eq!(why.code, Some(0), "{why}");
    let lines: Vec<&str> = why.stdout.lines().collect();
    assert_eq!(lines[0], "app -> codec: network.connect, used here; seen in linked", "{why}");
    assert_eq!(lines[1], "  app: app::main (src/main.rs:2)", "{why}");
    assert!(lines[2].starts_with("  -> codec: codec::load (") && lines[2].ends_with("made.rs:1)"), "{why}");
    assert!(lines[3].contains("TcpStream"), "{why}");

    let table = run(&workspace, &["audit", "--compiled", "--offline"]);
    assert!(table.stdout.contains("network.connect *"), "{table}");
}

#[test]
fn init_and_check_take_compiled_code_into_account() {
    let workspace = workspace();
    let init = run(&workspace, &["init", "--compiled", "--offline"]);
    assert_eq!(init.code, Some(0), "{init}");
    assert!(workspace.read("app/Cargo.toml").contains("connect"), "{}", workspace.read("app/Cargo.toml"));
    let check = run(&workspace, &["check", "--compiled", "--offline"]);
    assert_eq!(check.code, Some(0), "{check}");
    // The day that generated code reaches for more.
    let script = workspace.read("codec/build.rs");
    workspace.write(
        "codec/build.rs",
        &script.replace("let _ = std::net", "std::thread::spawn(|| {}); let _ = std::net"),
    );
    let by_source = run(&workspace, &["check", "--offline"]);
    assert!(!by_source.stderr.contains("`thread`"), "{by_source}");
    let check = run(&workspace, &["check", "--compiled", "--offline"]);
    assert_eq!(check.code, Some(4), "{check}");
    assert!(check.stderr.contains("does not grant `thread` to `codec`"), "{check}");
    assert!(check.stderr.contains("only compiled code shows it: linked"), "{check}");
}

#[test]
fn a_report_and_a_comparison_of_revisions_have_what_only_compiled_code_shows() {
    let workspace = workspace();
    let report = |more: &[&str]| {
        let arguments = ["report", "--format", "json", "--offline"].iter().chain(more);
        let report = run(&workspace, &arguments.copied().collect::<Vec<_>>());
        assert_eq!(report.code, Some(0), "{report}");
        let report = json(&report);
        let crates = report["crates"].as_array().expect("a list").iter();
        let codec = crates.into_iter().find(|one| one["name"] == "codec").expect("it is linked").clone();
        let uses = codec["uses"].as_array().expect("a list").iter();
        let used = uses.filter(|one| one["state"] == "used").map(|one| one["capability"].to_string());
        used.collect::<Vec<_>>()
    };
    let (by_source, with_compiled) = (report(&[]), report(&["--compiled"]));
    assert!(!by_source.contains(&"\"network.connect\"".to_owned()), "{by_source:?}");
    assert!(with_compiled.contains(&"\"network.connect\"".to_owned()), "{with_compiled:?}");

    let git = |arguments: &[&str]| workspace.git(arguments);
    workspace.write(".gitignore", "target\ncache\n");
    git(&["init", "--quiet"]);
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "--message", "before"]);
    let script = workspace.read("codec/build.rs");
    workspace.write(
        "codec/build.rs",
        &script.replace("let _ = std::net", "std::thread::spawn(|| {}); let _ = std::net"),
    );
    git(&["commit", "--quiet", "--all", "--message", "after"]);
    let gained = |diff: &Run| diff.stdout.contains("+ thread");
    let by_source = run(&workspace, &["diff", "HEAD~1", "HEAD", "--deny-new", "--offline"]);
    assert!(by_source.code == Some(0) && !gained(&by_source), "{by_source}");
    let compiled = run(&workspace, &["diff", "HEAD~1", "HEAD", "--deny-new", "--offline", "--compiled"]);
    assert!(compiled.code == Some(4) && gained(&compiled), "{compiled}");
    let versions = run(&workspace, &["diff", "codec@1.0.0", "codec@1.0.1", "--compiled"]);
    assert_eq!(versions.code, Some(2), "{versions}");
    assert!(versions.stderr.contains("`--compiled` builds revisions"), "{versions}");
}

#[test]
fn a_build_script_that_reaches_what_nobody_grants_does_not_run() {
    let workspace = workspace();
    assert_eq!(run(&workspace, &["init", "--compiled", "--offline"]).code, Some(0));
    let marker = workspace.path().join("it-ran");
    // By a type of another crate, so that source does not show it in the script.
    workspace.append("codec/Cargo.toml", "\n[build-dependencies]\nutil = { path = \"../util\" }\n");
    let script = workspace.read("codec/build.rs");
    let hostile =
        format!("fn main() {{ let _ = util::command().arg({:?}).status();", marker.display().to_string());
    workspace.write("codec/build.rs", &script.replace("fn main() {", &hostile));
    for command in [&["check", "--compiled", "--offline"][..], &["audit", "--compiled", "--offline"]] {
        let refused = run(&workspace, command);
        assert_eq!(refused.code, Some(4), "{refused}");
        let said = "the build script of `codec@0.1.0` reaches `build.process.spawn`, which no grant allows; it did not run";
        assert!(refused.stderr.contains(said), "{refused}");
        assert!(!marker.exists(), "it did not run");
    }
    // The control: the same script, granted.
    let (app, codec) = (workspace.read("app/Cargo.toml"), workspace.read("codec/Cargo.toml"));
    assert_eq!(run(&workspace, &["init", "--compiled", "--offline"]).code, Some(0));
    assert!(marker.exists(), "`init` grants what there is now, and runs it");
    std::fs::remove_file(&marker).expect("there");
    let check = run(&workspace, &["check", "--compiled", "--offline"]);
    assert_eq!(check.code, Some(0), "{check}");
    // What is compiled already is judged again when grants are taken away, before Cargo starts it again.
    workspace.write("app/Cargo.toml", &app);
    workspace.write("codec/Cargo.toml", &codec);
    workspace.write("codec/touched", "so that the script would run");
    let _ = std::fs::remove_file(&marker);
    let refused = run(&workspace, &["check", "--compiled", "--offline"]);
    assert_eq!(refused.code, Some(4), "{refused}");
    assert!(refused.stderr.contains("it did not run"), "{refused}");
    assert!(!marker.exists(), "it did not run");
}

#[test]
fn a_procedural_macro_that_reaches_what_nobody_grants_does_not_run() {
    let workspace = workspace();
    let marker = workspace.path().join("it-ran");
    workspace.write("util/src/lib.rs", "#[proc_macro] pub fn nothing(_: proc_macro::TokenStream) -> proc_macro::TokenStream { Default::default() }");
    workspace.append("util/Cargo.toml", "\n[lib]\nproc-macro = true\n");
    workspace.append("codec/src/lib.rs", "util::nothing!();\n");
    assert_eq!(run(&workspace, &["init", "--compiled", "--offline"]).code, Some(0));
    assert_eq!(run(&workspace, &["check", "--compiled", "--offline"]).code, Some(0));
    workspace.write(
        "util/src/lib.rs",
        &format!(
            "#[proc_macro] pub fn nothing(_: proc_macro::TokenStream) -> proc_macro::TokenStream {{ let _ = std::fs::File::create({:?}); Default::default() }}",
            marker.display().to_string()
        ),
    );
    // The wrapper of the compiler that the user has is called all the same.
    let (wrapper, wrapped) = (workspace.path().join("wrapper"), workspace.path().join("wrapped"));
    workspace.write("wrapper", &format!("#!/bin/sh\ntouch {}\nexec \"$@\"\n", wrapped.display()));
    std::fs::set_permissions(&wrapper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("set");
    let refused = harness::cofferdam_with(
        workspace.path(),
        &["check", "--compiled", "--offline"],
        &[
            ("COFFERDAM_CACHE", workspace.path().join("cache").to_str().expect("UTF-8")),
            ("RUSTC_WRAPPER", wrapper.to_str().expect("UTF-8")),
        ],
    );
    assert!(wrapped.exists(), "{refused}");
    assert_eq!(refused.code, Some(4), "{refused}");
    let said = "the procedural macro of `util@0.1.0` reaches `build.filesystem.write`, which no grant allows; it did not run";
    assert!(refused.stderr.contains(said), "{refused}");
    assert!(!marker.exists(), "it did not run");
}

#[test]
fn another_platform_and_code_that_does_not_compile_are_said_to_be_no_use() {
    let workspace = workspace();
    let other = run(&workspace, &["audit", "--compiled", "--target", "aarch64-pc-windows-msvc", "--offline"]);
    assert_eq!(other.code, Some(2), "{other}");
    workspace.write("util/src/lib.rs", "pub fn command() -> u8 { \"\" }\n");
    let broken = run(&workspace, &["audit", "--compiled", "--offline"]);
    assert_eq!(broken.code, Some(3), "{broken}");
    assert!(
        broken.stderr.contains("`cargo build` failed") && broken.stderr.contains("mismatched types"),
        "{broken}"
    );
}
