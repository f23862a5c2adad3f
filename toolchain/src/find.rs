//! Finds what compiles guests: the Rust that is installed, else what `setup` put into the cache folder.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use ambient_authority::AmbientAuthority;
use sha2::{Digest as _, Sha256};

use crate::c_compiler::{self, CCompiler};
use crate::command::text_of;
use crate::debian::Installed;
use crate::{Settings, ToolchainError};

/// The target that guests are compiled for. Both become components of WASI 0.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestTarget {
    /// `wasm32-wasip2`: the linker makes the component.
    Wasip2,
    /// `wasm32-wasip1`: the module becomes a component through an adapter.
    Wasip1,
    /// `x86_64-unknown-linux-gnu`, linked statically: a program for a process compartment.
    Native,
}

impl GuestTarget {
    /// Rust's name for it.
    pub fn triple(self) -> &'static str {
        match self {
            Self::Wasip2 => "wasm32-wasip2",
            Self::Wasip1 => "wasm32-wasip1",
            Self::Native => "x86_64-unknown-linux-gnu",
        }
    }

    /// The ending of what is made for it.
    pub(crate) fn ending(self) -> &'static str {
        match self {
            Self::Wasip2 | Self::Wasip1 => ".wasm",
            Self::Native => ".elf",
        }
    }
}

/// Where a toolchain comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The Rust that is installed has the target.
    Installed,
    /// Debian's packages, in this folder below the cache.
    Debian(PathBuf),
}

/// What compiles guests. It was there when it was looked for.
#[derive(Debug, Clone)]
pub struct Toolchain {
    pub(crate) target: GuestTarget,
    pub(crate) origin: Origin,
    pub(crate) rustc_version: String,
    /// Names what compiles Rust: what Cargo has built with it is kept apart from that of others. Of C, `cc` tells Cargo itself.
    pub(crate) rust: String,
    pub(crate) id: String,
    pub(crate) c: Option<CCompiler>,
    pub(crate) settings: Settings,
}

impl Toolchain {
    /// Looks, in this order, for `wasm32-wasip2` in the installed Rust, `wasm32-wasip1` there, and what `cofferdam setup` put
    /// into the cache folder. A target counts when its standard library is there.
    ///
    /// # Errors
    /// When there is none; the error says what to run.
    ///
    /// # Authority
    /// Runs `rustc`, and reads the compiler's folder and the cache folder.
    pub fn find_ambient(settings: &Settings, _: AmbientAuthority) -> Result<Self, ToolchainError> {
        find(settings)
    }

    /// What compiles guests of process compartments: the Rust that is installed, and its linker.
    ///
    /// # Errors
    /// When there is no Rust for Linux on x86-64.
    ///
    /// # Authority
    /// Runs `rustc`, and reads the compiler's folder.
    pub fn native_ambient(settings: &Settings, _: AmbientAuthority) -> Result<Self, ToolchainError> {
        let target = GuestTarget::Native;
        let libraries = target_libraries(settings, target).ok_or(ToolchainError::NoNative)?;
        let version = asked("asking rustc for its version", settings, &["-vV"])?;
        Ok(Self { c: None, ..finish(settings, target, Origin::Installed, &version, &libraries) })
    }

    /// The target.
    pub fn target(&self) -> GuestTarget {
        self.target
    }

    /// Where it comes from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The compiler's own words: `rustc 1.95.0 (...)`.
    pub fn rustc_version(&self) -> &str {
        &self.rustc_version
    }

    /// Names this toolchain with all that matters to what it makes: another one has another name. 16 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What compiles C in guests, when there is something.
    pub fn c_compiler(&self) -> Option<&CCompiler> {
        self.c.as_ref()
    }

    /// Sets what Cargo must know to use it.
    pub(crate) fn apply(&self, command: &mut Command) {
        let mut libraries: Vec<PathBuf> = Vec::new();
        let mut programs: Vec<PathBuf> = Vec::new();
        if let Origin::Debian(root) = &self.origin {
            let installed = Installed::at(root);
            command.env("RUSTC", installed.rustc());
            libraries.extend(installed.libraries());
            programs.push(installed.programs());
        }
        if let Some(c) = &self.c {
            libraries.extend(c.libraries.iter().cloned());
            for (name, value) in c.variables(self.target) {
                command.env(name, value);
            }
        }
        libraries.dedup();
        prepend(command, "LD_LIBRARY_PATH", libraries);
        prepend(command, "PATH", programs);
    }
}

