//! Ways out of a granted folder by the names of files: one guest, the same attempts on both backends.
//!
//! Each attempt has its exact outcome for each backend, what lies outside is looked at after each, and the attempts that are allowed
//! show that the others fail for what they ask and not for how.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(clippy::format_push_string, reason = "texts of a test, and short")]

mod components;
mod rounds;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ambient_authority::ambient_authority;
use cofferdam::process::ProcessHost;
use cofferdam::{AuditLog, EdgeName, Runtime, Source};
use components::{component, launcher, program};

const SECRET: &str = "what nobody granted";

struct App {
    attempts: paths::attempts::Attempts,
    runtime: Runtime,
    folder: tempfile::TempDir,
}

impl App {
    /// A folder `data` that is granted for writing, and `outside` beside it.
    fn new(backend: &str) -> Self {
        Self::with(backend, "filesystem = { write = [\"data\"] }")
    }

    fn with(backend: &str, grants: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        for name in ["data", "data/sub", "data/real", "outside"] {
            std::fs::create_dir(at(name)).expect("a folder");
        }
        for (name, text) in [("data/file", "mine"), ("data/real/key", "inside"), ("outside/key", SECRET)] {
            std::fs::write(at(name), text).expect("writable");
        }
        let absolute = at("outside/key");
        for (to, name) in [
            (Path::new("file"), "data/good-link"),
            (Path::new("../outside/key"), "data/link"),
            (&absolute, "data/absolute-link"),
            (Path::new("../outside"), "data/folder-link"),
            (Path::new("../.."), "data/sub/up"),
            (Path::new("link"), "data/chain"),
            (Path::new("loop"), "data/loop"),
            (Path::new("../outside"), "data/swap"),
        ] {
            std::os::unix::fs::symlink(to, at(name)).expect("a link");
        }
        let text = format!(
            "[holds]\n{grants}\n[crates.app]\ndependencies = [\"paths\"]\n[crates.app.grants.paths]\n{grants}\n[crates.paths]\n\
             compartment = {{ backend = \"{backend}\", world = \"paths.wit#paths\", limits = {{ call-deadline = \"5min\" }} }}\n"
        );
        std::fs::write(at("capabilities.toml"), text).expect("writable");
        let guest = if backend == "wasm" { component("paths") } else { program("paths") };
        let host = ProcessHost::from_path_ambient(&launcher(), ambient_authority()).expect("it is there");
        let runtime = Runtime::from_file_ambient(at("capabilities.toml"), ambient_authority())
            .unwrap_or_else(|error| panic!("{error}"))
            .component("paths", Source::Bytes(guest.into()))
            .processes(Arc::new(host))
            .audit(AuditLog::discard())
            .start_ambient(ambient_authority())
            .expect("starts");
        let edge = runtime.edge(EdgeName { consumer: "app", krate: "paths" });
        let client = paths::Paths::open(edge.unwrap_or_else(|error| panic!("{error}")));
        let attempts = client.unwrap_or_else(|error| panic!("{error}")).attempts();
        Self { attempts, runtime, folder }
    }

    /// What came of an attempt: what was read, the kind of the error, or that the guest was ended.
    fn attempt(&self, name: &str) -> String {
        let outside = self.folder.path().join("outside").display().to_string();
        match self.attempts.attempt(name, "data", &outside) {
            Ok(Ok(text)) => format!("got {text}"),
            Ok(Err(kind)) => kind,
            Err(error) => {
                let shown = error.to_string();
                let call = shown.split("called ").nth(1).and_then(|rest| rest.split('(').next());
                call.map_or(shown.clone(), |call| format!("ended at {call}"))
            }
        }
    }

    /// What lies outside: names and texts.
    fn outside(&self) -> BTreeMap<String, String> {
        let folder = self.folder.path().join("outside");
        let entries =
            std::fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable").path());
        let name = |path: &Path| path.file_name().expect("it has one").to_string_lossy().into_owned();
        entries.map(|path| (name(&path), std::fs::read_to_string(&path).unwrap_or_default())).collect()
    }
}

