//! What the static side finds in code, and what it must not find: each construct in a small workspace of its own, run as a
//! user runs it.

mod harness;

use std::collections::BTreeSet;

use harness::{Run, Workspace};
use sha2::{Digest, Sha256};

/// `app -> codec -> util`, with the source of each.
fn workspace(app: &str, codec: &str, util: &str) -> Workspace {
    let workspace = Workspace::three_crates();
    workspace.write("app/src/lib.rs", app);
    workspace.write("codec/src/lib.rs", codec);
    workspace.write("util/src/lib.rs", util);
    workspace
}

fn run(workspace: &Workspace, arguments: &[&str]) -> Run {
    let (cache, home) = (workspace.path().join("cache"), workspace.path().join("home"));
    let mut variables = vec![("COFFERDAM_CACHE", cache.to_str().expect("UTF-8"))];
    if home.is_dir() {
        variables.push(("CARGO_HOME", home.to_str().expect("UTF-8")));
    }
    harness::cofferdam_with(workspace.path(), arguments, &variables)
}

/// What an edge brings, or what a crate uses by itself.
fn found(workspace: &Workspace, subject: &str) -> BTreeSet<String> {
    let run = run(workspace, &["audit", "--format", "json"]);
    assert_eq!(run.code, Some(0), "{run}");
    let document: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
    let names = |list: &serde_json::Value| -> BTreeSet<String> {
        let list = list.as_array().expect("a list").iter();
        list.map(|one| one["capability"].as_str().expect("text").to_owned()).collect()
    };
    let is = |value: &serde_json::Value, name: &str| {
        value.as_str().is_some_and(|text| text.split('@').next() == Some(name))
    };
    match subject.split_once(" -> ") {
        Some((from, to)) => {
            let edges = document["edges"].as_array().expect("a list").iter();
            let edge = edges.into_iter().find(|edge| is(&edge["from"], from) && is(&edge["to"], to));
            names(&edge.expect("the edge is there")["brings"])
        }
        None => {
            let crates = document["crates"].as_array().expect("a list").iter();
            names(
                &crates.into_iter().find(|one| is(&one["krate"], subject)).expect("the crate is there")["uses"],
            )
        }
    }
}

/// A whole message, as it is drawn.
fn snapshot(name: &str, run: &Run) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("snapshots/audit");
    settings.set_prepend_module_to_snapshot(false);
    // Cargo says so when another test holds its lock.
    settings.add_filter(r"(?m)^ +Blocking waiting for file lock on .*\n", "");
    settings.bind(|| insta::assert_snapshot!(name, run.to_string()));
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A root's own code, all of which counts as used.
fn own(code: &str) -> BTreeSet<String> {
    found(&workspace(code, "", ""), "app")
}