/// Puts folders before those of a variable that lists folders.
pub(crate) fn prepend(command: &mut Command, name: &str, mut folders: Vec<PathBuf>) {
    if folders.is_empty() {
        return;
    }
    if let Some(old) = std::env::var_os(name).filter(|old| !old.is_empty()) {
        folders.extend(std::env::split_paths(&old));
    }
    let joined = std::env::join_paths(folders);
    command.env(name, joined.expect("the cache folder can be listed, and so could the old folders"));
}

pub(crate) fn find(settings: &Settings) -> Result<Toolchain, ToolchainError> {
    if settings.installed_rust {
        for target in [GuestTarget::Wasip2, GuestTarget::Wasip1] {
            if let Some(libraries) = target_libraries(settings, target) {
                let version = asked("asking rustc for its version", settings, &["-vV"])?;
                return Ok(finish(settings, target, Origin::Installed, &version, &libraries));
            }
        }
    }
    settings.check_cache()?;
    if let Some(installed) = Installed::newest(&settings.cache, true) {
        let version = version_of(installed.command(installed.rustc()), settings)?;
        let libraries = installed.std_folder();
        return Ok(finish(
            settings,
            GuestTarget::Wasip1,
            Origin::Debian(installed.root().to_owned()),
            &version,
            &libraries,
        ));
    }
    Err(ToolchainError::Missing { rustc: settings.programs.rustc.clone(), cache: settings.cache.clone() })
}

fn finish(
    settings: &Settings,
    target: GuestTarget,
    origin: Origin,
    version: &str,
    libraries: &Path,
) -> Toolchain {
    let c = c_compiler::find(settings);
    let rust = named(&[
        target.triple().as_bytes(),
        version.as_bytes(),
        libraries.as_os_str().as_encoded_bytes(),
        std_library(libraries).unwrap_or_default().as_encoded_bytes(),
    ]);
    let id = named(&[
        rust.as_bytes(),
        c.as_ref().map_or("", |c| &c.id).as_bytes(),
        // What makes components of modules is part of this program.
        env!("CARGO_PKG_VERSION").as_bytes(),
    ]);
    let rustc_version = version.lines().next().unwrap_or_default().to_owned();
    Toolchain { target, origin, rustc_version, rust, id, c, settings: settings.clone() }
}

/// A name of 16 hexadecimal digits for some bytes.
fn named(parts: &[&[u8]]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    crate::fingerprint::hexadecimal(&digest.finalize()[..8])
}

/// The folder of the installed compiler's standard library for that target, if it is there.
fn target_libraries(settings: &Settings, target: GuestTarget) -> Option<PathBuf> {
    let question = ["--print", "target-libdir", "--target", target.triple()];
    let text = asked("asking rustc for its libraries", settings, &question).ok()?;
    let folder = PathBuf::from(text.trim_end());
    std_library(&folder).map(|_| folder)
}

/// What the installed compiler answers, which it is asked once: a question takes longer than all that is built of most guests again.
fn asked(
    what: &'static str,
    settings: &Settings,
    arguments: &[&'static str],
) -> Result<String, ToolchainError> {
    type Question = (PathBuf, PathBuf, Vec<&'static str>);
    static ANSWERS: Mutex<BTreeMap<Question, String>> = Mutex::new(BTreeMap::new());
    let rustc = &settings.programs.rustc;
    let question = (rustc.clone(), settings.folder.clone(), arguments.to_vec());
    let answers = || ANSWERS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(answer) = answers().get(&question) {
        return Ok(answer.clone());
    }
    let answer = text_of(what, Command::new(rustc).args(arguments).current_dir(&settings.folder))?;
    answers().insert(question, answer.clone());
    Ok(answer)
}

/// The name of the standard library in a folder of libraries.
pub(crate) fn std_library(folder: &Path) -> Option<OsString> {
    let entries = std::fs::read_dir(folder).ok()?;
    let mut found: Vec<OsString> = entries
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| {
            let name = name.to_string_lossy();
            name.starts_with("libstd-") && name.ends_with(".rlib")
        })
        .collect();
    found.sort();
    found.into_iter().next()
}

fn version_of(mut command: Command, settings: &Settings) -> Result<String, ToolchainError> {
    text_of("asking rustc for its version", command.arg("-vV").current_dir(&settings.folder))
}
