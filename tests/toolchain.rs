//! Compiling guests: finding a compiler, fetching one, and building only what has changed.
//!
//! These tests need a compiler for guests, and fetch one when the machine has none: some minutes and 165 MB, once, into the
//! user's cache folder.

mod guest_sources;

use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use ambient_authority::ambient_authority;
use cofferdam_toolchain::{
    CargoOutput, GuestArtifact, GuestCrate, GuestKind, GuestTarget, Origin, Programs, Progress, Settings,
    SetupReport, SetupRequest, Toolchain, ToolchainError, build_guest_ambient, setup_ambient,
};
use guest_sources::copy_guests;
use sha2::{Digest as _, Sha256};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is in the repository").to_owned()
}

fn settings() -> Settings {
    Settings::from_environment_ambient(ambient_authority()).expect("this machine has a cache folder")
}

/// Whoever waits for the tests sees why.
fn tell(news: Progress<'_>) {
    if let Progress::Step(text) | Progress::Note(text) = news {
        let _ = writeln!(std::io::stderr(), "{text}");
    }
}

/// Debian's packages, whatever else is installed: with C, and the same everywhere.
fn debian() -> &'static Toolchain {
    static FOUND: OnceLock<Toolchain> = OnceLock::new();
    FOUND.get_or_init(|| {
        let settings = Settings { installed_rust: false, ..settings() };
        let report = setup_ambient(&settings, SetupRequest { c: true }, &mut tell, ambient_authority());
        report.unwrap_or_else(|error| panic!("{error}")).toolchain
    })
}

/// The toolchain that a user of this machine would have.
fn usual() -> &'static Toolchain {
    static FOUND: OnceLock<Toolchain> = OnceLock::new();
    FOUND.get_or_init(|| {
        debian();
        let report = setup_ambient(&settings(), SetupRequest { c: true }, &mut tell, ambient_authority());
        report.unwrap_or_else(|error| panic!("{error}")).toolchain
    })
}

/// A copy of the guests that a test may change. Tests take turns: what Cargo makes of the guests' dependencies is the same for
/// all, and is kept between runs.
struct Guests {
    _turn: MutexGuard<'static, ()>,
    workspace: PathBuf,
    output: PathBuf,
}

impl Guests {
    fn new(name: &str) -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let workspace = scratch.join("guests").join(name);
        if workspace.exists() {
            std::fs::remove_dir_all(&workspace).expect("removable");
        }
        copy_guests(&root(), &workspace);
        Self { _turn: turn, workspace, output: scratch.join("guests-output") }
    }

    fn crate_of(&self, package: &str) -> GuestCrate {
        GuestCrate::library(self.workspace.join("Cargo.toml"), package)
    }

    fn try_build(&self, toolchain: &Toolchain, package: &str) -> Result<GuestArtifact, ToolchainError> {
        self.try_crate(toolchain, &self.crate_of(package))
    }

    fn try_crate(&self, toolchain: &Toolchain, guest: &GuestCrate) -> Result<GuestArtifact, ToolchainError> {
        build_guest_ambient(
            toolchain,
            guest,
            &self.output,
            CargoOutput::Keep,
            &mut |_| {},
            ambient_authority(),
        )
    }

    fn build(&self, toolchain: &Toolchain, package: &str) -> GuestArtifact {
        self.try_build(toolchain, package).unwrap_or_else(|error| panic!("{error}"))
    }
}

/// The names that a component imports and exports.
fn interface(artifact: &GuestArtifact) -> (Vec<String>, Vec<String>) {
    let bytes = std::fs::read(&artifact.component).expect("the component is there");
    assert_eq!(bytes.len() as u64, artifact.bytes);
    let decoded = wit_component::decode(&bytes).expect("a component");
    let resolve = decoded.resolve();
    let wit_component::DecodedWasm::Component(_, world) = &decoded else { panic!("not a component") };
    let world = &resolve.worlds[*world];
    let names = |keys: Vec<_>| keys.into_iter().map(|key| resolve.name_world_key(key)).collect();
    (names(world.imports.keys().collect()), names(world.exports.keys().collect()))
}

