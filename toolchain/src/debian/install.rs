//! Makes a toolchain of packages: download, open, build the standard library once, move into place.
//!
//! Each step that is done is stamped, so that what was interrupted goes on where it stopped. The folder under its final name
//! is complete, always: it appears by one rename.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest as _, Sha256};

use super::download::download;
use super::packages::{Apt, Selection, select};
use super::{FINISHED, Finished, Installed, Parts};
use crate::command::Run;
use crate::error::AtPath as _;
use crate::fingerprint::hexadecimal;
use crate::progress::{Progress, Tell};
use crate::{Settings, ToolchainError, rust_std};

/// Changes when the way of making the folder does, so that an old one is not taken for a new one.
const RECIPE: &str = "1";

/// What `apt` makes of lists, and lists of our own.
const APT: &str = "apt";

/// Makes it, unless it is there. The caller holds the lock.
pub(crate) fn install(
    settings: &Settings,
    parts: Parts,
    tell: Tell<'_>,
) -> Result<Installed, ToolchainError> {
    tell(Progress::Step("reading the package lists"));
    let mut apt = Apt::system(settings, settings.cache.join(APT))?;
    let selection = match select(&apt, parts) {
        Ok(selection) => selection,
        Err(ToolchainError::NoPackage { .. } | ToolchainError::BadPackage { .. }) => {
            apt = update(settings, tell)?;
            select(&apt, parts)?
        }
        Err(error) => return Err(error),
    };
    match install_selection(settings, parts, &apt, &selection, tell) {
        // The lists may be so old that what they name is no longer offered.
        Err(ToolchainError::Failed { said, .. }) if !apt.private && outdated(&said) => {
            let apt = update(settings, tell)?;
            let selection = select(&apt, parts)?;
            install_selection(settings, parts, &apt, &selection, tell)
        }
        other => other,
    }
}

/// Whether `apt-get download` says that the server has no such file.
fn outdated(said: &str) -> bool {
    ["404", "Failed to fetch", "Can't find a source", "Unable to fetch"]
        .iter()
        .any(|words| said.contains(words))
}

fn update(settings: &Settings, tell: Tell<'_>) -> Result<Apt, ToolchainError> {
    tell(Progress::Step("bringing package lists up to date, in a folder of our own"));
    Apt::private(settings, settings.cache.join(APT))
}

fn install_selection(
    settings: &Settings,
    parts: Parts,
    apt: &Apt,
    selection: &Selection,
    tell: Tell<'_>,
) -> Result<Installed, ToolchainError> {
    let packages: Vec<String> =
        selection.packages.iter().map(|package| format!("{}={}", package.name, package.version)).collect();
    let mut digest = Sha256::new_with_prefix(RECIPE);
    digest.update(packages.join("\n"));
    let key = hexadecimal(&digest.finalize()[..8]);
    let last = settings.cache.join(format!("debian-{key}"));
    if let Some(installed) = Installed::read(&last) {
        return Ok(installed);
    }
    let work = settings.cache.join(format!("work-{key}"));
    let root = work.join("root");
    std::fs::create_dir_all(&work).at("make", &work)?;

    if !stamped(&work, "opened") {
        let total: u64 = selection.packages.iter().map(|package| package.bytes).sum();
        tell(Progress::Step(&format!(
            "downloading {} packages of Debian, {} MB",
            packages.len(),
            total.div_ceil(1_000_000)
        )));
        let files = download(apt, &selection.packages, &settings.cache.join("packages"), tell)?;
        tell(Progress::Step("opening the packages"));
        open(settings, &files, &root, tell)?;
        stamp(&work, "opened")?;
    }
    if parts == Parts::RustAndC && !stamped(&work, "built") {
        tell(Progress::Step("compiling Rust's standard library for guests, once"));
        rust_std::build(
            settings,
            &root,
            &work.join("std"),
            |program| super::command_in(&root, program),
            tell,
        )?;
        stamp(&work, "built")?;
    }
    for unneeded in ["usr/src", "usr/lib/rustlib/src", "usr/share"] {
        remove(&root.join(unneeded))?;
    }
    let made = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let finished = Finished { packages, llvm: selection.llvm.clone(), rust: parts == Parts::RustAndC, made };
    let text = serde_json::to_string_pretty(&finished).expect("text and numbers are JSON");
    let note = root.join(FINISHED);
    std::fs::write(&note, text).at("write", &note)?;
    try_out(&root, &selection.llvm, parts)?;
    // A folder of that name without its note is from no run of this program; it is not used.
    remove(&last)?;
    std::fs::rename(&root, &last).at("move", &root)?;
    remove(&work)?;
    remove(&settings.cache.join("packages"))?;
    remove(&settings.cache.join(APT))?;
    Installed::read(&last)
        .ok_or_else(|| ToolchainError::Unusable { path: last, problem: "its note cannot be read".to_owned() })
}

/// Opens the packages into one folder.
fn open(settings: &Settings, files: &[PathBuf], root: &Path, tell: Tell<'_>) -> Result<(), ToolchainError> {
    remove(root)?;
    std::fs::create_dir(root).at("make", root)?;
    for file in files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        tell(Progress::Detail(&name));
        let run = Run { what: &format!("opening {name}"), limit: None, inherit_stderr: false };
        let mut command = std::process::Command::new(&settings.programs.dpkg_deb);
        run.succeed(command.arg("--extract").arg(file).arg(root), &mut |_| {})?;
    }
    Ok(())
}

/// That the programs start: what they need may be missing on this system.
fn try_out(root: &Path, llvm: &str, parts: Parts) -> Result<(), ToolchainError> {
    let mut programs = vec![root.join(format!("usr/bin/clang-{llvm}"))];
    if parts == Parts::RustAndC {
        programs.extend([root.join("usr/bin/rustc"), root.join("usr/bin/rust-lld")]);
    }
    for program in programs {
        let mut command = super::command_in(root, program);
        if command.get_program().to_string_lossy().ends_with("lld") {
            command.args(["-flavor", "wasm"]);
        }
        let run = Run { what: "trying the toolchain out", limit: None, inherit_stderr: false };
        run.succeed(command.arg("--version"), &mut |_| {})?;
    }
    Ok(())
}

fn stamped(work: &Path, step: &str) -> bool {
    work.join(step).is_file()
}

fn stamp(work: &Path, step: &str) -> Result<(), ToolchainError> {
    let path = work.join(step);
    std::fs::write(&path, "").at("write", &path)
}

/// Removes a file, a link or a folder, if it is there. A link is not followed.
fn remove(path: &Path) -> Result<(), ToolchainError> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(()) };
    let removed = if metadata.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    removed.at("remove", path)
}