#[test]
fn each_construct_is_found() {
    for (code, expected) in [
        ("pub fn f() { let _ = std::fs::read(\"x\"); }", "filesystem.read"),
        ("use std::fs; pub fn f() { let _ = fs::read(\"x\"); }", "filesystem.read"),
        ("use std::fs::*; pub fn f() { let _ = read(\"x\"); }", "filesystem.read"),
        ("use std::fs as files; pub fn f() { let _ = files::write(\"x\", b\"\"); }", "filesystem.write"),
        (
            "use std::{fs::{self, File as F}}; pub fn f() { let _ = F::create(\"x\"); let _ = fs::read; }",
            "filesystem.write",
        ),
        ("use std as s; pub fn f() { let _ = s::net::TcpStream::connect(\"a:1\"); }", "network.connect"),
        ("type S = std::net::TcpStream; pub fn f() { let _ = S::connect(\"a:1\"); }", "network.connect"),
        ("pub fn f() { let g: fn(_) -> _ = std::env::var::<&str>; let _ = g(\"X\"); }", "environment.read"),
        ("pub fn f() { let _ = <std::fs::File>::open(\"x\"); }", "filesystem.read"),
        ("pub fn f() { use std::process as p; let _ = p::Command::new(\"sh\").spawn(); }", "process.spawn"),
        ("pub fn f(p: &std::path::Path) -> bool { p.exists() }", "filesystem.read"),
        ("pub fn f() { println!(\"x\"); }", "stdio"),
        ("pub fn f() { let _ = vec![std::fs::read(\"x\")]; }", "filesystem.read"),
        (
            "macro_rules! m { ($x:expr) => { ::std::fs::read($x) } } pub fn f() { let _ = m!(\"x\"); }",
            "filesystem.read",
        ),
        (
            "macro_rules! m { () => { use std::fs as q; let _ = q::read(\"x\"); } } pub fn f() { m!(); }",
            "filesystem.read",
        ),
        (
            "macro_rules! m { ($($t:tt)*) => { $($t)* } } m! { pub fn f() { let _ = std::fs::read(\"x\"); } }",
            "filesystem.read",
        ),
        (
            "mod inner { pub use std::fs::read as harmless; } pub fn f() { let _ = inner::harmless(\"x\"); }",
            "filesystem.read",
        ),
        ("pub fn f() { unsafe { core::arch::asm!(\"syscall\") } }", "raw-syscall"),
        ("pub fn f() { unsafe { core::arch::asm!(\"nop\") } }", "asm"),
        (
            "unsafe extern \"C\" { fn connect(a: i32) -> i32; } pub fn f() { unsafe { connect(1); } }",
            "network.connect",
        ),
        ("unsafe extern \"C\" { fn sqlite3_open(); } pub fn f() { unsafe { sqlite3_open() } }", "ffi"),
        (
            "unsafe extern \"C\" { #[link_name = \"dlopen\"] fn harmless(); } pub fn f() { unsafe { harmless() } }",
            "dlopen",
        ),
        ("#[unsafe(no_mangle)] pub extern \"C\" fn malloc() {}", "init"),
        ("pub static KEY: &str = env!(\"HOME\");", "build.embed"),
        ("pub static KEY: &str = include_str!(\"/etc/hostname\");", "build.embed"),
        ("pub fn f() { std::panic::set_hook(Box::new(|_| {})); }", "runtime-hook"),
        (
            "use std::os::fd::FromRawFd; pub fn f() { let _ = unsafe { std::fs::File::from_raw_fd(3) }; }",
            "handle-forge",
        ),
        ("pub fn f() { std::thread::spawn(|| {}); }", "thread"),
        ("pub fn f() { let _ = std::time::SystemTime::now(); }", "clock"),
        ("pub trait T { fn go(&self) { let _ = std::fs::read(\"x\"); } }", "filesystem.read"),
        ("pub static F: fn(&str) -> std::io::Result<Vec<u8>> = |p| std::fs::read(p);", "filesystem.read"),
    ] {
        let all = own(code);
        assert!(all.contains(expected), "{expected} is not in {all:?} for:\n{code}");
    }
}

#[test]
fn what_reaches_nothing_is_not_accused() {
    for code in [
        "pub fn f(mut file: std::fs::File) { use std::io::Read; let _ = file.read(&mut [0]); }",
        "pub fn f(x: &std::fs::Metadata) -> u64 { x.len() }",
        "pub fn read(x: &str) -> &str { x } pub fn f() { let _ = read(\"x\"); }",
        "mod fs { pub fn read(_: &str) {} } pub fn f() { fs::read(\"x\"); }",
        "#[cfg(windows)] pub fn f() { let _ = std::fs::read(\"x\"); }",
        "#[cfg(test)] mod tests { #[test] fn f() { let _ = std::fs::read(\"x\"); } }",
        "pub fn f() { #[cfg(windows)] { let _ = std::fs::read(\"x\"); } }",
        "pub struct S; impl S { pub fn exists(&self) -> bool { true } } pub fn f(s: &S) -> bool { s.exists() }",
        "pub fn f() -> String { format!(\"{}\", \"std::fs::read\") }",
        "// std::fs::read(\"x\")\n/// std::fs::read\npub fn f() {}",
        "pub static V: &str = env!(\"CARGO_PKG_VERSION\");",
        "pub static V: &str = include_str!(\"lib.rs\");",
        "unsafe extern \"C\" { fn strlen(x: *const u8) -> usize; } pub fn f(x: *const u8) -> usize { unsafe { strlen(x) } }",
        "pub fn f(x: *const u8) -> u8 { unsafe { *x } }",
    ] {
        assert_eq!(own(code), set(&[]), "for:\n{code}");
    }
}

#[test]
fn an_option_that_only_reads_is_reading() {
    assert_eq!(
        own("pub fn f() { let _ = std::fs::OpenOptions::new().read(true).open(\"x\"); }"),
        set(&["filesystem.read"])
    );
    assert_eq!(
        own("pub fn f() { let _ = std::fs::OpenOptions::new().append(true).open(\"x\"); }"),
        set(&["filesystem.write"])
    );
}

#[test]
fn an_edge_brings_only_what_its_consumer_uses() {
    let codec = "pub fn pure() -> u8 { 1 } pub fn reads() { let _ = std::fs::read(\"x\"); }";
    let pure = workspace("pub fn f() -> u8 { codec::pure() }", codec, "");
    assert_eq!(found(&pure, "app -> codec"), set(&[]));
    let reads = workspace("pub fn f() { codec::reads() }", codec, "");
    assert_eq!(found(&reads, "app -> codec"), set(&["filesystem.read"]));
}