/// What every guest with a standard library must have got from its world, whatever compiled it.
fn builds_all(toolchain: &Toolchain, name: &str) {
    let guests = Guests::new(name);
    for (package, functions) in [
        ("echo", &["echo", "greet", "read-file"][..]),
        ("cgreet", &["greet", "checksum"]),
        ("stopwatch", &["measure"]),
    ] {
        let artifact = guests.build(toolchain, package);
        let (imports, exports) = interface(&artifact);
        assert_eq!(exports, functions);
        assert_eq!(imports, artifact.imports);
        assert!(artifact.rebuilt || artifact == guests.build(toolchain, package));
        let clock = imports.iter().any(|name| name.starts_with("wasi:clocks/monotonic-clock@0.2."));
        assert_eq!(clock, package == "stopwatch", "{imports:?}");
    }
    let program = GuestCrate { kind: GuestKind::Command, ..guests.crate_of("hello") };
    let artifact = guests.try_crate(toolchain, &program).unwrap_or_else(|error| panic!("{error}"));
    let (_, exports) = interface(&artifact);
    assert!(exports.len() == 1 && exports[0].starts_with("wasi:cli/run@0.2."), "{exports:?}");
}

#[test]
fn debian_packages_build_guests() {
    assert_eq!(debian().target(), GuestTarget::Wasip1);
    builds_all(debian(), "debian");
}

#[test]
fn the_usual_toolchain_builds_guests() {
    builds_all(usual(), "usual");
}

#[test]
fn what_has_not_changed_is_not_built() {
    let guests = Guests::new("unchanged");
    let first = guests.build(usual(), "cgreet");
    // A Cargo that does not exist cannot be asked.
    let settings = settings();
    let programs = Programs { cargo: "/nonexistent/cargo".into(), ..settings.programs.clone() };
    let blind =
        Toolchain::find_ambient(&Settings { programs, ..settings }, ambient_authority()).expect("there");
    assert_eq!(blind.id(), usual().id());
    let second = guests.build(&blind, "cgreet");
    assert_eq!(second, GuestArtifact { rebuilt: false, ..first });

    let touched = |what: &str| match guests.try_build(&blind, "cgreet") {
        Err(ToolchainError::Workspace { .. }) => {}
        other => panic!("{what}: Cargo was not asked: {other:?}"),
    };
    for file in [
        "cgreet/c/greet.c",
        "cgreet/c/greet.h",
        "cgreet/src/lib.rs",
        "cgreet/wit/cgreet.wit",
        "Cargo.lock",
        "Cargo.toml",
    ] {
        let path = guests.workspace.join(file);
        let text = std::fs::read(&path).expect("readable");
        std::fs::write(&path, text).expect("writable");
        touched(file);
        assert_eq!(guests.build(usual(), "cgreet").sha256, second.sha256, "{file}");
        guests.build(&blind, "cgreet");
    }
    // Neither what is in the way of the component, nor a component that is not the one that was made, is taken for it.
    std::fs::write(&second.component, "not what was made").expect("writable");
    touched("the component");
    assert_eq!(guests.build(usual(), "cgreet").sha256, second.sha256);
    std::fs::write(guests.workspace.join("rust-toolchain.toml"), "").expect("writable");
    touched("a file that was not there");
}

#[test]
fn what_has_changed_is_built() {
    let guests = Guests::new("changed");
    let first = guests.build(usual(), "cgreet");
    for (file, from, to) in [
        ("cgreet/c/greet.h", "Hello from C, ", "Good morning from C, "),
        ("cgreet/c/greet.c", "%.*s!", "%.*s."),
        ("cgreet/src/lib.rs", "name.len() + 64", "name.len() + 65"),
    ] {
        let path = guests.workspace.join(file);
        let old = std::fs::read_to_string(&path).expect("readable");
        assert!(old.contains(from), "{file}");
        let before = guests.build(usual(), "cgreet");
        std::fs::write(&path, old.replace(from, to)).expect("writable");
        let after = guests.build(usual(), "cgreet");
        assert!(after.rebuilt, "{file}");
        assert_ne!(after.sha256, before.sha256, "{file}");
        assert!(!guests.build(usual(), "cgreet").rebuilt, "{file}");
    }
    assert_ne!(guests.build(usual(), "cgreet").sha256, first.sha256);
}