/// The attempts, and what comes of each with wasm and with a process.
const ATTEMPTS: &[(&str, &str, &str)] = &[
    ("read", "got mine", "got mine"),
    ("dots-inside", "got mine", "got mine"),
    ("link-inside", "got mine", "got mine"),
    ("write", "got done", "got done"),
    ("rename-inside", "got done", "got done"),
    ("remove-inside", "got done", "got done"),
    ("dots", "PermissionDenied", "NotFound"),
    ("dots-after-a-folder", "PermissionDenied", "NotFound"),
    ("many-slashes", "PermissionDenied", "NotFound"),
    ("dots-a-thousand-times", "PermissionDenied", "NotFound"),
    ("absolute", "NotFound", "NotFound"),
    ("absolute-behind-the-root", "NotFound", "NotFound"),
    ("link-to-a-file", "PermissionDenied", "NotFound"),
    ("link-by-an-absolute-path", "PermissionDenied", "NotFound"),
    ("link-to-a-folder", "PermissionDenied", "NotFound"),
    ("dots-behind-a-link", "PermissionDenied", "NotFound"),
    ("chain-of-links", "PermissionDenied", "NotFound"),
    ("link-without-end", "FilesystemLoop", "FilesystemLoop"),
    ("own-link", "PermissionDenied", "NotFound"),
    ("own-absolute-link", "Other", "NotFound"),
    ("write-through-a-link", "PermissionDenied", "NotFound"),
    ("write-by-dots", "PermissionDenied", "NotFound"),
    ("make-a-folder-by-dots", "PermissionDenied", "NotFound"),
    ("remove-by-dots", "PermissionDenied", "NotFound"),
    ("remove-through-a-link", "PermissionDenied", "NotFound"),
    ("hard-link-in", "PermissionDenied", "NotFound"),
    ("hard-link-of-a-link", "PermissionDenied", "NotFound"),
    ("rename-in", "PermissionDenied", "NotFound"),
    ("rename-out", "PermissionDenied", "NotFound"),
    ("rename-through-a-link", "PermissionDenied", "NotFound"),
    ("list-above", "PermissionDenied", "PermissionDenied"),
    ("list-through-a-link", "PermissionDenied", "NotFound"),
    ("size-through-a-link", "PermissionDenied", "NotFound"),
    ("slash-behind-a-file", "NotADirectory", "NotADirectory"),
    ("slash-behind-a-link", "PermissionDenied", "NotFound"),
    ("long-name", "InvalidFilename", "InvalidFilename"),
    ("long-path", "InvalidFilename", "InvalidFilename"),
    ("zero-byte", "InvalidInput", "InvalidInput"),
];

/// What a guest was told no is there to be shown, with the line that would have allowed it, whatever it runs in.
#[test]
fn a_refused_write_is_shown_with_the_same_line_on_both_backends() {
    for backend in ["wasm", "process"] {
        let app = App::with(backend, "filesystem = { read = [\"data\"] }");
        let edge = app.runtime.edge(EdgeName { consumer: "app", krate: "paths" }).expect("it runs");
        assert_eq!(app.attempt("read"), "got mine");
        assert!(edge.take_refusals().is_empty(), "{backend}: nothing was refused");
        for _ in 0..2 {
            let answered = app.attempt("write");
            assert!(!answered.starts_with("got"), "{backend}: {answered}");
        }
        let refusals = edge.take_refusals();
        let [refusal] = refusals.as_slice() else { panic!("{backend}: {refusals:?}") };
        let told = (refusal.capability.to_string(), refusal.line.as_str());
        assert_eq!(told, ("filesystem.write".to_owned(), "filesystem = { write = [\"data\"] }"), "{backend}");
        assert!(refusal.attempt.contains("data/new"), "{backend}: {refusal}");
        assert!(edge.take_refusals().is_empty(), "{backend}: they were taken");
    }
}

#[test]
fn no_name_leads_out_of_a_granted_folder() {
    let mut different = String::new();
    for backend in ["wasm", "process"] {
        let app = App::new(backend);
        let before = app.outside();
        for (name, wasm, process) in ATTEMPTS {
            let wanted = if backend == "wasm" { wasm } else { process };
            let found = app.attempt(name);
            assert!(!found.contains(SECRET), "{backend}: {name}: {found}");
            assert_eq!(app.outside(), before, "{backend}: {name}");
            if found != *wanted {
                different += &format!("{backend}: {name}: {found}, and not {wanted}\n");
            }
        }
    }
    assert!(different.is_empty(), "{different}");
}

/// The same attempts where the other folder is granted too: a process finds it under its name, so what stops it above is that it is not
/// there. What wasm is stopped by holds for each granted folder by itself.
#[test]
fn what_stops_these_attempts_is_that_the_folder_is_not_granted() {
    let both = "filesystem = { write = [\"data\", \"outside\"] }";
    for name in [
        "dots",
        "dots-after-a-folder",
        "many-slashes",
        "link-to-a-file",
        "link-to-a-folder",
        "chain-of-links",
        "own-link",
    ] {
        assert_eq!(App::with("process", both).attempt(name), format!("got {SECRET}"), "{name}");
        assert_eq!(App::with("wasm", both).attempt(name), "PermissionDenied", "{name}");
    }
    for name in ["write-by-dots", "make-a-folder-by-dots", "remove-by-dots"] {
        let app = App::with("process", both);
        let before = app.outside();
        assert_eq!(app.attempt(name), "got done", "{name}");
        assert_ne!(app.outside(), before, "{name}");
    }
}

