//! Debian's packages of Rust and clang, in a folder of their own: nothing is installed, and no root is needed.

mod download;
mod install;
mod packages;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

pub(crate) use install::install;

/// What is wanted of a toolchain of packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parts {
    /// Rust with its standard library for WebAssembly, and clang with the headers of WASI's C library.
    RustAndC,
    /// Only clang and the headers, for a Rust that has the target already.
    C,
}

/// Where a finished folder says what it is.
const FINISHED: &str = "finished.json";

/// What a finished folder says. It is written last.
#[derive(Debug, Serialize, Deserialize)]
struct Finished {
    /// The packages, `name=version`.
    packages: Vec<String>,
    /// The number of LLVM's version, as package names have it.
    llvm: String,
    /// Whether there is Rust in it.
    rust: bool,
    /// Seconds since 1970.
    made: u64,
}

/// A finished folder.
pub(crate) struct Installed {
    root: PathBuf,
    llvm: String,
    rust: bool,
    made: u64,
}

impl Installed {
    /// The newest below the cache folder that has Rust in it, or clang, whose files are there.
    pub(crate) fn newest(cache: &Path, rust: bool) -> Option<Self> {
        let entries = std::fs::read_dir(cache).ok()?.flatten();
        entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("debian-"))
            .filter_map(|entry| Self::read(&entry.path()))
            .filter(|found| {
                if rust {
                    found.rust
                        && found.rustc().is_file()
                        && crate::find::std_library(&found.std_folder()).is_some()
                } else {
                    found.clang().is_some()
                }
            })
            // At the same second, which one does not matter, but it must be the same each time.
            .max_by_key(|found| (found.made, found.root.clone()))
    }

    /// A folder that is known to be finished.
    pub(crate) fn at(root: &Path) -> Self {
        Self::read(root).unwrap_or_else(|| Self {
            root: root.to_owned(),
            llvm: String::new(),
            rust: true,
            made: 0,
        })
    }

    fn read(root: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(root.join(FINISHED)).ok()?;
        let Finished { llvm, rust, made, .. } = serde_json::from_str(&text).ok()?;
        Some(Self { root: root.to_owned(), llvm, rust, made })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn rustc(&self) -> PathBuf {
        self.root.join("usr/bin/rustc")
    }

    pub(crate) fn programs(&self) -> PathBuf {
        self.root.join("usr/bin")
    }

    /// Where its shared libraries are.
    pub(crate) fn libraries(&self) -> Vec<PathBuf> {
        library_folders(&self.root)
    }

    /// Rust's libraries for WebAssembly.
    pub(crate) fn std_folder(&self) -> PathBuf {
        std_folder(&self.root)
    }

    pub(crate) fn clang(&self) -> Option<PathBuf> {
        let clang = self.root.join(format!("usr/bin/clang-{}", self.llvm));
        (!self.llvm.is_empty() && clang.is_file()).then_some(clang)
    }

    /// A program of the folder, that finds its shared libraries.
    pub(crate) fn command(&self, program: PathBuf) -> Command {
        command_in(&self.root, program)
    }
}

/// A program of a folder of packages, that finds its shared libraries and its fellows.
fn command_in(root: &Path, program: PathBuf) -> Command {
    let mut command = Command::new(program);
    crate::find::prepend(&mut command, "LD_LIBRARY_PATH", library_folders(root));
    crate::find::prepend(&mut command, "PATH", vec![root.join("usr/bin")]);
    command
}

/// Debian has a folder for each architecture; of these there is one.
fn library_folders(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for parent in [root.join("usr/lib"), root.join("lib")] {
        let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
        found.extend(
            entries
                .filter(|entry| entry.file_name().to_string_lossy().ends_with("-linux-gnu"))
                .map(|entry| entry.path()),
        );
    }
    found.sort();
    found
}

fn std_folder(root: &Path) -> PathBuf {
    root.join("usr/lib/rustlib/wasm32-wasip1/lib")
}
