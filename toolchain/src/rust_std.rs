//! Compiles Rust's standard library for `wasm32-wasip1`, where the packages bring only its source.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::Run;
use crate::error::AtPath as _;
use crate::guest::forget_host_flags;
use crate::progress::{Progress, Tell};
use crate::{Settings, ToolchainError};

/// The package that is compiled to have the library compiled.
const PACKAGE: &str = "std-for-guests";

/// Compiles the library and puts it where the compiler below `root` looks for it.
pub(crate) fn build(
    settings: &Settings,
    root: &Path,
    folder: &Path,
    command_in: impl Fn(PathBuf) -> Command,
    tell: Tell<'_>,
) -> Result<(), ToolchainError> {
    write_package(folder)?;
    let mut command = command_in(settings.programs.cargo.clone());
    forget_host_flags(&mut command);
    command
        .current_dir(folder)
        .env("RUSTC", root.join("usr/bin/rustc"))
        // The library is built with unstable flags of the compiler; only the package that built the compiler may.
        .env("RUSTC_BOOTSTRAP", "1")
        // Without bitcode in the library, a guest with `lto = true` does not link.
        .env("CARGO_ENCODED_RUSTFLAGS", "-Cembed-bitcode=yes")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("RUSTUP_TOOLCHAIN")
        .arg("build")
        .args(["--release", "--target", "wasm32-wasip1", "-Zbuild-std=std,panic_abort,panic_unwind"])
        .arg("--target-dir")
        .arg(folder.join("target"));
    let run = Run { what: "compiling Rust's standard library", limit: None, inherit_stderr: false };
    run.succeed(&mut command, &mut |line| {
        if let Some(line) = line {
            tell(Progress::Detail(line.trim()));
        }
    })?;
    let libraries = root.join("usr/lib/rustlib/wasm32-wasip1/lib");
    let objects = libraries.join("self-contained");
    std::fs::create_dir_all(&objects).at("make", &objects)?;
    let built = folder.join("target/wasm32-wasip1/release/deps");
    for entry in std::fs::read_dir(&built).at("read", &built)? {
        let path = entry.at("read", &built)?.path();
        let name = path.file_name().unwrap_or_default();
        let ours = name.to_string_lossy().starts_with("libstd_for_guests");
        if !ours && path.extension().is_some_and(|extension| extension == "rlib") {
            copy(&path, &libraries.join(name))?;
        }
    }
    for object in ["libc.a", "crt1-command.o", "crt1-reactor.o"] {
        copy(&root.join("usr/lib/wasm32-wasi").join(object), &objects.join(object))?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<(), ToolchainError> {
    std::fs::copy(from, to).at("copy", from).map(|_| ())
}

fn write_package(folder: &Path) -> Result<(), ToolchainError> {
    let source = folder.join("src");
    std::fs::create_dir_all(&source).at("make", &source)?;
    let manifest = format!(
        "[package]\nname = \"{PACKAGE}\"\nversion = \"0.0.0\"\nedition = \"2021\"\n\n[workspace]\n\n\
         [profile.release]\nlto = \"thin\"\n"
    );
    for (path, text) in [(folder.join("Cargo.toml"), manifest.as_str()), (source.join("lib.rs"), "")] {
        std::fs::write(&path, text).at("write", &path)?;
    }
    Ok(())
}