/// A name that is now a folder inside and now a link to one outside, exchanged without end while the guest reads through it.
#[test]
fn a_name_that_is_exchanged_while_it_is_read_never_leads_out() {
    let rounds = u32::try_from(rounds::rounds(20_000)).expect("fewer");
    for backend in ["wasm", "process"] {
        let app = App::new(backend);
        let (real, swap) = (app.folder.path().join("data/real"), app.folder.path().join("data/swap"));
        let going = AtomicBool::new(true);
        let (inside, outside, neither, swaps) = std::thread::scope(|scope| {
            let swapper = scope.spawn(|| {
                let mut swaps = 0_u64;
                while going.load(Ordering::Relaxed) {
                    let (cwd, flags) = (rustix::fs::CWD, rustix::fs::RenameFlags::EXCHANGE);
                    rustix::fs::renameat_with(cwd, &real, cwd, &swap, flags).expect("both are there");
                    swaps += 1;
                }
                swaps
            });
            // On a machine with other work one side can have a processor for all of the other's time, and then there was no race.
            let mut counts = Vec::new();
            let raced = |counts: &[_]| {
                let both = |(inside, _, neither): &(u32, u32, u32)| *inside > 0 && *neither > 0;
                counts.iter().any(|count: &Result<_, _>| count.as_ref().map_or(true, both))
            };
            while counts.len() < 20 && !raced(&counts) {
                counts.push(app.attempts.race("data", rounds));
            }
            going.store(false, Ordering::Relaxed);
            let swaps = swapper.join().expect("no panic");
            let mut all = (0, 0, 0, swaps);
            for count in counts {
                let (inside, outside, neither) = count.unwrap_or_else(|error| panic!("{error}"));
                assert_eq!(inside + outside + neither, rounds, "{backend}");
                all = (all.0 + inside, all.1 + outside, all.2 + neither, swaps);
            }
            all
        });
        writeln!(std::io::stdout(), "{backend}: {swaps} exchanges; {inside} read inside, {neither} refused")
            .expect("a pipe");
        assert_eq!(outside, 0, "{backend}");
        assert!(inside > 0 && neither > 0, "{backend}: both were there to be found: {inside} and {neither}");
    }
}

/// One guest may write a folder, another is granted what is in it. The first puts a link there, and the second starts: what the link leads
/// to was granted to nobody.
fn a_link_of_one_guest_gives_another_nothing(backend: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    for name in ["data", "data/left", "outside"] {
        std::fs::create_dir(at(name)).expect("a folder");
    }
    for (name, text) in [("data/left/file", "inside"), ("outside/file", SECRET)] {
        std::fs::write(at(name), text).expect("writable");
    }
    std::os::unix::fs::symlink("data/left", at("own")).expect("a link");
    let edges = [("right", "write", "data"), ("left", "read", "data/left"), ("by-link", "read", "own")];
    let consumers: String = edges
        .map(|(consumer, verb, path)| {
            format!(
                "[crates.{consumer}]\ndependencies = [\"paths\"]\n[crates.{consumer}.grants.paths]\nfilesystem = {{ {verb} = [\"{path}\"], \
                 at = \"/granted\" }}\n"
            )
        })
        .concat();
    let text = format!(
        "[holds]\nfilesystem = {{ write = [\"data\"], read = [\"own\"] }}\n{consumers}[crates.paths]\n\
         compartment = {{ backend = \"{backend}\", world = \"paths.wit#paths\" }}\n"
    );
    std::fs::write(at("capabilities.toml"), text).expect("writable");
    let guest = if backend == "wasm" { component("paths") } else { program("paths") };
    // What the guest of an edge finds, or why there is none.
    let found = |consumer: &str| {
        let host = ProcessHost::from_path_ambient(&launcher(), ambient_authority()).expect("it is there");
        let runtime = Runtime::from_file_ambient(at("capabilities.toml"), ambient_authority())
            .unwrap_or_else(|error| panic!("{error}"))
            .component("paths", Source::Bytes(guest.clone().into()))
            .processes(Arc::new(host))
            .audit(AuditLog::discard())
            .start_ambient(ambient_authority())
            .expect("starts");
        let edge = runtime.edge(EdgeName { consumer, krate: "paths" }).map_err(|error| error.to_string())?;
        let client = paths::Paths::open(edge).map_err(|error| error.to_string())?;
        let read = client.attempts().attempt("read", "/granted", "");
        Ok::<_, String>(read.map_err(|error| error.to_string())?.unwrap_or_else(|kind| kind))
    };
    assert_eq!(found("left"), Ok("inside".to_owned()), "control: what is granted is there");
    assert_eq!(found("by-link"), Ok("inside".to_owned()), "a link of the host's own is followed");
    std::fs::rename(at("data/left"), at("data/before")).expect("the guest may do the same");
    std::os::unix::fs::symlink("../outside", at("data/left")).expect("the guest may do the same");
    for consumer in ["left", "by-link"] {
        let refused = found(consumer).expect_err("nobody granted what it leads to");
        assert!(
            refused.contains("it goes through a link in `") && refused.contains("which a guest may write"),
            "{consumer}: {refused}"
        );
    }
}

#[test]
fn a_link_of_one_guest_gives_another_nothing_under_wasm() {
    a_link_of_one_guest_gives_another_nothing("wasm");
}

#[test]
fn a_link_of_one_guest_gives_another_nothing_in_a_process() {
    a_link_of_one_guest_gives_another_nothing("process");
}