#[test]
fn another_toolchain_is_not_taken_for_the_same() {
    let guests = Guests::new("another");
    guests.build(usual(), "echo");
    assert!(!guests.build(usual(), "echo").rebuilt);
    // An SDK of the user's own for C is another toolchain. Cargo, which does not exist here, would have to be asked.
    let folder = tempfile::tempdir().expect("a folder");
    for path in ["bin", "share/wasi-sysroot"] {
        std::fs::create_dir_all(folder.path().join(path)).expect("writable");
    }
    std::fs::write(folder.path().join("bin/clang"), "").expect("writable");
    let settings = settings();
    let programs = Programs {
        wasi_sdk: Some(folder.path().to_owned()),
        cargo: "/nonexistent/cargo".into(),
        ..settings.programs.clone()
    };
    let other =
        Toolchain::find_ambient(&Settings { programs, ..settings }, ambient_authority()).expect("there");
    assert_ne!(other.id(), usual().id());
    assert!(matches!(guests.try_build(&other, "echo"), Err(ToolchainError::Workspace { .. })));

    if debian().id() != usual().id() {
        let first = guests.build(usual(), "echo");
        let second = guests.build(debian(), "echo");
        assert!(second.rebuilt);
        assert_ne!(second.sha256, first.sha256);
    }
}

#[test]
fn a_guest_that_does_not_compile_says_what_cargo_says() {
    let guests = Guests::new("broken");
    let path = guests.workspace.join("echo/src/lib.rs");
    let text = std::fs::read_to_string(&path).expect("readable");
    std::fs::write(&path, text.replace("data\n", "dota\n")).expect("writable");
    let message = guests.try_build(usual(), "echo").expect_err("it does not compile").to_string();
    assert!(message.starts_with("cannot build the guest `echo` for wasm32-wasip"), "{message}");
    assert!(message.contains("cannot find value `dota`") && message.contains("echo/src/lib.rs"), "{message}");

    let unknown = guests.try_build(usual(), "nobody").expect_err("there is none").to_string();
    assert!(unknown.contains("has no package `nobody`"), "{unknown}");
    let program = GuestCrate { kind: GuestKind::Command, ..guests.crate_of("cgreet") };
    let none = guests.try_crate(usual(), &program).expect_err("it is a library").to_string();
    assert_eq!(none, "the guest `cgreet` has no program to build");
}

#[test]
fn without_a_compiler_for_c_the_error_says_how_to_get_one() {
    let guests = Guests::new("no-c");
    let cache = tempfile::tempdir().expect("a folder");
    // The compiler that the other tests use, without the cache folder that has the C compiler.
    let mut settings = Settings { cache: cache.path().join("cache"), ..settings() };
    settings.programs.wasi_sdk = None;
    let Ok(toolchain) = Toolchain::find_ambient(&settings, ambient_authority()) else {
        // Only Debian's packages compile guests here, and they have C always.
        assert!(debian().c_compiler().is_some());
        return;
    };
    assert!(toolchain.c_compiler().is_none());
    let message = guests.try_build(&toolchain, "cgreet").expect_err("there is C in it").to_string();
    assert!(message.contains("cofferdam setup --c"), "{message}");
}

/// A machine of scripts, for what cannot be had of a real one on demand: packages of a few bytes, a compiler that knows no
/// WebAssembly, a server that sends rubbish. `dpkg-deb` is the real one.
struct Machine {
    folder: PathBuf,
    settings: Settings,
}

impl Machine {
    const LLVM: [&str; 8] = [
        "libllvm9",
        "clang-9",
        "libclang-cpp9",
        "libclang-common-9-dev",
        "lld-9",
        "libclang-rt-9-dev-wasm32",
        "wasi-libc",
        "rust-web-llvm",
    ];

    fn new(folder: &Path) -> Self {
        let machine = Self {
            folder: folder.to_owned(),
            settings: Settings {
                cache: folder.join("cache"),
                installed_rust: true,
                programs: Programs {
                    rustc: folder.join("bin/rustc"),
                    cargo: folder.join("bin/cargo"),
                    rustup: folder.join("bin/rustup"),
                    apt_get: folder.join("bin/apt-get"),
                    apt_cache: folder.join("bin/apt-cache"),
                    wasi_sdk: None,
                    ..settings().programs
                },
                ..settings()
            },
        };
        for inner in ["bin", "server", "lists"] {
            std::fs::create_dir_all(folder.join(inner)).expect("writable");
        }
        let here = folder.display();
        machine.script("bin/rustc", "echo /nonexistent");
        machine.script("bin/rustup", "echo 'error: the network is closed' >&2; exit 1");
        // Like the real one, it shows what the lists have, and fails for what they have not.
        machine.script("bin/apt-cache", &format!("for name; do :; done; cat {here}/lists/$name"));
        machine.script(
            "bin/apt-get",
            &format!(
                "for name; do :; done; name=${{name%%=*}}\n\
                 echo $name >> {here}/asked\n\
                 case \"$*\" in *update) exit 0;; esac\n\
                 if [ -e {here}/slow ]; then sleep 0.2; fi\n\
                 if [ -e {here}/dies-at-$name ]; then head -c 100 {here}/server/$name.deb > x.deb; exit 100; fi\n\
                 cp {here}/server/$name.deb x.deb"
            ),
        );
        machine.script(
            "bin/cargo",
            &format!(
                "echo $$ >> {here}/built; test -x \"$RUSTC\" || exit 1\n\
                 mkdir -p target/wasm32-wasip1/release/deps; echo > target/wasm32-wasip1/release/deps/libstd-1.rlib"
            ),
        );
        machine
    }

