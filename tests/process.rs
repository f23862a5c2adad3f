//! Process compartments: each grant works and its absence stops it; each limit is tripped; each way to fail is told apart; the
//! host and the next call live on.
//!
//! The guests are programs of `tests/guests`, built statically here. When the tests run as root, all of them run once more as an
//! ordinary user.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use ambient_authority::ambient_authority;
use cofferdam::manifest::{Files, Form, ManifestText, ProjectBuilder, parse, resolve};
use cofferdam::process::{
    CallError, FaultKind, ProcessCompartment, ProcessHost, Restart, StartError, StartOptions, Tier, examine_ambient,
};
use cofferdam::{AuditLog, CompartmentPlan, plan};

/// The fixture's interface, as it says itself.
const INTERFACE: u64 = 0xC0FF_EE00_0000_0001;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Where the guests are. They are built once, statically, in a folder of their own.
fn guest(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        if let Some(built) = std::env::var_os("COFFERDAM_TEST_GUESTS") {
            return PathBuf::from(built);
        }
        let target = root().join("target/guests");
        let output = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--locked", "-p", "cofferdam-test-guests"])
            .args(["--target", "x86_64-unknown-linux-gnu", "--target-dir"])
            .arg(&target)
            .env("RUSTFLAGS", "-C target-feature=+crt-static")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .current_dir(root())
            .output()
            .expect("cargo runs the tests");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        target.join("x86_64-unknown-linux-gnu/debug")
    });
    folder.join(name)
}

fn launcher() -> PathBuf {
    std::env::var_os("COFFERDAM_TEST_LAUNCHER")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_cofferdam-launcher")), PathBuf::from)
}

fn host() -> &'static ProcessHost {
    static HOST: OnceLock<ProcessHost> = OnceLock::new();
    HOST.get_or_init(|| {
        ProcessHost::from_path_ambient(&launcher(), ambient_authority()).expect("cargo built the launcher")
    })
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// An audit log that can be read.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic inside").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("no panic inside").clone()).expect("UTF-8")
    }

    /// The events of one kind.
    fn events(&self, kind: &str) -> Vec<serde_json::Value> {
        let all = self.text();
        let parsed = all.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
        parsed.filter(|event| event["event"] == kind).collect()
    }
}

/// The plan of a compartment `guest` under `app`, with these grants and limits: through the whole pipeline.
fn planned(grants: &str, limits: &str) -> CompartmentPlan {
    let text = format!(
        "[holds]\n{grants}\n[crates.app]\ndependencies = [\"guest\"]\n{}\n[crates.guest]\n\
         compartment = {{ backend = \"process\", limits = {{ {limits} }} }}\n",
        if grants.is_empty() { String::new() } else { format!("[crates.app.grants.guest]\n{grants}") },
    );
    let mut files = Files::default();
    let file = files.add(ManifestText::from_bytes("capabilities.toml", text.into()).expect("small"));
    let manifest =
        parse(file, files.get(file), Form::Standalone).unwrap_or_else(|errors| panic!("{}", errors[0].kind));
    let project = ProjectBuilder::standalone(files, manifest).expect("a graph");
    let resolution = resolve(&project);
    let graph = resolution.granted(&project).unwrap_or_else(|| panic!("{}", resolution.denials()[0].kind));
    plan(&project, &graph).expect("the pages are right").compartments.remove(0)
}

struct Guest {
    compartment: ProcessCompartment,
    log: Lines,
    folder: tempfile::TempDir,
}

fn try_start(
    program: &str,
    grants: &str,
    limits: &str,
    folder: tempfile::TempDir,
    options: StartOptions,
) -> (Result<Guest, StartError>, Lines) {
    let log = Lines::default();
    let started = ProcessCompartment::start_with_ambient(
        host(),
        &planned(grants, limits),
        &guest(program),
        folder.path(),
        &AuditLog::to_writer(log.clone()),
        options,
        ambient_authority(),
    );
    (started.map(|compartment| Guest { compartment, log: log.clone(), folder }), log)
}

fn start_in(folder: tempfile::TempDir, grants: &str, limits: &str) -> Guest {
    let started = try_start("fixture", grants, limits, folder, StartOptions::default());
    started.0.unwrap_or_else(|error| panic!("{error}"))
}

fn start(grants: &str, limits: &str) -> Guest {
    start_in(tempfile::tempdir().expect("a folder"), grants, limits)
}

fn refused(grants: &str, limits: &str) -> StartError {
    let folder = tempfile::tempdir().expect("a folder");
    let (started, log) = try_start("fixture", grants, limits, folder, StartOptions::default());
    let error = started.err().expect("it does not start");
    assert_eq!(log.events("refused").len(), 1, "{}", log.text());
    error
}

impl Guest {
    fn add(&mut self, a: u32, b: u32) -> Result<u32, CallError> {
        self.compartment.call_typed("add", &(a, b))
    }

    fn call(&mut self, number: i64, arguments: &[u64]) -> Result<i64, CallError> {
        self.compartment.call_typed("call", &(number, arguments))
    }

    /// The next call works, whatever became of the one before.
    fn lives(&mut self) {
        assert_eq!(self.add(2, 3).expect("the next call works"), 5);
    }

    /// A call of a function without arguments or result that must fail.
    fn fails(&mut self, function: &str) -> CallError {
        self.compartment.call_typed::<(), ()>(function, &()).expect_err("it fails")
    }
}

/// What a violation says: the call's name, the capability and the line that would allow it.
fn violation(error: CallError) -> (String, Option<String>, Option<String>) {
    match error {
        CallError::Violation { violation, .. } => {
            (violation.call.clone(), violation.capability.clone(), violation.line.clone())
        }
        other => panic!("no violation: {other}"),
    }
}

#[test]
fn a_call_gives_its_result() {
    let mut guest = start("", "");
    assert_eq!(guest.add(40, 2).expect("a result"), 42);
    assert_eq!(guest.add(u32::MAX, 1).expect("a result"), 0);
    assert!(guest.compartment.functions().contains(&"echo".to_owned()));
    assert_eq!(guest.compartment.edge(), "app -> guest");
}
