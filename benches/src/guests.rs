//! The guest that benches call, on every backend, in a runtime as a program has it.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use ambient_authority::ambient_authority;
use cofferdam::client::Edge;
use cofferdam::{AuditLog, EdgeName, Runtime, Source};
use cofferdam_toolchain::{
    CargoOutput, GuestCrate, Progress, Settings, SetupRequest, Toolchain, build_guest_ambient, setup_ambient,
};

/// The repository.
pub fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// A guest of the workspace, compiled for a backend: as `cofferdam build` does it.
pub fn built(package: &str, backend: &str) -> Vec<u8> {
    std::fs::read(built_at(package, backend)).expect("it was just made")
}

/// The same, where it lies.
pub fn built_at(package: &str, backend: &str) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _held = ONE_AT_A_TIME.lock();
    let ambient = ambient_authority();
    let mut tell = |news: Progress<'_>| {
        if let Progress::Step(text) | Progress::Note(text) = news {
            eprintln!("{text}");
        }
    };
    let settings = Settings::from_environment_ambient(ambient).expect("a cache folder");
    let toolchain = if backend == "wasm" {
        let report = setup_ambient(&settings, SetupRequest { c: true }, &mut tell, ambient);
        report.unwrap_or_else(|error| panic!("{error}")).toolchain
    } else {
        Toolchain::native_ambient(&settings, ambient).unwrap_or_else(|error| panic!("{error}"))
    };
    let guest = GuestCrate::library(root().join("Cargo.toml"), package);
    let folder = root().join("target/bench/guests").join(backend);
    build_guest_ambient(&toolchain, &guest, &folder, CargoOutput::Keep, &mut tell, ambient)
        .unwrap_or_else(|error| panic!("{error}"))
        .component
}

/// A runtime with one edge, `bench -> CRATE`, for as long as this lives.
pub struct App {
    /// The runtime.
    pub runtime: Runtime,
    krate: String,
    _folder: tempfile::TempDir,
}

/// Entries of a compartment's `limits` that nothing comes near.
pub const LIMITS: &str = "call-deadline = \"1h\", memory = \"256MiB\"";

impl App {
    /// With a guest of the workspace, which is compiled where it is missing.
    pub fn new(krate: &str, backend: &str, limits: &str) -> Self {
        Self::with(krate, backend, limits, "")
    }

    /// The same without the controls over what its processor guesses.
    pub fn speculating(krate: &str, limits: &str) -> Self {
        let more = format!("[compartments.{krate}]\nweakenings = {{ speculation = \"it is measured\" }}\n");
        Self::with(krate, "process", limits, &more)
    }

    fn with(krate: &str, backend: &str, limits: &str, more: &str) -> Self {
        let guest = if backend == "inline" { Vec::new() } else { built(krate, backend) };
        let folder = tempfile::tempdir().expect("a folder");
        let text = format!(
            "[crates.bench]\ndependencies = [\"{krate}\"]\n[crates.{krate}.compartment]\nbackend = \"{backend}\"\n\
             limits = {{ {limits} }}\nworld = \"{}\"\n{more}",
            if krate == "measured" { "measured.wit#measured" } else { "pictures.wit#decode" },
        );
        let path = folder.path().join("capabilities.toml");
        std::fs::write(&path, text).expect("writable");
        let runtime = Runtime::from_file_ambient(&path, ambient_authority())
            .unwrap_or_else(|error| panic!("{error}"))
            .component(krate, Source::Bytes(guest.into()))
            .audit(AuditLog::discard())
            .start_ambient(ambient_authority())
            .unwrap_or_else(|error| panic!("{error}"));
        Self { runtime, krate: krate.to_owned(), _folder: folder }
    }

    /// Its edge.
    pub fn edge(&self) -> Edge {
        let name = EdgeName { consumer: "bench", krate: &self.krate };
        self.runtime.edge(name).unwrap_or_else(|error| panic!("{error}"))
    }
}

/// The interface of the measured guest, over an edge.
pub fn api(edge: Edge) -> measured::api::Api {
    measured::Measured::open(edge).unwrap_or_else(|error| panic!("{error}")).api()
}

/// A launcher, static as it is installed.
pub fn launcher() -> PathBuf {
    static_program("cofferdam-launcher", "cofferdam-launcher", &[])
}

/// A program of the workspace, static.
pub fn static_program(package: &str, program: &str, more: &[&str]) -> PathBuf {
    let folder = root().join("target/bench/launcher");
    let status = std::process::Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--release", "--target", "x86_64-unknown-linux-gnu"])
        .args(["-p", package, "--bin", program])
        .args(more)
        .arg("--target-dir")
        .arg(&folder)
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .current_dir(root())
        .status()
        .expect("cargo runs the benches");
    assert!(status.success(), "{program} is compiled");
    folder.join("x86_64-unknown-linux-gnu/release").join(program)
}

/// Whether a program can be started by its name.
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder: PathBuf| folder.join(program))
        .find(|file: &PathBuf| Path::is_file(file))
}