    fn script(&self, path: &str, text: &str) {
        let path = self.folder.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("writable");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("set");
    }

    /// Offers everything that a toolchain needs.
    fn offer_all(&self) {
        self.offer("rustc-web", "libstd-rust-web-dev (= 1), gcc", &["usr/bin/rustc"]);
        self.offer("libstd-rust-web-dev", "libstd-rust-web-1.0", &[]);
        self.offer("libstd-rust-web-1.0", "libc6, libllvm9, libgcc-s1", &[]);
        self.offer("rust-web-src", "", &[]);
        for name in Self::LLVM {
            let files: &[&str] = match name {
                "clang-9" => &["usr/bin/clang-9"],
                "lld-9" => &["usr/bin/rust-lld"],
                "wasi-libc" => &[
                    "usr/lib/wasm32-wasi/libc.a",
                    "usr/lib/wasm32-wasi/crt1-command.o",
                    "usr/lib/wasm32-wasi/crt1-reactor.o",
                ],
                _ => &[],
            };
            self.offer(name, "", files);
        }
    }

    /// Makes a package with some programs in it, and puts it into the lists.
    fn offer(&self, name: &str, depends: &str, files: &[&str]) {
        let tree = self.folder.join("trees").join(name);
        for file in files {
            self.script(&format!("trees/{name}/{file}"), "echo version 1");
        }
        std::fs::create_dir_all(tree.join("DEBIAN")).expect("writable");
        let control = format!(
            "Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\nDescription: x\n"
        );
        std::fs::write(tree.join("DEBIAN/control"), &control).expect("writable");
        let package = self.folder.join("server").join(format!("{name}.deb"));
        let made = Command::new("dpkg-deb")
            .args(["--build", "--root-owner-group"])
            .arg(&tree)
            .arg(&package)
            .output();
        assert!(made.expect("Debian").status.success());
        let bytes = std::fs::read(&package).expect("readable");
        let sha256: Vec<String> = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let sha256 = sha256.concat();
        let depends = if depends.is_empty() { String::new() } else { format!("Depends: {depends}\n") };
        let shown = format!("{control}{depends}Size: {}\nSHA256: {sha256}\n", bytes.len());
        std::fs::write(self.folder.join("lists").join(name), shown).expect("writable");
    }

    fn setup(&self) -> Result<(SetupReport, Vec<String>), ToolchainError> {
        let mut said = Vec::new();
        let mut tell = |news: Progress<'_>| {
            if let Progress::Step(text) | Progress::Note(text) = news {
                said.push(text.to_owned());
            }
        };
        let report = setup_ambient(&self.settings, SetupRequest { c: true }, &mut tell, ambient_authority())?;
        Ok((report, said))
    }

    /// How often something was asked for.
    fn asked(&self, name: &str) -> usize {
        let text = std::fs::read_to_string(self.folder.join("asked")).unwrap_or_default();
        text.lines().filter(|line| *line == name).count()
    }
}

#[test]
fn setup_asks_rustup_and_then_takes_packages() {
    let folder = tempfile::tempdir().expect("a folder");
    let machine = Machine::new(folder.path());
    machine.offer_all();
    let missing =
        Toolchain::find_ambient(&machine.settings, ambient_authority()).expect_err("nothing is there");
    let message = missing.to_string();
    assert!(
        message.starts_with("no compiler for guests: ") && message.ends_with("run `cofferdam setup`"),
        "{message}"
    );
    assert!(!machine.settings.cache.exists(), "looking makes nothing");

    let (report, said) = machine.setup().unwrap_or_else(|error| panic!("{error}"));
    assert!(report.changed);
    assert_eq!(report.rustup.as_deref(), Some("rustup answers: error: the network is closed"));
    assert!(said.contains(&"rustup target add wasm32-wasip2".to_owned()), "{said:?}");
    assert_eq!(report.toolchain.target(), GuestTarget::Wasip1);
    let Origin::Debian(root) = report.toolchain.origin() else { panic!("not from packages") };
    assert!(root.starts_with(&machine.settings.cache));
    assert!(report.toolchain.c_compiler().is_some_and(|c| c.clang().starts_with(root)));
    let mode = std::fs::metadata(&machine.settings.cache).expect("made").mode();
    assert_eq!(mode & 0o777, 0o700);
    let left: Vec<_> = std::fs::read_dir(&machine.settings.cache).expect("readable").flatten().collect();
    assert_eq!(left.len(), 2, "the toolchain and the lock: {left:?}");

    let (again, said) = machine.setup().unwrap_or_else(|error| panic!("{error}"));
    assert!(!again.changed && said.is_empty(), "{said:?}");
    assert_eq!(machine.asked("clang-9"), 1);
}

