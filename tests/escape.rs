//! The escape suite on process compartments: each attempt is stopped as the list says, works where nothing stops it, and works again
//! when the layers that stop it are left out, while any one of them alone stops it.
//!
//! Each part of each attempt has a process of its own. When the tests run as root, all of it runs once more as an ordinary user.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod mutant;
mod ordinary;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use ambient_authority::ambient_authority;
use cofferdam::AuditLog;
use cofferdam::process::{ProcessCompartment, ProcessHost};
use cofferdam_selftest::attempt::{Attempt, Part};
use cofferdam_selftest::process_attempts;
use cofferdam_selftest::suite::{Suite, everything, key_bytes, line, untried};
use cofferdam_selftest::trial::{Programs, Trial, try_part};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Which attempt and which part of it a process of its own does.
const TRIAL: &str = "COFFERDAM_ESCAPE_TRIAL";
/// Where the programs are, if somebody has built and placed them.
const PROGRAMS: &str = "COFFERDAM_ESCAPE_PROGRAMS";

/// The programs, built once: statically, as they are shipped.
fn programs() -> &'static Programs {
    static BUILT: OnceLock<Programs> = OnceLock::new();
    BUILT.get_or_init(|| {
        if let Some(folder) = std::env::var_os(PROGRAMS).map(PathBuf::from) {
            return Programs {
                launcher: folder.join("cofferdam-launcher"),
                guest: folder.join("cofferdam-selftest-guest"),
                mutant: Some(folder.join("mutant-launcher")),
            };
        }
        let target = root().join("target/guests");
        let output = Command::new(env!("CARGO"))
            .args([
                "build",
                "--quiet",
                "--locked",
                "-p",
                "cofferdam-selftest-guest",
                "-p",
                "cofferdam-launcher",
            ])
            .args(["--target", "x86_64-unknown-linux-gnu", "--target-dir"])
            .arg(&target)
            .env("RUSTFLAGS", "-C target-feature=+crt-static")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .current_dir(root())
            .output()
            .expect("cargo runs the tests");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let built = target.join("x86_64-unknown-linux-gnu/debug");
        Programs {
            launcher: built.join("cofferdam-launcher"),
            guest: built.join("cofferdam-selftest-guest"),
            mutant: Some(mutant::mutant(root())),
        }
    })
}

/// How long the kernel may take to collect keys.
const COLLECTED_MAX: Duration = Duration::from_secs(10);

/// Copies the programs to where an ordinary user can run them.
fn placed() -> &'static Path {
    static PLACED: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = PLACED.get_or_init(|| {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let all = programs();
        let open = |path: &Path| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("ours");
        };
        open(folder.path());
        let own = std::env::current_exe().expect("a test has a program");
        let mutant = all.mutant.as_ref().expect("built");
        for (from, name) in [
            (&all.launcher, "cofferdam-launcher"),
            (&all.guest, "cofferdam-selftest-guest"),
            (mutant, "mutant-launcher"),
            (&own, "test"),
        ] {
            std::fs::copy(from, folder.path().join(name)).expect("copied");
            open(&folder.path().join(name));
        }
        folder
    });
    folder.path()
}

/// This test's own program, for one part of one attempt.
fn trial(id: &str, part: Part) -> Command {
    let folder = placed();
    let mut command = Command::new(folder.join("test"));
    command
        .args(["--exact", "alone_one_part", "--nocapture", "--test-threads=1"])
        .env(TRIAL, format!("{id} {}", part.word()))
        .env(PROGRAMS, folder)
        .current_dir("/");
    command
}

/// Run alone, by the tests below.
#[test]
fn alone_one_part() {
    let Some(wanted) = std::env::var_os(TRIAL).and_then(|text| text.into_string().ok()) else { return };
    let (id, part) = wanted.split_once(' ').expect("an attempt and a part");
    let attempts = process_attempts();
    let attempt = attempts.iter().find(|attempt| attempt.id == id).expect("in the list");
    let part = Part::from_word(part).expect("a part");
    let done = try_part(attempt, part, programs(), ambient_authority());
    writeln!(std::io::stdout(), "\n{}", line(&done)).expect("a pipe");
}

fn all(only: &[String]) -> Vec<Attempt> {
    let chosen = |attempt: &Attempt| only.is_empty() || only.iter().any(|one| one == attempt.id);
    process_attempts().into_iter().filter(chosen).collect()
}

