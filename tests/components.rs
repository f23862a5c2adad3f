//! The guests of `tests/guests` as components and as programs, built once for all tests of a program.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, OnceLock, PoisonError};

use ambient_authority::ambient_authority;
use cofferdam_toolchain::{
    CargoOutput, GuestCrate, Progress, Settings, SetupRequest, Toolchain, build_guest_ambient, setup_ambient,
};

/// The component of a guest. The first one on a new machine fetches what compiles it: some minutes.
pub(crate) fn component(package: &str) -> Vec<u8> {
    static TOOLCHAIN: OnceLock<Toolchain> = OnceLock::new();
    let toolchain = TOOLCHAIN.get_or_init(|| {
        let settings = Settings::from_environment_ambient(ambient_authority()).expect("a cache folder");
        let report = setup_ambient(&settings, SetupRequest { c: true }, &mut tell, ambient_authority());
        report.unwrap_or_else(|error| panic!("{error}")).toolchain
    });
    built(package, "wasm", toolchain)
}

/// The launcher that was built with this test, static as it is shipped.
#[allow(dead_code, reason = "not every test needs it")]
pub(crate) fn launcher() -> PathBuf {
    static BUILT: Once = Once::new();
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = root.join("target/guests");
    BUILT.call_once(|| {
        let output = std::process::Command::new(env!("CARGO"))
            .args([
                "build",
                "--quiet",
                "--locked",
                "--target",
                "x86_64-unknown-linux-gnu",
                "-p",
                "cofferdam-launcher",
            ])
            .arg("--target-dir")
            .arg(&folder)
            .env("RUSTFLAGS", "-C target-feature=+crt-static")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .current_dir(&root)
            .output()
            .expect("cargo runs the tests");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    });
    folder.join("x86_64-unknown-linux-gnu/debug/cofferdam-launcher")
}

/// The program of a guest.
#[allow(dead_code, reason = "not every test needs both")]
pub(crate) fn program(package: &str) -> Vec<u8> {
    let settings = Settings::from_environment_ambient(ambient_authority()).expect("a cache folder");
    let toolchain = Toolchain::native_ambient(&settings, ambient_authority()).expect("Rust for this machine");
    built(package, "process", &toolchain)
}

fn tell(news: Progress<'_>) {
    if let Progress::Step(text) | Progress::Note(text) = news {
        let _ = writeln!(std::io::stderr(), "{text}");
    }
}

fn built(package: &str, backend: &'static str, toolchain: &Toolchain) -> Vec<u8> {
    type Built = HashMap<(String, &'static str), Vec<u8>>;
    static BUILT: Mutex<Option<Built>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let built = built.get_or_insert_default();
    let key = (package.to_owned(), backend);
    if let Some(bytes) = built.get(&key) {
        return bytes.clone();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    // Compartment crates, which are clients too, are of the workspace itself.
    let is_member = root.join("tests/compartments").join(package).is_dir();
    let manifest = root.join(if is_member { "Cargo.toml" } else { "tests/guests/Cargo.toml" });
    let guest = GuestCrate::library(manifest, package);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests-for-the-host");
    let artifact =
        build_guest_ambient(toolchain, &guest, &folder, CargoOutput::Keep, &mut tell, ambient_authority())
            .unwrap_or_else(|error| panic!("{error}"));
    let bytes = std::fs::read(artifact.component).expect("readable");
    built.insert(key, bytes.clone());
    bytes
}