#[test]
fn rustup_is_enough_where_it_can_and_the_second_target_where_there_is_no_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let machine = Machine::new(folder.path());
    let here = folder.path().display();
    // A compiler with a folder of libraries for each target, and a rustup that fills the one that it is asked for.
    machine.script(
        "bin/rustc",
        &format!("if [ \"$1\" = -vV ]; then echo 'rustc 1.95.0'; else for target; do :; done; echo {here}/rustlib/$target; fi"),
    );
    machine.script(
        "bin/rustup",
        &format!("echo \"$*\" >> {here}/rustup-asked; mkdir -p {here}/rustlib/$3; echo > {here}/rustlib/$3/libstd-1.rlib"),
    );
    let request = SetupRequest { c: false };
    let setup = || setup_ambient(&machine.settings, request, &mut |_| {}, ambient_authority());
    let report = setup().unwrap_or_else(|error| panic!("{error}"));
    assert!(report.changed && report.rustup.is_none(), "rustup had nothing to say");
    assert_eq!(report.toolchain.target(), GuestTarget::Wasip2);
    assert_eq!(report.toolchain.origin(), &Origin::Installed);
    let asked = std::fs::read_to_string(folder.path().join("rustup-asked")).expect("it was asked");
    assert_eq!(asked, "target add wasm32-wasip2\n");
    assert_eq!(machine.asked("rust-web-llvm"), 0, "no package was looked at");
    assert!(!setup().expect("it is there").changed);

    // The first target is taken as long as it is there, and the other one, with the adapter, where it is not.
    let find = || Toolchain::find_ambient(&machine.settings, ambient_authority());
    let rustlib = |target: &str| folder.path().join("rustlib").join(target);
    std::fs::create_dir_all(rustlib("wasm32-wasip1")).expect("writable");
    std::fs::write(rustlib("wasm32-wasip1").join("libstd-1.rlib"), "").expect("writable");
    assert_eq!(find().expect("two").target(), GuestTarget::Wasip2);
    let first = find().expect("two").id().to_owned();
    std::fs::remove_dir_all(rustlib("wasm32-wasip2")).expect("writable");
    let found = find().expect("one");
    assert_eq!((found.target(), found.origin()), (GuestTarget::Wasip1, &Origin::Installed));
    assert_ne!(found.id(), first, "what was built with one is not taken for what the other would build");
    // A folder without the standard library is no target.
    std::fs::remove_file(rustlib("wasm32-wasip1").join("libstd-1.rlib")).expect("writable");
    assert!(matches!(find(), Err(ToolchainError::Missing { .. })));
}

#[test]
fn two_setups_at_once_do_the_work_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let machine = Machine::new(folder.path());
    machine.offer_all();
    std::fs::write(folder.path().join("slow"), "").expect("writable");
    let reports: Vec<(SetupReport, Vec<String>)> = std::thread::scope(|scope| {
        let run = || machine.setup().unwrap_or_else(|error| panic!("{error}"));
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(run)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert_eq!(reports.iter().filter(|(report, _)| report.changed).count(), 1);
    let waited = "another setup is running; waiting for it to end".to_owned();
    assert_eq!(reports.iter().filter(|(_, said)| said.contains(&waited)).count(), 2);
    assert_eq!(machine.asked("clang-9"), 1);
    let built = std::fs::read_to_string(folder.path().join("built")).expect("it was built");
    assert_eq!(built.lines().count(), 1);
}

#[test]
fn what_was_interrupted_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().expect("a folder");
    let machine = Machine::new(folder.path());
    machine.offer_all();
    let dies = folder.path().join("dies-at-rustc-web");
    std::fs::write(&dies, "").expect("writable");
    let error = machine.setup().expect_err("the download dies").to_string();
    assert!(error.starts_with("downloading rustc-web failed"), "{error}");
    Toolchain::find_ambient(&machine.settings, ambient_authority()).expect_err("half a toolchain is none");
    std::fs::remove_file(&dies).expect("removable");
    // A file that was cut off, under its final name.
    let packages = machine.settings.cache.join("packages");
    let cut = packages.join("lld-9_1.deb");
    let whole = std::fs::read(&cut).expect("downloaded before");
    std::fs::write(&cut, &whole[..whole.len() / 2]).expect("writable");

    machine.setup().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(machine.asked("clang-9"), 1, "it was there and right");
    assert_eq!(machine.asked("lld-9"), 2, "it was cut off");
    assert_eq!(machine.asked("rustc-web"), 2, "it died");
}