/// `COFFERDAM_ESCAPE_ONLY="21a 21b"` tries these alone.
fn only() -> Vec<String> {
    std::env::var("COFFERDAM_ESCAPE_ONLY").unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

fn run() -> Vec<Trial> {
    let attempts = all(&only());
    let at_a_time = std::thread::available_parallelism().map_or(2, usize::from) * 2;
    let todo = everything(&attempts, true);
    Suite { todo: &todo, at_a_time, command: &trial, progress: &|_, _| {} }.run()
}

#[test]
fn every_attempt_is_stopped_by_each_of_its_layers() {
    if std::env::var_os(TRIAL).is_some() {
        return;
    }
    let trials = run();
    let mut out = std::io::stdout();
    let root = rustix::process::geteuid().is_root();
    for attempt in all(&only()).iter().filter(|attempt| attempt.who.includes(root)) {
        let Some(why) = untried(attempt) else { continue };
        writeln!(out, "not tried: {} {}: {why}", attempt.id, attempt.tries).expect("a pipe");
        // On one processor, or at the lowest priority, nobody can try these.
        let mut nobody_can = vec!["26a", "26b"];
        if !Path::new("/proc/key-users").exists() {
            nobody_can.extend(["17a", "17b"]);
        }
        assert!(nobody_can.contains(&attempt.id), "{} is not tried: {why}", attempt.id);
    }
    for trial in &trials {
        let mark = if trial.passed { "ok  " } else { "FAIL" };
        writeln!(out, "{mark} {:<4} {:<10} {}", trial.id, trial.part.word(), trial.said).expect("a pipe");
    }
    let failed: Vec<_> = trials.iter().filter(|trial| !trial.passed).collect();
    writeln!(out, "{} trials, {} failed", trials.len(), failed.len()).expect("a pipe");
    assert!(failed.is_empty(), "{failed:#?}");
}

/// What cannot be tried from inside is read from the kernel's own account of the guest's process.
#[test]
fn a_guest_is_held_as_the_layers_say() {
    if std::env::var_os(TRIAL).is_some() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let text =
        "[crates.app]\ndependencies = [\"guest\"]\n[crates.guest]\ncompartment = { backend = \"process\" }\n";
    let manifest = folder.path().join("capabilities.toml");
    std::fs::write(&manifest, text).expect("written");
    let ambient = ambient_authority();
    let loaded = cofferdam::load_file_ambient(&manifest, ambient).unwrap_or_else(|error| panic!("{error}"));
    let graph = cofferdam::manifest::resolve(&loaded.project).granted(&loaded.project).expect("granted");
    let plan = cofferdam::plan(&loaded.project, &graph).expect("the pages are right");
    let host = ProcessHost::from_path_ambient(&programs().launcher, ambient).expect("built");
    let log = AuditLog::discard();
    let compartment = ProcessCompartment::start_ambient(
        &host,
        &plan.compartments[0],
        &programs().guest,
        folder.path(),
        &log,
        ambient,
    )
    .unwrap_or_else(|error| panic!("{error}"));
    // The process whose descriptor 3 is a socket and whose name is that of no file: the guest. It is two below the launcher.
    let stat = |pid: &str, field: usize| -> Option<String> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit(") ").next()?.split(' ').nth(field).map(str::to_owned)
    };
    let own = std::process::id().to_string();
    let below = |pid: &str| -> Vec<String> {
        let all = std::fs::read_dir("/proc")
            .expect("proc")
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        all.filter(|other| stat(other, 1).is_some_and(|parent| parent == pid)).collect()
    };
    let guests: Vec<String> = below(&own)
        .iter()
        .flat_map(|launcher| below(launcher))
        .flat_map(|first| below(&first))
        .filter(|pid| {
            std::fs::read_link(format!("/proc/{pid}/exe"))
                .is_ok_and(|exe| exe.to_string_lossy().contains("memfd:cofferdam"))
        })
        .collect();
    assert_eq!(guests.len(), 1, "{guests:?}");
    let guest = &guests[0];
    assert_ne!(stat(guest, 3), stat(&own, 3), "the session");
    let status = std::fs::read_to_string(format!("/proc/{guest}/status")).expect("it runs");
    let field = |name: &str| {
        let line = status.lines().find(|line| line.split(':').next() == Some(name));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
    };
    for (name, value) in [
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
        ("CapEff", "0000000000000000"),
        ("CapPrm", "0000000000000000"),
        ("CapInh", "0000000000000000"),
        ("CapBnd", "0000000000000000"),
        ("CapAmb", "0000000000000000"),
        ("Threads", "1"),
    ] {
        assert_eq!(field(name).as_deref(), Some(value), "{name}");
    }
    // Where the processor has the flaw, its control is locked; the words are those of fs/proc/array.c.
    for name in ["Speculation_Store_Bypass", "SpeculationIndirectBranch"] {
        let held = field(name).unwrap_or_else(|| "unknown".to_owned());
        let open = ["thread vulnerable", "conditional enabled", "vulnerable"];
        assert!(!open.contains(&held.as_str()) || open[2] == held, "{name}: {held}");
    }
    for what in ["user", "pid", "mnt", "ipc", "uts", "net", "cgroup"] {
        let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/{what}")).expect("ours");
        assert_ne!(namespace(guest), namespace(&own), "{what}");
    }
    drop(compartment);
}

/// All of it as an ordinary user.
#[test]
fn everything_holds_for_an_ordinary_user_too() {
    if !rustix::process::geteuid().is_root() || std::env::var_os(TRIAL).is_some() {
        return;
    }
    let (user, mut command) = ordinary::ordinary(placed().join("test"));
    command
        .args(["--exact", "every_attempt_is_stopped_by_each_of_its_layers", "--nocapture"])
        .env(PROGRAMS, placed());
    let keys = || key_bytes(user).map_or(0, |(bytes, _)| bytes);
    // The kernel keeps two keyrings for whoever had a key, one in the other: their names, which end in NUL, and a link of 4 bytes.
    let keyrings = format!("_uid.{user}\0_uid_ses.{user}\0").len() as u64 + 4;
    let most = keys().max(keyrings);
    let output = command.output().expect("util-linux is everywhere");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    writeln!(std::io::stdout(), "as an ordinary user:\n{text}").expect("a pipe");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!text.contains("0 passed"), "{text}");
    let begun = Instant::now();
    let mut left = keys();
    while left > most && begun.elapsed() < COLLECTED_MAX {
        std::thread::sleep(Duration::from_millis(50));
        left = keys();
    }
    assert!(left <= most, "{left} bytes of user {user}'s keys are left, of at most {most}");
}
