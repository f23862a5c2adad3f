//! The libraries that came with the compiler: which crates they are, and which names they define.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::archive;
use super::build::BuildError;

/// What the compiler brought along.
#[derive(Debug, Default)]
pub(crate) struct Sysroot {
    /// The crates' names.
    pub(crate) crates: HashSet<String>,
    /// Everything that they define. A name that looks like one of theirs and is not here was made up.
    pub(crate) symbols: HashSet<Box<str>>,
}

impl Sysroot {
    /// Of the compiler that Cargo uses in a folder.
    pub(crate) fn find(folder: &Path) -> Result<Self, BuildError> {
        let program = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let output = Command::new(program).args(["--print", "target-libdir"]).current_dir(folder).output();
        let output = output.map_err(|error| BuildError::Sysroot(error.to_string()))?;
        let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        Self::read(&path).map_err(|error| BuildError::Read { path, error })
    }

    fn read(folder: &Path) -> std::io::Result<Self> {
        let mut all = Self::default();
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(std::ffi::OsStr::to_str).unwrap_or_default();
            let Some(stem) = name.strip_prefix("lib").and_then(|name| name.strip_suffix(".rlib")) else {
                continue;
            };
            all.crates.insert(stem.rsplit_once('-').map_or(stem, |(name, _)| name).to_owned());
            let bytes = std::fs::read(&path)?;
            let Some((_, index)) = archive::read(&bytes) else { continue };
            all.symbols
                .extend(index.into_iter().filter_map(|name| Some(std::str::from_utf8(name).ok()?.into())));
        }
        Ok(all)
    }
}
