//! Guests and the launcher, built for the tests of examples.

use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest
        .ancestors()
        .find(|folder| folder.join("ARCHITECTURE.md").is_file())
        .expect("inside the repository")
        .to_owned()
}

fn build(arguments: &[&str], flags: &str, folder: &Path) {
    let output = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--target", "x86_64-unknown-linux-gnu", "--target-dir"])
        .arg(folder)
        .args(arguments)
        .env("RUSTFLAGS", flags)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .current_dir(root())
        .output()
        .expect("cargo runs the tests");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A guest's program, linked statically.
#[allow(dead_code, reason = "not every test needs one")]
pub(crate) fn static_guest(package: &str, name: &str) -> PathBuf {
    let folder = root().join("target/guests");
    let arguments = ["-p", package, "--bin", name, "--no-default-features"];
    build(&arguments, "-C target-feature=+crt-static", &folder);
    folder.join("x86_64-unknown-linux-gnu/debug").join(name)
}

/// The launcher.
pub(crate) fn launcher() -> PathBuf {
    let folder = root().join("target/guests");
    build(&["-p", "cofferdam-launcher"], "-C target-feature=+crt-static", &folder);
    folder.join("x86_64-unknown-linux-gnu/debug/cofferdam-launcher")
}