#[test]
fn a_package_that_is_not_what_the_lists_say_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let machine = Machine::new(folder.path());
    machine.offer_all();
    let package = folder.path().join("server/clang-9.deb");
    let right = std::fs::read(&package).expect("readable");
    let mut wrong = right.clone();
    let last = wrong.len() - 1;
    wrong[last] ^= 1;
    std::fs::write(&package, &wrong).expect("writable");
    match machine.setup() {
        Err(ToolchainError::Corrupt { path, expected, found }) => {
            assert!(!path.exists(), "it is not kept");
            assert_ne!(expected, found);
        }
        other => panic!("{other:?}"),
    }
    assert!(!machine.settings.cache.join("packages/clang-9_1.deb").exists());
    // The same size in the cache folder, from an earlier run, is not trusted either.
    std::fs::write(machine.settings.cache.join("packages/clang-9_1.deb"), &wrong).expect("writable");
    std::fs::write(&package, &right).expect("writable");
    machine.setup().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(machine.asked("clang-9"), 2);
}

#[test]
fn old_lists_are_brought_up_to_date_in_a_folder_of_our_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let machine = Machine::new(folder.path());
    // The system's lists are empty; those of our own have everything.
    machine.offer_all();
    std::fs::rename(folder.path().join("lists"), folder.path().join("fresh")).expect("renamed");
    let here = folder.path().display();
    machine.script(
        "bin/apt-cache",
        &format!(
            "for name; do :; done; case \"$*\" in *Dir::State::Lists={here}/cache/apt/lists*) cat {here}/fresh/$name;; \
             *) exit 100;; esac"
        ),
    );
    let (report, said) = machine.setup().unwrap_or_else(|error| panic!("{error}"));
    assert!(report.changed);
    assert!(said.iter().any(|step| step.contains("a folder of our own")), "{said:?}");
    assert_eq!(machine.asked("update"), 1);
}

#[test]
fn where_nothing_works_the_error_says_what_each_way_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut machine = Machine::new(folder.path());
    let message = machine.setup().expect_err("the lists are empty").to_string();
    assert!(message.contains("rustup answers: error: the network is closed"), "{message}");
    assert!(message.contains("the package lists offer no `rustc-web`"), "{message}");
    assert!(message.contains("rustup target add wasm32-wasip2"), "{message}");

    machine.settings.programs.rustup = "/nonexistent/rustup".into();
    machine.settings.programs.apt_cache = "/nonexistent/apt-cache".into();
    let message = machine.setup().expect_err("there is nothing").to_string();
    assert!(message.contains("there is no rustup"), "{message}");
    assert!(message.contains("this is no Debian system"), "{message}");
}

#[test]
fn a_cache_folder_that_others_may_write_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let machine = Machine::new(folder.path());
    machine.offer_all();
    let cache = &machine.settings.cache;
    std::fs::create_dir(cache).expect("writable");
    std::fs::set_permissions(cache, std::fs::Permissions::from_mode(0o770)).expect("set");
    assert!(matches!(machine.setup(), Err(ToolchainError::OpenCache { .. })));
    std::fs::set_permissions(cache, std::fs::Permissions::from_mode(0o755)).expect("set");
    machine.setup().unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_cache_folder_that_no_search_path_can_name_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut machine = Machine::new(folder.path());
    machine.offer_all();
    machine.settings.cache = folder.path().join("a:b");
    assert!(matches!(machine.setup(), Err(ToolchainError::UnlistableCache { .. })));
    machine.settings.cache = folder.path().join("a b");
    machine.setup().unwrap_or_else(|error| panic!("{error}"));
}
