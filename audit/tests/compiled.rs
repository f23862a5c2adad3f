//! What compiled code shows and source does not: each way to hide is a small crate, caught, and the layer that caught it named.
//!
//! One workspace holds them all, so that Cargo runs once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use ambient_authority::ambient_authority;
use capability_manifest::Capability;
use cargo_metadata::MetadataCommand;
use cofferdam_audit::{
    BuildOptions, CfgSet, Compiled, Graph, Reading, Sources, State, States, Table, Way, build_ambient,
    examine_ambient, read_sources_ambient,
};

/// Name, manifest beyond the first lines, and files.
type Member = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const MEMBERS: &[Member] = &[
    (
        "app",
        "[dependencies]\ngenerated = { path = '../generated' }\nexpanded = { path = '../expanded' }\nkernel = { path = '../kernel' }\nforeign = { path = '../foreign' }\ntyped = { path = '../typed' }\nunused = { path = '../unused' }\napplied = { path = '../applied' }\nspoofed = { path = '../spoofed' }\nsymbolic = { path = '../symbolic' }\ncaller = { path = '../caller' }\ntwice1 = { path = '../twice1', package = 'twice' }\ntwice2 = { path = '../twice2', package = 'twice' }\nerased = { path = '../erased' }\nscripted = { path = '../scripted' }\nbefore = { path = '../before' }\n",
        &[(
            "src/main.rs",
            "fn main() {
                generated::go();
                expanded::go();
                kernel::go();
                foreign::go();
                let mut command = typed::command();
                let _ = command.status();
                unused::used();
                let _ = applied::apply(std::fs::read_to_string::<&'static str>);
                applied::call(|| { let _ = std::net::UdpSocket::bind(\"127.0.0.1:0\"); });
                spoofed::go();
                erased::make(true).run();
                scripted::go();
                before::go();
                symbolic::link();
                caller::go();
                twice1::go();
                twice2::go();
            }",
        )],
    ),
    // What a build script writes is not read by the source layer.
    (
        "generated",
        "build = 'build.rs'\n",
        &[
            (
                "build.rs",
                "fn main() {
                    let folder = std::env::var(\"OUT_DIR\").unwrap();
                    std::fs::write(std::path::Path::new(&folder).join(\"made.rs\"),
                        \"pub fn go() { let _ = std::net::TcpStream::connect(\\\"127.0.0.1:1\\\"); }\").unwrap();
                }",
            ),
            ("src/lib.rs", "include!(concat!(env!(\"OUT_DIR\"), \"/made.rs\"));"),
        ],
    ),
    // Nor is what a procedural macro writes; and the macro itself reads a file while it runs.
    (
        "macros",
        "[lib]\nproc-macro = true\n",
        &[(
            "src/lib.rs",
            "use proc_macro::TokenStream;
            #[proc_macro]
            pub fn start(_: TokenStream) -> TokenStream {
                let _ = helper();
                \"let _ = std::process::Command::new(\\\"true\\\").spawn();\".parse().unwrap()
            }
            fn helper() -> bool { let path = std::path::Path::new(\"/etc/hostname\"); asks(path, |one| one.exists()) }
            fn asks<T: ?Sized>(one: &T, what: impl Fn(&T) -> bool) -> bool { what(one) }
            #[proc_macro]
            pub fn kernel(_: TokenStream) -> TokenStream {
                let arch = if cfg!(target_arch = \"x86_64\") { \"syscall\" } else { \"svc 0\" };
                format!(\"unsafe {{ core::arch::asm!({arch:?}) }}\").parse().unwrap()
            }",
        )],
    ),
    (
        "expanded",
        "[dependencies]\nmacros = { path = '../macros' }\n",
        &[("src/lib.rs", "pub fn go() { macros::start!(); }")],
    ),
    (
        "kernel",
        "[dependencies]\nmacros = { path = '../macros' }\n",
        &[("src/lib.rs", "pub fn go() { if std::hint::black_box(false) { macros::kernel!(); } }")],
    ),
    // C code: what it calls is its package's.
    (
        "foreign",
        "build = 'build.rs'\nlinks = 'hidden'\n",
        &[
            (
                "build.rs",
                "use std::process::Command;
                fn main() {
                    let out = std::env::var(\"OUT_DIR\").unwrap();
                    let run = |program: &str, arguments: &[&str]| {
                        assert!(Command::new(program).args(arguments).current_dir(&out).status().unwrap().success());
                    };
                    let source = std::path::Path::new(&std::env::var(\"CARGO_MANIFEST_DIR\").unwrap()).join(\"hidden.c\");
                    run(\"cc\", &[\"-c\", source.to_str().unwrap(), \"-o\", \"hidden.o\"]);
                    run(\"ar\", &[\"rcs\", \"libhidden.a\", \"hidden.o\"]);
                    println!(\"cargo::rustc-link-lib=static=hidden\");
                    println!(\"cargo::rustc-link-search=native={out}\");
                }",
            ),
            (
                "hidden.c",
                "#include <sys/socket.h>
                #include <unistd.h>
                static int inner(void) { return socket(AF_INET, SOCK_STREAM, 0); }
                int hidden(void) { return inner(); }
                int never(void) { return unlink(\"x\"); }",
            ),
            ("src/lib.rs", "unsafe extern \"C\" { fn hidden() -> i32; } pub fn go() { unsafe { hidden() }; }"),
        ],
    ),
    // The type of what is called is another crate's choice.
    ("typed", "", &[("src/lib.rs", "pub fn command() -> std::process::Command { std::process::Command::new(\"true\") }")]),
    (
        "unused",
        "",
        &[("src/lib.rs", "pub fn used() {} pub fn never() { let _ = std::fs::remove_file(\"x\"); }")],
    ),
    // What a crate does to a function that it is handed is the caller's.
    (
        "applied",
        "",
        &[(
            "src/lib.rs",
            "pub fn apply<F: Fn(&'static str) -> std::io::Result<String>>(f: F) -> bool { [\"a\"].into_iter().map(f).any(|one| one.is_ok()) }
            pub fn call(f: impl FnOnce()) { f() }",
        )],
    ),
    // A name that claims to be a part of std.
    (
        "spoofed",
        "",
        &[(
            "src/lib.rs",
            "#[unsafe(export_name = \"_RNvC3std4evil\")] pub extern \"C\" fn evil() { let _ = std::os::unix::net::UnixStream::connect(\"x\"); }
            pub fn go() { evil() }",
        )],
    ),
    // Only a table of functions leads there.
    (
        "erased",
        "",
        &[(
            "src/lib.rs",
            "pub trait Run { fn run(&self); }
            struct A; struct B;
            impl Run for A { fn run(&self) { std::thread::spawn(|| {}); } }
            impl Run for B { fn run(&self) {} }
            pub fn make(a: bool) -> Box<dyn Run> { if a { Box::new(A) } else { Box::new(B) } }",
        )],
    ),
    // A build script: Cargo's own variables are no use of anything, others are.
    (
        "scripted",
        "build = 'build.rs'\n[build-dependencies]\ntyped = { path = '../typed' }\n",
        &[
            (
                "build.rs",
                "fn main() {
                    println!(\"cargo::rerun-if-changed={}\", std::env::var(\"CARGO_MANIFEST_DIR\").unwrap());
                    if std::env::var_os(\"COFFERDAM_TEST_NEVER_SET\").is_some() { let _ = typed::command().status(); }
                }",
            ),
            ("src/lib.rs", "pub fn go() {}"),
        ],
    ),
    // A symbol by which code is called without depending on its crate.
    (
        "symbolic",
        "",
        &[("src/lib.rs", "#[unsafe(no_mangle)] pub extern \"C\" fn by_symbol() { unsafe { std::env::set_var(\"A\", \"b\") } } pub fn link() {}")],
    ),
    ("caller", "", &[("src/lib.rs", "unsafe extern \"C\" { fn by_symbol(); } pub fn go() { unsafe { by_symbol() } }")]),
    // Code that runs before `main`, by a list of the loader's.
    (
        "before",
        "",
        &[(
            "src/lib.rs",
            "extern \"C\" fn early() { let _ = std::env::vars_os().count(); }
            #[used] #[unsafe(link_section = \".init_array\")] static EARLY: extern \"C\" fn() = early;
            pub fn go() {}",
        )],
    ),
];

/// Two versions of one crate, which have one name in compiled code.
const TWICE: &[(&str, &str)] = &[
    ("1", "pub fn go() { let _ = std::time::SystemTime::now(); one() } pub fn one() {}"),
    ("2", "pub fn go() { two() } pub fn two() {}"),
];

struct Fixture {
    graph: Graph,
    sources: Sources,
    table: Table,
    compiled: Compiled,
    _folder: tempfile::TempDir,
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("below")).expect("a folder");
    std::fs::write(path, text).expect("written");
}

fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let names: Vec<String> = MEMBERS.iter().map(|(name, ..)| format!("'{name}'")).collect();
        let workspace = format!(
            "[workspace]\nresolver = '3'\nmembers = [{}]\nexclude = ['twice1', 'twice2']\n",
            names.join(", ")
        );
        write(folder.path(), "Cargo.toml", &workspace);
        for (version, text) in TWICE {
            let manifest = format!(
                "[package]\nname = 'twice'\nversion = '{version}.0.0'\nedition = '2024'\n[workspace]\n"
            );
            write(folder.path(), &format!("twice{version}/Cargo.toml"), &manifest);
            write(folder.path(), &format!("twice{version}/src/lib.rs"), text);
        }
        for (name, manifest, files) in MEMBERS {
            let head = format!("[package]\nname = '{name}'\nversion = '0.1.0'\nedition = '2024'\n");
            write(folder.path(), &format!("{name}/Cargo.toml"), &(head + manifest));
            for (file, text) in *files {
                write(folder.path(), &format!("{name}/{file}"), text);
            }
        }
        let mut command = MetadataCommand::new();
        command.manifest_path(folder.path().join("Cargo.toml")).other_options(["--offline".to_owned()]);
        let metadata = command.exec().expect("cargo metadata runs");
        let rustc = std::process::Command::new("rustc").args(["--print=cfg"]).output().expect("rustc runs");
        let cfg = CfgSet::from_lines(&String::from_utf8_lossy(&rustc.stdout));
        let graph = Graph::of_workspace(&metadata, cfg, None, |package| (*package.name == "app", None));
        let options = BuildOptions {
            folder: folder.path().to_owned(),
            target_folder: folder.path().join("target/cofferdam/audit"),
            arguments: vec!["--offline".to_owned()],
            packages: vec![("app".to_owned(), "0.1.0".to_owned())],
            ..BuildOptions::default()
        };
        let ambient = ambient_authority();
        let artifacts = build_ambient(&graph, &options, ambient).unwrap_or_else(|error| panic!("{error}"));
        let table = Table::load().expect("valid tables");
        let compiled = examine_ambient(&graph, &artifacts, &table, ambient).expect("readable");
        let sources = read_sources_ambient(&graph, Reading::Everything, None, &|_, _| {}, ambient)
            .expect("threads start");
        Fixture { graph, sources, table, compiled, _folder: folder }
    })
}

impl Fixture {
    fn states(&self) -> States<'_> {
        States::new(&self.graph, &self.sources, &self.table, Some(&self.compiled))
    }

    fn number(&self, name: &str) -> usize {
        self.graph.packages.iter().position(|package| package.name == name).expect("a member")
    }

    /// The state of a capability in a crate's own code, the layers that say so, and the way.
    fn own(&self, krate: &str, capability: &str) -> Option<(State, Vec<&'static str>, Way)> {
        let (states, package) = (self.states(), self.number(krate));
        let capability = Capability::from_name(capability);
        let state = *states.own(package).get(&capability)?;
        let layers = states.layers_within(package, &capability, state).names();
        let way = states.way_within(package, &capability, state).expect("whatever is there has a way");
        Some((state, layers, way))
    }

    fn over(&self, from: &str, to: &str) -> BTreeMap<String, State> {
        let states = self.states();
        let all = states.over(self.number(from), self.number(to));
        all.into_iter()
            .filter(|(capability, _)| !capability.granted_by_default())
            .map(|(capability, state)| (capability.to_string(), state))
            .collect()
    }

    fn used_over(&self, from: &str, to: &str) -> Vec<String> {
        let all = self.over(from, to);
        all.into_iter().filter(|(_, state)| *state == State::Used).map(|(name, _)| name).collect()
    }
}

/// Crate, capability, the layers that see it, and what is used at the end of the way.
const CAUGHT: &[(&str, &str, &[&str], &str)] = &[
    ("generated", "network.connect", &["objects", "linked"], "connect"),
    ("expanded", "process.spawn", &["objects", "linked"], "Command"),
    ("kernel", "raw-syscall", &["opcodes"], "kernel::go"),
    ("foreign", "network.connect", &["objects", "linked"], "socket"),
    ("macros", "build.filesystem.read", &["source", "linked"], "exists"),
    ("spoofed", "network.unix", &["source", "objects", "linked"], "connect"),
    ("erased", "thread", &["source", "objects", "linked"], "spawn"),
    ("before", "environment.read", &["source", "objects", "linked"], "vars_os"),
    ("app", "network.listen", &["source", "linked"], "bind"),
];

#[test]
fn what_is_hidden_from_source_is_caught_and_the_layer_is_named() {
    let fixture = fixture();
    for (krate, capability, layers, end) in CAUGHT {
        let (state, seen, way) =
            fixture.own(krate, capability).unwrap_or_else(|| panic!("{krate} does not reach {capability}"));
        assert_eq!(state, State::Used, "{krate}: {capability}");
        assert_eq!(seen, *layers, "{krate}: {capability}");
        assert!(way.what.contains(end), "{krate}: {capability}: {way:?}");
    }
}

#[test]
fn a_way_has_files_and_lines_and_names_each_crate() {
    let fixture = fixture();
    let states = fixture.states();
    let (app, generated) = (fixture.number("app"), fixture.number("generated"));
    let capability = Capability::from_name("network.connect");
    let way = states.way_over(app, generated, &capability, State::Used).expect("a way");
    let places: Vec<(&str, &str)> = way
        .places
        .iter()
        .map(|place| (fixture.graph.packages[place.package].name.as_str(), place.item.as_str()))
        .collect();
    assert_eq!(places, [("app", "app::main"), ("generated", "generated::go")]);
    assert_eq!((way.places[0].file.as_str(), way.places[0].line), ("src/main.rs", 2));
    assert!(way.places[1].file.ends_with("made.rs") && way.places[1].line == 1, "{way:?}");
}

#[test]
fn what_nothing_leads_to_is_compiled_and_not_used() {
    let fixture = fixture();
    let (state, layers, _) = fixture.own("unused", "filesystem.write").expect("it is compiled");
    assert_eq!(state, State::Compiled);
    assert_eq!(layers, ["source", "objects"]);
    // The same of C, where source says nothing.
    let (state, layers, way) = fixture.own("foreign", "filesystem.write").expect("it is compiled");
    assert_eq!(
        (state, layers, way.what.as_str()),
        (State::Compiled, vec!["objects", "linked"], "C `unlink`")
    );
    assert_eq!(fixture.used_over("app", "unused"), Vec::<String>::new());
    assert_eq!(fixture.over("app", "foreign").get("filesystem.write"), None, "nothing of app's leads there");
}

#[test]
fn what_is_handed_in_is_the_callers() {
    let fixture = fixture();
    assert_eq!(fixture.used_over("app", "applied"), Vec::<String>::new());
    assert!(fixture.own("applied", "filesystem.read").is_none());
    let (state, layers, _) = fixture.own("app", "filesystem.read").expect("the function is named in app");
    assert_eq!((state, layers), (State::Used, vec!["source", "linked"]));
}

#[test]
fn foreign_code_is_foreign_and_what_it_does_comes_over_the_edge() {
    let fixture = fixture();
    let used = fixture.used_over("app", "foreign");
    assert!(used.contains(&"ffi".to_owned()) && used.contains(&"network.connect".to_owned()), "{used:?}");
}

#[test]
fn a_symbol_without_a_dependency_is_foreign_to_who_calls_it_and_its_owners_own() {
    let fixture = fixture();
    let (state, layers, _) = fixture.own("symbolic", "environment.write").expect("it does that");
    assert_eq!((state, layers), (State::Used, vec!["source", "objects", "linked"]));
    let (state, layers, way) = fixture.own("caller", "ffi").expect("it calls a symbol");
    assert_eq!((state, way.what.as_str()), (State::Used, "C `by_symbol`"));
    assert_eq!(layers, ["source", "objects", "linked"]);
    assert_eq!(
        fixture.used_over("app", "caller"),
        ["ffi"],
        "what another crate does is not behind this edge"
    );
}

#[test]
fn two_versions_of_a_crate_are_told_apart() {
    let fixture = fixture();
    let states = fixture.states();
    let clock = Capability::from_name("clock");
    for (version, expected) in [("1.0.0", Some(State::Used)), ("2.0.0", None)] {
        let twice =
            |package: &cofferdam_audit::Package| package.name == "twice" && package.version == version;
        let package = fixture.graph.packages.iter().position(twice).expect("a dependency");
        assert_eq!(states.own(package).get(&clock).copied(), expected, "{version}");
        let layers = states.layers_within(package, &clock, State::Used).names();
        assert_eq!(layers.is_empty(), expected.is_none(), "{version}");
    }
}

#[test]
fn a_method_of_another_crates_type_is_found() {
    let fixture = fixture();
    let (state, layers, way) = fixture.own("app", "process.spawn").expect("app starts it");
    assert_eq!((state, layers), (State::Used, vec!["linked"]));
    assert!(way.what.contains("status"), "{way:?}");
}

#[test]
fn the_build_is_judged_without_what_is_cargos_own() {
    let fixture = fixture();
    let (_, layers, _) =
        fixture.own("scripted", "build.environment.read").expect("a variable that is not Cargo's");
    assert_eq!(layers, ["source", "linked"]);
    let (_, layers, _) = fixture.own("scripted", "build.process.spawn").expect("by a type of another crate");
    assert_eq!(layers, ["linked"]);
    assert!(fixture.own("generated", "build.environment.read").is_none(), "OUT_DIR is Cargo's");
    assert!(fixture.own("generated", "build.stdio").is_none());
    assert!(fixture.used_over("app", "scripted").contains(&"build.process.spawn".to_owned()));
    assert!(fixture.used_over("app", "expanded").contains(&"build.filesystem.read".to_owned()));
}

#[test]
fn nothing_is_left_unread_and_unknown_symbols_are_named() {
    let fixture = fixture();
    assert_eq!(fixture.compiled.unread, []);
    assert_eq!(fixture.compiled.unknown, [], "the tables know the C library, libm and the compiler's own");
    let unknown = fixture.states().used.unknowns();
    assert!(unknown.is_empty(), "what build scripts wrote was read: {unknown:?}");
    assert!(fixture.compiled.measure.programs >= 5 && fixture.compiled.measure.libraries >= 12);
}