#[test]
fn reach_goes_through_crates_methods_and_re_exports() {
    let util = "pub struct Store; impl Store { pub fn load(&self) { let _ = std::fs::read(\"x\"); } pub fn len(&self) -> u8 { 0 } }";
    let codec = "pub use util::*; pub fn store() -> util::Store { util::Store }";
    let loads = workspace("pub fn f() { codec::store().load() }", codec, util);
    assert_eq!(found(&loads, "app -> codec"), set(&["filesystem.read"]));
    assert_eq!(found(&loads, "codec -> util"), set(&["filesystem.read"]));
    let counts = workspace("pub fn f() { codec::store().len(); }", codec, util);
    assert_eq!(found(&counts, "app -> codec"), set(&[]));
    let named = workspace("pub fn f(s: &codec::Store) { codec::Store::load(s) }", codec, util);
    assert_eq!(found(&named, "app -> codec"), set(&["filesystem.read"]));
}

#[test]
fn authority_handed_in_is_the_callers() {
    let codec = "pub fn each(f: impl Fn(u8)) { f(1) } pub trait Sink { fn put(&self); } pub fn drive(s: &dyn Sink) { s.put() }";
    let app = "pub struct Mine; impl codec::Sink for Mine { fn put(&self) { let _ = std::fs::write(\"x\", b\"\"); } }
        pub fn f() { codec::each(|_| { let _ = std::fs::read(\"x\"); }); codec::drive(&Mine); }";
    let workspace = workspace(app, codec, "");
    assert_eq!(found(&workspace, "app -> codec"), set(&[]));
    assert_eq!(found(&workspace, "app"), set(&["filesystem.read", "filesystem.write"]));
}

#[test]
fn modules_are_found_where_the_compiler_finds_them() {
    let workspace =
        workspace("#[path = \"odd/place.rs\"] pub mod odd; pub mod a; include!(\"more.rs\");", "", "");
    workspace.write("app/src/odd/place.rs", "pub fn f() { let _ = std::fs::read(\"x\"); }");
    workspace.write("app/src/a.rs", "pub mod b { pub mod c; }");
    workspace.write("app/src/a/b/c.rs", "pub fn f() { std::thread::spawn(|| {}); }");
    workspace.write("app/src/more.rs", "pub fn g() { let _ = std::time::Instant::now(); }");
    assert_eq!(found(&workspace, "app"), set(&["filesystem.read", "thread", "clock"]));
}

#[test]
fn a_build_script_is_judged_before_it_runs() {
    let workspace = workspace("pub fn f() { codec::x() }", "pub fn x() {}", "");
    workspace.write("util/build.rs", "fn main() { let _ = std::net::TcpStream::connect(\"evil.example:80\"); println!(\"cargo::rerun-if-changed=x\"); }");
    // Nobody uses anything of `util`; compiling it is enough.
    assert_eq!(found(&workspace, "codec -> util"), set(&["build.network.connect", "build.script"]));
    assert_eq!(found(&workspace, "app -> codec"), set(&["build.network.connect", "build.script"]));
}

#[test]
fn init_then_check_passes_and_a_new_reach_fails() {
    let workspace = workspace(
        "pub fn f() { codec::load() }",
        "pub fn load() { let _ = util::fetch(); }",
        "pub fn fetch() -> Option<String> { std::env::var(\"UTIL_HOME\").ok() }",
    );
    workspace.append("util/Cargo.toml", "# a comment that stays\n");
    let dry = run(&workspace, &["init", "--dry-run"]);
    assert_eq!(dry.code, Some(0), "{dry}");
    assert!(dry.stderr.contains("+environment = { read = [\"UTIL_HOME\"] }"), "{dry}");
    assert!(!workspace.read("Cargo.toml").contains("capabilities"), "nothing is written");
    let init = run(&workspace, &["init"]);
    assert_eq!(init.code, Some(0), "{init}");
    assert!(workspace.read("util/Cargo.toml").contains("# a comment that stays"));
    let check = run(&workspace, &["check", "--deny-warnings"]);
    assert_eq!(check.code, Some(0), "{check}");
    let again = run(&workspace, &["init"]);
    assert!(again.stdout.contains("nothing is missing"), "{again}");

    workspace.write(
        "util/src/lib.rs",
        "pub fn fetch() -> Option<String> { let _ = std::net::TcpStream::connect(\"evil.example:80\"); std::env::var(\"UTIL_HOME\").ok() }",
    );
    let check = run(&workspace, &["check"]);
    assert_eq!(check.code, Some(4), "{check}");
    snapshot("new_reach", &check);
    let sarif = run(&workspace, &["check", "--format", "sarif"]);
    let document: serde_json::Value = serde_json::from_str(&sarif.stdout).expect("JSON");
    assert_eq!(document["version"], "2.1.0");
    let results = document["runs"][0]["results"].as_array().expect("a list");
    assert!(
        results.iter().any(|one| one["ruleId"] == "reach-not-granted" && one["level"] == "error"),
        "{document}"
    );
    let json = run(&workspace, &["check", "--format", "json"]);
    let document: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(
        document["outcome"], "denied",
        "the code denies, although the manifests agree with each other"
    );
    assert_eq!(run(&workspace, &["check", "--no-code"]).code, Some(0));
    let accepted = run(&workspace, &["init"]);
    assert_eq!(accepted.code, Some(0), "{accepted}");
    // The host that the source names, and no example.
    assert!(workspace.read("Cargo.toml").contains("network = { connect = [\"evil.example:80\"] }"));
    assert_eq!(run(&workspace, &["check"]).code, Some(0));
}

/// A dependency that came to read more is granted no more than the lines above it give, which stay as they are.
#[test]
fn init_keeps_what_is_new_within_the_lines_that_are_there() {
    let reads = |variable: &str| format!("pub fn read() {{ let _ = std::env::var(\"{variable}\"); }}");
    let workspace =
        workspace("pub fn f() { codec::load() }", "pub fn load() { util::read() }", &reads("UTIL_HOME"));
    assert_eq!(run(&workspace, &["init"]).code, Some(0));
    let grown = workspace.read("codec/Cargo.toml");
    let line = "environment = { read = [\"UTIL_HOME\"] }";
    assert!(grown.contains(line), "{grown}");
    // The line of the last edge goes, and the code reaches one variable that `codec` has and one that it has not.
    let table = format!("[package.metadata.capabilities.grants.util]\n{line}\n");
    let without = grown.replace(&table, "");
    assert_ne!(without, grown);
    workspace.write("codec/Cargo.toml", &without);
    workspace.write(
        "util/src/lib.rs",
        "pub fn read() { let _ = (std::env::var(\"UTIL_HOME\"), std::env::var(\"TOKEN\")); }",
    );
    let narrowed = run(&workspace, &["init"]);
    assert_eq!(narrowed.code, Some(0), "{narrowed}");
    snapshot("init_narrowed", &narrowed);
    assert!(workspace.read("codec/Cargo.toml").contains(line), "{}", workspace.read("codec/Cargo.toml"));
    let check = run(&workspace, &["check"]);
    assert_eq!(check.code, Some(0), "{check}");

    // Nothing that it has: then nothing is granted, and both say so.
    workspace.write("codec/Cargo.toml", &without);
    workspace.write("util/src/lib.rs", &reads("TOKEN"));
    let before = workspace.read("codec/Cargo.toml");
    let left_out = run(&workspace, &["init"]);
    assert_eq!(left_out.code, Some(4), "{left_out}");
    snapshot("init_left_out", &left_out);
    assert_eq!(workspace.read("codec/Cargo.toml"), before);
    assert_eq!(run(&workspace, &["check"]).code, Some(4));

    // Code that names no variable works with those that there are.
    workspace.write("util/src/lib.rs", "pub fn read() { let _ = std::env::vars(); }");
    let unnamed = run(&workspace, &["init"]);
    assert_eq!(unnamed.code, Some(0), "{unnamed}");
    assert!(workspace.read("codec/Cargo.toml").contains(line), "{}", workspace.read("codec/Cargo.toml"));
    assert_eq!(run(&workspace, &["check"]).code, Some(0));
}

/// `Cofferdam.toml` holds the workspace's tables instead of the root's `Cargo.toml`, and nothing else.
#[test]
fn the_workspaces_tables_may_stand_in_a_file_of_their_own() {
    let workspace = workspace(
        "pub fn f() { codec::load() }",
        "pub fn load() { util::read() }",
        "pub fn read() { let _ = std::fs::read(\"x\"); }",
    );
    let manifests = || {
        ["Cargo.toml", "app/Cargo.toml", "codec/Cargo.toml", "util/Cargo.toml"]
            .map(|path| workspace.read(path))
    };
    let before = manifests();
    workspace.write("Cofferdam.toml", "[workspace.metadata.capabilities]\nroots = [\"app\"]\n");
    let init = run(&workspace, &["init"]);
    assert_eq!(init.code, Some(0), "{init}");
    assert_eq!(manifests(), before, "only the one file is written");
    let written = workspace.read("Cofferdam.toml");
    for line in
        ["roots = [\"app\"]", "\"app -> codec\" = { filesystem = { read = [\".\"] } }", "\"codec -> util\" ="]
    {
        assert!(written.contains(line), "`{line}` is not in:\n{written}");
    }
    assert_eq!(run(&workspace, &["check"]).code, Some(0));
    // What is granted there is what is compared.
    workspace.write("util/src/lib.rs", "pub fn read() { std::process::exit(1) }");
    let denied = run(&workspace, &["check"]);
    assert_eq!(denied.code, Some(4), "{denied}");
    assert!(denied.stderr.contains("in Cofferdam.toml, or with `cofferdam init`"), "{denied}");
    assert_eq!(run(&workspace, &["init"]).code, Some(0));
    assert_eq!(run(&workspace, &["check"]).code, Some(0));
    assert_eq!(manifests(), before);
    // Two places, and what nobody would read, are refused.
    workspace.append("Cargo.toml", "[workspace.metadata.capabilities.holds]\nclock = true\n");
    let twice = run(&workspace, &["check"]);
    assert_eq!(twice.code, Some(3), "{twice}");
    assert!(twice.stderr.contains("stand in `Cargo.toml` and in `Cofferdam.toml`"), "{twice}");
    workspace.write("Cargo.toml", &before[0]);
    for (text, known) in [
        ("[holds]\nclock = true\n", "`holds`"),
        ("[workspace]\nmembers = []\n", "`members`"),
        ("[workspace.metadata.other]\n", "`other`"),
        ("workspace = 1\n", "Cofferdam.toml"),
    ] {
        workspace.write("Cofferdam.toml", text);
        let refused = run(&workspace, &["check"]);
        assert_eq!(refused.code, Some(3), "{text}: {refused}");
        assert!(refused.stderr.contains(known), "{refused}");
    }
}

#[test]
fn unsafe_code_that_reaches_authority_says_which() {
    let code = |comment: &str| {
        format!(
            "unsafe extern \"C\" {{ fn mmap(); }}\npub fn f() {{\n    {comment}\n    unsafe {{ mmap() }}\n}}\npub fn g(x: *const u8) -> u8 {{ unsafe {{ *x }} }}\n"
        )
    };
    let said = |comment: &str| {
        let workspace = workspace(&code(comment), "", "");
        assert_eq!(run(&workspace, &["init"]).code, Some(0));
        run(&workspace, &["check"])
    };
    let untagged = said("// SAFETY: none");
    assert!(
        untagged.stderr.contains("warning[untagged-unsafe]: unsafe code in `f` of `app` reaches"),
        "{untagged}"
    );
    assert!(!untagged.stderr.contains("`g`"), "memory alone needs no word: {untagged}");
    let tagged = said("// capability: mmap.file, mmap.anonymous, mmap.executable\n    // SAFETY: none");
    assert!(!tagged.stderr.contains("untagged-unsafe"), "{tagged}");
}

#[test]
fn hostile_sources_are_unknown_and_harm_nobody() {
    let workspace = workspace(
        "pub mod deep; pub mod chain; pub mod handed; pub mod binary; pub mod gone; pub mod outside; pub mod circle;",
        "",
        "",
    );
    workspace.write(
        "app/src/deep.rs",
        &format!("pub static X: u8 = {}1{};", "(".repeat(100_000), ")".repeat(100_000)),
    );
    workspace.write(
        "app/src/chain.rs",
        &format!("pub fn f() -> bool {{ let _ = std::fs::read(\"x\"); {}true }}", "!".repeat(200_000)),
    );
    // The same as the input of a macro, which is parsed by itself where the file is.
    workspace.write(
        "app/src/handed.rs",
        &format!("pub fn f() {{ let _ = std::fs::write(\"x\", \"\"); m!({}true) }}", "!".repeat(4_000_000)),
    );
    std::fs::write(workspace.path().join("app/src/binary.rs"), [0xff, 0xfe, 0x00]).expect("writable");
    workspace.write("app/src/circle.rs", "#[path = \"circle.rs\"] pub mod circle;");
    workspace.write("app/src/outside.rs", "include!(\"/etc/passwd\");");
    let run = run(&workspace, &["audit", "--format", "json"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let document: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
    let unknown = document["unknown"].to_string();
    for file in ["deep.rs", "binary.rs", "gone.rs", "circle.rs", "/etc/passwd"] {
        assert!(unknown.contains(file), "{file} is not in {unknown}");
    }
    // What cannot be parsed is read token by token.
    assert_eq!(document["by_token"], 2);
    assert_eq!(found(&workspace, "app"), set(&["build.embed", "filesystem.read", "filesystem.write"]));
}

#[test]
fn what_cannot_be_analysed_fails_until_someone_accepts_it() {
    let workspace = workspace("pub fn f() { codec::g() }", "pub mod gone; pub fn g() {}", "");
    workspace.append("Cargo.toml", "\n[workspace.metadata.capabilities.holds]\nclock = true\n");
    let check = run(&workspace, &["check"]);
    assert_eq!(check.code, Some(4), "{check}");
    assert!(
        check.stderr.contains("error[not-analysed]: one file of `codec 0.1.0` could not be analysed"),
        "{check}"
    );
    let accepted = run(&workspace, &["check", "--accept-unknown", "codec"]);
    assert_eq!(accepted.code, Some(0), "{accepted}");
}

#[test]
fn claims_are_compared_with_code() {
    let workspace = workspace("pub fn f() { let _ = std::fs::read(\"x\"); }", "", "");
    workspace
        .append("app/Cargo.toml", "\n[package.metadata.capabilities]\nconsumes = { clock = \"stamps\" }\n");
    workspace.append(
        "Cargo.toml",
        "\n[workspace.metadata.capabilities.holds]\nclock = true\nfilesystem = { read = [\".\"] }\n",
    );
    let check = run(&workspace, &["check"]);
    assert_eq!(check.code, Some(4), "{check}");
    assert!(
        check
            .stderr
            .contains("error[reach-not-declared]: `app` uses `filesystem.read` and does not declare it"),
        "{check}"
    );
    assert!(
        check.stderr.contains("warning[unused-claim]: `app` declares `clock`, and none of its code uses it"),
        "{check}"
    );
}

#[test]
fn the_findings_about_claims_files_and_unsafe_code_as_they_are_drawn() {
    let workspace = workspace(
        "pub mod gone;\nunsafe extern \"C\" { fn connect(); }\npub fn f() { unsafe { connect() } }\n",
        "",
        "",
    );
    workspace
        .append("app/Cargo.toml", "\n[package.metadata.capabilities]\nconsumes = { clock = \"stamps\" }\n");
    workspace
        .append("codec/Cargo.toml", "\n[package.metadata.capabilities]\nconsumes = { thread = \"works\" }\n");
    workspace.append("app/Cargo.toml", "\n[package.metadata.capabilities.grants.codec]\nthread = true\n");
    workspace
        .append("Cargo.toml", "\n[workspace.metadata.capabilities.holds]\nclock = true\nthread = true\n");
    snapshot("claims_files_and_unsafe", &run(&workspace, &["check"]));
}

/// `app` above `leaf`, which reads a file and is from a registry of the workspace's own.
fn from_a_registry() -> Workspace {
    let workspace = Workspace::new(&[
        (
            "Cargo.toml",
            "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[dependencies]\nleaf = \"1\"\n",
        ),
        (
            "from/leaf/Cargo.toml",
            "[package]\nname = \"leaf\"\nversion = \"1.0.0\"\nedition = \"2024\"\n[workspace]\n",
        ),
    ]);
    workspace.write("src/lib.rs", "pub fn f() { leaf::f() }");
    workspace.write("from/leaf/src/lib.rs", "pub fn f() { let _ = std::fs::read(\"x\"); }");
    let packed = std::process::Command::new(env!("CARGO"))
        .args(["package", "--no-verify", "--allow-dirty", "--offline", "--quiet"])
        .current_dir(workspace.path().join("from/leaf"))
        .env("CARGO_TARGET_DIR", workspace.path().join("packed"))
        .output()
        .expect("Cargo runs");
    assert!(packed.status.success(), "{packed:?}");
    let package =
        std::fs::read(workspace.path().join("packed/package/leaf-1.0.0.crate")).expect("it was packed");
    let sum = Sha256::digest(&package).iter().fold(String::new(), |sum, byte| format!("{sum}{byte:02x}"));
    workspace.write(
        "registry/index/le/af/leaf",
        &format!(
            "{{\"name\":\"leaf\",\"vers\":\"1.0.0\",\"deps\":[],\"cksum\":\"{sum}\",\"features\":{{}},\"yanked\":false}}"
        ),
    );
    std::fs::write(workspace.path().join("registry/leaf-1.0.0.crate"), package).expect("writable");
    workspace.write(
        "home/config.toml",
        &format!(
            "[source.crates-io]\nreplace-with = \"own\"\n[source.own]\nlocal-registry = \"{}\"\n",
            workspace.path().join("registry").display()
        ),
    );
    workspace
}

/// Where Cargo unpacked the package.
fn unpacked(workspace: &Workspace) -> String {
    let sources = workspace.path().join("home/registry/src");
    let registry = std::fs::read_dir(sources).expect("it was unpacked").next().expect("one registry");
    let file = registry.expect("readable").path().join("leaf-1.0.0/src/lib.rs");
    file.strip_prefix(workspace.path()).expect("it is in the workspace").to_str().expect("UTF-8").to_owned()
}

/// The files of the cache.
fn cached(workspace: &Workspace) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![workspace.path().join("cache")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files
}

/// What somebody makes of a file.
type Spoil<'s> = &'s dyn Fn(&[u8]) -> Vec<u8>;

#[test]
fn a_cached_summary_is_used_and_a_spoilt_one_is_not() {
    let workspace = from_a_registry();
    let reads = set(&["filesystem.read"]);
    assert_eq!(found(&workspace, "app -> leaf"), reads);
    let files = cached(&workspace);
    let mut kinds: Vec<&str> =
        files.iter().map(|file| file.extension().expect("a kind").to_str().expect("UTF-8")).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["files", "looks", "source", "source", "verdict"]);
    let whole: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).expect("readable")).collect();

    // The cache is what is read: without the source the answer stays.
    workspace.write(&unpacked(&workspace), "");
    assert_eq!(found(&workspace, "app -> leaf"), reads);
    let verdict = files.iter().find(|file| file.extension().is_some_and(|kind| kind == "verdict"));
    std::fs::remove_file(verdict.expect("there is one")).expect("removable");
    assert_eq!(found(&workspace, "app -> leaf"), reads);

    // Cut off, changed in one bit, empty: read anew, so that the change of the source shows.
    let flip = |bytes: &[u8]| {
        let mut flipped = bytes.to_vec();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 1;
        flipped
    };
    let spoils: [Spoil<'_>; 3] = [&|bytes| bytes[..bytes.len() / 2].to_vec(), &flip, &|_| Vec::new()];
    for spoil in spoils {
        for (file, whole) in files.iter().zip(&whole) {
            std::fs::write(file, spoil(whole)).expect("writable");
        }
        assert_eq!(found(&workspace, "app -> leaf"), set(&[]));
        for (file, whole) in files.iter().zip(&whole) {
            assert_ne!(std::fs::read(file).expect("readable"), spoil(whole), "{} is mended", file.display());
        }
    }
}

/// What is vendored lies in the workspace, and its checksum says nothing about what lies there.
#[test]
fn a_vendored_crate_that_changes_is_read_anew() {
    let workspace = from_a_registry();
    workspace.write("vendor/leaf/Cargo.toml", &workspace.read("from/leaf/Cargo.toml"));
    workspace.write("vendor/leaf/src/lib.rs", &workspace.read("from/leaf/src/lib.rs"));
    let sum = format!("{{\"files\":{{}},\"package\":\"{}\"}}", "a".repeat(64));
    workspace.write("vendor/leaf/.cargo-checksum.json", &sum);
    let vendor = workspace.path().join("vendor");
    workspace.write(
        "home/config.toml",
        &format!("[source.crates-io]\nreplace-with = \"own\"\n[source.own]\ndirectory = {vendor:?}\n"),
    );
    assert_eq!(found(&workspace, "app -> leaf"), set(&["filesystem.read"]));
    workspace.write("vendor/leaf/src/lib.rs", "pub fn f() { std::process::exit(1) }");
    assert_eq!(found(&workspace, "app -> leaf"), set(&["process.exit"]));
}

/// What has no checksum is known from an earlier run only while all that was looked at is as it was.
#[test]
fn a_member_that_changes_is_read_anew() {
    let workspace = workspace("mod more; pub fn f() { codec::load() }", "pub fn load() {}", "");
    assert_eq!(found(&workspace, "app"), set(&[]));
    assert_eq!(found(&workspace, "app"), set(&[]));
    // A file that was not there.
    workspace.write("app/src/more.rs", "pub fn g() { std::thread::spawn(|| {}); }");
    assert_eq!(found(&workspace, "app"), set(&["thread"]));
    // Another text of the same length.
    workspace.write("app/src/more.rs", "pub fn g() { std::process::exit(1);; }  ");
    assert_eq!(found(&workspace, "app"), set(&["process.exit"]));
    // A file in two places, and a dependency of it.
    workspace.write("app/src/more/mod.rs", "");
    workspace.write("codec/src/lib.rs", "pub fn load() { let _ = std::fs::read(\"x\"); }");
    assert_eq!(found(&workspace, "app -> codec"), set(&["filesystem.read"]));
    std::fs::remove_file(workspace.path().join("app/src/more.rs")).expect("removable");
    assert_eq!(found(&workspace, "app"), set(&[]));
    // Another feature, and another platform.
    workspace.append("codec/Cargo.toml", "\n[features]\ndefault = [\"net\"]\nnet = []\n");
    workspace.write("codec/src/lib.rs", "#[cfg(feature = \"net\")] pub fn load() { std::process::exit(1) }");
    assert_eq!(found(&workspace, "app -> codec"), set(&["process.exit"]));
    let manifest = workspace.read("codec/Cargo.toml").replace("[\"net\"]", "[]");
    workspace.write("codec/Cargo.toml", &manifest);
    assert_eq!(found(&workspace, "app -> codec"), set(&[]));
}

/// Writes a workspace of many crates, each above up to three others; the last ones read a file.
fn many_crates(folder: &std::path::Path, count: usize) {
    let write = |path: &str, text: &str| {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
        std::fs::write(path, text).expect("writable");
    };
    write("Cargo.toml", "[workspace]\nmembers = [\"c*\"]\nresolver = \"3\"\n");
    let part = |at: usize| {
        format!(
            "/// Part.\npub fn part{at}(at: usize) -> Vec<crate::Own> {{\n\
             let all: Vec<usize> = (0..at).map(|one| one + {at}).collect();\n\
             all.iter().map(|at| crate::Own {{ at: *at }}).collect()\n}}\n"
        )
    };
    let parts = (0..60).map(part).collect::<Vec<_>>().concat();
    for index in 0..count {
        let below = BTreeSet::from([index * 2 + 1, index * 2 + 2, index + 7]);
        let below: Vec<usize> = below.into_iter().filter(|at| *at < count).collect();
        let each = |line: &dyn Fn(&usize) -> String| below.iter().map(line).collect::<Vec<_>>().concat();
        let lines = each(&|at| format!("c{at} = {{ path = \"../c{at}\" }}\n"));
        write(
            &format!("c{index}/Cargo.toml"),
            &format!(
                "[package]\nname = \"c{index}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[dependencies]\n{lines}"
            ),
        );
        let uses = each(&|at| format!("pub use c{at}::run as run{at};\n"));
        let calls = each(&|at| format!("run{at}(at);"));
        let last = if below.is_empty() { "let _ = std::fs::read(\"x\");" } else { "" };
        write(
            &format!("c{index}/src/lib.rs"),
            &format!(
                "pub mod parts;\npub struct Own {{ at: usize }}\n{uses}pub fn run(at: usize) {{ parts::part0(at); {calls} {last} }}\n"
            ),
        );
        write(&format!("c{index}/src/parts.rs"), &parts);
    }
}

/// A workspace of a thousand crates, read and judged within an address space that the kernel bounds, cold and warm.
#[test]
fn a_thousand_crates_fit_into_bounded_memory() {
    const CRATES: usize = 1000;
    /// KiB of address space: the stacks of two threads that parse are 1 GiB of it, of which next to nothing is ever touched.
    const MEMORY_KIB: u32 = 1_900_000;
    let folder = tempfile::tempdir().expect("a folder");
    many_crates(folder.path(), CRATES);
    for _ in ["cold", "warm"] {
        let script = format!("ulimit -v {MEMORY_KIB} && exec \"$0\" \"$@\"");
        let output = std::process::Command::new("bash")
            .args(["-c", &script, env!("CARGO_BIN_EXE_cofferdam"), "audit", "--format", "json"])
            .current_dir(folder.path())
            .env("COFFERDAM_CACHE", folder.path().join("kept"))
            .env("RAYON_NUM_THREADS", "2")
            .env("CARGO_NET_OFFLINE", "true")
            .output()
            .expect("bash is there");
        let run = Run::new(output);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        let document: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
        assert_eq!(document["crates"].as_array().expect("a list").len(), CRATES);
        let edges = document["edges"].as_array().expect("a list");
        assert!(edges.len() > 3 * CRATES / 2, "{}", edges.len());
        // The file that the lowest read is brought over every edge.
        let silent = edges.iter().filter(|edge| edge["brings"].as_array().is_none_or(Vec::is_empty));
        assert_eq!(silent.count(), 0);
    }
}

#[test]
fn a_file_is_read_up_to_the_limit_and_no_further() {
    let limit = usize::try_from(cofferdam_audit::limits::FILE_BYTES_MAX).expect("it fits");
    let code = "pub fn f() { std::thread::spawn(|| {}); }";
    for (length, uses, unknown) in [(limit, set(&["thread"]), 0), (limit + 1, set(&[]), 1)] {
        let workspace = workspace(&format!("{code}{}", " ".repeat(length - code.len())), "", "");
        assert_eq!(found(&workspace, "app"), uses, "{length} bytes");
        let run = run(&workspace, &["audit", "--format", "json"]);
        let document: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
        assert_eq!(document["unknown"].as_array().expect("a list").len(), unknown, "{length} bytes");
    }
}
