//! Programs that a guest starts: those that are granted, in its own confinement, and no others.
//!
//! The kernel does not count root's processes, so a host that is root refuses the grant; as an ordinary user it works.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod lines;
mod native;

use cofferdam::process::{CallError, FaultKind, StartError};
use native::{
    Events, Guest, as_an_ordinary_user, folder_with_file, guest, is_root, refused, start, start_in, violation,
};

type Ran = Result<(i32, Vec<u8>), String>;

fn run(guest: &mut Guest, program: &str, arguments: &[&str]) -> Result<Ran, CallError> {
    let arguments: Vec<String> = arguments.iter().map(|one| (*one).to_owned()).collect();
    guest.compartment.call_typed("run", &(program.to_owned(), arguments))
}

/// A folder with two static programs in it.
fn folder_with_programs() -> tempfile::TempDir {
    let folder = folder_with_file();
    for name in ["program", "other"] {
        std::fs::copy(guest("program"), folder.path().join(name)).expect("copied");
    }
    folder
}

const GRANT: &str = "process = { spawn = [\"program\"] }";

#[test]
fn a_granted_program_runs_and_no_other() {
    if is_root() {
        let error = refused(GRANT, "");
        assert!(error.to_string().contains("when the host runs as root"), "{error}");
        return;
    }
    let mut guest = start_in(folder_with_programs(), GRANT, "memory = \"256MiB\"");
    let ran = run(&mut guest, "/program", &["a", "b"]).expect("granted").expect("it runs");
    assert_eq!(ran, (0, b"started with a b\n".to_vec()));
    // What is not granted is not there, and what is there and not granted to run does not.
    assert_eq!(run(&mut guest, "/other", &[]).expect("an answer"), Err("2".to_owned()));
    let both = format!("{GRANT}\nfilesystem = {{ read = [{{ file = \"other\" }}] }}");
    let mut guest = start_in(folder_with_programs(), &both, "memory = \"256MiB\"");
    assert!(run(&mut guest, "/program", &[]).expect("granted").is_ok());
    assert_eq!(run(&mut guest, "/other", &[]).expect("an answer"), Err("13".to_owned()));
    guest.lives();
}

#[test]
fn without_the_grant_starting_a_program_is_a_violation() {
    let mut guest = start_in(folder_with_programs(), "filesystem = { read = [{ file = \"program\" }] }", "");
    let (call, capability, line) =
        violation(run(&mut guest, "/program", &[]).expect_err("nothing allows it"));
    assert_eq!(capability.as_deref(), Some("process.spawn"), "{call}");
    assert!(line.expect("a line").starts_with("process = { spawn = "));
    guest.lives();
}

#[test]
fn a_started_program_can_do_no_more_than_its_guest() {
    if is_root() {
        return;
    }
    let mut guest = start_in(folder_with_programs(), GRANT, "memory = \"256MiB\"");
    let (call, capability, _) =
        violation(run(&mut guest, "/program", &["connect"]).expect_err("nothing allows it"));
    assert_eq!((call.as_str(), capability.as_deref()), ("socket", Some("network.connect")));
    assert_eq!(guest.log.events("violation").len(), 1);
    guest.lives();
    // The guest itself is not excused for what a program may do at its start.
    let read: Result<Result<Vec<u8>, String>, CallError> =
        guest.compartment.call_typed("read", &("/proc/self/maps",));
    assert_eq!(violation(read.expect_err("nothing allows it")).0, "openat");
    guest.lives();
}

#[test]
fn processes_and_their_memory_are_bounded_together() {
    if is_root() {
        return;
    }
    let mut guest = start_in(folder_with_programs(), GRANT, "memory = \"128MiB\"");
    // Eight with its own.
    assert_eq!(guest.compartment.call_typed::<_, u64>("fork-on-and-on", &()).expect("granted"), 7);
    let mut guest = start_in(folder_with_programs(), GRANT, "memory = \"128MiB\"");
    assert_eq!(guest.compartment.call_typed::<_, u64>("allocate", &(8_u64 << 20,)).expect("fits"), 8 << 20);
    let error = guest.compartment.call_typed::<_, u64>("allocate", &(64_u64 << 20,)).expect_err("too much");
    assert!(matches!(error, CallError::Fault { kind: FaultKind::OutOfMemory, .. }), "{error}");
    guest.lives();
}

#[test]
fn what_a_started_program_leaves_behind_ends_with_the_guest() {
    if is_root() {
        return;
    }
    let mut guest = start_in(folder_with_programs(), GRANT, "memory = \"128MiB\"");
    guest.compartment.call_typed::<_, u64>("fork-on-and-on", &()).expect("granted");
    // The next guest starts only when everything of this one is gone.
    guest.fails("crash");
    assert_eq!(guest.compartment.call_typed::<_, u64>("fork-on-and-on", &()).expect("granted"), 7);
}

#[test]
fn programs_that_would_not_run_or_not_be_held_are_refused() {
    if is_root() {
        return;
    }
    let refused_in = |grants: &str, limits: &str, says: &str| {
        let folder = folder_with_programs();
        std::fs::write(folder.path().join("script"), "#!/bin/sh\n").expect("written");
        let options = cofferdam::process::StartOptions::default();
        let error = native::try_start("fixture", grants, limits, folder, options).0.err().expect(says);
        assert!(error.to_string().contains(says), "{error}");
        error
    };
    let path = |error| assert!(matches!(error, StartError::Path { .. }), "{error}");
    path(refused_in("process = { spawn = [\"data\"] }", "", "it is not a file"));
    path(refused_in("process = { spawn = [\"script\"] }", "", "no program for Linux"));
    path(refused_in("process = { spawn = [\"/bin/true\"] }", "", "linked dynamically"));
    path(refused_in(
        "process = { spawn = [\"program\"] }\nfilesystem = { write = [{ file = \"program\" }] }",
        "",
        "it may be run, and written as well",
    ));
    let held = |error| assert!(matches!(error, StartError::CannotEnforce { .. }), "{error}");
    held(refused_in(GRANT, "cpu-time = \"1s\"", "`cpu-time` beside `process.spawn`"));
    held(refused_in(&format!("{GRANT}\nthread = {{ max = 2 }}"), "", "a number of threads beside"));
}

/// A program of the system's, with its loader and its libraries.
#[test]
fn a_dynamic_program_runs_with_its_loader_and_libraries() {
    if is_root() {
        return;
    }
    let loader = "/lib64/ld-linux-x86-64.so.2";
    let libraries = std::fs::canonicalize(loader).expect("Debian has it");
    let libraries = libraries.parent().expect("a folder").display();
    let grants = |more: &str| {
        format!(
            "process = {{ spawn = [\"/bin/true\", \"{loader}\"] }}\nfilesystem = {{ read = [\"{libraries}\"] }}\n{more}"
        )
    };
    let mut guest = start_in(folder_with_file(), &grants("mmap = true"), "memory = \"512MiB\"");
    // The loader looks beside itself and in its cache; what it finds there is the grant's own folder.
    let ran = run(&mut guest, "/bin/true", &[]).expect("granted").expect("it runs");
    assert_eq!(ran, (0, Vec::new()));
    guest.lives();
}

#[test]
fn a_guest_without_programs_has_one_process() {
    let mut guest = start("", "");
    let (call, ..) = violation(guest.fails("fork-on-and-on"));
    assert_eq!(call, "fork");
}

/// All of the above as an ordinary user.
#[test]
fn everything_holds_for_an_ordinary_user_too() {
    as_an_ordinary_user();
}
