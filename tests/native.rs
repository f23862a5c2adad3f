//! Native guests for the tests of process compartments: built statically, planned through the whole pipeline, started, and all of it
//! once more as an ordinary user.

#![allow(dead_code, reason = "each test file uses a part of it")]

#[path = "ordinary.rs"]
mod ordinary;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use ambient_authority::ambient_authority;
use cofferdam::manifest::{Files, Form, ManifestText, ProjectBuilder, parse, resolve};
use cofferdam::process::{CallError, ProcessCompartment, ProcessHost, StartError, StartOptions};
use cofferdam::{AuditLog, CompartmentPlan, plan};

use crate::lines::Lines;
use ordinary::ordinary;

pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Where the guests are. They are built once, statically, in a folder of their own.
pub(crate) fn guest(name: &str) -> PathBuf {
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

pub(crate) fn launcher() -> PathBuf {
    std::env::var_os("COFFERDAM_TEST_LAUNCHER")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_cofferdam-launcher")), PathBuf::from)
}

pub(crate) fn host() -> &'static ProcessHost {
    static HOST: OnceLock<ProcessHost> = OnceLock::new();
    HOST.get_or_init(|| {
        ProcessHost::from_path_ambient(&launcher(), ambient_authority()).expect("cargo built the launcher")
    })
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// What the log says, as values.
pub(crate) trait Events {
    /// The events of one kind.
    fn events(&self, kind: &str) -> Vec<serde_json::Value>;
}

impl Events for Lines {
    fn events(&self, kind: &str) -> Vec<serde_json::Value> {
        let all = self.text();
        let parsed = all.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
        parsed.filter(|event| event["event"] == kind).collect()
    }
}

/// The workspace sees paths under their own names.
fn without_places(grants: &str) -> String {
    let mut text = grants.to_owned();
    while let Some(from) = text.find(", at = \"") {
        let length = text[from..].find('}').expect("it is a table's last key");
        text.replace_range(from..from + length, " ");
    }
    text
}

/// The plan of a compartment `guest` under `app`, with these grants and limits: through the whole pipeline.
pub(crate) fn planned(grants: &str, limits: &str) -> CompartmentPlan {
    planned_with(grants, limits, "")
}

/// The same with more lines of the workspace's.
pub(crate) fn planned_with(grants: &str, limits: &str, workspace: &str) -> CompartmentPlan {
    let text = format!(
        "[holds]\n{}\n[crates.app]\ndependencies = [\"guest\"]\n{}\n[crates.guest]\n\
         compartment = {{ backend = \"process\", limits = {{ {limits} }} }}\n{workspace}",
        without_places(grants),
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

pub(crate) struct Guest {
    pub(crate) compartment: ProcessCompartment,
    pub(crate) log: Lines,
    pub(crate) folder: tempfile::TempDir,
}

pub(crate) fn try_start(
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

pub(crate) fn start_in(folder: tempfile::TempDir, grants: &str, limits: &str) -> Guest {
    let started = try_start("fixture", grants, limits, folder, StartOptions::default());
    started.0.unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn start(grants: &str, limits: &str) -> Guest {
    start_in(tempfile::tempdir().expect("a folder"), grants, limits)
}

pub(crate) fn refused(grants: &str, limits: &str) -> StartError {
    let folder = tempfile::tempdir().expect("a folder");
    let (started, log) = try_start("fixture", grants, limits, folder, StartOptions::default());
    let error = started.err().expect("it does not start");
    assert_eq!(log.events("refused").len(), 1, "{}", log.text());
    error
}

impl Guest {
    pub(crate) fn add(&mut self, a: u32, b: u32) -> Result<u32, CallError> {
        self.compartment.call_typed("add", &(a, b))
    }

    pub(crate) fn call(&mut self, number: i64, arguments: &[u64]) -> Result<i64, CallError> {
        self.compartment.call_typed("call", &(number, arguments))
    }

    /// The next call works, whatever became of the one before.
    pub(crate) fn lives(&mut self) {
        assert_eq!(self.add(2, 3).expect("the next call works"), 5);
    }

    /// A call of a function without arguments or result that must fail.
    pub(crate) fn fails(&mut self, function: &str) -> CallError {
        self.compartment.call_typed::<(), ()>(function, &()).expect_err("it fails")
    }
}

/// What a violation says: the call's name, the capability and the line that would allow it.
pub(crate) fn violation(error: CallError) -> (String, Option<String>, Option<String>) {
    match error {
        CallError::Violation { violation, .. } => {
            (violation.call.clone(), violation.capability.clone(), violation.line.clone())
        }
        other => panic!("no violation: {other}"),
    }
}

/// A folder with a file of 20 bytes.
pub(crate) fn folder_with_file() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("data")).expect("a folder");
    std::fs::write(folder.path().join("data/file"), "twenty bytes of text").expect("a file");
    std::fs::write(folder.path().join("secret"), "not granted").expect("a file");
    folder
}

/// Set for a test that has its process to itself.
pub(crate) const ALONE: &str = "COFFERDAM_TEST_ALONE";

/// Whether this process is one that [`alone`] made.
pub(crate) fn is_alone() -> bool {
    std::env::var_os(ALONE).is_some()
}

/// One test of this program in a process of its own.
pub(crate) fn alone(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a test has a program"));
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(ALONE, "1");
    command.env("COFFERDAM_TEST_GUESTS", guest("fixture").parent().expect("a folder"));
    command
}

/// Every test of this program as an ordinary user, when it runs as root. Does nothing for anybody else.
pub(crate) fn as_an_ordinary_user() {
    use std::os::unix::fs::PermissionsExt;
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let open = |path: &Path| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("ours");
    };
    open(folder.path());
    let copy = |from: &Path, name: &str| {
        let to = folder.path().join(name);
        std::fs::copy(from, &to).expect("copied");
        open(&to);
        to
    };
    let test = copy(&std::env::current_exe().expect("a test has a program"), "test");
    let launcher = copy(&launcher(), "cofferdam-launcher");
    for name in GUESTS {
        copy(&guest(name), name);
    }
    let (_, mut command) = ordinary(test);
    let output = command
        .args(["--test-threads=2", "--show-output"])
        .env("COFFERDAM_TEST_GUESTS", folder.path())
        .env("COFFERDAM_TEST_LAUNCHER", launcher)
        .output()
        .expect("util-linux is everywhere");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    assert!(!text.contains("0 passed"), "{text}");
    writeln!(std::io::stdout(), "as an ordinary user:\n{text}").expect("a pipe");
}

/// The programs of `tests/native-guests`.
const GUESTS: [&str; 5] = ["fixture", "liar", "mute", "slow-to-die", "program"];
